"""What the pages that only show are made of. Reads the ledger, the log and what the jobs found."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from math import isfinite
from typing import Any

from folder_agent.checkup.accounts import begin_of
from folder_agent.checkup.reports import show_report, why_of
from folder_agent.console import calendar, charts, origins, tail
from folder_agent.console.charts import Bar
from folder_agent.console.context import SHORT, Asked, Context, Helpers
from folder_agent.console.pulse import Snapshot, Span
from folder_agent.core.acceptance import is_acceptable
from folder_agent.core.catalogue import Language, explain
from folder_agent.core.errors import Problem
from folder_agent.core.lifecycle import BundleState
from folder_agent.core.records import BundleRecord, Deed
from folder_agent.edges.ledger.browsing import Place, Sort, Wanted

LOOKED_BACK_S = 30 * 86400.0  # how long what failed is shown as needing attention
PAGE = 50
_MOST_FILES, _MOST_EVENTS = 500, 400
_CLOCK_S = 30.0
_DIGITS = 18  # of a number, which the ledger surely can hold
_YEARS = (1971, 3000)  # of which Windows can tell when their days begin
# What an operator may do without: everything else that a bundle waits for is not for a person to decide.
_COUNTABLE = frozenset({"FA-WAIT-FILES", "FA-WAIT-LISTED", "FA-WAIT-MARKER", "FA-WAIT-ANY-FILE", "FA-WAIT-QUIET"})

Values = dict[str, Any]


class NotFound(Exception):
    """There is no such page or bundle."""


def overview(context: Context, asked: Asked) -> Values:
    """Is it working?"""
    now, words = context.pulse.now, Helpers(asked.language)
    sentence, mood = in_a_sentence(now, asked.language)
    return {
        "now": now,
        "sentence": sentence,
        "mood": mood,
        "health": list(_health(context, now, words)),
        "charts": _charts(now, words),
        "notices": context.live.notices()[:8],
        "is_alive": context.is_alive(),
    }


def in_a_sentence(now: Snapshot, language: Language) -> tuple[str, str]:
    """How things are, in one sentence, and whether that is "well", "watch" or "bad"."""
    zh, gate = language == "zh", now.gate
    waiting, delivered, failed = (
        now.total("waiting") + now.total("sending"),
        now.total("delivered"),
        now.total("failed"),
    )
    if now.trouble is not None:
        why = explain(now.trouble, language)
        return (f"无法读取账本:{why}" if zh else f"The ledger cannot be read: {why}"), "bad"
    if gate.reason is not None:
        since = datetime.fromtimestamp(gate.since or now.at).astimezone()
        is_today = since.date() == datetime.fromtimestamp(now.at).astimezone().date()
        at = since.strftime("%H:%M" if is_today else "%Y-%m-%d %H:%M")
        lost = f"{waiting} 个检查在等待,没有丢失" if zh else f"{_exams(waiting)} {_wait(waiting)} and nothing is lost"
        if gate.held:
            why = explain(gate.reason, language)
            return (
                f"自 {at} 起暂停发送:{why};{lost}" if zh else f"Sending is on hold since {at}: {why}; {lost}"
            ), "bad"
        if zh:
            return f"前置机自 {at} 起没有响应;{lost}", "bad"
        return f"The gateway has not answered since {at}; {lost}", "bad"
    troubled = [drop for drop in now.drops if any(one.code == "FA-DROP-GONE" for one in drop.troubles)]
    if troubled:
        names = "、".join(drop.name for drop in troubled) if zh else ", ".join(drop.name for drop in troubled)
        return (f"投放目录 {names} 无法访问" if zh else f"The drop folder {names} is out of reach"), "bad"
    overdue = now.total("overdue")
    if failed or overdue or any(drop.troubles for drop in now.drops):
        counts = [(delivered, "delivered today", "个今天已送达"), (waiting, "waiting", "个等待")]
        counts += [(failed, "failed", "个失败")] if failed else []
        counts += [(overdue, "overdue", "个逾期")] if overdue else []
        if zh:
            return ",".join(f"{n} {words}" for n, _, words in counts) + ":请看「需处理」", "watch"
        return ", ".join(f"{n} {words}" for n, words, _ in counts) + ": see what needs attention", "watch"
    if zh:
        return f"一切正常:今天已送达 {delivered} 个检查,{waiting} 个等待影像,没有失败", "well"
    return f"All is well: {_exams(delivered)} delivered today, {waiting} waiting for images, none failed", "well"


def _exams(count: int) -> str:
    return f"{count} {'exam' if count == 1 else 'exams'}"


def _wait(count: int) -> str:
    return "waits" if count == 1 else "wait"


@dataclass(frozen=True, slots=True)
class Health:
    """One line of the health list."""

    name: str
    mood: str
    text: str
    todo: str = ""


def _eased(context: Context, words: Helpers) -> str:
    """That fewer requests are sent at once than might be, while that is so."""
    under_way, most = context.meters.under_way, context.settings.sync.workers
    now = most if under_way is None else under_way()[0]
    if now >= most:
        return ""
    zh, en = ";响应变慢:并发请求降为 {n}/{most}", "; it is slow: {n} of {most} requests at once"
    return words.t(en, zh, n=now, most=most)


def _health(context: Context, now: Snapshot, words: Helpers) -> Iterable[Health]:
    t, gate, meters = words.t, now.gate, context.meters
    if gate.reason is not None:
        yield Health(t("Gateway", "前置机"), "bad", words.why(gate.reason), words.todo(gate.reason))
    elif meters.answered_at is not None:
        at = datetime.fromtimestamp(meters.answered_at).astimezone().strftime("%H:%M:%S")
        text = t("answered at {at}", "{at} 有响应", at=at)
        yield Health(t("Gateway", "前置机"), "well", text + _eased(context, words))
    else:
        yield Health(t("Gateway", "前置机"), "well", t("not asked since the start", "启动以来尚未联系"))
    offset = meters.clock_offset_s
    if offset is None:
        yield Health(t("Clock", "时钟"), "well", t("not compared yet", "尚未比较"))
    elif abs(offset) < _CLOCK_S:
        yield Health(
            t("Clock", "时钟"), "well", t("{n} s off the gateway's", "与前置机相差 {n} 秒", n=round(abs(offset)))
        )
    else:
        text = t("{n} s off the gateway's", "与前置机相差 {n} 秒", n=round(abs(offset)))
        yield Health(t("Clock", "时钟"), "bad", text, t("Set this machine's clock (NTP).", "请校准本机时钟(NTP)。"))
    free = min((one for one in (now.ledger_free, *(d.free for d in now.drops)) if one is not None), default=None)
    mood = "bad" if now.is_scarce else "well"
    todo = t("Free some space.", "请清理磁盘空间。") if now.is_scarce else ""
    yield Health(t("Disk", "磁盘"), mood, t("{n} free", "剩余 {n}", n=words.size(free)), todo)
    for drop in now.drops:
        name = t("Drop folder {name}", "投放目录 {name}", name=drop.name)
        if drop.troubles:
            yield from (Health(name, "watch", words.why(one), words.todo(one)) for one in drop.troubles)
        elif drop.is_watched:
            yield Health(name, "well", t("watched, and scanned from time to time", "实时监视,并定时扫描"))
        else:
            yield Health(name, "well", t("scanned from time to time", "定时扫描"))
    if not context.is_alive():
        yield Health(
            t("Agent", "代理"), "bad", t("its loop has not gone round for two minutes", "主循环已两分钟没有运转")
        )


def _charts(now: Snapshot, words: Helpers) -> list[tuple[str, Any]]:
    t = words.t

    def count(spans: Iterable[Span], unit: str) -> list[Bar]:
        return [Bar(one.label, one.delivered, f"{one.label}{unit}: {one.delivered}") for one in spans]

    def took(spans: Iterable[Span], unit: str) -> list[Bar]:
        found = []
        for one in spans:
            slowest = f"{t('slowest tenth', '最慢一成')} {words.lasts(one.slowest_s)}"
            said = f"{one.label}{unit}: {words.lasts(one.median_s)} ({slowest})"
            found.append(Bar(one.label, one.median_s, said, one.slowest_s))
        return found

    titles = (
        (t("Delivered by the hour, today", "今天每小时送达"), count(now.day, t(" h", " 点")), ""),
        (t("Time to delivery, today", "今天的送达用时"), took(now.day, t(" h", " 点")), " s"),
        (t("Delivered by the day, this week", "本周每天送达"), count(now.week, ""), ""),
        (t("Time to delivery, this week", "本周的送达用时"), took(now.week, ""), " s"),
    )
    return [(title, charts.bars(title, data, unit)) for title, data, unit in titles]


# --- bundles ----------------------------------------------------------------------------------------------------------


def wanted_of(query: Any, limit: int = PAGE) -> Wanted:
    """The filters of a query, as far as they make sense."""
    states = tuple(BundleState(one) for one in query.get("state", "").split(",") if one in BundleState.__members__)
    sort: Sort = "created" if query.get("sort") == "created" else "changed"
    since = until = None
    if (day := _day(query.get("day", ""))) is not None:
        since, until = begin_of(day), begin_of(day + timedelta(days=1))
    return Wanted(
        text=query.get("q", "").strip()[:200],
        states=states,
        drops=tuple(filter(None, [query.get("drop", "")[:64]])),
        since=since,
        until=until,
        sort=sort,
        newest_first=query.get("order") != "oldest",
        after=_place(query.get("after", "")),
        limit=limit,
    )


def place_of(bundle: BundleRecord, wanted: Wanted) -> str:
    """Where the page ends that ends with that bundle."""
    return f"{(bundle.changed_at if wanted.sort == 'changed' else bundle.created_at)!r},{bundle.id}"


def number_of(text: str) -> int | None:
    """A number that a column of the ledger can hold; None if the text is none."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _DIGITS else None


def _place(text: str) -> Place | None:
    at, _, number = text.partition(",")
    try:
        time, last = float(at[:40]), number_of(number)
    except ValueError:
        return None
    return Place(time, last) if isfinite(time) and last is not None else None


def _day(text: str) -> date | None:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if _YEARS[0] <= day.year <= _YEARS[1] else None


def bundles(context: Context, asked: Asked) -> Values:
    """Where is my exam?"""
    wanted = wanted_of(asked.query)
    found = context.ledger.page(wanted)
    query = {name: asked.query.get(name, "") for name in ("q", "state", "drop", "day", "sort", "order")}
    return {
        "found": found[: wanted.limit],
        "next": place_of(found[wanted.limit - 1], wanted) if len(found) > wanted.limit else None,
        "is_first": wanted.after is None,
        "query": query,
        "wanted": wanted,
        "gate": context.pulse.now.gate,
        "progress": context.live.progress(),
        "states": SHORT,
        "drops": sorted({drop.name for drop in context.settings.drops} | set(wanted.drops)),
    }


def bundle_of(context: Context, asked: Asked) -> BundleRecord | None:
    """The bundle that is asked for by its number; None if there is none."""
    number = number_of(asked.numbers["id"])
    return None if number is None else context.ledger.bundle(number)


def bundle(context: Context, asked: Asked) -> Values:
    """Why has it not gone?"""
    record = bundle_of(context, asked)
    if record is None:
        raise NotFound
    others = [one for one in context.ledger.find_bundles(record.name, 6) if one.id != record.id]
    report = show_report(context.ledger, record, others)
    files = sorted(report["files"], key=lambda one: (one["reason"] is None, one["path"]))
    return {
        "bundle": record,
        "report": report["bundle"],
        "why": why_of(record, context.pulse.now.gate),
        "files": files[:_MOST_FILES],
        "more_files": max(0, len(files) - _MOST_FILES),
        "all_files": len(files),
        "timeline": _folded(report["timeline"])[-_MOST_EVENTS:],
        "others": report["others"],
        "deeds": context.ledger.deeds_of(record.id),
        "progress": context.live.progress().get(record.id),
        "may": acts_for(record),
        "now": context.pulse.now,
    }


def _folded(entries: list[Values]) -> list[Values]:
    """The steps in their order; those of files of the same second and event as one line."""
    found: dict[tuple[Any, ...], Values] = {}
    for place, entry in enumerate(entries):
        is_file = entry["subject"] == "file"
        key = (entry["at"], entry["event"], entry["to"]) if is_file else (place,)
        found.setdefault(key, {**entry, "count": 0})["count"] += 1
    return list(found.values())


def acts_for(record: BundleRecord) -> dict[str, bool]:
    """What an operator may do with a bundle in that state."""
    state = record.state
    is_open = record.is_open and state not in (BundleState.COMMITTED, BundleState.REFUSED, BundleState.FAILED)
    return {
        "now": state in (BundleState.WAITING, BundleState.HELD),
        "again": state in (BundleState.REFUSED, BundleState.FAILED)
        and not record.is_open
        and record.target is not None,
        "refuse": is_open,
        "accept": is_acceptable(record)
        or (state is BundleState.GATHERING and any(one.code in _COUNTABLE for one in record.reasons)),
    }


# --- needs attention --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cause:
    """Bundles that one thing is wrong with."""

    code: str
    problem: Problem
    bundles: list[BundleRecord]
    is_ended: bool  # they lie in failed/; else they wait


def attention(context: Context, _asked: Asked) -> Values:
    """What somebody has to look into, by cause."""
    now = context.pulse.now
    left = context.ledger.left_behind(now.at - LOOKED_BACK_S)
    late = context.ledger.overdue()
    held = context.ledger.page(Wanted(states=(BundleState.HELD,), limit=200))
    return {
        "now": now,
        "gate": now.gate,
        "causes": [*_causes(left, is_ended=True), *_causes(held, is_ended=False)],
        "overdue": _causes(late, is_ended=False),
        "days": round(LOOKED_BACK_S / 86400),
    }


def _causes(found: Iterable[BundleRecord], *, is_ended: bool) -> list[Cause]:
    groups: dict[str, list[BundleRecord]] = defaultdict(list)
    for one in found:
        groups[one.reasons[0].code if one.reasons else "FA-INTERNAL"].append(one)
    causes = []
    for code, members in groups.items():
        reason = members[0].reasons[0] if members[0].reasons else Problem(code)
        causes.append(Cause(code, replace(reason.masked(), path=None), members, is_ended))
    return sorted(causes, key=lambda cause: -len(cause.bundles))


# --- proof, doctor, settings, log, history ----------------------------------------------------------------------------


def proof(context: Context, asked: Asked) -> Values:
    """Is everything where it belongs?"""
    proven, counted = context.proof.result, context.pulse.now.days
    chosen = _day(asked.query.get("day", ""))
    name = chosen.isoformat() if chosen else ""
    compared = proven.days if proven is not None else []
    return {
        "job": context.proof,
        "proven": proven,
        "weeks": calendar.weeks(counted, compared),
        "picked": next((one for one in compared if one.day == name), None),
        "counted": list(counted[name].values()) if name in counted else [],
        "chosen": chosen,
    }


def proof_csv(context: Context) -> str:
    """A line for each day and drop folder, as `reconcile --csv` writes it."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    heads = ("dropped", "accepted", "waiting", "refused", "failed", "withdrawn")
    files = ("dropped", "sent", "waiting", "not_sent", "vanished")
    names = [f"exams_{one}" for one in heads] + [f"files_{one}" for one in files]
    writer.writerow(["day", "drop", *names, "not_looked_at", "missing", "differences"])
    for day in context.proof.result.days if context.proof.result else ():
        for row in day.rows.values():
            codes = sorted({one.problem.code for one in day.differences if one.drop == row.drop})
            numbers = [getattr(row.exams, one) for one in heads] + [getattr(row.files, one) for one in files]
            writer.writerow([row.day, row.drop, *numbers, row.not_looked_at, row.missing, " ".join(codes)])
    return "\ufeff" + out.getvalue()


def doctor(context: Context, _asked: Asked) -> Values:
    """What the doctor found, when somebody last asked."""
    return {"job": context.doctor, "checks": context.doctor.result or []}


def settings(context: Context, _asked: Asked) -> Values:
    """The settings in force."""
    sections: dict[str, list[origins.Told]] = defaultdict(list)
    for one in origins.told(context.settings):
        sections[one.section].append(one)
    return {"sections": sections, "file": context.settings.file}


def log(context: Context, asked: Asked) -> Values:
    """The end of the log."""
    level = asked.query.get("level", "INFO")
    level = level if level in tail.LEVELS else "INFO"
    return {"lines": tail.tail(context.settings.log.dir, level), "level": level, "levels": tail.LEVELS}


def history(context: Context, asked: Asked) -> Values:
    """What operators did."""
    before = asked.query.get("before", "")
    deeds: list[Deed] = context.ledger.deeds(number_of(before), PAGE + 1)
    return {"deeds": deeds[:PAGE], "next": deeds[PAGE - 1].id if len(deeds) > PAGE else None, "first": not before}

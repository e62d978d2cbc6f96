"""What `status` and `show` tell, as plain values for JSON: stable English keys, both languages where people read.

Only reads the ledger, whose reasons are masked: nothing here names a patient.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from folder_agent.agent import concerns, gatekeeper
from folder_agent.core import gate as gates
from folder_agent.core.answers import AnswerRules, answers
from folder_agent.core.bandwidth import Limit, limit_at
from folder_agent.core.catalogue import explain, what_to_do
from folder_agent.core.errors import Problem
from folder_agent.core.gate import Gate
from folder_agent.core.lifecycle import BundleState, FileState
from folder_agent.core.ports import Ledger, Tallies
from folder_agent.core.records import BundleRecord, FileRecord, HistoryEntry
from folder_agent.core.status import Phrase, oldest_waiting_s, reason_text
from folder_agent.edges.clock import week_minute

Report = dict[str, Any]
MOST_FAILED, MOST_DONE, MOST_IGNORED, MOST_NAMED = 50, 10, 50, 100
_LOOKED_INTO = frozenset({FileState.SETTLED, FileState.REFUSED})
_LOOKED_BACK = 2000  # bundles: the ledger is asked for the latest ones, of whatever state
ENDED_BADLY = frozenset({BundleState.REFUSED, BundleState.FAILED})
NOTHING_YET = Tallies(bundles={}, files={}, oldest_open_at=None, unassigned=0)

WORDS: dict[BundleState, Phrase] = {
    BundleState.GATHERING: Phrase("正在收集文件", "gathering its files"),
    BundleState.COMPLETE: Phrase("文件已齐,等待发送", "complete; waits for its turn to be sent"),
    BundleState.SENDING: Phrase("正在发送", "being sent"),
    BundleState.WAITING: Phrase("等待重试", "waits to be tried again"),
    BundleState.HELD: Phrase("已暂停,需人工处理", "held until somebody mends the cause"),
    BundleState.COMMITTED: Phrase("前置机已接收,正在移入 done/", "accepted by the gateway; being moved to done/"),
    BundleState.DONE: Phrase("已送达", "delivered"),
    BundleState.REFUSED: Phrase("内容有误,未发送", "refused for its content"),
    BundleState.FAILED: Phrase("未能送达", "could not be delivered"),
    BundleState.WITHDRAWN: Phrase("文件在发送前被取走", "its files were taken away before they were sent"),
}
_AT_THE_GATE = frozenset({BundleState.COMPLETE, BundleState.HELD})  # what keeps the gate shut keeps these
_IN_MOTION = frozenset({BundleState.COMPLETE, BundleState.SENDING})  # what was wrong earlier does not hold them up now


def gate_of(ledger: Ledger) -> Gate:
    """Why nothing is sent now, as the agent left it in the ledger."""
    return gates.read(ledger.recall(gatekeeper.NAME))


def status_report(
    ledger: Ledger | None,
    now: float,
    drops: Sequence[str] = (),
    answer_rules: Mapping[str, AnswerRules] | None = None,
    limits: Sequence[Limit] = (),
    tallies: Tallies | None = None,
) -> Report:
    """The whole, in one object; a ledger that does not exist yet reads as an empty one. `tallies` are the ledger's,
    where somebody has just counted them."""
    troubles = [] if ledger is None else [(drop, one) for drop in drops for one in concerns.of_drop(ledger, drop)]
    tallies = tallies or (NOTHING_YET if ledger is None else ledger.tallies())
    gate = Gate() if ledger is None else gate_of(ledger)
    latest = [] if ledger is None else ledger.latest_bundles(_LOOKED_BACK)
    waiting = [] if ledger is None else [b for b in ledger.open_bundles() if b.state not in ENDED_BADLY]
    failed = [b for b in latest if b.state in ENDED_BADLY][:MOST_FAILED]
    done = [b for b in latest if b.state is BundleState.DONE][:MOST_DONE]
    return {
        "bundles": {str(state): tallies.bundles.get(state, 0) for state in BundleState},
        "files": {str(state): tallies.files.get(state, 0) for state in FileState},
        "held": _shut(gate) if gate.held else None,
        "outage": None if gate.held else _shut(gate),
        "limit": _limit(limits, now),
        "drop_troubles": [{"drop": drop, **_reason(one)} for drop, one in troubles],
        "oldest_waiting_s": oldest_waiting_s(tallies.oldest_open_at, now),
        "unassigned": tallies.unassigned,
        "ignored": [] if ledger is None else _ignored(ledger, drops, answer_rules or {}),
        "waiting": [_waiting(bundle, gate) for bundle in waiting],
        "failed": [_failed(bundle, latest) for bundle in failed],
        "done": [
            {"id": b.id, "bundle": b.name, "drop": b.drop, "at": iso(b.changed_at), "where": b.target} for b in done
        ],
    }


def show_report(ledger: Ledger, bundle: BundleRecord, others: Sequence[BundleRecord]) -> Report:
    """All about one bundle, and which others go by the same name."""
    words = why_of(bundle)
    return {
        "bundle": {
            **_name(bundle),
            "state": str(bundle.state),
            "for": words.en,
            "for_zh": words.zh,
            "reasons": [_reason(one) for one in bundle.reasons],
            "study_uid": bundle.study_uid,
            "access_number": bundle.access_number,
            "study_id": bundle.study_id,
            "emergency": bundle.emergency,
            "overdue": bundle.overdue,
            "since": iso(bundle.created_at),
            "changed": iso(bundle.changed_at),
            "attempts": bundle.attempts,
            "due": iso(bundle.due_at),
            "answer": bundle.answer,
            "committed": iso(bundle.committed_at),
            "where": bundle.target,
            "open": bundle.is_open,
        },
        "files": [_file(record) for record in ledger.files_of(bundle.id)],
        "timeline": [_entry(entry) for entry in ledger.history(bundle.id)],
        "others": [{**_name(b), "state": str(b.state), "since": iso(b.created_at)} for b in others],
    }


def why_of(bundle: BundleRecord, gate: Gate = Gate()) -> Phrase:  # noqa: B008 - frozen
    """What the bundle waits for, or why it failed, in one sentence."""
    if bundle.state in _AT_THE_GATE and gate.reason is not None:
        return Phrase(explain(gate.reason, "zh"), explain(gate.reason, "en"))
    if bundle.state in _IN_MOTION or not bundle.reasons:
        return WORDS[bundle.state]
    return Phrase(reason_text(bundle.reasons, "zh"), reason_text(bundle.reasons, "en"))


def iso(at: float | None) -> str | None:
    """An epoch time as ISO 8601, with the offset of this place."""
    return None if at is None else datetime.fromtimestamp(at).astimezone().isoformat(timespec="seconds")


def _name(bundle: BundleRecord) -> Report:
    return {"id": bundle.id, "bundle": bundle.name, "drop": bundle.drop}


def _ignored(ledger: Ledger, drops: Sequence[str], rules: Mapping[str, AnswerRules]) -> list[Report]:
    """Files that lie in a drop folder and belong to no exam, and why they are not sent."""
    found: list[Report] = []
    for drop in drops:
        known = [one for one in ledger.open_files(drop) if one.bundle_id is None and one.state in _LOOKED_INTO]
        files = ((one.path, one.kind, one.reason) for one in known)
        for told in answers(files, rules.get(drop, AnswerRules()))[: MOST_IGNORED - len(found)]:
            reason = _reason(replace(told.problem, path=None))
            found.append({"drop": drop, "path": told.problem.path, **reason, "files": list(told.files[:MOST_NAMED])})
    return found


def _limit(limits: Sequence[Limit], now: float) -> Report | None:
    holding = limit_at(limits, *week_minute(now))
    return {"now": holding and holding.words, "set": [limit.text for limit in limits]} if limits else None


def _shut(gate: Gate) -> Report | None:
    return None if gate.reason is None else {**_reason(gate.reason), "since": iso(gate.since)}


def _reason(reason: Problem) -> Report:
    masked = reason.masked()
    return {
        "code": reason.code,
        "reason": explain(masked, "en"),
        "reason_zh": explain(masked, "zh"),
        "todo": what_to_do(masked, "en"),
        "todo_zh": what_to_do(masked, "zh"),
    }


def _waiting(bundle: BundleRecord, gate: Gate) -> Report:
    words = why_of(bundle, gate)
    return {
        **_name(bundle),
        "state": str(bundle.state),
        "for": words.en,
        "for_zh": words.zh,
        "code": bundle.reasons[0].code if bundle.reasons else None,
        "overdue": bundle.overdue,
        "since": iso(bundle.created_at),
        "due": iso(bundle.due_at),
    }


def _failed(bundle: BundleRecord, latest: Sequence[BundleRecord]) -> Report:
    words = why_of(bundle)
    return {
        **_name(bundle),
        "why": words.en,
        "why_zh": words.zh,
        "code": bundle.reasons[0].code if bundle.reasons else None,
        "at": iso(bundle.changed_at),
        "where": bundle.target,
        "superseded_by": _successor(bundle, latest),
    }


def _successor(bundle: BundleRecord, latest: Sequence[BundleRecord]) -> int | None:
    """The newest later bundle of the same drop folder with its name or exam: it has been dropped again."""
    later = (b for b in latest if b.id > bundle.id and b.drop == bundle.drop)
    number = bundle.access_number
    again = (b.id for b in later if b.name == bundle.name or (number is not None and b.access_number == number))
    return max(again, default=None)


def _file(record: FileRecord) -> Report:
    return {
        "path": record.path,
        "kind": str(record.kind),
        "state": str(record.state),
        "size": record.stamp.size,
        "sent": iso(record.accepted_at) if record.state is FileState.SENT else None,
        "answer": record.answer if record.state is FileState.SENT else None,
        "reason": None if record.reason is None else explain(record.reason.masked(), "en"),
        "reason_zh": None if record.reason is None else explain(record.reason.masked(), "zh"),
    }


def _entry(entry: HistoryEntry) -> Report:
    return {
        "at": iso(entry.at),
        "subject": entry.subject,
        "id": entry.subject_id,
        "from": entry.before,
        "event": entry.event,
        "to": entry.after,
        "why": reason_text(entry.reasons, "en"),
        "why_zh": reason_text(entry.reasons, "zh"),
    }

"""What every page has at hand, and how a page becomes HTML. Reads the templates beside it."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from folder_agent import __version__
from folder_agent.checkup import Check
from folder_agent.checkup.accounts import Day
from folder_agent.checkup.reports import WORDS, Report, why_of
from folder_agent.console.access import Access, Visitor
from folder_agent.console.jobs import Job
from folder_agent.console.live import Live
from folder_agent.console.pulse import Pulse
from folder_agent.core.catalogue import Language, explain, what_to_do
from folder_agent.core.gate import Gate
from folder_agent.core.lifecycle import BundleState, FileState
from folder_agent.core.records import Act, BundleRecord
from folder_agent.core.status import Phrase
from folder_agent.edges.ledger import PeeweeLedger
from folder_agent.edges.meters import Meters
from folder_agent.settings import Settings

HERE = Path(__file__).parent
_CACHE_S, _CACHED = 2.0, 64


@dataclass(slots=True)
class Proven:
    """What reconciling found: the days from the first to the last."""

    first: date
    last: date
    days: list[Day]


@dataclass
class Context:
    """All that pages are made of. `ledger` only reads; `writing` opens one that may write, for an operator's act."""

    settings: Settings
    ledger: PeeweeLedger
    writing: Callable[[], PeeweeLedger]
    live: Live
    meters: Meters
    pulse: Pulse
    access: Access
    doctor: Job[list[Check]]
    proof: Job[Proven]
    is_alive: Callable[[], bool]  # whether the agent's own loop goes round
    epoch: int = 0  # grows with every act, so that its result is seen at once
    begun_at: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, as a page's handler sees it."""

    path: str
    query: Mapping[str, str]
    form: Mapping[str, list[str]]
    visitor: Visitor
    language: Language
    theme: str
    is_fragment: bool
    cookie: str
    numbers: Mapping[str, str] = field(default_factory=dict)

    def one(self, name: str) -> str:
        """A field of the form; empty if it is not there."""
        return (self.form.get(name) or [""])[0]


class Pages:
    """Templates to HTML."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._environment = Environment(
            loader=FileSystemLoader(HERE / "templates", encoding="utf-8"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.globals.update(version=__version__, quote=quote)
        self.placeholder = secrets.token_hex(24)  # stands for the visitor's token in what is kept
        self._kept: OrderedDict[tuple[Any, ...], tuple[float, str]] = OrderedDict()
        self._lock = threading.Lock()

    def warm(self) -> None:
        """Make every template ready, so that nobody who looks first waits for that."""
        for name in self._environment.list_templates(extensions=["html"]):
            self._environment.get_template(name)

    def html(self, name: str, asked: Asked, **values: Any) -> str:
        """The page, or only its main part if that is asked for."""
        helpers = Helpers(asked.language)
        template = self._environment.get_template(name)
        return template.render(
            asked=asked,
            visitor=asked.visitor,
            lang=asked.language,
            t=helpers.t,
            h=helpers,
            csrf=self.placeholder,
            layout="fragment.html" if asked.is_fragment else "base.html",
            **{"version_shown": self._live.version, **values},
        )

    def kept(self, key: tuple[Any, ...], make: Callable[[], str]) -> str:
        """What was made for the same key a moment ago, or anew: many browsers cost no more than one."""
        now = time.monotonic()
        with self._lock:
            found = self._kept.get(key)
            if found and now - found[0] < _CACHE_S:
                return found[1]
        made = make()
        with self._lock:
            self._kept[key] = (now, made)
            while len(self._kept) > _CACHED:
                self._kept.popitem(last=False)
        return made


class Helpers:
    """What templates call, in one language."""

    def __init__(self, language: Language) -> None:
        self._language: Language = language

    def t(self, en: str, zh: str, **values: object) -> str:
        """The words of this language."""
        text = zh if self._language == "zh" else en
        return text.format(**values) if values else text

    def phrase(self, phrase: Phrase | None) -> str:
        """The phrase in this language."""
        return "" if phrase is None else phrase.zh if self._language == "zh" else phrase.en

    def said(self, report: Report, key: str) -> str:
        """A text of a report, which holds both languages."""
        return str(report[f"{key}_zh" if self._language == "zh" else key] or "")

    def why(self, problem: Any) -> str:
        """What is wrong, as WHY.txt says it, but masked."""
        return explain(problem.masked(), self._language)

    def todo(self, problem: Any) -> str:
        """What to do about it."""
        return what_to_do(problem.masked(), self._language)

    def waits(self, bundle: BundleRecord, gate: Gate) -> str:
        """What a bundle waits for, or why it failed."""
        return self.phrase(why_of(bundle, gate))

    def state(self, state: str) -> str:
        """A state in plain words, short."""
        return self.phrase(SHORT[BundleState(state)])

    def long_state(self, state: str) -> str:
        """A state in a sentence."""
        return self.phrase(WORDS[BundleState(state)])

    def file_state(self, state: str) -> str:
        """The state of a file."""
        return self.phrase(FILES[FileState(state)])

    def event(self, event: str) -> str:
        """What happened to a bundle or a file."""
        return self.phrase(EVENTS.get(event)) or event

    def deed(self, act: str) -> str:
        """What an operator did."""
        return self.phrase(DEEDS.get(act)) or act

    def time(self, at: float | None) -> Markup:
        """A time as people of this place read it; the day only if it is another one."""
        if at is None:
            return Markup("—")
        moment = datetime.fromtimestamp(at).astimezone()
        is_today = moment.date() == datetime.now().astimezone().date()
        short = moment.strftime("%H:%M:%S" if is_today else "%Y-%m-%d %H:%M")
        full = moment.isoformat(timespec="seconds")
        return Markup('<time datetime="{}" title="{}">{}</time>').format(
            full, moment.strftime("%Y-%m-%d %H:%M:%S"), short
        )

    def iso(self, text: str | None) -> Markup:
        """The same of an ISO time."""
        return self.time(None if text is None else datetime.fromisoformat(text).timestamp())

    def size(self, count: float | None) -> str:
        """Bytes for people."""
        if count is None:
            return "—"
        for unit in ("B", "KB", "MB", "GB"):
            if count < 1000:
                return f"{count:.0f} {unit}" if unit == "B" or count >= 10 else f"{count:.1f} {unit}"
            count /= 1000
        return f"{count:.1f} TB"

    def lasts(self, seconds: float | None) -> str:
        """How long, roughly."""
        if seconds is None:
            return "—"
        zh = self._language == "zh"
        if seconds < 90:
            return f"{seconds:.0f} 秒" if zh else f"{seconds:.0f} s"
        if seconds < 5400:
            return f"{seconds / 60:.0f} 分钟" if zh else f"{seconds / 60:.0f} min"
        if seconds < 48 * 3600:
            return f"{seconds / 3600:.1f} 小时" if zh else f"{seconds / 3600:.1f} h"
        return f"{seconds / 86400:.0f} 天" if zh else f"{seconds / 86400:.0f} days"

    def link(self, path: str, **query: object) -> str:
        """A path with a query, without what is empty."""
        given = {name: value for name, value in query.items() if value not in (None, "")}
        return f"{path}?{urlencode(given)}" if given else path


SHORT: dict[BundleState, Phrase] = {
    BundleState.GATHERING: Phrase("收集中", "gathering"),
    BundleState.COMPLETE: Phrase("待发送", "complete"),
    BundleState.SENDING: Phrase("发送中", "sending"),
    BundleState.WAITING: Phrase("待重试", "to be retried"),
    BundleState.HELD: Phrase("已暂停", "held"),
    BundleState.COMMITTED: Phrase("已接收", "accepted"),
    BundleState.DONE: Phrase("已送达", "delivered"),
    BundleState.REFUSED: Phrase("被拒绝", "refused"),
    BundleState.FAILED: Phrase("失败", "failed"),
    BundleState.WITHDRAWN: Phrase("已取走", "taken away"),
}

FILES: dict[FileState, Phrase] = {
    FileState.SEEN: Phrase("刚发现", "seen"),
    FileState.SETTLED: Phrase("已就绪", "settled"),
    FileState.SENT: Phrase("已发送", "sent"),
    FileState.VANISHED: Phrase("已消失", "vanished"),
    FileState.REFUSED: Phrase("有问题", "refused"),
}

EVENTS: dict[str, Phrase] = {
    "open": Phrase("首次见到", "first seen"),
    "see": Phrase("出现", "appeared"),
    "settle": Phrase("不再变化", "stopped changing"),
    "accept": Phrase("前置机接收", "accepted by the gateway"),
    "recognise": Phrase("之前已接收", "accepted earlier"),
    "change": Phrase("有变化", "changed"),
    "vanish": Phrase("消失", "went away"),
    "complete": Phrase("文件已齐", "complete"),
    "reopen": Phrase("重新收集", "gathered anew"),
    "send": Phrase("开始发送", "sending begins"),
    "put off": Phrase("稍后重试", "put off"),
    "hold": Phrase("暂停", "held"),
    "retry now": Phrase("要求立即重试", "an operator asked to try now"),
    "commit": Phrase("前置机确认", "the gateway accepted the exam"),
    "refuse": Phrase("拒绝", "refused"),
    "fail": Phrase("失败", "failed"),
    "aim": Phrase("选定存放位置", "its place is chosen"),
    "shelve": Phrase("移入归档", "moved to its place"),
    "withdraw": Phrase("文件被取走", "taken away"),
}

DEEDS: dict[str, Phrase] = {
    Act.RETRY: Phrase("要求重试", "asked to try again"),
    Act.REFUSE: Phrase("拒绝", "refused it"),
    Act.ACCEPT: Phrase("按现状接受", "accepted it as it is"),
    Act.REVEAL: Phrase("查看了患者姓名", "looked at the patient's name"),
    Act.LOGIN: Phrase("登录", "logged in"),
    Act.LOGIN_FAILED: Phrase("登录失败", "failed to log in"),
    Act.LOGOUT: Phrase("退出", "logged out"),
    Act.CHECK: Phrase("要求检查", "asked for a check"),
}

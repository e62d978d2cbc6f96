"""What is said: events, gathered into one message, in both languages. Pure but for the machine's name.

An event holds a code of the catalogue with its masked values, a drop folder's name, and numbers; no name of a bundle,
file or patient, which people choose or own.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from folder_agent import __version__
from folder_agent.core.catalogue import Language, explain, what_to_do
from folder_agent.core.errors import Problem
from folder_agent.core.status import Phrase

_MOST_LINES = 12
_WORDS: dict[str, Phrase] = {
    "held": Phrase("已暂停发送", "sending is on hold"),
    "outage": Phrase("中断", "outage"),
    "failed": Phrase("未能送达", "not delivered"),
    "overdue": Phrase("逾期未齐", "overdue"),
    "recovered": Phrase("已恢复", "recovered"),
    "disk": Phrase("磁盘空间不足", "disk low"),
    "silent": Phrase("PACS 没有新的投放", "the PACS has gone silent"),
    "test": Phrase("测试消息", "test message"),
}


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened. `where` is a drop folder, or empty for the agent as a whole."""

    kind: str
    at: float
    problem: Problem | None = None
    where: str = ""
    waiting: int | None = None  # bundles that wait because of it
    hours: float | None = None  # of silence

    @property
    def cause(self) -> tuple[str, str, str]:
        """What is told in one line."""
        return self.kind, self.problem.code if self.problem else "", self.where


def told(problem: Problem) -> Problem:
    """The problem as it may be told: masked, and without the path, which may be named for a person. What came from
    outside is left out as well: nobody knows what a gateway says."""
    outside = {"message", "answer", "text", "first"}
    values = tuple((name, "…" if name in outside else value) for name, value in problem.values)
    return replace(problem.masked(), path=None, values=values)


@dataclass(frozen=True, slots=True)
class Message:
    """Events that go out together."""

    events: tuple[Event, ...]

    def text(self, language: Language) -> str:
        """A line for each cause, with how often it came."""
        zh, lines = language == "zh", []
        groups: dict[tuple[str, str, str], list[Event]] = {}
        for event in self.events:
            groups.setdefault(event.cause, []).append(event)
        for found in list(groups.values())[:_MOST_LINES]:
            lines.append(_line(found, language))
        if (more := len(groups) - _MOST_LINES) > 0:
            lines.append(f"… 另有 {more} 项" if zh else f"… and {more} more")
        return "\n".join([f"folder-agent @ {socket.gethostname()}", *lines])

    def subject(self, language: Language) -> str:
        """For a mail."""
        kinds = list(dict.fromkeys(event.kind for event in self.events))
        words = [_WORDS[kind].zh if language == "zh" else _WORDS[kind].en for kind in kinds]
        return f"folder-agent @ {socket.gethostname()}: {', '.join(words)}"

    def as_json(self) -> dict[str, Any]:
        """For a program."""
        return {
            "agent": "folder-agent",
            "version": __version__,
            "host": socket.gethostname(),
            "text": self.text("en"),
            "text_zh": self.text("zh"),
            "events": [_value(event) for event in self.events[:200]],
        }


def test_message(at: float) -> Message:
    """What `notify-test` sends."""
    return Message((Event("test", at),))


test_message.__test__ = False  # type: ignore[attr-defined]  # its name is no test's


def _line(events: Sequence[Event], language: Language) -> str:
    zh, last = language == "zh", events[-1]
    word = _WORDS[last.kind].zh if zh else _WORDS[last.kind].en
    at = datetime.fromtimestamp(events[0].at).astimezone().strftime("%m-%d %H:%M")
    where = f" [{last.where}]" if last.where else ""
    times = f" × {len(events)}" if len(events) > 1 else ""
    text = f"{at} {word}{where}{times}"
    if last.hours is not None:
        text += f":{last.hours:g} 个工作小时" if zh else f": nothing dropped for {last.hours:g} working hours"
    if last.kind == "recovered" and last.problem is None:  # a silence
        text += ":PACS 又有新的投放" if zh else ": the PACS drops exams again"
    if last.problem is not None:
        text += f"{':' if zh else ': '}{explain(last.problem, language)} ({last.problem.code})"
        if last.kind in ("held", "disk", "failed"):
            text += f"。{what_to_do(last.problem, language)}" if zh else f". {what_to_do(last.problem, language)}"
    if last.waiting:
        text += f"({last.waiting} 个检查在等待,没有丢失)" if zh else f" ({last.waiting} wait, nothing is lost)"
    return text


def _value(event: Event) -> dict[str, Any]:
    problem = event.problem
    return {
        "kind": event.kind,
        "at": datetime.fromtimestamp(event.at).astimezone().isoformat(timespec="seconds"),
        "drop": event.where or None,
        "code": problem.code if problem else None,
        "reason": explain(problem, "en") if problem else None,
        "reason_zh": explain(problem, "zh") if problem else None,
        "waiting": event.waiting,
    }

"""_STATUS.txt: what a person who looks into a drop folder is told there of what waits, what failed today and what is
not sent at all. Pure. Everybody with access to the share reads it: reasons are masked, names are those that lie there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from folder_agent.core.catalogue import Language, explain, what_to_do
from folder_agent.core.errors import Problem
from folder_agent.core.records import BundleRecord
from folder_agent.core.status import reason_text

HEAD = b"\xef\xbb\xbffolder-agent:"  # how every one of ours begins
MOST = 40  # lines of each list
_BREAKS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")

_WORDS: dict[Language, dict[str, str]] = {
    "zh": {
        "title": "folder-agent:投放目录「{drop}」的情况。本文件由程序自动更新,请勿修改。",
        "looked": "最近一次查看:{at}",
        "held": "注意:",
        "waiting": "等待中({count}):",
        "moving": "齐全,等待发送或正在发送",
        "overdue": "已逾期:",
        "failed": "今天未送达({count}),原因见文件夹中的 WHY.txt:",
        "ignored": "不会发送的文件({count}):",
        "nothing": "没有等待的检查,今天没有未送达的检查。",
        "more": "…另有 {count} 项",
        "colon": ":",
        "stop": "。",
    },
    "en": {
        "title": 'folder-agent: how things stand in the drop folder "{drop}". Written by the program; do not edit.',
        "looked": "Last looked: {at}",
        "held": "Note: ",
        "waiting": "Waiting ({count}):",
        "moving": "complete; waiting to be sent, or being sent",
        "overdue": "OVERDUE: ",
        "failed": "Not delivered today ({count}), see WHY.txt in the folder:",
        "ignored": "Files that are not sent ({count}):",
        "nothing": "No exam is waiting, and none failed today.",
        "more": "… and {count} more",
        "colon": ": ",
        "stop": ". ",
    },
}


@dataclass(frozen=True, slots=True)
class Standing:
    """How things stand in one drop folder."""

    drop: str
    troubles: tuple[Problem, ...]  # why nothing is sent, or not all of it is seen
    waiting: tuple[BundleRecord, ...]
    failed: tuple[BundleRecord, ...]
    ignored: tuple[Problem, ...]  # with the file's path
    ignored_in_all: int = 0


def status_note(standing: Standing, looked_at: str) -> bytes:
    """The file: UTF-8 with BOM and CRLF (old Notepad reads it), Chinese first. `looked_at` is the local time of the
    last look, as people write it."""
    languages: tuple[Language, ...] = ("zh", "en")
    blocks = ["\r\n".join(_block(standing, looked_at, language)) for language in languages]
    text = "\r\n\r\n----------------------------------------\r\n\r\n".join(blocks) + "\r\n"
    return b"\xef\xbb\xbf" + text.encode(errors="backslashreplace")


def _block(standing: Standing, looked_at: str, language: Language) -> list[str]:
    words = _WORDS[language]
    lines = [words["title"].format(drop=standing.drop), words["looked"].format(at=looked_at)]
    lines += [words["held"] + _one_line(_told(trouble, language)) for trouble in standing.troubles]
    waiting = [_waiting(bundle, language) for bundle in standing.waiting[:MOST]]
    failed = [_failed(bundle, language) for bundle in standing.failed[:MOST]]
    ignored = [_told(one, language) for one in standing.ignored[:MOST]]
    if not waiting and not failed:
        lines += ["", words["nothing"]]
    for name, shown, count in (
        ("waiting", waiting, len(standing.waiting)),
        ("failed", failed, len(standing.failed)),
        ("ignored", ignored, max(standing.ignored_in_all, len(standing.ignored))),
    ):
        if shown:
            lines += ["", words[name].format(count=count), *(f"  {_one_line(line)}" for line in shown)]
        if count > len(shown) > 0:
            lines.append("  " + words["more"].format(count=count - len(shown)))
    return lines


def _waiting(bundle: BundleRecord, language: Language) -> str:
    words = _WORDS[language]
    why = reason_text([_short(one, bundle) for one in bundle.reasons], language) or words["moving"]
    codes = f" [{bundle.reasons[0].code}]" if bundle.reasons else ""
    return f"{bundle.name}{words['colon']}{words['overdue'] if bundle.overdue else ''}{why}{codes}"


def _failed(bundle: BundleRecord, language: Language) -> str:
    where = "/".join(re.split(r"[\\/]", bundle.target or "")[-3:])
    why = reason_text([_short(one, bundle) for one in bundle.reasons], language)
    return f"{where or bundle.name}{_WORDS[language]['colon']}{why}"


def _short(reason: Problem, bundle: BundleRecord) -> Problem:
    """Without a path that says nothing more than the bundle's own name does."""
    masked = reason.masked()
    return replace(masked, path=None) if masked.path == bundle.key else masked


def _told(one: Problem, language: Language) -> str:
    masked = one.masked()
    return f"{explain(masked, language)}{_WORDS[language]['stop']}{what_to_do(masked, language)} [{one.code}]"


def _one_line(text: str) -> str:
    return _BREAKS.sub(" ", text)

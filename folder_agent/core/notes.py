"""The two notes that we leave beside a bundle: WHY.txt in failed/, receipt.json wherever the gateway holds something.

Pure. Both lie next to the patient's own files, so private values stand in them as they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, tzinfo
from types import MappingProxyType

from folder_agent.core.catalogue import Language, explain, what_to_do
from folder_agent.core.delivered import Version
from folder_agent.core.errors import Problem
from folder_agent.core.lifecycle import FileState
from folder_agent.core.records import Answer, BundleRecord, FileKind, FileRecord
from folder_agent.core.shelving import RECEIPT, WHY, places, shared_folder
from folder_agent.core.tidy_json import indented

DELIVERED, NOT_DELIVERED, ALREADY = "delivered", "not delivered", "already delivered"
_BOM = b"\xef\xbb\xbf"
_WHY_HEAD = _BOM + b"folder-agent:"
_RECEIPT_HEAD = b'{\n  "receipt": 1,'
_BREAKS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")

_WORDS: dict[Language, dict[str, str]] = {
    "zh": {
        "title": "folder-agent:检查「{name}」没有送达。文件都在这个文件夹里,没有丢失。",
        "time": "时间:{now}",
        "held": "注意:前置机已收到其中 {accepted} 个文件(共 {total} 个),清单见 {receipt};检查信息尚未被接收。",
        "why": "原因:",
        "todo": "处理:{todo}",
        "again": "重试:更正后,把整个文件夹放回投放目录 {where} ,会自动重新发送;本说明可以留在里面。",
    },
    "en": {
        "title": 'folder-agent: the exam "{name}" was not delivered. Its files are all in this folder; none is lost.',
        "time": "Time: {now}",
        "held": "Note: the gateway already holds {accepted} of its {total} files, listed in {receipt}; "
        "the exam information was not accepted.",
        "why": "Why:",
        "todo": "What to do: {todo}",
        "again": "To try again: put it right, then drop the whole folder back into {where}; it is sent by itself. "
        "This note may stay in it.",
    },
}
_NOT_SENT: dict[FileKind, str] = {
    FileKind.SIDECAR: "its content went to the gateway as the exam information",
    FileKind.MARKER: "a marker that says that the exam is complete",
    FileKind.JUNK: "not a file of the exam (system file or note)",
    FileKind.FOREIGN: "neither DICOM nor PDF",
    FileKind.TEMPORARY: "a temporary file",
    FileKind.DICOM: "no transport is set up for this kind of file",
    FileKind.PDF: "no transport is set up for this kind of file",
    FileKind.UNKNOWN: "could not be read",
}
_NOT_ACCEPTED = dict.fromkeys((FileKind.SIDECAR, FileKind.DICOM, FileKind.PDF), "the gateway has not accepted it")


def why_note(
    name: str, problems: Sequence[Problem], now_text: str, where: str, *, accepted: int = 0, total: int = 0
) -> bytes:
    """WHY.txt: UTF-8 with BOM and CRLF (old Notepad reads it), Chinese first. `where` is the drop folder to which the
    bundle goes back for another try; `now_text` is the local time, as people write it; `accepted` of `total` files are
    at the gateway all the same."""
    languages: tuple[Language, ...] = ("zh", "en")
    held: dict[str, int | str] = {"accepted": accepted, "total": total, "receipt": RECEIPT}
    blocks = [_block(language, name, problems, now_text, where, held) for language in languages]
    text = "\r\n\r\n----------------------------------------\r\n\r\n".join("\r\n".join(lines) for lines in blocks)
    return _BOM + (text + "\r\n").encode(errors="backslashreplace")


def _block(
    language: Language,
    name: str,
    problems: Sequence[Problem],
    now_text: str,
    where: str,
    held: Mapping[str, int | str],
) -> list[str]:
    words = _WORDS[language]
    lines = [words["title"].format(name=_one_line(name)), words["time"].format(now=_one_line(now_text)), ""]
    if held["accepted"]:
        lines += [words["held"].format(**held), ""]
    lines.append(words["why"])
    for number, problem in enumerate(problems, 1):
        lines.append(f"{number}. {_one_line(explain(problem, language))} [{problem.code}]")
        lines.append("   " + words["todo"].format(todo=_one_line(what_to_do(problem, language))))
    return [*lines, "", words["again"].format(where=_one_line(where))]


def _one_line(text: str) -> str:
    """Values come from other people's files: a line break in one must not make lines of its own."""
    return _BREAKS.sub(" ", text)


def receipt(
    bundle: BundleRecord,
    files: Sequence[FileRecord],
    exam: Mapping[str, str | int],
    *,
    encoding: str | None,
    url: str,
    agent: str,
    delivered_at: datetime,
    answer: Answer | None = None,
    warnings: Sequence[Problem] = (),
    filled: Mapping[str, str] = MappingProxyType({}),
    replaced: Sequence[tuple[FileRecord, Version]] = (),
) -> bytes:
    """receipt.json: what was sent where and when, and what was answered. `files` are all files of the bundle as the
    ledger has them; they are shown by the paths that they have beside the receipt, and `folder` (with its slash) is
    where these were in the drop folder: a ledger can be rebuilt from this (receipts.py). `encoding` is the sidecar's
    (None: it could not be read again; without a sidecar it is not told); `filled` are the fields that neither sidecar
    nor mapping gave, with the DICOM keyword or another word for where they came from; `agent` is our version;
    `delivered_at` is aware, and its zone is used throughout. Without `answer` (a run before this one committed) the
    ledger's text of it is used. A bundle that was not committed has a receipt for what was accepted of it. `replaced`
    are instances that had been delivered before with the bytes of that version."""
    zone = delivered_at.tzinfo
    paths = [file.path for file in files]
    inside = places(paths)
    is_delivered = bundle.committed_at is not None
    repeat = next((reason for reason in bundle.reasons if reason.code == "FA-REPEAT"), None)
    if repeat is not None and is_delivered:
        outcome, told_at = ALREADY, _moment(bundle.committed_at, zone)
    else:
        outcome, told_at = NOT_DELIVERED, None
        if is_delivered:
            outcome, told_at = DELIVERED, delivered_at.isoformat(timespec="seconds")
    sent = [file for file in files if file.state is FileState.SENT]
    unsent = [file for file in files if file.state is not FileState.SENT]
    content = {
        "receipt": 1,
        "bundle": bundle.name,
        "drop": bundle.drop,
        "agent": agent,
        "outcome": outcome,
        **({"note": _already(repeat)} if repeat is not None and is_delivered else {}),
        "first_seen_at": _moment(bundle.created_at, zone),
        "delivered_at": told_at,
        "key": bundle.key,
        "folder": shared_folder(paths),
        "gateway": {
            "url": url,
            "answer": _answer(answer, bundle.answer),
            "committed_at": _moment(bundle.committed_at, zone),
        },
        **({"encoding": encoding} if any(file.kind is FileKind.SIDECAR for file in files) else {}),
        "exam": dict(exam),
        "filled": dict(filled),
        "files": [_sent(file, inside[file.path], zone) for file in sent],
        **({"replaced": [_replaced(file, inside[file.path], old, zone) for file, old in replaced]} if replaced else {}),
        "notSent": [_unsent(file, inside[file.path], is_delivered) for file in unsent],
        "warnings": [{"code": warning.code, "text": explain(warning, "en")} for warning in warnings],
    }
    text = indented(content) + "\n"
    return text.encode(errors="backslashreplace")  # a lone surrogate becomes the JSON escape of itself


def is_our_note(name: str, content: bytes) -> bool:
    """Whether a file of that name is a note that we wrote, and not somebody's own file of the same name."""
    heads = {WHY: _WHY_HEAD, RECEIPT: _RECEIPT_HEAD}
    return name in heads and content.startswith(heads[name])


def _sent(file: FileRecord, path: str, zone: tzinfo | None) -> dict[str, str | int | None]:
    return {
        "path": path,
        "kind": file.kind.value,
        "size": file.stamp.size,
        "sha256": file.sha256,
        "sopInstanceUid": file.sop_instance,
        "sentTo": file.destination,
        "acceptedAt": _moment(file.accepted_at, zone),
        "answer": file.answer,
        **_counted_by(file),
    }


def _unsent(file: FileRecord, path: str, is_delivered: bool) -> dict[str, str | int]:
    why = _why_not_sent(file, _NOT_SENT if is_delivered else _NOT_SENT | _NOT_ACCEPTED)
    known = {} if file.sop_instance is None else {"sopInstanceUid": file.sop_instance}
    digest = {} if file.digest is None else {"sha256": file.digest}
    return {
        "path": path,
        "kind": file.kind.value,
        "size": file.stamp.size,
        "why": why,
        **digest,
        **known,
        **_counted_by(file),
    }


def _counted_by(file: FileRecord) -> dict[str, str]:
    found = {"role": file.role, "seriesInstanceUid": file.series}
    return {name: value for name, value in found.items() if value is not None}


def _already(reason: Problem) -> dict[str, str]:
    return {"code": reason.code, "zh": explain(reason, "zh"), "en": explain(reason, "en"), **_texts(reason)}


def _texts(reason: Problem) -> dict[str, str]:
    return {name: str(value) for name, value in reason.values}


def _replaced(file: FileRecord, path: str, old: Version, zone: tzinfo | None) -> dict[str, str | None]:
    return {
        "path": path,
        "sopInstanceUid": file.sop_instance,
        "oldSha256": old.sha256,
        "oldPath": old.path,
        "oldAcceptedAt": _moment(old.accepted_at, zone),
    }


def _why_not_sent(file: FileRecord, by_kind: Mapping[FileKind, str]) -> str:
    if file.reason is None:
        return by_kind[file.kind]
    return explain(replace(file.reason, path=None), "en")  # its path stands beside it


def _answer(answer: Answer | None, text: str | None) -> dict[str, str | int | None]:
    if answer is not None:
        return {"code": answer.code, "message": answer.message}
    try:
        kept = json.loads(text or "")
        return {"code": kept["code"], "message": kept["message"]}
    except (ValueError, KeyError, TypeError):  # shortened, or of another form: shown as it was kept
        return {"code": None, "message": text}


def _moment(at: float | None, zone: tzinfo | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, zone).isoformat(timespec="seconds")

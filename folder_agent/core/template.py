"""The template of a sidecar that only a person can complete: what the headers are certain of, and gaps. Pure.

It is read like any sidecar, but by the gateway's own names, whatever a site calls its fields.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from folder_agent.core.exam import FIELD_CLASSES, TEXT_FIELDS, FieldClass
from folder_agent.core.naming import numbered
from folder_agent.core.records import SidecarReading

ENDING = ".json.template"
HELP = "_folder-agent"  # the key that marks it, with what a person is to do
_BOM = b"\xef\xbb\xbf"
_STUDY = "studyUid"
_WORDS = (
    '1. 补全下面空着的 "";其余请核对。patientSex 填 M(男)、F(女)或 O(其他)。本段请勿删除。',
    '2. 另存为 "{target}"(保存类型选"所有文件"),放好后自动发送;本模板随后会自动删除。',
    '1. Fill in what is empty ("") below, and check the rest. patientSex is M, F or O. Leave these lines as they are.',
    '2. Save it as "{target}" (type: all files). The exam is then sent by itself, and this template goes away.',
)


def template(certain: SidecarReading, target: str) -> bytes:
    """The file: UTF-8 with BOM and CRLF (old Notepad reads it). `target` is where it is to be saved, as a path below
    the drop folder."""
    values = {name: certain.get(name) or "" for name in TEXT_FIELDS if FIELD_CLASSES[name] is FieldClass.A}
    values |= {_STUDY: certain.get(_STUDY) or ""}
    values |= {name: value for name, value in certain.fields if value}
    content: dict[str, object] = {HELP: [line.format(target=target) for line in _WORDS], **values}
    text = json.dumps(content, ensure_ascii=False, indent=2) + "\n"
    return _BOM + text.replace("\n", "\r\n").encode(errors="backslashreplace")


def is_from_template(document: Mapping[str, object]) -> bool:
    """Whether a sidecar was made from a template."""
    return HELP in document


def target_of(base: str, name: str) -> str:
    """Where the sidecar of an exam in the folder `base` is to be saved, below the drop folder."""
    file = f"{numbered(name, 1)}.json"
    return f"{base}/{file}" if base else file


def file_name(name: str, taken: Iterable[str]) -> str:
    """A free name for the template of an exam called `name`; names are compared as Windows does."""
    there = {one.casefold() for one in taken}
    attempt = 1
    while (found := numbered(name, attempt) + ENDING).casefold() in there:
        attempt += 1
    return found

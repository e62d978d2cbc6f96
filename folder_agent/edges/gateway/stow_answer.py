"""Reads the answer to a STOW-RS request (PS3.18 10.5.3, Table I.2-1): what was stored and what failed, by instance.

Touches nothing. Understands application/dicom+json (PS3.18 F.2) and, for servers that ignore Accept, the Native DICOM
Model in XML (PS3.19 A.1).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.etree import ElementTree

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import AgentError, problem
from folder_agent.edges.gateway.answers import parsed

_INSTANCE = "00080018"
_SOP_INSTANCE, _FAILURE_REASON, _WARNING_REASON = "00081155", "00081197", "00081196"
_STORED, _FAILED, _OTHER_FAILURES = "00081199", "00081198", "0008119A"

Attributes = dict[str, object]  # tag -> list of values; an item of a sequence is Attributes again


@dataclass(slots=True)
class StoreResponse:
    """SOPInstanceUID -> the warning or failure reason; None where the server gave none."""

    stored: dict[str, int | None] = field(default_factory=dict)
    failed: dict[str, int | None] = field(default_factory=dict)
    unnamed: list[int | None] = field(default_factory=list)  # failures of instances that the server could not identify
    assumed: set[str] = field(default_factory=set)  # stored, by the status alone


def read_store_response(body: bytes) -> StoreResponse:
    """The verdicts. Raises AgentError (FA-GW-ANSWER) for what is no Store Instances Response Module."""
    response = StoreResponse()
    for attributes in _from_xml(body) if body.lstrip().startswith(b"<") else _from_json(body):
        response.stored.update(_reasons(attributes, _STORED, _WARNING_REASON))
        response.failed.update(_reasons(attributes, _FAILED, _FAILURE_REASON))
        response.unnamed += [_number(item, _FAILURE_REASON) for item in _items(attributes, _OTHER_FAILURES)]
    return response


def instances_in(content: object) -> list[str] | None:
    """The SOPInstanceUIDs in an answer to a search (PS3.18 10.6.3.1), as JSON was read; None if that is none."""
    if not isinstance(content, list) or not all(isinstance(entry, dict) for entry in content):
        return None
    named = (_values(_plain(entry), _INSTANCE) for entry in content)
    return [_uid(uid) for uids in named for uid in uids]


def _reasons(attributes: Attributes, sequence: str, reason: str) -> Iterator[tuple[str, int | None]]:
    for item in _items(attributes, sequence):
        for uid in _values(item, _SOP_INSTANCE):
            yield _uid(uid), _number(item, reason)


def _uid(value: object) -> str:
    return str(value).strip(" \0")


def _items(attributes: Attributes, tag: str) -> list[Attributes]:
    return [item for item in _values(attributes, tag) if isinstance(item, dict)]


def _values(attributes: Attributes, tag: str) -> list[object]:
    values = attributes.get(tag)
    return values if isinstance(values, list) else []


def _number(item: Attributes, tag: str) -> int | None:
    """A US value; as a number, or as the text that some servers make of it."""
    for value in _values(item, tag):
        if isinstance(value, int | str) and str(value).strip().isdecimal():
            return int(str(value).strip()[:9])
    return None


def _from_json(body: bytes) -> list[Attributes]:
    """One object; some servers put it into a list."""
    content = parsed(body)
    entries = content if isinstance(content, list) else [content]
    objects = [entry for entry in entries if isinstance(entry, dict)]
    if not objects or len(objects) < len(entries):
        raise _not_understood("neither DICOM JSON nor XML" if body.strip() else "it is empty")
    return [_plain(entry) for entry in objects]


def _plain(element: Attributes) -> Attributes:
    """`{"00081199": {"vr": "SQ", "Value": […]}}` without its wrapping, two levels deep, as far as we need."""
    plain: Attributes = {}
    for tag, wrapped in element.items():
        values = wrapped.get("Value") if isinstance(wrapped, dict) else None
        if isinstance(values, list):
            plain[tag.upper()] = [_plain_item(value) for value in values]
    return plain


def _plain_item(value: object) -> object:
    if not isinstance(value, dict):
        return value
    return {
        tag.upper(): wrapped["Value"]
        for tag, wrapped in value.items()
        if isinstance(wrapped, dict) and isinstance(wrapped.get("Value"), list)
    }


def _from_xml(body: bytes) -> list[Attributes]:
    """As text, so that no declared encoding can hide a DTD from the check; without a DTD there are no entities."""
    try:
        text = body.decode("utf-8-sig")
        if "<!DOCTYPE" in text:
            raise _not_understood("XML with a DTD")
        root = ElementTree.fromstring(text)  # noqa: S314 - bounded, and no DTD: nothing can expand
        if not root.tag.endswith("NativeDicomModel"):
            raise _not_understood("XML of another kind")
        return [_from_element(root)]
    except (ValueError, RecursionError, ElementTree.ParseError):
        raise _not_understood("neither DICOM JSON nor XML") from None


def _from_element(element: ElementTree.Element) -> Attributes:
    return {
        attribute.get("tag", "").upper(): [
            _from_element(child) if child.tag.endswith("Item") else (child.text or "") for child in attribute
        ]
        for attribute in element
    }


def _not_understood(detail: str) -> AgentError:
    return failure(problem("FA-GW-ANSWER", detail=detail))

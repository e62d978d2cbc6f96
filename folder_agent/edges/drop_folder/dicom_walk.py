"""Walks a DICOM data set from its first element to its last byte, and keeps the few small values that are asked for.

Reads through a Source only. Large values are passed over, nested sequences are walked without recursion, so memory
and stack do not depend on the file (DICOM PS3.5, chapter 7 and annex A.4).
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from folder_agent.edges.drop_folder.dicom_bytes import CutShort, Source, TooFew, Unreadable
from folder_agent.edges.drop_folder.dicom_headers import DELIMITERS, Coding, Syntax, read_header

UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_PIXELS = frozenset({0x7FE00010, 0x7FE00008, 0x7FE00009})  # Pixel Data, Float Pixel Data, Double Float Pixel Data
_KEPT_AT_MOST = 4096  # bytes of one value: identifiers are at most 64 characters
_DEEPEST = 256  # open sequences and items inside each other


@dataclass(frozen=True, slots=True)
class Pixels:
    """The pixel data, as found."""

    tag: int
    native_bytes: int | None  # None: encapsulated
    fragments: int = 0  # without the offset table


@dataclass(slots=True)
class Elements:
    """What a walk has found so far; filled in even when it fails half-way."""

    values: dict[int, bytes] = field(default_factory=dict)
    present: set[int] = field(default_factory=set)  # those of the asked-for tags that are there, kept or not
    pixels: Pixels | None = None


def walk(
    source: Source,
    syntax: Syntax,
    wanted: frozenset[int],
    noticed: frozenset[int],
    found: Elements,
    welcome: AbstractSet[int] = frozenset(),
) -> None:
    """Walk to the end of the source. `wanted` are kept, `welcome` too if they are small, `noticed` only seen, all at
    the top level alone.

    Raises CutShort where an announced byte is missing, Unreadable where the structure makes no sense.
    """
    tag = None
    try:
        while not source.at_end():
            if found.pixels and not any(source.peek(8)):
                return _pass_padding(source)
            tag = None
            tag, vr, length = read_header(source, syntax)
            if tag in noticed:
                found.present.add(tag)
            if tag in _PIXELS:
                found.pixels = _pixels(source, syntax, tag, length)
            elif length == UNDEFINED:
                _pass_items(source, _inside(vr, syntax))
            elif tag in wanted or (tag in welcome and length <= _KEPT_AT_MOST):
                found.values[tag] = _small_value(source, tag, length)
            else:
                _pass_element(source, tag, length)
    except TooFew as few:
        raise CutShort(f"{_called(tag)}: {few}") from None


def _pass_padding(source: Source) -> None:
    """Zeros after the pixel data lose nothing; a deflated stream must still come to its own end."""
    while padding := source.peek(_KEPT_AT_MOST):
        source.skip(len(padding))


def _small_value(source: Source, tag: int, length: int) -> bytes:
    if length > _KEPT_AT_MOST:
        source.skip(length)
        raise Unreadable(f"{_called(tag)} has {length} bytes")
    return source.take(length)


def _called(tag: int | None) -> str:
    if tag in _PIXELS:
        return "pixel data"
    return "element header" if tag is None else f"element ({tag >> 16:04X},{tag & 0xFFFF:04X})"


def _pixels(source: Source, syntax: Syntax, tag: int, length: int) -> Pixels:
    if length != UNDEFINED:
        source.skip(length)
        return Pixels(tag, native_bytes=length)
    items = 0
    while (header := read_header(source, syntax))[0] != _SEQUENCE_END:
        _expect_item(header[0], header[2], "fragment")
        source.skip(header[2])
        items += 1
    return Pixels(tag, native_bytes=None, fragments=max(0, items - 1))


def _expect_item(tag: int, length: int, what: str) -> None:
    if tag == 0:
        raise CutShort(f"zeros where a {what} should begin")
    if tag != _ITEM or (what == "fragment" and length == UNDEFINED):
        raise Unreadable(f"{_called(tag)} where a {what} should begin")


def _inside(vr: bytes, outside: Syntax) -> Syntax:
    # DICOM PS3.5 6.2.2: a UN sequence is implicit VR little endian inside, whatever surrounds it.
    return Syntax(Coding.EITHER, little=True) if vr == b"UN" else outside


def _pass_items(source: Source, syntax: Syntax) -> None:
    """Pass over the items of an undefined-length element to its delimiter, however deep they are nested."""
    open_: list[tuple[bool, Syntax]] = [(False, syntax)]  # (inside of an item?, how its elements are coded)
    while open_:
        in_item, syntax = open_[-1]
        tag, vr, length = read_header(source, syntax)
        if tag == (_ITEM_END if in_item else _SEQUENCE_END):
            open_.pop()
        elif in_item and length == UNDEFINED and tag >> 16 != DELIMITERS:
            open_.append((False, _inside(vr, syntax)))
        elif in_item:
            _pass_element(source, tag, length)
        else:
            _expect_item(tag, length, "item")
            if length == UNDEFINED:
                open_.append((True, syntax))
            else:
                source.skip(length)
        if len(open_) > _DEEPEST:
            raise Unreadable("sequences are nested too deeply")


def _pass_element(source: Source, tag: int, length: int) -> None:
    if tag == 0:
        raise CutShort("zeros where an element should begin")
    if tag >> 16 == DELIMITERS:
        raise Unreadable(f"{_called(tag)} out of place")
    source.skip(length)

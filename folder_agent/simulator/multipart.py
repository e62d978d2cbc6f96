"""multipart/related and multipart/form-data as a stream of parts (RFC 2046): memory does not depend on their size.

Reads a body and hands pieces on to a sink; touches no disk.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from folder_agent.simulator.bodies import Body

_CHUNK = 256 * 1024


class MultipartError(ValueError):
    """The body is not the multipart message that its Content-Type announces."""


class Sink(Protocol):
    """Is told of each part: its headers (lower-case names, values as latin-1), its bytes, its end."""

    def begin(self, headers: Mapping[str, str], /) -> None: ...

    def data(self, piece: memoryview, /) -> None: ...

    def end(self) -> None: ...


def parse_parameters(value: str | None) -> tuple[str, dict[str, str]]:
    """A header value's main part in lower case and its parameters, as latin-1."""
    main, parameters = parse_options_header(value or "")
    plain = {name.decode("latin-1").lower(): found.decode("latin-1") for name, found in parameters.items()}
    return main.decode("latin-1").strip().lower(), plain


def parse_parts(body: Body, boundary: str, sink: Sink, start: bytes = b"") -> None:
    """Feeds every part to `sink`; `start` is what was read of the body already.

    Raises MultipartError, also when the closing boundary never comes, and whatever the body's reading raises.
    """
    try:
        feed = _Feed(boundary, sink)
        feed.write(start)
        while piece := body.read(_CHUNK):
            feed.write(piece)
    except FormParserError as error:
        raise MultipartError(str(error)) from error
    if not feed.ended:
        raise MultipartError("the closing boundary is missing")


class _Feed:
    """python-multipart's callbacks, gathered into whole headers."""

    def __init__(self, boundary: str, sink: Sink) -> None:
        self.ended = False
        self._sink = sink
        self._headers: dict[str, str] = {}
        self._name, self._value = bytearray(), bytearray()
        self._parser = MultipartParser(
            boundary.encode("latin-1"),
            {
                "on_part_begin": self._headers.clear,
                "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
                "on_header_end": self._header_end,
                "on_headers_finished": lambda: sink.begin(dict(self._headers)),
                "on_part_data": lambda data, start, end: sink.data(memoryview(data)[start:end]),
                "on_part_end": sink.end,
                "on_end": self._end,
            },
        )

    def write(self, piece: bytes) -> None:
        if piece:
            self._parser.write(piece)

    def _header_end(self) -> None:
        self._headers[self._name.decode("latin-1").lower()] = self._value.decode("latin-1").strip()
        self._name.clear()
        self._value.clear()

    def _end(self) -> None:
        self.ended = True

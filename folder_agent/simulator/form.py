"""The form upload: one file part named `file`, and text parts that say what it belongs to, all of them kept.

Source: RFC 7578; the gateway's page does not publish this interface, its answer is the usual `{code, message}`. A
digest of the whole body is checked where there is one. What becomes of broken uploads is in `partials`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from folder_agent.simulator import partials
from folder_agent.simulator.bodies import BrokenBodyError, HashedBody
from folder_agent.simulator.dicom import BadDicomError, Instance, Kind, inspect
from folder_agent.simulator.messages import Answer, Request, fault, verdict
from folder_agent.simulator.multipart import MultipartError, parse_parameters, parse_parts
from folder_agent.simulator.spool import Spool
from folder_agent.simulator.state import Kept, State

_LONGEST_TEXT = 64 * 1024
_BAD_PARAMETER = 100001


class _Collector:
    """The sink: text parts into `fields`, the file part to disk."""

    def __init__(self, state: State, *, keep: bool, beginning: partials.Beginning | None = None) -> None:
        self._state, self._keep, self._beginning = state, keep, beginning
        self.fields: dict[str, str] = {}
        self.file: Spool | None = None
        self.file_name = ""
        self.problem: str | None = None
        self._name, self._text, self._in_file = "", bytearray(), False
        self.head = b""

    def begin(self, headers: Mapping[str, str]) -> None:
        kind, options = parse_parameters(headers.get("content-disposition"))
        self._name, self._in_file = _plain(options.get("name", "")), "filename" in options
        self._text.clear()
        if kind != "form-data" or not self._name:
            self.problem = "a part has no form-data name"
        elif not self._in_file and self._name in self.fields:
            self.problem = f"{self._name} comes twice"
        if self._in_file:
            if self.file or self._name != "file":
                self.problem = "exactly one file part, named file, is expected"
                self.discard()
            self.file, self.file_name = Spool(self._state, keep=self._keep), _plain(options["filename"])
            if self._beginning is not None:
                self.file.take_over(*self._beginning)
                with self._beginning[0].open("rb") as beginning:
                    self.head = beginning.read(132)

    def data(self, piece: memoryview) -> None:
        if self._in_file and self.file:
            if not self.file.size and not self.head:
                self.head = bytes(piece[:132])
            self.file.write(piece)
        elif len(self._text) + len(piece) > _LONGEST_TEXT:
            self.problem = f"{self._name} is too long"
        else:
            self._text += piece

    def end(self) -> None:
        if self._in_file and self.file:
            self.file.close()
            return
        try:
            self.fields[self._name] = self._text.decode("utf-8")
        except UnicodeDecodeError:
            self.problem = f"{self._name} is not UTF-8"

    def discard(self) -> None:
        if self.file:
            self.file.discard()


def upload(request: Request, state: State, *, discard: bool) -> Answer:
    """Answers one upload: code 100001 names what is wrong with the parts."""
    kind, parameters = parse_parameters(request.headers.get("content-type"))
    if kind != "multipart/form-data" or not parameters.get("boundary"):
        return fault(415, "Content-Type must be multipart/form-data with a boundary")
    beginning = partials.beginning_of(request, state)
    if isinstance(beginning, Answer):
        return beginning
    collector, body = _Collector(state, keep=not discard, beginning=beginning), HashedBody(request.body)
    try:
        parse_parts(body, parameters["boundary"], collector)
        return _judged(collector, body, request, state)
    except MultipartError as error:
        return fault(400, f"not a multipart body: {error}")
    except BrokenBodyError:
        if collector.file is not None:
            partials.put_by(collector.file, request, state)
        raise
    finally:
        collector.discard()


def _judged(collector: _Collector, body: HashedBody, request: Request, state: State) -> Answer:
    if not body.is_as_announced(request.headers):
        return fault(400, "the body is not the one whose digest was announced")
    problem = collector.problem or _objection(collector)
    if problem or collector.file is None:
        return verdict(_BAD_PARAMETER, f"parameter error: {problem}")
    partials.forget(request, state)
    return _keep(collector, collector.file, state)


def _objection(collector: _Collector) -> str | None:
    if collector.file is None:
        return "file is missing"
    if not collector.fields.get("accessNumber", "").strip():
        return "accessNumber is missing"
    if not (collector.fields.get("fileName") or collector.file_name):
        return "the file has no name"
    announced = collector.fields.get("sha256")
    if announced is not None and announced.lower() != collector.file.sha256:
        return f"sha256 does not match: the file received has {collector.file.sha256}"
    return None


def _keep(collector: _Collector, spool: Spool, state: State) -> Answer:
    fields = collector.fields
    name = fields.get("fileName") or collector.file_name
    kind, instance = _identify(collector.head, spool.path)
    study = instance.study if instance else fields.get("studyUid", "")
    kept = Kept(kind, study, fields["accessNumber"], spool.sha256, spool.size)
    repeat, path = state.keep_file(name, kept, spool.path, dict(fields))
    entry = {
        "name": name,
        "accession": kept.accession,
        "study": study,
        "kind": kind,
        "sha256": kept.sha256,
        "size": kept.size,
        "fields": fields,
        "stored": not repeat,
        "repeat": repeat,
        "path": path.relative_to(state.folder).as_posix() if path else None,
    }
    return verdict(0, "success", file=entry)


def _identify(head: bytes, path: Path | None) -> tuple[Kind, Instance | None]:
    """What an uploaded file counts as, by its content."""
    if head.startswith(b"%PDF"):
        return "pdf", None
    if head[128:132] == b"DICM" and path:
        try:
            instance = inspect(path)
        except BadDicomError:
            return "other", None
        return instance.kind, instance
    return "other", None


def _plain(value: str) -> str:
    """A name parameter as it was meant: browsers and httpx send UTF-8 and %22 for quotes (RFC 7578, WHATWG HTML)."""
    text = value.encode("latin-1").decode("utf-8", "replace")
    return text.replace("%22", '"').replace("%0D", "\r").replace("%0A", "\n")

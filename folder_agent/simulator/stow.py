"""STOW-RS: instances in a multipart/related body, kept only when the whole request has come.

Source: DICOM PS3.18 section 10.5 (Store transaction). What it answers is in `stow_response`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from folder_agent.simulator import stow_response as response
from folder_agent.simulator.dicom import BadDicomError, Instance, inspect
from folder_agent.simulator.discarding import skim
from folder_agent.simulator.messages import Answer, Request, fault
from folder_agent.simulator.multipart import MultipartError, parse_parameters, parse_parts
from folder_agent.simulator.rules import Rules
from folder_agent.simulator.spool import Spool
from folder_agent.simulator.state import State

_ACCEPTABLE = frozenset(("application/dicom+json", "application/json", "application/*", "*/*"))


@dataclass(slots=True)
class Part:
    """What came of one part: an instance, or the reason why it is none."""

    size: int
    sha256: str
    spool: Spool | None = None
    instance: Instance | None = None
    problem: str | None = None


@dataclass(slots=True)
class _Collector:
    """The sink that spools each part to disk."""

    state: State
    parts: list[Part] = field(default_factory=list)
    _types: list[str] = field(default_factory=list)
    _announced: list[str | None] = field(default_factory=list)
    _open: Spool | None = None

    def begin(self, headers: Mapping[str, str]) -> None:
        self._types.append(parse_parameters(headers.get("content-type"))[0])
        self._announced.append(headers.get("content-length"))
        self._open = Spool(self.state, keep=True)

    def data(self, piece: memoryview) -> None:
        if self._open:
            self._open.write(piece)

    def end(self) -> None:
        if self._open:
            self._open.close()
            self.parts.append(self._judge(self._open))
            self._open = None

    def discard(self) -> None:
        for spool in (self._open, *(part.spool for part in self.parts)):
            if spool:
                spool.discard()

    def _judge(self, spool: Spool) -> Part:
        part = Part(spool.size, spool.sha256, spool)
        announced = self._announced[-1]
        if self._types[-1] != "application/dicom":
            part.problem = f"the part's Content-Type is {self._types[-1] or 'missing'}, not application/dicom"
        elif announced is not None and announced != str(spool.size):
            part.problem = f"the part has {spool.size} bytes, its Content-Length says {announced}"
        elif spool.path:
            try:
                part.instance = inspect(spool.path)
            except BadDicomError as error:
                part.instance, part.problem = error.instance, str(error)
        return part


def store(request: Request, state: State, rules: Rules, *, study: str | None, base: str, discard: bool) -> Answer:
    """Answers a Store request (PS3.18 section 10.5).

    `study` is the only StudyInstanceUID that is allowed, if any; `base` is what retrieve URLs start with.
    """
    kind, parameters = parse_parameters(request.headers.get("content-type"))
    wanted = kind == "multipart/related" and parameters.get("type", "").lower() == "application/dicom"
    if not wanted or not parameters.get("boundary"):
        return fault(415, 'Content-Type must be multipart/related; type="application/dicom" with a boundary')
    if not _accepts_json(request.headers.get("accept", "*/*")):
        return fault(406, "only application/dicom+json can be answered")
    collector = _Collector(state)
    try:
        if discard:
            instances = skim(request.body, parameters["boundary"])
            parts = [Part(size, "", instance=found, problem=why) for size, found, why in instances]
        else:
            parse_parts(request.body, parameters["boundary"], collector)
            parts = collector.parts
        outcomes = [_settle(part, state, rules, request.path, study) for part in parts]
    except MultipartError as error:
        return fault(400, f"not a multipart body: {error}")
    finally:
        collector.discard()
    return response.build(outcomes, base)


def _settle(part: Part, state: State, rules: Rules, path: str, study: str | None) -> response.Outcome:
    instance = part.instance
    if instance is None or part.problem:
        return response.Outcome(part.size, part.sha256, instance, response.CANNOT_UNDERSTAND, part.problem or "")
    if study is not None and instance.study != study:
        why = f"belongs to study {instance.study}, not {study}"
        return response.Outcome(part.size, part.sha256, instance, response.DOES_NOT_MATCH, why)
    rule = rules.take_for_instance(path)
    if rule is not None and rule.do == "forget":
        return response.Outcome(part.size, part.sha256, instance, forgotten=True)
    if rule is not None:
        return response.Outcome(part.size, part.sha256, instance, rule.reason, "misbehaved")
    repeat = state.keep_instance(instance, part.spool.path if part.spool else None, part.sha256, part.size)
    if repeat is None:
        why = "known with other bytes; the first is kept"
        return response.Outcome(part.size, part.sha256, instance, response.PROCESSING_FAILURE, why, conflict=True)
    return response.Outcome(part.size, part.sha256, instance, repeat=repeat)


def _accepts_json(accept: str) -> bool:
    return any(choice.split(";")[0].strip().lower() in _ACCEPTABLE for choice in accept.split(","))

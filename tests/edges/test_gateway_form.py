"""Promises of the form transport: one file a request, with the exam's identity and the digest of what was sent."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from folder_agent.core.errors import AgentError, Disposition
from folder_agent.core.records import Acceptance, FileKind, Outgoing
from folder_agent.edges.drop_folder.opening import open_for_reading
from folder_agent.edges.gateway.client import Link
from folder_agent.edges.gateway.form import Form, filled
from folder_agent.edges.gateway.multipart import Reading
from tests.edges.test_gateway_multipart import parts_of
from tests.servers.kit import linked, outgoing, serving
from tests.servers.scripted import ScriptedServer, answer, early

EXAM = {"patientId": "P1", "accessNumber": "A/1 号", "studyId": "S1", "patientName": "张三", "imageCnt": 2}
SUCCESS = answer(200, {"code": 0, "message": "成功"})


def form(link: Link, server: ScriptedServer, path: str = "/ris/file/add") -> Form:
    return Form(link, server.url, path, Reading(open_for_reading, lambda: False))


def named_parts(server: ScriptedServer, number: int = 0) -> dict[str, bytes]:
    seen = server.requests[number]
    boundary = seen.header("Content-Type").partition("boundary=")[2]
    parts = parts_of(seen.body, boundary)
    return {headers["content-disposition"].split('"')[1]: body for headers, body in parts}


@pytest.fixture
def pdf(tmp_path: Path) -> Outgoing:
    return replace(outgoing(tmp_path, "report.pdf", b"%PDF-1.4 %%EOF", 5, FileKind.PDF), path="CT1/报告.pdf")


def test_the_file_travels_with_the_exams_identity_and_its_digest(pdf: Outgoing) -> None:
    accepted: list[Acceptance] = []
    with serving(SUCCESS) as server, linked() as link:
        form(link, server).for_exam(EXAM).send([pdf], accepted.extend, lambda count: None)
    digest = hashlib.sha256(b"%PDF-1.4 %%EOF").hexdigest()
    assert named_parts(server) == {
        "accessNumber": "A/1 号".encode(),
        "patientId": b"P1",
        "studyId": b"S1",
        "fileName": "报告.pdf".encode(),
        "file": b"%PDF-1.4 %%EOF",
        "sha256": digest.encode(),
    }
    assert accepted == [Acceptance(5, digest, server.url + "/ris/file/add", "code 0")]
    assert int(server.requests[0].header("Content-Length")) == len(server.requests[0].body)


def test_without_an_exam_the_file_travels_alone(pdf: Outgoing) -> None:
    with serving(SUCCESS) as server, linked() as link:
        form(link, server).send([pdf], lambda found: None, lambda count: None)
    assert named_parts(server).keys() == {"fileName", "file", "sha256"}


def test_binding_an_exam_leaves_the_form_as_it_was(pdf: Outgoing) -> None:
    with serving(SUCCESS) as server, linked() as link:
        unbound = form(link, server)
        unbound.for_exam(EXAM)
        unbound.send([pdf], lambda found: None, lambda count: None)
    assert b"P1" not in server.requests[0].body


def test_each_file_is_a_request_and_reported_at_once(tmp_path: Path) -> None:
    files = [outgoing(tmp_path, f"{n}.pdf", b"%PDF", n, FileKind.PDF) for n in range(3)]
    accepted: list[Acceptance] = []
    with serving(SUCCESS, SUCCESS, answer(200, {"code": 100001, "message": "坏"})) as server, linked() as link:
        with pytest.raises(AgentError) as caught:
            form(link, server).send(files, accepted.extend, lambda count: None)
        assert len(server.requests) == 3
    assert [one.file_id for one in accepted] == [0, 1]
    assert (caught.value.problem.code, caught.value.problem.path) == ("FA-GW-REFUSED", "2.pdf")


def test_the_path_template_is_filled_in_and_the_destination_is_not(pdf: Outgoing) -> None:
    path = "/files/{accessNumber}/{fileName}?p={patientId}"
    accepted: list[Acceptance] = []
    with serving(SUCCESS) as server, linked() as link:
        bound = form(link, server, path).for_exam(EXAM)
        bound.send([pdf], accepted.extend, lambda count: None)
        assert bound.destination == server.url + path
    assert server.requests[0].path == "/files/A%2F1%20%E5%8F%B7/%E6%8A%A5%E5%91%8A.pdf?p=P1"
    assert accepted[0].destination == server.url + path


@pytest.mark.parametrize("value", [".", "..", "..."])
def test_a_value_that_would_lead_elsewhere_is_refused(value: str) -> None:
    with pytest.raises(AgentError) as caught:
        filled("/a/{accessNumber}/b", {"accessNumber": value})
    assert (caught.value.problem.code, caught.value.disposition) == ("FA-FIELD-INVALID", Disposition.REFUSE)


@pytest.mark.parametrize("values", [{}, {"accessNumber": ""}])
def test_a_value_that_the_address_needs_and_the_exam_lacks_is_refused(values: dict[str, str]) -> None:
    with pytest.raises(AgentError) as caught:
        filled("/a/{accessNumber}", values)
    assert caught.value.problem.code == "FA-FIELD-MISSING"
    assert dict(caught.value.problem.values) == {"field": "accessNumber"}


@pytest.mark.parametrize("value", ["a/../b", "a?b=c", "a#b", "{patientId}", "%2e%2e", "张三"])
def test_a_value_stays_inside_its_place(value: str) -> None:
    assert set(filled("/a/{accessNumber}", {"accessNumber": value})[3:]).isdisjoint("/?#{}")


@pytest.mark.parametrize(
    ("kind", "media_type"),
    [
        (FileKind.PDF, b"application/pdf"),
        (FileKind.DICOM, b"application/dicom"),
        (FileKind.FOREIGN, b"application/octet-stream"),
    ],
)
def test_the_file_says_what_it_is(pdf: Outgoing, kind: FileKind, media_type: bytes) -> None:
    with serving(SUCCESS) as server, linked() as link:
        form(link, server).send([replace(pdf, kind=kind)], lambda found: None, lambda count: None)
    assert b"Content-Type: " + media_type + b"\r\n" in server.requests[0].body


def test_a_duplicate_is_there_already(pdf: Outgoing) -> None:
    accepted: list[Acceptance] = []
    with serving(answer(200, {"code": 10004})) as server, linked() as link:
        form(link, server).send([pdf], accepted.extend, lambda count: None)
    assert accepted[0].answer == "code 10004, already there"


@pytest.mark.parametrize(
    ("content", "code", "path"),
    [
        (answer(200, b"OK"), "FA-GW-ANSWER", None),
        (answer(200), "FA-GW-ANSWER", None),
        (answer(413), "FA-GW-TOO-LARGE", "CT1/报告.pdf"),
        (answer(401, {"code": 0}), "FA-GW-AUTH", None),
        (answer(404), "FA-GW-ADDRESS", None),
        (answer(500, {"code": 1}), "FA-GW-AGAIN", None),
    ],
)
def test_anything_but_success_accepts_nothing(pdf: Outgoing, content: bytes, code: str, path: str | None) -> None:
    accepted: list[Acceptance] = []
    with serving(content) as server, linked() as link, pytest.raises(AgentError) as caught:
        form(link, server).send([pdf], accepted.extend, lambda count: None)
    assert (caught.value.problem.code, caught.value.problem.path) == (code, path)
    assert not accepted


def test_success_before_the_file_was_sent_is_not_believed(tmp_path: Path) -> None:
    large = outgoing(tmp_path, "x.pdf", b"x" * (64 * 1024 * 1024), kind=FileKind.PDF)
    with serving(early(SUCCESS)) as server, linked() as link, pytest.raises(AgentError) as caught:
        form(link, server).send([large], lambda found: None, lambda count: None)
    assert caught.value.problem.code == "FA-GW-ANSWER"

"""Promises of the form transport: one file a request, with the exam's identity and the digest of what was sent."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from pathlib import Path

import pytest

from folder_agent.core.errors import AgentError, Disposition
from folder_agent.core.records import Acceptance, FileKind, Outgoing
from folder_agent.edges.drop_folder.opening import open_for_reading
from folder_agent.edges.gateway.client import Link
from folder_agent.edges.gateway.form import Form, filled
from folder_agent.edges.gateway.multipart import Reading
from folder_agent.edges.gateway.resuming import RESUME_FROM, upload_key
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


def test_the_digest_of_a_small_body_goes_before_it(pdf: Outgoing) -> None:
    with serving(SUCCESS) as server, linked() as link:
        form(link, server).send([pdf], lambda found: None, lambda count: None)
    seen = server.requests[0]
    value = base64.b64encode(hashlib.sha256(seen.body).digest()).decode()
    assert (seen.header("Content-Digest"), seen.header("Digest")) == (f"sha-256=:{value}:", f"sha-256={value}")


CONTENT = bytes(range(256)) * (RESUME_FROM // 256) + b"the end"
LARGE = len(CONTENT)


@pytest.fixture
def large(tmp_path: Path) -> Outgoing:
    return outgoing(tmp_path, "large.pdf", CONTENT, 6, FileKind.PDF)


class Upload:
    """What came of sending the large file to a server that answers so."""

    def __init__(self, large: Outgoing, *answers: bytes, times: int = 1) -> None:
        self.accepted: list[Acceptance] = []
        self.progress = 0
        self.error: AgentError | None = None
        with serving(*answers) as self.server, linked() as link:
            bound = form(link, self.server).for_exam(EXAM)
            for _ in range(times):
                try:
                    bound.send([large], self.accepted.extend, self._advance)
                except AgentError as error:
                    self.error = error

    def _advance(self, count: int) -> None:
        self.progress += count

    def lines(self) -> list[str]:
        return [seen.line.partition(" ")[0] for seen in self.server.requests]

    def is_whole(self, number: int) -> bool:
        """Whether that request brought all of it; else the rest."""
        seen = self.server.requests[number]
        said = [value for name, value in seen.headers if name == "Content-Range"]
        brought = named_parts(self.server, number)["file"]
        start = LARGE - len(brought)
        assert said == ([f"bytes {start}-{LARGE - 1}/{LARGE}"] if start else [])
        assert brought == CONTENT[start:]
        assert named_parts(self.server, number)["sha256"].decode() == hashlib.sha256(CONTENT).hexdigest()
        assert seen.header("Upload-Length") == str(LARGE)
        return not start


def holds(first: int, total: int | str = LARGE) -> bytes:
    return b"HTTP/1.1 206 X\r\nContent-Range: bytes 0-%d/%s\r\n\r\n" % (first - 1, str(total).encode())


NOTHING_YET = b"HTTP/1.1 416 X\r\nContent-Range: bytes */0\r\n\r\n"


@pytest.mark.parametrize("total", [LARGE, "*"])
def test_a_large_file_goes_on_where_the_server_has_it(large: Outgoing, total: int | str) -> None:
    upload = Upload(large, holds(3_000_000, total), SUCCESS)
    assert upload.lines() == ["HEAD", "POST"]
    assert not upload.is_whole(1)
    assert len(named_parts(upload.server, 1)["file"]) == LARGE - 3_000_000
    assert upload.accepted[0].sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert upload.progress == LARGE
    asked, sent = upload.server.requests
    assert asked.header("Range") == "bytes=0-"
    assert asked.header("signature")
    assert asked.header("Upload-Key") == sent.header("Upload-Key")


def test_a_server_that_has_all_of_it_gets_its_last_byte_with_what_follows(large: Outgoing) -> None:
    upload = Upload(large, holds(LARGE), SUCCESS)
    assert not upload.is_whole(1)
    assert len(named_parts(upload.server, 1)["file"]) == 1


@pytest.mark.parametrize(
    "said", [NOTHING_YET, answer(503), answer(401), holds(5, 7), b"HTTP/1.1 206 X\r\nContent-Range: x\r\n\r\n"]
)
def test_a_server_that_has_nothing_of_it_gets_all_and_is_asked_again_next_time(large: Outgoing, said: bytes) -> None:
    upload = Upload(large, said, SUCCESS, said, SUCCESS, times=2)
    assert upload.lines() == ["HEAD", "POST"] * 2
    assert upload.is_whole(1)
    assert upload.is_whole(3)


@pytest.mark.parametrize("status", [200, 204, 400, 404, 405, 501])
def test_a_server_that_knows_nothing_of_it_is_not_asked_again(large: Outgoing, status: int) -> None:
    upload = Upload(large, b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status, SUCCESS, times=2)
    assert upload.lines() == ["HEAD", "POST", "POST"]
    assert upload.is_whole(1)
    assert upload.is_whole(2)


@pytest.mark.parametrize("said", [answer(409), answer(416), answer(200, {"code": 100001}), answer(200, b"<html>")])
def test_a_rest_that_does_not_fit_is_followed_by_all_of_it(large: Outgoing, said: bytes) -> None:
    upload = Upload(large, holds(3_000_000), said, SUCCESS)
    assert upload.lines() == ["HEAD", "POST", "POST"]
    assert [upload.is_whole(1), upload.is_whole(2)] == [False, True]
    assert len(upload.accepted) == 1


@pytest.mark.parametrize("said", [answer(503), answer(200, {"code": 10001})])
def test_a_passing_failure_of_the_rest_is_tried_again_with_all_of_it(large: Outgoing, said: bytes) -> None:
    upload = Upload(large, holds(3_000_000), said, SUCCESS, times=2)
    assert upload.lines() == ["HEAD", "POST", "POST"]
    assert [upload.is_whole(1), upload.is_whole(2)] == [False, True]
    assert upload.error is not None
    assert len(upload.accepted) == 1


def test_a_refusal_of_the_whole_is_one(large: Outgoing) -> None:
    refused = answer(200, {"code": 100001, "message": "坏"})
    upload = Upload(large, holds(3_000_000), refused)
    assert upload.lines() == ["HEAD", "POST", "POST"]
    assert upload.error is not None
    assert upload.error.problem.code == "FA-GW-REFUSED"


def test_the_key_is_that_of_the_file_and_tells_nothing(large: Outgoing, pdf: Outgoing) -> None:
    fields = {"patientId": "P1"}
    key = upload_key(large, fields, "https://x")
    assert key == upload_key(large, dict(fields), "https://x")
    assert re.fullmatch("[0-9a-f]{32}", key)
    others = [
        upload_key(pdf, fields, "https://x"),
        upload_key(replace(large, path="other.pdf"), fields, "https://x"),
        upload_key(replace(large, stamp=replace(large.stamp, mtime_ns=1)), fields, "https://x"),
        upload_key(large, {"patientId": "P2"}, "https://x"),
        upload_key(large, fields, "https://y"),
    ]
    assert len({key, *others}) == 6


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
    no_head = b"HTTP/1.1 405 X\r\nContent-Length: 0\r\n\r\n"
    with serving(no_head, early(SUCCESS)) as server, linked() as link, pytest.raises(AgentError) as caught:
        form(link, server).send([large], lambda found: None, lambda count: None)
    assert caught.value.problem.code == "FA-GW-ANSWER"

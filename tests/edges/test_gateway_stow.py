"""Promises of STOW-RS: batches within bounds, each instance's own fate, and nothing accepted that was not stored."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from folder_agent.core.errors import AgentError, Disposition
from folder_agent.core.records import Acceptance, Outgoing
from folder_agent.edges.drop_folder.opening import open_for_reading
from folder_agent.edges.gateway import batching
from folder_agent.edges.gateway.batching import Bounds, after_batch, after_refusal, next_batch
from folder_agent.edges.gateway.multipart import BLOCK, Reading
from folder_agent.edges.gateway.stow import STOW_ANSWER_LIMIT, Stow
from folder_agent.edges.gateway.stow_answer import read_store_response
from tests.edges.test_gateway_multipart import parts_of
from tests.servers.kit import linked, outgoing, serving
from tests.servers.scripted import Answer, ScriptedServer, Seen, answer, early, hang

JSON = "Content-Type: application/dicom+json"


def store_response(
    stored: Sequence[str] = (), failed: dict[str, int] | None = None, other: Sequence[int] = ()
) -> bytes:
    """A Store Instances Response Module in the DICOM JSON Model (PS3.18 F.2)."""
    module: dict[str, object] = {"00081190": {"vr": "UR", "Value": ["https://x/studies/1"]}}
    module["00081199"] = {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": [uid]}} for uid in stored]}
    items = [
        {"00081155": {"vr": "UI", "Value": [uid]}, "00081197": {"vr": "US", "Value": [reason]}}
        for uid, reason in (failed or {}).items()
    ]
    if items:
        module["00081198"] = {"vr": "SQ", "Value": items}
    if other:
        module["0008119A"] = {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [reason]}} for reason in other]}
    return json.dumps(module).encode()


class Sending:
    """One send, and what came of it."""

    def __init__(
        self, *answers: Answer, batch_files: int = 100, batch_bytes: int = 1 << 26, trusts_status: bool = False
    ) -> None:
        self.server = serving(*answers)
        self.bounds = Bounds(batch_files, batch_bytes)
        self.trusts_status = trusts_status
        self.accepted: list[Acceptance] = []
        self.reports: list[int] = []
        self.progress = 0
        self.stop = False

    def send(self, files: Sequence[Outgoing], timeout_s: float = 5) -> ScriptedServer:
        with self.server as server, linked(timeout_s=timeout_s) as link:
            reading = Reading(open_for_reading, lambda: self.stop)
            url = server.url + "/dicom-web/studies"
            stow = Stow(link, url, reading, self.bounds, trusts_status=self.trusts_status)
            self.destination = stow.destination
            stow.send(files, self._accept, self._advance)
        return server

    def fail(self, files: Sequence[Outgoing], timeout_s: float = 5) -> AgentError:
        with pytest.raises(AgentError) as caught:
            self.send(files, timeout_s)
        return caught.value

    def ids(self) -> list[int]:
        return [one.file_id for one in self.accepted]

    def _accept(self, acceptances: Sequence[Acceptance]) -> None:
        self.reports.append(len(acceptances))
        self.accepted.extend(acceptances)

    def _advance(self, count: int) -> None:
        self.progress += count


@pytest.fixture
def files(tmp_path: Path) -> list[Outgoing]:
    return [outgoing(tmp_path, f"{n}.dcm", bytes([n]) * (100 * n), n) for n in (1, 2, 3)]


ALL = store_response(["1.2.1", "1.2.2", "1.2.3"])


def test_a_batch_is_one_request_as_the_standard_says(files: list[Outgoing]) -> None:
    sending = Sending(answer(200, ALL, JSON))
    seen = sending.send(files).requests[0]
    assert seen.line == "POST /dicom-web/studies HTTP/1.1"
    assert seen.header("Accept") == "application/dicom+json"
    media_type, related, boundary = seen.header("Content-Type").split("; ")
    assert (media_type, related) == ("multipart/related", 'type="application/dicom"')
    parts = parts_of(seen.body, boundary.removeprefix("boundary="))
    assert [content for _, content in parts] == [file.location.read_bytes() for file in files]
    assert int(seen.header("Content-Length")) == len(seen.body)
    assert not any(name.lower() == "transfer-encoding" for name, _ in seen.headers)


def test_each_acceptance_names_digest_destination_and_answer(files: list[Outgoing]) -> None:
    sending = Sending(answer(200, ALL))
    server = sending.send(files)
    digests = [hashlib.sha256(file.location.read_bytes()).hexdigest() for file in files]
    where = server.url + "/dicom-web/studies"
    assert sending.accepted == [Acceptance(n, d, where, "HTTP 200") for n, d in zip((1, 2, 3), digests, strict=True)]
    assert sending.progress == 600
    assert sending.destination == where


def test_batches_are_bounded_by_count(files: list[Outgoing]) -> None:
    sending = Sending(answer(200, ALL), batch_files=2)
    assert len(sending.send(files).requests) == 2
    assert sending.reports == [2, 1]


def test_batches_are_bounded_by_bytes_and_a_larger_file_goes_alone(files: list[Outgoing]) -> None:
    assert [len(next_batch(files[n:], 100, 250)) for n in range(3)] == [1, 1, 1]
    assert len(next_batch(files, 100, 300)) == 2
    assert next_batch(files[2:], 100, 1) == files[2:]


def test_two_files_of_one_instance_never_share_a_batch(tmp_path: Path) -> None:
    twins = [outgoing(tmp_path, f"{n}.dcm", b"x", number) for n, number in enumerate((7, 7, 8))]
    sending = Sending(answer(200, store_response(["1.2.7", "1.2.8"])))
    twins = [Outgoing(n, f.path, f.location, f.stamp, f.kind, sop_instance=f.sop_instance) for n, f in enumerate(twins)]
    assert len(sending.send(twins).requests) == 2
    assert sorted(sending.ids()) == [0, 1, 2]


def test_no_files_no_request() -> None:
    assert not Sending(answer(500)).send([]).requests


@pytest.mark.parametrize("status", [200, 202, 409])
def test_the_accepted_ones_are_reported_before_the_failure_of_others(files: list[Outgoing], status: int) -> None:
    sending = Sending(answer(status, store_response(["1.2.1", "1.2.3"], {"1.2.2": 0xC000})))
    error = sending.fail(files)
    assert sending.ids() == [1, 3]
    assert (error.problem.code, error.problem.path) == ("FA-GW-INSTANCE", "2.dcm")
    assert dict(error.problem.values) == {"reason": "0xC000"}
    assert error.disposition is Disposition.REFUSE


@pytest.mark.parametrize(
    ("reason", "code", "disposition"),
    [
        (0x0110, "FA-GW-INSTANCE-AGAIN", Disposition.RETRY),
        (0xA700, "FA-GW-INSTANCE-AGAIN", Disposition.RETRY),
        (0xA7FF, "FA-GW-INSTANCE-AGAIN", Disposition.RETRY),
        (0x0122, "FA-GW-INSTANCE", Disposition.REFUSE),
        (0xA900, "FA-GW-INSTANCE", Disposition.REFUSE),
        (0xC122, "FA-GW-INSTANCE", Disposition.REFUSE),
        (0x0001, "FA-GW-INSTANCE", Disposition.REFUSE),
        (0x0124, "FA-GW-PERMISSION", Disposition.HOLD),
    ],
)
def test_each_failure_reason_has_its_disposition(
    files: list[Outgoing], reason: int, code: str, disposition: Disposition
) -> None:
    error = Sending(answer(409, store_response(failed={"1.2.1": reason}))).fail(files[:1])
    assert (error.problem.code, error.disposition) == (code, disposition)


def test_a_duplicate_instance_is_there_already(files: list[Outgoing]) -> None:
    sending = Sending(answer(409, store_response(failed={"1.2.1": 0x0111})))
    sending.send(files[:1])
    assert sending.accepted[0].answer == "HTTP 409, already there (0x0111)"


def test_a_failure_without_a_reason_is_tried_again(files: list[Outgoing]) -> None:
    body = b'{"00081198": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": ["1.2.1"]}}]}}'
    error = Sending(answer(409, body)).fail(files[:1])
    assert (error.problem.code, error.disposition) == ("FA-GW-INSTANCE-AGAIN", Disposition.RETRY)


def test_a_refusal_outweighs_what_may_pass(files: list[Outgoing]) -> None:
    failed = {"1.2.1": 0xA700, "1.2.2": 0x0124, "1.2.3": 0xC000}
    assert Sending(answer(409, store_response(failed=failed))).fail(files).problem.path == "3.dcm"
    del failed["1.2.3"]
    body = store_response(["1.2.3"], failed)
    assert Sending(answer(409, body)).fail(files).disposition is Disposition.HOLD


def test_a_failure_outweighs_a_success_of_the_same_instance(files: list[Outgoing]) -> None:
    sending = Sending(answer(200, store_response(["1.2.1"], {"1.2.1": 0xC000})))
    assert sending.fail(files[:1]).problem.code == "FA-GW-INSTANCE"
    assert not sending.accepted


def test_an_instance_that_the_answer_does_not_mention_is_tried_again(files: list[Outgoing]) -> None:
    sending = Sending(answer(200, store_response(["1.2.1", "1.2.2", "9.9.9"])))
    error = sending.fail(files)
    assert (error.problem.code, error.problem.path) == ("FA-GW-ANSWER", "3.dcm")
    assert error.disposition is Disposition.RETRY
    assert sending.ids() == [1, 2]
    assert [sent(seen) for seen in sending.server.requests] == [[1, 2, 3], [3]]


def sent(seen: Seen) -> list[int]:
    """The files of a request."""
    boundary = seen.header("Content-Type").rpartition("boundary=")[2]
    return [content[0] for _, content in parts_of(seen.body, boundary)]


def test_what_could_not_be_stored_for_the_moment_goes_once_more_behind_the_rest(files: list[Outgoing]) -> None:
    busy = answer(202, store_response(["1.2.1"], {"1.2.2": 0xA700}))
    sending = Sending(busy, answer(200, ALL), batch_files=2)
    assert [sent(seen) for seen in sending.send(files).requests] == [[1, 2], [3], [2]]
    assert sending.reports == [1, 1, 1]


def test_what_fails_twice_is_for_a_later_attempt_and_the_rest_has_gone(files: list[Outgoing]) -> None:
    busy = answer(202, store_response(["1.2.1", "1.2.3"], {"1.2.2": 0xA700}))
    sending = Sending(busy, batch_files=2)
    error = sending.fail(files)
    assert (error.problem.code, error.problem.path) == ("FA-GW-INSTANCE-AGAIN", "2.dcm")
    assert [sent(seen) for seen in sending.server.requests] == [[1, 2], [3], [2]]
    assert sending.ids() == [1, 3]


def test_a_server_that_stores_nothing_for_the_moment_is_not_pressed(files: list[Outgoing]) -> None:
    sending = Sending(answer(409, store_response(failed={"1.2.1": 0xA700, "1.2.2": 0xA700})), batch_files=2)
    assert sending.fail(files).problem.code == "FA-GW-INSTANCE-AGAIN"
    assert len(sending.server.requests) == 1


def test_a_permanent_failure_ends_it_at_once(files: list[Outgoing]) -> None:
    sending = Sending(answer(202, store_response(["1.2.1"], {"1.2.2": 0xC000})), batch_files=2)
    assert sending.fail(files).disposition is Disposition.REFUSE
    assert len(sending.server.requests) == 1


def test_failures_without_a_name_belong_to_the_unmentioned(files: list[Outgoing]) -> None:
    sending = Sending(answer(409, store_response(["1.2.1", "1.2.2"], other=[0xC000])))
    error = sending.fail(files)
    assert (error.problem.code, error.problem.path) == ("FA-GW-INSTANCE", "3.dcm")


def test_failures_without_a_name_that_could_be_anybodys_are_found_one_by_one(files: list[Outgoing]) -> None:
    one_of_two = answer(202, store_response(["1.2.1"], other=[0xC000]))
    sending = Sending(one_of_two, answer(200, store_response(["1.2.2"])), answer(409, store_response(other=[0xC000])))
    error = sending.fail(files)
    assert (error.problem.code, error.problem.path) == ("FA-GW-INSTANCE", "3.dcm")
    assert [sent(seen) for seen in sending.server.requests] == [[1, 2, 3], [2], [3]]
    assert sending.ids() == [1, 2]


def test_a_warning_is_an_acceptance_and_is_kept(files: list[Outgoing]) -> None:
    item = {"00081155": {"vr": "UI", "Value": ["1.2.1"]}, "00081196": {"vr": "US", "Value": [0xB000]}}
    body = json.dumps([{"00081199": {"vr": "SQ", "Value": [item]}}]).encode()
    sending = Sending(answer(202, body))
    sending.send(files[:1])
    assert sending.accepted[0].answer == "HTTP 202, warning 0xB000"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"OK",
        b"[]",
        b"{}",
        b"[1]",
        b"null",
        b"<html></html>",
        b"<a",
        b"{",
        b"[" * 200000,
        b'{"00081199": 5}',
        b'{"00081199": {"Value": [5, null, {"00081155": 5}, {"00081155": {"Value": 5}}]}}',
    ],
)
def test_an_answer_that_says_nothing_of_the_files_accepts_none(files: list[Outgoing], body: bytes) -> None:
    sending = Sending(answer(200, body))
    error = sending.fail(files)
    assert error.problem.code in ("FA-GW-UNSAID", "FA-GW-ANSWER")
    assert error.disposition is Disposition.RETRY
    assert not sending.accepted


@pytest.mark.parametrize("status", [200, 202, 409])
@pytest.mark.parametrize(("body", "detail"), [(b"", "it is empty"), (b"OK", "neither DICOM JSON nor XML")])
def test_an_answer_that_does_not_itemise_says_so(files: list[Outgoing], status: int, body: bytes, detail: str) -> None:
    problem = Sending(answer(status, body)).fail(files).problem
    assert (problem.code, dict(problem.values)) == ("FA-GW-UNSAID", {"status": status, "detail": detail})


SILENT = [
    answer(200),
    answer(200, b"  "),
    answer(200, b"3 files stored", "Content-Type: text/plain; charset=utf-8"),
    answer(200, b"{}", JSON),
    answer(200, b'{"00081190": {"vr": "UR", "Value": ["https://x"]}}', JSON),
]


@pytest.mark.parametrize("said", SILENT)
def test_a_silent_200_is_believed_where_the_settings_say_so(files: list[Outgoing], said: bytes) -> None:
    sending = Sending(said, trusts_status=True)
    sending.send(files)
    assert [one.answer for one in sending.accepted] == ["HTTP 200, not itemised"] * 3
    assert Sending(said).fail(files).disposition is Disposition.RETRY


@pytest.mark.parametrize(
    "said",
    [
        answer(202),
        answer(409),
        answer(200, b"<html>Log in</html>", "Content-Type: text/html"),
        answer(200, b"<html>Log in</html>"),
        answer(200, b"OK", "Content-Type: application/octet-stream"),
        answer(202, b"{}", JSON),
    ],
)
def test_what_is_more_than_a_silent_200_is_never_believed(files: list[Outgoing], said: bytes) -> None:
    sending = Sending(said, trusts_status=True)
    assert sending.fail(files).disposition is Disposition.RETRY
    assert not sending.accepted


@pytest.mark.parametrize("status", [200, 202])
def test_with_trust_what_is_not_said_to_have_failed_is_stored(files: list[Outgoing], status: int) -> None:
    sending = Sending(answer(status, store_response(failed={"1.2.2": 0xC000}), JSON), trusts_status=True)
    assert sending.fail(files).problem.path == "2.dcm"
    assert sending.ids() == [1, 3]


XML = """<?xml version="1.0" encoding="utf-8"?>
<NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM">
 <DicomAttribute tag="00081199" vr="SQ">
  <Item number="1"><DicomAttribute tag="00081155" vr="UI"><Value number="1">1.2.1</Value></DicomAttribute></Item>
 </DicomAttribute>
 <DicomAttribute tag="00081198" vr="SQ">
  <Item number="1">
   <DicomAttribute tag="00081155" vr="UI"><Value number="1">1.2.2</Value></DicomAttribute>
   <DicomAttribute tag="00081197" vr="US"><Value number="1">49152</Value></DicomAttribute>
  </Item>
 </DicomAttribute>
</NativeDicomModel>"""


def test_an_answer_in_xml_is_understood(files: list[Outgoing]) -> None:
    sending = Sending(answer(202, XML.encode(), "Content-Type: application/dicom+xml"))
    error = sending.fail(files[:2])
    assert (error.problem.code, error.problem.path) == ("FA-GW-INSTANCE", "2.dcm")
    assert sending.ids() == [1]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_xml_with_a_dtd_is_refused_however_it_is_encoded(encoding: str) -> None:
    bomb = XML.replace("?>", '?><!DOCTYPE x [<!ENTITY a "aaaa">]>', 1).replace("utf-8", encoding).encode(encoding)
    with pytest.raises(AgentError):
        read_store_response(bomb)


def test_deep_xml_is_refused_and_not_a_crash() -> None:
    deep = b"<NativeDicomModel>" + b"<DicomAttribute><Item>" * 100000
    with pytest.raises(AgentError):
        read_store_response(deep + b"</Item></DicomAttribute>" * 100000 + b"</NativeDicomModel>")


def test_the_gateways_own_form_of_answer_counts_for_the_whole_batch(files: list[Outgoing]) -> None:
    sending = Sending(answer(200, {"code": 0, "message": "成功"}))
    sending.send(files)
    assert sending.ids() == [1, 2, 3]


@pytest.mark.parametrize(
    ("code", "problem", "disposition"),
    [
        (1, "FA-GW-AGAIN", Disposition.RETRY),
        (100001, "FA-GW-REFUSED", Disposition.REFUSE),
        (20008, "FA-GW-PERMISSION", Disposition.HOLD),
    ],
)
def test_a_code_of_failure_accepts_none(
    files: list[Outgoing], code: int, problem: str, disposition: Disposition
) -> None:
    sending = Sending(answer(200, {"code": code, "message": "m"}))
    error = sending.fail(files)
    assert (error.problem.code, error.disposition) == (problem, disposition)
    assert not sending.accepted


def test_a_refusal_of_one_file_names_it(files: list[Outgoing]) -> None:
    assert Sending(answer(200, {"code": 100001})).fail(files[:1]).problem.path == "1.dcm"


def test_duplicate_for_a_batch_is_asked_one_by_one(files: list[Outgoing]) -> None:
    duplicate = answer(200, {"code": 10004, "message": "重复"})
    sending = Sending(duplicate, duplicate, answer(200, {"code": 0}))  # three, one, two
    assert len(sending.send(files).requests) == 3
    assert sending.ids() == [1, 2, 3]


def test_too_large_a_batch_is_halved_and_goes_on(files: list[Outgoing]) -> None:
    sending = Sending(answer(413), answer(200, ALL))
    assert len(sending.send(files).requests) == 3
    assert sending.ids() == [1, 2, 3]


def test_what_was_too_large_is_remembered(tmp_path: Path) -> None:
    size = 1024 * 1024
    many = [outgoing(tmp_path, f"{n}.dcm", b"x" * size, n) for n in range(8)]
    stored = answer(200, store_response([f"1.2.{n}" for n in range(8)]))
    sending = Sending(answer(413), stored, batch_bytes=4 * size)
    assert len(sending.send(many).requests) == 1 + 2 + 2
    assert sorted(sending.ids()) == list(range(8))


MIB = 1024 * 1024


def test_the_bounds_grow_while_full_batches_are_quick_and_shrink_when_they_are_slow() -> None:
    first = Bounds()
    grown = after_batch(first, 100, 10 * MIB, 0.5)
    assert (grown.files, grown.bytes) == (200, 128 * MIB)
    for _ in range(10):
        grown = after_batch(grown, grown.files, grown.bytes, 0.5)
    assert (grown.files, grown.bytes) == (1000, 256 * MIB)
    assert after_batch(first, 3, MIB, 0.1) == first  # the rest of a study says nothing of what would be too much
    assert after_batch(first, 100, 64 * MIB, 5.0) == first
    slow = after_batch(first, 100, 64 * MIB, 100.0)
    assert (slow.files, slow.bytes) == (5, int(3.2 * MIB))
    assert after_batch(slow, 1, 500 * MIB, 1000.0) == slow  # a single file cannot be made smaller


def test_what_was_refused_for_its_size_is_not_tried_again() -> None:
    bounds = after_refusal(Bounds(), 60 * MIB)
    assert bounds.bytes == 30 * MIB
    for _ in range(10):
        bounds = after_batch(bounds, bounds.files, bounds.bytes, 0.1)
    assert bounds.bytes == 30 * MIB
    assert after_refusal(bounds, 20 * MIB).bytes == 10 * MIB
    assert after_refusal(Bounds(bytes=1), 1).bytes == 1


def test_batches_follow_the_time_that_they_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "_QUICK_S", 0.0)
    monkeypatch.setattr(batching, "_SLOW_S", 0.0)
    monkeypatch.setattr(batching, "_AIM_S", 1e-9)
    many = [outgoing(tmp_path, f"{n}.dcm", bytes([n]), n) for n in (1, 2, 3, 4)]
    sending = Sending(answer(200, store_response([f"1.2.{n}" for n in (1, 2, 3, 4)])), batch_files=2)
    assert [sent(seen) for seen in sending.send(many).requests] == [[1, 2], [3], [4]]


def test_one_file_that_is_too_large_is_refused_by_name(files: list[Outgoing]) -> None:
    error = Sending(answer(413)).fail(files)
    assert (error.problem.code, error.problem.path) == ("FA-GW-TOO-LARGE", "1.dcm")
    assert error.disposition is Disposition.REFUSE


def test_a_413_in_the_midst_of_the_upload_is_heard(tmp_path: Path) -> None:
    large = outgoing(tmp_path, "large.dcm", b"x" * (64 * 1024 * 1024))
    sending = Sending(early(answer(413)))
    assert sending.fail([large]).problem.code == "FA-GW-TOO-LARGE"
    assert sending.progress < large.stamp.size


def test_success_before_the_file_was_sent_is_not_believed(tmp_path: Path) -> None:
    large = outgoing(tmp_path, "large.dcm", b"x" * (64 * 1024 * 1024))
    for body in (store_response(["1.2.1"]), store_response(failed={"1.2.1": 0x0111}), b'{"code": 0}'):
        sending = Sending(early(answer(200, body)))
        assert sending.fail([large]).problem.code == "FA-GW-ANSWER"
        assert not sending.accepted


@pytest.mark.parametrize(
    ("status", "code"),
    [(401, "FA-GW-AUTH"), (403, "FA-GW-AUTH"), (404, "FA-GW-ADDRESS"), (302, "FA-GW-REDIRECT"), (503, "FA-GW-HTTP")],
)
def test_other_statuses_are_read_from_the_table(files: list[Outgoing], status: int, code: str) -> None:
    assert Sending(answer(status, ALL)).fail(files).problem.code == code


def test_a_changed_file_drops_the_connection_and_accepts_none(files: list[Outgoing]) -> None:
    files[1].location.write_bytes(b"another")
    sending = Sending(hang)
    error = sending.fail(files)
    assert (error.problem.code, error.problem.path) == ("FA-CHANGED", "2.dcm")
    assert not sending.accepted


def test_a_stop_does_not_wait_for_the_end_of_a_large_file(tmp_path: Path) -> None:
    large = outgoing(tmp_path, "large.dcm", b"x" * (40 * BLOCK))
    sending = Sending(hang)

    def stop_soon(count: int) -> None:
        sending.progress += count
        sending.stop = True

    sending._advance = stop_soon  # type: ignore[method-assign]
    assert sending.fail([large]).problem.code == "FA-STOPPING"
    assert sending.progress == BLOCK


def test_a_silent_server_is_a_timeout(files: list[Outgoing]) -> None:
    assert Sending(hang).fail(files, timeout_s=0.5).problem.code == "FA-GW-TIMEOUT"


def test_a_long_answer_is_allowed_and_a_longer_one_is_not(files: list[Outgoing]) -> None:
    padded = ALL + b" " * (2 * 1024 * 1024)
    sending = Sending(answer(200, padded))
    sending.send(files)
    assert sending.ids() == [1, 2, 3]
    too_long = ALL + b" " * STOW_ANSWER_LIMIT
    assert Sending(answer(200, too_long)).fail(files).problem.code == "FA-GW-ANSWER"


def test_what_a_batch_before_was_accepted_stays_so(files: list[Outgoing]) -> None:
    sending = Sending(answer(200, ALL), answer(503), batch_files=2)
    assert sending.fail(files).problem.code == "FA-GW-HTTP"
    assert sending.ids() == [1, 2]

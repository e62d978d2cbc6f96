"""Promises of C-STORE: one association for all, each status its own fate, and nothing accepted that was not stored."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from pynetdicom import AllStoragePresentationContexts

from folder_agent.core.errors import AgentError, Disposition
from folder_agent.core.gate import OUTAGES
from folder_agent.core.records import Acceptance, FileKind, Outgoing
from folder_agent.edges.drop_folder.dicom import data_set_begins
from folder_agent.edges.drop_folder.opening import open_for_reading
from folder_agent.edges.gateway import dimse, pace
from folder_agent.edges.gateway.dimse import Dimse, Node, echo
from folder_agent.edges.gateway.dimse.line import line_to
from folder_agent.edges.gateway.dimse.messages import ABORT_REQUEST, RELEASE_REQUEST, command_pdus
from folder_agent.edges.gateway.multipart import BLOCK, Reading
from folder_agent.edges.paths import stamp_of
from tests.edges.test_dimse_messages import accepting
from tests.marks import WRITERS_GET_IN
from tests.servers.storescp import CT, EXPLICIT, PLAIN, ScriptedScp, abort, node
from tests.site import dicom

JPEG = "1.2.840.10008.1.2.4.70"


def image(folder: Path, number: int, syntax: str = EXPLICIT, sop_class: str = CT, size: int = 2048) -> Outgoing:
    path = folder / f"{number}.dcm"
    uid = dicom(path, instance=f"1.2.840.9.{number}", sop_class=sop_class, pixels=bytes(size))
    return Outgoing(number, path.name, path, stamp_of(path.stat()), FileKind.DICOM, sop_class, uid, syntax)


@pytest.fixture
def files(tmp_path: Path) -> list[Outgoing]:
    return [image(tmp_path, number) for number in (1, 2, 3)]


@pytest.fixture
def scp() -> Iterator[ScriptedScp]:
    with ScriptedScp() as running:
        yield running


class Sending:
    """One send, and what came of it."""

    def __init__(self, to: Node) -> None:
        self.accepted: list[Acceptance] = []
        self.progress = 0
        self.stop = False
        self.dimse = Dimse(to, Reading(open_for_reading, lambda: self.stop))
        self.at_progress: Callable[[], None] = lambda: None

    def send(self, files: Sequence[Outgoing]) -> Sending:
        self.dimse.send(files, self.accepted.extend, self._advance)
        return self

    def fail(self, files: Sequence[Outgoing]) -> AgentError:
        with pytest.raises(AgentError) as caught:
            self.send(files)
        return caught.value

    def ids(self) -> list[int]:
        return [one.file_id for one in self.accepted]

    def _advance(self, count: int) -> None:
        self.progress += count
        self.at_progress()


@contextlib.contextmanager
def listening(behave: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server that is no DICOM node: its port. `behave` gets each connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    sock = listener.accept()[0]
                    with sock, contextlib.suppress(OSError):
                        behave(sock)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)


def test_a_study_travels_in_one_association_byte_for_byte(scp: ScriptedScp, files: list[Outgoing]) -> None:
    sending = Sending(scp.node()).send(files)
    contents = [file.location.read_bytes() for file in files]
    assert scp.associations == 1
    assert scp.bodies == [content[data_set_begins(content) :] for content in contents]
    where = f"dicom://127.0.0.1:{scp.port}/GATEWAY"
    assert sending.accepted == [
        Acceptance(file.file_id, hashlib.sha256(content).hexdigest(), where, "C-STORE 0x0000")
        for file, content in zip(files, contents, strict=True)
    ]
    assert sending.progress == sum(len(content) for content in contents)


@pytest.mark.parametrize("size", [1, 12, 146, 1024])
def test_a_file_that_is_read_in_small_pieces_travels_whole(scp: ScriptedScp, tmp_path: Path, size: int) -> None:
    """As under a bandwidth limit: the meta information may end in any of them."""

    class Slow:
        def take(self, wanted: int, should_stop: Callable[[], bool]) -> int:
            return min(wanted, size)

    file = image(tmp_path, 1)
    content = file.location.read_bytes()
    reading = Reading(open_for_reading, lambda: False, Slow())  # type: ignore[arg-type]
    Dimse(scp.node(), reading).send([file], lambda _: None, lambda _: None)
    assert scp.bodies == [content[data_set_begins(content) :]]


def test_only_what_the_bundle_holds_is_proposed(scp: ScriptedScp, tmp_path: Path) -> None:
    mixed = [image(tmp_path, 1), image(tmp_path, 2, JPEG), image(tmp_path, 3)]
    scp.takes[CT] = (EXPLICIT, JPEG)
    with ScriptedScp(scp.takes) as other:
        Sending(other.node()).send(mixed)
        assert other.proposed == [[(CT, [EXPLICIT]), (CT, [JPEG])]]


def test_more_pairs_than_one_association_holds_take_several(tmp_path: Path) -> None:
    classes = [str(context.abstract_syntax) for context in AllStoragePresentationContexts[:130]]
    many = [image(tmp_path, number, sop_class=name) for number, name in enumerate(classes, 1)]
    with ScriptedScp(dict.fromkeys(classes, PLAIN)) as scp:
        sending = Sending(scp.node()).send(many)
        assert [len(contexts) for contexts in scp.proposed] == [128, 2]
        assert sorted(sending.ids()) == list(range(1, 131))


def test_a_syntax_that_the_receiver_does_not_take_refuses_by_name_before_anything_is_sent(
    scp: ScriptedScp, tmp_path: Path
) -> None:
    sending = Sending(scp.node())
    error = sending.fail([image(tmp_path, 1), image(tmp_path, 2, JPEG)])
    assert (error.problem.code, error.disposition, error.problem.path) == (
        "FA-GW-SYNTAX",
        Disposition.REFUSE,
        "2.dcm",
    )
    values = dict(error.problem.values)
    assert values["sop_class"] == "CT Image Storage"
    assert str(values["syntax"]).startswith("JPEG Lossless")
    assert values["detail"] == "encoding not supported"
    assert not scp.stored
    assert not sending.accepted


@pytest.mark.parametrize("syntax", ["JPEG", "", "1." + "2" * 64, "?.2.840"])
def test_what_cannot_be_a_transfer_syntax_is_told_by_name_and_not_proposed(
    scp: ScriptedScp, tmp_path: Path, syntax: str
) -> None:
    error = Sending(scp.node()).fail([image(tmp_path, 1), image(tmp_path, 2, syntax)])
    assert (error.problem.code, error.problem.path) == ("FA-FILE-UNREADABLE", "2.dcm")
    assert not scp.proposed


def test_a_kind_of_object_that_the_receiver_does_not_take_is_refused_too(scp: ScriptedScp, tmp_path: Path) -> None:
    error = Sending(scp.node()).fail([image(tmp_path, 1, sop_class="1.2.840.10008.5.1.4.1.1.4")])
    assert error.problem.code == "FA-GW-SYNTAX"
    assert dict(error.problem.values)["sop_class"] == "MR Image Storage"


@pytest.mark.parametrize(
    ("status", "code", "disposition"),
    [
        (0xA700, "FA-GW-INSTANCE-AGAIN", Disposition.RETRY),
        (0xA7FF, "FA-GW-INSTANCE-AGAIN", Disposition.RETRY),
        (0x0110, "FA-GW-INSTANCE-AGAIN", Disposition.RETRY),
        (0x0213, "FA-GW-INSTANCE-AGAIN", Disposition.RETRY),
        (0x0124, "FA-GW-PERMISSION", Disposition.HOLD),
        (0x0117, "FA-GW-INSTANCE", Disposition.REFUSE),
        (0x0122, "FA-GW-INSTANCE", Disposition.REFUSE),
        (0xA900, "FA-GW-INSTANCE", Disposition.REFUSE),
        (0xC000, "FA-GW-INSTANCE", Disposition.REFUSE),
        (0xFE00, "FA-GW-INSTANCE", Disposition.REFUSE),
    ],
)
def test_each_status_of_failure_has_its_disposition(
    scp: ScriptedScp, files: list[Outgoing], status: int, code: str, disposition: Disposition
) -> None:
    scp.coming.extend([0, status])
    sending = Sending(scp.node())
    error = sending.fail(files)
    assert (error.problem.code, error.disposition, error.problem.path) == (code, disposition, "2.dcm")
    assert sending.ids() == [1]  # what was stored before is reported, and the third is not sent
    assert len(scp.stored) == 1


@pytest.mark.parametrize("status", [0xB000, 0xB006, 0xB007, 0x0001, 0x0107, 0x0116])
def test_a_warning_is_an_acceptance_and_is_kept(scp: ScriptedScp, files: list[Outgoing], status: int) -> None:
    scp.coming.append(status)
    sending = Sending(scp.node()).send(files[:1])
    assert sending.accepted[0].answer == f"C-STORE 0x{status:04X}, stored with a warning"


def test_a_duplicate_is_there_already(scp: ScriptedScp, files: list[Outgoing]) -> None:
    scp.coming.append(0x0111)
    assert Sending(scp.node()).send(files[:1]).accepted[0].answer == "C-STORE 0x0111, already there (0x0111)"


def test_an_aborted_association_is_an_outage_and_reports_what_was_stored(
    scp: ScriptedScp, files: list[Outgoing]
) -> None:
    scp.coming.extend([0, abort])
    sending = Sending(scp.node())
    error = sending.fail(files)
    assert error.problem.code == "FA-GW-BROKEN"
    assert error.problem.code in OUTAGES
    assert sending.ids() == [1]


def test_a_rejected_ae_title_holds() -> None:
    with ScriptedScp(called="ANOTHER") as scp, pytest.raises(AgentError) as caught:
        echo(scp.node())
    assert (caught.value.problem.code, caught.value.disposition) == ("FA-GW-ASSOCIATION", Disposition.HOLD)
    assert dict(caught.value.problem.values)["detail"] == "called AE title not recognised"


REJECTED = b"\3\0\0\0\0\4\0"


@pytest.mark.parametrize(
    ("result_source_reason", "code"),
    [
        ((1, 1, 1), "FA-GW-ASSOCIATION"),
        ((1, 1, 3), "FA-GW-ASSOCIATION"),
        ((2, 1, 1), "FA-GW-BUSY"),
        ((2, 3, 1), "FA-GW-BUSY"),
        ((2, 3, 2), "FA-GW-BUSY"),
        ((1, 3, 2), "FA-GW-BUSY"),
        ((9, 9, 9), "FA-GW-ASSOCIATION"),
    ],
)
def test_each_rejection_holds_or_is_tried_again(result_source_reason: tuple[int, int, int], code: str) -> None:
    def reject(sock: socket.socket) -> None:
        sock.recv(65536)
        sock.sendall(REJECTED + bytes(result_source_reason))
        sock.recv(1)

    with listening(reject) as port, pytest.raises(AgentError) as caught:
        echo(node(port))
    assert caught.value.problem.code == code
    assert caught.value.disposition is (Disposition.HOLD if code == "FA-GW-ASSOCIATION" else Disposition.RETRY)


def test_nobody_there_is_unreachable_and_a_name_that_is_none_too(files: list[Outgoing]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    for to in (node(port), replace(node(port), host="no-such-host.invalid"), replace(node(port), host="a" * 300)):
        error = Sending(to).fail(files)
        assert (error.problem.code, error.disposition) == ("FA-GW-UNREACHABLE", Disposition.RETRY)


def test_silence_is_a_timeout(files: list[Outgoing]) -> None:
    done = threading.Event()
    with listening(lambda sock: done.wait(30) and None) as port:  # type: ignore[arg-type,return-value]
        error = Sending(node(port, timeout_s=0.5)).fail(files)
        done.set()
    assert (error.problem.code, dict(error.problem.values)) == ("FA-GW-TIMEOUT", {"seconds": 1})


def test_an_answer_that_drips_is_a_timeout_as_a_whole(files: list[Outgoing]) -> None:
    def drip(sock: socket.socket) -> None:
        sock.recv(65536)
        for byte in b"\2\0\0\0\xff\0" + bytes(1000):
            sock.sendall(bytes([byte]))
            time.sleep(0.05)

    with listening(drip) as port:
        assert Sending(node(port, timeout_s=0.5)).fail(files).problem.code == "FA-GW-TIMEOUT"


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\2\0\xff\xff\xff\xff", b"\4\0\0\0\0\4abcd"])
def test_what_is_not_dicom_is_told_as_such(files: list[Outgoing], answer: bytes) -> None:
    def talk(sock: socket.socket) -> None:
        sock.recv(65536)
        sock.sendall(answer)
        sock.recv(1)

    with listening(talk) as port:
        assert Sending(node(port)).fail(files).problem.code == "FA-GW-ANSWER"


def test_a_receiver_that_hangs_up_is_a_broken_line(files: list[Outgoing]) -> None:
    with listening(lambda sock: sock.recv(65536) and None) as port:  # type: ignore[arg-type,return-value]
        assert Sending(node(port)).fail(files).problem.code == "FA-GW-BROKEN"


def response(status: int, to: int = 1) -> bytes:
    """A C-STORE-RSP in one PDU (PS3.7 9.3.1.2)."""
    elements = ((0x0100, 0x8001), (0x0120, to), (0x0800, 0x0101), (0x0900, status))
    body = b"".join(struct.pack("<HHLH", 0, tag, 2, value) for tag, value in elements)
    return command_pdus(1, struct.pack("<HHLL", 0, 0, 4, len(body)) + body, 16384)


def accepting_then(act: Callable[[socket.socket], None]) -> Callable[[socket.socket], None]:
    """A node that accepts the association, waits for the beginning of an instance, and then does as it likes."""

    def behave(sock: socket.socket) -> None:
        sock.recv(65536)
        sock.sendall(accepting({1: (0, EXPLICIT)}))
        sock.recv(1)
        act(sock)

    return behave


def swallow(sock: socket.socket) -> None:
    while sock.recv(1 << 20):
        pass


@pytest.mark.parametrize(
    ("says", "code"),
    [
        (response(0xA700), "FA-GW-INSTANCE-AGAIN"),
        (response(0xC000), "FA-GW-INSTANCE"),
        (response(0), "FA-GW-ANSWER"),
        (response(0xB000), "FA-GW-ANSWER"),
        (response(0x0111), "FA-GW-ANSWER"),
        (ABORT_REQUEST, "FA-GW-BROKEN"),
        (RELEASE_REQUEST, "FA-GW-BROKEN"),
    ],
)
def test_what_the_receiver_says_in_the_midst_of_an_instance_is_heard_and_no_success_is_believed(
    tmp_path: Path, says: bytes, code: str
) -> None:
    large = image(tmp_path, 1, size=64 * 1024 * 1024)

    def interrupt(sock: socket.socket) -> None:
        sock.sendall(says)
        swallow(sock)

    with listening(accepting_then(interrupt)) as port:
        sending = Sending(node(port))
        assert sending.fail([large]).problem.code == code
    assert not sending.accepted
    assert sending.progress < large.stamp.size


def test_an_answer_to_another_request_is_not_ours(files: list[Outgoing]) -> None:
    def answer(sock: socket.socket) -> None:
        sock.sendall(response(0, to=77))
        swallow(sock)

    with listening(accepting_then(answer)) as port:
        sending = Sending(node(port))
        assert sending.fail(files).problem.code == "FA-GW-ANSWER"
    assert not sending.accepted


def test_a_receiver_that_takes_nothing_more_is_a_timeout(tmp_path: Path) -> None:
    large, done = image(tmp_path, 1, size=64 * 1024 * 1024), threading.Event()
    with listening(accepting_then(lambda sock: done.wait(60) and None)) as port:  # type: ignore[arg-type,return-value]
        assert Sending(node(port, timeout_s=0.5)).fail([large]).problem.code == "FA-GW-TIMEOUT"
        done.set()


def test_a_receiver_that_takes_less_than_the_least_rate_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "_LEAST_RATE", 1 << 40)
    monkeypatch.setattr(pace, "_WINDOW", 0.001)
    large = image(tmp_path, 1, size=64 * 1024 * 1024)
    with listening(accepting_then(swallow)) as port:
        assert Sending(node(port)).fail([large]).problem.code == "FA-GW-TIMEOUT"


def test_nothing_to_send_is_no_connection() -> None:
    assert Sending(node(1)).send([]).accepted == []


def test_a_stop_does_not_wait_for_the_end_of_a_large_file(scp: ScriptedScp, tmp_path: Path) -> None:
    large = image(tmp_path, 1, size=40 * BLOCK)
    sending = Sending(scp.node())

    def stop() -> None:
        sending.stop = True

    sending.at_progress = stop
    assert sending.fail([large]).problem.code == "FA-STOPPING"
    assert sending.progress == BLOCK
    assert not scp.stored


def test_a_stop_does_not_wait_for_an_answer(scp: ScriptedScp, files: list[Outgoing]) -> None:
    came, release = threading.Event(), threading.Event()

    def hang(_event: object) -> int:
        came.set()
        release.wait(30)
        return 0

    scp.coming.append(hang)
    sending = Sending(scp.node(timeout_s=600))
    stopper = threading.Thread(target=lambda: came.wait(30) and setattr(sending, "stop", True))
    stopper.start()
    assert sending.fail(files).problem.code == "FA-STOPPING"
    release.set()
    stopper.join(10)


@WRITERS_GET_IN
def test_a_file_that_changes_on_the_way_is_never_whole_at_the_receiver(scp: ScriptedScp, tmp_path: Path) -> None:
    large = image(tmp_path, 1, size=4 * BLOCK)
    sending = Sending(scp.node())

    def append() -> None:
        with large.location.open("ab") as file:
            file.write(b"more")

    sending.at_progress = append
    assert sending.fail([large]).problem.code == "FA-CHANGED"
    assert not scp.stored


def test_a_data_set_without_preamble_or_meta_information_goes_as_it_is(scp: ScriptedScp, files: list[Outgoing]) -> None:
    content = files[0].location.read_bytes()
    bare = content[data_set_begins(content) :]
    for number, cut in enumerate((bare, content[132:])):
        files[0].location.write_bytes(cut)
        file = replace(files[0], stamp=stamp_of(files[0].location.stat()))
        assert Sending(scp.node()).send([file]).accepted[0].sha256 == hashlib.sha256(cut).hexdigest()
        assert scp.bodies[number] == bare


@pytest.mark.parametrize("most", [0, 4096, 1048576])
def test_the_receivers_bound_on_pdus_is_kept(tmp_path: Path, most: int) -> None:
    large = image(tmp_path, 1, size=4 * BLOCK + 2)
    with ScriptedScp(max_pdu=most) as scp:
        Sending(scp.node()).send([large])
        content = large.location.read_bytes()
        assert scp.bodies == [content[data_set_begins(content) :]]


def test_nagles_algorithm_is_off(scp: ScriptedScp) -> None:
    line = line_to(scp.node(), lambda: False)
    assert line._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    line.close()


def test_an_echo_is_answered(scp: ScriptedScp) -> None:
    assert echo(scp.node()) == 0


def test_a_receiver_without_echo_says_so() -> None:
    def refuse(sock: socket.socket) -> None:
        sock.recv(65536)
        sock.sendall(accepting({1: (3, EXPLICIT)}))
        sock.recv(65536)

    with listening(refuse) as port:
        assert echo(node(port)) is None


def test_acceptances_are_told_in_batches_and_none_waits_for_long(
    scp: ScriptedScp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = [image(tmp_path, number) for number in range(1, 8)]
    for files_at_once, seconds, wanted in ((3, 600.0, [3, 3, 1]), (100, 0.0, [1] * 7), (100, 600.0, [7])):
        monkeypatch.setattr(dimse, "_REPORT_FILES", files_at_once)
        monkeypatch.setattr(dimse, "_REPORT_S", seconds)
        reports: list[int] = []
        Dimse(scp.node(), Reading(open_for_reading, lambda: False)).send(
            many, lambda batch, told=reports: told.append(len(batch)), lambda count: None
        )
        assert reports == wanted

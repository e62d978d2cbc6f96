"""What every Gateway and Transport keeps: in memory, over TLS against the simulated front-end machine, and by C-STORE
to a DICOM node beside it."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from folder_agent.core.errors import AgentError, Disposition
from folder_agent.core.ports import Gateway, Proof, Transport
from folder_agent.core.records import Acceptance, Claim, FileKind, Outgoing
from folder_agent.edges.drop_folder.dicom import data_set_begins
from folder_agent.edges.gateway import open_gateway
from folder_agent.edges.paths import stamp_of
from folder_agent.settings import Settings
from folder_agent.simulator import Simulator
from tests.contracts.fake_clock import FakeClock
from tests.contracts.fake_gateway import DUPLICATE, FakeGateway, Lost
from tests.contracts.fake_shelves import Held
from tests.servers.committing import CommittingScp
from tests.servers.storescp import CT, EXPLICIT, ScriptedScp, abort, keep_and_abort
from tests.site import FIELDS, PDF, TOKEN, dicom

EXAM: dict[str, str | int] = {**FIELDS, "imageCnt": 0, "reportCnt": 0, "pdfCnt": 0, "seriesCnt": 0}
# gateway.md, "Error codes that the vendor publishes", and one that it does not
CODES = {
    1: Disposition.RETRY,
    10001: Disposition.RETRY,
    10002: Disposition.RETRY,
    10003: Disposition.REFUSE,
    10005: Disposition.REFUSE,
    20008: Disposition.HOLD,
    20010: Disposition.HOLD,
    100001: Disposition.REFUSE,
    100002: Disposition.RETRY,
    100003: Disposition.RETRY,
    100004: Disposition.REFUSE,
    31337: Disposition.RETRY,
}
STUDY = "1.2.840.9"
REASONS = {Disposition.RETRY: "FA-GW-AGAIN", Disposition.REFUSE: "FA-GW-REFUSED", Disposition.HOLD: "FA-GW-PERMISSION"}


class World:
    """A gateway, how it is made to misbehave, and what has come there. `way` is "images" or "reports"."""

    gateway: Gateway

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def exams(self) -> list[Mapping[str, object]]:
        """Every exam that was accepted, repeats included."""
        raise NotImplementedError

    def arrived(self, way: str) -> set[str]:
        """SHA-256 of every file that is there."""
        raise NotImplementedError

    def answer(self, way: str, code: int) -> None:
        """The next exchange of that way ("exam", "images", "reports") is answered with that code."""
        raise NotImplementedError

    def lose_answer(self, way: str) -> None:
        """The next exchange takes effect, and its answer is lost."""
        raise NotImplementedError

    def break_off(self, way: str) -> None:
        """The next exchange is broken off before it takes effect."""
        raise NotImplementedError

    def go_down(self) -> None:
        raise NotImplementedError

    def lose(self, file: Outgoing) -> None:
        """The next image that is sent, this one, is accepted and not kept."""
        raise NotImplementedError

    def say_nothing(self) -> None:
        """The gateway does not say any more what it has."""
        raise NotImplementedError

    def transport(self, way: str) -> Transport:
        bound = self.gateway.for_exam(EXAM)
        transport = bound.images if way == "images" else bound.reports
        assert transport is not None
        return transport

    def file(self, way: str, number: int) -> Outgoing:
        """A file on disk that travels that way."""
        if way == "images":
            path = self.folder / f"{number}.dcm"
            uid = dicom(path, instance=f"1.2.840.9.{number}", study=STUDY)
            stamp = stamp_of(path.stat())
            return Outgoing(number, path.name, path, stamp, FileKind.DICOM, CT, uid, EXPLICIT, STUDY)
        path = self.folder / f"报告{number}.pdf"
        path.write_bytes(PDF.replace(b"%%EOF", f"% {number}\n%%EOF".encode()))
        return Outgoing(number, path.name, path, stamp_of(path.stat()), FileKind.PDF)

    def send(self, way: str, *files: Outgoing) -> list[Acceptance]:
        """Send, and what was reported accepted; the error that ended it is kept in `error`."""
        found: list[Acceptance] = []
        self.error: AgentError | None = None
        self.bytes = 0

        def progress(count: int) -> None:
            self.bytes += count

        try:
            self.transport(way).send(files, found.extend, progress)
        except AgentError as error:
            self.error = error
        return found


class FakeWorld(World):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.gateway = self.fake = FakeGateway(_on_disk)
        self.lines = {"exam": self.fake.line, "images": self.fake.image_line, "reports": self.fake.report_line}

    def exams(self) -> list[Mapping[str, object]]:
        return list(self.fake.exams)

    def arrived(self, way: str) -> set[str]:
        line = self.fake.image_line if way == "images" else self.fake.report_line
        return {digest for _, digest in line.received}

    def answer(self, way: str, code: int) -> None:
        self.lines[way].coming.append(code)

    def lose_answer(self, way: str) -> None:
        self.lines[way].coming.append(Lost())

    def break_off(self, way: str) -> None:
        self.lines[way].coming.append(Lost().error)

    def go_down(self) -> None:
        self.fake.go_down()

    def lose(self, file: Outgoing) -> None:
        assert self.fake.proof is not None
        self.fake.proof.loses.append(file.sop_instance or "")

    def say_nothing(self) -> None:
        assert self.fake.proof is not None
        self.fake.proof.says_nothing = True


def _on_disk(location: Path) -> Held | None:
    """The stamp of a fake knows size and time, which is all that it compares."""
    return Held(location.read_bytes(), location.stat().st_mtime_ns) if location.exists() else None


class RealWorld(World):
    PATHS: Mapping[str, str] = {"exam": "/ris/study/add", "images": "/dicom-web/studies", "reports": "/ris/file/add"}

    def __init__(self, folder: Path, simulator: Simulator) -> None:
        super().__init__(folder)
        self.simulator = simulator
        gateway = {"url": simulator.url, "app_id": "1251", "ca_file": str(simulator.ca_file), "timeout_s": 5}
        drops = [{"name": "ct", "path": str(folder)}]
        settings = Settings.model_validate({"gateway": gateway, "drops": drops, **self.sections()})
        clock = FakeClock(wall=simulator.behaviour.now())
        self.gateway = self.real = open_gateway(settings, TOKEN, clock, lambda: False)

    def sections(self) -> dict[str, object]:
        """The settings of the transports."""
        return {}

    def exams(self) -> list[Mapping[str, object]]:
        return list(self.simulator.received().posts)

    def arrived(self, way: str) -> set[str]:
        received = self.simulator.received()
        if way == "reports":
            return {file.sha256 for file in received.files}
        return {hashlib.sha256(path.read_bytes()).hexdigest() for path in received.instances.values()}

    def answer(self, way: str, code: int) -> None:
        if code == DUPLICATE:
            self.simulator.misbehave(do="code", match=self.PATHS[way], code=code, after=True)
        else:
            self.simulator.misbehave(do="code", match=self.PATHS[way], code=code)

    def lose_answer(self, way: str) -> None:
        self.simulator.misbehave(do="reset", match=self.PATHS[way], after=True)

    def break_off(self, way: str) -> None:
        self.simulator.misbehave(do="reset-in-body", match=self.PATHS[way], bytes=10)

    def go_down(self) -> None:
        self.simulator.stop()

    def lose(self, file: Outgoing) -> None:
        self.simulator.misbehave(do="forget", match=self.PATHS["images"])

    def say_nothing(self) -> None:
        self.simulator.misbehave(do="status", match=f"{self.PATHS['images']}/{STUDY}", times=-1)


class QidoWorld(RealWorld):
    """What has come is asked for by QIDO-RS."""

    def sections(self) -> dict[str, object]:
        return {"images": {"verify": "qido"}}


class DimseWorld(RealWorld):
    """Images go by C-STORE, and reports as DICOM objects with them."""

    STATUSES: Mapping[int, int] = {1: 0xA700, 10001: 0xA700, DUPLICATE: 0x0111, 10005: 0xC000, 20008: 0x0124}

    def __init__(self, folder: Path, simulator: Simulator, scp: ScriptedScp) -> None:
        self.scp = scp
        super().__init__(folder, simulator)

    def sections(self) -> dict[str, object]:
        node = {"host": "127.0.0.1", "port": self.scp.port}
        return {"images": {"transport": "dimse"}, "reports": {"transport": "encapsulate"}, "dimse": node}

    def arrived(self, way: str) -> set[str]:
        if way == "reports":
            reports = [one for one in self.scp.stored if "EncapsulatedDocument" in one]
            return {
                hashlib.sha256(one.EncapsulatedDocument[: one.EncapsulatedDocumentLength]).hexdigest()
                for one in reports
            }
        files = [path.read_bytes() for path in self.folder.glob("*.dcm")]
        return {
            hashlib.sha256(file).hexdigest()
            for body in self.scp.bodies
            for file in files
            if file[data_set_begins(file) :] == body
        }

    def answer(self, way: str, code: int) -> None:
        if way == "exam":
            super().answer(way, code)
        else:
            self.scp.coming.append(self.STATUSES[code])

    def lose_answer(self, way: str) -> None:
        if way == "exam":
            super().lose_answer(way)
        else:
            self.scp.coming.append(keep_and_abort(self.scp))

    def break_off(self, way: str) -> None:
        if way == "exam":
            super().break_off(way)
        else:
            self.scp.coming.append(abort)

    def go_down(self) -> None:
        super().go_down()
        self.scp.stop()


class StgcmtWorld(DimseWorld):
    """What has come by C-STORE is asked for by storage commitment."""

    scp: CommittingScp

    def sections(self) -> dict[str, object]:
        images = {"transport": "dimse", "verify": "stgcmt"}
        return {"images": images, "dimse": {"host": "127.0.0.1", "port": self.scp.port}}

    def lose(self, file: Outgoing) -> None:
        self.scp.lose(file.sop_instance or "")

    def say_nothing(self) -> None:
        self.scp.action_status = 0x0110


@pytest.fixture(params=["fake", "real", "dimse"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    if request.param == "fake":
        yield FakeWorld(tmp_path)
        return
    simulator = request.getfixturevalue("simulator")
    with contextlib.ExitStack() as stack:
        if request.param == "real":
            real = RealWorld(tmp_path, simulator)
        else:
            real = DimseWorld(tmp_path, simulator, stack.enter_context(ScriptedScp()))
        yield real
        real.real.close()


WAYS = pytest.mark.parametrize("way", ["images", "reports"])


def digest_of(file: Outgoing) -> str:
    return hashlib.sha256(file.location.read_bytes()).hexdigest()


def failing_commit(world: World) -> AgentError:
    with pytest.raises(AgentError) as told:
        world.gateway.commit(EXAM)
    return told.value


def test_an_exam_is_committed_with_every_field(world: World) -> None:
    answer = world.gateway.commit(EXAM)
    assert (answer.code, answer.duplicate) == (0, False)
    assert world.exams() == [EXAM]


def test_a_duplicate_is_success(world: World) -> None:
    world.answer("exam", DUPLICATE)
    answer = world.gateway.commit(EXAM)
    assert (answer.code, answer.duplicate) == (DUPLICATE, True)


def test_a_commit_may_be_repeated(world: World) -> None:
    for _ in range(2):
        assert world.gateway.commit(EXAM).code in (0, DUPLICATE)
    assert [exam["accessNumber"] for exam in world.exams()] == ["ACC1", "ACC1"]


@pytest.mark.parametrize(("code", "wanted"), CODES.items())
def test_every_code_has_its_disposition(world: World, code: int, wanted: Disposition) -> None:
    world.answer("exam", code)
    error = failing_commit(world)
    assert (error.disposition, error.problem.code) == (wanted, REASONS[wanted])
    assert dict(error.problem.values)["code"] == code
    assert world.exams() == []
    assert world.gateway.commit(EXAM).code == 0  # nothing of it stays


@WAYS
@pytest.mark.parametrize("code", [1, 10005, 20008])
def test_a_code_for_a_file_has_its_disposition_too(world: World, way: str, code: int) -> None:
    world.answer(way, code)
    assert world.send(way, world.file(way, 1)) == []
    assert world.error is not None
    assert world.error.disposition is CODES[code]


def test_a_gateway_that_is_away_is_unreachable(world: World) -> None:
    world.go_down()
    error = failing_commit(world)
    assert (error.problem.code, error.disposition) == ("FA-GW-UNREACHABLE", Disposition.RETRY)
    assert world.send("images", world.file("images", 1)) == []
    assert world.error is not None
    assert world.error.problem.code == "FA-GW-UNREACHABLE"


def test_a_commit_whose_answer_is_lost_is_tried_again_and_has_happened(world: World) -> None:
    world.lose_answer("exam")
    error = failing_commit(world)
    assert (error.problem.code, error.disposition) == ("FA-GW-BROKEN", Disposition.RETRY)
    assert len(world.exams()) == 1
    assert world.gateway.commit(EXAM).code in (0, DUPLICATE)


@WAYS
def test_what_is_accepted_is_reported_with_its_digest_and_the_receivers_address(world: World, way: str) -> None:
    files = [world.file(way, number) for number in (1, 2, 3)]
    found = world.send(way, *files)
    assert world.error is None
    assert [(one.file_id, one.sha256) for one in found] == [(file.file_id, digest_of(file)) for file in files]
    assert {one.destination for one in found} == {world.transport(way).destination}
    assert all(one.answer for one in found)
    assert world.arrived(way) == {digest_of(file) for file in files}
    assert world.bytes == sum(file.stamp.size for file in files)


@WAYS
def test_sending_nothing_is_no_exchange(world: World, way: str) -> None:
    world.break_off(way)
    assert world.send(way) == []
    assert world.error is None


@WAYS
def test_a_lost_connection_is_tried_again_and_reports_nothing(world: World, way: str) -> None:
    world.break_off(way)
    file = world.file(way, 1)
    assert world.send(way, file) == []
    assert world.error is not None
    assert (world.error.problem.code, world.error.disposition) == ("FA-GW-BROKEN", Disposition.RETRY)
    assert world.arrived(way) == set()
    assert [one.file_id for one in world.send(way, file)] == [1]


@WAYS
def test_a_file_whose_answer_is_lost_is_not_reported_and_sending_it_again_does_no_harm(world: World, way: str) -> None:
    world.lose_answer(way)
    file = world.file(way, 1)
    assert world.send(way, file) == []
    assert world.error is not None
    assert world.error.disposition is Disposition.RETRY
    assert world.arrived(way) == {digest_of(file)}
    for _ in range(2):
        assert [one.sha256 for one in world.send(way, file)] == [digest_of(file)]
    assert world.arrived(way) == {digest_of(file)}


def test_what_was_accepted_is_reported_before_the_error_that_stops_the_rest(world: World) -> None:
    files = [world.file("reports", number) for number in (1, 2, 3)]
    world.answer("reports", 0 if isinstance(world, FakeWorld) else DUPLICATE)
    world.answer("reports", 10001)
    assert [one.file_id for one in world.send("reports", *files)] == [1]
    assert world.error is not None
    assert world.error.disposition is Disposition.RETRY


@WAYS
@pytest.mark.parametrize("change", ["longer", "shorter", "same size", "gone"])
def test_a_file_that_is_not_the_announced_one_any_more_has_changed(world: World, way: str, change: str) -> None:
    file = world.file(way, 1)
    content = file.location.read_bytes()
    if change == "gone":
        file.location.unlink()
    elif change == "same size":
        file = replace(file, stamp=replace(file.stamp, mtime_ns=file.stamp.mtime_ns - 10**9))
    else:
        file.location.write_bytes(content + b"more" if change == "longer" else content[:-4])
    assert world.send(way, file) == []
    assert world.error is not None
    assert (world.error.problem.code, world.error.disposition) == ("FA-CHANGED", Disposition.WAIT)
    assert world.error.problem.path == file.path
    assert world.arrived(way) == set()


def test_for_an_exam_it_is_the_same_gateway(world: World) -> None:
    bound = world.gateway.for_exam(EXAM)
    other = world.gateway.for_exam({**EXAM, "accessNumber": "ACC2"})
    assert (bound.address, other.address) == (world.gateway.address,) * 2
    assert bound.reports is not None
    assert other.reports is not None
    assert bound.reports.destination == other.reports.destination
    assert bound.commit(EXAM).code == 0
    assert len(world.exams()) == 1


def test_a_report_travels_with_the_exams_identity(world: World) -> None:
    world.send("reports", world.file("reports", 1))
    if isinstance(world, FakeWorld):
        assert world.fake.report_line.exam == EXAM
    elif isinstance(world, DimseWorld):
        assert [report.AccessionNumber for report in world.scp.stored] == ["ACC1"]
    else:
        assert isinstance(world, RealWorld)
        assert [file.access_number for file in world.simulator.received().files] == ["ACC1"]


@pytest.fixture(params=["fake", "qido", "stgcmt"])
def proving(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """A gateway that is asked what it has."""
    if request.param == "fake":
        fake = FakeWorld(tmp_path)
        fake.fake.prove()
        yield fake
        return
    simulator = request.getfixturevalue("simulator")
    with contextlib.ExitStack() as stack:
        if request.param == "qido":
            real: RealWorld = QidoWorld(tmp_path, simulator)
        else:
            real = StgcmtWorld(tmp_path, simulator, stack.enter_context(CommittingScp()))
        yield real
        real.real.close()


def proof_of(world: World) -> Proof:
    proof = world.gateway.for_exam(EXAM).proof
    assert proof is not None
    return proof


def claims(*files: Outgoing) -> list[Claim]:
    return [Claim(file, digest_of(file)) for file in files]


def test_a_gateway_that_is_not_asked_has_no_proof(world: World) -> None:
    assert world.gateway.for_exam(EXAM).proof is None


def test_what_was_sent_is_held_and_what_was_lost_is_not_until_it_is_sent_again(proving: World) -> None:
    files = [proving.file("images", number) for number in (1, 2, 3)]
    proving.send("images", files[0])
    proving.lose(files[1])
    proving.send("images", files[1])
    proving.send("images", files[2])
    proof = proof_of(proving)
    assert proof.words
    assert dict(proof.held(claims(*files))) == {1: True, 2: False, 3: True}
    proving.send("images", files[1])
    assert dict(proof.held(claims(*files))) == {1: True, 2: True, 3: True}


def test_what_cannot_be_asked_for_is_left_out(proving: World) -> None:
    report = proving.file("reports", 1)
    proving.send("reports", report)
    assert dict(proof_of(proving).held(claims(report))) == {}
    assert dict(proof_of(proving).held([])) == {}


def test_a_gateway_that_does_not_say_is_asked_again(proving: World) -> None:
    file = proving.file("images", 1)
    proving.send("images", file)
    proving.say_nothing()
    with pytest.raises(AgentError) as told:
        proof_of(proving).held(claims(file))
    assert (told.value.problem.code, told.value.disposition) == ("FA-GW-UNPROVEN", Disposition.RETRY)


def test_a_gateway_that_is_away_cannot_be_asked(proving: World) -> None:
    file = proving.file("images", 1)
    proving.send("images", file)
    proving.go_down()
    if isinstance(proving, FakeWorld) and proving.fake.proof is not None:
        proving.fake.proof.down = proving.fake.line.down
    with pytest.raises(AgentError) as told:
        proof_of(proving).held(claims(file))
    assert told.value.problem.code == "FA-GW-UNREACHABLE"

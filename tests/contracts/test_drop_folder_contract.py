"""What every DropFolder keeps, in memory and on a disk: look, tell, never touch, and an outage is no deletion."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from folder_agent.core.errors import AgentError, Disposition
from folder_agent.core.ports import DropFolder
from folder_agent.core.records import FileKind, Stamp
from folder_agent.edges.drop_folder import RealDropFolder
from folder_agent.edges.paths import plain
from tests.contracts.fake_drop_folder import PDF, FakeDropFolder, image
from tests.marks import LINKS
from tests.site import dicom, sidecar


class World:
    """A drop folder as the test sees it."""

    drop: DropFolder

    def put(self, path: str, content: bytes) -> None:
        raise NotImplementedError

    def put_image(self, path: str) -> None:
        """A DICOM image: instance 1.2.3, patient P7001, accession number ACC1, study 1.2.840.1."""
        raise NotImplementedError

    def cut(self, path: str) -> None:
        """Take the last bytes off a file."""
        raise NotImplementedError

    def remove(self, path: str) -> None:
        raise NotImplementedError

    def link(self, path: str) -> None:
        """A symbolic link, to a file that is there."""
        raise NotImplementedError

    def lose(self) -> None:
        """The root goes away with all that is in it."""
        raise NotImplementedError

    def find(self) -> None:
        """It is back."""
        raise NotImplementedError

    def stamps(self) -> dict[str, Stamp]:
        return {seen.path: seen.stamp for seen in self.drop.look()}


class FakeWorld(World):
    def __init__(self) -> None:
        self.drop = self.fake = FakeDropFolder(marker="*.ok")

    def put(self, path: str, content: bytes) -> None:
        self.fake.put(path, content)

    def put_image(self, path: str) -> None:
        self.fake.put(path, image("1.2.3"))

    def cut(self, path: str) -> None:
        self.fake.put(path, self.fake.files[path].content[:-10])

    def remove(self, path: str) -> None:
        del self.fake.files[path]

    def link(self, path: str) -> None:
        self.fake.put(path, b"x")
        self.fake.links.add(path)

    def lose(self) -> None:
        self.fake.go_away()

    def find(self) -> None:
        self.fake.outage = None


class RealWorld(World):
    def __init__(self, folder: Path) -> None:
        self.root = folder / "drop"
        self.root.mkdir()
        self.drop = RealDropFolder("ct", self.root, (self.root / "done", self.root / "failed"), "*.ok")
        self.writes = 0

    def put(self, path: str, content: bytes) -> None:
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        self._touch(place)

    def put_image(self, path: str) -> None:
        dicom(self.root / path, instance="1.2.3")
        self._touch(self.root / path)

    def cut(self, path: str) -> None:
        self.put(path, (self.root / path).read_bytes()[:-10])

    def remove(self, path: str) -> None:
        (self.root / path).unlink()

    def link(self, path: str) -> None:
        target = self.root.parent / "elsewhere"
        target.write_bytes(b"x")
        (self.root / path).symlink_to(target)

    def lose(self) -> None:
        self.root.rename(self.root.with_name("lost"))

    def find(self) -> None:
        self.root.with_name("lost").rename(self.root)

    def _touch(self, place: Path) -> None:
        self.writes += 1  # a file system's clock is coarse: two writes may share a time
        os.utime(place, ns=(10**18 + self.writes * 10**9,) * 2)


@pytest.fixture(params=["fake", "real"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    return FakeWorld() if request.param == "fake" else RealWorld(tmp_path)


def failing(call: Callable[[], object]) -> AgentError:
    with pytest.raises(AgentError) as told:
        call()
    return told.value


def test_looking_finds_every_file_and_changes_nothing(world: World) -> None:
    for path in ("a.json", "CT1/1.dcm", "CT1/deep/er/2.dcm", "影像/张.pdf"):
        world.put(path, path.encode())
    first = world.stamps()
    assert set(first) == {"a.json", "CT1/1.dcm", "CT1/deep/er/2.dcm", "影像/张.pdf"}
    assert first["CT1/1.dcm"].size == len("CT1/1.dcm")
    assert world.stamps() == first
    assert world.drop.unlisted() == frozenset()


def test_an_empty_drop_folder_is_no_outage(world: World) -> None:
    assert list(world.drop.look()) == []


def test_a_change_of_content_changes_the_stamp_and_no_other(world: World) -> None:
    world.put("1.dcm", b"one")
    world.put("2.dcm", b"two")
    before = world.stamps()
    world.put("1.dcm", b"eno")
    after = world.stamps()
    assert after["1.dcm"] != before["1.dcm"]
    assert after["2.dcm"] == before["2.dcm"]


@LINKS
def test_a_link_is_told_and_never_followed(world: World) -> None:
    world.link("away.dcm")
    (seen,) = world.drop.look()
    assert (seen.path, seen.is_link) == ("away.dcm", True)
    assert world.drop.stamp("away.dcm") is None
    finding = world.drop.inspect("away.dcm", seen.stamp)
    assert finding is not None
    assert finding.problem is not None
    assert finding.problem.code == "FA-FILE-LINK"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("CT1/exam.json", FileKind.SIDECAR),
        ("CT1/EXAM.JSON", FileKind.SIDECAR),
        ("CT1/ready.ok", FileKind.MARKER),
        ("CT1/Thumbs.db", FileKind.JUNK),
        ("DICOMDIR", FileKind.JUNK),
        ("WHY.txt", FileKind.JUNK),
        ("receipt.json", FileKind.JUNK),
        ("1.dcm.part", FileKind.TEMPORARY),
        ("~$exam.json", FileKind.TEMPORARY),
        ("1.dcm", FileKind.UNKNOWN),
        ("report.pdf", FileKind.UNKNOWN),
        ("IM0001", FileKind.UNKNOWN),
    ],
)
def test_a_name_decides_only_what_a_name_can_decide(world: World, name: str, kind: FileKind) -> None:
    assert world.drop.kind(name) is kind


def test_an_image_is_known_by_its_content(world: World) -> None:
    world.put_image("CT1/IM1.txt")
    finding = world.drop.inspect("CT1/IM1.txt", world.stamps()["CT1/IM1.txt"])
    assert finding is not None
    assert (finding.kind, finding.problem) == (FileKind.DICOM, None)
    facts = finding.dicom
    assert facts is not None
    assert (facts.sop_instance, facts.study, facts.patient_id, facts.accession) == (
        "1.2.3",
        "1.2.840.1",
        "P7001",
        "ACC1",
    )
    assert (facts.is_image, facts.is_report) == (True, False)


def test_a_report_is_known_by_its_content(world: World) -> None:
    world.put("report", PDF)
    finding = world.drop.inspect("report", world.stamps()["report"])
    assert finding is not None
    assert (finding.kind, finding.problem) == (FileKind.PDF, None)


def test_a_sidecar_is_read(world: World, tmp_path: Path) -> None:
    sidecar(tmp_path / "exam.json", imageCnt=2)
    world.put("exam.json", (tmp_path / "exam.json").read_bytes())
    finding = world.drop.inspect("exam.json", world.stamps()["exam.json"])
    assert finding is not None
    assert finding.sidecar is not None
    assert (finding.sidecar.get("accessNumber"), finding.sidecar.declared.images) == ("ACC1", 2)
    assert finding.problem is None


@pytest.mark.parametrize(
    ("name", "content", "kind", "code"),
    [
        ("1.dcm", b"", FileKind.UNKNOWN, "FA-FILE-EMPTY"),
        ("1.dcm", b"nothing of the sort", FileKind.UNKNOWN, "FA-FILE-UNREADABLE"),
        ("report.pdf", PDF[:-7], FileKind.PDF, "FA-FILE-TRUNCATED"),
        ("exam.json", b"", FileKind.SIDECAR, "FA-SIDECAR-EMPTY"),
        ("exam.json", b'{"patientId": ', FileKind.SIDECAR, "FA-SIDECAR-JSON"),
        ("notes.txt", b"anything", FileKind.FOREIGN, None),
        ("Thumbs.db", b"anything", FileKind.JUNK, None),
        ("ready.ok", b"", FileKind.MARKER, None),
    ],
)
def test_whatever_a_file_contains_is_a_finding(
    world: World, name: str, content: bytes, kind: FileKind, code: str | None
) -> None:
    world.put(name, content)
    finding = world.drop.inspect(name, world.stamps()[name])
    assert finding is not None
    assert (finding.kind, finding.problem and finding.problem.code) == (kind, code)


def test_an_image_that_is_cut_short_is_told(world: World) -> None:
    world.put_image("1.dcm")
    world.cut("1.dcm")
    finding = world.drop.inspect("1.dcm", world.stamps()["1.dcm"])
    assert finding is not None
    assert finding.problem is not None
    assert finding.problem.code == "FA-FILE-TRUNCATED"


def test_of_another_stamp_nothing_is_said(world: World) -> None:
    world.put("report.pdf", PDF)
    stamp = world.stamps()["report.pdf"]
    world.put("report.pdf", PDF + b"\n")
    assert world.drop.inspect("report.pdf", stamp) is None
    world.put("report.pdf", PDF)  # the same size again, at another time
    assert world.drop.inspect("report.pdf", stamp) is None
    world.remove("report.pdf")
    assert world.drop.inspect("report.pdf", stamp) is None


def test_a_stamp_is_the_one_of_a_look_and_none_for_what_is_not_there(world: World) -> None:
    world.put("CT1/1.dcm", b"pixels")
    assert world.drop.stamp("CT1/1.dcm") == world.stamps()["CT1/1.dcm"]
    for missing in ("CT1/2.dcm", "CT2/1.dcm"):
        assert world.drop.stamp(missing) is None
    world.remove("CT1/1.dcm")
    assert world.drop.stamp("CT1/1.dcm") is None


def test_below_lists_one_folder_and_all_in_it(world: World) -> None:
    for path in ("a.json", "CT1/1.dcm", "CT1/deep/2.dcm", "CT10/3.dcm"):
        world.put(path, b"x")
    assert {seen.path for seen in world.drop.below("CT1")} == {"CT1/1.dcm", "CT1/deep/2.dcm"}
    assert {seen.path: seen.stamp for seen in world.drop.below("")} == world.stamps()
    assert list(world.drop.below("CT2")) == []


def test_a_digest_is_the_sha256_of_the_bytes(world: World) -> None:
    world.put("CT1/1.dcm", b"pixels" * 1000)
    assert world.drop.digest("CT1/1.dcm") == hashlib.sha256(b"pixels" * 1000).hexdigest()
    world.remove("CT1/1.dcm")
    error = failing(lambda: world.drop.digest("CT1/1.dcm"))
    assert (error.problem.code, error.disposition) == ("FA-CHANGED", Disposition.WAIT)


def test_a_place_is_absolute_and_below_the_root(world: World) -> None:
    place = world.drop.locate("CT1/影像/1.dcm")
    assert place.root  # the fake's has no drive on Windows
    assert Path(plain(str(place))) == world.drop.root / "CT1" / "影像" / "1.dcm"


@pytest.mark.parametrize("path", ["", ".", "..", "../1.dcm", "CT1/../../1.dcm", "/etc/passwd", "CT1//1.dcm", "a\0b"])
def test_a_path_that_leads_out_is_refused_by_everyone(world: World, path: str) -> None:
    calls: list[Callable[[], object]] = [
        lambda: world.drop.locate(path),
        lambda: world.drop.stamp(path),
        lambda: world.drop.digest(path),
        lambda: world.drop.inspect(path, Stamp(1, 1, 0)),
    ]
    for call in calls:
        error = failing(call)
        assert (error.problem.code, error.disposition) == ("FA-FILE-LINK", Disposition.REFUSE)


def test_an_outage_is_told_and_never_taken_for_deletion(world: World) -> None:
    world.put("CT1/1.dcm", b"pixels")
    before = world.stamps()
    world.lose()
    calls: list[Callable[[], object]] = [
        lambda: world.drop.look(),
        lambda: world.drop.below("CT1"),
        lambda: world.drop.below(""),
        lambda: world.drop.stamp("CT1/1.dcm"),
    ]
    for call in calls:
        error = failing(call)
        assert (error.problem.code, error.disposition) == ("FA-DROP-GONE", Disposition.RETRY)
    assert world.drop.inspect("CT1/1.dcm", before["CT1/1.dcm"]) is None
    assert failing(lambda: world.drop.digest("CT1/1.dcm")).disposition in (Disposition.RETRY, Disposition.WAIT)
    world.find()
    assert world.stamps() == before

"""What every StatusArea keeps: it writes and removes what is its own, and nothing that somebody has changed."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import AgentError, problem
from folder_agent.core.ports import StatusArea
from folder_agent.edges.drop_folder import RealDropFolder
from folder_agent.edges.drop_folder.status_area import RealStatusArea
from tests.contracts.fake_status_area import FakeStatusArea
from tests.rights import as_nobody, public_folder

NAME = "CD1 #2.json.template"


class Area:
    """A status area as the test sees it."""

    area: StatusArea

    def read(self, name: str = NAME) -> bytes | None:
        raise NotImplementedError

    def edit(self, content: bytes, name: str = NAME) -> None:
        raise NotImplementedError

    def lose(self) -> None:
        raise NotImplementedError


class FakeArea(Area):
    def __init__(self) -> None:
        self.area = self.fake = FakeStatusArea()

    def read(self, name: str = NAME) -> bytes | None:
        return self.fake.files.get(name)

    def edit(self, content: bytes, name: str = NAME) -> None:
        self.fake.files[name] = content

    def lose(self) -> None:
        self.fake.outage = failure(problem("FA-DROP-GONE", detail="ENOENT"))


class RealArea(Area):
    def __init__(self, folder: Path) -> None:
        self.root = folder / "drop"
        self.root.mkdir()
        self.area = RealStatusArea(RealDropFolder("ct", self.root), self.root / "_STATUS")

    def read(self, name: str = NAME) -> bytes | None:
        path = self.root / "_STATUS" / name
        return path.read_bytes() if path.exists() else None

    def edit(self, content: bytes, name: str = NAME) -> None:
        (self.root / "_STATUS" / name).write_bytes(content)

    def lose(self) -> None:
        self.root.rename(self.root.with_name("away"))


@pytest.fixture(params=[lambda tmp_path: FakeArea(), RealArea], ids=["fake", "real"])
def area(request: pytest.FixtureRequest, tmp_path: Path) -> Area:
    make: Callable[[Path], Area] = request.param
    return make(tmp_path)


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_it_writes_replaces_and_removes_what_is_its_own(area: Area) -> None:
    assert area.area.write(NAME, b"one", [sha(b"one")])
    assert area.area.write(NAME, b"one", [sha(b"one")])
    assert area.area.write(NAME, b"two", [sha(b"one"), sha(b"two")])
    assert area.read() == b"two"
    assert area.area.remove(NAME, [sha(b"two")])
    assert area.area.remove(NAME, [sha(b"two")])
    assert area.read() is None


def test_what_somebody_has_changed_or_put_there_stays(area: Area) -> None:
    assert area.area.write(NAME, b"one", [sha(b"one")])
    area.edit(b"one, filled in")
    assert not area.area.write(NAME, b"two", [sha(b"one"), sha(b"two")])
    assert not area.area.remove(NAME, [sha(b"one"), sha(b"two")])
    assert area.read() == b"one, filled in"


def test_one_that_is_out_of_reach_says_so(area: Area) -> None:
    area.lose()
    for action in (area.area.write, lambda name, _, ours: area.area.remove(name, ours)):
        with pytest.raises(AgentError):
            action(NAME, b"one", [sha(b"one")])


def test_the_folder_comes_and_goes_with_what_is_in_it_and_is_called_as_people_find_it(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "drop", tmp_path / "elsewhere"
    root.mkdir()
    drop = RealDropFolder("ct", root, (root / "_STATUS",))
    inside, outside = RealStatusArea(drop, root / "_STATUS"), RealStatusArea(drop, elsewhere)
    assert (inside.label, outside.label) == ("_STATUS", str(elsewhere))
    for one, folder in ((inside, root / "_STATUS"), (outside, elsewhere)):
        one.write(NAME, b"x", [])
        assert folder.is_dir()
        one.remove(NAME, [sha(b"x")])
    assert not (root / "_STATUS").exists()
    assert elsewhere.is_dir()
    inside.write(NAME, b"x", [])
    assert drop.look() == []


@pytest.mark.skipif(sys.platform == "win32", reason="rights are other things on Windows")
def test_without_rights_it_says_where() -> None:
    with public_folder() as folder:
        area = RealArea(folder)
        area.root.chmod(0o555)
        with as_nobody(), pytest.raises(AgentError) as raised:
            area.area.write(NAME, b"x", [])
    assert raised.value.problem.code == "FA-STATUS-AREA"


def test_a_file_where_the_folder_should_be_is_told(tmp_path: Path) -> None:
    area = RealArea(tmp_path)
    (area.root / "_STATUS").write_bytes(b"")
    with pytest.raises(AgentError) as raised:
        area.area.write(NAME, b"x", [])
    assert raised.value.problem.code == "FA-STATUS-AREA"

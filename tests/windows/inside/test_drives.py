"""Drives and shares: what is remote, what is free, what a mapped drive really is, a share that is out of reach."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import pytest

assert sys.platform == "win32"

from folder_agent import settings
from folder_agent.checkup import drops
from folder_agent.checkup.findings import Outcome
from folder_agent.core.errors import AgentError, Disposition
from folder_agent.core.records import Stamp
from folder_agent.edges.drop_folder import RealDropFolder
from folder_agent.edges.ledger import open_ledger
from folder_agent.edges.paths import normal, openable, plain
from folder_agent.edges.shelves import RealShelves
from folder_agent.edges.volumes import free_bytes, is_remote, same_volume, share_of
from tests.site import Site

NETWORK_DRIVE = Path("R:\\")  # made by tests/windows/suite.py


def test_free_space_is_that_of_the_volume_whatever_the_path(tmp_path: Path) -> None:
    long = tmp_path.joinpath(*("x" * 100 for _ in range(4)))
    assert free_bytes(long) > 0
    assert free_bytes(Path(f"{openable(tmp_path)}\\not\\there")) > 0
    assert same_volume(tmp_path, long)


def test_a_network_drive_is_remote_and_no_place_for_a_ledger() -> None:
    assert is_remote(NETWORK_DRIVE / "x")
    assert is_remote(openable(NETWORK_DRIVE / "x"))
    assert not is_remote(Path("C:\\x"))
    with pytest.raises(AgentError) as caught:
        open_ledger("sqlite:///R:/ledger.db")
    assert caught.value.problem.code == "FA-LEDGER-REMOTE"
    with pytest.raises(AgentError):
        open_ledger("sqlite://///server/share/ledger.db")


@pytest.mark.parametrize("path", ["C:\\x", "\\\\server\\share\\x", "x"])
def test_what_is_no_mapped_drive_has_no_share_behind_it(path: str) -> None:
    assert share_of(Path(path)) is None


def test_a_mapped_drive_is_told_as_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    from folder_agent.edges import volumes

    def connection(drive: str, share: ctypes.Array[ctypes.c_wchar], size: object) -> int:
        assert drive == "Z:"
        share.value = "\\\\pacs01\\export"
        return 1201  # remembered, not connected at the moment

    monkeypatch.setattr(volumes, "_connection_of", connection)
    assert share_of(Path("Z:\\ct\\today\\")) == "\\\\pacs01\\export\\ct\\today"
    assert share_of(openable(Path("Z:\\"))) == "\\\\pacs01\\export"


def test_doctor_says_what_to_write_instead_of_a_mapped_drive(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The question to Windows is played; what is made of the answer is ours."""
    monkeypatch.setattr(drops, "share_of", lambda place: f"\\\\pacs01\\export{str(place)[2:]}")
    (drop,) = settings.load(site.config(), {}).drops
    told = next(check for check in drops.examine(drop) if check.name == f"drop {drop.name} drive")
    assert told.outcome is Outcome.WARNING
    assert "a service does not see it" in told.text.en
    assert told.todo is not None
    assert f"'\\\\pacs01\\export{str(drop.path)[2:]}'" in told.todo.en


def test_a_share_that_is_out_of_reach_is_an_outage_and_nothing_has_vanished(tmp_path: Path) -> None:
    root = Path("\\\\no-such-server\\export")
    assert is_remote(root)
    drop = RealDropFolder("ct", root, (root / "done", root / "failed"))
    with pytest.raises(AgentError) as caught:
        drop.look()
    assert (caught.value.problem.code, caught.value.disposition) == ("FA-DROP-GONE", Disposition.RETRY)
    with pytest.raises(AgentError):
        RealShelves(root, root / "done", root / "failed").move("1.pdf", str(root / "done"), "1.pdf", Stamp(1, 1, 0))


def test_one_path_has_one_normal_form_however_it_is_written(tmp_path: Path) -> None:
    assert normal(openable(tmp_path)) == normal(tmp_path) == normal(str(tmp_path).upper())
    assert plain(str(openable(tmp_path))) == str(tmp_path)

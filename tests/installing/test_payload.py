"""What the installer is built from: the lock, and the interpreter that is given."""

from __future__ import annotations

import hashlib
import re
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from installer import locking, payload

LOCKED = dict(re.findall(r"^([a-z0-9-]+)==(\S+) \\\n", locking.LOCK.read_text(encoding="utf-8"), re.MULTILINE))


@pytest.mark.parametrize("text", locking.requirements())
def test_every_requirement_is_locked(text: str) -> None:
    """After a change of pyproject.toml: python installer/build.py --lock."""
    wanted = Requirement(text)
    assert wanted.specifier.contains(LOCKED[wanted.name.lower()])


def test_every_package_of_the_lock_has_digests() -> None:
    entries = re.split(r"^(?=[a-z])", locking.LOCK.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    assert len(entries) == len(LOCKED)
    for entry in entries:
        assert re.fullmatch(r"\S+==\S+( \\\n    --hash=sha256:[0-9a-f]{64})+\n", entry), entry


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """As python.org packs it."""
    made = tmp_path / "python-3.11.9-embed-amd64.zip"
    with zipfile.ZipFile(made, "w") as archive:
        for name in ("python.exe", "pythonw.exe", "python311.dll", "python3.dll", "python311.zip", "python311._pth"):
            archive.writestr(name, name)
        archive.writestr("_ssl.pyd", "")
    return made


def test_pythons_own_package_is_taken_if_it_is_the_one(package: Path, tmp_path: Path) -> None:
    digest = hashlib.sha256(package.read_bytes()).hexdigest()
    runtime = payload.unpacked(package, digest.upper(), tmp_path / "program")
    assert (runtime.dll, runtime.version, runtime.paths) == ("python311.dll", "3.11", ("python311.zip", "."))
    kept = {file.name for file in runtime.folder.iterdir()}
    assert kept == {"python311.dll", "python3.dll", "python311.zip", "_ssl.pyd"}


def test_another_package_is_refused(package: Path, tmp_path: Path) -> None:
    with pytest.raises(payload.BuildError, match="has SHA-256"):
        payload.unpacked(package, "0" * 64, tmp_path / "program")
    assert not (tmp_path / "program").exists()


@pytest.mark.parametrize("version", ["0.3", "0.3.0rc1", "1.2.3.4", "0.3.0.dev1"])
def test_a_version_that_installers_cannot_compare_is_refused(version: str) -> None:
    with pytest.raises(payload.BuildError):
        payload.version_of(Path(f"folder_agent-{version}-py3-none-any.whl"))


def test_without_a_compiler_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "python311.dll").touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(payload.BuildError, match="--launchers"):
        payload.add_launchers(payload.Runtime(tmp_path, ()), "0.3.0", None)


def test_launchers_that_were_built_elsewhere_are_taken(tmp_path: Path) -> None:
    made, program = tmp_path / "made", tmp_path / "program"
    for folder in (made, program):
        folder.mkdir()
    for name in payload.LAUNCHERS:
        (made / name).write_bytes(name.encode())
    payload.add_launchers(payload.Runtime(program, ()), "0.3.0", made)
    assert (program / "folder-agent.exe").read_bytes() == b"folder-agent.exe"

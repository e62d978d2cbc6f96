"""What is installed is what is here: the list of packages, the files beside the code, the visible top level."""

from __future__ import annotations

import configparser
import importlib.util
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE, SAMPLES = ROOT / "folder_agent", ROOT / "sample_drop"
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
TOP_LEVEL = {"pyproject.toml", "folder_agent", "installer", "tests", "sample_drop", "README.md"}
_RUBBISH = shutil.ignore_patterns("__pycache__", "*.pyc")


def files_below(folder: Path) -> set[str]:
    """Relative names of all files, without what Python leaves behind."""
    found = (file for file in folder.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    return {file.relative_to(folder).as_posix() for file in found}


def test_every_package_is_installed() -> None:
    """The list is explicit: a package that is forgotten works in a checkout and is missing at the customer's."""
    here = {(Path("folder_agent") / file).parent.as_posix().replace("/", ".") for file in python_files()}
    listed = PROJECT["tool"]["setuptools"]["packages"]
    assert sorted(listed) == sorted(here | {"folder_agent.sample_drop"})


def python_files() -> set[str]:
    """All Python files of the package."""
    return {file for file in files_below(PACKAGE) if file.endswith(".py")}


def test_every_package_has_its_opening_file() -> None:
    folders = {Path(file).parent for file in python_files()}
    assert [folder for folder in folders if not (PACKAGE / folder / "__init__.py").is_file()] == []


def test_nothing_else_is_visible_at_the_top_level() -> None:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        return  # an unpacked archive knows nothing of what is under version control
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    visible = {name.split("/")[0] for name in listed.split("\0") if name and not name.startswith(".")}
    assert visible == TOP_LEVEL


def has_setuptools() -> bool:
    """Whether this environment's setuptools is new enough for pyproject.toml."""
    if importlib.util.find_spec("setuptools") is None:
        return False
    wanted = PROJECT["build-system"]["requires"][0].partition(">=")[2]
    return int(version("setuptools").split(".")[0]) >= int(wanted)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of a clean copy: a build in place would take along what earlier ones left in build/."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    for folder in (PACKAGE, SAMPLES):
        shutil.copytree(folder, source / folder.name, ignore=_RUBBISH)
    command = [sys.executable, "-m", "pip", "wheel", str(source), "--no-deps", "-w", str(out), "--quiet"]
    command += ["--disable-pip-version-check", *(["--no-build-isolation"] if has_setuptools() else [])]
    built = subprocess.run(command, capture_output=True, check=False, timeout=110)
    assert built.returncode == 0, built.stderr.decode(errors="replace")
    [found] = out.glob("*.whl")
    return found


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_has_every_file_of_the_package(wheel: Path) -> None:
    wanted = {f"folder_agent/{file}" for file in files_below(PACKAGE)}
    assert {"folder_agent/py.typed", "folder_agent/cli/template.toml"} <= wanted
    assert wanted - names_in(wheel) == set()


def test_the_wheel_has_the_samples_to_the_byte(wheel: Path) -> None:
    samples = files_below(SAMPLES)
    assert "CT20260301-001/images/IM0001.dcm" in samples
    assert "CD-MR77/IMAGES/IM00001" in samples
    with zipfile.ZipFile(wheel) as archive:
        inside = {name.removeprefix("folder_agent/sample_drop/"): name for name in archive.namelist()}
        assert samples - inside.keys() == set()
        for name in samples:
            assert archive.read(inside[name]) == (SAMPLES / name).read_bytes(), name


def test_the_wheel_has_nothing_else(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in names_in(wheel)}
    assert tops == {"folder_agent", f"folder_agent-{PROJECT['project']['version']}.dist-info"}


def test_the_wheel_has_the_command(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/entry_points.txt")]
        scripts = configparser.ConfigParser()
        scripts.read_string(archive.read(name).decode())
    assert dict(scripts["console_scripts"]) == {"folder-agent": "folder_agent.cli:main"}

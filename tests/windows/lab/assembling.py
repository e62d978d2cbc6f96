"""Puts the Windows Python and a pristine Wine prefix together, once for each change of what they are made of.

Touches the lab's folder, pip's cache and, while it builds, a temporary folder beside. A release of the product takes
python.org's embeddable package instead of what is done here for `python/`.
"""

from __future__ import annotations

import compileall
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
PROJECT = HERE.parent.parent.parent / "pyproject.toml"
# The wheel that holds CPython's own DLLs, by the patch version of 3.11 that they are of.
_HOLDERS = {7: "1.10.14", 9: "1.10.16"}
_RUNTIME = "msvc-runtime==14.44.35112"
# pip evaluates markers for the machine that it runs on: what Windows needs besides is named here.
ON_WINDOWS = ("colorama", "win32-setctime", "tzdata")
# No numpy: Wine 8 lacks what it wants of the C runtime, and no test that runs here wants it.
_TESTS = ("hypothesis", "psutil", "pytest", "pytest-timeout", "pytest-xdist")
_NOT_SHIPPED = ("test", "site-packages", "lib-dynload", "idlelib", "turtledemo", "lib2to3", "ensurepip", "__pycache__")
_MINGW = "x86_64-w64-mingw32-"
_PYWIN32 = ("win32", "win32\\lib")  # what its .pth file would add; an isolated interpreter reads no .pth


@dataclass(frozen=True)
class Lab:
    """Where everything lies; nothing of it is written to any more."""

    home: Path

    @property
    def python(self) -> Path:
        """A whole Windows Python with our runtime dependencies: python.exe, DLLs/, Lib/ (with site-packages)."""
        return self.home / "python"

    @property
    def test_packages(self) -> Path:
        """What only the tests need (pytest and the like), as a folder for sys.path."""
        return self.home / "test-packages"

    @property
    def prefix(self) -> Path:
        """A Wine prefix that has been set up and never used."""
        return self.home / "prefix"

    def path_lines(self, *folders: str) -> str:
        """The text of a `python311._pth` that uses this lab from any other folder, and `folders` (Windows paths)."""
        lib = windows_path(self.python / "Lib")
        packages = [f"{lib}\\site-packages", *(f"{lib}\\site-packages\\{part}" for part in _PYWIN32)]
        lines = [lib, windows_path(self.python / "DLLs"), *packages, windows_path(self.test_packages), *folders]
        return "\n".join([*lines, "import site", ""])


def windows_path(path: Path) -> str:
    """How a Windows program under Wine names a path of the machine."""
    return "Z:" + str(path).replace("/", "\\")


def assemble() -> Lab:
    """The lab of this checkout, built if it is not there yet (about half a minute). Raises CalledProcessError."""
    top = Path(os.environ.get("FOLDER_AGENT_LAB") or Path.home() / ".cache" / "folder-agent-lab")
    top.mkdir(parents=True, exist_ok=True)
    lab = Lab(top / _fingerprint())
    if not lab.home.exists():
        with _alone(top / "lock"):
            if not lab.home.exists():
                _build(top, lab)
    return lab


def _fingerprint() -> str:
    """Of all that the lab is made of."""
    made_of = hashlib.sha256()
    for file in sorted(HERE.glob("*.*")):
        if file.name not in ("session.py", "__main__.py", "__init__.py"):
            made_of.update(file.read_bytes())
    wine = subprocess.run(["wine", "--version"], capture_output=True, text=True, check=True, env=environment(HERE))
    for text in (sys.version, wine.stdout, *_requirements()):
        made_of.update(text.encode())
    return made_of.hexdigest()[:16]


def _requirements() -> list[str]:
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    return [requirement.partition(";")[0].strip() for requirement in project["dependencies"]]


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    with lock.open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build(top: Path, lab: Lab) -> None:
    unfinished = top / "unfinished"  # one at a time holds the lock
    shutil.rmtree(unfinished, ignore_errors=True)
    downloads = unfinished / "downloads"
    made = Lab(unfinished)
    _make_python(made.python, downloads)
    _install(made.python / "Lib" / "site-packages", [*_requirements(), *ON_WINDOWS])
    for dll in (made.python / "Lib" / "site-packages" / "pywin32_system32").glob("*.dll"):
        shutil.copy2(dll, made.python)  # an isolated interpreter looks beside its executable
    _install(made.test_packages, _TESTS)
    for folder in (made.python / "Lib", made.test_packages):
        compileall.compile_dir(folder, quiet=2, workers=1)
    _make_prefix(made.prefix, downloads)
    shutil.rmtree(downloads)
    unfinished.rename(lab.home)


def _make_python(home: Path, work: Path) -> None:
    """python.exe and the official DLLs beside it, DLLs/ and Lib/ as in an installation of python.org's."""
    for part in ("DLLs", "Lib"):
        (home / part).mkdir(parents=True)
    for name, content in _official(work):
        stays = name.lower().startswith(("python3", "vcruntime"))
        (home / (name if stays else f"DLLs/{name}")).write_bytes(content)
    _copy_library(home / "Lib")
    _run(f"{_MINGW}windres", HERE / "launcher.rc", "-O", "coff", "-o", work / "launcher.o", "-I", HERE)
    _gcc("-municode", HERE / "launcher.c", work / "launcher.o", "-o", home / "python.exe")
    _make_forwarder(home, work)
    packages = ["Lib\\site-packages", *(f"Lib\\site-packages\\{part}" for part in _PYWIN32)]
    lines = ["Lib", "DLLs", *packages, "import site", ""]
    (home / "python311._pth").write_text("\n".join(lines), encoding="utf-8")


def _official(work: Path) -> Iterator[tuple[str, bytes]]:
    """CPython's DLLs and extension modules, and the C runtime's two."""
    patch = min(_HOLDERS, key=lambda known: abs(known - sys.version_info.micro))
    for wheel in (f"panda3d=={_HOLDERS[patch]}", _RUNTIME):
        _pip("download", "--no-deps", "--dest", work, wheel)
    with zipfile.ZipFile(next(work.glob("panda3d-*.whl"))) as holder:
        for member in holder.namelist():
            folder, _, name = member.rpartition("/")
            wanted = folder == "deploy_libs" and not name.startswith(("api-ms-", "tcl", "tk", "_tkinter"))
            if wanted and "vcruntime" not in name.lower():
                yield name, holder.read(member)
    with zipfile.ZipFile(next(work.glob("msvc_runtime-*.whl"))) as holder:
        for member in holder.namelist():
            if member.endswith(("Scripts/vcruntime140.dll", "Scripts/vcruntime140_1.dll")):
                yield member.rpartition("/")[2], holder.read(member)


def _copy_library(target: Path) -> None:
    """The standard library in Python, from the interpreter that runs this."""
    source = Path(sysconfig.get_paths()["stdlib"])

    def passed_over(folder: str, names: list[str]) -> list[str]:
        foreign = [name for name in names if name.startswith(("config-", "_sysconfigdata")) or name == "tests"]
        return [*foreign, *(name for name in names if name in _NOT_SHIPPED)]

    shutil.copytree(source, target, ignore=passed_over, dirs_exist_ok=True)


def _make_forwarder(home: Path, work: Path) -> None:
    """python3.dll, which wheels for the stable ABI import: every name of python311.dll, handed on to it."""
    table = _run(f"{_MINGW}objdump", "-p", home / "python311.dll").partition("[Ordinal/Name Pointer] Table")[2]
    names = re.findall(r"^\s*\[\s*\d+\].*?\s(_?Py\w+)\s*$", table, re.MULTILINE)
    if len(names) < 1000:
        raise RuntimeError("python311.dll tells of no names")
    lines = ["LIBRARY python3", "EXPORTS", *(f"  {name} = python311.{name}" for name in names), ""]
    (work / "python3.def").write_text("\n".join(lines), encoding="utf-8")
    _gcc("-shared", "-nostdlib", "-Wl,-e,0", work / "python3.def", "-o", home / "python3.dll")


def _make_prefix(prefix: Path, work: Path) -> None:
    prefix.mkdir()
    surroundings = environment(prefix)
    # Wine gives a service 10 s to answer, Windows 30: what is tested here shares the machine with other tests.
    patience = ["wine", "reg", "add", r"HKLM\System\CurrentControlSet\Control", "/f"]
    patience += ["/v", "ServicesPipeTimeout", "/t", "REG_DWORD", "/d", "60000"]
    settings = ["wine", "winecfg", "-v", "win10"]
    for command in (["wine", "wineboot", "-i"], settings, patience, ["wineserver", "-w"]):
        subprocess.run(command, env=surroundings, check=True, capture_output=True, timeout=120)
    stand_in = prefix / "drive_c" / "windows" / "system32" / "bcryptprimitives.dll"
    _gcc("-shared", HERE / "bcryptprimitives.c", "-o", stand_in, "-ladvapi32")


def environment(prefix: Path, **more: str) -> dict[str, str]:
    """The variables of a Chinese Windows: code page 936, China's time, no screen, nobody's Python settings."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "USER", "TMPDIR") if name in os.environ}
    return {
        **kept,
        "WINEPREFIX": str(prefix),
        "WINEDEBUG": "-all",
        "WINEDLLOVERRIDES": "mscoree,mshtml=",
        "LC_ALL": "zh_CN.UTF-8",
        "TZ": "CST-8",
        **more,
    }


def _install(target: Path, requirements: Sequence[str]) -> None:
    _pip("install", "--target", target, "--no-compile", *requirements)


def _pip(command: str, *arguments: str | Path) -> None:
    foreign = ["--only-binary=:all:", "--platform", "win_amd64", "--python-version", "3.11"]
    _run(sys.executable, "-m", "pip", command, "-qq", "--no-input", *foreign, *arguments)


def _gcc(*arguments: str | Path) -> None:
    _run(f"{_MINGW}gcc", "-O1", "-s", *arguments)


def _run(*command: str | Path) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} {command[1]}: {done.stderr[-2000:]}")
    return done.stdout

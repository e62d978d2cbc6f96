"""The folder that is installed as `program`: interpreter, launchers, locked packages, our code, the guide.

Touches the folder that it is given and a temporary one; asks pip for wheels.
"""

from __future__ import annotations

import compileall
import hashlib
import os
import py_compile
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from installer.guide import page
from installer.locking import LOCK, PLATFORM

HERE = Path(__file__).parent
LAUNCHER = HERE / "launcher"
LAUNCHERS = ("FolderAgent.exe", "folder-agent.exe")
PACKAGES = "app"  # the folder of packages within the program's
_PYWIN32 = ("win32", "win32\\lib")  # what its .pth file would add; an isolated interpreter reads no .pth
# Of pywin32: an editor, help, and bindings to what the agent has nothing to do with.
_PASSED_OVER = (
    *("pythonwin", "PyWin32.chm", "isapi", "adodbapi", "win32comext", "win32com", "bin", "pythoncom.py"),
    *("win32/Demos", "win32/test", "win32/scripts", "pywin32.pth"),
)


class BuildError(Exception):
    """It cannot be built; says why, in words for whoever builds."""


@dataclass(frozen=True)
class Runtime:
    """Where the interpreter comes from: a folder with python3xx.dll in it, and what its `._pth` file lists first."""

    folder: Path
    paths: tuple[str, ...]

    @property
    def dll(self) -> str:
        """`python3xx.dll`."""
        found = [file.name for file in self.folder.glob("python3*.dll") if re.fullmatch(r"python3\d+\.dll", file.name)]
        if len(found) != 1:
            raise BuildError(f"{self.folder} holds no one Python: {found}")
        return found[0]

    @property
    def version(self) -> str:
        """As `3.11`."""
        return f"3.{self.dll.removeprefix('python3').removesuffix('.dll')}"


def unpacked(archive: Path, digest: str, target: Path) -> Runtime:
    """python.org's embeddable package, checked by its SHA-256. Raises BuildError."""
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != digest.lower().strip():
        raise BuildError(f"{archive.name} has SHA-256 {found}, not {digest}")
    with zipfile.ZipFile(archive) as package:
        package.extractall(target)
    for unwanted in (*target.glob("python*.exe"), *target.glob("*._pth"), *target.glob("python.cat")):
        unwanted.unlink()
    return Runtime(target, (*(file.name for file in target.glob("python3*.zip")), "."))


def of_lab(target: Path) -> Runtime:
    """The Windows Python of the tests' lab, which is put together first if need be."""
    if sys.platform == "win32":
        raise BuildError("the lab is put together on Linux: take --python-embed")
    from tests.windows.lab import assemble

    python = assemble().python
    for dll in (*python.glob("python3*.dll"), *python.glob("vcruntime*.dll"), *(python / "DLLs").iterdir()):
        shutil.copy2(dll, target)
    library = f"{Path(Runtime(target, ()).dll).stem}.zip"
    with zipfile.ZipFile(target / library, "w", zipfile.ZIP_DEFLATED) as archive:
        for source in (python / "Lib").rglob("*.pyc"):
            name = source.relative_to(python / "Lib")
            if name.parts[0] != "site-packages":  # as python.org packs it: bytecode without source
                archive.write(source, (name.parent.parent / f"{source.name.partition('.')[0]}.pyc").as_posix())
    return Runtime(target, (library, "."))


def complete(runtime: Runtime) -> None:
    """The locked packages, put into the runtime's folder. Raises BuildError, RuntimeError with a tool's words."""
    if runtime.version != "{}.{}".format(*sys.version_info[:2]):
        raise BuildError(f"run it with Python {runtime.version}, as the runtime is: it compiles and resolves for it")
    packages = runtime.folder / PACKAGES
    locked: list[str | Path] = ["--no-deps", "--require-hashes", "--requirement", LOCK]
    _pip("install", *locked, "--target", packages, "--no-compile", *PLATFORM, "--python-version", runtime.version)
    _trim(packages)
    for dll in (packages / "pywin32_system32").glob("pywintypes*.dll"):
        shutil.copy2(dll, runtime.folder)  # an isolated interpreter looks beside its executable
    lines = [*runtime.paths, PACKAGES, *(f"{PACKAGES}\\{part}" for part in _PYWIN32), "import site", ""]
    (runtime.folder / f"{Path(runtime.dll).stem}._pth").write_text("\n".join(lines), encoding="utf-8")
    _compile(packages)


def add_launchers(runtime: Runtime, version: str, launchers: Path | None) -> None:
    """FolderAgent.exe and folder-agent.exe, built, or from the folder `launchers`. Raises BuildError, RuntimeError."""
    for name in LAUNCHERS:
        if launchers is not None:
            shutil.copy2(launchers / name, runtime.folder)
        else:
            _make_launcher(name, runtime, version)


def add_ours(program: Path, wheel: Path) -> None:
    """Our own code from its wheel, and the guide."""
    packages = program / PACKAGES
    _pip("install", "--no-deps", "--target", packages, "--no-compile", "--no-index", wheel)
    shutil.rmtree(packages / "bin", ignore_errors=True)
    _compile(packages / "folder_agent")
    for language in ("zh", "en"):
        text = (HERE / "ADMIN.md").read_text(encoding="utf-8")
        (program / f"ADMIN.{language}.html").write_text(page(text, language), encoding="utf-8")


def wheel_of(source: Path, work: Path) -> Path:
    """Our wheel, built from a clean copy: a build in place would take along what earlier ones left behind."""
    copy = work / "source"
    copy.mkdir()
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(source / name, copy)
    for name in ("folder_agent", "sample_drop"):
        shutil.copytree(source / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    _pip("wheel", "--no-deps", "--wheel-dir", work / "wheel", copy)
    [found] = (work / "wheel").glob("folder_agent-*.whl")
    return found


def version_of(wheel: Path) -> str:
    """The version in a wheel's name; BuildError unless it is three numbers, which installers can compare."""
    version = wheel.name.split("-")[1]
    if not re.fullmatch(r"\d{1,4}\.\d{1,4}\.\d{1,4}", version):
        raise BuildError(f"{version}: an installer needs a version of three numbers")
    return version


def _trim(packages: Path) -> None:
    for name in _PASSED_OVER:
        unwanted = packages / name
        shutil.rmtree(unwanted) if unwanted.is_dir() else unwanted.unlink(missing_ok=True)
    for tests in (*packages.glob("*/tests"), *packages.glob("*/*/tests")):
        shutil.rmtree(tests)


def _compile(folder: Path) -> None:
    """Bytecode that is used as it is: the service's account may not write any."""
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    if not compileall.compile_dir(folder, quiet=2, workers=1, invalidation_mode=mode, stripdir=folder.parent):
        raise BuildError(f"{folder} does not compile")


def _make_launcher(name: str, runtime: Runtime, version: str) -> None:
    prefix = "x86_64-w64-mingw32-" if os.name != "nt" else ""
    if shutil.which(f"{prefix}gcc") is None:
        raise BuildError(
            f"no {prefix}gcc to build {name} with: install mingw-w64 (Debian: gcc-mingw-w64-x86-64; Windows: "
            "the WinLibs or MSYS2 build of it, on the PATH), or give a folder that holds both by --launchers"
        )
    source = LAUNCHER / ("FolderAgent.c" if name == "FolderAgent.exe" else "command.c")
    target = runtime.folder / name
    resources = target.with_suffix(".o")
    numbers = version.replace(".", ",") + ",0"
    defined = [f"-DFILE_VERSION={numbers}", f'-DTEXT_VERSION=\\"{version}\\"', "-I", str(LAUNCHER)]
    _run(f"{prefix}windres", *defined, LAUNCHER / "launcher.rc", "-O", "coff", "-o", resources)
    dll = f'-DPYTHON_DLL=L"{runtime.dll}"'
    _run(f"{prefix}gcc", "-O2", "-s", "-municode", "-Wall", "-Werror", dll, source, resources, "-o", target)
    resources.unlink()


def _pip(command: str, *arguments: str | Path) -> None:
    _run(sys.executable, "-m", "pip", command, "-qq", "--no-input", "--disable-pip-version-check", *arguments)


def _run(*command: str | Path) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {(done.stdout + done.stderr)[-3000:]}")

"""Builds folder-agent-VERSION-setup.exe, one file for a Windows without internet. Runs on Linux and on Windows.

    python installer/build.py --python-embed python-3.11.9-embed-amd64.zip --sha256 DIGEST    a release
    python installer/build.py --python-lab                                                    for the tests
    python installer/build.py --lock                                                          renew requirements.lock

It needs makensis (NSIS 3), a C compiler for Windows (mingw-w64; or the launchers, built elsewhere, by --launchers), pip
and the package index. Run it with the Python version that is to be carried. Writes to --out, and a temporary folder.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # so that it can be called by its path

from installer import payload
from installer.locking import LOCK, ROOT, lock
from installer.payload import HERE, BuildError

_COMPRESSIONS = {"lzma": "/SOLID lzma", "zlib": "/SOLID zlib"}


def main(arguments: Sequence[str]) -> int:
    """Returns 0, 1 if it cannot be built, 2 for usage."""
    options = _options(arguments)
    try:
        if options.lock:
            lock()
            return 0
        made = build(options)
    except (BuildError, RuntimeError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{made} ({made.stat().st_size / 1e6:.1f} MB)")
    return 0


def build(options: argparse.Namespace) -> Path:
    """The installer's file. Raises BuildError, RuntimeError, OSError."""
    with tempfile.TemporaryDirectory(prefix="folder-agent-installer-") as made:
        work = Path(made)
        wheel = options.wheel or payload.wheel_of(ROOT, work)
        version = payload.version_of(wheel)
        program = work / "program"
        _lay_base(options, program)
        payload.add_launchers(payload.Runtime(program, ()), version, options.launchers)
        payload.add_ours(program, wheel)
        target: Path = options.out.absolute() / f"folder-agent-{version}-setup.exe"
        target.parent.mkdir(parents=True, exist_ok=True)
        _pack(program, version, target, options.compress)
    return target


def _lay_base(options: argparse.Namespace, program: Path) -> None:
    """Interpreter and packages: made, or taken from --cache if they are the same."""
    cached = None if options.cache is None else options.cache / f"installer-{_fingerprint(options)}"
    if cached is not None and cached.is_dir():
        shutil.copytree(cached, program)
        return
    program.mkdir()
    if options.python_lab:
        runtime = payload.of_lab(program)
    else:
        runtime = payload.unpacked(options.python_embed, options.sha256, program)
    payload.complete(runtime)
    if cached is not None:
        part = Path(tempfile.mkdtemp(dir=cached.parent))
        shutil.copytree(program, part, dirs_exist_ok=True)
        try:
            part.rename(cached)
        except OSError:  # another build was faster
            shutil.rmtree(part)


def _fingerprint(options: argparse.Namespace) -> str:
    made_of = hashlib.sha256(f"{sys.version} {options.sha256} {options.python_lab}".encode())
    for file in (LOCK, HERE / "payload.py"):
        made_of.update(file.read_bytes())
    return made_of.hexdigest()[:16]


def _pack(program: Path, version: str, target: Path, compression: str) -> None:
    makensis = shutil.which("makensis") or shutil.which("makensis", path=r"C:\Program Files (x86)\NSIS")
    if makensis is None:
        raise BuildError("no makensis: install NSIS 3 (Debian: nsis; Windows: nsis.sourceforge.io)")
    size = sum(file.stat().st_size for file in program.rglob("*") if file.is_file()) // 1024
    defined = {"VERSION": version, "PROGRAM": program, "TARGET": target, "SIZE": size}
    command = [makensis, "-V2", "-INPUTCHARSET", "UTF8", f"-DCOMPRESSION={_COMPRESSIONS[compression]}"]
    command += [f"-D{name}={value}" for name, value in defined.items()]
    done = subprocess.run([*command, str(HERE / "setup.nsi")], capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        raise RuntimeError(f"makensis: {(done.stdout + done.stderr)[-3000:]}")


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="installer/build.py", description=(__doc__ or "").partition("\n")[0])
    runtime = parser.add_mutually_exclusive_group(required=True)
    runtime.add_argument("--python-embed", type=Path, metavar="ZIP", help="python.org's embeddable package, 64-bit")
    runtime.add_argument("--python-lab", action="store_true", help="the Windows Python of tests/windows/lab")
    runtime.add_argument("--lock", action="store_true", help="only write requirements.lock anew")
    parser.add_argument("--sha256", metavar="DIGEST", help="of the ZIP, as python.org names it")
    parser.add_argument("--launchers", type=Path, metavar="FOLDER", help="with FolderAgent.exe and folder-agent.exe")
    parser.add_argument("--wheel", type=Path, metavar="FILE", help="of folder-agent; else built from this checkout")
    parser.add_argument("--compress", choices=sorted(_COMPRESSIONS), default="lzma", help="zlib: larger, faster")
    parser.add_argument("--cache", type=Path, metavar="FOLDER", help="keeps interpreter and packages for another build")
    parser.add_argument("--out", type=Path, default=Path("dist"), metavar="FOLDER")
    options = parser.parse_args(arguments)
    if options.python_embed is not None and options.sha256 is None:
        parser.error("--python-embed needs --sha256")
    return options


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

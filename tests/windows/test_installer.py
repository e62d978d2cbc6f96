"""The installer, built and run for real: installed silently, upgraded with an exam waiting, and removed; one story."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from folder_agent import __version__
from folder_agent.simulator import Simulator
from tests.crash.tally import measured
from tests.faults.running import exam
from tests.windows.hospital import Hospital
from tests.windows.lab import Lab, Session
from tests.windows.lab.assembling import windows_path

ROOT = Path(__file__).resolve().parent.parent.parent
NEXT = "9.0.1"
PLACE = "C:\\医院 程序\\folder-agent"
ENTRY = r"HKLM\Software\Microsoft\Windows\CurrentVersion\Uninstall\folder-agent"
# As a shell hands it over: NSIS reads its own command line, in which /D= comes last and is never quoted.
_RAW = "import subprocess, sys; sys.exit(subprocess.run(sys.argv[1]).returncode)"

pytestmark = pytest.mark.timeout(600)


class Setups:
    """The installers of this version and of a later one, which is built while the first one is tried."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        sys.path.insert(0, str(ROOT))
        from installer import payload

        self._lab, self._folder = lab, folder
        wheel = payload.wheel_of(ROOT, folder)
        self.this = self._build(wheel)
        self._pool = ThreadPoolExecutor(1)
        self._next: Future[Path] = self._pool.submit(self._build, renumbered(wheel, NEXT, folder))

    def next(self) -> Path:
        return self._next.result()

    def close(self) -> None:
        self._pool.shutdown()

    def _build(self, wheel: Path) -> Path:
        command = [sys.executable, str(ROOT / "installer" / "build.py"), "--python-lab", "--compress", "zlib"]
        command += ["--wheel", str(wheel), "--cache", str(self._lab.home.parent), "--out", str(self._folder / "dist")]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False, cwd=self._folder)
        assert done.returncode == 0, done.stdout + done.stderr
        version = wheel.name.split("-")[1]
        return self._folder / "dist" / f"folder-agent-{version}-setup.exe"


def renumbered(wheel: Path, version: str, folder: Path) -> Path:
    """The same wheel under another version."""
    made = folder / wheel.name.replace(__version__, version)
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith(".dist-info/METADATA"):
                content = content.replace(f"\nVersion: {__version__}\n".encode(), f"\nVersion: {version}\n".encode())
            if name.endswith(".dist-info/RECORD"):
                content = content.replace(f"-{__version__}.dist-info".encode(), f"-{version}.dist-info".encode())
            new.writestr(name.replace(f"-{__version__}.dist-info", f"-{version}.dist-info"), content)
    return made


class Machine(Hospital):
    """A Windows on which the installer is run."""

    def __init__(self, windows: Session, gateway: Simulator, folder: Path) -> None:
        super().__init__(windows, gateway, folder, '[console]\nlisten = "off"\n')
        text = self.settings.read_text(encoding="utf-8")
        self.settings.write_text(re.sub(r"\ntoken = .*", "", text), encoding="utf-8")
        self.token = folder / "token.txt"
        self.token.write_text(self.site.token + "\n", encoding="utf-8")
        self.drive = windows.prefix / "drive_c"
        self.data = self.drive / "ProgramData" / "folder-agent"
        self.program = self.drive / "医院 程序" / "folder-agent" / "program"
        self.log = folder / "setup.log"

    def setup(self, setup: Path, *words: str, code: int = 0) -> str:
        """Run an installer, silently; its log."""
        line = [f'"{windows_path(setup)}"', "/S", "/LANG=en", f"/LOG={windows_path(self.log)}", *words, f"/D={PLACE}"]
        done = self.windows.run("-c", _RAW, " ".join(line), timeout=300)
        told = self.log.read_text(encoding="utf-16")
        assert done.returncode == code, told + done.stderr + self.logs()
        return told

    def installed(self, *words: str) -> Any:
        """The installed `folder-agent WORDS`."""
        return self.windows.execute(f"{PLACE}\\program\\folder-agent.exe", *words)

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.installed("service", "status", "--json").stdout)
        return found

    def told(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.installed("status", "--json").stdout)
        return found

    def listed(self) -> str:
        """The entry among the installed programs."""
        return str(self.windows.execute("reg", "query", ENTRY, encoding="gbk").stdout)

    def logs(self) -> str:
        return "".join(file.read_text(encoding="utf-8") for file in self.data.glob("logs/*.log"))


@pytest.fixture(scope="module")
def setups(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setups]:
    if shutil.which("makensis") is None:
        pytest.skip("no makensis: install nsis")
    made = Setups(lab, tmp_path_factory.mktemp("setups"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def machine(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    folder = tmp_path_factory.mktemp("installer")
    with Simulator(folder / "gateway") as gateway, Session(lab, folder) as windows:
        # No entries of Start menus in the desktop of whoever runs this.
        windows.environment["WINEDLLOVERRIDES"] += ";winemenubuilder.exe="
        yield Machine(windows, gateway, folder)


def test_it_installs_silently_and_the_service_delivers(setups: Setups, machine: Machine, record_property: Any) -> None:
    config, token = windows_path(machine.settings), windows_path(machine.token)
    began = time.monotonic()
    told = machine.setup(setups.this, f'/CONFIG="{config}"', f'/TOKENFILE="{token}"', "/ACCOUNT=LocalSystem")
    took_s = time.monotonic() - began
    size = f"{setups.this.stat().st_size / 1e6:.0f} MB (zlib; a release has LZMA)"
    measured(
        record_property, f"installer {setups.this.name}: {size}; installed, started and examined in {took_s:.0f} s"
    )
    assert "the service runs" in told
    assert "signature: accepted" in told, told
    state = machine.state()
    assert (state["state"], state["account"], state["starts_by_itself"]) == ("running", "LocalSystem", True)
    assert state["command"].startswith(f'"{PLACE}\\program\\FolderAgent.exe" ')
    exam(machine.site, 1)
    machine.until_delivered("CT1")


def test_what_it_left_on_the_machine(machine: Machine) -> None:
    settings = machine.data / "folder-agent.toml"
    assert settings.read_bytes() == machine.settings.read_bytes()
    assert machine.token.exists(), "the file of the token is its owner's"
    for file in machine.data.rglob("*"):
        assert not file.is_file() or machine.site.token.encode() not in file.read_bytes(), file
    assert machine.data.stat().st_mode & 0o007 == 0, "nobody else may look in"
    entry = machine.listed()
    assert f"DisplayVersion    REG_SZ    {__version__}" in entry
    assert f'QuietUninstallString    REG_SZ    "{PLACE}\\uninstall.exe" /S' in entry
    menu = machine.data.parent / "Microsoft/Windows/Start Menu/Programs/folder-agent"
    names = {file.name for file in menu.iterdir()}
    assert names == {"Status.lnk", "Open log folder.lnk", "Command line.lnk", "Administrator's guide.lnk"}  # no console
    assert (menu / "Status.lnk").read_bytes()[21] & 0x20, "it does not ask for an administrator's rights"
    assert "folder-agent" in (machine.program / "ADMIN.zh.html").read_text(encoding="utf-8")
    assert machine.installed("--version").stdout.strip() == f"folder-agent {__version__}"


def test_what_cannot_be_used_changes_nothing(setups: Setups, machine: Machine) -> None:
    bad = machine.site.root / "bad.toml"
    bad.write_text(machine.settings.read_text(encoding="utf-8").replace("app_id", "ap_id"), encoding="utf-8")
    told = machine.setup(setups.this, f'/CONFIG="{windows_path(bad)}"', code=2)
    assert "bad.toml: gateway.ap_id" in told
    assert machine.state()["state"] == "running"
    assert (machine.data / "folder-agent.toml").read_bytes() == machine.settings.read_bytes()
    assert not list(machine.program.parent.glob("program.*"))


def test_an_upgrade_delivers_what_waited(setups: Setups, machine: Machine, record_property: Any) -> None:
    machine.gateway.misbehave(do="status", match="/ris/study/add", times=-1, status=503)
    exam(machine.site, 2)
    machine.until(lambda: machine.told()["bundles"].get("WAITING"), "nothing waits")
    newer = setups.next()
    began = time.monotonic()
    told = machine.setup(newer)
    measured(record_property, f"upgraded in {time.monotonic() - began:.0f} s")
    assert "the service has stopped, the step in hand finished" in told
    assert machine.installed("--version").stdout.strip() == f"folder-agent {NEXT}"
    assert f"DisplayVersion    REG_SZ    {NEXT}" in machine.listed()
    state = machine.state()
    assert (state["state"], state["account"]) == ("running", "LocalSystem")
    assert machine.told()["bundles"].get("DONE") == 1
    assert "CT2" not in machine.done()
    machine.gateway.rules.clear()
    machine.until_delivered("CT1", "CT2")
    posted = [body["accessNumber"] for body in machine.gateway.received().posts]
    assert sorted(posted) == sorted(set(posted))
    assert (machine.data / "folder-agent.toml").read_bytes() == machine.settings.read_bytes()
    [kept] = (machine.data / "backups").iterdir()
    assert kept.name.startswith(__version__)
    assert {file.name for file in kept.iterdir()} == {"folder-agent.toml", "folder-agent.toml.secret", "ledger.db"}
    assert [path.name for path in machine.program.parent.iterdir() if path.is_dir()] == ["program"]


def test_a_downgrade_is_refused(setups: Setups, machine: Machine) -> None:
    told = machine.setup(setups.this, code=3)
    assert f"Version {NEXT} is installed, which is newer" in told
    assert machine.state()["state"] == "running"
    assert machine.installed("--version").stdout.strip() == f"folder-agent {NEXT}"


def test_the_removal_keeps_data_and_drop_folder(machine: Machine) -> None:
    dropped = {path: path.read_bytes() for path in machine.site.drop.rglob("*") if path.is_file()}
    assert len(dropped) > 5
    before = {path.name for path in machine.data.iterdir()}
    done = machine.windows.run("-c", _RAW, f'"{PLACE}\\uninstall.exe" /S')
    assert done.returncode == 0
    # It works on as a copy of itself, and takes the entry away last of all.
    machine.until(lambda: "DisplayVersion" not in machine.listed(), "it stays listed")
    assert not machine.program.parent.exists()
    assert machine.windows.execute("sc", "query", "folder-agent").returncode != 0
    assert {path.name for path in machine.data.iterdir()} >= {"folder-agent.toml", "ledger.db", "logs"} & before
    assert {path: path.read_bytes() for path in machine.site.drop.rglob("*") if path.is_file()} == dropped
    assert not (machine.data.parent / "Microsoft/Windows/Start Menu/Programs/folder-agent").exists()

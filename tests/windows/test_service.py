"""The agent as a real service of Windows' service manager, from its installation on; one story, told in order."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from folder_agent.simulator import Simulator
from tests.faults.running import assert_delivered_once, everything, exam
from tests.servers.orthanc import free_port
from tests.site import Site
from tests.windows.hospital import Hospital
from tests.windows.lab import Lab, Session
from tests.windows.lab.assembling import windows_path

CONSOLE = free_port()
IMAGES = 110  # the first batch has 100
SLOW_S = 18.0  # longer than a stop waits for what is in hand
_HOLD = """
import sys, win32con, win32file
# As a program that is still writing: nobody else gets in.
handle = win32file.CreateFile(sys.argv[1], win32con.GENERIC_READ | win32con.GENERIC_WRITE, 0, None, 3, 0, None)
print("held", flush=True)
sys.stdin.read()
"""
_KILL = "import os, sys; os.kill(int(sys.argv[1]), 9)"  # TerminateProcess: Windows knows nothing gentler, nor harder
_REGISTERED = """
import json, winreg
application = r"SYSTEM\\CurrentControlSet\\Services\\EventLog\\Application"
key = winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, application + r"\\folder-agent")
print(json.dumps([winreg.QueryValueEx(key, name)[0] for name in ("EventMessageFile", "TypesSupported")]))
"""

pytestmark = pytest.mark.timeout(400)


class Story:
    """What happened so far: each exam that was dropped, as it was."""

    def __init__(self, hospital: Hospital, aside: Path) -> None:
        self.hospital = hospital
        self.exams: dict[str, dict[str, bytes]] = {}
        self._aside = Site(aside, hospital.gateway)

    def drop(self, number: int, *, images: int = 2, by_windows: bool = False) -> str:
        """Drop an exam; its name."""
        name = f"CT{number}"
        if by_windows:
            self.exams[name] = exam(self._aside, number, images)
            self.hospital.copy_by_windows(self._aside.drop / name, name)
        else:
            self.exams[name] = exam(self.hospital.site, number, images)
        return name

    def all_is_well(self, *, resent: bool = False) -> None:
        """Nothing lost, nothing doubled, each with its receipt."""
        assert_delivered_once(self.hospital.site, self.exams, resent=resent)
        receipts = self.hospital.site.drop.glob("done/*/*/receipt.json")
        assert all(json.loads(path.read_text(encoding="utf-8")) for path in receipts)
        posted = [body["accessNumber"] for body in self.hospital.gateway.received().posts]
        assert sorted(posted) == sorted(set(posted))


@pytest.fixture(scope="module")
def hospital(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    folder = tmp_path_factory.mktemp("service")
    with Simulator(folder / "gateway") as gateway, Session(lab, folder) as windows:
        yield Hospital(windows, gateway, folder, f'[console]\nlisten = "127.0.0.1:{CONSOLE}"\n')


@pytest.fixture(scope="module")
def story(hospital: Hospital, tmp_path_factory: pytest.TempPathFactory) -> Story:
    return Story(hospital, tmp_path_factory.mktemp("aside"))


def test_it_is_installed_started_and_delivers_what_windows_and_linux_programs_drop(story: Story) -> None:
    hospital = story.hospital
    assert hospital.state()["state"] == "absent"
    assert asked(hospital) == 4
    hospital.install()
    assert asked(hospital) == 3
    installed = hospital.state()
    assert (installed["state"], installed["starts_by_itself"], installed["exit_code"]) == ("stopped", True, None)
    assert f'--config "{windows_path(hospital.settings)}"' in installed["command"]
    registered = json.loads(hospital.windows.run("-c", _REGISTERED).stdout)
    assert registered == [r"%SystemRoot%\System32\EventCreate.exe", 7]
    assert hospital.service("start") == "running\n"
    assert asked(hospital) == 0
    story.drop(1)
    story.drop(2, by_windows=True)
    hospital.until_delivered("CT1", "CT2")
    story.all_is_well()
    left = [path.name for path in hospital.site.drop.iterdir() if path.name.startswith("CT")]
    assert left == [], "the emptied folders stay"


def test_it_serves_the_console_and_a_page_that_stays_open_does_not_keep_it_from_a_restart(story: Story) -> None:
    hospital, top = story.hospital, f"http://127.0.0.1:{CONSOLE}"
    with httpx.Client(base_url=top, trust_env=False, timeout=30) as person:
        assert person.get("/healthz").status_code == 200
        assert "CT2" in person.get("/bundles").text
        before = hospital.state()["pid"]
        assert hospital.service("restart") == "running\n"
    assert hospital.state()["pid"] not in (before, None)
    assert httpx.get(f"{top}/healthz", trust_env=False, timeout=30).status_code == 200


def test_a_file_that_another_program_holds_waits_with_its_reason_and_then_goes(story: Story) -> None:
    hospital = story.hospital
    aside = hospital.site.root / "held.pdf"
    content = exam(story._aside, 3)
    source = story._aside.drop / "CT3"
    aside.write_bytes((source / "report.pdf").read_bytes())
    target = hospital.site.drop / "CT3"
    target.mkdir()
    (target / "report.pdf").write_bytes(aside.read_bytes())
    holder = hospital.windows.start("-c", _HOLD, windows_path(target / "report.pdf"))
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    for file in source.iterdir():
        if file.name != "report.pdf":
            (target / file.name).write_bytes(file.read_bytes())
    aside.unlink()
    hospital.until(lambda: "FA-FILE-LOCKED" in json.dumps(hospital.told()), "no reason is told")
    assert "CT3" not in hospital.done()
    holder.communicate(timeout=30)
    hospital.until_delivered("CT3")
    story.exams["CT3"] = content
    story.all_is_well()


def test_stopped_in_the_middle_of_a_large_one_it_completes_it_after_the_next_start(story: Story) -> None:
    hospital = story.hospital
    in_the_middle(story, 4)
    hospital.service("stop")
    state = hospital.state()
    assert (state["state"], state["exit_code"], state["pid"]) == ("stopped", 0, None)
    assert "CT4" not in hospital.done()
    hospital.gateway.rules.clear()
    hospital.service("start")
    hospital.until_delivered("CT4")
    story.all_is_well(resent=True)


def test_killed_in_the_middle_of_a_large_one_it_completes_it_when_windows_starts_again(story: Story) -> None:
    hospital = story.hospital
    in_the_middle(story, 5)
    pid = hospital.state()["pid"]
    assert hospital.windows.run("-c", _KILL, str(pid)).returncode == 0
    hospital.windows.cut()  # Wine does not start a service again; its machine does, which is a power cut besides
    hospital.gateway.rules.clear()
    hospital.windows.hold()
    hospital.until_delivered("CT5")
    story.all_is_well(resent=True)
    assert hospital.state()["state"] == "running"


def test_settings_that_cannot_be_used_end_it_with_its_own_exit_code(story: Story) -> None:
    hospital = story.hospital
    hospital.service("stop")
    good = hospital.settings.read_text(encoding="utf-8")
    hospital.settings.write_text(good.replace("app_id", "ap_id"), encoding="utf-8")
    done = hospital.command("service", "start", "--lang", "en")
    assert (done.returncode, "FA-SERVICE-START" in done.stderr) == (1, True)
    state = hospital.state()
    assert (state["state"], state["exit_code"]) == ("failed", 2)
    hospital.settings.write_text(good, encoding="utf-8")


def test_removed_it_leaves_settings_ledger_and_files(story: Story) -> None:
    hospital = story.hospital
    before = everything(hospital.site.root)
    hospital.service("remove")
    assert hospital.state()["state"] == "absent"
    assert everything(hospital.site.root).keys() >= before.keys()
    assert hospital.command("service", "start").returncode == 1
    assert hospital.windows.run("-c", _REGISTERED).returncode != 0


def asked(hospital: Hospital) -> int:
    """The exit code of `service status`."""
    return int(hospital.command("service", "status").returncode)


def in_the_middle(story: Story, number: int) -> None:
    """Drop a large exam, and return when its first batch has arrived, and the gateway is slow to take the second."""
    hospital = story.hospital
    before = len(hospital.gateway.received().instances)
    images = "/dicom-web/studies"
    hospital.gateway.misbehave(do="delay", match=images, seconds=0.1)
    hospital.gateway.misbehave(do="delay", match=images, times=-1, seconds=SLOW_S)
    story.drop(number, images=IMAGES)
    hospital.until(lambda: len(hospital.gateway.received().instances) > before, "nothing arrives")
    assert len(hospital.gateway.received().instances) < before + IMAGES


def test_no_process_of_the_agent_is_left(story: Story) -> None:
    shown = subprocess.run(["ps", "-eo", "args"], capture_output=True, encoding="utf-8", check=True).stdout
    ours = [line for line in shown.splitlines() if str(story.hospital.windows.python.parent) in line]
    assert not [line for line in ours if "folder_agent.service" in line]

"""The agent as a systemd service: the unit's text, and systemctl.

Touches the unit's file and runs systemctl. Sources: systemd.service(5), systemd.exec(5), sd_notify(3).
"""

from __future__ import annotations

import getpass
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import problem
from folder_agent.core.status import Phrase
from folder_agent.service.controlling import ServiceState, ServiceStatus
from folder_agent.service.naming import NAME
from folder_agent.service.places import written
from folder_agent.settings import Settings

_UNIT = f"{NAME}.service"
_FOLDER = Path("/etc/systemd/system")
_START_S, _STOP_S = 3600.0, 120.0  # how long systemctl is waited for
_STATES = {
    "active": ServiceState.RUNNING,
    "reloading": ServiceState.RUNNING,
    "activating": ServiceState.STARTING,
    "deactivating": ServiceState.STOPPING,
    "failed": ServiceState.FAILED,
}
_SHOWN = "LoadState,ActiveState,MainPID,ExecMainStatus,StatusText,User,UnitFileState,ExecStart"

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def unit(config: Path, settings: Settings, user: str, executable: Path) -> str:
    """The unit's text. It may write to what the agent writes to, and to nothing else of the machine's."""
    words = [str(executable), "-m", "folder_agent", "run", "--config", str(config)]
    start = " ".join(_word(word).replace("$", "$$") for word in words)  # variables are expanded here alone
    # "-": a share that is not mounted yet does not keep the service from starting.
    writable = " ".join(_word(f"-{place}") for place in written(settings))
    return f"""\
# Written by `folder-agent service install`, which writes it anew; changes belong into a drop-in (systemctl edit).
[Unit]
Description=Delivers each complete exam that the PACS exports to the hospital's front-end machine
Wants=network-online.target
After=network-online.target remote-fs.target time-sync.target
# It never gives up: what keeps it from starting (a database, a disk) may come back at night.
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={start}
User={user}
# 2: settings that cannot be used. They do not mend themselves.
Restart=on-failure
RestartPreventExitStatus=2
RestartSec=15
# While it starts (a large ledger is checked) the agent asks for more by itself. Stopping finishes the step in hand.
TimeoutStartSec=120
TimeoutStopSec=90
# The agent's loop goes round every few seconds; a look at a large share may take minutes.
WatchdogSec=900
KillMode=mixed

NoNewPrivileges=yes
ProtectSystem=strict
ReadWritePaths={writable}
ProtectHome=read-only
PrivateDevices=yes
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native

[Install]
WantedBy=multi-user.target
"""


def _word(text: str) -> str:
    """One word of a unit's line: quoted, with what systemd would expand or unescape made plain."""
    for mark, plain in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%"), ("\n", "\\n")):
        text = text.replace(mark, plain)
    return f'"{text}"' if any(c in text for c in " \t'\"\\;") else text


class Systemd:
    """A Controller."""

    def __init__(self, folder: Path = _FOLDER, run: Run = subprocess.run) -> None:
        self._file = folder / _UNIT
        self._run = run

    def plan(self, config: Path, settings: Settings, account: str | None) -> str:
        """The unit."""
        return unit(config, settings, account or getpass.getuser(), Path(sys.executable))

    def install(
        self, config: Path, settings: Settings, account: str | None, ask_password: Callable[[str], str]
    ) -> Sequence[Phrase]:
        """Write the unit, and have it started with the machine."""
        text = self.plan(config, settings, account)
        try:
            self._file.write_text(text, encoding="utf-8")
        except PermissionError:
            raise failure(problem("FA-SERVICE-RIGHTS")) from None
        except OSError as error:
            raise failure(problem("FA-SERVICE-FAILED", detail=f"{self._file}: {error.strerror}")) from None
        self._call("daemon-reload")
        self._call("enable", _UNIT)
        told = [Phrase(f"已写入 {self._file},随系统启动", f"{self._file} is written; it starts with the machine")]
        if (account or getpass.getuser()) == "root":
            told.append(
                Phrase(
                    "服务以 root 运行;建议用 --user 指定普通账户", "it runs as root; --user NAME is the better choice"
                )
            )
        return told

    def start(self) -> None:
        """Start it; systemctl waits for READY."""
        self._require()
        self._call("start", _UNIT, timeout_s=_START_S)

    def stop(self) -> None:
        """Stop it; systemctl waits."""
        self._require()
        self._call("stop", _UNIT, timeout_s=_STOP_S)

    def remove(self) -> None:
        """Stop it, and delete the unit."""
        self._require()
        self._call("disable", "--now", _UNIT, timeout_s=_STOP_S)
        try:
            self._file.unlink(missing_ok=True)
        except OSError as error:
            raise failure(problem("FA-SERVICE-FAILED", detail=f"{self._file}: {error.strerror}")) from None
        self._call("daemon-reload")

    def status(self) -> ServiceStatus:
        """What systemctl shows of it."""
        shown = self._call("show", _UNIT, f"--property={_SHOWN}")
        values = dict(line.partition("=")[::2] for line in shown.splitlines() if "=" in line)
        if values.get("LoadState") != "loaded":
            return ServiceStatus(ServiceState.ABSENT, "systemd")
        code = values.get("ExecMainStatus", "")
        return ServiceStatus(
            _STATES.get(values.get("ActiveState", ""), ServiceState.STOPPED),
            "systemd",
            pid=int(values.get("MainPID") or 0) or None,
            account=values.get("User") or "root",
            starts_by_itself=values.get("UnitFileState") == "enabled",
            command=values.get("ExecStart") or None,
            exit_code=int(code) if code.isdigit() else None,
            text=values.get("StatusText") or None,
        )

    def _require(self) -> None:
        if self.status().state is ServiceState.ABSENT:
            raise failure(problem("FA-SERVICE-ABSENT"))

    def _call(self, *arguments: str, timeout_s: float = 30.0) -> str:
        try:
            done = self._run(
                ["systemctl", *arguments],
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=timeout_s,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise failure(problem("FA-SERVICE-FAILED", detail=f"systemctl: {type(error).__name__}")) from None
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()
            if any("ccess denied" in line or "uthentication" in line for line in said):
                raise failure(problem("FA-SERVICE-RIGHTS"))
            raise failure(problem("FA-SERVICE-FAILED", detail=f"systemctl {arguments[0]}: {' '.join(said)[:500]}"))
        return done.stdout

"""A site whose agent is a Windows service, and whose gateway is on the Linux side, over TLS."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from folder_agent.simulator import Simulator
from tests.site import Site
from tests.windows.lab import Session
from tests.windows.lab.assembling import windows_path

PATIENCE_S = 100.0  # only a test that fails ever waits so long
_DROP_BY_WINDOWS = """
import pathlib, shutil, sys
source, target = map(pathlib.Path, sys.argv[1:])
shutil.copytree(source, target)
"""


class Hospital:
    """The folders, the settings, and `folder-agent` as one types it at this Windows."""

    def __init__(self, windows: Session, gateway: Simulator, folder: Path, more: str = "") -> None:
        self.windows, self.gateway = windows, gateway
        self.site = Site(folder / "医院 PACS", gateway)  # a name with a space and Chinese, as it happens
        self.settings = self.site.root / "folder-agent.toml"
        q = json.dumps
        assert gateway.ca_file is not None
        self.settings.write_text(
            f'[gateway]\nurl = {q(gateway.url)}\napp_id = "1251"\ntoken = {q(self.site.token)}\n'
            f"ca_file = {q(windows_path(gateway.ca_file))}\ntimeout_s = 20\n"
            f"[sync]\nretry_first_s = 1\nretry_max_s = 2\n{more}"
            f'[[drops]]\nname = "ct"\npath = {q(windows_path(self.site.drop))}\n'
            "settle_s = 0.2\nquiet_s = 1\nscan_s = 2\n",
            encoding="utf-8",
        )

    def command(self, *words: str, **more: Any) -> Any:
        """`folder-agent WORDS`; its process, ended."""
        return self.windows.run("-X", "utf8", "-m", "folder_agent", *words, **more)

    def service(self, *words: str) -> str:
        """`folder-agent service WORDS`; what it said, all being well."""
        done = self.command("service", *words, "--lang", "en")
        assert done.returncode == 0, done.stdout + done.stderr + self.logs()
        return str(done.stdout)

    def install(self) -> None:
        """Install the service with these settings."""
        self.service("install", "--config", windows_path(self.settings), "--account", "LocalSystem")

    def state(self) -> dict[str, Any]:
        """`service status --json`."""
        found: dict[str, Any] = json.loads(self.command("service", "status", "--json").stdout)
        return found

    def copy_by_windows(self, source: Path, name: str) -> None:
        """A Windows process drops a folder."""
        done = self.windows.run("-c", _DROP_BY_WINDOWS, windows_path(source), windows_path(self.site.drop / name))
        assert done.returncode == 0, done.stderr

    def told(self) -> dict[str, Any]:
        """`status --json`."""
        done = self.command("status", "--json", "--config", windows_path(self.settings))
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def done(self) -> set[str]:
        """The bundles in done/ that have their receipt, and none of whose files is in the drop folder any more."""
        noted = {path.parent.name for path in self.site.drop.glob("done/*/*/receipt.json")}
        return {name for name in noted if not any(p.is_file() for p in (self.site.drop / name).glob("**/*"))}

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        """Wait until it is true; its value."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            if found := condition():
                return found
            time.sleep(0.1)
        raise AssertionError(f"{what}: done {self.done()}\n{self.logs()[-4000:]}")

    def until_delivered(self, *names: str) -> None:
        """Wait until they are all in done/ with their receipts, and nothing else is in the drop folder."""
        self.until(lambda: set(names) <= self.done(), f"{names} are not delivered")

    def logs(self) -> str:
        return self.site.logs()

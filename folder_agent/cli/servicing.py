"""`folder-agent service …`: the agent as a service of this machine. Whatever fails, `app` turns into words."""

from __future__ import annotations

import getpass
import sys
from dataclasses import asdict
from pathlib import Path

from folder_agent import settings
from folder_agent.cli.printing import columns, pick, say, say_json
from folder_agent.core.catalogue import Language
from folder_agent.core.status import Phrase
from folder_agent.service.controlling import Controller, ServiceState, ServiceStatus, controller

_STATES = {
    ServiceState.ABSENT: Phrase("未安装", "not installed"),
    ServiceState.STOPPED: Phrase("已停止", "stopped"),
    ServiceState.STARTING: Phrase("正在启动", "starting"),
    ServiceState.RUNNING: Phrase("正在运行", "running"),
    ServiceState.STOPPING: Phrase("正在停止", "stopping"),
    ServiceState.FAILED: Phrase("已自行结束", "ended by itself"),
}
_CODES = {ServiceState.RUNNING: 0, ServiceState.ABSENT: 4}


def install(
    config: Path, account: str | None, *, password_stdin: bool, dry_run: bool, language: Language, service: Controller
) -> int:
    """Set the service up with these settings, or show what would be. Returns 0. Raises SettingsError, AgentError."""
    loaded = settings.load(config)
    if dry_run:
        for line in service.plan(config.absolute(), loaded, account).splitlines():
            say(line)
        return 0
    ask = _from_stdin if password_stdin else _asked
    for told in service.install(config.absolute(), loaded, account, lambda name: ask(name, language)):
        say(pick(told, language))
    done = Phrase("服务已安装;启动:folder-agent service start", "installed; start it by `folder-agent service start`")
    say(pick(done, language))
    return 0


def _from_stdin(_account: str, _language: Language) -> str:
    """The first line: what a script pipes in; it is on no command line, which every account could read."""
    return sys.stdin.readline().rstrip("\r\n")


def _asked(account: str, language: Language) -> str:
    return getpass.getpass(f"{account} 的密码:" if language == "zh" else f"Password of {account}: ")


def act(action: str, language: Language, service: Controller | None = None) -> int:
    """start, stop, restart or remove. Returns 0. Raises AgentError."""
    service = service or controller()
    if action in ("stop", "restart"):
        service.stop()
    if action in ("start", "restart"):
        service.start()
    if action == "remove":
        service.remove()
        removed = Phrase("服务已移除;设置、账本和文件都保留", "removed; settings, ledger and files are as they were")
        say(pick(removed, language))
        return 0
    say(pick(_STATES[service.status().state], language))
    return 0


def status(*, as_json: bool, language: Language, service: Controller | None = None) -> int:
    """Tell how the service is. Returns 0 if it runs, 4 if it is not installed, else 3."""
    found = (service or controller()).status()
    if as_json:
        say_json(asdict(found))
    else:
        for line in columns([[pick(name, language), value] for name, value in _rows(found, language) if value]):
            say(line)
    return _CODES.get(found.state, 3)


def _rows(found: ServiceStatus, language: Language) -> list[tuple[Phrase, str]]:
    yes, no = ("是", "否") if language == "zh" else ("yes", "no")
    there = found.state is not ServiceState.ABSENT
    return [
        (Phrase("状态", "state"), pick(_STATES[found.state], language)),
        (Phrase("说明", "text"), found.text or ""),
        (Phrase("进程", "process"), str(found.pid or "")),
        (Phrase("账户", "account"), found.account or ""),
        (Phrase("自动启动", "starts by itself"), (yes if found.starts_by_itself else no) if there else ""),
        (Phrase("上次退出码", "last exit code"), str(found.exit_code) if found.exit_code else ""),
        (Phrase("命令", "command"), found.command or ""),
    ]

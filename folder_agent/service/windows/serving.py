"""The agent's run within the service, with the Event Log as one more listener, and its end in the manager's terms.

Windows starts a service again only if its process ends without a word. So whatever a new start may mend crashes here,
on purpose; settings that cannot be used are reported, and wait for a person.
"""

from __future__ import annotations

import sys

assert sys.platform == "win32"

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from loguru import logger

from folder_agent import __version__, running
from folder_agent.core.catalogue import explain, what_to_do
from folder_agent.core.errors import AgentError
from folder_agent.core.ports import Publisher
from folder_agent.edges import logs
from folder_agent.service.events import EventId
from folder_agent.service.telling import EventPublisher, fault_text
from folder_agent.service.windows import event_log
from folder_agent.settings import SettingsError

SETTINGS_CODE = 2  # the service-specific exit code for settings that cannot be used, as `run` has it
CRASH_CODE = 70  # of the process, when it ends without telling the service manager


class _ServiceHost(running.Host):
    def __init__(self, config: Path, began: Callable[[Callable[[], None]], bool]) -> None:
        self.events = EventPublisher(event_log.write)
        self._config, self._began = config, began

    def publishers(self) -> Sequence[Publisher]:
        return (self.events,)

    def began(self, stop: Callable[[], None]) -> None:
        if self._began(stop):
            what = f"folder-agent {__version__}, {self._config}"
            self.events.say(EventId.STARTED, what, what)


def serve(config: Path, began: Callable[[Callable[[], None]], bool]) -> int:
    """Run the agent to its end; the service-specific exit code, or no return: the process has crashed."""
    host = _ServiceHost(config, began)
    try:
        running.run(config, host, console=False)
    except SettingsError as error:
        listed = "\r\n".join(error.problems)
        host.events.say(EventId.SETTINGS, listed, listed)
        return SETTINGS_CODE
    except AgentError as error:
        masked = error.problem.masked()
        zh, en = (f"{masked.code} {explain(masked, lang)} {what_to_do(masked, lang)}" for lang in ("zh", "en"))
        host.events.say(EventId.ENDED, zh, en)
        _crash()
    except BaseException as error:  # noqa: BLE001 - the end of the process, which must not be silent
        logger.error("folder-agent crashes: {}", fault_text(error))
        host.events.say(EventId.CRASHED, fault_text(error), fault_text(error))
        _crash()
    host.events.say(EventId.STOPPED)
    logs.set_up(None, "INFO", 1, console=False)  # closes the log files
    return 0


def _crash() -> None:
    logs.set_up(None, "INFO", 1, console=False)
    os._exit(CRASH_CODE)

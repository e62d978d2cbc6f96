"""One run of the agent from its settings file, whoever started it: a person's console, systemd, Windows' services.

The one who started it is a `Host`: told when the agent is at work, asked nothing, and given the way to stop it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from loguru import logger

from folder_agent import __version__, settings
from folder_agent.assembly import Assembly
from folder_agent.console import Live, serving
from folder_agent.core.catalogue import explain
from folder_agent.core.errors import AgentError
from folder_agent.core.ports import Publisher
from folder_agent.edges import logs
from folder_agent.edges.calling import Caller
from folder_agent.edges.disks import watched


class Host:
    """Whoever started the agent, and wants to know no more than this; each of them overrides what it needs."""

    def publishers(self) -> Sequence[Publisher]:
        """Who is to be told what the agent does, besides the log."""
        return ()

    def began(self, stop: Callable[[], None]) -> None:
        """The agent is at work. `stop` ends it after the step in hand; it may be called from anywhere, even before
        this returns, and takes no lock."""

    def beat(self) -> None:
        """The agent's loop has gone round once more: it is alive. Never blocks."""

    def ended(self) -> None:
        """The agent has stopped working; what follows gives back what it held. Also after a failure, once begun."""


def run(config: Path, host: Host, *, once: bool = False, console: bool = True) -> int:
    """Run with the settings of `config`. Returns the exit code: 0 stopped (or all delivered), 3 and 4 as `--once` says.

    Raises SettingsError and AgentError (FATAL or HOLD at the start), which the caller turns into words.
    """
    loaded = settings.load(config)
    logs.set_up(loaded.log.dir, loaded.log.level, loaded.log.keep_days, console=console)
    logger.info("folder-agent {} begins; {} drop folders", __version__, len(loaded.drops))
    live, caller = Live(), Caller(loaded.notify)
    listeners = logs.Publishers(logs.LogPublisher(), live, caller, *host.publishers())
    try:
        with Assembly(loaded, listeners) as assembly:
            host.began(assembly.agent.stop)
            try:
                logger.info("folder-agent is at work")
                code = assembly.once() if once else _work(loaded, assembly, live, caller, listeners, host)
            finally:
                host.ended()
            logger.info("folder-agent ends")
            return code
    except AgentError as error:  # in the log, too: nobody reads the console of a task or a service
        masked = error.problem.masked()
        logger.error("folder-agent ends: {} {}", masked.code, explain(masked, "en"))
        raise


def _work(
    loaded: settings.Settings, assembly: Assembly, live: Live, caller: Caller, listeners: Publisher, host: Host
) -> int:
    """Until it is stopped, with the console served, the disks watched and people called."""
    caller.start(assembly.ledger.newest_at())
    try:
        with watched(loaded, listeners), serving(loaded, assembly, live):
            return assembly.work(host.beat)
    finally:
        caller.stop()

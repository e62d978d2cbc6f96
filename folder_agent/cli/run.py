"""`folder-agent run`: the agent in the foreground, until it is told to stop, or `--once`."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from loguru import logger

from folder_agent import __version__, settings
from folder_agent.agent.loop import Agent
from folder_agent.assembly import Assembly
from folder_agent.console import Live, serving
from folder_agent.core.catalogue import explain
from folder_agent.core.errors import AgentError
from folder_agent.edges import logs
from folder_agent.edges.calling import Caller


def run(config: Path, once: bool) -> int:
    """Run with the settings of `config`. Returns the exit code: 0 stopped (or all delivered), 3 and 4 as `--once` says.

    Raises SettingsError and AgentError (FATAL or HOLD at the start), which the caller turns into words.
    """
    loaded = settings.load(config)
    logs.set_up(loaded.log.dir, loaded.log.level, loaded.log.keep_days)
    logger.info("folder-agent {} begins; {} drop folders", __version__, len(loaded.drops))
    live, caller = Live(), Caller(loaded.notify)
    try:
        with Assembly(loaded, logs.Publishers(logs.LogPublisher(), live, caller)) as assembly, stopping(assembly.agent):
            logger.info("folder-agent is at work")
            if once:
                code = assembly.once()
            else:
                caller.start(assembly.ledger.newest_at())
                try:
                    with serving(loaded, assembly, live):
                        code = assembly.work()
                finally:
                    caller.stop()
            logger.info("folder-agent ends")
            return code
    except AgentError as error:  # in the log, too: nobody reads the console of a task or a service
        masked = error.problem.masked()
        logger.error("folder-agent ends: {} {}", masked.code, explain(masked, "en"))
        raise


@contextmanager
def stopping(agent: Agent) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM stop the agent after the step in hand; a second one does not hurry it."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers; whoever runs us in another stops the agent himself
        return

    def stop(_number: int, _frame: FrameType | None) -> None:
        agent.stop()

    numbers = [signal.SIGINT, signal.SIGTERM]
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

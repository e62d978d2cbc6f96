"""Serving the console while the agent works; or a word on why it is not served.

The web server is loaded only here, where it is about to be used: `run --once` does without it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from folder_agent.console.live import Live
from folder_agent.core.errors import AgentError
from folder_agent.core.ports import Publisher
from folder_agent.edges.logs import LogPublisher
from folder_agent.settings import Settings

if TYPE_CHECKING:
    from folder_agent.assembly import Assembly
    from folder_agent.console.server import Console


@contextmanager
def serving(settings: Settings, assembly: Assembly, live: Live, publisher: Publisher | None = None) -> Iterator[None]:
    """The console while this lasts, if the settings want one; what keeps it from being served is told, and no more."""
    console = _started(settings, assembly, live, publisher or LogPublisher())
    try:
        yield
    finally:
        live.close()
        if console is not None:
            console.stop()


def _started(settings: Settings, assembly: Assembly, live: Live, publisher: Publisher) -> Console | None:
    if settings.console.listen == "off":
        return None
    try:
        from folder_agent.console.server import Console

        console = Console(settings, assembly, live)
        console.start()
    except AgentError as error:
        publisher.notice(error.problem.masked())
        return None
    except Exception as error:  # noqa: BLE001  whatever keeps the console from being served, deliveries go on
        publisher.fault(error)
        return None
    return console

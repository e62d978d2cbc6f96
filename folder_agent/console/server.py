"""The console's server: one thread with an event loop of its own, beside the agent.

Listens at one address. Whatever happens here, the agent goes on.
"""

from __future__ import annotations

import socket
import ssl
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import date, datetime, timedelta

import uvicorn
from loguru import logger

from folder_agent import checkup
from folder_agent.assembly import Assembly
from folder_agent.checkup import Check
from folder_agent.checkup.accounts import Accounts as Reconciling
from folder_agent.console.access import Access, is_loopback
from folder_agent.console.accounts import Accounts
from folder_agent.console.app import App
from folder_agent.console.calendar import DAYS
from folder_agent.console.context import Context, Proven
from folder_agent.console.jobs import Job
from folder_agent.console.live import Live
from folder_agent.console.pulse import Pulse
from folder_agent.core.catalogue import failure
from folder_agent.core.errors import problem
from folder_agent.edges.ledger import open_ledger
from folder_agent.settings import Settings

_STOP_S = 5.0
_BACKLOG = 64


class Console:
    """One console. The constructor takes the port, so that a taken one is known at once."""

    def __init__(self, settings: Settings, assembly: Assembly, live: Live) -> None:
        host, port = address_of(settings.console.listen)
        accounts: Accounts | None = None
        if not is_loopback(host):
            accounts = require_security(settings)
        self._socket = _listening(host, port)
        self.port = self._socket.getsockname()[1]
        try:
            self._ledger = open_ledger(settings.ledger.url or "", readonly=True)
        except BaseException:
            self._socket.close()
            raise
        watchers = assembly.watchers
        self._pulse = Pulse(settings, self._ledger, live, lambda drop: watchers[drop].is_native)
        self.context = Context(
            settings=settings,
            ledger=self._ledger,
            writing=lambda: open_ledger(settings.ledger.url or ""),
            live=live,
            meters=assembly.meters,
            pulse=self._pulse,
            access=Access(self.port, settings.console.hosts, accounts),
            doctor=Job("console's doctor", _doctor(settings), live.touch),
            proof=Job("console's reconcile", _proof(settings), live.touch),
            is_alive=assembly.agent.is_alive,
        )
        self._app = App(self.context)
        config = uvicorn.Config(
            self._app.asgi,
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            lifespan="off",
            ws="none",
            loop="asyncio",
            http="h11",
            limit_concurrency=200,
            timeout_keep_alive=20,
            timeout_graceful_shutdown=2,
            ssl_certfile=settings.console.cert_file if accounts is not None else None,
            ssl_keyfile=(settings.console.key_file or settings.console.cert_file) if accounts is not None else None,
        )
        try:
            config.load()
        except (OSError, ssl.SSLError):
            self._socket.close()
            self._ledger.close()
            raise failure(problem("FA-CONSOLE-TLS")) from None
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="console", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._pulse.start()
        self._thread.start()
        scheme = "https" if self.context.access.is_secured else "http"
        name = self._socket.getsockname()[0]
        logger.info("console at {}://{}:{}/", scheme, f"[{name}]" if ":" in name else name, self.port)

    def stop(self) -> None:
        """End within a few seconds."""
        self._server.should_exit = True
        self._pulse.stop()
        self._thread.join(_STOP_S)
        with suppress(OSError):
            self._socket.close()
        self._ledger.close()

    def _run(self) -> None:
        try:
            self._app.pages.warm()
            self._server.run(sockets=[self._socket])
        except BaseException as error:  # noqa: BLE001  the agent goes on, whatever ends its console
            logger.error("console: ended by {}", type(error).__name__)


def address_of(listen: str) -> tuple[str, int]:
    """Host and port of the setting, which has been checked."""
    host, _, port = listen.rpartition(":")
    return host.strip("[]"), int(port)


def require_security(settings: Settings) -> Accounts:
    """What an address that others can reach needs. AgentError FA-CONSOLE-TLS, FA-CONSOLE-ACCOUNT."""
    if settings.console.cert_file is None:
        raise failure(problem("FA-CONSOLE-TLS"))
    assert settings.console.users_file is not None
    accounts = Accounts(settings.console.users_file)
    if not accounts.names():
        raise failure(problem("FA-CONSOLE-ACCOUNT"))
    return accounts


def _listening(host: str, port: int) -> socket.socket:
    """A socket that is bound, so that nobody else can take the port. AgentError FA-CONSOLE-PORT."""
    try:
        family, kind, number, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, kind, number)
    except OSError:
        raise failure(problem("FA-CONSOLE-PORT", listen=f"{host}:{port}")) from None
    try:
        if sys.platform == "win32":
            found.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(_BACKLOG)
    except OSError:
        found.close()
        raise failure(problem("FA-CONSOLE-PORT", listen=f"{host}:{port}")) from None
    return found


def _doctor(settings: Settings) -> Callable[[], list[Check]]:
    def work() -> list[Check]:
        assert settings.file is not None
        return list(checkup.examine(settings.file, settings))

    return work


def _proof(settings: Settings) -> Callable[[], Proven]:
    def work() -> Proven:
        last: date = datetime.now().astimezone().date()
        first = last - timedelta(days=DAYS - 1)
        ledger = open_ledger(settings.ledger.url or "", readonly=True)
        try:
            return Proven(first, last, list(Reconciling(settings, ledger).days(first, last)))
        finally:
            ledger.close()

    return work

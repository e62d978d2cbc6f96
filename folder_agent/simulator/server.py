"""The simulated gateway as an object: `with Simulator(folder) as sim:` for tests, the demo and the own process."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from folder_agent.simulator.certificates import Certificate, ensure_certificate
from folder_agent.simulator.gateway import Behaviour, Gateway
from folder_agent.simulator.listener import Listener
from folder_agent.simulator.received import Received
from folder_agent.simulator.rules import Rule, Rules, parse_rule
from folder_agent.simulator.state import State

_POLL_S = 0.05


class Simulator:
    """Listens between `start` and `stop` (or inside `with`); may be started again, on the same port and folder.

    Raises OSError if the port is taken or the folder cannot be written.
    """

    def __init__(
        self,
        state_dir: Path,
        *,
        app_id: str = Behaviour.app_id,
        token: str = Behaviour.token,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: bool = True,
        study_path: str = Behaviour.study_path,
        stow_path: str | None = Behaviour.stow_path,
        form_path: str | None = Behaviour.form_path,
        strict_counts: bool = True,
        duplicate_code: bool = False,
        window_s: float = 300.0,
        clock_offset_s: float = 0.0,
        discard: bool = False,
        replaces: bool = False,
        rules: Iterable[Rule] = (),
    ) -> None:
        self.state_dir = Path(state_dir)
        self.host, self.port, self.tls = host, port, tls
        self.rules = Rules(rules)
        self.behaviour = Behaviour(
            app_id=app_id,
            token=token,
            study_path=study_path,
            stow_path=stow_path,
            form_path=form_path,
            strict_counts=strict_counts,
            duplicate_code=duplicate_code,
            window_s=window_s,
            clock_offset_s=clock_offset_s,
            discard=discard,
            replaces=replaces,
        )
        self._certificate: Certificate | None = None
        self._listener: Listener | None = None
        self._thread: threading.Thread | None = None
        self._state: State | None = None

    @property
    def url(self) -> str:
        """`https://127.0.0.1:<port>`, as the agent's settings want it."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(self.host, self.host)  # noqa: S104
        return f"{'https' if self.tls else 'http'}://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def ca_file(self) -> Path | None:
        """The certificate to trust, PEM; None without TLS."""
        return self._certificate.cert_file if self._certificate else None

    @property
    def fingerprint(self) -> str | None:
        """`sha256:<hex>` of the certificate; None without TLS."""
        return self._certificate.fingerprint if self._certificate else None

    def start(self) -> Self:
        """Begins to listen; `port` and `url` say where."""
        self.state_dir.mkdir(parents=True, exist_ok=True)
        context = self._tls_context() if self.tls else None
        state = State(self.state_dir, replaces=self.behaviour.replaces)
        try:
            gateway = Gateway(self.behaviour, state, self.rules)
            self._listener = Listener(self.host, self.port, gateway, context)
        except OSError:
            state.close()
            raise
        self._state, self.port = state, self._listener.server_port
        gateway.base = self.url
        self._thread = threading.Thread(
            target=self._listener.serve_forever, args=(_POLL_S,), name="simulator", daemon=True
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        """Ends every connection, even a hanging one, and closes the journal."""
        if self._listener and self._thread and self._state:
            self._listener.stop()
            self._thread.join()
            self._state.close()
        self._listener = self._thread = self._state = None

    def misbehave(self, *, do: str, match: str = "*", times: int = 1, **more: object) -> None:
        """Queues a rule (see `Rule`); ValueError if there is no such misbehaviour."""
        self.rules.add(parse_rule({"do": do, "match": match, "times": times, **more}))

    def received(self) -> Received:
        """What has come so far, read back from the state folder."""
        return Received(self.state_dir)

    def _tls_context(self) -> ssl.SSLContext:
        self._certificate = ensure_certificate(self.state_dir)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self._certificate.cert_file, self._certificate.key_file)
        return context

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

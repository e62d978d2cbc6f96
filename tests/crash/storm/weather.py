"""What stands between the agent and the world in a storm: ports that can die with the process or fail for a while."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import Disposition, problem


class Died(BaseException):
    """The process is gone; nothing it calls afterwards has any effect."""


@dataclass
class Life:
    """One process: how many more calls of ports it makes before it dies, if it is to die."""

    calls_left: int | None = None
    dies_after: bool = False  # after the call took effect; else before
    is_dead: bool = False
    lock: threading.RLock = field(default_factory=threading.RLock)

    def meets_its_end(self) -> bool:
        """Count one call; whether it is the last one. Raises Died if nothing more may happen."""
        with self.lock:
            if self.is_dead:
                raise Died
            if self.calls_left is None:
                return False
            self.calls_left -= 1
            self.is_dead = self.calls_left <= 0
            if self.is_dead and not self.dies_after:
                raise Died
            return self.is_dead


@dataclass
class Weather:
    """The troubles that concern every process alike."""

    life: Life = field(default_factory=Life)
    ledger_fails: int = 0  # so many calls of the ledger that would write

    def wrap(self, kind: str, port: Any) -> Any:
        """What the agent is given instead of the port."""
        return _Port(self, self.life, kind, port)

    def blow(self, kind: str, name: str) -> None:
        """Raise what this call meets."""
        if kind == "ledger" and self.ledger_fails > 0 and name in {"apply", "amend", "sight", "open_bundle", "claim"}:
            self.ledger_fails -= 1
            raise failure(problem("FA-LEDGER", detail="locked"), Disposition.RETRY)


class _Port:
    def __init__(self, weather: Weather, life: Life, kind: str, port: Any) -> None:
        self._weather, self._life, self._kind, self._port = weather, life, kind, port

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        if name in ("images", "reports") and found is not None:
            return _Port(self._weather, self._life, name, found)
        if not callable(found):
            return found

        def call(*arguments: Any, **more: Any) -> Any:
            is_last = self._life.meets_its_end()
            self._weather.blow(self._kind, name)
            result = found(*arguments, **more)
            if is_last:
                raise Died
            return _Port(self._weather, self._life, self._kind, result) if name == "for_exam" else result

        return call

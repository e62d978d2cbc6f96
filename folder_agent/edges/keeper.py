"""A thread that keeps holds and leases alive, and notices when one is lost.

Touches what it is given to keep, and nothing else.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

from folder_agent.core.errors import AgentError
from folder_agent.edges.drop_folder.opening import name_of
from folder_agent.edges.holder import Taken
from folder_agent.edges.holds import Hold
from folder_agent.edges.leases import Lease

_AGAIN_S = 5.0  # until a place that could not be reached is tried again
_END_S = 5.0  # how long the end waits for a place that does not answer


class Kept:
    """One hold or lease, what it is called, and how it stands."""

    def __init__(self, item: Hold | Lease, zh: str, en: str) -> None:
        self.item, self.zh, self.en = item, zh, en
        self.was_held = item.is_held
        self.taken: Taken | None = None
        self.trouble: str | None = None  # why its place could not be reached

    @property
    def is_settled(self) -> bool:
        """Whether it is known how it stands: ours, another's, or out of reach."""
        return self.item.is_held or self.taken is not None or self.trouble is not None

    def step(self) -> float:
        """Do what is due; seconds until the next thing is."""
        if self.taken is not None:
            return _AGAIN_S  # the agent is about to end; what else it holds is kept until it has
        try:
            wait_s = self.item.step()
        except Taken as taken:
            self.taken = taken
            return _AGAIN_S
        except AgentError as error:
            self.trouble = str(dict(error.problem.values).get("detail", error.problem.code))
        except OSError as error:
            self.trouble = name_of(error)
        else:
            self.trouble = None
            self.was_held |= self.item.is_held
            return wait_s
        return _AGAIN_S


class Keeper:
    """Keeps some, in a thread of its own, so that a share that hangs does not keep others from their beat."""

    def __init__(self, kept: Sequence[Kept], changed: Callable[[], None], fault: Callable[[Exception], None]) -> None:
        self.kept = kept
        self._changed, self._fault = changed, fault
        self._end = threading.Event()
        # A daemon: a share that never answers must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Give the leases back, and end, within a few seconds."""
        self._end.set()
        self._thread.join(_END_S)

    def _run(self) -> None:
        try:
            while not self._end.is_set():
                wait_s = self._step()
                self._changed()
                self._end.wait(wait_s)
        finally:
            for one in self.kept:
                self._give_back(one)

    def _step(self) -> float:
        try:
            return min(one.step() for one in self.kept)
        except Exception as error:  # noqa: BLE001  the boundary of a thread: a lease that nobody renews is lost
            self._fault(error)
            return _AGAIN_S

    def _give_back(self, one: Kept) -> None:
        if not isinstance(one.item, Lease):
            return  # a lock of the system ends last of all, when nothing is open any more
        with suppress(OSError, AgentError):  # it goes stale by itself
            one.item.release()

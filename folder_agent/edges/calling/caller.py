"""A Publisher that calls people: gathers for a moment what happens, and sends it, at most so often in an hour.

Publishing only puts into a queue of bounded length; sending is done by a thread of its own.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from loguru import logger

from folder_agent.core.catalogue import disposition
from folder_agent.core.errors import Disposition, Problem
from folder_agent.core.gate import OUTAGES
from folder_agent.core.lifecycle import BundleState
from folder_agent.core.ports import Lasting
from folder_agent.core.records import BundleRecord
from folder_agent.edges.calling.channels import Channel, NotSent, channels_of
from folder_agent.edges.calling.messages import Event, Message, told
from folder_agent.settings import NotifySettings

_MOST_EVENTS = 1000  # that wait; what comes beyond is not told one by one
_TRIES, _PAUSE_S = 3, 20.0
_HOUR_S, _ASK_S = 3600.0, 60.0
_DISK = frozenset({"FA-DISK-LOW", "FA-LOW-SPACE", "FA-DISK-FULL"})
_AWAY = OUTAGES | {"FA-DROP-GONE"}
_ENDED_BADLY = frozenset({BundleState.REFUSED, BundleState.FAILED})


class Caller:
    """Tells people. Without channels it does nothing at all. `newest_at` says when something was dropped last."""

    def __init__(
        self,
        settings: NotifySettings,
        channels: Sequence[Channel] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings, self._clock = settings, clock
        self._channels = list(channels if channels is not None else channels_of(settings))
        self._lock = threading.Lock()
        self._events: deque[Event] = deque(maxlen=_MOST_EVENTS)
        self._sent_at: deque[float] = deque()
        self._wake, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="caller", daemon=True)
        self._dropped_at = clock()
        self._is_silent = False
        self._silence_asked_at = 0.0

    def start(self, newest_at: float | None = None) -> None:
        """Begin to call; `newest_at` is when a bundle was seen last, if one ever was (epoch seconds)."""
        if newest_at is not None:
            self._dropped_at = newest_at
        if self._channels:
            self._thread.start()

    def stop(self, within_s: float = 5.0) -> None:
        """Send what is gathered, if that can be done soon, and end."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(within_s)

    # --- what is published --------------------------------------------------------------------------------------------

    def transition(self, bundle: BundleRecord, before: str, event: str, personal: Sequence[str] | None) -> None:
        """What ends badly is told once; what is new breaks a silence."""
        if before == "":
            self._dropped_at = self._clock()
        if bundle.state in _ENDED_BADLY and before != str(bundle.state):
            self._add("failed", bundle.reasons[0] if bundle.reasons else None, bundle.drop)

    def waits(self, bundle: BundleRecord, personal: Sequence[str] | None) -> None:
        """Nobody is called for that."""

    def sending(self, bundle: BundleRecord, sent: int, total: int) -> None:
        """Nor for that."""

    def fault(self, error: Exception) -> None:
        """It is in the log."""

    def notice(self, problem: Problem, is_over: bool = False, lasting: Lasting | None = None) -> None:
        """Holds, outages, full disks, what is overdue; and that they are over."""
        kind = _kind(problem)
        if kind is None:
            return
        where = (problem.path or "").partition("#")[0] if kind == "overdue" else ""
        self._add("recovered" if is_over else kind, problem, where, lasting.waiting if lasting else None)

    def _add(self, kind: str, problem: Problem | None, where: str = "", waiting: int | None = None) -> None:
        if not self._channels or kind not in self._settings.events:
            return
        with self._lock:
            self._events.append(Event(kind, self._clock(), told(problem) if problem else None, where, waiting))
        self._wake.set()

    # --- the thread ---------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.wait(_ASK_S)
            self._wake.clear()
            self.listen()
            if self._events and not self._stop.wait(self._settings.group_s):
                while not self._stop.is_set() and (wait_s := self.pause_s()) > 0:
                    self._stop.wait(min(wait_s, _ASK_S))
            self.send_all(tries=1 if self._stop.is_set() else _TRIES)

    def listen(self) -> None:
        """Notice that nothing has been dropped for too long, or that this is over."""
        limit, now = self._settings.silent_h, self._clock()
        if limit is None:
            return
        is_silent = worked_s(self._dropped_at, now, self._settings) >= limit * _HOUR_S
        if is_silent != self._is_silent:
            self._is_silent = is_silent
            kind = "silent" if is_silent else "recovered"
            if kind in self._settings.events:
                with self._lock:
                    self._events.append(Event(kind, now, hours=limit if is_silent else None))

    def pause_s(self) -> float:
        """How long no more may be sent, in seconds."""
        now = self._clock()
        while self._sent_at and self._sent_at[0] <= now - _HOUR_S:
            self._sent_at.popleft()
        return self._sent_at[0] + _HOUR_S - now if len(self._sent_at) >= self._settings.most_per_hour else 0.0

    def send_all(self, tries: int = _TRIES) -> None:
        """Send what is gathered as one message, by every channel."""
        with self._lock:
            events = tuple(self._events)
            self._events.clear()
        if not events:
            return
        self._sent_at.append(self._clock())
        message = Message(events)
        waiting = list(self._channels)
        for number in range(tries):
            waiting = [channel for channel in waiting if not _try(channel, message)]
            if not waiting or number == tries - 1 or self._stop.wait(_PAUSE_S):
                return


def _try(channel: Channel, message: Message) -> bool:
    try:
        channel.send(message)
    except NotSent as error:
        logger.warning("a message by {} was not taken: {}", channel.name, error)
        return False
    except Exception as error:  # noqa: BLE001  whatever a channel does, the others are to be heard
        logger.warning("a message by {} failed: {}", channel.name, type(error).__name__)
        return True
    return True


def _kind(problem: Problem) -> str | None:
    if problem.code in _DISK:
        return "disk"
    if problem.code in _AWAY:
        return "outage"
    if problem.code == "FA-OVERDUE":
        return "overdue"
    return "held" if disposition(problem) is Disposition.HOLD else None


def worked_s(since: float, until: float, settings: NotifySettings) -> float:
    """Seconds of working hours between two times, by the wall clock of this place."""
    if until - since > 60 * 86400:
        since = until - 60 * 86400  # more than any limit
    first, last = datetime.fromtimestamp(since).astimezone(), datetime.fromtimestamp(until).astimezone()
    begin, end = settings.hours
    total, day = 0.0, first.date()
    while day <= last.date():
        if day.isoweekday() in settings.working_days:
            midnight = datetime(day.year, day.month, day.day).timestamp()  # noqa: DTZ001 - the wall time of the place
            total += max(0.0, min(until, midnight + end) - max(since, midnight + begin))
        day += timedelta(days=1)
    return total

"""The machine's clocks."""

from __future__ import annotations

import time
from datetime import datetime


class SystemClock:
    """The Clock port on the real clocks."""

    def now(self) -> float:
        """Seconds since the Unix epoch, UTC."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds on a clock that only moves forward."""
        return time.monotonic()


def local_time(at: float) -> str:
    """An epoch time on this machine's wall, to the second, with its offset from UTC."""
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S %z")


def today() -> str:
    """The day on this machine's wall, YYYY-MM-DD: shelves are for people."""
    return time.strftime("%Y-%m-%d")


def week_minute(at: float) -> tuple[int, int]:
    """The day of the week (0 is Monday) and the minute since midnight of an epoch time, on this machine's wall."""
    local = time.localtime(at)
    return local.tm_wday, 60 * local.tm_hour + local.tm_min

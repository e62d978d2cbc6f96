"""The least rate at which a receiver must take what is sent to it, whatever the protocol. Pure: times are given.

A timeout alone bounds each piece; one byte every 29 seconds would hold a worker for ever.
"""

from __future__ import annotations

_LEAST_RATE = 4096  # bytes a second that the receiver must take …
_WINDOW = 10  # … over so many timeouts of pure sending: slower than any line that is worth using


class Pace:
    """Of one connection. The time that it takes to read what is sent does not count."""

    def __init__(self) -> None:
        self._spent_s = 0.0
        self._sent = 0

    def keeps_up(self, sent: int, took_s: float, timeout_s: float | None) -> bool:
        """Count so many bytes, taken in so many seconds; False once that has been too little for too long."""
        self._sent += sent
        self._spent_s += took_s
        if timeout_s is None or self._spent_s < _WINDOW * timeout_s:
            return True
        fast_enough = self._sent >= _LEAST_RATE * self._spent_s
        self._sent, self._spent_s = 0, 0.0
        return fast_enough

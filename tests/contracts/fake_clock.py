"""The Clock port, advanced by hand. The wall clock may be set by somebody; the monotonic one only moves forward."""

from __future__ import annotations

from dataclasses import dataclass

DAY_S = 24 * 3600.0


@dataclass
class FakeClock:
    """Stands still until it is told to move."""

    wall: float = 1_800_000_000.0
    ran: float = 1000.0

    def now(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.ran

    def advance(self, seconds: float) -> None:
        """Time passes."""
        if seconds < 0:
            raise ValueError("time does not pass backwards; see `jump`")
        self.wall += seconds
        self.ran += seconds

    def jump(self, seconds: float) -> None:
        """Somebody sets the clock, in either direction; no time passes."""
        self.wall += seconds

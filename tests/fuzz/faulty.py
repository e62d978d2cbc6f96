"""Targets with a fault each. A fuzzer that does not find them finds nothing."""

from __future__ import annotations

from collections.abc import Callable


def raises(data: bytes) -> None:
    """Letter by letter: only who is guided by coverage gets there soon."""
    if len(data) > 3 and data[0] == 0x46:  # noqa: SIM102
        if data[1] == 0x75:  # noqa: SIM102
            if data[2] == 0x7A:  # noqa: SIM102
                if data[3] == 0x7A:
                    raise KeyError("found")


def hangs(data: bytes) -> None:
    while data.startswith(b"H"):
        pass


def grows(data: bytes) -> None:
    if data.startswith(b"G"):
        held = [bytes([number % 256]) * 1024**2 for number in range(2048)]
        assert held


FAULTY: dict[str, Callable[[bytes], None]] = {"raises": raises, "hangs": hangs, "grows": grows}

"""How many requests may be under way at once: one more after a run of good answers, half as many when the gateway
struggles (AIMD, as TCP does with its window: RFC 5681). Pure.

It struggles if it says so (HTTP 429, 503, 504; a DICOM status of no resources), if it does not answer in time, or if
its answers take several times as long as they usually do. What is slow for good becomes usual, after some hundred.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

RUN = 10  # good answers before one more is tried
GROW_S = 1.0  # and no sooner than this after the last change, however quick the answers are
_SETTLED = 5  # answers before their mean says anything
_SLOW_TIMES, _SLOW_S = 3.0, 0.5  # slow is so many times the usual, and at least so long
_NEW, _BETTER, _WORSE = 0.3, 0.3, 0.02  # how much one answer weighs: in the mean, and in what is usual
_UNIT, _PARTS = 8 * 1024 * 1024, 16  # so many bytes, or parts, are as much work as a request is by itself


@dataclass(frozen=True, slots=True)
class Width:
    """How many may be under way now: `now`, between 1 and `most`."""

    most: int
    now: int
    good: int = 0  # answers in a row, to requests that began since the last change
    changed_at: float = float("-inf")  # monotonic
    halved_at: float = float("-inf")


@dataclass(frozen=True, slots=True)
class Tempo:
    """How long the answers to one kind of request take, in seconds for a unit of work."""

    usual_s: float | None = None
    recent_s: float = 0.0  # mean of the last few
    answers: int = 0  # in that mean

    @property
    def is_slow(self) -> bool:
        """Whether the last few took far longer than usual."""
        known = self.usual_s is not None and self.answers >= _SETTLED
        return known and self.recent_s > max(_SLOW_S, _SLOW_TIMES * (self.usual_s or 0.0))


def full(most: int) -> Width:
    """At the start nothing is known against as many as are allowed."""
    return Width(most, most)


def after_good(width: Width, began: float, now: float) -> Width:
    """After a good answer to a request that began then (both monotonic seconds)."""
    if width.now >= width.most or began < width.changed_at:
        return width
    good = width.good + 1
    if good < RUN or now - width.changed_at < GROW_S:
        return replace(width, good=good)
    return replace(width, now=width.now + 1, good=0, changed_at=now)


def after_trouble(width: Width, began: float, now: float) -> Width:
    """After a sign that the gateway struggles. What set out before the last halving met the same trouble: it counts
    once."""
    if began < width.halved_at:
        return replace(width, good=0)
    return replace(width, now=max(1, width.now // 2), good=0, changed_at=now, halved_at=now)


def after_answer(tempo: Tempo, waited_s: float, size: int, parts: int = 1) -> Tempo:
    """After an answer that came so long after the request's last byte, of `size`. `parts` is how many things were in
    it: a Store request of a thousand instances may take its time."""
    cost = waited_s / (1 + size / _UNIT + (parts - 1) / _PARTS)
    recent = cost if tempo.answers == 0 else tempo.recent_s + _NEW * (cost - tempo.recent_s)
    answers = min(tempo.answers + 1, _SETTLED)
    if answers < _SETTLED:
        return replace(tempo, recent_s=recent, answers=answers)
    usual = recent if tempo.usual_s is None else tempo.usual_s
    usual += (_BETTER if recent < usual else _WORSE) * (recent - usual)
    return Tempo(usual, recent, answers)


def anew(tempo: Tempo) -> Tempo:
    """With the load changed, the mean begins anew."""
    return replace(tempo, recent_s=0.0, answers=0)

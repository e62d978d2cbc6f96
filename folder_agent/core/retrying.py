"""How long to wait before the next try: exponential back-off with full jitter, bounded in step and in total."""

from __future__ import annotations

from dataclasses import dataclass

_MAX_DOUBLINGS = 32  # beyond this every step is at its bound; keeps the power finite
LEAST_TRIES = 10  # before a bundle is given up, however late the clock says it is: clocks are set, machines sleep


@dataclass(frozen=True, slots=True)
class RetryRules:
    """The bounds, in seconds: the first step, the largest step, and how long a bundle is tried at all."""

    first_s: float = 5.0
    max_s: float = 600.0
    for_s: float = 72 * 3600.0


def delay(failures: int, rules: RetryRules, jitter: float) -> float:
    """Seconds until the next try after so many failures in a row (1 or more).

    `jitter` in [0, 1) picks the point: full jitter (anywhere between now and the step) keeps many agents from
    knocking in the same instant after an outage.
    """
    step = min(rules.max_s, rules.first_s * 2.0 ** min(failures - 1, _MAX_DOUBLINGS))
    return step * jitter


def is_exhausted(first_failed_at: float | None, tries: int, now: float, rules: RetryRules) -> bool:
    """Whether a bundle has been failing for longer than it is to be tried, and not only by a jump of the clock."""
    return first_failed_at is not None and tries >= LEAST_TRIES and now - first_failed_at >= rules.for_s

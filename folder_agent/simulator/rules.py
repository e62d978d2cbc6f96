"""Misbehaviour on demand: a thread-safe queue of rules that says what the next request shall suffer.

Only says it; `misbehaving` does it. A rule is used up after `times` requests (-1: never).
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Literal, get_args

Deed = Literal[
    "delay",
    "refuse",
    "status",
    "reset",
    "reset-in-body",
    "garbage",
    "code",
    "truncate",
    "stow-fail",
    "forget",
    "stow-answer",
    "too-large",
    "no-continue",
    "no-resume",
    "cut-body",
    "hang",
    "redirect",
    "huge",
]
OF_INSTANCES = ("stow-fail", "forget")  # of a Store request's instances, not of the request
DEEDS: tuple[str, ...] = get_args(Deed)
STYLES = ("xml", "text", "empty", "other-failures", "unreferenced")  # of the answer to a Store request


@dataclass(frozen=True, slots=True)
class Rule:
    """One misbehaviour for requests whose path is `match`, or lies below it ("*": any).

    `times` counts requests, for "stow-fail" and "forget" instances. `seconds` is waited first; for "hang" it is how
    long it hangs (None: until the simulator stops). `after`: the request is handled and stored, only its answer is
    spoilt; `early`: it is answered before its body is read, and the connection closed. `most`: it counts only while
    more than so many requests are in hand. "too-large" is for requests of more than `bytes`, and always early;
    "no-continue" never says 100 Continue.
    """

    do: Deed
    match: str = "*"
    times: int = 1
    seconds: float | None = None
    status: int = 503
    code: int = 1
    message: str = "simulated failure"
    headers: Mapping[str, str] = field(default_factory=dict)
    reason: int = 0x0110  # FailureReason (0008,1197): processing failure, PS3.18 table 10.5.3-1
    bytes: int | None = None  # reset-in-body: read so many first; huge: send so many; too-large: more are refused;
    # cut-body: it breaks off there
    after: bool = False
    early: bool = False
    most: int | None = None
    style: str = "xml"  # stow-answer: one of STYLES

    def __post_init__(self) -> None:
        if self.do not in DEEDS:
            raise ValueError(f"do: {self.do!r} is none of {', '.join(DEEDS)}")
        if self.after and self.do in ("delay", "truncate", "reset-in-body", "cut-body", *OF_INSTANCES):
            raise ValueError(f"after has no meaning for {self.do}")
        if self.early and (self.after or self.do not in ("status", "code", "garbage", "redirect")):
            raise ValueError(f"early has no meaning for {self.do}{' with after' if self.after else ''}")
        if self.style not in STYLES:
            raise ValueError(f"style: {self.style!r} is none of {', '.join(STYLES)}")

    def fits(self, path: str, length: int | None = None, in_hand: int = 0) -> bool:
        """Whether a request to `path`, with a body of so many bytes, is meant, while so many are in hand."""
        if self.most is not None and in_hand <= self.most:
            return False
        if self.do == "too-large" and (length or 0) <= (self.bytes or 0):
            return False
        return self.match == "*" or path == self.match or path.startswith(self.match.rstrip("/") + "/")


def parse_rule(raw: object) -> Rule:
    """A rule from its JSON object. Raises ValueError for an unknown key, a missing `do` or a wrong type."""
    if not isinstance(raw, dict):
        raise ValueError("a rule is a JSON object")  # noqa: TRY004 - one error type for whoever reads JSON
    unknown = raw.keys() - {known.name for known in fields(Rule)}
    if unknown:
        raise ValueError(f"unknown in a rule: {', '.join(sorted(unknown))}")
    if "do" not in raw:
        raise ValueError("a rule needs do")
    _check_types(raw)
    return Rule(**raw)


def parse_rules(raw: object) -> list[Rule]:
    """A list of rules, or one rule, from JSON."""
    return [parse_rule(one) for one in (raw if isinstance(raw, list) else [raw])]


def _check_types(raw: Mapping[str, object]) -> None:
    kinds: dict[str, tuple[type, ...]] = {
        "match": (str,),
        "times": (int,),
        "seconds": (int, float, type(None)),
        "status": (int,),
        "code": (int,),
        "message": (str,),
        "headers": (dict,),
        "reason": (int,),
        "bytes": (int, type(None)),
        "after": (bool,),
        "early": (bool,),
        "style": (str,),
        "most": (int, type(None)),
    }
    for name, allowed in kinds.items():
        if name in raw and not isinstance(raw[name], allowed):
            raise ValueError(f"{name} has the wrong type")


class Rules:
    """The queue. The first rule that fits and is not used up is the one that counts."""

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self._lock = threading.Lock()
        self._rules = list(rules)

    def add(self, rule: Rule) -> None:
        """Puts a rule behind those that are there."""
        with self._lock:
            self._rules.append(rule)

    def replace(self, rules: Iterable[Rule]) -> None:
        """Forgets all rules and takes these."""
        fresh = list(rules)
        with self._lock:
            self._rules = fresh

    def clear(self) -> None:
        """Behaves well again."""
        self.replace(())

    def take(self, path: str, length: int | None = None, in_hand: int = 0) -> Rule | None:
        """The rule for this request, counted as used."""
        return self._take(path, length, in_hand, per_instance=False)

    def take_for_instance(self, path: str) -> Rule | None:
        """What happens to the next instance: it fails, or is forgotten; None: it is stored."""
        return self._take(path, None, 0, per_instance=True)

    def left(self) -> list[dict[str, object]]:
        """What is still to come, as JSON objects."""
        with self._lock:
            return [asdict(rule) | {"headers": dict(rule.headers)} for rule in self._rules if rule.times]

    def _take(self, path: str, length: int | None, in_hand: int, *, per_instance: bool) -> Rule | None:
        with self._lock:
            for index, rule in enumerate(self._rules):
                if rule.times and rule.fits(path, length, in_hand) and (rule.do in OF_INSTANCES) is per_instance:
                    if rule.times > 0:
                        self._rules[index] = replace(rule, times=rule.times - 1)
                    return rule
        return None

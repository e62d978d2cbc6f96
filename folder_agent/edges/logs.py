"""Logs by loguru: the console and rotating files. One line for each transition; nothing personal in them.

A patient's values are cut out of every line; while they are not known, names that a person chose are left out, too.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from loguru import logger

from folder_agent.core.catalogue import Language, disposition, explain
from folder_agent.core.errors import Disposition, Problem
from folder_agent.core.exam import scrub
from folder_agent.core.lifecycle import BundleState
from folder_agent.core.naming import visible
from folder_agent.core.ports import Lasting, Publisher
from folder_agent.core.records import BundleRecord

_FORMAT = "{time:YYYY-MM-DD HH:mm:ss.SSS} {level: <7} {message}"
_ROTATE_BYTES = 20 * 1024 * 1024
_LEVELS = {BundleState.REFUSED: "WARNING", BundleState.FAILED: "WARNING", BundleState.HELD: "WARNING"}


def set_up(directory: Path | None, level: str, keep_days: int, *, console: bool = True) -> None:
    """Log to the console (where there is one) and to `directory`/folder-agent.log, in UTF-8. Idempotent."""
    logger.remove()
    if console and sys.stderr is not None:
        logger.add(sys.stderr, format=_FORMAT, level=level, backtrace=False, diagnose=False)
    if directory is not None:
        logger.add(
            directory / "folder-agent.log",
            format=_FORMAT,
            level=level,
            rotation=_ROTATE_BYTES,
            retention=f"{keep_days} days",
            encoding="utf-8",
            errors="backslashreplace",
            backtrace=False,
            diagnose=False,  # a traceback's variables hold patients' data
        )


class LogPublisher:
    """Writes down what the agent publishes."""

    def transition(self, bundle: BundleRecord, before: str, event: str, personal: Sequence[str] | None) -> None:
        """One line: drop folder, number, name, states, reason."""
        change = f"{before} -> {bundle.state}" if before else str(bundle.state)
        logger.log(_LEVELS.get(bundle.state, "INFO"), "{}", line_of(bundle, f"{change} ({event})", personal))

    def waits(self, bundle: BundleRecord, personal: Sequence[str] | None) -> None:
        """Not a transition: only for those who look closely."""
        logger.debug("{}", line_of(bundle, str(bundle.state), personal))

    def sending(self, bundle: BundleRecord, sent: int, total: int) -> None:
        """Progress is for displays, not for the log."""

    def fault(self, error: Exception) -> None:
        """Where it happened; not the message, which may quote a patient's data."""
        where = [f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in traceback.extract_tb(error.__traceback__)]
        logger.error("internal error {} at {}", type(error).__name__, " < ".join(reversed(where)))

    def notice(self, problem: Problem, is_over: bool = False, lasting: Lasting | None = None) -> None:
        """What concerns the agent as a whole."""
        text = f"{problem.code} {explain(problem, 'en')}" + (_how_long(lasting, is_over) if lasting else "")
        if is_over:
            logger.info("recovered: {}", text)
            return
        loud = disposition(problem) in (Disposition.HOLD, Disposition.FATAL)
        logger.log("ERROR" if loud else "WARNING", "{}", text)


def _how_long(lasting: Lasting, is_over: bool) -> str:
    """ ", since 2026-11-23 10:02, 214 bundles waiting"."""
    since = datetime.fromtimestamp(lasting.since).astimezone()
    minutes = max(0, round((lasting.until - lasting.since) / 60))
    length = f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
    how_many = f"{lasting.waiting} {'bundle' if lasting.waiting == 1 else 'bundles'}"
    if is_over:
        return f", after {length}; {how_many} to go"
    return f", since {since:%Y-%m-%d %H:%M}, {how_many} waiting"


def line_of(bundle: BundleRecord, change: str, personal: Sequence[str] | None, language: Language = "en") -> str:
    """What happened to a bundle and why, in one line with nothing personal in it."""
    known = personal is not None
    reasons = "; ".join(f"{r.code} {explain(r if known else replace(r, path=None), language)}" for r in bundle.reasons)
    name = f" {bundle.name}" if known else ""
    line = f"{bundle.drop}#{bundle.id}{name}: {change}{': ' + reasons if reasons else ''}"
    return visible(scrub(line, personal or ()))


class Publishers:
    """Tells each of several listeners."""

    def __init__(self, *listeners: Publisher) -> None:
        self._listeners = listeners

    def transition(self, bundle: BundleRecord, before: str, event: str, personal: Sequence[str] | None) -> None:
        """Tell all."""
        for listener in self._listeners:
            listener.transition(bundle, before, event, personal)

    def waits(self, bundle: BundleRecord, personal: Sequence[str] | None) -> None:
        """Tell all."""
        for listener in self._listeners:
            listener.waits(bundle, personal)

    def sending(self, bundle: BundleRecord, sent: int, total: int) -> None:
        """Tell all."""
        for listener in self._listeners:
            listener.sending(bundle, sent, total)

    def fault(self, error: Exception) -> None:
        """Tell all."""
        for listener in self._listeners:
            listener.fault(error)

    def notice(self, problem: Problem, is_over: bool = False, lasting: Lasting | None = None) -> None:
        """Tell all."""
        for listener in self._listeners:
            listener.notice(problem, is_over, lasting)

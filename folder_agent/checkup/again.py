"""Trying again: what waits is tried now, what lies in failed/ is put back into its drop folder. For the command
`folder-agent retry` and for the console.

Writes to the ledger through its one door, knocks for a running agent, and moves bundles out of failed/.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from folder_agent import settings
from folder_agent.assembly import shelves_of
from folder_agent.checkup.reports import ENDED_BADLY
from folder_agent.core.catalogue import explain
from folder_agent.core.errors import AgentError, StaleState
from folder_agent.core.lifecycle import BundleEvent, BundleState, bundle_step
from folder_agent.core.ports import Ledger
from folder_agent.core.records import BundleRecord
from folder_agent.core.status import Phrase
from folder_agent.edges.paths import from_text

RETRYABLE = frozenset({BundleState.WAITING, BundleState.HELD})
_MOST = 10_000  # bundles that --failed looks back
_WHY_NOT: dict[BundleState, Phrase] = {
    BundleState.GATHERING: Phrase(
        "文件尚未到齐,无需重试:到齐后自动发送(见 status)",
        "nothing is to be tried again: its files are still being gathered, and it goes by itself (see status)",
    ),
    BundleState.COMPLETE: Phrase("无需重试:即将发送", "nothing is to be tried again: it is about to be sent"),
    BundleState.SENDING: Phrase("无需重试:正在发送", "nothing is to be tried again: it is being sent"),
    BundleState.COMMITTED: Phrase(
        "无需重试:前置机已接收,只差移入 done/(会自动完成)",
        "nothing is to be tried again: the gateway has accepted it, only the move to done/ is left and goes by itself",
    ),
    BundleState.DONE: Phrase("无需重试:已送达", "nothing is to be tried again: it is delivered"),
    BundleState.WITHDRAWN: Phrase(
        "无法重试:文件已被取走,如需发送请重新放入",
        "nothing is left to try again: its files were taken away; drop them again to have them sent",
    ),
}
_LEAVING = Phrase("正在移入 failed/,请稍后再试", "it is on its way to failed/: try again in a moment")
_LOST_TARGET = Phrase("已不在 failed/ 中(也许已被移走)", "it does not lie in failed/ any more; somebody has moved it")
_NO_DROP = Phrase("其投放目录已不在设置中", "its drop folder is not in the settings any more")
_STALE = Phrase("它刚刚有变化,请看 status", "it has just moved on; look at status")
_AGAIN = Phrase("立即重试", "is tried again now")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one bundle."""

    bundle: BundleRecord
    words: Phrase
    is_retried: bool = False
    where: str | None = None  # the place that it was put back to


def try_again(loaded: settings.Settings, ledger: Ledger, bundles: Sequence[BundleRecord]) -> list[Outcome]:
    """Try each of these again, and let a running agent know. Raises AgentError where the ledger fails."""
    outcomes = [_retry(loaded, ledger, bundle) for bundle in bundles]
    if any(outcome.is_retried for outcome in outcomes):
        knock(ledger)
    return outcomes


def knock(ledger: Ledger) -> None:
    """Have a running agent read in its next cycle what was written."""
    ledger.remember("knock", uuid.uuid4().hex)


def everything(ledger: Ledger, *, failed: bool) -> list[BundleRecord]:
    waiting = [bundle for bundle in ledger.open_bundles() if bundle.state in RETRYABLE]
    lost = ledger.latest_bundles(_MOST) if failed else []
    return waiting + [bundle for bundle in lost if bundle.state in ENDED_BADLY and bundle.target]


def _retry(loaded: settings.Settings, ledger: Ledger, bundle: BundleRecord) -> Outcome:
    if bundle.state in ENDED_BADLY:
        return _put_back(loaded, bundle)
    if bundle.state not in RETRYABLE:
        return Outcome(bundle, _WHY_NOT[bundle.state])
    step = bundle_step(bundle, BundleEvent.RETRY_NOW, time.time(), due_at=None, first_failed_at=None, attempts=0)
    try:
        ledger.apply([step])
    except StaleState:
        return Outcome(bundle, _STALE)
    return Outcome(bundle, _AGAIN, is_retried=True)


def why_not_back(loaded: settings.Settings, bundle: BundleRecord) -> Phrase | None:
    """Why a bundle that was refused or failed cannot be brought back from failed/; None if it can."""
    if bundle.is_open or bundle.target is None:
        return _LEAVING
    drop = next((drop for drop in loaded.drops if drop.name == bundle.drop), None)
    if drop is None:
        return _NO_DROP
    try:
        return _LOST_TARGET if shelves_of(drop).is_free(bundle.target) else None
    except AgentError as error:
        masked = error.problem.masked()
        return Phrase(explain(masked, "zh"), explain(masked, "en"))


def _put_back(loaded: settings.Settings, bundle: BundleRecord) -> Outcome:
    if (why_not := why_not_back(loaded, bundle)) is not None or bundle.target is None:
        return Outcome(bundle, why_not or _LEAVING)
    drop = next(drop for drop in loaded.drops if drop.name == bundle.drop)
    shelves = shelves_of(drop)
    try:
        where = str(drop.path / from_text(shelves.put_back(bundle.target, bundle.name)))
    except AgentError as error:
        masked = error.problem.masked()
        return Outcome(bundle, Phrase(explain(masked, "zh"), explain(masked, "en")))
    return Outcome(bundle, Phrase(f"已放回 {where}", f"is put back: {where}"), is_retried=True, where=where)

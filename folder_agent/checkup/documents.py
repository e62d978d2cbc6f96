"""The documents of `status --json` and `show --json`, for the commands and for the console's API: one text from both.

Reads the ledger; of one bundle, its sidecar and its receipt, too.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from folder_agent.assembly import answer_rules
from folder_agent.checkup.reports import Report, show_report, status_report
from folder_agent.checkup.sidecars import encoding_in, receipt_of
from folder_agent.core.ports import Ledger, Tallies
from folder_agent.core.records import BundleRecord
from folder_agent.settings import Settings


def of_status(loaded: Settings, ledger: Ledger | None, now: float, tallies: Tallies | None = None) -> Report:
    """The whole; `tallies` are the ledger's, where somebody has just counted them."""
    rules = {drop.name: answer_rules(drop) for drop in loaded.drops}
    return status_report(ledger, now, list(rules), rules, loaded.sync.limit or (), tallies)


def of_bundle(loaded: Settings, ledger: Ledger, found: Sequence[BundleRecord]) -> Report:
    """The first of those found, and that there are others."""
    bundle, *others = found
    report = show_report(ledger, bundle, others)
    folder = next((drop.path for drop in loaded.drops if drop.name == bundle.drop), None)
    receipt = receipt_of(bundle)
    report["bundle"]["encoding"] = encoding_in(folder, bundle, ledger.files_of(bundle.id))
    report["bundle"]["filled"] = None if receipt is None else dict(receipt.filled)
    return report


def as_text(report: Report) -> str:
    """As it is printed and answered; text that is not ASCII stays readable."""
    return json.dumps(report, ensure_ascii=False, indent=2) + "\n"

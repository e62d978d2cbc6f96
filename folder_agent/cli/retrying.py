"""`folder-agent retry`: what waits is tried now, what lies in failed/ is put back into its drop folder.

Writes to the ledger through its one door, knocks for a running agent, and moves bundles out of failed/.
"""

from __future__ import annotations

from pathlib import Path

from folder_agent import settings
from folder_agent.checkup.again import Outcome, everything, try_again
from folder_agent.cli.printing import pick, say, say_json
from folder_agent.cli.reading import no_such, reading
from folder_agent.core.catalogue import Language
from folder_agent.edges.ledger import open_ledger


def retry(config: Path, name: str | None, *, failed: bool, as_json: bool, language: Language) -> int:
    """Try one bundle again, or (None) all that wait or are held, with `failed` also those in failed/.

    Returns 0 if anything is tried again, else 1. Raises SettingsError, AgentError.
    """
    loaded = settings.load(config)
    with reading(loaded) as existing:
        is_there = existing is not None  # and it is of our version: a command must not migrate under a running agent
    outcomes: list[Outcome] = []
    if is_there:
        ledger = open_ledger(loaded.ledger.url or "")
        try:
            chosen = everything(ledger, failed=failed) if name is None else ledger.find_bundles(name)[:1]
            outcomes = try_again(loaded, ledger, chosen)
        finally:
            ledger.close()
    _tell(outcomes, name, as_json=as_json, language=language)
    return 0 if any(outcome.is_retried for outcome in outcomes) else 1


def _tell(outcomes: list[Outcome], name: str | None, *, as_json: bool, language: Language) -> None:
    if as_json:
        say_json({"retried": sum(one.is_retried for one in outcomes), "bundles": [_value(one) for one in outcomes]})
        return
    for one in outcomes:
        say(f"#{one.bundle.id} {one.bundle.name}: {pick(one.words, language)}", to_stderr=not one.is_retried)
    if not outcomes and name is not None:
        say(no_such(name, language), to_stderr=True)
    elif not outcomes:
        say("没有需要重试的检查" if language == "zh" else "nothing is to be tried again", to_stderr=True)


def _value(one: Outcome) -> dict[str, object]:
    bundle = one.bundle
    return {
        "id": bundle.id,
        "bundle": bundle.name,
        "drop": bundle.drop,
        "state": str(bundle.state),
        "retried": one.is_retried,
        "text": one.words.en,
        "text_zh": one.words.zh,
        "where": one.where,
    }

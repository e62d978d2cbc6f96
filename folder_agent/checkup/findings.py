"""What a check finds, in both languages, and a guard that turns what goes wrong in a check into its finding."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from folder_agent.core.catalogue import explain, what_to_do
from folder_agent.core.errors import AgentError, Problem
from folder_agent.core.status import Phrase
from folder_agent.edges.drop_folder.opening import name_of


class Outcome(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"  # it works, but somebody should know
    FAULT = "fault"  # it cannot work so


@dataclass(frozen=True, slots=True)
class Check:
    """One finding. `name` is stable: what was checked, with the drop folder's name where it is about one."""

    name: str
    outcome: Outcome
    text: Phrase
    todo: Phrase | None = None


def ok(name: str, zh: str, en: str) -> Check:
    """All is well."""
    return Check(name, Outcome.OK, Phrase(zh, en))


def warning(name: str, zh: str, en: str, zh_todo: str, en_todo: str) -> Check:
    """It works, but."""
    return Check(name, Outcome.WARNING, Phrase(zh, en), Phrase(zh_todo, en_todo))


def fault(name: str, zh: str, en: str, zh_todo: str, en_todo: str) -> Check:
    """It cannot work."""
    return Check(name, Outcome.FAULT, Phrase(zh, en), Phrase(zh_todo, en_todo))


def of_problem(name: str, problem: Problem, outcome: Outcome = Outcome.FAULT) -> Check:
    """The catalogue's words for a problem."""
    text = Phrase(explain(problem, "zh"), explain(problem, "en"))
    return Check(name, outcome, text, Phrase(what_to_do(problem, "zh"), what_to_do(problem, "en")))


def guarded(name: str, checks: Callable[[], Iterable[Check]], within_s: float = 30.0) -> list[Check]:
    """The findings of some checks; an error is a finding, too, and so is a share that never answers.

    The thread of a check that hangs is left behind: nothing can end a call that waits for a dead share.
    """
    found: list[Check] = []

    def work() -> None:
        try:
            for check in checks():
                found.append(check)
        except AgentError as error:
            found.append(of_problem(name, error.problem))
        except OSError as error:
            found.append(_failed(name, error))

    thread = threading.Thread(target=work, name=f"check {name}", daemon=True)
    thread.start()
    thread.join(within_s)
    if not thread.is_alive():
        return found
    silent = fault(
        name,
        f"{within_s:.0f} 秒内没有响应",
        f"does not answer within {within_s:.0f} s",
        "请检查网络与共享服务器",
        "Check the network and the server of the share.",
    )
    return [*found, silent]


def _failed(name: str, error: OSError) -> Check:
    why = name_of(error)
    return fault(name, f"出错({why})", f"failed ({why})", "请检查权限与磁盘", "Check the rights and the disk.")

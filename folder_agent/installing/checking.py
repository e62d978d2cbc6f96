"""What is asked before anything of the installation is changed: may this version go here, and can the answers be used.

Reads the data folder and the files that the answers name; writes to a temporary folder.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from folder_agent import __version__, settings
from folder_agent.cli.init import Answers as Filled
from folder_agent.cli.init import filled, toml_string
from folder_agent.core.catalogue import explain
from folder_agent.core.errors import AgentError
from folder_agent.core.status import Phrase
from folder_agent.edges.credentials import find_token, in_file
from folder_agent.edges.ledger import open_ledger
from folder_agent.edges.ledger.sqlite import path_of
from folder_agent.edges.volumes import share_of
from folder_agent.installing.answers import Answers
from folder_agent.installing.texts import TEXTS, Ending
from folder_agent.installing.versions import is_older
from folder_agent.service.accounts import account
from folder_agent.settings import Settings, SettingsError


class Refused(Exception):
    """The installation cannot go on; why, as lines."""

    def __init__(self, ending: Ending, *lines: Phrase) -> None:
        super().__init__(lines)
        self.ending, self.lines = ending, lines


@dataclass(frozen=True, slots=True)
class Plan:
    """What the answers come to."""

    text: str | None  # of the settings file; None: the one that is there stays
    settings: Settings  # as it will be read
    token: str | None  # None: none was given
    notes: tuple[Phrase, ...] = ()


def said(name: str, **values: object) -> Phrase:
    """One of the installer's own texts, filled in."""
    text = TEXTS[name]
    return Phrase(text.zh.format_map(values), text.en.format_map(values))


def check(answers: Answers) -> Plan:
    """What would be done. Raises Refused; nothing is changed."""
    if answers.previous is not None and is_older(__version__, than=answers.previous):
        raise Refused(Ending.DOWNGRADE, said("downgrade", previous=answers.previous, own=__version__))
    answers, notes = _without_mapped_drive(answers)
    text = _settings_text(answers)
    loaded = _loaded(answers, text)
    _check_ledger(loaded)
    token = _token(answers)
    if token is None:
        notes += _unless_stored(loaded)
    _check_account(answers)
    return Plan(text, loaded, token, tuple(notes))


def ledger_file(loaded: Settings) -> Path | None:
    """The ledger's file; None if it is a server's."""
    url = loaded.ledger.url or ""
    return path_of(url) if url.startswith("sqlite:") else None


def _without_mapped_drive(answers: Answers) -> tuple[Answers, list[Phrase]]:
    share = None if answers.drop is None else share_of(Path(answers.drop))
    if share is None:
        return answers, []
    return replace(answers, drop=share), [said("mapped", drop=answers.drop, share=share)]


def _settings_text(answers: Answers) -> str | None:
    """From a file, or from the answers; None where there are settings already, and no file is given."""
    if answers.config is not None:
        try:
            return answers.config.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise Refused(Ending.UNUSABLE, _unreadable(answers.config, error)) from None
    if answers.settings_file.is_file():
        return None
    needed = {"/DROP": answers.drop, "/URL": answers.url, "/APPID": answers.app_id}
    if lacking := [name for name, value in needed.items() if value is None]:
        raise Refused(Ending.UNUSABLE, said("lacking", what=" ".join(lacking)))
    # The gateway's address is checked with everything else, in the words of the settings.
    text = filled(Filled(drop=Path(answers.drop or ""), app_id=answers.app_id))
    text = text.replace('\n# url = "https://10.0.0.5"\n', f"\nurl = {toml_string(answers.url or '')}\n", 1)
    if answers.fingerprint is not None:
        text = text.replace(
            '\n# fingerprint = "sha256:…"\n', f"\nfingerprint = {toml_string(answers.fingerprint)}\n", 1
        )
    return text


def _loaded(answers: Answers, text: str | None) -> Settings:
    """The settings as they will be read, from where they will lie."""
    place = answers.settings_file
    try:
        if text is None or answers.config is not None:
            return settings.load(answers.config or place, place=place)
        return _loaded_text(text, place)
    except SettingsError as error:
        raise Refused(Ending.UNUSABLE, *(Phrase(line, line) for line in error.problems)) from None


def _loaded_text(text: str, place: Path) -> Settings:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / place.name
        file.write_text(text, encoding="utf-8")
        try:
            return settings.load(file, place=place)
        except SettingsError as error:
            raise SettingsError([line.replace(str(file), place.name) for line in error.problems]) from None


def _check_ledger(loaded: Settings) -> None:
    file = ledger_file(loaded)
    if file is None or not file.is_file():
        return
    try:
        open_ledger(loaded.ledger.url or "", readonly=True).close()
    except AgentError as error:
        if error.problem.code == "FA-LEDGER-NEWER":
            raise Refused(Ending.DOWNGRADE, said("newer-ledger")) from None
        # An older one is brought up to date; what else is wrong with it is said when that is tried.


def _token(answers: Answers) -> str | None:
    if answers.token is not None:
        return answers.token
    if answers.token_file is None:
        return None
    try:
        return in_file(answers.token_file, str(answers.token_file))
    except AgentError as error:
        told = error.problem.masked()
        raise Refused(Ending.UNUSABLE, Phrase(explain(told, "zh"), explain(told, "en"))) from None


def _unless_stored(loaded: Settings) -> list[Phrase]:
    try:
        find_token(loaded)
    except AgentError:
        return [said("token-lacking")]
    return []


def _check_account(answers: Answers) -> None:
    try:
        who = account(answers.account)
    except ValueError as error:
        raise Refused(Ending.UNUSABLE, said("account", why=error)) from None
    if who.needs_password and answers.password is None and answers.password_file is None:
        raise Refused(Ending.UNUSABLE, said("password", account=who.name))


def _unreadable(file: Path, error: Exception) -> Phrase:
    return said("unreadable", file=file, why=getattr(error, "strerror", None) or type(error).__name__)

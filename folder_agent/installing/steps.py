"""The steps: prepare, configure, begin, remove; start is for after an upgrade that failed. Each tells its lines in a
report, and ends with a code.

Touches the report, and whatever `checking`, `keeping`, `purging`, `protecting` and the service's controller touch.
"""

from __future__ import annotations

import io
import sqlite3
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from datetime import datetime
from pathlib import Path

from folder_agent import settings
from folder_agent.cli.doctor import doctor as examine
from folder_agent.core.catalogue import explain, what_to_do
from folder_agent.core.errors import AgentError
from folder_agent.core.status import Phrase
from folder_agent.edges import durable, secrets
from folder_agent.edges.ledger import open_ledger
from folder_agent.installing.answers import Answers, read
from folder_agent.installing.checking import Plan, Refused, check, ledger_file, said
from folder_agent.installing.keeping import NoSpace, keep
from folder_agent.installing.protecting import protect
from folder_agent.installing.purging import purge
from folder_agent.installing.texts import Ending
from folder_agent.service.accounts import VIRTUAL, account
from folder_agent.service.controlling import Controller, ServiceState, controller
from folder_agent.settings import ConsoleSettings, SettingsError

Tell = Callable[[Phrase], None]


class Steps:
    """One installation. Every step raises Refused, or what `run` turns into one."""

    def __init__(self, answers: Answers, service: Controller, tell: Tell) -> None:
        self.answers, self.service, self.tell = answers, service, tell

    def prepare(self) -> None:
        """Check everything, which changes nothing; then stop the service after the step in hand."""
        for note in check(self.answers).notes:
            self.tell(note)
        self.tell(said("checked"))
        if self.service.status().state is not ServiceState.ABSENT:
            self.service.stop()
            self.tell(said("stopped"))

    def configure(self) -> None:
        """With the service stopped: rights, copies, settings, token, ledger, service."""
        plan = check(self.answers)
        self._protect()
        self._keep(plan)
        self._write_settings(plan)
        if plan.token is not None:
            secrets.keep(secrets.store_of(self.answers.settings_file), plan.token, self._readers())
            self.tell(said("token-stored"))
        self._migrate(plan)
        self._install()
        if self.answers.program is not None:
            _link(self.answers.program, plan.settings.console)

    def begin(self) -> None:
        """Start the service, and tell what `doctor` finds, also if it does not start."""
        try:
            self.start()
        finally:
            self._examine()

    def start(self) -> None:
        """Start the service, and wait until it is at work."""
        if self.service.status().state is not ServiceState.ABSENT:
            self.service.start()
            self.tell(said("started"))

    def remove(self) -> None:
        """Take the service away, and, if so wished, our data."""
        if self.service.status().state is not ServiceState.ABSENT:
            self.service.remove()
            self.tell(said("removed"))
        try:
            loaded = settings.load(self.answers.settings_file)
        except SettingsError:
            loaded = None
        for drop in () if loaded is None else loaded.drops:
            self.tell(said("drop-stays", path=drop.path))
        if not self.answers.purge:
            self.tell(said("data-stays", folder=self.answers.data))
        elif loaded is None and self.answers.settings_file.is_file():
            # Nobody can say where the drop folders are: nothing is deleted.
            raise Refused(Ending.UNUSABLE, said("data-stays", folder=self.answers.data))
        else:
            drops = () if loaded is None else loaded.drops
            self._purge([place for drop in drops for place in (drop.path, drop.done_dir, drop.failed_dir)])

    def _examine(self) -> None:
        """What `folder-agent doctor` says. Its faults are for a person: the agent waits until they are mended."""
        said_by = io.StringIO()
        with redirect_stdout(said_by), redirect_stderr(said_by):
            examine(self.answers.settings_file, as_json=False, language=self.answers.language)
        for line in said_by.getvalue().splitlines():
            self.tell(Phrase(line, line))

    def _account(self) -> str:
        return self.answers.account or self.service.status().account or VIRTUAL

    def _readers(self) -> tuple[str, ...]:
        return (self._account(),) if sys.platform == "win32" else ()

    def _protect(self) -> None:
        data = self.answers.data
        try:
            protect(data, account(self._account()).name)
        except LookupError as error:
            raise Refused(Ending.UNUSABLE, said("account", why=error)) from None

    def _keep(self, plan: Plan) -> None:
        answers = self.answers
        store, file = secrets.store_of(answers.settings_file), ledger_file(plan.settings)
        if answers.previous is None and not answers.settings_file.is_file():
            return
        now = datetime.now().astimezone()
        try:
            folder = keep(answers.data, answers.previous or "0", (answers.settings_file, store), file, now)
        except NoSpace as error:
            raise Refused(Ending.FAILED, said("no-space", need=error.need, free=error.free)) from None
        self.tell(said("kept", folder=folder))

    def _write_settings(self, plan: Plan) -> None:
        file = self.answers.settings_file
        if plan.text is None:
            self.tell(said("settings-stay", file=file))
            return
        durable.write_whole(file, plan.text.encode())
        self.tell(said("written", file=file))

    def _migrate(self, plan: Plan) -> None:
        file = ledger_file(plan.settings)
        if file is None:
            self.tell(said("server"))
        elif file.is_file():
            open_ledger(plan.settings.ledger.url or "").close()
            self.tell(said("migrated"))

    def _install(self) -> None:
        """Set the service up, or anew. An account with a password that nobody gave again stays as it is."""
        found = self.service.status()
        who = account(self._account())
        given = self.answers.password is not None or self.answers.password_file is not None
        if found.state is not ServiceState.ABSENT and who.needs_password and not given:
            self.tell(said("service-stays", account=who.name))
            return
        loaded = settings.load(self.answers.settings_file)
        for told in self.service.install(self.answers.settings_file, loaded, who.name, self._password):
            self.tell(told)
        self.tell(said("service", account=who.name))

    def _password(self, _account: str) -> str:
        if self.answers.password_file is None:
            return self.answers.password or ""
        return self.answers.password_file.read_text(encoding="utf-8-sig").splitlines()[0]

    def _purge(self, spared: list[Path]) -> None:
        left = purge(self.answers.data, spared)
        self.tell(said("data-gone", folder=self.answers.data))
        for path in left:
            self.tell(said("left", path=path))


def run(step: str, answers_file: Path, report: Path, service: Controller | None = None) -> int:
    """Take a step; its exit code. The report has a line for whatever a person should read (UTF-16 with a mark)."""
    lines: list[str] = []
    language = "en"

    def tell(phrase: Phrase) -> None:
        lines.append(phrase.zh if language == "zh" else phrase.en)

    try:
        answers = read(answers_file)
        language = answers.language
        getattr(Steps(answers, service or controller(), tell), step)()
        ending = Ending.DONE
    except Refused as refused:
        ending = refused.ending
        for line in refused.lines:
            tell(line)
    except AgentError as error:
        told = error.problem.masked()
        ending = Ending.SERVICE if told.code.startswith("FA-SERVICE") else Ending.FAILED
        texts = (f"{told.code} {explain(told, one)} {what_to_do(told, one)}" for one in ("zh", "en"))
        tell(Phrase(*texts))
    except Exception as error:  # noqa: BLE001 - the end of the process: the installer shows it, and undoes what it can
        ending = Ending.FAILED
        tell(said("fault", why=_named(error)))
    report.write_text("\r\n".join([*lines, ""]), encoding="utf-16", newline="")
    return int(ending)


def _link(program: Path, console: ConsoleSettings) -> None:
    """console.url, for the Start menu; none where no console is served."""
    link = program / "console.url"
    link.unlink(missing_ok=True)
    host, _, port = console.listen.rpartition(":")
    if console.listen != "off":
        shown = "127.0.0.1" if host in ("", "0.0.0.0", "[::]") else host  # noqa: S104 - what is listened at, not ours
        scheme = "http" if console.cert_file is None else "https"
        text = f"[InternetShortcut]\r\nURL={scheme}://{shown}:{port}/\r\n"
        link.write_text(text, encoding="ascii", errors="ignore", newline="")


def _named(error: Exception) -> str:
    """An error without what it may quote from settings."""
    known = isinstance(error, OSError | sqlite3.Error)
    return f"{type(error).__name__}: {error}" if known else type(error).__name__

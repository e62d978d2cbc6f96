"""The commands and their options. Each does its work in a module that is loaded only when it is called.

What a command raises becomes words and an exit code here, in one place.
"""

from __future__ import annotations

import sys
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from folder_agent import __version__
from folder_agent.cli.printing import language_of, say
from folder_agent.core.catalogue import explain, what_to_do
from folder_agent.core.errors import AgentError
from folder_agent.settings import SettingsError, default_file


class Commands(TyperGroup):
    """All commands, with one end for whatever they raise: nobody should meet a traceback for what we foresaw."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; SettingsError is exit code 2, AgentError 1, Ctrl-C 130."""
        try:
            return super().invoke(ctx)
        except SettingsError as error:
            for line in error.problems:
                say(line, to_stderr=True)
            raise typer.Exit(2) from None
        except AgentError as error:
            say_problem(error)
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            raise typer.Exit(130) from None


def say_problem(error: AgentError) -> None:
    """The catalogue's words in both languages, masked, on stderr."""
    masked = error.problem.masked()
    say(f"{masked.code} {explain(masked, 'zh')} {what_to_do(masked, 'zh')}", to_stderr=True)
    say(f"{masked.code} {explain(masked, 'en')}. {what_to_do(masked, 'en')}", to_stderr=True)


class Lang(StrEnum):
    """What people read; JSON always holds both."""

    ZH = "zh"
    EN = "en"


Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="The settings file.", show_default="FOLDER_AGENT_CONFIG, or the system's"),
]
Language = Annotated[Lang | None, typer.Option("--lang", help="Language of the text (JSON holds both).")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
_DAY = ["%Y-%m-%d"]
_ENDS = "1 anything else, 2 settings or usage."

app = typer.Typer(
    cls=Commands,
    help="Delivers what a PACS exports to a folder to the hospital's front-end machine, and loses nothing on the way.",
    epilog="Exit codes: 0 success, 1 failure, 2 settings or usage; each command's help names its own.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # their tracebacks show variables, which may hold a patient's data
    rich_markup_mode=None,  # plain help is readable on every console
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        say(f"folder-agent {__version__}")
        raise typer.Exit


@app.callback()
def everywhere(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options that come before the command."""


@app.command(epilog="Exit codes: 0 it was shown, 1 it did not end as it should, 2 usage.")
def demo(
    as_json: Json = False,
    plain: Annotated[bool, typer.Option("--plain", help="A line for each event, no moving display.")] = False,
    keep: Annotated[Path | None, typer.Option("--keep", help="The folder to play in, left as it is.")] = None,
    lang: Language = None,
) -> None:
    """Show the agent at work. A simulated gateway, a copy of the samples, and what happens to them."""
    from folder_agent.cli.demo import demo as play

    raise typer.Exit(play(as_json=as_json, plain=plain, keep=keep, language=language_of(lang)))


@app.command(epilog="Exit codes: 0 written, 1 it cannot be written, 2 there is one already, or usage.")
def init(
    config: Config = None,
    force: Annotated[bool, typer.Option("--force", help="Keep the old file as FILE.bak, and write a new one.")] = False,
    drop: Annotated[Path | None, typer.Option("--drop", help="The folder to watch.")] = None,
    url: Annotated[str | None, typer.Option("--url", help="The gateway's address, https://…")] = None,
    app_id: Annotated[str | None, typer.Option("--app-id", help="The appId that the platform assigned.")] = None,
    lang: Language = None,
) -> None:
    """Write a commented settings file."""
    from folder_agent.cli.init import Answers
    from folder_agent.cli.init import init as write

    answers = Answers(drop=drop, url=url, app_id=app_id)
    raise typer.Exit(write(config or default_file(), answers, force=force, language=language_of(lang)))


@app.command(epilog="Exit codes: 0 no faults (warnings may be there), 1 a fault, 2 the settings cannot be used.")
def doctor(config: Config = None, as_json: Json = False, lang: Language = None) -> None:
    """Check the whole installation. Settings, folders, clock, certificate, signature: what is wrong, and what to do."""
    from folder_agent.cli.doctor import doctor as examine

    raise typer.Exit(examine(config or default_file(), as_json=as_json, language=language_of(lang)))


@app.command(
    epilog="Exit codes: 0 stopped, or with --once all delivered; 3 something still waits and 4 something is in "
    f"failed/ (with --once); {_ENDS}"
)
def run(
    config: Config = None,
    once: Annotated[
        bool, typer.Option("--once", help="Work until nothing can move without new files or a later time.")
    ] = False,
) -> None:
    """Run the agent, until it is told to stop."""
    from folder_agent.cli.run import run as work

    raise typer.Exit(work(config or default_file(), once))


@app.command(epilog=f"Exit codes: 0 told, {_ENDS}")
def status(config: Config = None, as_json: Json = False, lang: Language = None) -> None:
    """Tell what waits or failed, and why."""
    from folder_agent.cli.reading import status as tell

    raise typer.Exit(tell(config or default_file(), as_json=as_json, language=language_of(lang)))


@app.command(epilog="Exit codes: 0 shown, 1 there is no such bundle (or anything else), 2 settings or usage.")
def show(
    bundle: Annotated[str, typer.Argument(help="Its number, name, accession number or study id.")],
    config: Config = None,
    as_json: Json = False,
    lang: Language = None,
) -> None:
    """Tell all about one bundle. Its state, its files, and what happened to it."""
    from folder_agent.cli.reading import show as tell

    raise typer.Exit(tell(config or default_file(), bundle, as_json=as_json, language=language_of(lang)))


@app.command("try-sidecar", epilog=f"Exit codes: 0 it would be sent, 3 it would wait, 4 it would be refused, {_ENDS}")
def try_sidecar(
    file: Annotated[Path, typer.Argument(help="The JSON file, or a folder, wherever it is.", exists=True)],
    drop: Annotated[
        str | None, typer.Option("--drop", help="The drop folder whose mapping applies.", show_default="the only one")
    ] = None,
    images: Annotated[
        Path | None, typer.Option("--images", help="The folder of its images.", exists=True, file_okay=False)
    ] = None,
    config: Config = None,
    as_json: Json = False,
    lang: Language = None,
) -> None:
    """Show what would be sent of a sidecar and the images that lie with it, or of a folder without one. Every field
    with where it comes from, and what is wrong. The patient's values appear on your screen; nothing is sent, moved or
    logged."""
    from folder_agent.cli.try_sidecar import try_sidecar as show_it

    if images is not None and file.is_dir():
        raise typer.BadParameter("--images goes with a FILE")
    found = show_it(config or default_file(), file, drop, images, as_json=as_json, language=language_of(lang))
    raise typer.Exit(found)


@app.command(epilog="Exit codes: 0 something is tried again, 1 nothing is to be tried again, 2 settings or usage.")
def retry(
    bundle: Annotated[str | None, typer.Argument(help="Its number, name, accession number or study id.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Everything that waits for a retry or is held.")] = False,
    failed: Annotated[
        bool, typer.Option("--failed", help="With --all: also put back everything that still lies in failed/.")
    ] = False,
    config: Config = None,
    as_json: Json = False,
    lang: Language = None,
) -> None:
    """Try a bundle again now. One that lies in failed/ is put back into its drop folder."""
    from folder_agent.cli.retrying import retry as again

    if (bundle is None) != everything:
        raise typer.BadParameter("name either a BUNDLE or --all")
    if failed and not everything:
        raise typer.BadParameter("--failed goes with --all")
    file = config or default_file()
    raise typer.Exit(again(file, bundle, failed=failed, as_json=as_json, language=language_of(lang)))


@app.command(
    epilog="Exit codes: 0 all is accounted for, 3 something still waits, 4 something is missing or differs, "
    "1 something could not be looked at (or anything else), 2 settings or usage."
)
def reconcile(
    first: Annotated[
        datetime | None, typer.Option("--from", formats=_DAY, help="The first day.", show_default="30 days before --to")
    ] = None,
    last: Annotated[
        datetime | None, typer.Option("--to", formats=_DAY, help="The last day.", show_default="today")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every day of which anything is known.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Also read every delivered file, and compare its SHA-256.")
    ] = False,
    csv: Annotated[
        str | None, typer.Option("--csv", metavar="FILE", help="Also write a line for each day; - is the output.")
    ] = None,
    config: Config = None,
    as_json: Json = False,
    lang: Language = None,
) -> None:
    """Compare ledger, folders and receipts. What was dropped, sent, accepted and is missing, by day."""
    from folder_agent.cli.reconcile import Asked
    from folder_agent.cli.reconcile import reconcile as compare

    if everything and first is not None:
        raise typer.BadParameter("--all goes without --from")
    if first is not None and last is not None and last < first:
        raise typer.BadParameter("--to is before --from")
    if as_json and csv == "-":
        raise typer.BadParameter("--json and --csv - cannot both have the output")
    asked = Asked(
        first.date() if first else None,
        last.date() if last else None,
        everything=everything,
        verify=verify,
        as_json=as_json,
        csv=csv,
        language=language_of(lang),
    )
    raise typer.Exit(compare(config or default_file(), asked))


ledger = typer.Typer(
    help="Mend the ledger.", no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False
)
app.add_typer(ledger, name="ledger")


@ledger.command(epilog=f"Exit codes: 0 rebuilt, {_ENDS}")
def rebuild(
    force: Annotated[bool, typer.Option("--force", help="Also if nothing is known to be wrong with it.")] = False,
    config: Config = None,
    as_json: Json = False,
    lang: Language = None,
) -> None:
    """Make a new ledger from done/, failed/ and the drop folders. The old one is kept."""
    from folder_agent.cli.rebuilding import rebuild as make_anew

    raise typer.Exit(make_anew(config or default_file(), force=force, as_json=as_json, language=language_of(lang)))


@app.command("notify-test", epilog="Exit codes: 0 every channel took it, 1 one did not or there is none, 2 settings.")
def notify_test(config: Config = None, lang: Language = None) -> None:
    """Send a test message by every channel of [notify]."""
    from folder_agent.cli.notify_test import notify_test as send

    raise typer.Exit(send(config or default_file(), language_of(lang)))


class Role(StrEnum):
    """What an account of the console may do."""

    VIEWER = "viewer"
    OPERATOR = "operator"


console = typer.Typer(
    help="Accounts of the console.", no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False
)
app.add_typer(console, name="console")


@console.callback()
def _console() -> None:
    """Keeps `add-user` a command of its own, though it is the only one."""


@console.command("add-user", epilog="Exit codes: 0 kept, 1 it cannot be kept, 2 settings or usage.")
def add_user(
    name: Annotated[str, typer.Argument(help="The account's name.")],
    role: Annotated[Role, typer.Option("--role", help="What it may do: look, or act as well.")] = Role.VIEWER,
    config: Config = None,
    lang: Language = None,
) -> None:
    """Make an account, or give one another password and role. The password is asked for, or read from stdin."""
    from folder_agent.cli.console_users import add_user as add

    raise typer.Exit(add(config or default_file(), name, role.value, language_of(lang)))


secret = typer.Typer(
    help="Keep the token safe.", no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False
)
app.add_typer(secret, name="secret")


@secret.command("set", epilog="Exit codes: 0 stored, 1 it cannot be stored, or is no token, 2 settings or usage.")
def secret_set(
    file: Annotated[
        Path | None, typer.Option("--file", help="Take it from a file.", show_default="a prompt, or what is piped in")
    ] = None,
    account: Annotated[
        str | None, typer.Option("--account", help="The service's account, which may read it, too.")
    ] = None,
    config: Config = None,
    lang: Language = None,
) -> None:
    """Store the token for the settings file. Sealed by the system; asked for without showing it, or piped in."""
    from folder_agent.cli.secret import keep

    raise typer.Exit(keep(config or default_file(), file, account, language_of(lang)))


@secret.command(
    "status", epilog="Exit codes: 0 there is a token that can be read, 1 there is none, 2 settings or usage."
)
def secret_status(config: Config = None, as_json: Json = False, lang: Language = None) -> None:
    """Tell where the token comes from. Never the token itself."""
    from folder_agent.cli.secret import tell

    raise typer.Exit(tell(config or default_file(), as_json=as_json, language=language_of(lang)))


@secret.command("remove", epilog="Exit codes: 0 none is stored any more, 1 it cannot be removed, 2 usage.")
def secret_remove(config: Config = None, lang: Language = None) -> None:
    """Remove the stored token."""
    from folder_agent.cli.secret import forget

    raise typer.Exit(forget(config or default_file(), language_of(lang)))


@app.command(
    "support-bundle", epilog="Exit codes: 0 written, 1 it cannot be written, 2 the file is there already, or usage."
)
def support_bundle(
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", show_default="folder-agent-support-TIME.zip, here")
    ] = None,
    config: Config = None,
    lang: Language = None,
) -> None:
    """Write a ZIP for support. Logs, settings without secrets, tallies, what doctor finds; nothing personal."""
    from folder_agent.cli.support import support_bundle as write

    raise typer.Exit(write(config or default_file(), out, language_of(lang)))


service = typer.Typer(
    help="The agent as a service of this machine: Windows' services, or systemd.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(service, name="service")
_DONE = "Exit codes: 0 done, 1 it failed."


@service.command("install", epilog=f"Exit codes: 0 installed, {_ENDS}")
def service_install(
    config: Config = None,
    account: Annotated[
        str | None,
        typer.Option(
            "--account",
            metavar="NAME",
            help="Windows: whom it runs as: DOMAIN\\user, DOMAIN\\name$ (gMSA), LocalSystem, NetworkService.",
            show_default="the service's own account",
        ),
    ] = None,
    user: Annotated[
        str | None, typer.Option("--user", metavar="NAME", help="Linux: whom it runs as.", show_default="you")
    ] = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the account's password from a line of standard input.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be set up, and change nothing.")] = False,
    lang: Language = None,
) -> None:
    """Set the service up, to start with the machine. Again: with other settings or another account."""
    from folder_agent.cli import servicing
    from folder_agent.service.controlling import controller

    wrong = account if sys.platform != "win32" else user
    if wrong is not None:
        raise typer.BadParameter("--account is for Windows, --user for Linux")
    raise typer.Exit(
        servicing.install(
            config or default_file(),
            account or user,
            password_stdin=password_stdin,
            dry_run=dry_run,
            language=language_of(lang),
            service=controller(),
        )
    )


@service.command("start", epilog=_DONE)
def service_start(lang: Language = None) -> None:
    """Start the service, and wait until it is at work."""
    from folder_agent.cli.servicing import act

    raise typer.Exit(act("start", language_of(lang)))


@service.command("stop", epilog=_DONE)
def service_stop(lang: Language = None) -> None:
    """Stop the service after the step in hand, and wait."""
    from folder_agent.cli.servicing import act

    raise typer.Exit(act("stop", language_of(lang)))


@service.command("restart", epilog=_DONE)
def service_restart(lang: Language = None) -> None:
    """Stop the service, and start it."""
    from folder_agent.cli.servicing import act

    raise typer.Exit(act("restart", language_of(lang)))


@service.command("status", epilog="Exit codes: 0 it runs, 3 it does not, 4 it is not installed, 1 anything else.")
def service_status(as_json: Json = False, lang: Language = None) -> None:
    """Tell whether the service runs, as whom, and with which settings."""
    from folder_agent.cli.servicing import status as tell

    raise typer.Exit(tell(as_json=as_json, language=language_of(lang)))


@service.command("remove", epilog=_DONE)
def service_remove(lang: Language = None) -> None:
    """Stop the service, and take it away. Settings, ledger and files stay."""
    from folder_agent.cli.servicing import act

    raise typer.Exit(act("remove", language_of(lang)))


@app.command("simulate-gateway", epilog="Exit codes: 0 ended, 1 it cannot listen or write, 2 usage.")
def simulate_gateway(
    state: Annotated[Path | None, typer.Option("--state", help="Where everything received is kept.")] = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 8443,
    host: Annotated[str, typer.Option("--host")] = "127.0.0.1",
    app_id: Annotated[str | None, typer.Option("--app-id", show_default="1251")] = None,
    no_tls: Annotated[bool, typer.Option("--no-tls", help="Plain http.")] = False,
    misbehave: Annotated[
        list[str] | None, typer.Option("--misbehave", metavar="JSON", help="A rule, a list of rules, or @file.")
    ] = None,
    clock_offset: Annotated[
        float, typer.Option("--clock-offset", metavar="SECONDS", help="How far the gateway's clock is off.")
    ] = 0.0,
) -> None:
    """Simulate the front-end machine. The token is that of the samples, or
    FOLDER_AGENT_SIMULATOR_TOKEN. Prints one line of JSON when it listens."""
    from folder_agent.cli.simulate import simulate

    raise typer.Exit(
        simulate(state, host, port, app_id, tls=not no_tls, misbehave=misbehave or [], clock_offset_s=clock_offset)
    )

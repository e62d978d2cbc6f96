"""The settings: one TOML file plus FOLDER_AGENT__… variables, checked as a whole, every problem listed at once."""

from __future__ import annotations

import json
import os
import re
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    PrivateAttr,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from folder_agent.core.bandwidth import Limit, parse_limit
from folder_agent.core.mapping import SiteMapping, WrongMapping, site_mapping

PREFIX = "FOLDER_AGENT__"
MatchField = Literal["studyUid", "accessNumber", "patientId"]


class SettingsError(Exception):
    """The settings cannot be used; `problems` has one line for each thing to mend, with file and key."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Section(BaseModel):
    """A table of the file: unknown keys are errors, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def checked_url(url: str) -> str:
    """http only to this machine itself; everything else needs TLS, because the signature does not cover the body."""
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise ValueError("must be an address like https://10.0.0.5")
    if parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        raise ValueError("plain http is allowed only to this machine itself; use https")
    return url.rstrip("/")


def checked_path(path: str) -> str:
    """A path on the gateway begins with a slash."""
    if not path.startswith("/"):
        raise ValueError("must begin with /")
    return path


def checked_fingerprint(value: str | None) -> str | None:
    """A certificate's SHA-256 in hexadecimal digits, lower case; colons and the prefix may be there or not."""
    if value is None:
        return None
    digest = value.removeprefix("sha256:").replace(":", "").lower()
    if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
        raise ValueError("must be sha256: followed by 64 hexadecimal digits")
    return digest


def checked_ae_title(value: str) -> str:
    """An application entity title (DICOM PS3.5 6.2, VR AE)."""
    if not value.strip() or not all(" " <= char <= "~" and char != "\\" for char in value):
        raise ValueError("must be 1 to 16 letters, digits and signs of ASCII, without a backslash")
    return value.strip()


def checked_mapping(table: object) -> SiteMapping:
    """A site's own names and values; every fault is told under its own key."""
    try:
        return site_mapping(table)
    except WrongMapping as error:
        faults: list[InitErrorDetails] = [
            {
                "type": PydanticCustomError("mapping", "{why}", {"why": fault.message}),
                "loc": fault.location,
                "input": None,
            }
            for fault in error.faults
        ]
        raise ValidationError.from_exception_data("mapping", faults, hide_input=True) from None


def checked_limits(value: object) -> tuple[Limit, ...]:
    """One bandwidth limit, or a list of them."""
    given = value if isinstance(value, list | tuple) else [value]
    texts = [text for text in given if isinstance(text, str)]
    if not texts or len(texts) < len(given):
        raise ValueError('must be a text such as "20Mbit/s Mon-Fri 08-18", or a list of such')
    return tuple(parse_limit(text) for text in texts)


class GatewaySettings(Section):
    url: str
    app_id: str = Field(min_length=1)
    token: SecretStr | None = None
    token_file: Path | None = None
    study_path: str = "/ris/study/add"
    ca_file: Path | None = None
    fingerprint: str | None = None
    timeout_s: float = Field(30, gt=0, le=600)
    permit_field: Literal["hkAndMarcoPermitNum", "hkAndMacauPermitNum"] = "hkAndMarcoPermitNum"

    _url = field_validator("url")(checked_url)
    _path = field_validator("study_path")(checked_path)

    _fingerprint = field_validator("fingerprint")(checked_fingerprint)

    @model_validator(mode="after")
    def _one_trust(self) -> GatewaySettings:
        if self.ca_file and self.fingerprint:
            raise ValueError("set ca_file or fingerprint, not both")
        if self.token and self.token_file:
            raise ValueError("set token or token_file, not both")
        return self


class ImagesSettings(Section):
    transport: Literal["stow", "dimse", "none"] = "stow"
    verify: Literal["none", "qido", "stgcmt"] = "none"
    qido_url: str | None = None  # by default the address of STOW-RS

    @field_validator("qido_url")
    @classmethod
    def _url(cls, value: str | None) -> str | None:
        return None if value is None else checked_url(value)


class ReportsSettings(Section):
    transport: Literal["form", "encapsulate", "none"] = "form"


class StowSettings(Section):
    url: str | None = None  # by default the gateway's host + /dicom-web/studies
    trust_status: bool = False

    @field_validator("url")
    @classmethod
    def _url(cls, value: str | None) -> str | None:
        return None if value is None else checked_url(value)


class FormSettings(Section):
    path: str = "/ris/file/add"

    _path = field_validator("path")(checked_path)


class DimseSettings(Section):
    host: str | None = Field(None, min_length=1)
    port: int = Field(11112, ge=1, le=65535)
    called_ae: str = Field("GATEWAY", min_length=1, max_length=16)
    calling_ae: str = Field("FOLDERAGENT", min_length=1, max_length=16)
    tls: bool = False
    ca_file: Path | None = None
    fingerprint: str | None = None
    cert_file: Path | None = None
    key_file: Path | None = None  # None: it is in cert_file, too
    commitment_port: int | None = Field(None, ge=1, le=65535)  # None: reports come on our own association only
    commitment_wait_s: float = Field(30, gt=0, le=600)

    _titles = field_validator("called_ae", "calling_ae")(checked_ae_title)
    _fingerprint = field_validator("fingerprint")(checked_fingerprint)

    @model_validator(mode="after")
    def _tls(self) -> DimseSettings:
        if self.ca_file and self.fingerprint:
            raise ValueError("set ca_file or fingerprint, not both")
        if self.key_file and not self.cert_file:
            raise ValueError("key_file needs cert_file")
        if not self.tls and (self.ca_file or self.fingerprint or self.cert_file):
            raise ValueError("certificates are of no use without tls = true")
        if self.tls and self.commitment_port is not None and self.cert_file is None:
            raise ValueError("commitment_port with tls = true needs cert_file: the gateway is shown it when it calls")
        return self


class DropSettings(Section):
    name: str = Field(min_length=1, max_length=64, pattern=r"^[\w\-]+$")
    path: Path
    done: Path | None = None  # inside `path` unless set
    failed: Path | None = None
    status: Path | None = None
    layout: Literal["auto", "folder", "flat"] = "auto"
    bundle_depth: int | None = Field(None, ge=1, le=8)
    unzip: bool = True
    notes: bool = False
    settle_s: float | None = Field(None, ge=0, le=3600)  # None: 2, or 12 on a network share
    quiet_s: float = Field(60, ge=0, le=86400)
    marker: str | None = None
    sidecar: Literal["required", "optional"] = "required"
    match: tuple[MatchField, ...] = ("studyUid", "accessNumber", "patientId")
    deadline_h: float = Field(24, gt=0, le=8760)
    on_deadline: Literal["wait", "fail"] = "wait"
    on_conflict: Literal["refuse", "newest"] = "refuse"
    scan_s: float = Field(30, ge=0.1, le=3600)
    fill: bool = True
    eager: bool = False
    keep_done_days: int | None = Field(None, ge=1, le=36500)  # None: done/ is not purged by age
    min_free_gb: float | None = Field(None, gt=0, le=1_000_000)  # None: nor for want of space
    observer: Literal["auto", "native", "scan"] = "auto"
    mapping: Annotated[SiteMapping | None, PlainValidator(checked_mapping)] = None

    @model_validator(mode="after")
    def _one_layout(self) -> DropSettings:
        if self.layout == "flat" and self.bundle_depth is not None:
            raise ValueError(
                'set layout = "flat" or bundle_depth, not both: with a depth, each folder there is an exam'
            )
        return self

    @property
    def done_dir(self) -> Path:
        return self.done or self.path / "done"

    @property
    def failed_dir(self) -> Path:
        return self.failed or self.path / "failed"

    @property
    def status_dir(self) -> Path:
        return self.status or self.path / "_STATUS"

    @property
    def own_dirs(self) -> tuple[Path, ...]:
        """The agent's own folders, in which nothing is dropped."""
        return self.done_dir, self.failed_dir, self.status_dir


class LedgerSettings(Section):
    url: str | None = None  # by default ledger.db beside the settings file
    keep_days: int = Field(90, ge=0, le=36500)  # 0: for ever

    @field_validator("url")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("sqlite:///", "postgresql://")):
            raise ValueError("must begin with sqlite:/// or postgresql://")
        return value


class SyncSettings(Section):
    workers: int = Field(4, ge=1, le=32)
    limit: Annotated[tuple[Limit, ...] | None, PlainValidator(checked_limits)] = None
    retry_first_s: float = Field(5, gt=0, le=3600)
    retry_max_s: float = Field(600, gt=0, le=86400)
    retry_for_h: float = Field(72, gt=0, le=8760)

    @model_validator(mode="after")
    def _order(self) -> SyncSettings:
        if self.retry_max_s < self.retry_first_s:
            raise ValueError("retry_max_s must not be less than retry_first_s")
        return self


class ConsoleSettings(Section):
    listen: str = "127.0.0.1:8765"  # "off": it is not served
    hosts: tuple[str, ...] = ()  # names by which this machine is called
    cert_file: Path | None = None
    key_file: Path | None = None  # None: it is in cert_file, too
    users_file: Path | None = None  # by default console-users.json beside the settings file

    @field_validator("listen")
    @classmethod
    def _address(cls, value: str) -> str:
        host, colon, port = value.rpartition(":")
        if value != "off" and not (host and colon and port.isascii() and port.isdigit() and int(port) < 65536):
            raise ValueError('must be an address and a port like 127.0.0.1:8765, or "off"')
        return value


NotifyEvent = Literal["held", "outage", "failed", "overdue", "recovered", "disk", "silent"]


class NotifySettings(Section):
    webhook: SecretStr | None = None
    wecom: SecretStr | None = None
    dingtalk: SecretStr | None = None
    dingtalk_secret: SecretStr | None = None
    feishu: SecretStr | None = None
    feishu_secret: SecretStr | None = None
    mail_to: tuple[str, ...] = ()
    mail_from: str | None = None
    mail_host: str | None = None
    mail_port: int = Field(587, ge=1, le=65535)
    mail_tls: Literal["starttls", "tls", "none"] = "starttls"
    mail_ca_file: Path | None = None
    mail_user: str | None = None
    mail_password: SecretStr | None = None
    events: tuple[NotifyEvent, ...] = ("held", "outage", "failed", "overdue", "recovered", "disk", "silent")
    group_s: float = Field(60, ge=0, le=3600)
    most_per_hour: int = Field(12, ge=1, le=3600)
    disk_low_gb: float = Field(5, gt=0, le=1_000_000)
    silent_h: float | None = Field(None, gt=0, le=200)
    working_hours: str = Field("08:00-18:00", pattern=r"^([01]\d|2[0-3]):[0-5]\d-(([01]\d|2[0-3]):[0-5]\d|24:00)$")
    working_days: tuple[Annotated[int, Field(ge=1, le=7)], ...] = (1, 2, 3, 4, 5)  # 1 is Monday
    language: Literal["zh", "en"] = "zh"

    @field_validator("webhook", "wecom", "dingtalk", "feishu")
    @classmethod
    def _url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            checked_url(value.get_secret_value())
        return value

    @model_validator(mode="after")
    def _whole(self) -> NotifySettings:
        if self.mail_to and not (self.mail_host and self.mail_from):
            raise ValueError("mail_to needs mail_host and mail_from")
        if self.mail_password and self.mail_tls == "none":
            raise ValueError("a password does not go over a line without TLS")
        if self.hours[0] >= self.hours[1]:
            raise ValueError("working_hours must begin before they end")
        return self

    @property
    def hours(self) -> tuple[float, float]:
        """When work begins and ends, in seconds since midnight."""
        begin, _, end = self.working_hours.partition("-")
        first, last = (int(one[:2]) * 3600.0 + int(one[3:]) * 60.0 for one in (begin, end))
        return first, last


class LogSettings(Section):
    dir: Path | None = None  # by default logs/ beside the settings file
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    keep_days: int = Field(30, ge=1, le=3650)


class Settings(Section):
    gateway: GatewaySettings
    drops: Annotated[tuple[DropSettings, ...], Field(min_length=1)]
    images: ImagesSettings = ImagesSettings()
    reports: ReportsSettings = ReportsSettings()
    stow: StowSettings = StowSettings()
    form: FormSettings = FormSettings()
    dimse: DimseSettings = DimseSettings()
    ledger: LedgerSettings = LedgerSettings()
    sync: SyncSettings = SyncSettings()
    console: ConsoleSettings = ConsoleSettings()
    notify: NotifySettings = NotifySettings()
    log: LogSettings = LogSettings()
    _file: Path | None = PrivateAttr(None)

    @property
    def file(self) -> Path | None:
        """Where they were read from."""
        return self._file

    @model_validator(mode="after")
    def _ways_lead_somewhere(self) -> Settings:
        if self.images.transport == "dimse" and self.dimse.host is None:
            raise ValueError('[images] transport = "dimse" needs host in [dimse]')
        if self.images.verify != "none" and self.images.transport == "none":
            raise ValueError("[images] verify asks for images that were sent, but [images] sends nothing")
        if self.images.verify == "stgcmt" and self.images.transport != "dimse":
            raise ValueError(
                '[images] verify = "stgcmt" asks the DICOM node for storage commitment: it needs transport = "dimse"'
            )
        if self.images.verify == "qido":
            self._check_studies()
        if self.reports.transport == "encapsulate" and self.images.transport == "none":
            raise ValueError('[reports] transport = "encapsulate" goes the images\' way, but [images] sends nothing')
        return self

    def _check_studies(self) -> None:
        asked = self.images.qido_url or self.stow.url
        if asked is not None and not asked.endswith("/studies"):
            raise ValueError(f"[images] verify needs qido_url: {asked} does not end in /studies")

    @model_validator(mode="after")
    def _drops_apart(self) -> Settings:
        names = [drop.name for drop in self.drops]
        if len(set(names)) != len(names):
            raise ValueError("two drops have the same name")
        for one in self.drops:
            for other in self.drops:
                if one is not other and one.path.absolute().is_relative_to(other.path.absolute()):
                    raise ValueError(f"drop {one.name!r} lies inside drop {other.name!r}")
        return self


def default_file() -> Path:
    """Where the settings are looked for: FOLDER_AGENT_CONFIG, else the platform's folder for settings."""
    if named := os.environ.get("FOLDER_AGENT_CONFIG"):
        return Path(named)
    if sys.platform == "win32":
        return Path(os.environ.get("PROGRAMDATA", r"C:\ProgramData")) / "folder-agent" / "folder-agent.toml"
    system = Path("/etc/folder-agent/folder-agent.toml")
    if os.geteuid() == 0 or system.exists():
        return system
    return Path(os.environ.get("XDG_CONFIG_HOME", Path.home() / ".config")) / "folder-agent" / "folder-agent.toml"


def load(file: Path, environment: Mapping[str, str] = os.environ, place: Path | None = None) -> Settings:
    """Read and check the settings. `place` is where the file will lie, if that is elsewhere: relative paths start
    there. Raises SettingsError with one line for every problem found."""
    table = with_environment(read_toml(file), environment)
    try:
        settings = Settings.model_validate(table)
    except ValidationError as error:
        raise SettingsError(_lines(file, error)) from None
    place = (place or file).absolute()
    made = _made_absolute(settings, place.parent)
    made._file = place
    return made


def read_toml(file: Path) -> dict[str, Any]:
    """The file as a table; a byte order mark, as Notepad writes it, is no error."""
    try:
        return tomllib.loads(file.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        raise SettingsError([f"{file}: there is no such file; `folder-agent init` writes one"]) from None
    except OSError as error:
        raise SettingsError([f"{file}: cannot be read ({error.strerror})"]) from None
    except UnicodeDecodeError:
        raise SettingsError([f"{file}: is not UTF-8 text"]) from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError([f"{file}: {error}; in Windows paths use 'single quotes'"]) from None


def with_environment(table: dict[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    """Lay FOLDER_AGENT__SECTION__KEY variables over the table; FOLDER_AGENT__DROPS__0__PATH reaches into the list."""
    for name, value in sorted(environment.items()):
        if name.upper().startswith(PREFIX):
            _put(table, name[len(PREFIX) :].lower().split("__"), value)
    return table


def _put(table: dict[str, Any], keys: list[str], value: str) -> None:
    here: Any = table
    for position, key in enumerate(keys[:-1]):
        if isinstance(here, list):
            if not key.isdigit() or int(key) >= len(here):
                raise SettingsError([f"{PREFIX}{'__'.join(keys).upper()}: there is no entry {key}"])
            here = here[int(key)]
        else:
            here = here.setdefault(key, {})
        if not isinstance(here, dict | list):
            raise SettingsError([f"{PREFIX}{'__'.join(keys).upper()}: {'.'.join(keys[: position + 1])} is no table"])
    if isinstance(here, list):
        raise SettingsError([f"{PREFIX}{'__'.join(keys).upper()}: name an entry and its key"])
    here[keys[-1]] = value


def _lines(file: Path, error: ValidationError) -> list[str]:
    """One line for each problem; a list that is "too short" only because its entries are wrong is not one."""
    found = error.errors()
    wrong_entries = {part["loc"][0] for part in found if len(part["loc"]) > 1}
    return [
        _line(file, part["loc"], part["msg"])
        for part in found
        if not (part["type"] == "too_short" and part["loc"][0] in wrong_entries)
    ]


def _line(file: Path, location: tuple[int | str, ...], message: str) -> str:
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{_as_key(part)}" for part in location).lstrip(".")
    return f"{file}: {key or 'settings'}: {message.removeprefix('Value error, ')}"


def _as_key(part: str) -> str:
    """A key as TOML writes it: one with dots or hanzi stands in quotes."""
    return part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else json.dumps(part, ensure_ascii=False)


def _made_absolute(settings: Settings, base: Path) -> Settings:
    """Relative paths mean: relative to the settings file, so that a service's working folder does not matter."""

    def at(path: Path | None) -> Path | None:
        return None if path is None else base / path

    drops = tuple(
        d.model_copy(update={"path": base / d.path, "done": at(d.done), "failed": at(d.failed)}) for d in settings.drops
    )
    gateway = settings.gateway.model_copy(
        update={"token_file": at(settings.gateway.token_file), "ca_file": at(settings.gateway.ca_file)}
    )
    dimse = settings.dimse.model_copy(
        update={name: at(getattr(settings.dimse, name)) for name in ("ca_file", "cert_file", "key_file")}
    )
    ledger = settings.ledger.model_copy(
        update={"url": settings.ledger.url or f"sqlite:///{(base / 'ledger.db').as_posix()}"}
    )
    console = settings.console.model_copy(
        update={
            "cert_file": at(settings.console.cert_file),
            "key_file": at(settings.console.key_file),
            "users_file": base / (settings.console.users_file or "console-users.json"),
        }
    )
    notify = settings.notify.model_copy(update={"mail_ca_file": at(settings.notify.mail_ca_file)})
    log = settings.log.model_copy(update={"dir": base / (settings.log.dir or "logs")})
    made = {
        "drops": drops,
        "gateway": gateway,
        "dimse": dimse,
        "ledger": ledger,
        "console": console,
        "notify": notify,
        "log": log,
    }
    return settings.model_copy(update=made)

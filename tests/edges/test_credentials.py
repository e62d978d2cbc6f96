"""Promises of the token: it is read as people write it, from where it was put, and never shown."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from folder_agent.core.errors import AgentError, Disposition
from folder_agent.edges.credentials import CREDENTIAL, TOKEN_FILE_LIMIT, find_token, reach_warning, read_token
from folder_agent.edges.secrets import forget, keep, recall, store_of
from folder_agent.settings import DropSettings, GatewaySettings, Settings, load


def settings(token: str | None = None, token_file: Path | None = None) -> Settings:
    secret = None if token is None else SecretStr(token)
    gateway = GatewaySettings(url="https://10.0.0.5", app_id="1251", token=secret, token_file=token_file)
    return Settings(gateway=gateway, drops=(DropSettings(name="ct", path=Path("drop")),))


def written(folder: Path, gateway: str = "", name: str = "folder-agent.toml") -> Settings:
    """Settings from a file, to which a store belongs."""
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_text(
        f"[gateway]\nurl = 'https://10.0.0.5'\napp_id = '1'\n{gateway}\n[[drops]]\nname = 'ct'\npath = 'drop'\n",
        encoding="utf-8",
    )
    return load(file, {})


def store(settings: Settings) -> Path:
    assert settings.file is not None
    return store_of(settings.file)


def refusal(given: Settings) -> str:
    with pytest.raises(AgentError) as caught:
        read_token(given)
    assert caught.value.problem.code == "FA-CREDENTIALS"
    assert caught.value.disposition is Disposition.HOLD
    assert caught.value.__cause__ is None
    return str(dict(caught.value.problem.values)["detail"])


@pytest.mark.parametrize("text", ["abc", " abc\n", "\ufeffabc"])
def test_the_token_of_the_settings(text: str) -> None:
    assert read_token(settings(text)) == "abc"


@pytest.mark.parametrize(
    "content",
    [
        b"abc",
        b"abc\r\n",
        b"  abc \n\n",
        b"\xef\xbb\xbfabc\r\n",
        "abc\r\n".encode("utf-16"),
        b"\xfe\xff\0a\0b\0c\0\r\0\n",
    ],
)
def test_a_token_file_as_editors_and_shells_write_it(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    assert read_token(settings(token_file=file)) == "abc"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b" \r\n", "empty"),
        (b"x" * (TOKEN_FILE_LIMIT + 1), "too large"),
        (b"a\nb", "more than one line"),
        (b"\xff\xfe\xff", "not text"),
        (b"\x80", "not text"),
    ],
)
def test_a_file_that_holds_no_token_is_told(tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    assert words in refusal(settings(token_file=file))


def test_no_token_at_all_is_told(tmp_path: Path) -> None:
    assert "neither" in refusal(settings())
    assert "empty" in refusal(settings("  "))
    assert "not there" in refusal(settings(token_file=tmp_path / "none"))
    assert "cannot be read" in refusal(settings(token_file=tmp_path))


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
@pytest.mark.parametrize(("mode", "warns"), [(0o600, False), (0o400, False), (0o644, True), (0o660, True)])
def test_a_token_file_that_others_can_read_works_and_is_warned_of(tmp_path: Path, mode: int, warns: bool) -> None:
    file = tmp_path / "token"
    file.write_text("abc", encoding="utf-8")
    os.chmod(file, mode)  # noqa: PTH101
    warning = reach_warning(find_token(settings(token_file=file)))
    assert read_token(settings(token_file=file)) == "abc"
    assert (warning is not None) == warns
    assert "abc" not in (warning or "")


def test_there_is_nothing_to_warn_of_without_a_file() -> None:
    assert reach_warning(find_token(settings("abc"))) is None


# --- the store --------------------------------------------------------------------------------------------------------


def test_the_stored_token_is_the_source_when_the_settings_name_none(tmp_path: Path) -> None:
    loaded = written(tmp_path)
    assert "none is stored" in refusal(loaded)
    keep(store(loaded), "令牌-abc 1")
    found = find_token(loaded, {})
    assert found.value == "令牌-abc 1"
    assert found.file == store(loaded)
    assert "abc" not in repr(found)
    keep(store(loaded), "second")
    assert read_token(loaded) == "second"
    assert forget(store(loaded))
    assert not forget(store(loaded))
    assert "none is stored" in refusal(loaded)
    assert [path.name for path in tmp_path.iterdir()] == ["folder-agent.toml"]


def test_what_the_settings_name_goes_first(tmp_path: Path) -> None:
    keep(store(written(tmp_path)), "stored")
    assert read_token(written(tmp_path, "token = 'inline'")) == "inline"
    (tmp_path / "t").write_text("from the file", encoding="utf-8")
    assert read_token(written(tmp_path, "token_file = 't'")) == "from the file"


def test_several_installations_do_not_mix(tmp_path: Path) -> None:
    many = [written(tmp_path / "a"), written(tmp_path / "b"), written(tmp_path / "a", name="other.toml")]
    for number, loaded in enumerate(many):
        keep(store(loaded), f"token {number}")
    assert [read_token(loaded) for loaded in many] == ["token 0", "token 1", "token 2"]


def test_systemd_gives_it_to_its_unit(tmp_path: Path) -> None:
    loaded = written(tmp_path)
    keep(store(loaded), "stored")
    unit = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert find_token(loaded, unit).value == "stored"  # this unit has other credentials
    (tmp_path / CREDENTIAL).write_text("of the unit\n", encoding="utf-8")
    assert find_token(loaded, unit).value == "of the unit"
    assert "systemd" in find_token(loaded, unit).source.en


def test_it_is_said_where_it_comes_from(tmp_path: Path) -> None:
    inline = written(tmp_path, "token = 'abc'")
    assert find_token(inline, {}).source.en == "the settings file"
    variable = {"folder_agent__gateway__token": "abc"}  # Windows' environment has no case
    assert "FOLDER_AGENT__GATEWAY__TOKEN" in find_token(inline, variable).source.en


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not what secret set writes"),
        (b"abc\n", "not what secret set writes"),
        (b"folder-agent secret 1 plain\n" + b"x" * 70000, "not what secret set writes"),
        (b"folder-agent secret 1 hsm\nabc\n", "another kind of system"),
    ],
)
def test_a_store_that_cannot_be_used_says_to_set_it_again(tmp_path: Path, content: bytes, words: str) -> None:
    loaded = written(tmp_path)
    store(loaded).write_bytes(content)
    told = refusal(loaded)
    assert words in told
    assert "secret set" in told


def test_a_damaged_store_says_to_set_it_again(tmp_path: Path) -> None:
    loaded = written(tmp_path)
    keep(store(loaded), "abc")
    whole = store(loaded).read_bytes()
    store(loaded).write_bytes(whole[:-6] + b"\xff\xfe\xfd\n")
    assert "set it again" in refusal(loaded)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_the_store_is_its_owners_alone_from_the_first_moment_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = written(tmp_path)
    modes = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda number: (modes.append(os.fstat(number).st_mode & 0o777), fsync(number)))
    before = os.umask(0)
    try:
        keep(store(loaded), "abc")
    finally:
        os.umask(before)
    assert modes[0] == 0o600
    assert store(loaded).stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(
    sys.platform == "win32" or os.name == "nt" or os.geteuid() != 0, reason="only root gives away files"
)
def test_root_stores_it_for_the_services_account(tmp_path: Path) -> None:
    loaded = written(tmp_path)
    keep(store(loaded), "abc", ("nobody",))
    assert store(loaded).owner() == "nobody"
    with pytest.raises(LookupError):
        keep(store(loaded), "def", ("no-such-account",))
    assert recall(store(loaded)) == "abc"

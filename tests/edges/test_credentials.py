"""Promises of the token: it is read as people write it, and never shown."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from folder_agent.core.errors import AgentError, Disposition
from folder_agent.edges.credentials import TOKEN_FILE_LIMIT, read_token, token_file_warning
from folder_agent.settings import GatewaySettings


def settings(token: str | None = None, token_file: Path | None = None) -> GatewaySettings:
    secret = None if token is None else SecretStr(token)
    return GatewaySettings(url="https://10.0.0.5", app_id="1251", token=secret, token_file=token_file)


def refusal(given: GatewaySettings) -> str:
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
    warning = token_file_warning(settings(token_file=file))
    assert read_token(settings(token_file=file)) == "abc"
    assert (warning is not None) == warns
    assert "abc" not in (warning or "")


def test_there_is_nothing_to_warn_of_without_a_file(tmp_path: Path) -> None:
    assert token_file_warning(settings("abc")) is None
    assert token_file_warning(settings(token_file=tmp_path / "none")) is None

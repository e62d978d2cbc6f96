"""`folder-agent secret`: the token goes in by a prompt, a pipe or a file, is used, and is seen nowhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from folder_agent.cli.app import app
from folder_agent.edges.secrets import store_of
from folder_agent.simulator import Simulator
from tests.e2e.test_doctor import TOKEN, configure, examine, trusting


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with Simulator(tmp_path_factory.mktemp("gateway")) as simulator:
        yield simulator


@pytest.fixture
def config(tmp_path: Path, gateway: Simulator) -> Path:
    return configure(tmp_path, gateway.url, trusting(gateway), None)


def secret(config: Path, *words: str, given: str | bytes = "", code: int = 0) -> str:
    """What the command says; never the token."""
    result = CliRunner().invoke(app, ["secret", *words, "--config", str(config), "--lang", "en"], input=given)
    assert result.exit_code == code, result.output
    assert TOKEN not in result.output
    return result.output


@pytest.mark.parametrize(
    "given", [TOKEN, f"{TOKEN}\r\n", f"\ufeff{TOKEN}\n".encode(), f"{TOKEN}\r\n".encode("utf-16")], ids=str
)
def test_what_a_shell_pipes_in(config: Path, given: str | bytes) -> None:
    assert "32 characters" in secret(config, "set", given=given)
    assert TOKEN not in config.read_text(encoding="utf-8")
    told = json.loads(secret(config, "status", "--json"))
    assert told["usable"]
    assert told["stored"]
    assert told["store"] == str(store_of(config))
    code, checks = examine(config)
    assert (code, checks["token"]["outcome"], checks["signature"]["outcome"]) == (0, "ok", "ok")
    assert "secret set" in checks["token"]["text"]


def test_from_a_file(config: Path, tmp_path: Path) -> None:
    (tmp_path / "token.txt").write_text(TOKEN, encoding="utf-8")
    secret(config, "set", "--file", str(tmp_path / "token.txt"))
    assert "secret set" in secret(config, "status")


def test_removed(config: Path) -> None:
    secret(config, "set", given=TOKEN)
    assert "removed" in secret(config, "remove")
    assert "no token is stored" in secret(config, "remove")
    assert not store_of(config).exists()
    assert "none is stored" in secret(config, "status", code=1)
    told = json.loads(secret(config, "status", "--json", code=1))
    assert not told["usable"]
    assert told["reason_zh"]


@pytest.mark.parametrize(("given", "words"), [("", "empty"), ("a\nb", "more than one line"), ("x" * 5000, "too large")])
def test_what_is_no_token_is_not_stored(config: Path, given: str, words: str) -> None:
    secret(config, "set", given=TOKEN)
    before = store_of(config).read_bytes()
    assert words in secret(config, "set", given=given, code=1)
    assert store_of(config).read_bytes() == before


def test_never_as_an_argument(config: Path) -> None:
    result = CliRunner().invoke(app, ["secret", "set", TOKEN, "--config", str(config)])
    assert result.exit_code == 2
    assert not store_of(config).exists()


def test_a_wrong_place_or_account_stores_nothing(config: Path, tmp_path: Path) -> None:
    assert "no such file" in secret(tmp_path / "none.toml", "set", given=TOKEN, code=2)
    assert "no account" in secret(config, "set", "--account", "no-such-account", given=TOKEN, code=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["drop", "folder-agent.toml"]


def test_it_is_said_when_the_settings_go_first(tmp_path: Path, gateway: Simulator) -> None:
    config = configure(tmp_path, gateway.url, trusting(gateway))
    assert "goes first" in secret(config, "set", given=TOKEN)
    assert "the settings file" in secret(config, "status")


@pytest.mark.skipif(sys.platform == "win32", reason="a pseudo-terminal is POSIX'")
def test_the_prompt_does_not_show_it(config: Path) -> None:
    import pty

    leader, follower = pty.openpty()
    line = [sys.executable, "-m", "folder_agent", "secret", "set", "--lang", "zh", "--config", str(config)]
    process = subprocess.Popen(line, stdin=follower, stdout=follower, stderr=follower, start_new_session=True)
    os.close(follower)
    shown = b""
    while "不显示".encode() not in shown:
        shown += os.read(leader, 1024)
    os.write(leader, f"{TOKEN}\n".encode())
    assert process.wait(30) == 0
    while True:
        try:
            shown += os.read(leader, 1024)
        except OSError:  # the other side is closed
            break
    os.close(leader)
    assert "已保存".encode() in shown
    assert TOKEN.encode() not in shown
    assert "secret set" in secret(config, "status")


def test_the_token_is_in_no_log(config: Path) -> None:
    secret(config, "set", given=TOKEN)
    (config.parent / "drop" / "A.json").write_text("{}", encoding="utf-8")
    result = CliRunner().invoke(app, ["run", "--once", "--config", str(config)])
    assert result.exit_code in (3, 4), result.output
    logs = "".join(file.read_text(encoding="utf-8") for file in (config.parent / "logs").iterdir())
    assert "is at work" in logs
    assert TOKEN not in logs

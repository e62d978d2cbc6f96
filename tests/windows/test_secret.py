"""The token on Windows: sealed by DPAPI for the machine, in a file with rights of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from folder_agent.edges.secrets import store_of
from tests.windows.lab import Session
from tests.windows.lab.assembling import windows_path

TOKEN = "0123456789abcdef0123456789abcdef"
_RIGHTS = """
import sys, win32security
rights = win32security.GetFileSecurity(sys.argv[1], win32security.DACL_SECURITY_INFORMATION).GetSecurityDescriptorDacl()
print(*(win32security.ConvertSidToStringSid(rights.GetAce(n)[2]) for n in range(rights.GetAceCount())))
"""
_DESCRIPTOR = """
import sys
from folder_agent.edges.secrets.accounts import descriptor, sid_of
print(descriptor(["NT AUTHORITY\\\\LocalService", "LocalSystem"]), sid_of(".\\\\Administrator") if sys.argv[1:] else "")
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "设置 of ct" / "folder-agent.toml"
    file.parent.mkdir()
    file.write_text(
        "[gateway]\nurl = 'https://10.0.0.5'\napp_id = '1'\n[[drops]]\nname = 'ct'\npath = 'drop'\n", encoding="utf-8"
    )
    return file


def secret(windows: Session, config: Path, *words: str, given: str = "", code: int = 0) -> str:
    line = ["-m", "folder_agent", "secret", *words, "--config", windows_path(config)]
    done = windows.run(*line, input=given)
    assert done.returncode == code, done.stdout + done.stderr
    assert TOKEN not in done.stdout + done.stderr
    return done.stdout + done.stderr


def test_stored_sealed_used_and_removed(windows: Session, config: Path) -> None:
    secret(windows, config, "set", "--lang", "en", given=TOKEN + "\r\n")
    content = store_of(config).read_bytes()
    assert content.startswith(b"folder-agent secret 1 dpapi\n")
    assert TOKEN.encode() not in content
    told = json.loads(secret(windows, config, "status", "--json"))
    assert told["usable"], told
    line = "from folder_agent import settings; from folder_agent.edges.credentials import read_token; import sys; "
    line += "print(read_token(settings.load(__import__('pathlib').Path(sys.argv[1]))))"
    assert windows.run("-c", line, windows_path(config)).stdout.strip() == TOKEN
    secret(windows, config, "set", given="another")
    assert windows.run("-c", line, windows_path(config)).stdout.strip() == "another"
    secret(windows, config, "remove")
    assert sorted(path.name for path in config.parent.iterdir()) == ["folder-agent.toml"]


def test_only_administrators_and_the_system_may_open_it(windows: Session, config: Path) -> None:
    secret(windows, config, "set", given=TOKEN)
    told = windows.run("-c", _RIGHTS, windows_path(store_of(config)))
    assert told.returncode == 0, told.stderr
    # Wine keeps rights as far as the machine's modes can say them; it adds the owner, never Everyone (S-1-1-0).
    assert "S-1-1-0" not in told.stdout.split()
    assert store_of(config).stat().st_mode & 0o007 == 0


def test_the_services_account_is_added(windows: Session) -> None:
    told = windows.run("-c", _DESCRIPTOR)
    assert told.stdout.strip() == "D:P(A;;FA;;;SY)(A;;FA;;;BA)(A;;FR;;;S-1-5-19)", told.stderr


def test_an_account_that_is_not_there(windows: Session, config: Path) -> None:
    told = secret(windows, config, "set", "--account", "HOSPITAL\\nobody", "--lang", "en", given=TOKEN, code=2)
    assert "no account" in told
    assert not store_of(config).exists()


def test_what_another_machine_sealed_is_to_be_set_again(windows: Session, config: Path) -> None:
    secret(windows, config, "set", given=TOKEN)
    head, _, sealed = store_of(config).read_bytes().partition(b"\n")
    store_of(config).write_bytes(head + b"\n" + sealed[:-60] + b"A" * 40 + sealed[-20:])
    told = secret(windows, config, "status", "--lang", "en", code=1)
    assert "another machine" in told
    assert "secret set" in told

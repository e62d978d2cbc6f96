"""`folder-agent doctor` against the real simulator over TLS, on real folders."""

from __future__ import annotations

import errno
import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from folder_agent.checkup import drops, own_side
from folder_agent.checkup.findings import guarded, ok
from folder_agent.cli.app import app
from folder_agent.edges import durable
from folder_agent.edges.ledger import open_ledger
from folder_agent.simulator import Simulator
from tests.servers.certificates import make_certificate
from tests.servers.storescp import VERIFICATION, ScriptedScp
from tests.servers.terminator import tls_in_front_of

TOKEN = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with Simulator(tmp_path_factory.mktemp("gateway")) as simulator:
        yield simulator


def configure(folder: Path, url: str, trust: str = "", token: str | None = TOKEN, more: str = "") -> Path:
    drop = folder / "drop"
    drop.mkdir(exist_ok=True)
    lines = [
        "[gateway]",
        f"url = '{url}'",
        "app_id = '1251'",
        "timeout_s = 5",
        trust,
        f"token = '{token}'" if token else "",
        "[[drops]]",
        "name = 'ct'",
        f"path = '{drop}'",
        more,
    ]
    file = folder / "folder-agent.toml"
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def examine(config: Path) -> tuple[int, dict[str, dict[str, Any]]]:
    result = CliRunner().invoke(app, ["doctor", "--json", "--config", str(config)])
    report = json.loads(result.stdout)
    assert report["ok"] == (result.exit_code == 0)
    for check in report["checks"]:
        assert check["text"]
        assert check["text_zh"]
        assert (check["outcome"] == "ok") == (check["todo"] is None) == (check["todo_zh"] is None)
    return result.exit_code, {check["name"]: check for check in report["checks"]}


def trusting(gateway: Simulator) -> str:
    return f"ca_file = '{gateway.ca_file}'"


def test_everything_in_order(tmp_path: Path, gateway: Simulator) -> None:
    code, checks = examine(configure(tmp_path, gateway.url, trusting(gateway)))
    assert code == 0
    assert {check["outcome"] for check in checks.values()} == {"ok"}, checks
    assert {"settings", "token", "gateway", "certificate", "clock", "signature", "ledger", "log"} <= set(checks)
    assert {"drop ct", "drop ct rights", "drop ct done", "drop ct failed", "drop ct notifications"} <= set(checks)
    assert gateway.fingerprint is not None
    assert gateway.fingerprint in checks["certificate"]["text"]
    assert "valid until" in checks["certificate"]["text"]


def test_leaves_nothing_but_the_shelves(tmp_path: Path, gateway: Simulator) -> None:
    config = configure(tmp_path, gateway.url, trusting(gateway))
    (tmp_path / "drop" / "A1.json").write_text("{}", encoding="utf-8")
    examine(config)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["drop", "folder-agent.toml"]
    assert sorted(path.name for path in (tmp_path / "drop").rglob("*")) == ["A1.json", "done", "failed"]


def test_nothing_is_taken_for_an_exam(tmp_path: Path, gateway: Simulator) -> None:
    before = list(gateway.received().exams)
    examine(configure(tmp_path, gateway.url, trusting(gateway)))
    assert list(gateway.received().exams) == before


def test_pinned_certificate(tmp_path: Path, gateway: Simulator) -> None:
    code, checks = examine(configure(tmp_path, gateway.url, f"fingerprint = '{gateway.fingerprint}'"))
    assert code == 0
    assert checks["certificate"]["outcome"] == "ok"


@pytest.mark.parametrize("trust", ["", f"fingerprint = 'sha256:{'0' * 64}'"], ids=["self-signed", "another pin"])
def test_untrusted_certificate_shows_what_to_pin(tmp_path: Path, gateway: Simulator, trust: str) -> None:
    requests = len(gateway.received().requests) if hasattr(gateway.received(), "requests") else None
    code, checks = examine(configure(tmp_path, gateway.url, trust))
    assert code == 1
    assert checks["certificate"]["outcome"] == "fault"
    assert f'fingerprint = "{gateway.fingerprint}"' in checks["certificate"]["todo"]
    assert "signature" not in checks  # nothing is sent to a stranger
    if requests is not None:
        assert len(gateway.received().requests) == requests


def test_wrong_token(tmp_path: Path, gateway: Simulator) -> None:
    code, checks = examine(configure(tmp_path, gateway.url, trusting(gateway), "f" * 32))
    assert code == 1
    assert checks["signature"]["outcome"] == "fault"
    assert "token" in checks["signature"]["todo"]
    assert checks["certificate"]["outcome"] == checks["clock"]["outcome"] == "ok"


def test_no_token_still_shows_the_certificate(tmp_path: Path, gateway: Simulator) -> None:
    code, checks = examine(configure(tmp_path, gateway.url, trusting(gateway), None))
    assert code == 1
    assert checks["token"]["outcome"] == "fault"
    assert str(gateway.fingerprint) in checks["certificate"]["text"]
    assert "signature" not in checks


@pytest.mark.parametrize(
    ("offset_s", "clock", "signature"), [(-60, "warning", "ok"), (200, "fault", "ok"), (900, "fault", "fault")]
)
def test_clock(tmp_path: Path, offset_s: float, clock: str, signature: str) -> None:
    with Simulator(tmp_path / "gateway", clock_offset_s=offset_s) as gateway:
        code, checks = examine(configure(tmp_path, gateway.url, trusting(gateway)))
    assert checks["clock"]["outcome"] == clock
    assert checks["signature"]["outcome"] == signature
    assert code == (1 if "fault" in (clock, signature) else 0)
    shown = [int(word) for word in checks["clock"]["text"].split() if word.isdigit()]
    assert any(abs(seconds - abs(offset_s)) <= 5 for seconds in shown)


def test_wrong_path(tmp_path: Path, gateway: Simulator) -> None:
    trust = trusting(gateway) + "\nstudy_path = '/somewhere/else'"
    code, checks = examine(configure(tmp_path, gateway.url, trust))
    assert (code, checks["signature"]["outcome"]) == (1, "fault")


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: refused, and nobody else gets it meanwhile
        code, checks = examine(configure(tmp_path, f"https://127.0.0.1:{taken.getsockname()[1]}"))
    assert (code, checks["gateway"]["outcome"]) == (1, "fault")
    assert "signature" not in checks


def node_section(port: int, more: str = "") -> str:
    return f"[images]\ntransport = 'dimse'\n[dimse]\nhost = '127.0.0.1'\nport = {port}\n{more}"


def test_the_dicom_node_is_asked_by_echo(tmp_path: Path, gateway: Simulator) -> None:
    with ScriptedScp() as scp:
        code, checks = examine(configure(tmp_path, gateway.url, trusting(gateway), more=node_section(scp.port)))
    assert (code, checks["images"]["outcome"]) == (0, "ok")
    assert f"dicom://127.0.0.1:{scp.port}/GATEWAY" in checks["images"]["text"]
    assert "not encrypted" in checks["images"]["text"]
    assert scp.proposed == [[(VERIFICATION, ["1.2.840.10008.1.2"])]]


def test_a_dicom_node_that_is_away_or_does_not_know_us_is_a_fault(tmp_path: Path, gateway: Simulator) -> None:
    with ScriptedScp(called="ANOTHER") as scp:
        config = configure(tmp_path, gateway.url, trusting(gateway), more=node_section(scp.port))
        code, checks = examine(config)
        assert (code, checks["images"]["outcome"]) == (1, "fault")
        assert "called AE title not recognised" in checks["images"]["text"]
        scp.stop()
        code, checks = examine(config)
        assert (code, checks["images"]["outcome"]) == (1, "fault")


def test_a_dicom_nodes_certificate_that_is_not_trusted_is_shown_for_pinning(tmp_path: Path, gateway: Simulator) -> None:
    own = make_certificate(tmp_path)
    with tls_in_front_of(1, own) as port:
        code, checks = examine(
            configure(tmp_path, gateway.url, trusting(gateway), more=node_section(port, "tls = true"))
        )
    assert (code, checks["images"]["outcome"]) == (1, "fault")
    assert f'fingerprint = "sha256:{own.sha256}"' in checks["images"]["todo"]


def test_a_missing_folder_stops_no_other_check(tmp_path: Path, gateway: Simulator) -> None:
    second = f"[[drops]]\nname = 'mr'\npath = '{tmp_path / 'nowhere'}'\n"
    code, checks = examine(configure(tmp_path, gateway.url, trusting(gateway), more=second))
    assert code == 1
    assert checks["drop mr"]["outcome"] == "fault"
    assert str(tmp_path / "nowhere") in checks["drop mr"]["text"]
    assert not (tmp_path / "nowhere").exists()
    assert checks["drop ct"]["outcome"] == checks["signature"]["outcome"] == "ok"


def test_shelf_that_is_a_file(tmp_path: Path, gateway: Simulator) -> None:
    config = configure(tmp_path, gateway.url, trusting(gateway))
    (tmp_path / "drop" / "failed").write_text("in the way", encoding="utf-8")
    code, checks = examine(config)
    assert (code, checks["drop ct failed"]["outcome"], checks["drop ct done"]["outcome"]) == (1, "fault", "ok")
    assert (tmp_path / "drop" / "failed").read_text(encoding="utf-8") == "in the way"


def test_folder_without_rights(tmp_path: Path, gateway: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(source: Path, target: Path) -> None:
        raise PermissionError(errno.EACCES, "denied")

    monkeypatch.setattr(durable, "rename_new", denied)
    code, checks = examine(configure(tmp_path, gateway.url, trusting(gateway)))
    assert (code, checks["drop ct rights"]["outcome"], checks["drop ct done"]["outcome"]) == (1, "fault", "fault")
    assert [path.name for path in (tmp_path / "drop").rglob("*.tmp")] == []


def test_a_share_is_scanned_and_settles_longer(
    tmp_path: Path, gateway: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drops, "is_remote", lambda path: True)
    code, checks = examine(configure(tmp_path, gateway.url, trusting(gateway), more="settle_s = 3"))
    assert (code, checks["drop ct settle"]["outcome"]) == (0, "warning")
    assert "12" in checks["drop ct settle"]["todo"]
    assert checks["drop ct notifications"]["text"] == "looked at every 30 s"


def test_shelf_on_another_volume(tmp_path: Path, gateway: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drops, "same_volume", lambda one, other: False)
    code, checks = examine(configure(tmp_path, gateway.url, trusting(gateway)))
    assert code == 0
    assert "another volume" in checks["drop ct done"]["text"]


@pytest.mark.parametrize(("free", "outcome"), [(3 * 1024**3, "warning"), (10 * 1024**2, "fault")])
def test_little_space(
    tmp_path: Path, gateway: Simulator, monkeypatch: pytest.MonkeyPatch, free: int, outcome: str
) -> None:
    monkeypatch.setattr(own_side, "free_bytes", lambda path: free)
    code, checks = examine(configure(tmp_path, gateway.url, trusting(gateway)))
    assert checks["drop ct space"]["outcome"] == checks["ledger space"]["outcome"] == outcome
    assert code == (outcome == "fault")


@pytest.mark.parametrize(("code", "outcome"), [(100001, "ok"), (1, "warning"), (0, "warning"), (20008, "fault")])
def test_what_the_gateway_answers(tmp_path: Path, gateway: Simulator, code: int, outcome: str) -> None:
    gateway.misbehave(do="code", match="/ris/study/add", code=code)
    assert examine(configure(tmp_path, gateway.url, trusting(gateway)))[1]["signature"]["outcome"] == outcome


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX modes")
def test_token_file_that_others_can_read(tmp_path: Path, gateway: Simulator) -> None:
    file = tmp_path / "token.txt"
    file.write_text(TOKEN + "\n", encoding="utf-8")
    file.chmod(0o644)
    config = configure(tmp_path, gateway.url, trusting(gateway) + "\ntoken_file = 'token.txt'", None)
    code, checks = examine(config)
    assert (code, checks["token"]["outcome"]) == (0, "warning")
    file.chmod(0o600)
    assert examine(config)[1]["token"]["outcome"] == "ok"


def test_existing_ledger_is_written_and_left_as_it_was(tmp_path: Path, gateway: Simulator) -> None:
    config = configure(tmp_path, gateway.url, trusting(gateway))
    url = f"sqlite:///{(tmp_path / 'ledger.db').as_posix()}"
    open_ledger(url).close()
    assert examine(config)[1]["ledger"]["outcome"] == "ok"
    ledger = open_ledger(url)
    assert ledger.recall("doctor") is None
    ledger.close()


def test_broken_ledger(tmp_path: Path, gateway: Simulator) -> None:
    config = configure(tmp_path, gateway.url, trusting(gateway))
    (tmp_path / "ledger.db").write_bytes(b"no database" * 100)
    code, checks = examine(config)
    assert (code, checks["ledger"]["outcome"], checks["signature"]["outcome"]) == (1, "fault", "ok")


def test_bad_settings(tmp_path: Path) -> None:
    config = configure(tmp_path, "ftp://10.0.0.5", more="colour = 'red'")
    result = CliRunner().invoke(app, ["doctor", "--json", "--config", str(config)])
    report = json.loads(result.stdout)
    assert result.exit_code == 2
    assert not report["ok"]
    assert len(report["checks"]) >= 2
    assert all(str(config) in check["text"] for check in report["checks"])


@pytest.mark.parametrize(("lang", "word"), [("zh", "故障"), ("en", "fault")])
def test_for_people(tmp_path: Path, gateway: Simulator, lang: str, word: str) -> None:
    config = configure(tmp_path, gateway.url, "", None)
    result = CliRunner().invoke(app, ["doctor", "--config", str(config), "--lang", lang])
    assert result.exit_code == 1
    assert any(line.startswith(word) and "token" in line for line in result.stdout.splitlines())
    assert TOKEN not in result.stdout


def test_a_check_that_hangs_is_left_behind() -> None:
    import threading

    never = threading.Event()

    def hanging() -> Iterator[Any]:
        yield ok("first", "好", "well")
        never.wait()

    found = guarded("share", hanging, within_s=0.2)
    never.set()
    assert [str(check.outcome) for check in found] == ["ok", "fault"]

"""Two agents by mistake: the real command, twice. The second refuses and says who is at work; nothing is sent twice."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from folder_agent import settings
from folder_agent.assembly import Assembly
from folder_agent.core.errors import AgentError
from folder_agent.edges import leases, tenancy
from folder_agent.edges.drop_folder.names import LEASE_NAME
from folder_agent.edges.holder import this_process
from folder_agent.edges.logs import LogPublisher
from folder_agent.simulator import Simulator
from tests.e2e.test_run_once import make_ct
from tests.site import Site

WITHIN_S = 60.0


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@contextmanager
def running(site: Site) -> Iterator[subprocess.Popen[str]]:
    """`folder-agent run`, once it has begun to work."""
    before = site.logs().count("is at work")
    process = site.start(
        "run", env={"FOLDER_AGENT__GATEWAY__TIMEOUT_S": "300"}
    )  # what hangs does so for the whole test
    try:
        until(lambda: site.logs().count("is at work") > before or process.poll() is not None, "it does not start")
        assert process.poll() is None, site.logs()
        yield process
    finally:
        process.kill()
        process.wait()


def refused(site: Site, holder: subprocess.Popen[str], holders: Site) -> str:
    """What the second one says in English, after a look at the rest."""
    outcome = site.command("run")
    assert outcome.returncode == 1, outcome.stderr
    assert "Traceback" not in outcome.stderr
    said = [line for line in outcome.stderr.splitlines() if line.startswith("FA-IN-USE ")]
    assert len(said) == 2, outcome.stderr
    chinese, english = said
    for line in said:
        assert socket.gethostname() in line
        assert str(holder.pid) in line
        assert str(holders.root / "folder-agent.toml") in line
    assert "正由另一个程序使用" in chinese
    return english


def beside(site: Site, name: str, gateway: Simulator, drop: Path) -> Site:
    """Another installation, with a ledger of its own."""
    return Site(site.root.parent / name, gateway, drops={"other": drop})


def test_a_second_agent_with_the_same_settings_is_refused_and_the_first_works_on(site: Site) -> None:
    with running(site) as first:
        told = refused(site, first, site)
        assert "the ledger ledger.db is in use by another agent" in told
        assert "FA-IN-USE" in site.logs()
        make_ct(site.drop / "CT1")
        until(lambda: site.states() == {"CT1": "DONE"}, "the first one does not work on")
    assert site.received().repeats == 0


@pytest.mark.parametrize("spelling", ["the same", "a link", "inside", "above"])
def test_a_second_agent_on_the_same_drop_folder_is_refused(site: Site, simulator: Simulator, spelling: str) -> None:
    if spelling == "a link" and sys.platform == "win32":
        pytest.skip("needs the right to make links")
    drops = {"the same": site.drop, "a link": site.root / "link", "inside": site.drop / "x", "above": site.root}
    if spelling == "a link":
        drops[spelling].symlink_to(site.drop)
    second = beside(site, "second", simulator, drops[spelling])
    with running(site) as first:
        assert "the drop folder other" in refused(second, first, site)
        assert not (second.root / "ledger.db").exists()  # it has touched nothing
        assert not (second.root / "ledger.db.lock").exists()
        assert not (drops["inside"] / "done").exists()


def test_after_a_kill_the_next_start_works_at_once_and_the_bundle_goes_on(site: Site, simulator: Simulator) -> None:
    simulator.misbehave(do="hang", match="/ris/study/add", after=True)
    make_ct(site.drop / "CT1")
    with running(site) as first:
        until(lambda: "ACC1" in site.received().exams, "the exam does not arrive")
        assert site.states() == {"CT1": "SENDING"}  # it waits for the answer, which does not come
        first.kill()
        first.wait()
        assert (site.root / "ledger.db.lock").exists()
        assert site.once() == 0, site.logs()
    assert site.states() == {"CT1": "DONE"}
    assert not (site.root / "ledger.db.lock").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="SIGTERM ends a process there without a word")
def test_after_an_orderly_end_the_next_start_works(site: Site) -> None:
    with running(site) as first:
        first.terminate()
        assert first.wait(WITHIN_S) == 0
    assert site.once() == 0


def test_two_agents_on_folders_of_their_own_do_not_hinder_each_other(site: Site, simulator: Simulator) -> None:
    second = beside(site, "second", simulator, site.root.parent / "another")
    with running(site), running(second):
        make_ct(site.drop / "CT1")
        make_ct(second.drop / "CT2", accessNumber="ACC1")
        until(lambda: (site.states(), second.states()) == ({"CT1": "DONE"}, {"CT2": "DONE"}), "one is hindered")


def test_commands_that_read_and_retry_work_beside_a_running_agent(site: Site, simulator: Simulator) -> None:
    simulator.misbehave(do="code", code=100001, match="/ris/study/add")
    make_ct(site.drop / "CT1")
    with running(site):
        until(lambda: "CT1" in site.shelf("failed") and not site.bundles()[0].is_open, "it does not fail")
        status = site.command("status", "--json")
        assert status.returncode == 0
        assert [one["bundle"] for one in json.loads(status.stdout)["failed"]] == ["CT1"]
        assert site.command("show", "CT1").returncode == 0
        assert site.command("doctor").returncode == 0
        again = site.command("retry", "CT1")
        assert again.returncode == 0, again.stderr
        until(lambda: "CT1" in site.shelf("done"), "the running agent does not try it again")


def test_agents_on_one_shared_ledger_may_not_share_a_drops_name(
    site: Site, simulator: Simulator, postgres_url: str
) -> None:
    site.ledger = postgres_url
    namesake = Site(site.root.parent / "namesake", simulator, ledger=postgres_url)
    neighbour = Site(
        site.root.parent / "neighbour", simulator, ledger=postgres_url, drops={"mr": site.root.parent / "mr"}
    )
    with running(site) as first:
        assert "the drop's name ct in the ledger is in use" in refused(namesake, first, site)
        with running(neighbour):
            make_ct(site.drop / "CT1")
            make_ct(neighbour.drop / "MR1", accessNumber="ACC1")
            until(lambda: site.states() == {"CT1": "DONE", "MR1": "DONE"}, "one is hindered")


def test_an_agent_on_a_shared_ledger_is_followed_at_once_by_its_next_start(
    site: Site, simulator: Simulator, postgres_url: str
) -> None:
    site.ledger = postgres_url
    simulator.misbehave(do="hang", match="/ris/study/add", after=True)
    make_ct(site.drop / "CT1")
    with running(site) as first:
        until(lambda: "ACC1" in site.received().exams, "the exam does not arrive")
        assert site.states() == {"CT1": "SENDING"}  # it waits for the answer, which does not come
        first.kill()
        first.wait()
        assert site.bundles()[0].owner is not None  # the dead one's claim, which is the next one's own
        assert site.once() == 0, site.logs()  # a claim of another name would keep it for a quarter of an hour
    assert "FA-HOLD-WAIT" not in site.logs()
    assert site.states() == {"CT1": "DONE"}


def test_an_agent_whose_lease_was_taken_over_stops_and_sends_nothing_more(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tenancy, "machine_folders", lambda: ())
    monkeypatch.setattr(leases, "BEAT_S", 0.1)
    with Assembly(settings.load(site.config(), {}), LogPublisher()) as assembly:
        (site.drop / LEASE_NAME).write_text(this_process("theirs").text(1), encoding="utf-8")
        with pytest.raises(AgentError) as lost:
            assembly.agent.run()
    assert lost.value.problem.code == "FA-HOLD-LOST"
    make_ct(site.drop / "CT1")
    assert site.received().requests == []
    assert (site.drop / LEASE_NAME).exists()  # theirs


def test_a_lease_in_the_drop_folder_is_neither_sent_nor_shelved_nor_shown(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tenancy, "machine_folders", lambda: ())
    make_ct(site.drop / "CT1")
    assert site.once() == 0
    assert site.states() == {"CT1": "DONE"}
    assert LEASE_NAME not in {path.name for path in site.root.rglob("*")}
    status = json.loads(site.command("status", "--json").stdout)
    assert status["unassigned"] == 0
    assert LEASE_NAME not in json.dumps(status)


def test_this_process_is_not_its_own_rival(site: Site) -> None:
    assert site.once() == 0
    assert site.once() == 0

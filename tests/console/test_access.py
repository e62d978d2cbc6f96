"""Who is kept out: forged hosts, origins and tokens, guessers, scripts in names; and what an open address needs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser

from folder_agent import settings
from folder_agent.cli import reading
from folder_agent.console.access import IDLE_S, LONGEST_S, Access
from folder_agent.console.accounts import Accounts
from folder_agent.console.app import language_of
from folder_agent.core.errors import AgentError
from folder_agent.simulator.certificates import ensure_certificate
from tests.console.house import House, house, invoke, running, wait_for
from tests.console.test_pages import looking
from tests.servers.storescp import ScriptedScp
from tests.site import Site

PASSWORD = "correct horse battery"
EVIL = "<img src=x onerror=alert(1)>\"'&{{7*7}}"


def token(client: httpx.Client, path: str = "/doctor") -> str:
    """The token of a form on that page."""
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', client.get(path).text)
    assert found is not None
    return found[1]


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:{port}",
        "127.0.0.1:1",
        "127.0.0.1.evil.example:{port}",
        "",
        "10.0.0.5:{port}",
        "[::1",
    ],
)
def test_a_request_for_another_host_is_refused(filled: House, host: str) -> None:
    with filled.client() as client:
        answer = client.get("/", headers={"Host": host.format(port=filled.console.port)})
    assert answer.status_code in (400, 421)
    assert "delivered" not in answer.text


@pytest.mark.parametrize(
    "host", ["127.0.0.1:{port}", "localhost:{port}", "LOCALHOST:{port}", "[::1]:{port}", "127.0.0.1"]
)
def test_names_of_this_machine_are_known(filled: House, host: str) -> None:
    with filled.client() as client:
        assert client.get("/", headers={"Host": host.format(port=filled.console.port)}).status_code == 200


@pytest.mark.parametrize("path", ["/check/doctor", "/bundles/1/refuse", "/bundles/1/reveal", "/again", "/logout"])
@pytest.mark.parametrize(
    "fault", ["no token", "another's token", "another origin", "null origin", "http of another port"]
)
def test_a_forged_form_does_nothing(filled: House, path: str, fault: str) -> None:
    with filled.client() as client, filled.client() as other:
        form = {"csrf": token(client), "sure": "yes", "reason": "forged", "bundle": "1"}
        headers = {"Origin": filled.url}
        if fault == "no token":
            del form["csrf"]
        elif fault == "another's token":
            form["csrf"] = token(other)
        else:
            forged = {"another origin": "http://evil.example", "null origin": "null"}
            headers["Origin"] = forged.get(fault, "http://127.0.0.1:1")
        before = filled.assembly.ledger.deeds()
        assert client.post(path, data=form, headers=headers).status_code == 403
        assert filled.assembly.ledger.deeds() == before


def test_a_genuine_form_is_heard(filled: House) -> None:
    with filled.client() as client:
        answer = client.post("/check/doctor", data={"csrf": token(client)}, headers={"Origin": filled.url})
    assert answer.status_code == 303


def test_acts_are_not_done_by_links(filled: House) -> None:
    with filled.client() as client:
        for path in ("/bundles/1/refuse", "/again", "/check/doctor", "/logout"):
            assert client.get(path).status_code == 405


def test_every_answer_carries_the_policy(filled: House) -> None:
    with filled.client() as client:
        for path in ("/", "/nope", "/static/console.js", "/metrics", "/bundles/99999"):
            headers = client.get(path).headers
            policy = headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert "http" not in policy
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
        cookie = client.get("/").headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie


def test_pages_have_no_inline_script_or_style(filled: House) -> None:
    with filled.client() as client:
        for path in ("/", "/bundles", "/attention", "/proof", "/doctor", "/settings", "/log", "/history", "/bundles/1"):
            text = client.get(path).text
            assert (
                re.findall(
                    r"<script(?! src=)|<style|\sstyle=|\son\w+=|javascript:|(?:src|href|action)=\"(?![/#])", text
                )
                == []
            )


HUGE = "9" * 30
ODD = (
    *(f"/bundles/{HUGE}", "/bundles/9223372036854775808", "/bundles/0", f"/api/bundles/{HUGE}", "/api/bundles/%00"),
    *(f"/bundles?after=1,{HUGE}", "/bundles?after=nan,1", "/bundles?after=-inf,-1", "/bundles?after=1e999,1"),
    *("/bundles?day=9999-12-31", "/bundles?day=0001-01-01", "/bundles?day=1969-12-31", "/api/bundles?day=9999-12-31"),
    *("/proof?day=0001-01-01", "/proof?day=x", f"/history?before={HUGE}", "/history?before=%C2%B2"),
    *(
        "/bundles?q=%00%FF%ED%A0%80",
        "/bundles?state=DONE,DONE,X&drop=%27;--",
        "/log?level=%00",
        "/api/bundles?limit=%C2%B2",
    ),
)


@pytest.mark.parametrize("path", ODD)
def test_odd_requests_are_answered_as_such(filled: House, path: str) -> None:
    before = filled.live.faults
    with filled.client() as client:
        assert client.get(path).status_code in (200, 404)
    assert filled.live.faults == before


@pytest.mark.parametrize("path", [f"/bundles/{HUGE}/refuse", "/bundles/9223372036854775808/reveal", "/again"])
def test_odd_forms_are_answered_as_such(filled: House, path: str) -> None:
    before = filled.live.faults
    with filled.client() as client:
        form = {"csrf": token(client), "sure": "yes", "reason": "x", "bundle": "9223372036854775808"}
        assert client.post(path, data=form).status_code in (200, 404)
        assert client.post(path, content="a&" * 30_000).status_code == 403
        assert client.post(path, content="a" * 100_000).status_code == 403
    assert filled.live.faults == before


@pytest.mark.parametrize("back", ["//evil.example/", "https://evil.example/", "/\\evil.example", "javascript:x"])
def test_no_redirect_leads_elsewhere(filled: House, back: str) -> None:
    with filled.client() as client:
        assert client.get("/look", params={"lang": "zh", "back": back}).headers["location"] == "/"


def test_nothing_of_other_people_becomes_a_script(browser: Browser, own: House) -> None:
    name = EVIL.replace("/", "")
    own.site.gateway.misbehave(do="code", match="/ris/study/add", times=-1, message="<script>alert(2)</script>")
    own.drop(name, accessNumber="<i onload=a()>", studyId='"><svg onload=alert(3)>')
    own.drop("<b>stray", images=2, declared=1, accessNumber="<i>")
    wait_for(lambda: len(own.assembly.ledger.latest_bundles()) == 2)
    own.until("<b>stray", "REFUSED")
    wait_for(lambda: (found := own.bundle(name)) and found.state in ("FAILED", "REFUSED", "WAITING", "HELD", "DONE"))
    numbers = [bundle.id for bundle in own.assembly.ledger.latest_bundles()]
    with looking(browser, own) as page:
        page.on("dialog", lambda dialog: pytest.fail(dialog.message))
        for path in ("/", "/bundles", "/attention", "/log", "/history", *(f"/bundles/{one}" for one in numbers)):
            page.goto(own.url + path)
            assert page.locator("main img, main b, main i, main script, main svg[onload]").count() == 0
        page.goto(f"{own.url}/bundles")
        page.fill("#q", EVIL)
        page.click("#show")
        assert page.input_value("#q") == EVIL
        assert page.locator("td.name").inner_text() == name


def test_metrics_count_what_is_stored_by_c_store(tmp_path: Path) -> None:
    with ScriptedScp() as scp:
        node = f"[images]\ntransport = 'dimse'\n[dimse]\nhost = '127.0.0.1'\nport = {scp.port}\n"
        with house(tmp_path, top='[console]\nlisten = "127.0.0.1:0"\n' + node) as made, made.client() as client:
            made.drop("by-c-store", images=2)
            wait_for(lambda: len(scp.stored) == 2)
            stored = 'folder_agent_request_seconds_count{endpoint="C-STORE",outcome="0x0000"} 2.0'
            wait_for(lambda: stored in client.get("/metrics").text)
            assert "folder_agent_requests_most 4.0" in client.get("/metrics").text


def test_metrics_name_no_patient_and_no_bundle(filled: House) -> None:
    with filled.client() as client:
        text = client.get("/metrics").text
    for line in (
        'folder_agent_bundles{state="REFUSED"}',
        "folder_agent_request_seconds_bucket",
        'endpoint="/ris/study/add"',
    ):
        assert line in text
    for word in (
        "folder_agent_sent_bytes_total",
        "folder_agent_watcher_restarts_total",
        "folder_agent_scan_seconds_count",
    ):
        assert word in text
    assert "too-many" not in text
    assert "ACC" not in text


def test_the_api_answers_with_the_documents_of_status_and_show_to_the_byte(
    filled: House, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Of the moment there is only the age of what waits longest in it."""
    moment = re.compile(rb'"oldest_waiting_s": [0-9.]+')

    def both() -> tuple[bytes, bytes] | None:
        """What the command prints and the API answers, if nothing moved on meanwhile."""
        before = moment.sub(b"", client.get("/api/status").content)
        told = filled.site.command("status", "--json", encoding=None).stdout
        assert moment.search(told)
        after = moment.sub(b"", client.get("/api/status").content)
        return (moment.sub(b"", told), after) if before == after else None

    with filled.client() as client:
        told, given = wait_for(both)
        assert told == given
        assert client.get("/api/bundles/no-such").status_code == 404
        for name in ("too-many", "waits-for-images", "CT20260301-001", "2"):
            given = client.get(f"/api/bundles/{name}").content
            capsysbinary.readouterr()
            assert reading.show(filled.site.root / "folder-agent.toml", name, as_json=True, language="en") == 0
            assert capsysbinary.readouterr().out == given


def test_the_api_leafs_through_all_bundles(filled: House) -> None:
    with filled.client() as client:
        total = client.get("/api/status").json()["bundles"]["DONE"]
        listed = client.get("/api/bundles", params={"state": "DONE", "limit": "3"}).json()
        rest = client.get("/api/bundles", params={"state": "DONE", "limit": "100", "after": listed["after"]}).json()
    every = [bundle["id"] for bundle in (*listed["bundles"], *rest["bundles"])]
    assert len(listed["bundles"]) == 3
    assert len(every) == len(set(every)) == total


# --- an address that others can reach ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Any:
    root = tmp_path_factory.mktemp("secured")
    made_for = ensure_certificate(root)
    accounts = Accounts(root / "site" / "console-users.json")
    (root / "site").mkdir()
    accounts.add("anna", PASSWORD, "operator")
    accounts.add("vera", PASSWORD, "viewer")
    top = f'[console]\nlisten = "0.0.0.0:0"\ncert_file = "{made_for.cert_file}"\nkey_file = "{made_for.key_file}"\n'
    with house(root, top=top) as made:
        made.secured = True
        yield made


def enter(client: httpx.Client, name: str, password: str = PASSWORD, **headers: str) -> httpx.Response:
    form = {"csrf": token(client, "/login"), "name": name, "password": password}
    return client.post("/login", data=form, headers={"Origin": str(client.base_url).rstrip("/"), **headers})


def test_without_an_account_nothing_is_shown(secured: House) -> None:
    with secured.client() as client:
        for path in ("/", "/bundles", "/settings", "/proof.csv", "/nope"):
            assert client.get(path).headers["location"].startswith("/login")
        for path in ("/metrics", "/api/status", "/api/bundles"):
            assert client.get(path).status_code == 401
        assert client.get("/events").status_code == 401
        assert client.get("/healthz").status_code == 200
        assert "Secure" in client.get("/login").headers["set-cookie"]


def test_a_viewer_looks_and_an_operator_acts(secured: House) -> None:
    secured.drop("guarded", images=1, declared=2)
    number = secured.until("guarded", "GATHERING").id
    with secured.client() as client:
        assert enter(client, "vera").status_code == 303
        text = client.get(f"/bundles/{number}").text
        assert "guarded" in text
        assert "act-refuse" not in text
        assert "reveal" not in text
        assert client.get("/settings").status_code == 403
        form = {"csrf": token(client, "/"), "sure": "yes", "reason": "x"}
        for act in ("refuse", "reveal", "accept"):
            answer = client.post(f"/bundles/{number}/{act}", data=form, headers={"Origin": secured.url})
            assert answer.status_code == 403
        client.post("/logout", data=form, headers={"Origin": secured.url})
        assert client.get("/").status_code == 303
    with secured.client() as client:
        assert enter(client, "anna").status_code == 303
        form = {"csrf": token(client, f"/bundles/{number}"), "sure": "yes", "reason": "x"}
        answer = client.post(f"/bundles/{number}/refuse", data=form, headers={"Origin": secured.url})
        assert answer.status_code == 200
        secured.until("guarded", "REFUSED")
        assert client.get("/settings").status_code == 200
    deeds = [(deed.who, deed.act) for deed in secured.assembly.ledger.deeds()]
    assert {("vera", "login"), ("vera", "logout"), ("anna", "login"), ("anna", "refuse")} <= set(deeds)


def test_programs_bring_name_and_password(secured: House) -> None:
    with secured.client() as client:
        assert client.get("/metrics", auth=("vera", PASSWORD)).status_code == 200
        assert client.get("/metrics", auth=("vera", "wrong password")).status_code == 401


def test_a_session_cookie_of_ones_own_making_is_none(secured: House) -> None:
    with secured.client() as client:
        client.cookies.set("console", "A" * 43, domain="127.0.0.1", path="/")
        assert client.get("/").status_code == 303
        enter(client, "vera")
        assert client.cookies["console"] != "A" * 43  # a session that somebody else has set cannot become one


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def door(tmp_path: Path) -> tuple[Access, Time]:
    accounts, clock = Accounts(tmp_path / "users.json"), Time()
    accounts.add("anna", PASSWORD, "operator")
    return Access(443, (), accounts, clock), clock


def test_a_guesser_is_locked_out_and_let_in_after_a_while(door: tuple[Access, Time]) -> None:
    access, clock = door
    for _ in range(5):
        assert access.log_in("anna", "wrong", "10.0.0.9") is None
    assert access.log_in("anna", PASSWORD, "10.0.0.8") is None
    clock.now += 301
    assert access.log_in("anna", PASSWORD, "10.0.0.8") is not None


def test_a_place_that_guesses_many_names_is_locked_out(door: tuple[Access, Time]) -> None:
    access, _ = door
    for number in range(20):
        assert access.log_in(f"user{number}", "wrong", "10.0.0.9") is None
    assert access.log_in("anna", PASSWORD, "10.0.0.9") is None
    assert access.log_in("anna", PASSWORD, "10.0.0.8") is not None


@pytest.mark.parametrize(("step", "lasts"), [(IDLE_S - 1, LONGEST_S), (IDLE_S + 1, 0)])
def test_a_session_ends(door: tuple[Access, Time], step: float, lasts: float) -> None:
    access, clock = door
    cookie = access.log_in("anna", PASSWORD, "10.0.0.8")
    began = clock.now
    while access.visitor(cookie, "10.0.0.8")[0].who is not None:
        clock.now += step
    assert lasts <= clock.now - began <= lasts + step


def test_an_account_that_is_taken_away_ends_its_sessions(door: tuple[Access, Time], tmp_path: Path) -> None:
    access, _ = door
    cookie = access.log_in("anna", PASSWORD, "10.0.0.8")
    (tmp_path / "users.json").write_text("{}", encoding="utf-8")
    assert access.visitor(cookie, "10.0.0.8")[0].who is None


def test_passwords_are_kept_as_hashes_for_the_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "users.json"
    Accounts(file).add("anna", PASSWORD, "viewer")
    assert PASSWORD not in file.read_text(encoding="utf-8")
    assert "$argon2id$" in file.read_text(encoding="utf-8")
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("missing", ["certificate", "account", "usable certificate"])
def test_an_open_address_without_security_is_not_listened_at(site: Site, missing: str) -> None:
    made_for = ensure_certificate(site.root)
    certificate, key = made_for.cert_file, made_for.key_file
    if missing == "usable certificate":
        certificate = site.root / "nothing.pem"
    if missing != "account":
        Accounts(site.root / "console-users.json").add("anna", PASSWORD, "operator")
    site.top = '[console]\nlisten = "0.0.0.0:0"\n'
    if missing != "certificate":
        site.top += f'cert_file = "{certificate}"\nkey_file = "{key}"\n'
    with pytest.raises(AgentError) as error, running(site):
        pass
    assert error.value.problem.code == ("FA-CONSOLE-ACCOUNT" if missing == "account" else "FA-CONSOLE-TLS")


def test_a_taken_port_is_a_warning_and_exams_go_on(own: House, tmp_path: Path) -> None:
    from tests.site import dicom, sidecar

    other = Site(tmp_path / "other", own.site.gateway, top=f'[console]\nlisten = "127.0.0.1:{own.console.port}"\n')
    dicom(other.drop / "A" / "IM1.dcm")
    sidecar(other.drop / "A" / "exam.json", imageCnt=1)
    agent = other.start("run")
    try:
        wait_for(lambda: (other.root / "ledger.db").exists() and other.states() == {"A": "DONE"}, 30)
        assert "FA-CONSOLE-PORT" in other.logs()
    finally:
        agent.terminate()
        agent.wait(20)


def test_run_serves_and_ends_with_open_pages(own: House, tmp_path: Path) -> None:
    """The real command: pages while it runs, and a page that listens does not keep it from ending."""
    other = Site(tmp_path / "other", own.site.gateway, top='[console]\nlisten = "127.0.0.1:0"\n')
    agent = other.start("run")
    try:
        found = wait_for(lambda: re.search(r"console at (http://127\.0\.0\.1:\d+)/", other.logs()), 30)
        with httpx.Client(base_url=found[1], trust_env=False) as client, client.stream("GET", "/events") as events:
            assert events.status_code == 200
            assert client.get("/healthz").json()["ok"] is True
            agent.terminate()
            assert agent.wait(20) == 0
    finally:
        agent.kill()


def test_add_user_reads_the_password_and_keeps_the_account(site: Site) -> None:
    told = site.command("console", "add-user", "anna", "--role", "operator", input=f"{PASSWORD}\n")
    assert told.returncode == 0, told.stderr
    loaded = settings.load(site.config(), {})
    assert loaded.console.users_file is not None
    assert Accounts(loaded.console.users_file).check("anna", PASSWORD) == "operator"
    assert invoke(site, "console", "add-user", "anna", input="short\n").exit_code == 1
    assert invoke(site, "console", "add-user", "an na", input=f"{PASSWORD}\n").exit_code == 1


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("en-US,en", "en"),
        ("de,fr;q=0.5", "en"),
        ("en;q=0.2,zh-TW;q=0.7", "zh"),
        ("", "en"),
    ],
)
def test_the_language_is_the_browsers(accepted: str, language: str) -> None:
    assert language_of(None, accepted) == language
    assert language_of("zh", accepted) == "zh"


def test_settings_refuse_what_is_no_address(tmp_path: Path) -> None:
    for listen in ("8765", "127.0.0.1:", "127.0.0.1:99999", ":8765", ""):
        file = tmp_path / "a.toml"
        file.write_text(
            f'[gateway]\nurl = "https://10.0.0.5"\napp_id = "1"\n[console]\nlisten = "{listen}"\n'
            '[[drops]]\nname = "ct"\npath = "drop"\n'
        )
        with pytest.raises(settings.SettingsError):
            settings.load(file, {})

"""It calls you: who hears what, in which form, how often, and that no patient is in it."""

from __future__ import annotations

import base64
import email
import email.policy
import hashlib
import hmac
import json
import socketserver
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import SecretStr

from folder_agent.core.errors import problem
from folder_agent.core.lifecycle import BundleState
from folder_agent.core.ports import Lasting
from folder_agent.core.records import BundleRecord
from folder_agent.edges.calling import Caller, Channel, Message, NotSent, channels_of, test_message
from folder_agent.edges.calling.caller import worked_s
from folder_agent.edges.calling.channels import dingtalk_signature, feishu_signature
from folder_agent.edges.disks import Disks
from folder_agent.settings import NotifySettings
from tests.console.house import PATIENT, invoke, wait_for
from tests.site import Site, dicom, sidecar

SECRET = SecretStr("SEC123")
MONDAY = datetime(2026, 11, 23, 9, 0).timestamp()  # noqa: DTZ001 - the wall time of the place
H = 3600.0


class Listener:
    """A robot: keeps what it is sent, and answers as it is told."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Any]] = []
        self.status, self.answer = 200, {"errcode": 0, "code": 0}
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                listener.heard.append((self.path, json.loads(body)))
                content = json.dumps(listener.answer).encode()
                self.send_response(listener.status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    yield made
    made.server.shutdown()
    made.server.server_close()


class Clock:
    now = MONDAY

    def __call__(self) -> float:
        return self.now


class Heard(list[Message]):
    """A channel that keeps everything; fails as often as it is told."""

    failures = 0

    def channel(self) -> Channel:
        def send(message: Message) -> None:
            if self.failures:
                self.failures -= 1
                raise NotSent("not now")
            self.append(message)

        return Channel("heard", send)


def caller(heard: Heard, clock: Clock, **more: Any) -> Caller:
    return Caller(NotifySettings(language="en", group_s=0, **more), [heard.channel()], clock)


def bundle(state: BundleState, name: str = PATIENT) -> BundleRecord:
    reasons = (problem("FA-MISMATCH", f"{PATIENT}/a.dcm", {"ours": PATIENT, "theirs": "B"}, field="patientId"),)
    return BundleRecord(7, "ct", f"{name}/", name, state, 1.0, 1.0, reasons=reasons)


def kinds(heard: Heard) -> list[list[str]]:
    return [[event.kind for event in message.events] for message in heard]


def test_each_kind_of_event_is_told_once() -> None:
    heard, clock = Heard(), Clock()
    calls = caller(heard, clock)
    calls.notice(problem("FA-GW-AUTH", status=401, message="no"), lasting=Lasting(1.0, 2.0, 214))
    calls.notice(problem("FA-GW-UNREACHABLE", detail="refused"))
    calls.notice(problem("FA-GW-UNREACHABLE", detail="refused"), is_over=True)
    calls.notice(problem("FA-OVERDUE", "ct#7", hours=24))
    calls.notice(problem("FA-LOW-SPACE", needed=5))
    calls.notice(problem("FA-WATCHER", detail="x"))  # not for people
    calls.transition(bundle(BundleState.FAILED), "SENDING", "fail", None)
    calls.transition(bundle(BundleState.FAILED), "FAILED", "aim", None)
    calls.transition(bundle(BundleState.DONE), "COMMITTED", "shelve", None)
    calls.send_all()
    assert kinds(heard) == [["held", "outage", "recovered", "overdue", "disk", "failed"]]
    text = heard[0].text("en")
    assert "214 wait, nothing is lost" in text
    assert "[ct]" in text


@pytest.mark.parametrize("language", ["zh", "en"])
def test_no_message_holds_anything_of_a_patient(language: Any) -> None:
    heard = Heard()
    calls = caller(heard, Clock())
    calls.transition(bundle(BundleState.REFUSED), "GATHERING", "refuse", (PATIENT,))
    calls.notice(problem("FA-GW-AUTH", PATIENT, {"x": PATIENT}, status=401, message=PATIENT))
    calls.notice(problem("FA-OPERATOR-REFUSED", None, {"why": PATIENT}, who="anna"))
    calls.send_all()
    everything = (
        heard[0].text(language) + heard[0].subject(language) + json.dumps(heard[0].as_json(), ensure_ascii=False)
    )
    assert PATIENT not in everything


def test_many_of_one_kind_are_one_line() -> None:
    heard = Heard()
    calls = caller(heard, Clock())
    for _ in range(500):
        calls.transition(bundle(BundleState.FAILED), "SENDING", "fail", None)
    calls.send_all()
    assert heard[0].text("en").count("\n") == 1
    assert "× 500" in heard[0].text("en")


def test_no_more_messages_go_out_than_are_wanted() -> None:
    heard, clock = Heard(), Clock()
    calls = caller(heard, clock, most_per_hour=2)
    for _ in range(2):
        assert calls.pause_s() == 0
        calls.transition(bundle(BundleState.FAILED), "SENDING", "fail", None)
        calls.send_all()
    clock.now += 600
    assert calls.pause_s() == 3000
    clock.now += 3001
    assert calls.pause_s() == 0


def test_only_wanted_events_are_told() -> None:
    heard = Heard()
    calls = caller(heard, Clock(), events=("held",))
    calls.transition(bundle(BundleState.FAILED), "SENDING", "fail", None)
    calls.send_all()
    assert heard == []


def test_the_thread_sends_and_a_channel_that_fails_stops_nobody() -> None:
    heard, other = Heard(), Heard()
    other.failures = 99
    calls = Caller(NotifySettings(group_s=0), [other.channel(), heard.channel()])
    calls.start()
    calls.notice(problem("FA-LOW-SPACE", needed=5))
    wait_for(lambda: heard, 10)
    calls.stop()
    assert kinds(heard) == [["disk"]]


def test_without_channels_nothing_is_kept() -> None:
    calls = Caller(NotifySettings())
    calls.start()
    for _ in range(10):
        calls.notice(problem("FA-LOW-SPACE", needed=5))
    assert not calls._events
    calls.stop()


def test_a_silent_pacs_is_told_once_and_that_it_is_over() -> None:
    heard, clock = Heard(), Clock()
    calls = caller(heard, clock, silent_h=3)
    for hours in (1, 2, 2.9, 3.1, 4, 30):
        clock.now = MONDAY + hours * H
        calls.listen()
    calls.transition(bundle(BundleState.GATHERING), "", "open", None)
    calls.listen()
    calls.send_all()
    assert kinds(heard) == [["silent", "recovered"]]
    assert "3 working hours" in heard[0].text("en")
    assert "drops exams again" in heard[0].text("en")
    assert "又有新的投放" in heard[0].text("zh")


def test_a_disk_that_is_low_is_told_once_with_the_others_and_that_it_is_over(tmp_path: Path) -> None:
    heard, free = Heard(), {"a": 9e9, "b": 9e9}
    calls = caller(heard, Clock())

    def left(place: Path) -> int:
        if place.name not in free:
            raise OSError
        return int(free[place.name])

    disks = Disks({"ct": tmp_path / "a", "ledger": tmp_path / "b"}, 5e9, calls, left)
    for now in ({"a": 4e9}, {}, {"b": 1.26e9}, {"a": 5.5e9, "b": 5.5e9}, {"a": 6e9}, {"b": 6e9}, {}):
        free |= now
        disks.look()
    free.clear()  # out of reach: that is told by others
    disks.look()
    calls.send_all()
    assert kinds(heard) == [["disk", "disk", "recovered"]]
    assert "1.3 GB on the disk of ct, ledger" in heard[0].text("en")
    told = [dict(event.problem.values) for event in heard[0].events if event.problem]
    assert [one["where"] for one in told] == ["ct", "ct, ledger", "ct, ledger"]


def test_a_running_agent_tells_of_a_disk_that_is_low(site: Site, listener: Listener) -> None:
    site.top = f'[notify]\nwebhook = "{listener.url}/a"\ngroup_s = 0.2\ndisk_low_gb = 1000000\n'
    agent = site.start("run")
    try:
        wait_for(lambda: listener.heard, 40)
    finally:
        agent.terminate()
        agent.wait(20)
    [event] = listener.heard[0][1]["events"]
    assert (event["kind"], event["code"]) == ("disk", "FA-DISK-LOW")


@pytest.mark.parametrize(
    ("since", "until", "hours"),
    [
        (MONDAY, MONDAY + H, 1),
        (MONDAY, MONDAY + 24 * H, 10),  # from nine to six, and an hour of the next day
        (MONDAY - 9 * H, MONDAY, 1),  # before eight nobody works
        (MONDAY - 3 * 24 * H, MONDAY, 9 + 1),  # Friday from nine on, no weekend, and an hour
        (MONDAY, MONDAY - H, 0),
    ],
)
def test_only_working_hours_count(since: float, until: float, hours: float) -> None:
    assert worked_s(since, until, NotifySettings()) == hours * H


# --- channels ---------------------------------------------------------------------------------------------------------


def test_each_robot_gets_its_form(listener: Listener) -> None:
    urls = {name: SecretStr(f"{listener.url}/{name}?key=1") for name in ("webhook", "wecom", "dingtalk", "feishu")}
    given = NotifySettings(**urls, dingtalk_secret=SECRET, feishu_secret=SECRET, language="en")  # type: ignore[arg-type]
    for channel in channels_of(given):
        channel.send(test_message(MONDAY))
    heard = {urlsplit(path).path[1:]: (path, body) for path, body in listener.heard}
    assert heard["webhook"][1]["events"][0]["kind"] == "test"
    assert heard["wecom"][1]["msgtype"] == "text"
    assert "test message" in heard["wecom"][1]["text"]["content"]
    asked = parse_qs(urlsplit(heard["dingtalk"][0]).query)
    assert asked["key"] == ["1"]
    signed = hmac.new(b"SEC123", f"{asked['timestamp'][0]}\nSEC123".encode(), hashlib.sha256).digest()
    assert base64.b64decode(asked["sign"][0]) == signed
    body = heard["feishu"][1]
    assert body["msg_type"] == "text"
    wanted = hmac.new(f"{body['timestamp']}\nSEC123".encode(), b"", hashlib.sha256).digest()
    assert base64.b64decode(body["sign"]) == wanted


def test_signatures_are_those_of_the_robots_manuals() -> None:
    assert dingtalk_signature(SecretStr("this is secret"), 1.0).startswith("&timestamp=1000&sign=")
    assert feishu_signature(SecretStr("demo"), 1599360473.7)["timestamp"] == "1599360473"


@pytest.mark.parametrize(
    ("status", "answer", "why"),
    [
        (500, {}, "HTTP 500"),
        (302, {}, "HTTP 302"),
        (200, {"errcode": 310000}, "errcode 310000"),
        (200, [], "not understood"),
    ],
)
def test_a_refusal_is_told_without_the_address(listener: Listener, status: int, answer: Any, why: str) -> None:
    listener.status, listener.answer = status, answer
    [channel] = channels_of(NotifySettings(wecom=SecretStr(f"{listener.url}/?key=geheim")))
    with pytest.raises(NotSent, match=why) as error:
        channel.send(test_message(MONDAY))
    assert "geheim" not in str(error.value)


def test_nobody_there_is_told(listener: Listener) -> None:
    listener.server.shutdown()
    listener.server.server_close()
    [channel] = channels_of(NotifySettings(webhook=SecretStr(f"{listener.url}/geheim")))
    with pytest.raises(NotSent, match="ConnectError"):
        channel.send(test_message(MONDAY))


class Postbox(socketserver.StreamRequestHandler):
    """As much of SMTP (RFC 5321) as one mail takes."""

    mails: list[str] = []  # noqa: RUF012 - one postbox a test

    def handle(self) -> None:
        self.wfile.write(b"220 box\r\n")
        content: list[str] | None = None
        for raw in self.rfile:
            line = raw.decode().rstrip("\r\n")
            if content is not None:
                if line == ".":
                    self.mails.append("\n".join(content))
                    content = None
                    self.wfile.write(b"250 ok\r\n")
                else:
                    content.append(line)
            elif line.upper() == "DATA":
                content = []
                self.wfile.write(b"354 go on\r\n")
            elif line.upper() == "QUIT":
                self.wfile.write(b"221 bye\r\n")
                return
            else:
                self.wfile.write(b"250 ok\r\n")


def test_a_mail_arrives_and_one_without_tls_is_not_sent_by_itself() -> None:
    Postbox.mails = []
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Postbox) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        plain = {
            "mail_to": ("it@h.local", "x@h.local"),
            "mail_from": "a@h.local",
            "mail_host": "127.0.0.1",
            "mail_port": port,
        }
        [channel] = channels_of(NotifySettings(**plain, mail_tls="none"))  # type: ignore[arg-type]
        channel.send(test_message(MONDAY))
        [secured] = channels_of(NotifySettings(**plain))  # type: ignore[arg-type]
        with pytest.raises(NotSent, match="SMTPNotSupportedError"):
            secured.send(test_message(MONDAY))
        server.shutdown()
    [text] = Postbox.mails
    mail = email.message_from_string(text, policy=email.policy.default)
    assert mail["To"] == "it@h.local, x@h.local"
    assert abs(mail["Date"].datetime.timestamp() - time.time()) < 3600
    assert mail["Message-ID"].endswith("@h.local>")
    assert mail["Auto-Submitted"] == "auto-generated"
    assert text.isascii()
    assert "测试消息" in mail["Subject"]
    assert "测试消息" in mail.get_content()


@pytest.mark.parametrize(
    "wrong",
    [
        {"webhook": "http://10.0.0.5/x"},
        {"mail_to": ("a@b",)},
        {"mail_password": "x", "mail_tls": "none"},
        {"working_hours": "18:00-08:00"},
        {"working_hours": "8-18"},
        {"working_days": (0,)},
        {"events": ("everything",)},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: Any) -> None:
    with pytest.raises(ValueError):
        NotifySettings(**wrong)


def test_notify_test_tells_of_each_channel(site: Site, listener: Listener) -> None:
    assert invoke(site, "notify-test").exit_code == 1
    site.top = f'[notify]\nwebhook = "{listener.url}/a"\nfeishu = "{listener.url}/b"\n'
    told = site.command("notify-test", "--lang", "en")
    assert (told.returncode, told.stdout) == (0, "webhook: sent\nfeishu: sent\n")
    listener.status = 503
    refused = invoke(site, "notify-test", "--lang", "en")
    assert refused.exit_code == 1
    assert "HTTP 503" in refused.stderr


def test_a_running_agent_calls_and_names_nobody(site: Site, listener: Listener) -> None:
    site.top = f'[notify]\nwebhook = "{listener.url}/a"\ngroup_s = 0.2\n'
    dicom(site.drop / PATIENT / "IM1.dcm")
    dicom(site.drop / PATIENT / "IM2.dcm")
    sidecar(site.drop / PATIENT / "exam.json", imageCnt=1, patientName=PATIENT)
    agent = site.start("run")
    try:
        wait_for(lambda: listener.heard, 40)
    finally:
        agent.terminate()
        agent.wait(20)
    [event] = listener.heard[0][1]["events"]
    assert (event["kind"], event["code"], event["drop"]) == ("failed", "FA-TOO-MANY", "ct")
    assert PATIENT not in json.dumps(listener.heard, ensure_ascii=False)

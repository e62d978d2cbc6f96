"""Promises of the proof by QIDO-RS: every page is read, what comes late is waited for, and silence is no proof."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from folder_agent.core.errors import AgentError, Disposition
from folder_agent.edges.gateway import qido
from folder_agent.edges.gateway.proof import Instance
from folder_agent.edges.gateway.qido import Qido
from tests.servers.kit import linked, serving
from tests.servers.scripted import Answer, ScriptedServer, answer

JSON = "Content-Type: application/dicom+json"


def page(*uids: str, status: int = 200) -> bytes:
    found = [{"00080018": {"vr": "UI", "Value": [uid]}, "00080016": {"vr": "UI", "Value": ["1.2"]}} for uid in uids]
    return answer(status, json.dumps(found).encode(), JSON)


NONE = answer(204)


def wanted(*uids: str, study: str = "1.2") -> list[Instance]:
    return [Instance(study, "1.2.840", uid) for uid in uids]


def ask(instances: Sequence[Instance], *answers: Answer) -> tuple[frozenset[str], ScriptedServer]:
    with serving(*answers) as server, linked() as link:
        return Qido(link, server.url + "/dicom-web/studies", lambda: False).lacking(instances), server


def failing(*answers: Answer) -> AgentError:
    with pytest.raises(AgentError) as caught:
        ask(wanted("1.1"), *answers)
    return caught.value


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qido, "_PAUSES_S", (0.0, 0.0))


def test_what_is_there_is_not_lacking_and_the_request_is_as_the_standard_says() -> None:
    lacking, server = ask(wanted("1.1", "1.2"), page("1.2", "1.1", "1.3"))
    assert lacking == frozenset()
    assert [seen.line for seen in server.requests] == [
        "GET /dicom-web/studies/1.2/instances?limit=1000&offset=0 HTTP/1.1"
    ]
    assert server.requests[0].header("Accept") == "application/dicom+json"
    assert server.requests[0].header("signature")


def test_pages_are_read_on_until_all_is_found_or_nothing_new_comes() -> None:
    lacking, server = ask(wanted("1.4"), page("1.1", "1.2"), page("1.3"), page("1.4"), page("1.5"))
    assert lacking == frozenset()
    assert [seen.path.rpartition("=")[2] for seen in server.requests] == ["0", "2", "3"]


def test_a_server_that_gives_the_same_again_whatever_is_asked_is_not_asked_for_ever() -> None:
    lacking, server = ask(wanted("1.1", "9.9"), page("1.1"))
    assert lacking == {"9.9"}
    assert len(server.requests) == 6  # twice in each of three looks


@pytest.mark.parametrize("nothing", [NONE, page(), page(status=404), answer(404, b"<html>")])
def test_a_study_that_is_not_there_lacks_everything(nothing: bytes) -> None:
    assert ask(wanted("1.1", "1.2"), nothing)[0] == {"1.1", "1.2"}


def test_what_comes_a_little_later_is_waited_for() -> None:
    lacking, server = ask(wanted("1.1", "1.2"), page("1.1"), NONE, NONE, page("1.1", "1.2"))
    assert lacking == frozenset()
    assert len(server.requests) == 4


def test_each_study_is_asked_for() -> None:
    lacking, server = ask([*wanted("1.1"), *wanted("2.1", study="3/4")], page("1.1"), page("2.1"))
    assert lacking == frozenset()
    assert server.requests[1].path == "/dicom-web/studies/3%2F4/instances?limit=1000&offset=0"


@pytest.mark.parametrize(
    ("said", "code", "detail"),
    [
        (answer(500), "FA-GW-UNPROVEN", "HTTP 500"),
        (answer(400), "FA-GW-UNPROVEN", "HTTP 400"),
        (answer(405), "FA-GW-UNPROVEN", "HTTP 405"),
        (answer(429, b"", "Retry-After: 7"), "FA-GW-UNPROVEN", "HTTP 429"),
        (answer(200, b""), "FA-GW-UNPROVEN", "the answer is empty"),
        (answer(200, b"<html></html>"), "FA-GW-UNPROVEN", "the answer is no DICOM JSON"),
        (answer(200, b"[1]"), "FA-GW-UNPROVEN", "the answer is no DICOM JSON"),
        (answer(200, {"code": 10005}), "FA-GW-UNPROVEN", "HTTP 200"),
        (answer(401), "FA-GW-AUTH", None),
        (answer(200, {"code": 20008}), "FA-GW-PERMISSION", None),
    ],
)
def test_what_is_no_answer_proves_nothing_and_is_no_exams_fault(said: bytes, code: str, detail: str | None) -> None:
    error = failing(said)
    assert error.problem.code == code
    assert error.disposition is (Disposition.RETRY if code == "FA-GW-UNPROVEN" else Disposition.HOLD)
    assert detail is None or dict(error.problem.values)["detail"] == detail
    if b"Retry-After" in said:
        assert dict(error.problem.values)["retry_after_s"] == 7


def test_a_stop_ends_the_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qido, "_PAUSES_S", (60.0,))
    asked: list[int] = []
    with serving(NONE) as server, linked() as link:
        asking = Qido(link, server.url, lambda: len(server.requests) > 0 and not asked.append(1))
        with pytest.raises(AgentError) as caught:
            asking.lacking(wanted("1.1"))
    assert caught.value.problem.code == "FA-STOPPING"

"""Promises of what an answer means: `code` alone decides, and a wrong token or clock never fails an exam."""

from __future__ import annotations

import json
from email.utils import formatdate

import pytest

from folder_agent.core.catalogue import CATALOGUE, explain
from folder_agent.core.errors import AgentError, Disposition
from folder_agent.edges.gateway.answers import MESSAGE_LIMIT, clean, judge, told
from folder_agent.edges.gateway.client import Reply
from folder_agent.edges.gateway.study_add import StudyAdd
from tests.servers.kit import StillClock, linked, serving
from tests.servers.scripted import answer


def reply(code: object, status: int = 200, message: object = "m", offset_s: float | None = 0.0) -> Reply:
    return Reply(status, json.dumps({"code": code, "message": message}).encode(), offset_s)


def verdict(given: Reply) -> tuple[str, Disposition]:
    with pytest.raises(AgentError) as caught:
        judge(given)
    assert explain(caught.value.problem, "zh")
    assert "?" not in explain(caught.value.problem, "en")
    return caught.value.problem.code, caught.value.disposition


PUBLISHED = [
    (1, "FA-GW-AGAIN", Disposition.RETRY),
    (100001, "FA-GW-REFUSED", Disposition.REFUSE),
    (100002, "FA-GW-AGAIN", Disposition.RETRY),
    (100003, "FA-GW-AGAIN", Disposition.RETRY),
    (100004, "FA-GW-REFUSED", Disposition.REFUSE),
    (10001, "FA-GW-AGAIN", Disposition.RETRY),
    (10002, "FA-GW-AGAIN", Disposition.RETRY),
    (10003, "FA-GW-REFUSED", Disposition.REFUSE),
    (10005, "FA-GW-REFUSED", Disposition.REFUSE),
    (20008, "FA-GW-PERMISSION", Disposition.HOLD),
    (20010, "FA-GW-PERMISSION", Disposition.HOLD),
    (99999, "FA-GW-AGAIN", Disposition.RETRY),  # unknown
    (-1, "FA-GW-AGAIN", Disposition.RETRY),
]


@pytest.mark.parametrize("status", [200, 201, 302, 400, 404, 409, 413, 422, 500, 503])
@pytest.mark.parametrize(("code", "problem", "disposition"), PUBLISHED)
def test_the_code_decides_whatever_the_status(code: int, problem: str, disposition: Disposition, status: int) -> None:
    assert verdict(reply(code, status)) == (problem, disposition)


@pytest.mark.parametrize("status", [200, 404, 500])
@pytest.mark.parametrize(("code", "is_duplicate"), [(0, False), ("0", False), (10004, True)])
def test_success_and_duplicate_are_success(code: object, is_duplicate: bool, status: int) -> None:
    found = judge(reply(code, status, "成功"))
    assert (found.duplicate, found.message) == (is_duplicate, "成功")


@pytest.mark.parametrize("code", [0, 1, 100001, 10004])
@pytest.mark.parametrize("status", [401, 403])
def test_401_and_403_hold_whatever_the_code(code: int, status: int) -> None:
    assert verdict(reply(code, status)) == ("FA-GW-AUTH", Disposition.HOLD)


@pytest.mark.parametrize(
    ("status", "problem", "disposition"),
    [
        (200, "FA-GW-ANSWER", Disposition.RETRY),
        (204, "FA-GW-ANSWER", Disposition.RETRY),
        (301, "FA-GW-REDIRECT", Disposition.HOLD),
        (307, "FA-GW-REDIRECT", Disposition.HOLD),
        (400, "FA-GW-HTTP", Disposition.RETRY),
        (401, "FA-GW-AUTH", Disposition.HOLD),
        (403, "FA-GW-AUTH", Disposition.HOLD),
        (404, "FA-GW-ADDRESS", Disposition.HOLD),
        (405, "FA-GW-ADDRESS", Disposition.HOLD),
        (407, "FA-GW-AUTH", Disposition.HOLD),
        (408, "FA-GW-HTTP", Disposition.RETRY),
        (413, "FA-GW-TOO-LARGE", Disposition.REFUSE),
        (415, "FA-GW-HTTP", Disposition.RETRY),
        (422, "FA-GW-HTTP", Disposition.RETRY),
        (429, "FA-GW-HTTP", Disposition.RETRY),
        (500, "FA-GW-HTTP", Disposition.RETRY),
        (503, "FA-GW-HTTP", Disposition.RETRY),
        (999, "FA-GW-HTTP", Disposition.RETRY),
    ],
)
@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'"0"', b"{}", b"{", b"\xff\xfe", b"[" * 100000])
def test_without_a_code_the_status_decides(status: int, problem: str, disposition: Disposition, body: bytes) -> None:
    assert verdict(Reply(status, body)) == (problem, disposition)


@pytest.mark.parametrize("code", [True, False, None, 0.0, "", "zero", "0x0", [], {}, "1" * 5000])
def test_what_is_no_code_is_not_success(code: object) -> None:
    assert verdict(reply(code)) == ("FA-GW-ANSWER", Disposition.RETRY)


@pytest.mark.parametrize("offset_s", [121, -121, 3600.4])
@pytest.mark.parametrize("given", [("x", 401), ("x", 403), (20008, 200), (20010, 500), (424242, 200)])
def test_a_clock_that_is_off_is_said_to_be(given: tuple[object, int], offset_s: float) -> None:
    with pytest.raises(AgentError) as caught:
        judge(reply(given[0], given[1], offset_s=offset_s))
    assert caught.value.problem.code == "FA-GW-CLOCK"
    assert dict(caught.value.problem.values)["seconds"] == round(abs(offset_s))
    assert caught.value.disposition is Disposition.HOLD


def test_a_clock_within_tolerance_is_not_blamed() -> None:
    assert verdict(reply("x", 401, offset_s=119))[0] == "FA-GW-AUTH"
    assert verdict(reply(20008, 200, "timestamp", offset_s=5))[0] == "FA-GW-PERMISSION"
    assert verdict(reply(100001, 200, offset_s=999))[0] == "FA-GW-REFUSED"


def test_a_message_about_the_timestamp_counts_where_no_date_disproves_it() -> None:
    with pytest.raises(AgentError) as caught:
        judge(reply(20008, 200, "时间戳已过期", offset_s=None))
    assert caught.value.problem.code == "FA-GW-CLOCK"


@pytest.mark.parametrize("message", ["签名错误", "Signature mismatch", "invalid TOKEN"])
def test_an_unpublished_code_that_speaks_of_the_signature_holds(message: str) -> None:
    assert verdict(reply(20001, 200, message)) == ("FA-GW-PERMISSION", Disposition.HOLD)


@pytest.mark.parametrize("status", [401, 403, 407])
@pytest.mark.parametrize("challenge", ['Basic realm="Hospital proxy"', "Negotiate", "NTLM", "bearer", "DIGEST x=1"])
def test_a_sign_in_that_is_not_ours_is_told_by_its_name(challenge: str, status: int) -> None:
    with pytest.raises(AgentError) as caught:
        judge(Reply(status, b"", 0.0, challenge=challenge))
    assert (caught.value.problem.code, caught.value.disposition) == ("FA-GW-SIGN-IN", Disposition.HOLD)
    assert challenge in explain(caught.value.problem, "en")


def test_a_challenge_of_the_gateways_own_is_about_the_signature() -> None:
    assert verdict(Reply(401, b"", 0.0, challenge="HMAC-SHA256"))[0] == "FA-GW-AUTH"
    assert verdict(Reply(401, b"", 600.0, challenge="Basic"))[0] == "FA-GW-CLOCK"


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("https://10.0.0.6:8443/ris/file/add/P7001?x=1", "https://10.0.0.6:8443/ris/…"),
        ("https://10.0.0.6/", "https://10.0.0.6/"),
        ("https://10.0.0.6/login", "https://10.0.0.6/login"),
        (None, "…"),
        ("x", "…"),
    ],
)
def test_where_a_redirect_leads_is_told_without_what_may_name_an_exam(location: str | None, shown: str) -> None:
    with pytest.raises(AgentError) as caught:
        judge(Reply(302, b"", location=location))
    assert dict(caught.value.problem.values) == {"status": 302, "where": shown}


def test_the_gateways_message_is_private() -> None:
    for given in (reply(100001, 200, "张三 P1"), reply(1, 401, "张三 P1")):
        with pytest.raises(AgentError) as caught:
            judge(given)
        assert "张三" in explain(caught.value.problem, "zh")
        assert "张三" not in explain(caught.value.problem.masked(), "zh") + str(caught.value)


@pytest.mark.parametrize(
    ("message", "clean_one"),
    [
        ("a\r\nb\0c\x1b[31m", "abc[31m"),
        ("\u202eabc\u2028", "abc"),
        ("\ud800x", "x"),
        ("字" * 2000, "字" * MESSAGE_LIMIT),
        (" 成功 ", "成功"),
    ],
)
def test_messages_are_short_and_without_control_characters(message: str, clean_one: str) -> None:
    assert clean(message) == clean_one


def test_a_message_that_is_no_text_is_left_out() -> None:
    found = told(b'{"code": 0, "message": {"a": 1}}')
    assert found is not None
    assert found.message == ""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_the_encodings_of_the_field_are_read(encoding: str) -> None:
    found = told('{"code": "100001", "message": "参数错误"}'.encode(encoding))
    assert found is not None
    assert (found.code, found.message) == (100001, "参数错误")


def test_retry_after_is_handed_on() -> None:
    for given in (Reply(503, b"", None, 7), Reply(200, b'{"code": 1}', None, 7)):
        with pytest.raises(AgentError) as caught:
            judge(given)
        assert dict(caught.value.problem.values)["retry_after_s"] == 7


def test_every_code_is_in_the_catalogue() -> None:
    from folder_agent.edges.gateway import answers, faults, stow_verdicts

    tables = [answers.CODES, answers.STATUSES, answers.STATUS_CLASSES, stow_verdicts.FAILURE_REASONS]
    used = {code for table in tables for code in table.values() if code} | {code for code, _ in faults.FAULTS.values()}
    assert used <= CATALOGUE.keys()


def test_the_exam_travels_as_utf_8_json() -> None:
    with serving(answer(200, {"code": 0, "message": "成功"})) as server, linked() as link:
        study_add = StudyAdd(link, server.url + "/ris/study/add")
        found = study_add.commit({"patientName": "张三", "imageCnt": 2})
    seen = server.requests[0]
    assert (found.code, found.message, found.duplicate) == (0, "成功", False)
    assert seen.line == "POST /ris/study/add HTTP/1.1"
    assert seen.header("Content-Type") == "application/json"
    assert seen.body == '{"patientName":"张三","imageCnt":2}'.encode()


def test_the_date_header_of_a_real_answer_tells_the_clock() -> None:
    clock = StillClock()
    date = f"Date: {formatdate(clock.time - 300, usegmt=True)}"
    with serving(answer(401, b"", date)) as server, linked(clock) as link, pytest.raises(AgentError) as caught:
        StudyAdd(link, server.url).commit({})
    assert caught.value.problem.code == "FA-GW-CLOCK"
    assert dict(caught.value.problem.values) == {"seconds": 300}

"""Promises of storage commitment: what the node does not commit itself to is lacking, whichever way it says so."""

from __future__ import annotations

import contextlib
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pynetdicom import dsutils
from pynetdicom.pdu import A_ASSOCIATE_RQ

from folder_agent.core.errors import AgentError, Disposition
from folder_agent.core.planning import _UNPROVEN
from folder_agent.edges.gateway.dimse import (
    accepting,
    awaited,
    check_offered,
    commitment,
    messages,
    place_of,
    pledges,
)
from folder_agent.edges.gateway.dimse.awaited import Awaited
from folder_agent.edges.gateway.dimse.commitment import Commitment
from folder_agent.edges.gateway.dimse.contexts import Pair
from folder_agent.edges.gateway.dimse.node import Place
from folder_agent.edges.gateway.dimse.pledges import Report
from folder_agent.edges.gateway.dimse.talk import Incoming, Message
from folder_agent.edges.gateway.proof import Instance
from folder_agent.edges.gateway.trust import make_context
from folder_agent.edges.meters import Meters
from folder_agent.settings import DimseSettings
from tests.servers.certificates import make_certificate
from tests.servers.committing import PUSH, CommittingScp, report
from tests.servers.orthanc import free_port
from tests.servers.storescp import CT, EXPLICIT, ScriptedScp

ONE, TWO, THREE = (Instance("1.2.3", CT, f"1.2.3.{number}") for number in (1, 2, 3))
ALL = [ONE, TWO, THREE]


def has(scp: ScriptedScp, *instances: Instance) -> None:
    """They have been stored there."""
    scp.stored.extend(SimpleNamespace(SOPInstanceUID=one.sop_instance) for one in instances)  # type: ignore[misc]


@contextlib.contextmanager
def asking(scp: ScriptedScp, port: int | None = None, wait_s: float = 10) -> Iterator[Commitment]:
    made = Commitment(scp.node(), None if port is None else Place(port), wait_s, lambda: False)
    yield made
    made.close()


def failing(asker: Commitment, *wanted: Instance) -> AgentError:
    with pytest.raises(AgentError) as caught:
        asker.lacking(wanted or ALL)
    return caught.value


def is_listening(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def soon(happens: Callable[[], bool]) -> bool:
    end = time.monotonic() + 10
    while not (found := happens()) and time.monotonic() < end:
        time.sleep(0.05)
    return found


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.mark.parametrize("is_called", [False, True])
def test_what_is_committed_is_there_and_what_fails_is_lacking(is_called: bool, port: int) -> None:
    with CommittingScp(calls=port if is_called else None) as scp:
        has(scp, ONE, THREE)
        with asking(scp, port if is_called else None) as asker:
            assert asker.lacking(ALL) == {TWO.sop_instance}
            has(scp, TWO)
            assert asker.lacking(ALL) == frozenset()
    assert scp.answers == [0, 0]
    [first, second] = scp.asked
    assert first.TransactionUID != second.TransactionUID
    named = [(item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID) for item in first.ReferencedSOPSequence]
    assert named == [(one.sop_class, one.sop_instance) for one in ALL]


@pytest.mark.parametrize("has_role", [True, False])
@pytest.mark.parametrize("syntaxes", [(EXPLICIT,), ("1.2.840.10008.1.2",)])
def test_a_call_is_understood_in_either_encoding_with_or_without_its_role(
    port: int, has_role: bool, syntaxes: tuple[str, ...]
) -> None:
    with CommittingScp(calls=port, has_role=has_role, syntaxes=syntaxes, reports_first=True) as scp:
        has(scp, ONE, THREE)
        with asking(scp, port) as asker:
            assert asker.lacking(ALL) == {TWO.sop_instance}
    assert scp.answers == [0]


def test_the_report_may_come_on_the_same_association_where_a_call_was_awaited(port: int) -> None:
    with CommittingScp() as scp, asking(scp, port) as asker:
        has(scp, *ALL)
        assert asker.lacking(ALL) == frozenset()


def test_a_call_may_come_when_the_association_has_long_been_released(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commitment, "_SAME_S", 0.0)
    with CommittingScp(is_silent=True) as scp, asking(scp, port) as asker:
        has(scp, *ALL)
        told: list[frozenset[str]] = []
        asks = threading.Thread(target=lambda: told.append(asker.lacking(ALL)))
        asks.start()
        assert soon(lambda: bool(scp.held_back) and not scp._server.active_associations)
        assert scp.call(scp.held_back[0], port) == 0
        asks.join(10)
        assert told == [frozenset()]


def test_the_port_is_open_only_while_a_report_is_awaited(port: int) -> None:
    with CommittingScp(calls=port) as scp, asking(scp, port) as asker:
        has(scp, *ALL)
        assert not is_listening(port)
        asker.lacking(ALL)
        assert soon(lambda: not is_listening(port))
        asker.lacking(ALL)  # and is opened again
    assert scp.answers == [0, 0]


def test_no_report_in_time_is_told_and_one_that_comes_late_answers_the_next_time(port: int) -> None:
    with CommittingScp(is_silent=True) as scp, asking(scp, port, 0.2) as asker:
        has(scp, ONE, TWO)
        error = failing(asker)
        assert (error.problem.code, error.disposition) == ("FA-GW-NO-REPORT", Disposition.RETRY)
        assert dict(error.problem.values) == {"seconds": 1, "detail": "nobody has called"}
        assert error.problem.code in _UNPROVEN  # so that nothing fails for it, however long it lasts
        assert is_listening(port)
        assert scp.call(scp.held_back[0], port) == 0
        assert asker.lacking(ALL) == {THREE.sop_instance}
        assert len(scp.asked) == 1
        failing(asker)
        assert len(scp.asked) == 2
        failing(asker)
        assert len(scp.asked) == 2  # it is not asked for again and again


def test_what_was_not_reported_for_long_is_asked_for_again(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(awaited, "ASK_AGAIN_S", 0.0)
    with CommittingScp(is_silent=True) as scp, asking(scp, port, 0.1) as asker:
        failing(asker)
        failing(asker)
        assert len(scp.asked) == 2


def test_who_asks_again_soon_waits_for_nothing(port: int) -> None:
    with CommittingScp(is_silent=True) as scp:
        with asking(scp, port, 0.1) as asker:
            failing(asker)
            asker._wait_s = 600
            began = time.monotonic()
            assert dict(failing(asker).problem.values)["detail"] == "nobody has called"
            assert time.monotonic() - began < 60
            asker._wait_s = 0.1
            failing(asker, ONE)
        assert len(scp.asked) == 2  # for others, it is


def test_a_late_report_on_an_earlier_request_counts_only_if_nothing_lacks(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(awaited, "ASK_AGAIN_S", 0.0)
    with CommittingScp(is_silent=True) as scp, asking(scp, port, 0.2) as asker:
        failing(asker)
        has(scp, ONE, TWO, THREE)
        failing(asker)
        nothing, everything = scp.held_back
        assert scp.call(nothing, port) == 0  # it was asked for; but all has been sent again since
        failing(asker)
        assert scp.call(everything, port) == 0
        assert asker.lacking(ALL) == frozenset()


def test_without_a_port_nothing_can_come_later() -> None:
    with CommittingScp(is_silent=True) as scp, asking(scp, None, 0.2) as asker:
        error = failing(asker)
        assert dict(error.problem.values)["detail"] == "nothing on the same association"
        assert asker._awaited.is_empty()


def test_a_node_that_leaves_without_a_word_has_not_reported() -> None:
    with CommittingScp(leaves=True) as scp, asking(scp, None, 30) as asker:
        began = time.monotonic()
        error = failing(asker)
        told = error.problem.code, dict(error.problem.values)["detail"]
        if sys.platform == "win32" and error.problem.code == "FA-GW-BROKEN":
            pass  # there, a connection that is cut takes along what has been said and not been heard yet
        else:
            assert told == ("FA-GW-NO-REPORT", "the association was ended")
        assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    ("changes", "answer", "remark"),
    [
        ({"as_title": "STRANGER"}, "rejected", "refused a call from 'STRANGER' to 'FOLDERAGENT'"),
        ({"to_title": "ANOTHER"}, "rejected", "refused a call from 'GATEWAY' to 'ANOTHER'"),
    ],
)
def test_who_calls_by_other_titles_is_rejected_and_that_is_told(
    port: int, changes: dict[str, str], answer: str, remark: str
) -> None:
    scripted = CommittingScp(calls=port, reports_first=True, **changes)  # type: ignore[arg-type]
    with scripted as scp, asking(scp, port, 0.1) as asker:
        has(scp, *ALL)
        assert dict(failing(asker).problem.values)["detail"] == remark
    assert scp.answers == [answer]


def test_a_report_on_a_transaction_of_nobodys_is_refused_and_commits_nothing(port: int) -> None:
    with CommittingScp(is_silent=True) as scp, asking(scp, port, 0.1) as asker:
        failing(asker)
        pairs = [(one.sop_class, one.sop_instance) for one in ALL]
        assert scp.call(report("1.2.3.4.5", pairs), port) == 0x0110
        assert asker._awaited.last_remark() == "a report on another transaction"
        assert failing(asker).problem.code == "FA-GW-NO-REPORT"


def test_what_is_not_named_in_a_report_is_not_committed(port: int) -> None:
    with CommittingScp(is_silent=True) as scp, asking(scp, port, 0.2) as asker:
        failing(asker)
        scp.call(report(scp.asked[0].TransactionUID, [(ONE.sop_class, ONE.sop_instance)]), port)
        assert asker.lacking(ALL) == {TWO.sop_instance, THREE.sop_instance}


@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\r\n\r\n", b"\1\0\xff\xff\xff\xff", b"\1\0\0\0\0\4abcd", b""])
def test_who_calls_and_speaks_no_dicom_disturbs_nobody(port: int, said: bytes) -> None:
    with CommittingScp(is_silent=True) as scp, asking(scp, port, 0.2) as asker:
        has(scp, *ALL)
        failing(asker)
        with socket.create_connection(("127.0.0.1", port), 5) as stranger:
            stranger.sendall(said)
            assert scp.call(scp.held_back[0], port) == 0
        assert asker.lacking(ALL) == frozenset()


@pytest.mark.parametrize(
    ("status", "code", "disposition"),
    [
        (0x0110, "FA-GW-UNPROVEN", Disposition.RETRY),
        (0x0213, "FA-GW-UNPROVEN", Disposition.RETRY),
        (0x0124, "FA-GW-PERMISSION", Disposition.HOLD),
    ],
)
def test_a_request_that_is_not_taken_is_told_as_such(status: int, code: str, disposition: Disposition) -> None:
    with CommittingScp(action_status=status) as scp, asking(scp) as asker:
        error = failing(asker)
        assert (error.problem.code, error.disposition) == (code, disposition)
        assert f"0x{status:04X}" in str(error.problem.values)
        assert asker._awaited.is_empty()


def test_each_request_is_counted() -> None:
    meters = Meters()
    with CommittingScp() as scp:
        has(scp, *ALL)
        asker = Commitment(scp.node(), None, 10, lambda: False, meters)
        asker.lacking(ALL)
        scp.action_status = 0x0110
        failing(asker)
    assert {key: times.count for key, times in meters.requests().items()} == {
        ("N-ACTION", "0x0000"): 1,
        ("N-ACTION", "0x0110"): 1,
    }


def test_a_node_that_does_not_offer_it_holds() -> None:
    with ScriptedScp() as scp, asking(scp) as asker:
        error = failing(asker)
        assert (error.problem.code, error.disposition) == ("FA-GW-NO-COMMITMENT", Disposition.HOLD)
        with pytest.raises(AgentError):
            check_offered(scp.node())
    with CommittingScp() as scp:
        check_offered(scp.node())


def test_a_port_that_is_taken_holds_and_says_so() -> None:
    with CommittingScp() as scp, socket.create_server(("", 0)) as other:
        port = other.getsockname()[1]
        with asking(scp, port) as asker:
            error = failing(asker)
            assert (error.problem.code, error.disposition) == ("FA-COMMITMENT-PORT", Disposition.HOLD)
            assert dict(error.problem.values) == {"port": port, "detail": "address in use"}
            other.close()
            has(scp, *ALL)
            assert asker.lacking(ALL) == frozenset()


def test_many_may_ask_at_once(port: int) -> None:
    with CommittingScp(calls=port, most_associations=50) as scp, asking(scp, port) as asker:
        instances = [Instance("1.2", CT, f"1.2.{number}") for number in range(8)]
        has(scp, *instances[::2])
        told: dict[int, frozenset[str]] = {}
        threads = [
            threading.Thread(target=lambda n=n: told.__setitem__(n, asker.lacking([instances[n]]))) for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert {number for number, lacking in told.items() if not lacking} == {0, 2, 4, 6}
    assert len(told) == 8


def test_a_large_study_is_asked_for_and_reported_on_whole(port: int) -> None:
    many = [Instance("1.2", CT, f"1.2.840.99.1234567890.{number}") for number in range(2000)]
    with CommittingScp(calls=port) as scp, asking(scp, port, 60) as asker:
        has(scp, *many[:30])
        scp.keeps = lambda uid: uid != many[7].sop_instance  # type: ignore[method-assign]
        assert asker.lacking(many) == {many[7].sop_instance}


def test_a_stop_ends_the_waiting(port: int) -> None:
    stop = threading.Event()
    with CommittingScp(is_silent=True) as scp:
        asker = Commitment(scp.node(), Place(port), 600, stop.is_set)
        threading.Thread(target=lambda: soon(lambda: bool(scp.asked)) and stop.set()).start()
        assert failing(asker).problem.code == "FA-STOPPING"
        asker.close()
        assert not is_listening(port)


def test_the_call_is_encrypted_where_the_images_are(tmp_path: Path, port: int) -> None:
    ours = make_certificate(tmp_path, "ours")
    settings = DimseSettings(host="h", tls=True, cert_file=ours.pem, commitment_port=port)
    trusting = make_context(ours.public)
    assert isinstance(trusting, ssl.SSLContext)
    with CommittingScp(is_silent=True) as scp:
        has(scp, *ALL)
        asker = Commitment(replace(scp.node(), context=None), place_of(settings), 0.2, lambda: False)
        failing(asker)
        assert scp.call(scp.held_back[0], port) == "no association"  # in plain
        scp.tls = trusting
        assert scp.call(scp.held_back[0], port) == 0
        assert asker.lacking(ALL) == frozenset()
        asker.close()


Found = TypeVar("Found")
VALID = A_ASSOCIATE_RQ()
VALID.decode(messages.associate_request("FOLDERAGENT", "GATEWAY", {1: Pair(PUSH, EXPLICIT), 3: Pair(CT, EXPLICIT)}))
ASKED = VALID.encode()


@st.composite
def spoilt(draw: st.DrawFn, whole: bytes) -> bytes:
    """Some bytes of it are others, and some may be missing at its end."""
    content = bytearray(whole)
    for place, value in draw(st.lists(st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255)), max_size=8)):
        content[place] = value
    return bytes(content[: draw(st.integers(0, len(whole)))]) if draw(st.booleans()) else bytes(content)


def or_told(read: Callable[[], Found]) -> Found | None:
    """What it finds, or None for our own word on what makes no sense."""
    try:
        return read()
    except AgentError as error:
        assert error.problem.code == "FA-GW-ANSWER"
        return None


@given(st.binary(max_size=200) | spoilt(ASKED))
def test_any_request_for_an_association_is_understood_or_told(pdu: bytes) -> None:
    found = or_told(lambda: accepting.proposal(pdu))
    if found is not None:
        assert found.most_bytes == 0 or found.most_bytes >= 8
        or_told(lambda: accepting.acceptance(found))


def test_what_we_accept_is_what_was_asked_for_and_nothing_else() -> None:
    found = accepting.proposal(ASKED)
    assert (found.called, found.calling, found.taken()) == ("FOLDERAGENT", "GATEWAY", {1: EXPLICIT})
    contexts = {1: Pair(PUSH, EXPLICIT), 3: Pair(CT, EXPLICIT)}
    agreed = messages.agreement(accepting.acceptance(found), contexts)
    assert agreed.contexts == {contexts[1]: 1}
    assert agreed.refusals == {contexts[3]: "kind of object not supported"}


REPORT = dsutils.encode(report("1.2.9", [(CT, "1.2.3"), (CT, "1.2.4")], [(CT, "1.2.5")]), True, True) or b""


@given(st.binary(max_size=200) | spoilt(REPORT), st.booleans())
def test_any_report_is_understood_or_told(data: bytes, is_implicit: bool) -> None:
    or_told(lambda: pledges.report_of(Message(1, Dataset(), data), is_implicit=is_implicit))


def test_a_report_commits_what_it_references_and_not_what_failed() -> None:
    found = pledges.report_of(Message(1, Dataset(), REPORT), is_implicit=True)
    assert found == Report("1.2.9", frozenset({"1.2.3", "1.2.4"}))


@given(st.lists(st.binary(max_size=100) | spoilt(messages.command_pdus(1, pledges.action_request(1), 0)), max_size=4))
def test_any_pdus_are_messages_or_told(pdus: list[bytes]) -> None:
    incoming = Incoming()
    or_told(lambda: [message.number("Status") for pdu in pdus for message in incoming.take(pdu)])


def test_a_report_that_nobody_takes_is_not_kept_for_ever() -> None:
    now = 0.0
    pending, wanted = Awaited(lambda: now), frozenset({"1.2"})
    for later, found in ((awaited.KEEP_S - 1, wanted), (awaited.KEEP_S, None)):
        assert pending.note(Report(pending.ask(wanted), wanted))
        now += later
        assert pending.take(wanted) == found
    assert not pending._committed


def test_what_is_never_reported_is_not_awaited_for_ever() -> None:
    now = 0.0
    pending = Awaited(lambda: now)
    transaction = pending.ask(frozenset({"1.2"}))
    assert not pending.is_empty()
    now = awaited.KEEP_S
    assert pending.is_empty()
    assert not pending.note(Report(transaction, frozenset({"1.2"})))

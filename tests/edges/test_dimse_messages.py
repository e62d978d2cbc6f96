"""Promises of the bytes of an association: contexts within bounds, fragments of even length, a last one that waits."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ

from folder_agent.core.errors import AgentError
from folder_agent.core.records import FileKind, Outgoing, Stamp
from folder_agent.edges.gateway.dimse import messages
from folder_agent.edges.gateway.dimse.contexts import Pair, numbered, pair_of, voyages
from tests.servers.storescp import CT, EXPLICIT

MR = "1.2.840.10008.5.1.4.1.1.4"


def file(number: int, sop_class: str = CT, syntax: str = EXPLICIT) -> Outgoing:
    return Outgoing(
        number, f"{number}.dcm", Path("x"), Stamp(1, 1, 1), FileKind.DICOM, sop_class, f"1.{number}", syntax
    )


def fragments_of(pdus: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Context, control bits and content of each fragment of P-DATA-TF PDUs with one value each."""
    while pdus:
        kind, _, length, inner, context, bits = struct.unpack_from(">BBLLBB", pdus)
        assert (kind, inner) == (messages.DATA, length - 4)
        yield context, bits, pdus[12 : 6 + length]
        pdus = pdus[6 + length :]


def test_each_pair_of_class_and_syntax_has_one_context_with_an_odd_number() -> None:
    files = [file(1), file(2, MR), file(3), file(4, CT, "1.2.840.10008.1.2.4.70")]
    assert numbered(files) == {1: pair_of(files[0]), 3: pair_of(files[1]), 5: pair_of(files[3])}


def test_more_than_128_pairs_take_several_associations_that_lose_no_file_and_keep_the_order() -> None:
    files = [file(number, f"1.2.3.{number % 300}") for number in range(900)]
    made = voyages(files)
    assert [len(numbered(voyage)) for voyage in made] == [128, 128, 44]
    assert sorted(one.file_id for voyage in made for one in voyage) == list(range(900))
    assert all([one.file_id for one in voyage] == sorted(one.file_id for one in voyage) for voyage in made)


def test_no_files_no_association() -> None:
    assert voyages([]) == []


def test_a_request_names_both_ends_and_what_is_proposed() -> None:
    contexts = {1: Pair(CT, EXPLICIT), 3: Pair(MR, "1.2.840.113619.5.2")}  # the second is a private syntax
    found = A_ASSOCIATE_RQ()
    found.decode(messages.associate_request("GATEWAY", "FOLDERAGENT", contexts))
    assert (found.called_ae_title.strip(), found.calling_ae_title.strip()) == ("GATEWAY", "FOLDERAGENT")
    proposed = [(c.context_id, c.abstract_syntax, c.transfer_syntax) for c in found.presentation_context]
    assert proposed == [(number, pair.sop_class, [pair.syntax]) for number, pair in contexts.items()]


def accepting(results: dict[int, tuple[int, str]], most: int = 16384) -> bytes:
    """An A-ASSOCIATE-AC with these results (PS3.8 9.3.3)."""
    items = struct.pack(">BBH", 0x10, 0, 21) + b"1.2.840.10008.3.1.1.1"
    for number, (result, syntax) in results.items():
        inner = struct.pack(">BBH", 0x40, 0, len(syntax)) + syntax.encode()
        items += struct.pack(">BBHBBBB", 0x21, 0, 4 + len(inner), number, 0, result, 0) + inner
    length = struct.pack(">BBHL", 0x51, 0, 4, most)
    items += struct.pack(">BBH", 0x50, 0, len(length)) + length
    body = struct.pack(">HH", 1, 0) + b"GATEWAY".ljust(16) + b"FOLDERAGENT".ljust(16) + bytes(32) + items
    return struct.pack(">BBL", 2, 0, len(body)) + body


def test_an_agreement_says_what_is_taken_and_why_the_rest_is_not() -> None:
    contexts = {number: Pair(f"1.2.{number}", EXPLICIT) for number in (1, 3, 5, 7)}
    answer = accepting({1: (0, EXPLICIT), 3: (3, EXPLICIT), 5: (0, "1.2.840.10008.1.2")})
    A_ASSOCIATE_AC().decode(answer)
    found = messages.agreement(answer, contexts)
    assert found.contexts == {contexts[1]: 1}
    assert found.refusals == {
        contexts[3]: "kind of object not supported",
        contexts[5]: "another encoding chosen",
        contexts[7]: "?",
    }


@pytest.mark.parametrize("answer", [b"", b"\2\0\0\0\0\4abcd", accepting({1: (0, EXPLICIT)}, most=7)])
def test_an_answer_that_makes_no_sense_is_told_as_one(answer: bytes) -> None:
    with pytest.raises(AgentError) as caught:
        messages.agreement(answer, {1: Pair(CT, EXPLICIT)})
    assert caught.value.problem.code == "FA-GW-ANSWER"


@given(st.lists(st.binary(max_size=300), max_size=12), st.integers(8, 200) | st.just(0))
def test_a_data_set_arrives_as_it_was_in_fragments_that_fit(blocks: list[bytes], most: int) -> None:
    content = b"".join(blocks)
    found = list(fragments_of(b"".join(messages.data_pdus(5, blocks, most))))
    assert b"".join(part for _, _, part in found) == content
    assert [bits for _, bits, _ in found] == [0] * (len(found) - 1) + [2]
    assert {context for context, _, _ in found} == {5}
    assert all(len(part) % 2 == 0 for _, _, part in found[:-1])
    assert not most or all(len(part) + 6 <= most for _, _, part in found)


def test_the_last_fragment_is_not_made_before_the_file_has_ended_well() -> None:
    def breaking() -> Iterator[bytes]:
        yield bytes(1000)
        raise OSError

    sent = bytearray()
    with pytest.raises(OSError):
        for part in messages.data_pdus(1, breaking(), 106):
            sent += part
    assert {bits for _, bits, _ in fragments_of(bytes(sent))} == {0}


def test_uids_of_old_devices_travel_as_they_are() -> None:
    command = messages.store_request(7, CT, "1.2.840.0113.007")  # a leading zero, which PS3.5 forbids
    assert b"1.2.840.0113.007" in command
    assert struct.unpack_from("<HHLL", command) == (0, 0, 4, len(command) - 12)


@pytest.mark.parametrize("command", [b"", b"x" * 50, messages.echo_request(1)])
def test_a_response_that_makes_no_sense_is_told_as_one(command: bytes) -> None:
    with pytest.raises(AgentError) as caught:
        messages.response(command)
    assert caught.value.problem.code == "FA-GW-ANSWER"

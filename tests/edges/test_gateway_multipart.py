"""Promises of a streamed body: every byte is the file's, the length is known before, the digest is of what was sent."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from python_multipart import MultipartParser
from python_multipart.multipart import parse_options_header

from folder_agent.core.errors import AgentError, Disposition
from folder_agent.core.records import Acceptance, FileKind, Outgoing, Stamp
from folder_agent.edges.clock import SystemClock
from folder_agent.edges.drop_folder.opening import open_for_reading
from folder_agent.edges.gateway.allowance import Allowance
from folder_agent.edges.gateway.form import form_pieces
from folder_agent.edges.gateway.multipart import BLOCK, JOINED, Body, Piece, Reading, length_of, new_boundary
from folder_agent.edges.gateway.stow import Stow, stow_pieces
from folder_agent.edges.paths import stamp_of
from tests.marks import WRITERS_GET_IN
from tests.servers.kit import linked, outgoing, serving
from tests.servers.scripted import answer

READING = Reading(open_for_reading, lambda: False)


def sent(pieces: list[Piece], reading: Reading = READING) -> tuple[bytes, Body]:
    body = Body(pieces, reading, lambda count: None)
    return b"".join(body), body


def parts_of(content: bytes, boundary: str) -> list[tuple[dict[str, str], bytes]]:
    """What a receiver makes of it: headers (lower-case names) and content of each part."""
    parts: list[tuple[dict[str, str], bytes]] = []
    headers: dict[str, str] = {}
    name, value, data = bytearray(), bytearray(), bytearray()

    def header_end() -> None:
        headers[name.decode().lower()] = value.decode()
        name.clear()
        value.clear()

    def part_end() -> None:
        parts.append((dict(headers), bytes(data)))
        headers.clear()
        data.clear()

    callbacks = {
        "on_header_field": lambda raw, start, end: name.extend(raw[start:end]),
        "on_header_value": lambda raw, start, end: value.extend(raw[start:end]),
        "on_header_end": header_end,
        "on_part_data": lambda raw, start, end: data.extend(raw[start:end]),
        "on_part_end": part_end,
    }
    parser = MultipartParser(boundary, callbacks)  # type: ignore[arg-type]
    parser.write(content)
    parser.finalize()
    return parts


contents = st.binary(max_size=300) | st.sampled_from([b"\r\n--", b"--folder-agent-", b"\r\n", b"\0" * (BLOCK + 7)])


@settings(max_examples=60, deadline=None)
@given(st.lists(contents, min_size=1, max_size=5))
def test_a_stow_body_splits_back_into_the_files(many: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        files = [outgoing(Path(folder), f"{n}.dcm", content, n) for n, content in enumerate(many)]
        pieces = stow_pieces(files, boundary := new_boundary())
        whole, body = sent(pieces)
    assert len(whole) == length_of(pieces)
    parts = parts_of(whole, boundary)
    assert [content for _, content in parts] == many
    for (headers, content), file in zip(parts, files, strict=True):
        assert headers == {"content-type": "application/dicom", "content-length": str(len(content))}
        assert body.digests[file.file_id] == hashlib.sha256(content).hexdigest()


names = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="/\0"), min_size=1, max_size=30)


@settings(max_examples=60, deadline=None)
@given(contents, names, st.text(st.characters(exclude_categories=("Cs",)), max_size=20))
def test_a_form_splits_back_into_its_parts(content: bytes, name: str, value: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = replace(outgoing(Path(folder), "x", content, kind=FileKind.PDF), path=f"in/{name}")
        pieces = form_pieces(boundary := new_boundary(), {"patientId": value, "fileName": name}, file)
        whole, _ = sent(pieces)
    assert len(whole) == length_of(pieces)
    parts = parts_of(whole, boundary)
    assert [body for _, body in parts] == [
        value.encode(),
        name.encode(),
        content,
        hashlib.sha256(content).hexdigest().encode(),
    ]
    dispositions = [headers["content-disposition"] for headers, _ in parts]
    assert [d.partition(";")[0] for d in dispositions] == ["form-data"] * 4
    assert parts[2][0]["content-type"] == "application/pdf"
    escaped = name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
    assert dispositions[2] == f'form-data; name="file"; filename="{escaped}"'


@pytest.mark.parametrize("name", ["报告.pdf", 'a"b.pdf', "a\r\nX-Evil: 1.pdf", "a;b=c.pdf"])
def test_a_receiver_reads_the_file_name_as_from_a_browser(tmp_path: Path, name: str) -> None:
    file = outgoing(tmp_path, "x", b"%PDF", kind=FileKind.PDF)
    whole, _ = sent(form_pieces("b", {"fileName": name}, file))
    _, begin, rest = whole.partition(b'--b\r\nContent-Disposition: form-data; name="file";')
    head = (begin + rest).split(b"\r\n\r\n")[0].split(b"\r\n")
    assert len(head) == 3  # boundary, disposition, type: nothing was smuggled in
    _, options = parse_options_header(head[1].split(b": ", 1)[1])
    assert options[b"name"] == b"file"
    assert options[b"filename"].decode() == name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def test_each_byte_is_read_once_in_blocks(tmp_path: Path) -> None:
    opened: list[Path] = []

    def counting(path: Path) -> BinaryIO:
        opened.append(path)
        return open_for_reading(path)

    file = outgoing(tmp_path, "x", b"y" * (3 * BLOCK + 5))
    blocks: list[int] = []
    body = Body([file], Reading(counting, lambda: False), blocks.append)
    assert [len(block) for block in body] == blocks == [BLOCK, BLOCK, BLOCK, 5]
    assert opened == [file.location]


def test_small_pieces_travel_together_and_large_ones_as_they_are(tmp_path: Path) -> None:
    small = [outgoing(tmp_path, f"{n}.dcm", b"y" * 2000, n) for n in range(1, 51)]
    large = outgoing(tmp_path, "large.dcm", b"z" * (BLOCK + 3), 51)
    pieces = stow_pieces([*small, large], "b")
    body = Body(pieces, READING, lambda count: None)
    blocks = list(body)
    assert sum(map(len, blocks)) == length_of(pieces)
    assert [len(block) for block in blocks if len(block) >= JOINED] == [len(blocks[0]), BLOCK]
    assert len(blocks) == 4  # most of the small ones, their rest, and what follows the large block


def test_what_was_read_but_has_not_left_counts_as_sent_of_no_file(tmp_path: Path) -> None:
    """An answer that comes before is no answer about it."""
    first = outgoing(tmp_path, "1.dcm", b"y" * 10, 1)
    body = Body([first, outgoing(tmp_path, "2.dcm", b"z" * BLOCK, 2)], READING, lambda count: None)
    blocks = iter(body)
    assert next(blocks) == b"y" * 10
    assert body.digests == {}
    assert next(blocks) == b"z" * BLOCK
    assert set(body.digests) == {1}
    assert list(blocks) == []
    assert set(body.digests) == {1, 2}


def test_under_a_limit_what_is_allowed_leaves_at_once(tmp_path: Path) -> None:
    class Little(Allowance):
        def take(self, wanted: int, should_stop: Callable[[], bool]) -> int:
            return min(wanted, 1000)

    reading = Reading(open_for_reading, lambda: False, Little((), SystemClock()))
    body = Body([outgoing(tmp_path, "x", b"y" * 3500)], reading, lambda count: None)
    assert [len(block) for block in body] == [1000, 1000, 1000, 500]


def broken_off(file: Outgoing, reading: Reading = READING) -> AgentError:
    body = Body([b"head", file, b"tail"], reading, lambda count: None)
    got: list[bytes] = []
    with pytest.raises(AgentError) as caught:
        got.extend(body)
    assert b"tail" not in got
    assert not body.digests
    return caught.value


@pytest.mark.parametrize("change", ["grown", "shrunk", "touched", "gone"])
def test_a_file_that_changed_before_it_was_sent_breaks_off(tmp_path: Path, change: str) -> None:
    file = outgoing(tmp_path, "x.dcm", b"y" * 100)
    if change == "gone":
        file.location.unlink()
    elif change == "touched":
        os.utime(file.location, ns=(1, 1))
    else:
        file.location.write_bytes(b"y" * (200 if change == "grown" else 50))
    error = broken_off(file)
    assert (error.problem.code, error.problem.path) == ("FA-CHANGED", "x.dcm")
    assert error.disposition is Disposition.WAIT


@WRITERS_GET_IN
@pytest.mark.parametrize("change", ["grown", "shrunk", "rewritten"])
def test_a_file_that_changes_while_it_is_sent_breaks_off(tmp_path: Path, change: str) -> None:
    file = outgoing(tmp_path, "x.dcm", b"y" * (4 * BLOCK))
    body = Body([file, b"tail"], READING, lambda count: None)
    blocks = iter(body)
    next(blocks)
    with file.location.open("r+b") as stream:
        if change == "shrunk":
            stream.truncate(2 * BLOCK)
        else:
            stream.seek(0, os.SEEK_END if change == "grown" else os.SEEK_SET)
            stream.write(b"z")
    os.utime(file.location, ns=(1, 1))
    with pytest.raises(AgentError) as caught:
        list(blocks)
    assert caught.value.problem.code == "FA-CHANGED"
    assert not body.digests


def test_a_file_of_the_same_size_and_time_but_another_identity_is_another_file(tmp_path: Path) -> None:
    file = outgoing(tmp_path, "x", b"y")
    other = replace(file, stamp=Stamp(file.stamp.size, file.stamp.mtime_ns, file.stamp.identity + 1))
    if file.stamp.identity:
        assert broken_off(other).problem.code == "FA-CHANGED"


@pytest.mark.parametrize(
    ("raised", "code"),
    [(PermissionError(13, "secret"), "FA-FILE-DENIED"), (OSError(5, "secret"), "FA-FILE-IO")],
)
def test_a_file_that_cannot_be_opened_is_told(tmp_path: Path, raised: OSError, code: str) -> None:
    def refuse(path: Path) -> BinaryIO:
        raise raised

    error = broken_off(outgoing(tmp_path, "x", b"y"), Reading(refuse, lambda: False))
    assert (error.problem.code, error.problem.path, error.disposition) == (code, "x", Disposition.WAIT)
    assert "secret" not in repr(error.problem)


def test_a_read_error_is_told_and_the_file_closed(tmp_path: Path) -> None:
    class Failing(io.FileIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError(5, "secret")

    streams: list[Failing] = []

    def opening(path: Path) -> BinaryIO:
        streams.append(Failing(path, "rb"))
        return cast("BinaryIO", streams[0])

    assert broken_off(outgoing(tmp_path, "x", b"y"), Reading(opening, lambda: False)).problem.code == "FA-FILE-IO"
    assert streams[0].closed


def test_a_stop_breaks_off_at_the_next_block(tmp_path: Path) -> None:
    asked = iter([False, False, True])
    error = broken_off(outgoing(tmp_path, "x", b"y" * 5 * BLOCK), Reading(open_for_reading, lambda: next(asked)))
    assert (error.problem.code, error.disposition) == ("FA-STOPPING", Disposition.RETRY)


def test_closing_a_body_closes_the_file_that_was_being_read(tmp_path: Path) -> None:
    streams: list[BinaryIO] = []

    def keeping(path: Path) -> BinaryIO:
        streams.append(open_for_reading(path))
        return streams[-1]

    body = Body([outgoing(tmp_path, "x", b"y" * 5 * BLOCK)], Reading(keeping, lambda: False), lambda count: None)
    next(iter(body))
    body.close()
    assert streams[0].closed


def test_memory_does_not_depend_on_the_size_of_a_file(tmp_path: Path) -> None:
    huge = tmp_path / "huge.dcm"
    with huge.open("wb") as stream:
        stream.truncate(300 * 1024 * 1024)
    file = Outgoing(1, "huge.dcm", huge, stamp_of(huge.stat()), FileKind.DICOM, sop_instance="1.2.1")
    accepted: list[Acceptance] = []
    with serving(answer(200, {"code": 0}), keep_body=False) as server, linked(timeout_s=60) as link:
        tracemalloc.start()
        try:
            Stow(link, server.url, Reading(open_for_reading, lambda: False)).send(
                [file], accepted.extend, lambda count: None
            )
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 50 * 1024 * 1024
    assert len(accepted) == 1

"""Any file by signed multipart/form-data (RFC 7578), one a request (gateway.md, "Files"); answered `{code, message}`.

Touches the files by reading them once, and the network by a Link.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from urllib.parse import quote

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import AgentError, Disposition, problem
from folder_agent.core.gate import OUTAGES
from folder_agent.core.ports import Accepted, Progress
from folder_agent.core.records import Acceptance, FileKind, Outgoing
from folder_agent.edges.gateway.answers import about, judge
from folder_agent.edges.gateway.client import Link
from folder_agent.edges.gateway.multipart import (
    Body,
    DigestOf,
    Piece,
    Reading,
    Rest,
    length_of,
    new_boundary,
)
from folder_agent.edges.gateway.resuming import RESUME_FROM, Resuming, upload_key

EXAM_FIELDS = ("accessNumber", "patientId", "studyId", "studyUid")
_MEDIA_TYPES = {FileKind.PDF: "application/pdf", FileKind.DICOM: "application/dicom"}
_ESCAPES = str.maketrans(
    {'"': "%22", "\r": "%0D", "\n": "%0A"}
)  # as browsers do (HTML, "multipart/form-data encoding")
_UNFIT = frozenset({400, 409, 412, 416, 422})  # what is said of the rest of a file that does not fit to its beginning
_PLACE = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class _Upload:
    file: Outgoing
    url: str
    key: str
    fields: Mapping[str, str]


class Form:
    """The Transport to one address; its path may hold places such as {accessNumber}, filled in for each file."""

    def __init__(self, link: Link, base_url: str, path: str, reading: Reading) -> None:
        self.destination = base_url + path  # with its places open: it names the receiver, not the exam
        self._base_url = base_url
        self._path = path
        self._link = link
        self._reading = reading
        self._fields: Mapping[str, str] = {}
        self._resuming = Resuming(link)

    def for_exam(self, exam: Mapping[str, str | int]) -> Form:
        """The same address, with the exam's identity sent along with each file."""
        bound = copy.copy(self)
        bound._fields = {name: str(exam[name]) for name in EXAM_FIELDS if name in exam}
        return bound

    def send(self, files: Sequence[Outgoing], accepted: Accepted, progress: Progress) -> None:
        """One request a file; see ports.Transport. A large one that was broken off goes on where the server has it."""
        for file in files:
            accepted([self._send_file(file, progress)])

    def _send_file(self, file: Outgoing, progress: Progress) -> Acceptance:
        fields = {**self._fields, "fileName": file.path.rpartition("/")[2]}
        url = self._base_url + filled(self._path, fields)
        upload = _Upload(file, url, upload_key(file, self._fields, self.destination), fields)
        held = self._resuming.held(url, upload.key, file, self._path)
        if held:
            try:
                return self._send(upload, held, progress)
            except AgentError as error:
                if error.problem.code in OUTAGES or error.disposition in (Disposition.WAIT, Disposition.HOLD):
                    raise
                self._resuming.distrust(upload.key)
                if not _is_about_the_rest(error):
                    raise
        return self._send(upload, 0, progress)

    def _send(self, upload: _Upload, start: int, progress: Progress) -> Acceptance:
        """Send it from that byte on; what is before is at the server."""
        file, boundary = upload.file, new_boundary()
        pieces = form_pieces(boundary, upload.fields, Rest(file, start) if start else file)
        headers = {
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Content-Length": str(length_of(pieces)),
            "Accept": "application/json",
        }
        size = file.stamp.size
        headers |= (
            {"Upload-Key": upload.key, "Upload-Length": f"{size}"} if size >= RESUME_FROM else self._digests(pieces)
        )
        if start:
            headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
        with closing(Body(pieces, self._reading, progress)) as body:
            reply = self._link.exchange(upload.url, headers, body, endpoint=self._path)
        try:
            answer = judge(reply)
        except AgentError as error:
            raise about(error, file.path) from None
        if file.file_id not in body.digests:
            raise failure(problem("FA-GW-ANSWER", file.path, detail="it came before the file was sent"))
        said = f"code {answer.code}{', already there' if answer.duplicate else ''}"
        return Acceptance(file.file_id, body.digests[file.file_id], self.destination, said)

    def _digests(self, pieces: Sequence[Piece]) -> dict[str, str]:
        """The SHA-256 of the whole body, as newer and as older servers look for it (RFC 9530, RFC 3230). A header goes
        before the body, so that this reads a file twice: done for small ones, which are in memory anyhow."""
        digest = hashlib.sha256()
        with closing(Body(pieces, replace(self._reading, allowance=None), lambda _: None)) as body:
            for block in body:
                digest.update(block)
        value = base64.b64encode(digest.digest()).decode("ascii")
        return {"Content-Digest": f"sha-256=:{value}:", "Digest": f"sha-256={value}"}


def _is_about_the_rest(error: AgentError) -> bool:
    """Whether it may be no verdict on the file, but on its rest by itself: it is sent whole then, at once."""
    unfit = dict(error.problem.values).get("status") in _UNFIT
    return error.problem.code in ("FA-GW-REFUSED", "FA-GW-ANSWER") or unfit


def form_pieces(boundary: str, texts: Mapping[str, str], sent: Outgoing | Rest) -> list[Piece]:
    """Text parts, the file, and last its SHA-256: known by then, and of a length known before."""
    file = sent.file if isinstance(sent, Rest) else sent
    name = texts["fileName"]
    lead = "".join(f'{_part(boundary, field)}"\r\n\r\n{value}\r\n' for field, value in texts.items())
    media_type = _MEDIA_TYPES.get(file.kind, "application/octet-stream")
    head = f'{_part(boundary, "file")}"; filename="{name.translate(_ESCAPES)}"\r\nContent-Type: {media_type}\r\n\r\n'
    return [
        (lead + head).encode("utf-8", "replace"),
        sent,
        f'\r\n{_part(boundary, "sha256")}"\r\n\r\n'.encode(),
        DigestOf(file.file_id),
        f"\r\n--{boundary}--\r\n".encode(),
    ]


def _part(boundary: str, name: str) -> str:
    return f'--{boundary}\r\nContent-Disposition: form-data; name="{name}'


def filled(path: str, values: Mapping[str, str]) -> str:
    """The path with its places filled in, percent-encoded (RFC 3986). AgentError (REFUSE) if the exam has no usable
    value for one; places with names that we do not know stay as they are."""

    def value_of(place: re.Match[str]) -> str:
        name = place[1]
        if name not in (*EXAM_FIELDS, "fileName"):
            return place[0]
        value = values.get(name, "")
        if not value:
            raise failure(problem("FA-FIELD-MISSING", field=name))
        if value.strip(".") == "":  # "." and ".." would lead to another address
            raise failure(
                problem("FA-FIELD-INVALID", field=name, expected="usable in an address", private={"value": value})
            )
        return quote(value, safe="")

    return _PLACE.sub(value_of, path)

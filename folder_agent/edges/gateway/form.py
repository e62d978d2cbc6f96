"""Any file by signed multipart/form-data (RFC 7578), one a request (gateway.md, "Files"); answered `{code, message}`.

Touches the files by reading them once, and the network by a Link.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from urllib.parse import quote

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import AgentError, problem
from folder_agent.core.ports import Accepted, Progress
from folder_agent.core.records import Acceptance, FileKind, Outgoing
from folder_agent.edges.gateway.answers import about, judge
from folder_agent.edges.gateway.client import Link
from folder_agent.edges.gateway.multipart import (
    Body,
    DigestOf,
    Piece,
    Reading,
    length_of,
    new_boundary,
)

EXAM_FIELDS = ("accessNumber", "patientId", "studyId", "studyUid")
_MEDIA_TYPES = {FileKind.PDF: "application/pdf", FileKind.DICOM: "application/dicom"}
_ESCAPES = str.maketrans(
    {'"': "%22", "\r": "%0D", "\n": "%0A"}
)  # as browsers do (HTML, "multipart/form-data encoding")
_PLACE = re.compile(r"\{(\w+)\}")


class Form:
    """The Transport to one address; its path may hold places such as {accessNumber}, filled in for each file."""

    def __init__(self, link: Link, base_url: str, path: str, reading: Reading) -> None:
        self.destination = base_url + path  # with its places open: it names the receiver, not the exam
        self._base_url = base_url
        self._path = path
        self._link = link
        self._reading = reading
        self._fields: Mapping[str, str] = {}

    def for_exam(self, exam: Mapping[str, str | int]) -> Form:
        """The same address, with the exam's identity sent along with each file."""
        bound = copy.copy(self)
        bound._fields = {name: str(exam[name]) for name in EXAM_FIELDS if name in exam}
        return bound

    def send(self, files: Sequence[Outgoing], accepted: Accepted, progress: Progress) -> None:
        """One request a file; see ports.Transport."""
        for file in files:
            accepted([self._send(file, progress)])

    def _send(self, file: Outgoing, progress: Progress) -> Acceptance:
        name = file.path.rpartition("/")[2]
        boundary = new_boundary()
        pieces = form_pieces(boundary, {**self._fields, "fileName": name}, file, name)
        headers = {
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Content-Length": str(length_of(pieces)),
            "Accept": "application/json",
        }
        url = self._base_url + filled(self._path, {**self._fields, "fileName": name})
        with closing(Body(pieces, self._reading, progress)) as body:
            reply = self._link.exchange(url, headers, body, endpoint=self._path)
        try:
            answer = judge(reply)
        except AgentError as error:
            raise about(error, file.path) from None
        if file.file_id not in body.digests:
            raise failure(problem("FA-GW-ANSWER", file.path, detail="it came before the file was sent"))
        said = f"code {answer.code}{', already there' if answer.duplicate else ''}"
        return Acceptance(file.file_id, body.digests[file.file_id], self.destination, said)


def form_pieces(boundary: str, texts: Mapping[str, str], file: Outgoing, name: str) -> list[Piece]:
    """Text parts, the file, and last its SHA-256: known by then, and of a length known before."""
    lead = "".join(f'{_part(boundary, field)}"\r\n\r\n{value}\r\n' for field, value in texts.items())
    media_type = _MEDIA_TYPES.get(file.kind, "application/octet-stream")
    head = f'{_part(boundary, "file")}"; filename="{name.translate(_ESCAPES)}"\r\nContent-Type: {media_type}\r\n\r\n'
    return [
        (lead + head).encode("utf-8", "replace"),
        file,
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

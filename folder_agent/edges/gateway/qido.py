"""Asks by QIDO-RS which instances of a study are there (PS3.18 10.6): page by page, and again for a while, since many
servers file what they take a little later.

Touches the network by a Link.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from urllib.parse import quote

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import AgentError, Problem, problem
from folder_agent.edges.gateway.answers import about_asking, parsed
from folder_agent.edges.gateway.client import Link, Reply
from folder_agent.edges.gateway.proof import Instance
from folder_agent.edges.gateway.stow_answer import instances_in

PAGE = 1000  # instances; servers that give fewer at a time are asked more often
_ANSWER_LIMIT = 16 * 1024 * 1024  # bytes of a page
_PAUSES_S = (0.2, 0.5, 1.0, 2.0)  # before what is lacking is looked for again
_TICK_S = 0.1  # how soon a stop is noticed
_HEADERS = {"Accept": "application/dicom+json"}
_ENDPOINT = "QIDO-RS"  # under which the requests are counted
_NOBODYS = "2.25.0"  # a StudyInstanceUID
_NOTHING = (204, 404)  # no such instances; no such study


class Qido:
    """The Asker at one QIDO-RS address, that of the studies."""

    words = "found by QIDO-RS"

    def __init__(self, link: Link, studies: str, should_stop: Callable[[], bool]) -> None:
        self._link = link
        self._studies = studies
        self._should_stop = should_stop

    def lacking(self, wanted: Sequence[Instance]) -> frozenset[str]:
        """See proof.Asker."""
        lacking = self._look(wanted)
        for pause_s in _PAUSES_S:
            if not lacking:
                break
            self._rest(pause_s)
            lacking = self._look([one for one in wanted if one.sop_instance in lacking])
        return lacking

    def probe(self) -> int:
        """Ask for a study that nobody has; the HTTP status. AgentError if that is no answer."""
        reply = self._ask(_NOBODYS, 1, 0)
        _instances(reply)
        return reply.status

    def close(self) -> None:
        """Nothing is open between two requests."""

    def _look(self, wanted: Sequence[Instance]) -> frozenset[str]:
        lacking: set[str] = set()
        for study in dict.fromkeys(one.study for one in wanted):
            lacking |= self._lacking_of(study, {one.sop_instance for one in wanted if one.study == study})
        return frozenset(lacking)

    def _lacking_of(self, study: str, wanted: set[str]) -> set[str]:
        for page in self._pages(study):
            wanted = wanted - page
            if not wanted:
                break
        return wanted

    def _pages(self, study: str) -> Iterator[set[str]]:
        """Until nothing new comes: a server may give fewer than asked for, or the same again whatever is asked."""
        seen: set[str] = set()
        offset = 0
        while True:
            if self._should_stop():
                raise failure(problem("FA-STOPPING"))
            count, page = _instances(self._ask(study, PAGE, offset))
            if not page - seen:
                return
            yield page
            seen |= page
            offset += count

    def _ask(self, study: str, limit: int, offset: int) -> Reply:
        url = f"{self._studies}/{quote(study, safe='')}/instances?limit={limit}&offset={offset}"
        return self._link.exchange(url, _HEADERS, answer_limit=_ANSWER_LIMIT, method="GET", endpoint=_ENDPOINT)

    def _rest(self, pause_s: float) -> None:
        end = time.monotonic() + pause_s
        while (left_s := end - time.monotonic()) > 0:
            if self._should_stop():
                raise failure(problem("FA-STOPPING"))
            time.sleep(min(left_s, _TICK_S))


def _instances(reply: Reply) -> tuple[int, set[str]]:
    """How many the answer names, and their SOPInstanceUIDs. Raises AgentError (FA-GW-UNPROVEN) if it is no answer."""
    if reply.status in _NOTHING:
        return 0, set()
    if reply.status != 200:
        raise about_asking(reply)
    content = parsed(reply.body)
    found = instances_in(content)
    if isinstance(content, dict):  # the gateway's own form of answer
        raise about_asking(reply)
    if found is None:
        raise _unproven("the answer is no DICOM JSON" if reply.body.strip() else "the answer is empty")
    return len(found), set(found)


def _unproven(detail: str) -> AgentError:
    return failure(Problem("FA-GW-UNPROVEN", None, (("detail", detail),)))

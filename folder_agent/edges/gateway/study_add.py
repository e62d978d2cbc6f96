"""The exam interface, `POST /ris/study/add` (gateway.md): the post that commits a bundle.

Touches the network by a Link. The gateway upserts: repeating a post whose answer was lost is harmless.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from folder_agent.core.records import Answer
from folder_agent.edges.gateway.answers import judge
from folder_agent.edges.gateway.client import Link, Reply

_HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}


class StudyAdd:
    """One address that takes exam information."""

    def __init__(self, link: Link, url: str) -> None:
        self._link = link
        self.url = url

    def commit(self, exam: Mapping[str, str | int]) -> Answer:
        """Post the exam. AgentError for any answer but success or "data duplicate"."""
        return judge(self.post(exam))

    def post(self, exam: Mapping[str, str | int]) -> Reply:
        """Post the exam; the answer as it came."""
        body = json.dumps(dict(exam), ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
        return self._link.exchange(self.url, _HEADERS, body)

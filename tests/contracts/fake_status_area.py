"""The StatusArea port in memory. Passes the same contract tests as the real one."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, field

from folder_agent.core.errors import AgentError


@dataclass
class FakeStatusArea:
    """Files by name, and an outage on demand."""

    label: str = "_STATUS"
    files: dict[str, bytes] = field(default_factory=dict)
    outage: AgentError | None = None

    def write(self, name: str, content: bytes, ours: Collection[str]) -> bool:
        if not self._may_change(name, ours):
            return False
        self.files[name] = content
        return True

    def remove(self, name: str, ours: Collection[str]) -> bool:
        if not self._may_change(name, ours):
            return False
        self.files.pop(name, None)
        return True

    def _may_change(self, name: str, ours: Collection[str]) -> bool:
        if self.outage is not None:
            raise self.outage
        there = self.files.get(name)
        return there is None or hashlib.sha256(there).hexdigest() in ours

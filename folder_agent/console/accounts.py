"""The accounts of a console that is reached from elsewhere: names, roles and argon2 hashes, in one file.

Touches that file, which only its owner may read.
"""

from __future__ import annotations

import json
import os
import re
import threading
from pathlib import Path
from typing import Any, Literal, cast

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from folder_agent.edges import durable

Role = Literal["viewer", "operator"]
LEAST_LENGTH = 10  # characters of a password
NAME = re.compile(r"[\w.@-]{1,64}")
_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)  # OWASP's least for argon2id
_NOBODY = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


class Accounts:
    """The file, read anew when it changes. A file that cannot be understood holds no accounts."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._stamp: tuple[int, int] | None = None
        self._known: dict[str, dict[str, Any]] = {}

    def names(self) -> list[str]:
        """Who has an account."""
        return sorted(self._read())

    def role(self, name: str) -> Role | None:
        """What that account may do; None if there is none."""
        found = self._read().get(name, {}).get("role")
        return cast(Role, found) if found in ("viewer", "operator") else None

    def check(self, name: str, password: str) -> Role | None:
        """The role, if that is the password; it takes as long for a name that is not known."""
        entry = self._read().get(name)
        try:
            _HASHER.verify(entry["hash"] if entry else _NOBODY, password[:1000])
        except (Argon2Error, InvalidHashError, KeyError, TypeError):
            return None
        return self.role(name) if entry else None

    def add(self, name: str, password: str, role: Role) -> None:
        """Make an account, or give one another password and role. Raises OSError."""
        entries = {**self._read(), name: {"role": role, "hash": _HASHER.hash(password)}}
        part = self._file.with_name(self._file.name + ".part")
        part.unlink(missing_ok=True)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as writer:
            writer.write(json.dumps(entries, indent=2).encode())
            durable.sync_file(writer)
        part.replace(self._file)

    def _read(self) -> dict[str, dict[str, Any]]:
        with self._lock:
            try:
                found = self._file.stat()
                stamp = (found.st_mtime_ns, found.st_size)
                if stamp != self._stamp:
                    table = json.loads(self._file.read_bytes())
                    self._known = {name: entry for name, entry in table.items() if isinstance(entry, dict)}
                    self._stamp = stamp
            except (OSError, ValueError, AttributeError):
                self._known, self._stamp = {}, None
            return self._known

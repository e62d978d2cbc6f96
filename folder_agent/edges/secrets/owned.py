"""POSIX: a secret is plain text in a file that only its owner may read. Touches the file that is being made."""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Callable, Sequence

assert sys.platform != "win32"

KIND = b"plain"


def seal(content: bytes) -> bytes:
    """As it is: there is no key here that the thief of the file would not have, too."""
    return content


def unseal(content: bytes) -> bytes:
    """As it is."""
    return content


def opener(accounts: Sequence[str]) -> Callable[[str, int], int]:
    """For `open`: makes the file 0600 from the first moment on, owned by the account if one is named. LookupError if
    there is no such account."""
    owner = _ids(accounts[0]) if accounts else None

    def make(path: str, flags: int) -> int:
        descriptor = os.open(path, flags, 0o600)
        try:
            if owner is not None:
                os.fchown(descriptor, *owner)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    return make


def _ids(account: str) -> tuple[int, int]:
    try:
        found = pwd.getpwnam(account)
    except KeyError:
        raise LookupError(account) from None
    return found.pw_uid, found.pw_gid

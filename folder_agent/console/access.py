"""Who may look and who may act: this machine's names, sessions, tokens against forged forms, locks against guessing.

Only memory: a restart ends every session.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from folder_agent.console.accounts import Accounts

Role = Literal["viewer", "operator"]
IDLE_S, LONGEST_S = 30 * 60.0, 12 * 3600.0
MOST_SESSIONS = 500
_TRIES, _TRIES_OF_A_PLACE = 5, 20
_LOCKED_S = 5 * 60.0


@dataclass(frozen=True, slots=True)
class Visitor:
    """Whoever sent a request. `token` is what a form of theirs must carry."""

    who: str | None  # None: not logged in, where that is needed
    role: Role
    token: str
    place: str  # the address that they come from

    @property
    def may_act(self) -> bool:
        return self.who is not None and self.role == "operator"


@dataclass(slots=True)
class _Session:
    who: str
    role: Role
    began: float
    seen: float


class Access:
    """The door. `accounts` None: this machine only, no login."""

    def __init__(
        self,
        port: int,
        hosts: tuple[str, ...],
        accounts: Accounts | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._port, self._clock = port, clock
        self.accounts = accounts
        self._hosts = frozenset(name.lower() for name in hosts) | _own_names(is_open=accounts is not None)
        self._key = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._sessions: dict[str, _Session] = {}
        self._failures: dict[str, tuple[int, float]] = {}  # by name or place: how many, and until when they count
        self._hashing = threading.Lock()  # one at a time: hashing is made to be expensive

    @property
    def is_secured(self) -> bool:
        """Whether one must log in."""
        return self.accounts is not None

    def knows_host(self, host: str) -> bool:
        """Whether a Host header names this console (RFC 9110 7.2): a page of another name has been turned on us."""
        name, port = _split(host)
        if name is None or port not in (None, self._port):
            return False
        if name in self._hosts:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or self.accounts is not None  # a number cannot be turned elsewhere by a name server

    def knows_origin(self, origin: str | None, host: str) -> bool:
        """Whether a request that changes something comes from a page of ours. Browsers tell where from (RFC 6454)."""
        if origin is None:
            return True  # not told by programs and very old browsers: the token decides
        scheme = "https" if self.is_secured else "http"
        return origin.lower() == f"{scheme}://{host.lower()}"

    def visitor(self, cookie: str | None, place: str) -> tuple[Visitor, str]:
        """Who comes with that cookie, and the cookie to have from now on."""
        cookie = cookie if cookie and 20 <= len(cookie) <= 100 else secrets.token_urlsafe(32)
        if not self.is_secured:
            return Visitor("local", "operator", self._token(cookie), place), cookie
        now = self._clock()
        with self._lock:
            session = self._sessions.get(cookie)
            if session and (now - session.seen > IDLE_S or now - session.began > LONGEST_S):
                del self._sessions[cookie]
                session = None
            if session:
                session.seen = now
        role = self.accounts.role(session.who) if session and self.accounts else None
        if session is None or role is None:  # an account that was taken away ends its sessions, too
            return Visitor(None, "viewer", self._token(cookie), place), cookie
        return Visitor(session.who, role, self._token(cookie), place), cookie

    def is_genuine(self, visitor: Visitor, token: str | None) -> bool:
        """Whether the form is one that this visitor was given."""
        return hmac.compare_digest(visitor.token.encode(), (token or "").encode("utf-8", "replace"))

    def log_in(self, name: str, password: str, place: str) -> str | None:
        """A new session's cookie; None if that is not to be, for whatever reason."""
        assert self.accounts is not None
        keys = (f"name:{name[:100].lower()}", f"place:{place}")
        if self.is_locked(name, place):
            return None
        with self._hashing:
            role = self.accounts.check(name, password)
        now = self._clock()
        with self._lock:
            if role is None:
                for key in keys:
                    count, until = self._failures.get(key, (0, 0.0))
                    self._failures[key] = (count + 1 if now < until else 1, now + _LOCKED_S)
                if len(self._failures) > 10_000:
                    self._failures = {key: one for key, one in self._failures.items() if one[1] > now}
                return None
            self._failures.pop(keys[0], None)
            cookie = secrets.token_urlsafe(32)
            if len(self._sessions) >= MOST_SESSIONS:
                del self._sessions[min(self._sessions, key=lambda one: self._sessions[one].seen)]
            self._sessions[cookie] = _Session(name, role, now, now)
        return cookie

    def is_locked(self, name: str, place: str) -> bool:
        """Whether that name or that place has guessed too often."""
        now = self._clock()
        with self._lock:
            for key, most in ((f"name:{name[:100].lower()}", _TRIES), (f"place:{place}", _TRIES_OF_A_PLACE)):
                count, until = self._failures.get(key, (0, 0.0))
                if now < until and count >= most:
                    return True
        return False

    def log_out(self, cookie: str | None) -> None:
        """End a session."""
        with self._lock:
            self._sessions.pop(cookie or "", None)

    def _token(self, cookie: str) -> str:
        return hmac.new(self._key, cookie.encode("utf-8", "replace"), hashlib.sha256).hexdigest()


def is_loopback(host: str) -> bool:
    """Whether only this machine itself can reach that address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _own_names(*, is_open: bool) -> frozenset[str]:
    names = {"localhost"}
    if is_open:
        names |= {socket.gethostname().lower(), socket.getfqdn().lower()}
    return frozenset(names)


def _split(host: str) -> tuple[str | None, int | None]:
    """Name and port of a Host header; (None, None) if that is none."""
    name, port = host.strip().lower(), ""
    if name.startswith("["):
        name, bracket, rest = name[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            return None, None
        port = rest[1:]
    elif ":" in name:
        name, _, port = name.partition(":")
    if not name or (port and not (port.isascii() and port.isdigit() and len(port) <= 5)):
        return None, None
    return name.rstrip("."), int(port) if port else None

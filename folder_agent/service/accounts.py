"""Accounts that a Windows service may run as, told apart by their names alone. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from folder_agent.service.naming import NAME

VIRTUAL = f"NT SERVICE\\{NAME}"  # this service's own account: nothing to set up, no password, few rights
# The machine's own accounts, by the names that the service manager takes.
_BUILT_IN = {
    "localsystem": "LocalSystem",
    "nt authority\\system": "LocalSystem",
    "localservice": "NT AUTHORITY\\LocalService",
    "nt authority\\localservice": "NT AUTHORITY\\LocalService",
    "networkservice": "NT AUTHORITY\\NetworkService",
    "nt authority\\networkservice": "NT AUTHORITY\\NetworkService",
}


@dataclass(frozen=True, slots=True)
class Account:
    """Whom the service runs as."""

    name: str  # as the service manager takes it

    @property
    def is_built_in(self) -> bool:
        return self.name in _BUILT_IN.values()

    @property
    def is_virtual(self) -> bool:
        return self.name.casefold().startswith("nt service\\")

    @property
    def is_managed(self) -> bool:
        """A group managed service account (gMSA): the domain keeps its password."""
        return self.name.endswith("$")

    @property
    def needs_password(self) -> bool:
        return not (self.is_built_in or self.is_virtual or self.is_managed)

    @property
    def needs_the_right_to_log_on(self) -> bool:
        """Whether "log on as a service" must be granted to it; the machine's own accounts have it."""
        return not (self.is_built_in or self.is_virtual)

    @property
    def reaches_shares_as_itself(self) -> bool:
        """Whether a share can give rights to this account; the others come as the machine, or as nobody."""
        return not (self.is_built_in or self.is_virtual)


def account(text: str | None) -> Account:
    """The account of `--account`: `DOMAIN\\user`, `user@domain`, `.\\user`, `DOMAIN\\name$` or one of the machine's
    own. Raises ValueError for a name without its domain, which would be looked up in ways that surprise."""
    if not text:
        return Account(VIRTUAL)
    name = text.strip()
    if known := _BUILT_IN.get(name.casefold()):
        return Account(known)
    domain, slash, user = name.partition("\\")
    if (slash and domain and user) or (not slash and "@" in name.strip("@")):
        return Account(name)
    raise ValueError("give it with its domain: DOMAIN\\user, or .\\user for one of this machine")

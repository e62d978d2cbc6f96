"""What a service's account needs: the right to log on as a service, and rights on the agent's own folders.

Touches the machine's security policy (LSA) and the folders' access lists. Raises pywintypes.error.
"""

from __future__ import annotations

import sys

assert sys.platform == "win32"

from pathlib import Path
from typing import Any

import ntsecuritycon
import win32security

from folder_agent.edges.paths import openable
from folder_agent.service.accounts import Account

_LOG_ON_AS_A_SERVICE = "SeServiceLogonRight"
# Read, write, execute, delete: "Modify", as the folder's properties call it.
_MODIFY = (
    ntsecuritycon.FILE_GENERIC_READ
    | ntsecuritycon.FILE_GENERIC_WRITE
    | ntsecuritycon.FILE_GENERIC_EXECUTE
    | ntsecuritycon.DELETE
)


def sid_of(who: Account) -> Any:
    """The account's security identifier; pywintypes.error 1332 for a name that nobody has."""
    name = who.name
    if name == "LocalSystem":
        return win32security.CreateWellKnownSid(win32security.WinLocalSystemSid, None)
    if name.startswith(".\\"):
        name = name[2:]
    return win32security.LookupAccountName(None, name)[0]


def let_log_on_as_service(who: Account) -> None:
    """Grant it the right; idempotent."""
    access = win32security.POLICY_LOOKUP_NAMES | win32security.POLICY_CREATE_ACCOUNT
    policy: Any = win32security.LsaOpenPolicy(None, access)  # type: ignore[arg-type]  # None: this machine
    try:
        win32security.LsaAddAccountRights(policy, sid_of(who), (_LOG_ON_AS_A_SERVICE,))
    finally:
        win32security.LsaClose(policy)


def let_modify(who: Account, folder: Path) -> None:
    """Grant it "Modify" on the folder and all that is or will be in it; what others may do stays. Idempotent."""
    name = str(openable(folder))
    kind, wanted = win32security.SE_FILE_OBJECT, win32security.DACL_SECURITY_INFORMATION
    rights = win32security.GetNamedSecurityInfo(name, kind, wanted).GetSecurityDescriptorDacl()
    if rights is None:
        return  # no list: everybody may do everything
    entry: Any = {
        "AccessPermissions": _MODIFY,
        "AccessMode": win32security.GRANT_ACCESS,
        "Inheritance": win32security.SUB_CONTAINERS_AND_OBJECTS_INHERIT,
        "Trustee": {
            "TrusteeForm": win32security.TRUSTEE_IS_SID,
            "TrusteeType": win32security.TRUSTEE_IS_UNKNOWN,
            "Identifier": sid_of(who),
        },
    }
    rights.SetEntriesInAcl((entry,))
    win32security.SetNamedSecurityInfo(name, kind, wanted, None, None, rights, None)

"""The data folder's rights: administrators, SYSTEM and the service's account, and nobody else.

Touches the folder. Whoever made it before us (everybody may, in C:\\ProgramData) loses it: it is administrators' then.
"""

from __future__ import annotations

import sys
from pathlib import Path

if sys.platform == "win32":
    import win32file
    import win32security

    from folder_agent.edges.paths import openable
    from folder_agent.edges.secrets.accounts import sid_of

    _MODIFY = "0x1301bf"  # FILE_GENERIC_READ | WRITE | EXECUTE | DELETE

    def rights(account: str) -> str:
        """The rights as SDDL: nothing inherited, everything handed on. Raises LookupError for an unknown account."""
        who = sid_of(account)
        own = "" if who == "SY" else f"(A;OICI;{_MODIFY};;;{who})"
        return f"O:BAD:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA){own}"

    def protect(folder: Path, account: str) -> None:
        """Make the folder with its rights, or set those of one that is there; files in it follow. Raises OSError,
        LookupError, pywintypes.error."""
        name = str(openable(folder))
        made = win32security.ConvertStringSecurityDescriptorToSecurityDescriptor(
            rights(account), win32security.SDDL_REVISION_1
        )
        if not folder.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            attributes = win32security.SECURITY_ATTRIBUTES()
            attributes.SECURITY_DESCRIPTOR = made
            win32file.CreateDirectoryW(name, attributes)  # never for everybody, not for a moment
            return
        parts = (
            win32security.OWNER_SECURITY_INFORMATION
            | win32security.DACL_SECURITY_INFORMATION
            | win32security.PROTECTED_DACL_SECURITY_INFORMATION
        )
        owner, listed = made.GetSecurityDescriptorOwner(), made.GetSecurityDescriptorDacl()
        kind = win32security.SE_FILE_OBJECT
        win32security.SetNamedSecurityInfo(name, kind, parts, owner, None, listed, None)

else:

    def protect(folder: Path, account: str) -> None:  # noqa: ARG001
        """Make the folder, for its owner alone."""
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)

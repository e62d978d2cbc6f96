"""Windows' Application log: our own source in the registry, and writing to it.

Touches one key of the registry, and the log. Source: winnt.h, "Event Sources" (Microsoft).
"""

from __future__ import annotations

import sys

assert sys.platform == "win32"

import contextlib
import winreg

import pywintypes
import win32evtlog

from folder_agent.service.events import MEANINGS, EventId
from folder_agent.service.naming import NAME

_KEY = rf"SYSTEM\CurrentControlSet\Services\EventLog\Application\{NAME}"
# Its message table says "%1" for every id from 1 to 1000, and it is part of Windows.
_TEXTS = r"%SystemRoot%\System32\EventCreate.exe"
_ALL_LEVELS = 7


def register() -> None:
    """Make our source known. Idempotent. Raises OSError (without the right to: 5)."""
    with winreg.CreateKeyEx(winreg.HKEY_LOCAL_MACHINE, _KEY, 0, winreg.KEY_WRITE) as key:
        winreg.SetValueEx(key, "EventMessageFile", 0, winreg.REG_EXPAND_SZ, _TEXTS)
        winreg.SetValueEx(key, "TypesSupported", 0, winreg.REG_DWORD, _ALL_LEVELS)
        winreg.SetValueEx(key, "CustomSource", 0, winreg.REG_DWORD, 1)


def unregister() -> None:
    """Forget our source; entries that were written stay readable only as raw text. Idempotent."""
    with contextlib.suppress(FileNotFoundError):
        winreg.DeleteKey(winreg.HKEY_LOCAL_MACHINE, _KEY)


def write(event: EventId, text: str) -> None:
    """Write one entry. A log that takes nothing (full, cleared, no rights) never troubles the agent."""
    with contextlib.suppress(pywintypes.error):
        source = win32evtlog.RegisterEventSource(None, NAME)  # None: this machine
        try:
            win32evtlog.ReportEvent(source, MEANINGS[event].level, 0, event, None, [text], None)
        finally:
            win32evtlog.DeregisterEventSource(source)

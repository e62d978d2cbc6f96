"""The lab is the Windows that the other tests take it for."""

from __future__ import annotations

import json

from tests.windows.lab import Session

_TELL = """
import json, locale, platform, sys, time
import cryptography.hazmat.bindings._rust, pydantic_core, servicemanager, sqlite3, ssl
import watchdog.observers.read_directory_changes
import folder_agent
print(json.dumps([sys.platform, sys.getwindowsversion().major, locale.getpreferredencoding(), time.timezone,
    folder_agent.__file__]))
"""


def test_it_is_a_chinese_windows_10_that_sees_this_checkout(windows: Session) -> None:
    told = windows.run("-c", _TELL)
    assert told.returncode == 0, told.stderr
    platform, version, encoding, west_s, module = json.loads(told.stdout)
    assert (platform, version, encoding, west_s) == ("win32", 10, "cp936", -8 * 3600)
    assert module.startswith("Z:\\")

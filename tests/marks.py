"""Marks for what one platform does not have, each with its reason; the other side of it is in tests/windows."""

from __future__ import annotations

import sys

import pytest

if sys.platform == "win32":
    import ctypes

    UNDER_WINE = hasattr(ctypes.WinDLL("ntdll"), "wine_get_version")
else:
    UNDER_WINE = False

WRITERS_GET_IN = pytest.mark.skipif(
    sys.platform == "win32", reason="nobody can write to a file that we read there (tests/windows/inside)"
)
OPEN_FILES_GO = pytest.mark.skipif(sys.platform == "win32", reason="nobody can remove or replace an open file there")
LINKS = pytest.mark.skipif(sys.platform == "win32", reason="making links needs a privilege there")
ASKS_WINDOWS = pytest.mark.skipif(sys.platform == "win32", reason="Windows is asked for its own language there")
LONG_UNDER_WINE = pytest.mark.skipif(UNDER_WINE, reason="left out under Wine: it takes most of a minute there")


def wine_lacks(what: str) -> pytest.MarkDecorator:
    """For what Windows has and Wine has not: run on Windows itself, and skipped here; the suite lists each reason."""
    return pytest.mark.skipif(UNDER_WINE, reason=f"Wine lacks: {what}")

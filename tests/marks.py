"""Marks for what one platform does not have, each with its reason; the other side of it is in tests/windows."""

from __future__ import annotations

import sys

import pytest

WRITERS_GET_IN = pytest.mark.skipif(
    sys.platform == "win32", reason="nobody can write to a file that we read there (tests/windows/test_files.py)"
)
OPEN_FILES_GO = pytest.mark.skipif(sys.platform == "win32", reason="nobody can remove or replace an open file there")

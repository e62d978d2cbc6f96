"""`python -m tests.vendor` writes expectations.csv anew."""

from __future__ import annotations

from tests.vendor.collection import write

write()

"""Indented JSON is the standard library's, to the letter."""

from __future__ import annotations

import json
from types import MappingProxyType

from hypothesis import given, settings
from hypothesis import strategies as st

from folder_agent.core.records import FileKind
from folder_agent.core.tidy_json import indented

texts = st.text(st.characters(), max_size=8)  # lone surrogates, too
leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4))


@settings(deadline=None)
@given(values)
def test_it_is_the_standard_librarys(value: object) -> None:
    assert indented(value) == json.dumps(value, ensure_ascii=False, indent=2)


def test_it_takes_what_the_receipts_are_made_of() -> None:
    value = {"kind": FileKind.DICOM, "files": ({"size": 1},), "exam": MappingProxyType({"patientName": "测试"})}
    assert json.loads(indented(value)) == {"kind": "DICOM", "files": [{"size": 1}], "exam": {"patientName": "测试"}}

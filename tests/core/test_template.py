"""A template is a sidecar with gaps: whoever fills them in has written one."""

from __future__ import annotations

import json

import pytest

from folder_agent.core.mapping import site_mapping
from folder_agent.core.records import SidecarReading
from folder_agent.core.sidecar import read_sidecar
from folder_agent.core.template import HELP, file_name, target_of, template

CERTAIN = SidecarReading(
    fields=(("patientId", "P1"), ("patientName", "王小东"), ("studyDate", "2026-03-01 10:10:10"), ("studyUid", "1.2")),
    encoding=None,
)
MAPPING = site_mapping({"PID": "patientId", "constants": {"modality": "MR"}})


def test_it_has_what_is_certain_and_gaps_for_what_is_required() -> None:
    content = template(CERTAIN, "CD1/CD1.json")
    assert content.startswith(b"\xef\xbb\xbf{\r\n")
    assert b"\n" not in content.replace(b"\r\n", b"")
    told = json.loads(content.decode("utf-8-sig"))
    help_lines = told.pop(HELP)
    assert any("CD1/CD1.json" in line for line in help_lines)
    assert told == {
        "patientId": "P1",
        "patientName": "王小东",
        "patientSex": "",
        "studyId": "",
        "accessNumber": "",
        "modality": "",
        "studyUid": "1.2",
        "studyDate": "2026-03-01 10:10:10",
    }


def filled_in(content: bytes) -> bytes:
    for name, value in (("patientSex", "女"), ("studyId", "S1"), ("accessNumber", "A1"), ("modality", "CT")):
        content = content.replace(f'"{name}": ""'.encode(), f'"{name}": "{value}"'.encode())
    return content


def test_our_reader_takes_it_and_asks_for_the_gaps_only() -> None:
    reading = read_sidecar(template(CERTAIN, "x.json"))
    assert {dict(one.values)["field"] for one in reading.problems} == {
        "patientSex",
        "studyId",
        "accessNumber",
        "modality",
    }
    assert reading.unknown_keys == ()
    assert "FA-FIELD-UNKNOWN" not in {one.code for one in reading.warnings}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-8", "utf-16", "gb18030"])
def test_filled_in_it_is_a_sidecar_however_it_is_saved_and_whatever_the_site_calls_its_fields(encoding: str) -> None:
    saved = filled_in(template(CERTAIN, "x.json")).decode("utf-8-sig").encode(encoding)
    for mapping in (site_mapping({}), MAPPING):
        reading = read_sidecar(saved, mapping)
        assert reading.problems == ()
        assert (reading.get("patientId"), reading.get("patientSex"), reading.get("modality")) == ("P1", "F", "CT")


def test_values_that_no_text_can_hold_do_not_spoil_it() -> None:
    odd = SidecarReading(fields=(("patientName", 'a"\\\udc80\x01\n'),))
    assert read_sidecar(template(odd, 'x"\\.json')).get("patientName") is not None


def test_names_are_safe_and_never_taken() -> None:
    assert target_of("CD1", "CD1 A/B:1") == "CD1/CD1 A_B_1.json"
    assert target_of("", "NUL") == "_NUL.json"
    assert file_name("CD1", []) == "CD1.json.template"
    assert file_name("cd1", ["CD1.json.template", "CD1 (2).json.template"]) == "cd1 (3).json.template"

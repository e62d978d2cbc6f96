"""Every file that belongs to no exam gets an answer, or none while there is nothing to be said."""

from __future__ import annotations

import pytest

from folder_agent.core.answers import AnswerRules, answer
from folder_agent.core.catalogue import what_to_do
from folder_agent.core.errors import problem
from folder_agent.core.records import FileKind

FOREIGN = FileKind.FOREIGN


@pytest.mark.parametrize(
    ("path", "kind", "code"),
    [
        ("letter.docx", FOREIGN, "FA-NOT-EXAM"),
        ("photo.JPG", FOREIGN, "FA-NOT-EXAM"),
        ("setup.exe", FOREIGN, "FA-NOT-EXAM"),
        ("CT1 - Shortcut.lnk", FOREIGN, "FA-SHORTCUT"),
        ("pacs.URL", FOREIGN, "FA-SHORTCUT"),
        ("x.rar", FOREIGN, "FA-ARCHIVE"),
        ("x.zip", FOREIGN, "FA-ARCHIVE"),
        ("x.unpacked/x.unpacked.zip", FOREIGN, "FA-UNPACKED"),
        ("report.pdf", FileKind.PDF, "FA-NO-OWNER"),
        ("IM1", FileKind.DICOM, "FA-NO-SIDECAR"),
        ("IM2", FileKind.UNKNOWN, None),
        ("Thumbs.db", FileKind.JUNK, None),
        ("x.part", FileKind.TEMPORARY, None),
        ("x.ok", FileKind.MARKER, None),
    ],
)
def test_each_kind_has_its_answer(path: str, kind: FileKind, code: str | None) -> None:
    told = answer(path, kind, None, AnswerRules())
    assert (told.code if told else None) == code
    if told is not None:
        assert told.path == path
        assert what_to_do(told, "zh")
        assert what_to_do(told, "en")


def test_what_is_wrong_with_the_file_itself_is_said_of_it() -> None:
    told = answer("IM1", FileKind.UNKNOWN, problem("FA-FILE-TRUNCATED", detail="cut"), AnswerRules())
    assert told is not None
    assert (told.code, told.path) == ("FA-FILE-TRUNCATED", "IM1")


def test_a_zip_that_is_unpacked_has_its_own_bundle() -> None:
    assert answer("x.zip", FOREIGN, None, AnswerRules(unzip=True)) is None


def test_what_lies_above_the_depth_is_told_so() -> None:
    told = answer("a/IM1", FileKind.DICOM, None, AnswerRules(depth=2))
    assert told is not None
    assert (told.code, dict(told.values)) == ("FA-NOT-DEEP", {"depth": 2})

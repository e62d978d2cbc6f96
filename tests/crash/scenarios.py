"""What happens in a trial: stages of what the outside world does and what is run then, and how it must end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from folder_agent.core.records import Act, Deed
from tests.crash.yard import Yard, text_of
from tests.site import PDF

EXAM, IMAGES_LINE, REPORT = "/ris/study/add", "/dicom-web/studies", "/ris/file/add"
STUDY = "1.2.840.1"  # of all images
CHANGED = text_of(imageCnt=3, pdfCnt=1, examDept="放射科")


@dataclass(frozen=True)
class Stage:
    """What the outside world does, and the command that runs then: run (--once), or an operator's retry."""

    act: Callable[[Yard], None]
    command: str = "run"
    disturb: tuple[str, str, str] | None = None  # a step, a file in the drop folder, and its new text at that step


@dataclass(frozen=True)
class Scenario:
    """`ends` are bundles' last states; `exams` the gateway's last word by accession number, with some of its fields;
    `instances` the images that it holds."""

    name: str
    stages: tuple[Stage, ...]
    ends: Mapping[str, str]
    exams: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    instances: int = 0
    reports: int = 0
    other_volume: bool = False
    in_full: tuple[int, ...] = ()  # the stages that are killed at every moment, not at a sample of them
    kills: int = 8  # the size of that sample
    lines: str = ""  # of [sync]
    top: str = ""  # other tables of the settings
    by_dimse: bool = False  # images and reports go to a DICOM node by C-STORE


def fails(yard: Yard, path: str = EXAM, **how: Any) -> None:
    yard.gateway.rules.clear()
    yard.gateway.misbehave(match=path, times=-1, **how)


def _nothing(yard: Yard) -> None:
    yard.gateway.rules.clear()


def _one(yard: Yard) -> None:
    yard.exam("CT1")


def _refused(yard: Yard) -> None:
    yard.exam("CT1", patientId=None)


def _linked(yard: Yard) -> None:
    yard.exam("CT1")
    yard.link("CT1/link", "IM0")


def _with_verdict(yard: Yard) -> None:
    yard.exam("CT1")
    fails(yard, do="code", code=100001)


def _while_away(yard: Yard) -> None:
    yard.exam("CT1")
    fails(yard, do="status", status=503)


def _while_shut_out(yard: Yard) -> None:
    yard.exam("CT1")
    fails(yard, do="status", status=403)


def _take_away(yard: Yard) -> None:
    yard.take_away("CT1")


def _incomplete(yard: Yard) -> None:
    yard.exam("CT1", imageCnt=4)
    yard.write("CT1/IM9.part", b"half")


def _grown(yard: Yard) -> None:
    """While it waits: another image, a new sidecar; and the report is saved once more as it was."""
    _nothing(yard)
    yard.image("CT1/IM3", 3)
    yard.write("CT1/report.pdf", PDF)
    yard.sidecar("CT1/exam.json", imageCnt=4, pdfCnt=1)


def _late(yard: Yard) -> None:
    """Two images more, in a folder of their own, under a sidecar that counts these."""
    for number in (3, 4):
        yard.image(f"LATE/IM{number}", number)
    yard.sidecar("LATE/exam.json", imageCnt=2, studyUid=STUDY, examDept="放射科")


def _late_without_sidecar(yard: Yard) -> None:
    """Two images more, in a folder of their own and beside it, and nothing that says so."""
    yard.image("LATE/IM3", 3)
    yard.image("IM4", 4)


def _corrected(yard: Yard) -> None:
    """Nothing but the right sidecar, in a folder of the name."""
    yard.sidecar("CT1/exam.json", imageCnt=3, pdfCnt=1)


def _too_many(yard: Yard) -> None:
    yard.exam("CT1", imageCnt=2)


def _accepted(yard: Yard) -> None:
    """An operator's order, as the console writes it."""
    with closing(yard.ledger()) as ledger:
        [refused] = ledger.find_bundles("CT1")
        ledger.keep_deed(Deed(1.0, "local", Act.ACCEPT, refused.id, "all are of it"))


def _flat_refused(yard: Yard) -> None:
    yard.image("A1_1.dcm", 0)
    yard.image("A1_2.dcm", 1)
    yard.sidecar("A1.json", imageCnt=2, patientId=None)


def _flat_corrected(yard: Yard) -> None:
    yard.sidecar("A1.json", imageCnt=2)


def _dropped_again(yard: Yard) -> None:
    yard.exam("CT1", images=4)


def _spoilt(yard: Yard) -> None:
    _nothing(yard)
    yard.sidecar("CT1/exam.json", imageCnt=3, pdfCnt=1, patientId=None)


def _wrong_list(yard: Yard) -> None:
    yard.image("CT1/IM0", 0)
    yard.sidecar("CT1/exam.json", files=[{"path": "IM0", "sha256": "0" * 64}])


def _broken(yard: Yard) -> None:
    for name in ("A1_1.dcm", "A1_2.dcm"):
        yard.write(name, (yard.materials / "0.dcm").read_bytes()[:700])


def _mended(yard: Yard) -> None:
    yard.image("A1_1.dcm", 0)
    yard.take_away("A1_2.dcm")
    yard.sidecar("A1.json", imageCnt=1)


def _three_while_shut_out(yard: Yard) -> None:
    for number in range(3):
        folder = f"CT{number + 1}"
        yard.image(f"{folder}/IM0", number)
        yard.sidecar(f"{folder}/exam.json", imageCnt=1, studyDesc=f"{number}")
    fails(yard, "*", do="status", status=403)


def _one_of_three_lost(yard: Yard) -> None:
    yard.exam("CT1")
    yard.gateway.misbehave(do="forget", match=IMAGES_LINE)


def _two_spoilt_one_grown(yard: Yard) -> None:
    _nothing(yard)
    for number in (0, 1):
        yard.sidecar(f"CT{number + 1}/exam.json", imageCnt=1, patientId=None)
    yard.image("CT3/IM1", 3)
    yard.sidecar("CT3/exam.json", imageCnt=2, studyDesc="2")


def _overdue(yard: Yard) -> None:
    yard.settings('on_deadline = "fail"', "deadline_h = 0.0000001")
    yard.sidecar("CT1/exam.json", imageCnt=3)
    yard.image("CT1/IM0", 0)


def _overdue_while_waiting(yard: Yard) -> None:
    _nothing(yard)
    yard.settings('on_deadline = "fail"', "deadline_h = 0.0000001")
    yard.take_away("CT1/IM0")


def _begun(yard: Yard) -> None:
    """Two of three images, of a PACS that takes its time, with `eager`."""
    yard.settings("eager = true")
    yard.image("CT1/IM0", 0)
    yard.image("CT1/IM1", 1)
    yard.sidecar("CT1/exam.json", imageCnt=3, pdfCnt=1)


def _finished(yard: Yard) -> None:
    yard.image("CT1/IM2", 2)
    yard.write("CT1/report.pdf", PDF)


def _zipped(yard: Yard) -> None:
    yard.archive("CT1.zip", images=2)


def _cd(yard: Yard) -> None:
    """Two studies, one of which says all that is asked for, and what else lies on a CD."""
    yard.settings('sidecar = "optional"', quiet_s=0.5)  # so that a slow machine, too, sees the whole CD first
    for number in (0, 1):
        yard.image(f"CD1/DICOM/ST1/IM{number}", number)
    yard.image("CD1/DICOM/ST2/IM0", "nameless")
    for place in ("CD1/AUTORUN.INF", "CD1/VIEWER/view.exe", "CD1/VIEWER/LICENSE"):
        yard.write(place, f"{place}\n".encode())
    yard.write("CD1/VIEWER/settings.json", b'{"status": "final"}')


def _filled_in(yard: Yard) -> None:
    yard.fill_in("CD1 #2", "CD1/CD1 #2.json", accessNumber="ACC2")


TOLD = {"ACC1": {"imageCnt": 3, "pdfCnt": 1, "patientId": "P7001"}}
WHOLE: dict[str, Any] = {"exams": TOLD, "instances": 3, "reports": 1}
PROVEN = '[images]\nverify = "qido"\n'
BACK = (Stage(_with_verdict), Stage(_nothing, "retry"), Stage(lambda yard: None))

SCENARIOS = (
    Scenario("delivered", (Stage(_one),), {"CT1": "DONE"}, **WHOLE, in_full=(0,)),
    Scenario("delivered to another volume", (Stage(_one),), {"CT1": "DONE"}, **WHOLE, other_volume=True, kills=16),
    Scenario("refused", (Stage(_refused),), {"CT1": "REFUSED"}, in_full=(0,)),
    Scenario("refused with a link to another volume", (Stage(_linked),), {"CT1": "REFUSED"}, other_volume=True),
    Scenario("failed and put back", BACK, {"CT1": "DONE"}, **WHOLE, in_full=(0, 1)),
    Scenario("failed and put back from another volume", BACK, {"CT1": "DONE"}, **WHOLE, other_volume=True, kills=20),
    Scenario("tried again", (Stage(_while_away), Stage(_nothing, "retry"), Stage(_nothing)), {"CT1": "DONE"}, **WHOLE),
    Scenario("held", (Stage(_while_shut_out), Stage(_nothing, "retry"), Stage(_nothing)), {"CT1": "DONE"}, **WHOLE),
    Scenario("withdrawn", (Stage(_incomplete), Stage(_take_away)), {"CT1": "WITHDRAWN"}),
    Scenario(
        "withdrawn while held",
        (Stage(_while_shut_out), Stage(_take_away)),
        {"CT1": "WITHDRAWN"},
        instances=3,
        reports=1,
    ),
    Scenario(
        "found wrong while it waited",
        (Stage(_while_away), Stage(_spoilt)),
        {"CT1": "REFUSED"},
        instances=3,
        reports=1,
    ),
    Scenario(
        "changed under our hands",
        (Stage(_one, disturb=("images answer read", "CT1/exam.json", CHANGED)), Stage(_nothing)),
        {"CT1": "DONE"},
        exams={"ACC1": {"imageCnt": 3, "examDept": "放射科"}},
        instances=3,
        reports=1,
    ),
    Scenario(
        "grown while it waited",
        (Stage(_while_away), Stage(_grown)),
        {"CT1": "DONE"},
        exams={"ACC1": {"imageCnt": 4, "pdfCnt": 1}},
        instances=4,
        reports=1,
    ),
    Scenario(
        "delivered and dropped again",
        (Stage(_one), Stage(_dropped_again)),
        {"CT1": "DONE"},
        exams={"ACC1": {"imageCnt": 4, "pdfCnt": 1}},
        instances=4,
        reports=1,
    ),
    Scenario(
        "delivered, and a series later",
        (Stage(_one), Stage(_late)),
        {"CT1": "DONE", "LATE": "DONE"},
        exams={"ACC1": {"imageCnt": 5, "pdfCnt": 1, "examDept": "放射科"}},
        instances=5,
        reports=1,
    ),
    Scenario(
        "delivered, and images later without a sidecar",
        (Stage(_one), Stage(_late_without_sidecar)),
        {"CT1": "DONE", "LATE": "DONE", "ACC1": "DONE"},
        exams={"ACC1": {"imageCnt": 5, "pdfCnt": 1, "patientName": "测试甲"}},
        instances=5,
        reports=1,
    ),
    Scenario("delivered twice", (Stage(_one), Stage(_one)), {"CT1": "DONE"}, **WHOLE, kills=16),
    Scenario(
        "refused and corrected",
        (Stage(_refused), Stage(_corrected)),
        {"CT1": "DONE"},
        **WHOLE,
        kills=32,
    ),
    Scenario(
        "refused and corrected between volumes",
        (Stage(_refused), Stage(_corrected)),
        {"CT1": "DONE"},
        **WHOLE,
        other_volume=True,
        kills=16,
    ),
    Scenario(
        "refused and corrected in a flat folder",
        (Stage(_flat_refused), Stage(_flat_corrected)),
        {"A1": "DONE"},
        exams={"ACC1": {"imageCnt": 2}},
        instances=2,
    ),
    Scenario(
        "more than declared and accepted",
        (Stage(_too_many), Stage(_accepted)),
        {"CT1": "DONE"},
        **WHOLE,
        kills=16,
    ),
    Scenario(
        "more than declared and accepted between volumes",
        (Stage(_too_many), Stage(_accepted)),
        {"CT1": "DONE"},
        **WHOLE,
        other_volume=True,
        kills=8,
    ),
    Scenario("a wrong list", (Stage(_wrong_list),), {"CT1": "REFUSED"}),
    Scenario(
        "broken files mended",
        (Stage(_broken), Stage(_mended)),
        {"A1": "DONE"},
        exams={"ACC1": {"imageCnt": 1}},
        instances=1,
    ),
    Scenario(
        "three exams while held",
        (Stage(_three_while_shut_out), Stage(_two_spoilt_one_grown)),
        {"CT1": "REFUSED", "CT2": "REFUSED", "CT3": "DONE"},
        exams={"ACC1": {"imageCnt": 2, "studyDesc": "2"}},
        instances=2,
        lines="workers = 1\n",
    ),
    Scenario(
        "unpacked",
        (Stage(_zipped),),
        {"CT1.zip": "WITHDRAWN", "CT1": "DONE"},
        exams={"ACC1": {"imageCnt": 2}},
        instances=2,
        kills=24,
    ),
    Scenario("lost at the gateway", (Stage(_one_of_three_lost),), {"CT1": "DONE"}, **WHOLE, top=PROVEN),
    Scenario("delivered by C-STORE", (Stage(_one),), {"CT1": "DONE"}, **WHOLE, by_dimse=True),
    Scenario("sent ahead", (Stage(_begun), Stage(_finished)), {"CT1": "DONE"}, **WHOLE, in_full=(0,)),
    Scenario("sent ahead and found wrong", (Stage(_begun), Stage(_spoilt)), {"CT1": "REFUSED"}, instances=2),
    Scenario(
        "sent ahead and taken away", (Stage(_begun), Stage(_take_away)), {"CT1": "WITHDRAWN"}, instances=2, kills=6
    ),
    Scenario(
        "a CD of two studies, one with a template",
        (Stage(_cd), Stage(_filled_in)),
        {"CD1 ACC1": "DONE", "CD1 #2": "WITHDRAWN", "CD1": "DONE"},
        exams={"ACC1": {"imageCnt": 2, "patientId": "P7001"}, "ACC2": {"imageCnt": 1, "patientSex": "M"}},
        instances=3,
        kills=20,
    ),
    Scenario("overdue", (Stage(_overdue),), {"CT1": "FAILED"}),
    Scenario(
        "overdue while it waited",
        (Stage(_while_away), Stage(_overdue_while_waiting)),
        {"CT1": "FAILED"},
        instances=3,
        reports=1,
    ),
)
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}

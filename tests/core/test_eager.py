"""What may be sent ahead: only images that are surely of the exam, and nothing while anything speaks against it."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from folder_agent.core.bundling import MAY_GROW, BundleRules, Complete, Refused, Waiting, judge
from folder_agent.core.eager import may_go_ahead
from folder_agent.core.errors import problem
from folder_agent.core.grouping import Group, Member
from folder_agent.core.records import Counts, FileKind, Finding, ListedFile, SidecarReading
from folder_agent.core.settling import Watched
from tests.core.test_bundling import NOW, OLD, folder, image, pdf, sidecar

RULES = BundleRules(eager=True)
FOREVER = NOW + 1e9
calmly = settings(deadline=None, max_examples=60)


def unsettled(member: Member) -> Member:
    """The same file, of which nothing is known yet but its name."""
    return replace(member, kind=FileKind.UNKNOWN, finding=None, watched=Watched(member.watched.stamp, NOW))


def broken(member: Member, code: str = "FA-FILE-TRUNCATED") -> Member:
    wrong = problem(code, member.path, detail="cut short")
    return replace(member, finding=Finding(FileKind.UNKNOWN, problem=wrong), kind=FileKind.UNKNOWN)


def names(members: tuple[Member, ...]) -> set[str]:
    return {member.path for member in members}


# An image as it should be; of the exam by one of its two names only; by neither; of somebody else.
KINDS = {
    "own": {},
    "by study": {"accession": None},
    "by number": {"study": "1.2"},
    "nobody's": {"study": "1.2", "accession": None},
    "of another patient": {"patient_id": "P2"},
    "of another exam": {"accession": "A2"},
    "of another study": {"study": "1.3"},
}
FOREIGN = frozenset({"of another patient", "of another exam", "of another study"})


@st.composite
def files(draw: st.DrawFn, kinds: st.SearchStrategy[str]) -> list[Member]:
    """Files of one folder, settled or not, whole or not."""
    found: list[Member] = []
    for number in range(draw(st.integers(0, 6))):
        path = f"X/{number}"
        what = draw(st.sampled_from(["image", "image", "image", "pdf", "junk", "cut short"]))
        member = image(path, f"1.2.9.{number}", **KINDS[draw(kinds)])
        if what == "pdf":
            member = pdf(path)
        elif what == "junk":
            member = Member(path, FileKind.JUNK, OLD, Finding(FileKind.JUNK))
        elif what == "cut short":
            member = broken(member)
        found.append(unsettled(member) if draw(st.integers(0, 3)) == 0 else member)
    return found


declared = st.sampled_from([Counts(), Counts(images=2), Counts(images=20, pdfs=3), Counts(pdfs=0)])
groups = st.builds(
    lambda members, counts: folder(*members, declared=counts),
    files(st.sampled_from(["own", "own", "own", "by study", "by number", *sorted(FOREIGN)])),
    declared,
)
sound = st.builds(
    lambda members, counts: folder(*members, declared=counts),
    files(st.sampled_from(["own", "by study"])),
    st.sampled_from([Counts(), Counts(images=20)]),
)


@calmly
@given(groups)
def test_only_whole_settled_images_of_the_exam_go(group: Group) -> None:
    for member in may_go_ahead(group, RULES):
        assert member in group.files
        assert member.finding is not None
        assert (member.finding.kind, member.finding.problem) == (FileKind.DICOM, None)
        facts = member.finding.dicom
        assert facts is not None
        assert facts.study == "1.2" or facts.accession == "A1"
        assert (facts.study, facts.accession or "A1", facts.patient_id or "P1") == ("1.2", "A1", "P1")


@calmly
@given(groups)
def test_nothing_goes_of_an_exam_that_could_only_be_refused(group: Group) -> None:
    """Whatever is settled by now, taken for all that ever comes: if its content is wrong, nothing has gone of it."""
    known = replace(group, files=tuple(member for member in group.files if member.finding is not None))
    verdict = judge(known, RULES, FOREVER, 0)
    if isinstance(verdict, Refused) and not any(one.code in MAY_GROW for one in verdict.problems):
        assert may_go_ahead(group, RULES) == ()


@calmly
@given(groups, st.data())
def test_one_contradiction_holds_back_everything(group: Group, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(sorted(FOREIGN)))
    stranger = image("X/zz", "1.2.9.99", **KINDS[kind])
    assert may_go_ahead(replace(group, files=(*group.files, stranger)), RULES) == ()


@calmly
@given(sound)
def test_all_that_goes_is_of_the_exam_when_it_is_complete(group: Group) -> None:
    ahead = may_go_ahead(group, RULES)
    whole = [member for member in group.files if member.finding is not None and member.finding.problem is None]
    reading = group.sidecars[0].finding
    assert reading is not None
    assert reading.sidecar is not None
    images = sum(member.kind is FileKind.DICOM for member in whole)
    assume(images > 0)
    end = folder(*whole, declared=Counts(images=images))
    assert isinstance(judge(end, RULES, FOREVER, 0), Complete)
    assert names(ahead) == {member.path for member in whole if member.kind is FileKind.DICOM}


@calmly
@given(groups, st.lists(st.integers(7, 12), unique=True, max_size=3))
def test_files_of_which_nothing_is_known_change_nothing(group: Group, numbers: list[int]) -> None:
    arriving = [unsettled(image(f"X/{number}")) for number in numbers]
    more = replace(group, files=(*group.files, *arriving))
    assert may_go_ahead(more, RULES) == may_go_ahead(group, RULES)


@calmly
@given(groups, st.randoms())
def test_the_order_of_the_files_does_not_matter(group: Group, random: Random) -> None:
    mixed = list(group.files)
    random.shuffle(mixed)
    assert names(may_go_ahead(replace(group, files=tuple(mixed)), RULES)) == names(may_go_ahead(group, RULES))


@calmly
@given(groups)
def test_an_exam_that_waits_and_could_be_complete_sends_what_it_has(group: Group) -> None:
    """The use of it: as long as only more files are waited for, every whole image goes."""
    known = replace(group, files=tuple(member for member in group.files if member.finding is not None))
    verdict = judge(known, RULES, NOW, 0)
    is_short = isinstance(verdict, Waiting) and {one.code for one in verdict.reasons} <= {"FA-WAIT-FILES"}
    if is_short:
        assert names(may_go_ahead(group, RULES)) == {m.path for m in known.files if m.kind is FileKind.DICOM}


def test_nothing_goes_without_one_sidecar_that_can_be_read() -> None:
    files = (image("X/1"),)
    whole = folder(*files)
    assert names(may_go_ahead(whole, RULES)) == {"X/1"}
    two = (sidecar("X/a.json"), sidecar("X/b.json"))
    wrong = sidecar("X/exam.json", problems=(problem("FA-FIELD-INVALID", field="patientSex", expected="M"),))
    late = unsettled(sidecar("X/exam.json"))
    for sidecars in ((), two, (wrong,), (late,)):
        assert may_go_ahead(replace(whole, sidecars=sidecars), RULES) == ()
    assert may_go_ahead(replace(whole, is_archive=True), RULES) == ()


def test_what_images_may_still_fill_in_holds_nothing_back_unless_that_is_off() -> None:
    missing = sidecar("X/exam.json", problems=(problem("FA-FIELD-MISSING", field="patientSex"),))
    group = replace(folder(image("X/1")), sidecars=(missing,))
    assert names(may_go_ahead(group, RULES)) == {"X/1"}
    assert may_go_ahead(group, replace(RULES, fill=False)) == ()


def test_an_image_that_only_its_place_speaks_for_waits_unless_the_list_names_it() -> None:
    group = folder(image("X/1", study="1.9", accession=None), image("X/2"))
    nowhere = replace(group.sidecars[0], finding=Finding(FileKind.SIDECAR, sidecar=_without_study()))
    group = replace(group, sidecars=(nowhere,), files=group.files[:1])
    assert may_go_ahead(group, RULES) == ()
    assert nowhere.finding is not None
    assert nowhere.finding.sidecar is not None
    listed = replace(nowhere.finding.sidecar, listed=(ListedFile("1"), ListedFile("2")))
    by_list = replace(nowhere, finding=Finding(FileKind.SIDECAR, sidecar=listed))
    assert names(may_go_ahead(replace(group, sidecars=(by_list,)), RULES)) == {"X/1"}


def test_a_listed_image_goes_only_as_long_as_it_is_listed() -> None:
    """One that is shorter may still be growing, one that is longer is wrong."""

    def of(size: int) -> Group:
        return folder(image("X/1"), listed=(ListedFile("1", size=size), ListedFile("2")))

    assert OLD.stamp.size == 10
    assert names(may_go_ahead(of(10), RULES)) == {"X/1"}
    assert may_go_ahead(of(11), RULES) == ()
    assert may_go_ahead(of(9), RULES) == ()


def _without_study() -> SidecarReading:
    finding = sidecar("X/exam.json").finding
    assert finding is not None
    assert finding.sidecar is not None
    return replace(finding.sidecar, fields=(("patientId", "P1"), ("accessNumber", "A1")))

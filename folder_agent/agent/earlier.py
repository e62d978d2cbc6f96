"""What is known of images that came without a sidecar, of a study that was delivered: the exam information that was
posted then, from the receipt in done/.

Who the images are of must agree with it, in the fields that the drop folder compares. Asks the ledger and reads
receipts; a few are remembered, since every judgement asks anew.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence

from folder_agent.agent.pasts import Pasts
from folder_agent.core.errors import AgentError, Problem, problem
from folder_agent.core.exam import FIELD_CLASSES, FieldClass
from folder_agent.core.filling import filled_with
from folder_agent.core.headers import NOTHING
from folder_agent.core.ports import Ledger, Shelves
from folder_agent.core.receipts import exam_fields
from folder_agent.core.records import BundleRecord, DicomFacts, Origin, SidecarReading
from folder_agent.core.shelving import RECEIPT

_MOST = 16  # receipts in memory
_REQUIRED = frozenset(name for name, class_ in FIELD_CLASSES.items() if class_ is FieldClass.A)
_WHY = {
    "moving": ("它正在移入 done/", "it is still on its way to done/"),
    "away": ("done/ 暂时无法读取", "done/ cannot be read now"),
    "gone": ("回执已不在 done/ 中", "its receipt is not in done/ any more"),
    "unreadable": ("回执无法读取", "its receipt cannot be read"),
    "other": ("影像中的患者与已送达的不一致", "the images name another patient than that says"),
}


class Earlier:
    """Of one drop folder. `match` are the fields in which headers and exam information must agree."""

    def __init__(self, ledger: Ledger, shelves: Shelves, pasts: Pasts, match: Sequence[str]) -> None:
        self._ledger, self._shelves, self._pasts = ledger, shelves, pasts
        self._match = frozenset(match)
        self._known: OrderedDict[str, Mapping[str, str]] = OrderedDict()  # by target

    def of(self, facts: Sequence[DicomFacts]) -> SidecarReading | Problem | None:
        """The exam of the images; None if nothing of their study was delivered; a problem if it was, and why that does
        not help."""
        last = self._last(facts)
        if last is None:
            return None
        fields = self._fields(last)
        if isinstance(fields, str):
            return _told(last, fields)
        if "patientId" in self._match and {one.patient_id for one in facts} - {None, fields["patientId"]}:
            return _told(last, "other")
        return reading_of(last, fields)

    def _last(self, facts: Sequence[DicomFacts]) -> BundleRecord | None:
        studies = {one.study for one in facts}
        if len(studies) != 1:
            return None
        study = studies.pop()
        numbers = {bundle.access_number for bundle in self._ledger.delivered(None, study)}
        said = {one.accession for one in facts if one.accession is not None}
        if said and (said <= numbers or "accessNumber" in self._match):
            numbers &= said
        if len(numbers) != 1 or len(said) > 1:
            return None  # of which order they are, nothing says
        past = self._pasts.of(numbers.pop(), study)
        return past.last if past is not None else None

    def _fields(self, last: BundleRecord) -> Mapping[str, str] | str:
        """What was posted; or why that is not known."""
        if last.target is None or last.is_open:
            return "moving"
        if (known := self._known.get(last.target)) is not None:
            return known
        try:
            content = self._shelves.read(last.target, RECEIPT)
        except AgentError:
            return "away"
        if content is None:
            return "gone"
        fields = exam_fields(content)
        if fields is None or not fields.keys() >= _REQUIRED:
            return "unreadable"
        self._known[last.target] = fields
        while len(self._known) > _MOST:
            self._known.popitem(last=False)
        return fields


def reading_of(last: BundleRecord, fields: Mapping[str, str]) -> SidecarReading:
    """What stands for a sidecar: the text fields that were posted with that bundle."""
    return filled_with(NOTHING, fields, Origin.EARLIER, dict.fromkeys(fields, last.name))


def passes_soon(trouble: Problem) -> bool:
    """Whether it is only a move that is not over yet."""
    return dict(trouble.values).get("en") == _WHY["moving"][1]


def _told(last: BundleRecord, why: str) -> Problem:
    zh, en = _WHY[why]
    return problem("FA-NO-EARLIER", name=last.name, zh=zh, en=en)

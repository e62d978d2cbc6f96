"""The JSON object → a SidecarReading: each of the gateway's fields in its form, and everything to be said about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from folder_agent.core import normalising
from folder_agent.core.errors import Problem, problem
from folder_agent.core.exam import COUNT_FIELDS, FIELD_CLASSES, PERMIT, PERMIT_MAINLAND, TEXT_FIELDS, FieldClass
from folder_agent.core.normalising import Unfit
from folder_agent.core.records import Counts, ListedFile, SidecarReading
from folder_agent.core.sidecar.listing import FILES, folded, listed, unknown_facts
from folder_agent.core.sidecar.wording import MAX_KEY, MAX_TOLD, shown

_T = TypeVar("_T")
_AGE = ("patientAge", "patientAgeUnit")
_KEYS = {name.lower(): name for name in (*FIELD_CLASSES, FILES)} | {PERMIT_MAINLAND.lower(): PERMIT}
_FORMS: dict[str, Callable[[object], str | None]] = {
    "patientSex": normalising.sex,
    "patientBirthday": normalising.date,
    "size": normalising.size,
    "weight": normalising.weight,
    "studyDate": normalising.date_time,
    "studyCategory": normalising.study_category,
    "status": normalising.status,
    "studyUid": normalising.uid,
}


class Reader:
    """Collects the fields of one sidecar and everything that is to be said about them."""

    def __init__(self, document: Mapping[str, object]) -> None:
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self.unknown: list[str] = []
        self.told: set[str] = set()  # fields about which something has been said
        self.given: dict[str, object] = {}
        for key, value in document.items():
            self._take(key, value)

    def reading(self, encoding: str) -> SidecarReading:
        """All of it, as it is told on."""
        values = self._ages()
        for name in TEXT_FIELDS:
            if name not in _AGE:
                values[name] = self._read(name, _FORMS.get(name, normalising.text))
            self._miss(name, values[name])
        declared = Counts(**{count: self._read(name, normalising.count) for name, count in COUNT_FIELDS.items()})
        files = self._listed()
        return SidecarReading(
            fields=tuple((name, value) for name in TEXT_FIELDS if (value := values[name]) is not None),
            declared=declared,
            listed=files,
            encoding=encoding,
            unknown_keys=tuple(self.unknown),
            problems=tuple(self.problems),
            warnings=tuple(self.warnings),
        )

    def _take(self, key: str, value: object) -> None:
        """Sort a key in by its gateway name; of unknown ones only the name is kept."""
        name = _KEYS.get(folded(key))
        if name is None:
            self._unknown(key)
        elif name in self.given:
            self.problems.append(problem("FA-SIDECAR-DUPLICATE", field=name))
        else:
            self.given[name] = value

    def _unknown(self, key: str) -> None:
        name = shown(key, MAX_KEY)
        if len(self.unknown) < MAX_TOLD and name not in self.unknown:
            self.unknown.append(name)
            self.warnings.append(problem("FA-FIELD-UNKNOWN", field=name))

    def _read(self, name: str, form: Callable[[object], _T | None]) -> _T | None:
        try:
            return form(self.given.get(name))
        except Unfit as error:
            self._unfit(name, error.expected)
            return None

    def _unfit(self, name: str, expected: str) -> None:
        """A count decides whether the bundle is complete, so that a wrong one refuses like a wrong class A field."""
        self.told.add(name)
        value = {"value": shown(self.given.get(name))}
        if FIELD_CLASSES.get(name) is FieldClass.A or name in COUNT_FIELDS or name == FILES:
            self.problems.append(problem("FA-FIELD-INVALID", private=value, field=name, expected=expected))
        else:
            self.warnings.append(problem("FA-FIELD-DROPPED", private=value, field=name, expected=expected))

    def _miss(self, name: str, value: str | None) -> None:
        if value is None and name not in self.told:
            if FIELD_CLASSES[name] is FieldClass.A:
                self.problems.append(problem("FA-FIELD-MISSING", field=name))
            elif FIELD_CLASSES[name] is FieldClass.B:
                self.warnings.append(problem("FA-FIELD-ABSENT", field=name))

    def _ages(self) -> dict[str, str | None]:
        """Age and unit explain each other; where they do not fit, the age goes and a readable unit may stay."""
        age, unit = (self.given.get(name) for name in _AGE)
        try:
            return dict(zip(_AGE, normalising.age_with_unit(age, unit), strict=True))
        except Unfit as error:
            if not normalising.is_absent(age):
                self._unfit(_AGE[0], error.expected)
            return {_AGE[0]: None, _AGE[1]: self._read(_AGE[1], normalising.age_unit)}

    def _listed(self) -> tuple[ListedFile, ...] | None:
        """The `files` list. An empty one lists nothing, as many exporters write it: counts or quiet decide then."""
        entries = self.given.get(FILES)
        if entries == [] or normalising.is_absent(entries):
            return None
        if not isinstance(entries, list):
            self._unfit(FILES, "[…]")
            return None
        files, wrong = listed(entries)
        self.problems.extend(wrong)
        for key in unknown_facts(entries):
            self._unknown(f"{FILES}[].{key}")
        return files

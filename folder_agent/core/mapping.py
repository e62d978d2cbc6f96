"""How a site's own sidecars say what the gateway asks for: `[drops.mapping]` of the settings, checked as a whole.

Only what is meant: nothing here reads a sidecar (`core/sidecar/gathering.py` does).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TypeVar

from folder_agent.core import forms, normalising
from folder_agent.core.date_patterns import DatePattern, WrongPattern, date_pattern
from folder_agent.core.exam import PERMIT_MAINLAND
from folder_agent.core.normalising import Unfit

MAX_STEPS = 8  # of a path: each may be an exact key with dots in it, so that trying them doubles with each step
MAX_PATH = 256  # characters of a path
MAX_ENTRIES = 1000  # paths, and values of one field

Location = tuple[str, ...]
Scalar = str | int | float
_T = TypeVar("_T")
_TABLES = ("values", "constants", "dates", "defaults")


@dataclass(frozen=True, slots=True)
class SiteMapping:
    """`paths` lead to fields; `values`, `constants`, `dates` and `defaults` are by field; each fits its field."""

    paths: tuple[tuple[str, str], ...] = ()  # as in the settings; a field may have several, a path several fields
    values: Mapping[str, Mapping[str, Scalar]] = field(default_factory=dict)
    constants: Mapping[str, Scalar] = field(default_factory=dict)
    dates: Mapping[str, DatePattern] = field(default_factory=dict)
    defaults: Mapping[str, Scalar] = field(default_factory=dict)

    def paths_of(self, name: str) -> list[str]:
        """The paths that may lead to a field's value."""
        return [path for path, field_ in self.paths if field_ == name]

    def decides(self, name: str) -> bool:
        """Whether the field's own name says nothing, because the mapping says where its value comes from."""
        return name in self.constants or any(field_ == name for _, field_ in self.paths)


NO_MAPPING = SiteMapping()


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a mapping: where in its table, and what."""

    location: Location
    message: str


class WrongMapping(ValueError):
    """A mapping that cannot be used, with everything that is wrong with it."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("; ".join(fault.message for fault in faults))
        self.faults = faults


def site_mapping(table: object) -> SiteMapping:
    """The mapping that a table of the settings means. Raises WrongMapping."""
    return _Checker().mapping(table)


class _Checker:
    """Reads the table, and collects what is wrong with it."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def mapping(self, table: object) -> SiteMapping:
        if not isinstance(table, dict):
            raise WrongMapping([Fault((), "must be a table")])
        rest = {key: value for key, value in table.items() if key not in _TABLES}
        found = SiteMapping(
            paths=tuple(self._paths(rest)),
            values=self._by_field(table, "values", self._values_of),
            constants=self._by_field(table, "constants", self._value),
            dates=self._by_field(table, "dates", self._pattern),
            defaults=self._by_field(table, "defaults", self._value),
        )
        self._check_constants(found)
        if self._faults:
            raise WrongMapping(self._faults)
        return found

    def _fault(self, location: Location, message: str) -> None:
        self._faults.append(Fault(location, message))

    def _paths(self, table: Mapping[str, object]) -> Iterator[tuple[str, str]]:
        if len(table) > MAX_ENTRIES:
            self._fault((), f"has more than {MAX_ENTRIES} paths")
            return
        for path, target in table.items():
            if not path or len(path) > MAX_PATH or path.count(".") >= MAX_STEPS:
                self._fault((path,), f"is no path of 1 to {MAX_STEPS} keys and at most {MAX_PATH} characters")
            for name in target if isinstance(target, list) else [target]:
                known = self._field((path,), name)
                if known is not None:
                    yield path, known

    def _field(self, location: Location, name: object) -> str | None:
        if isinstance(name, dict):
            self._fault(location, 'must be the name of a field; put a path in quotes: "Patient.ID" = "patientId"')
            return None
        known = forms.NAMES.get(name.lower()) if isinstance(name, str) else None
        if known is None or name not in (known, PERMIT_MAINLAND):
            near = get_close_matches(str(name).lower(), forms.NAMES, n=1)
            hint = f"; did you mean {forms.NAMES[near[0]]}?" if near else ""
            self._fault(location, f"{str(name)[:64]!r} is none of the gateway's fields{hint}")
            return None
        return known

    def _by_field(
        self, table: Mapping[str, object], kind: str, read: Callable[[Location, str, object], _T | None]
    ) -> dict[str, _T]:
        entries = table.get(kind, {})
        if not isinstance(entries, dict):
            self._fault((kind,), f"must be a table of fields: {kind}.FIELD = …")
            return {}
        found: dict[str, _T] = {}
        for name, value in entries.items():
            location = (kind, name)
            known = self._field(location, name)
            if known == forms.FILES:
                self._fault(location, "the list of files can only be mapped by name")
            elif known is not None and (one := read(location, known, value)) is not None:
                found[known] = one
        return found

    def _values_of(self, location: Location, name: str, entries: object) -> dict[str, Scalar] | None:
        if not isinstance(entries, dict) or len(entries) > MAX_ENTRIES:
            self._fault(location, f'must be a table of at most {MAX_ENTRIES} values: {{"门诊" = "normal", …}}')
            return None
        for written, value in entries.items():
            self._fits((*location, written), name, value)
        return dict(entries)

    def _value(self, location: Location, name: str, value: object) -> Scalar | None:
        if name in forms.IDENTIFYING:
            self._fault(location, "tells one patient or exam from another: it cannot be the same for all")
        elif self._fits(location, name, value):
            if isinstance(value, (str, int, float)) and not normalising.is_absent(value):
                return value
            self._fault(location, "must not be empty")
        return None

    def _fits(self, location: Location, name: str, value: object) -> bool:
        try:
            forms.check(name, value)
        except Unfit as error:
            self._fault(location, f"is not what {name} may be ({error.expected})")
            return False
        return True

    def _pattern(self, location: Location, name: str, written: object) -> DatePattern | None:
        if name not in forms.DATES:
            self._fault(location, f"is no date; dates are {', '.join(forms.DATES)}")
        elif not isinstance(written, str):
            self._fault(location, 'must be a pattern such as "yyyyMMddHHmmss"')
        else:
            try:
                return date_pattern(written)
            except WrongPattern as error:
                self._fault(location, str(error))
        return None

    def _check_constants(self, found: SiteMapping) -> None:
        """A field that is the same for all comes from nowhere else: which of the two was meant?"""
        mapped = {name for _, name in found.paths}
        for name in found.constants:
            others = [
                kind
                for kind, names in (("a path", mapped), ("values", found.values), ("defaults", found.defaults))
                if name in names
            ]
            if others:
                self._fault(("constants", name), f"has {' and '.join(others)}, too")

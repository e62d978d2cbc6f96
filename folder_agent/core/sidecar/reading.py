"""The raw values → a SidecarReading: each of the gateway's fields in its form, and everything to be said about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

from folder_agent.core import normalising
from folder_agent.core.errors import problem
from folder_agent.core.exam import COUNT_FIELDS, FIELD_CLASSES, TEXT_FIELDS, FieldClass
from folder_agent.core.forms import AGE, AGE_UNIT, FILES, MOMENTS, text_form
from folder_agent.core.mapping import SiteMapping
from folder_agent.core.normalising import Unfit
from folder_agent.core.records import Counts, ListedFile, SidecarReading, Source
from folder_agent.core.sidecar.gathering import Gathering
from folder_agent.core.sidecar.listing import listed, unknown_facts
from folder_agent.core.sidecar.wording import shown

_T = TypeVar("_T")


class Reader:
    """Reads the fields of one sidecar, and collects everything that is to be said about them."""

    def __init__(self, document: Mapping[str, object], mapping: SiteMapping) -> None:
        self._mapping = mapping
        self._gathered = Gathering(document, mapping)
        self._raw = self._gathered.raw
        self._problems = self._gathered.problems
        self._warnings = self._gathered.warnings
        self._told: set[str] = set()  # fields about which something has been said
        self._absent: list[str] = []

    def reading(self, encoding: str) -> SidecarReading:
        """All of it, as it is told on."""
        values = self._ages()
        for name in TEXT_FIELDS:
            if name not in (AGE, AGE_UNIT):
                values[name] = self._read(name, self._form(name)) if name in self._raw else None
            if values[name] is None:
                self._miss(name)
        counts = {name: self._read(name, normalising.count) for name in COUNT_FIELDS}
        files = self._listed()
        return SidecarReading(
            fields=tuple((name, value) for name in TEXT_FIELDS if (value := values[name]) is not None),
            declared=Counts(**{COUNT_FIELDS[name]: count for name, count in counts.items()}),
            listed=files,
            encoding=encoding,
            unknown_keys=tuple(self._gathered.unknown),
            sources=self._sources({**values, **counts}),
            absent=tuple(self._absent),
            problems=tuple(self._problems),
            warnings=tuple(self._warnings),
        )

    def _form(self, name: str) -> Callable[[object], str | None]:
        """How the field is read: as the site writes its dates, where the value comes from the site as it is."""
        pattern, source = self._mapping.dates.get(name), self._gathered.sources.get(name)
        if pattern is None or source is None or source.key is None or source.written is not None:
            return text_form(name)
        return lambda raw: pattern.read(raw, with_time=name in MOMENTS)

    def _read(self, name: str, form: Callable[[object], _T | None]) -> _T | None:
        try:
            return form(self._raw.get(name))
        except Unfit as error:
            self._unfit(name, error.expected)
            return None

    def _unfit(self, name: str, expected: str) -> None:
        """A count decides whether the bundle is complete, so that a wrong one refuses like a wrong class A field."""
        self._told.add(name)
        value, called = {"value": shown(self._raw.get(name))}, self._gathered.name(name)
        if FIELD_CLASSES.get(name) is FieldClass.A or name in COUNT_FIELDS or name == FILES:
            self._problems.append(problem("FA-FIELD-INVALID", private=value, field=called, expected=expected))
        else:
            self._warnings.append(problem("FA-FIELD-DROPPED", private=value, field=called, expected=expected))

    def _miss(self, name: str) -> None:
        if name not in self._told:
            self._absent.append(name)
            if FIELD_CLASSES[name] is FieldClass.A:
                self._problems.append(problem("FA-FIELD-MISSING", field=self._gathered.name(name)))
            elif FIELD_CLASSES[name] is FieldClass.B:
                self._warnings.append(problem("FA-FIELD-ABSENT", field=self._gathered.name(name)))

    def _ages(self) -> dict[str, str | None]:
        """Age and unit explain each other; where they do not fit, the age goes and a readable unit may stay."""
        age, unit = self._raw.get(AGE), self._raw.get(AGE_UNIT)
        try:
            return dict(zip((AGE, AGE_UNIT), normalising.age_with_unit(age, unit), strict=True))
        except Unfit as error:
            if not normalising.is_absent(age):
                self._unfit(AGE, error.expected)
            return {AGE: None, AGE_UNIT: self._read(AGE_UNIT, normalising.age_unit)}

    def _listed(self) -> tuple[ListedFile, ...] | None:
        """The `files` list. An empty one lists nothing, as many exporters write it: counts or quiet decide then."""
        entries = self._raw.get(FILES)
        if entries == [] or normalising.is_absent(entries):
            return None
        if not isinstance(entries, list):
            self._unfit(FILES, "[…]")
            return None
        files, wrong = listed(entries)
        self._problems.extend(wrong)
        for key in unknown_facts(entries):
            self._gathered.tell_unknown(f"{FILES}[].{key}")
        return files

    def _sources(self, values: Mapping[str, str | int | None]) -> tuple[Source, ...]:
        """Of what is given; a unit that is written behind the age comes from there."""
        sources = dict(self._gathered.sources)
        if AGE in sources and normalising.is_absent(self._raw.get(AGE_UNIT)):
            sources[AGE_UNIT] = replace(sources[AGE], field=AGE_UNIT)
        return tuple(sources[name] for name in FIELD_CLASSES if values[name] is not None)

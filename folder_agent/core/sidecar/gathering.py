"""The JSON object → a raw value for each of the gateway's fields, by a site's mapping and by the fields' own names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from folder_agent.core import normalising
from folder_agent.core.errors import Problem, problem
from folder_agent.core.forms import NAMES
from folder_agent.core.mapping import SiteMapping
from folder_agent.core.normalising import Unfit
from folder_agent.core.records import Origin, Source
from folder_agent.core.sidecar.listing import folded
from folder_agent.core.sidecar.locating import Ambiguous, Tree
from folder_agent.core.sidecar.wording import MAX_KEY, MAX_TOLD, shown


class Gathering:
    """`raw` is what each field was given, `sources` where it came from; what is to be said about keys beside it."""

    def __init__(self, document: Mapping[str, object], mapping: SiteMapping) -> None:
        self.raw: dict[str, object] = {}
        self.sources: dict[str, Source] = {}
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self.unknown: list[str] = []
        self._mapping = mapping
        tree = Tree(document)
        self._follow_paths(tree)
        for path, value in tree.unread():
            self._take(path, value)
        self._translate()
        self._fill_in()

    def name(self, field: str) -> str:
        """The field, and in brackets how the sidecar calls it or should, where that is another name."""
        source = self.sources.get(field)
        keys = [source.key] if source is not None and source.key else self._mapping.paths_of(field)
        others = [shown(key, MAX_KEY) for key in keys if folded(key) != field.lower()]
        return f"{field} ({', '.join(others)})" if others else field

    def tell_unknown(self, key: str) -> None:
        """Of a key that says nothing to us, only the name is kept."""
        name = shown(key, MAX_KEY)
        if len(self.unknown) < MAX_TOLD and name not in self.unknown:
            self.unknown.append(name)
            self.warnings.append(problem("FA-FIELD-UNKNOWN", field=name))

    def _follow_paths(self, tree: Tree) -> None:
        for path, field in self._mapping.paths:
            try:
                hit = tree.find(path)
            except Ambiguous:
                self.problems.append(problem("FA-SIDECAR-DUPLICATE", field=f"{field} ({shown(path, MAX_KEY)})"))
                continue
            if hit is not None:
                self._give(field, hit.value, hit.key)

    def _take(self, key: str, value: object) -> None:
        """A key that no path has led to: a field by its own name, unless the mapping says where that comes from."""
        field = NAMES.get(folded(key))  # no field has a dot in its name, so that this is a key of the whole
        if field is None:
            self.tell_unknown(key)
        elif not self._mapping.decides(field):
            self._give(field, value, key)
        elif not normalising.is_absent(value):
            self.warnings.append(problem("FA-FIELD-UNUSED", field=shown(key, MAX_KEY)))

    def _give(self, field: str, value: object, key: str) -> None:
        """Two keys for one field are a contradiction, unless one of them is empty."""
        if field in self.raw and not normalising.is_absent(self.raw[field]):
            if not normalising.is_absent(value):
                self.problems.append(problem("FA-SIDECAR-DUPLICATE", field=field))
            return
        self.raw[field] = value
        self.sources[field] = _source(field, key)

    def _translate(self) -> None:
        for field, table in self._mapping.values.items():
            written = _as_written(self.raw.get(field))
            if written is not None and (value := _looked_up(table, written)) is not None:
                self.raw[field] = value
                self.sources[field] = replace(self.sources[field], written=written)

    def _fill_in(self) -> None:
        for field, value in self._mapping.defaults.items():
            if normalising.is_absent(self.raw.get(field)):
                self.raw[field], self.sources[field] = value, Source(field, Origin.DEFAULT)
        for field, value in self._mapping.constants.items():
            self.raw[field], self.sources[field] = value, Source(field, Origin.CONSTANT)


@lru_cache(maxsize=4096)
def _source(field: str, key: str) -> Source:
    """One for all sidecars that are written alike: thousands of them may wait in memory."""
    return Source(field, Origin.KEY, key)


def _as_written(raw: object) -> str | None:
    """A value as a site writes it in the settings; only there, true and false are words like others."""
    if isinstance(raw, bool):
        return "true" if raw else "false"
    try:
        return normalising.text(raw)
    except Unfit:
        return None


def _looked_up(table: Mapping[str, str | int | float], written: str) -> str | int | float | None:
    """The exact entry, else the one that differs in width or case only, if there is one such."""
    if written in table:
        return table[written]
    near = [value for key, value in table.items() if normalising.plain(key) == normalising.plain(written)]
    return near[0] if len(near) == 1 else None

"""Reads one entry of a configuration file field by field, collecting every problem instead of stopping at the first.

A problem names file, entry, field and remedy; a key that nobody asked for is a problem too, because a misspelt key would otherwise
be silently without effect. This file finishes with `read_yaml`.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

import yaml

from domain.errors import ConfigurationError

E = TypeVar("E", bound=Enum)


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault of a configuration folder: which file, which entry, which field, what, and the remedy."""

    file: str
    entry: str
    field: str
    what: str
    remedy: str

    def __str__(self) -> str:
        place = ", ".join(part for part in (self.entry, self.field) if part)
        return (
            f"{self.file}: {place}: {self.what} Remedy: {self.remedy}"
            if place
            else f"{self.file}: {self.what} Remedy: {self.remedy}"
        )


class FolderError(ConfigurationError):
    """A configuration folder with problems, all of them at once; nothing of it was applied."""

    code = "configuration"

    def __init__(self, folder: Path, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        shown = "; ".join(str(problem) for problem in self.problems[:20])
        more = f"; and {len(self.problems) - 20} more" if len(self.problems) > 20 else ""
        super().__init__(
            f"{len(self.problems)} problem(s), nothing was applied: {shown}{more}",
            where=str(folder),
            remedy="correct the entries named above and apply the folder again",
        )


class Problems:
    """The list that every reader of one folder writes to."""

    def __init__(self) -> None:
        self.found: list[Problem] = []

    def add(self, file: str, entry: str, field: str, what: str, remedy: str) -> None:
        """Record one problem."""
        self.found.append(Problem(file, entry, field, what, remedy))


class Entry:
    """One mapping of a file, read field by field; `finish` reports the keys that nobody asked for."""

    def __init__(self, file: str, label: str, data: Mapping[str, Any], problems: Problems) -> None:
        self.file, self.label, self.data, self.problems = file, label, data, problems
        self._asked: set[str] = set()

    def problem(self, field: str, what: str, remedy: str) -> None:
        """Record a problem of a field of this entry."""
        self.problems.add(self.file, self.label, field, what, remedy)

    def _take(self, name: str, *, required: bool) -> Any:
        self._asked.add(name)
        value = self.data.get(name)
        if value is None and required:
            self.problem(name, "is missing.", f"add {name}: to the entry")
        return value

    def text(self, name: str, *, pattern: str | None = None, meaning: str = "text") -> str:
        """Return a required text; an empty one when it is missing or malformed."""
        return self.optional_text(name, pattern=pattern, meaning=meaning, required=True) or ""

    def optional_text(
        self, name: str, *, pattern: str | None = None, meaning: str = "text", required: bool = False
    ) -> str | None:
        """Return a text or None."""
        value = self._take(name, required=required)
        if value is None:
            return None
        if not isinstance(value, str):
            self.problem(name, f"{value!r} is not {meaning}.", "put it in quotes")
            return None
        if not value.strip() or (pattern and not re.fullmatch(pattern, value)):
            self.problem(name, f"{value!r} is not {meaning}.", f"write {meaning}")
            return None
        return value

    def number(self, name: str) -> float:
        """Return a required number; NaN when it is missing or malformed."""
        value = self.optional_number(name, required=True)
        return float("nan") if value is None else value

    def optional_number(self, name: str, *, required: bool = False) -> float | None:
        """Return a number or None."""
        value = self._take(name, required=required)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.problem(name, f"{value!r} is not a number.", "write a number without quotes and without unit")
            return None
        return float(value)

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return true or false."""
        value = self._take(name, required=False)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.problem(name, f"{value!r} is neither true nor false.", "write true or false")
            return default
        return value

    def optional_day(self, name: str, *, required: bool = False) -> date | None:
        """Return a calendar date or None."""
        value = self._take(name, required=required)
        if value is None:
            return None
        if isinstance(value, datetime) or not isinstance(value, date):
            self.problem(name, f"{value!r} is not a date.", "write YYYY-MM-DD without quotes")
            return None
        return value

    def day(self, name: str) -> date:
        """Return a required calendar date; the first of year 1 when it is missing or malformed."""
        return self.optional_day(name, required=True) or date.min

    def optional_moment(self, name: str, *, required: bool = False) -> datetime | None:
        """Return an aware time or None; a time without offset is refused because nothing is guessed."""
        value = self._take(name, required=required)
        if value is None:
            return None
        moment = _moment(value)
        if moment is None:
            self.problem(name, f"{value!r} is not a time with offset.", 'write "2026-01-02T03:04:05+08:00" in quotes')
        return moment

    def choice(self, name: str, kinds: type[E], *, default: E | None = None) -> E:
        """Return a member of an enumeration by its value; `default` (or the first member) when missing or unknown."""
        value = self._take(name, required=default is None)
        fallback = default if default is not None else next(iter(kinds))
        if value is None:
            return fallback
        try:
            return kinds(value)
        except ValueError:
            self.problem(name, f"{value!r} is unknown.", "use one of " + ", ".join(str(kind.value) for kind in kinds))
            return fallback

    def words(self, name: str) -> tuple[str, ...]:
        """Return a list of texts, empty when absent."""
        value = self._take(name, required=False)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
            self.problem(name, f"{value!r} is not a list of texts.", "write [a, b], each in quotes where it looks like a number")
            return ()
        return tuple(value)

    def mapping(self, name: str, *, required: bool = False) -> dict[str, Any]:
        """Return a free mapping, empty when absent."""
        value = self._take(name, required=required)
        if value is None:
            return {}
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            self.problem(name, "is not a mapping with text keys.", "write key: value lines below it")
            return {}
        return value

    def raw(self, name: str) -> Any:
        """Return whatever stands under a key, None when absent."""
        return self._take(name, required=False)

    def entries(self, name: str, *, key: str = "code") -> list[Entry]:
        """Return the entries of a list below this one, labelled by their `key`."""
        return list_entries(self.file, self._take(name, required=False), name, self.problems, key=key, within=self.label)

    def finish(self) -> None:
        """Report every key that was not asked for."""
        for name in self.data:
            if name not in self._asked:
                self.problem(
                    str(name), "is an unknown key.", "remove it or correct its spelling; known: " + ", ".join(sorted(self._asked))
                )


def list_entries(file: str, value: Any, name: str, problems: Problems, *, key: str = "code", within: str = "") -> list[Entry]:
    """Return the mappings of a YAML list as entries; anything else is a problem."""
    if value is None:
        return []
    if not isinstance(value, list):
        problems.add(file, within, name, "is not a list.", "write each entry on its own line, beginning with '- '")
        return []
    found = []
    for ordinal, item in enumerate(value, start=1):
        label = f"{within + ' ' if within else ''}{name}[{ordinal}]"
        if not isinstance(item, dict):
            problems.add(file, label, "", "is not a mapping.", "write key: value lines")
            continue
        named = item.get(key)
        found.append(Entry(file, f"{label} {named}" if isinstance(named, str) else label, item, problems))
    return found


def _moment(value: Any) -> datetime | None:
    if isinstance(value, datetime):
        return value if value.tzinfo else None
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment if moment.tzinfo else None


class _OnceLoader(yaml.SafeLoader):
    """A safe loader that refuses a key given twice, which plain YAML would silently let win."""


def _mapping_once(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Hashable, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} is given twice", key_node.start_mark)
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


_OnceLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping_once)


def read_yaml(path: Path, problems: Problems) -> dict[str, Any]:
    """Return the top mapping of a YAML file, empty when the file is absent, empty or faulty (which is recorded)."""
    if not path.exists():
        return {}
    try:
        content = yaml.load(path.read_bytes(), Loader=_OnceLoader)
    except yaml.YAMLError as error:
        problems.add(path.name, "", "", f"is not YAML: {' '.join(str(error).split())}.", "correct the line named")
        return {}
    if content is None:
        return {}
    if not isinstance(content, dict):
        problems.add(path.name, "", "", "does not hold a mapping.", "begin the file with a key such as stations:")
        return {}
    return content

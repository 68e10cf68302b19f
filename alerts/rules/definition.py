"""The words that every kind of rule shares: scope, ladder of limits, times, actions; each error names the field and the remedy.

This file finishes with `Reader`, which also refuses what nobody asked for: a misspelt key would be silently without effect.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

from alerts.lifecycle import Policy
from domain.alert import Level, level_of
from domain.errors import InputError, UnitError
from domain.model import Datastream, Station, StationKind
from domain.units import parse_unit

_DURATION = re.compile(r"^P(?:(?P<weeks>\d+(?:\.\d+)?)W)?(?:(?P<days>\d+(?:\.\d+)?)D)?"
                       r"(?:T(?:(?P<hours>\d+(?:\.\d+)?)H)?(?:(?P<minutes>\d+(?:\.\d+)?)M)?(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?$")  # fmt: skip
COLOURS = ("blue", "yellow", "orange", "red")
SCOPE_FIELDS = ("property", "datastream", "kind", "zone", "aquifer", "region", "tag", "derived")
ACTION_FIELDS = ("owner_zh", "owner_en", "text_zh", "text_en")


@dataclass(frozen=True, slots=True)
class Scope:
    """Which datastreams a rule looks at; an empty field means any, several fields must all match.

    `property` and `datastream` are globs, `region` is a prefix of a GB/T 2260 code, the others are exact.
    """

    property: tuple[str, ...] = ()
    datastream: tuple[str, ...] = ()
    kind: tuple[str, ...] = ()
    zone: tuple[str, ...] = ()
    aquifer: tuple[str, ...] = ()
    region: tuple[str, ...] = ()
    tag: tuple[str, ...] = ()
    derived: bool | None = None

    def admits_property(self, property_code: str) -> bool:
        """Can a datastream of this property be in the scope?"""
        return not self.property or any(fnmatchcase(property_code, glob) for glob in self.property)

    def admits(self, datastream: Datastream, station: Station) -> bool:
        """Is the datastream in the scope?"""
        return (
            self.admits_property(datastream.property_code)
            and (self.derived is None or self.derived == (datastream.derivation is not None))
            and (not self.datastream or any(fnmatchcase(datastream.code, glob) for glob in self.datastream))
            and (not self.kind or station.kind.value in self.kind)
            and (not self.zone or station.zone_code in self.zone)
            and (not self.aquifer or datastream.aquifer in self.aquifer)
            and (not self.region or any((station.region_code or "").startswith(prefix) for prefix in self.region))
            and (not self.tag or bool(set(self.tag) & set(station.tags)))
        )


@dataclass(frozen=True, slots=True)
class Ladder:
    """Limits by colour in one direction; `above` means that more is worse."""

    levels: Mapping[Level, float]
    above: bool = True
    deadband: float = 0.0

    def scaled(self, values: Mapping[Level, float]) -> Ladder:
        """Return the same ladder on other limits."""
        return Ladder(values, self.above, self.deadband)


@dataclass(frozen=True, slots=True)
class Action:
    """What should be done, and who does it (domain brief, section 2: the owner depends on the cause)."""

    owner_zh: str = "地质环境监测机构"
    owner_en: str = "monitoring institute"
    text_zh: str = "核实观测与成因"
    text_en: str = "verify the observation and its cause"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """What the definition of every kind states; `sigmas` is how many sigma a value must lie beyond a limit.

    `fresh_for` is how old the newest usable observation may be, None where that goes by cadence.
    """

    scope: Scope
    ladder: Ladder
    unit: str
    quantity: str
    policy: Policy
    action: Action
    status: str
    sigmas: float = 0.0
    fresh_for: timedelta | None = None


@dataclass
class Reader:
    """Reads a definition field by field and says exactly which field is wrong.

    Parameters
    ----------
    content
        The definition.
    where
        The rule's code, for messages.
    """

    content: Mapping[str, Any]
    where: str
    asked: set[str] = field(default_factory=set)

    def wrong(self, name: str, what: str, remedy: str) -> InputError:
        """Return the error that names a field."""
        return InputError(f"{name} {what}", where=f"rule {self.where}", remedy=remedy)

    def _get(self, name: str) -> Any:
        self.asked.add(name)
        return self.content.get(name)

    def text(self, name: str, *, default: str | None = None, choices: Iterable[str] = ()) -> str:
        """Read a text, one of `choices` where given."""
        value = self._get(name)
        if value is None and default is not None:
            return default
        allowed = tuple(choices)
        if not isinstance(value, str) or not value.strip():
            raise self.wrong(
                name, "is missing or is no text.", f"state {name}" + (f", one of {', '.join(allowed)}" if allowed else "")
            )
        if allowed and value not in allowed:
            raise self.wrong(name, f"is {value!r}.", f"use one of {', '.join(allowed)}")
        return value

    def number(self, name: str, *, default: float | None = None, least: float | None = None) -> float:
        """Read a finite number, not below `least`."""
        value = self._get(name)
        if value is None and default is not None:
            return default
        return self.checked_number(name, value, least)

    def checked_number(self, name: str, value: Any, least: float | None = None) -> float:
        """Return `value` as a float, or raise the error that names the field."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self.wrong(name, f"is {value!r}, not a number.", f"write {name} as a number")
        if least is not None and value < least:
            raise self.wrong(name, f"is {value:g}, less than {least:g}.", f"write {least:g} or more")
        return float(value)

    def flag(self, name: str, *, default: bool) -> bool:
        """Read true or false."""
        value = self._get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.wrong(name, f"is {value!r}.", "write true or false")
        return value

    def duration(self, name: str, *, default: timedelta | None = None) -> timedelta:
        """Read an ISO 8601 duration of weeks, days, hours, minutes and seconds, or a number of seconds."""
        value = self._get(name)
        if value is None and default is not None:
            return default
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0:
            return timedelta(seconds=value)
        match = _DURATION.match(value) if isinstance(value, str) and value not in {"P", "PT"} else None
        if match is None:
            raise self.wrong(name, f"is {value!r}, not a duration.", "write it as ISO 8601, e.g. PT6H or P30D")
        return timedelta(**{unit: float(amount) for unit, amount in match.groupdict().items() if amount})

    def unit(self, name: str = "unit") -> str:
        """Read a UCUM unit."""
        code = self.text(name)
        try:
            parse_unit(code)
        except UnitError as error:
            raise self.wrong(name, f"is {code!r}, which is no known unit.", error.remedy or "write a UCUM code") from error
        return code

    def mapping(self, name: str, known: Iterable[str]) -> Mapping[str, Any]:
        """Read a mapping that has no other keys than the known ones."""
        value = self._get(name)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise self.wrong(name, "is no mapping.", f"write {name} as key: value pairs")
        unknown = sorted(set(map(str, value)) - set(known))
        if unknown:
            raise self.wrong(f"{name}.{unknown[0]}", "is not known.", f"use {', '.join(known)}")
        return value

    def scope(self) -> Scope:
        """Read the scope."""
        content = self.mapping("scope", SCOPE_FIELDS)
        derived = content.get("derived")
        if derived is not None and not isinstance(derived, bool):
            raise self.wrong("scope.derived", f"is {derived!r}.", "write true or false")
        lists = {name: self._names(f"scope.{name}", content.get(name)) for name in SCOPE_FIELDS if name != "derived"}
        for kind in lists["kind"]:
            if kind not in set(StationKind):
                raise self.wrong("scope.kind", f"is {kind!r}.", f"use one of {', '.join(StationKind)}")
        return Scope(**lists, derived=derived)

    def names(self, name: str, *, default: tuple[str, ...]) -> tuple[str, ...]:
        """Read a text or a list of texts."""
        return self._names(name, self._get(name)) or default

    def _names(self, name: str, value: Any) -> tuple[str, ...]:
        items = [] if value is None else [value] if isinstance(value, str) else value
        if not isinstance(items, list | tuple) or not all(isinstance(item, str) and item for item in items):
            raise self.wrong(name, f"is {value!r}.", f"write {name} as a text or a list of texts")
        return tuple(items)

    def levels(self, name: str = "levels", *, above: bool = True, required: bool = True) -> dict[Level, float]:
        """Read limits by colour, which must grow worse from blue to red."""
        content = self.mapping(name, COLOURS)
        if required and not content:
            raise self.wrong(name, "is missing.", "state at least one of blue, yellow, orange, red")
        limits = {level_of(word): self.checked_number(f"{name}.{word}", content[word]) for word in COLOURS if word in content}
        ordered = list(limits.values())
        for (level, worse), milder in zip(list(limits.items())[1:], ordered[:-1], strict=True):
            if worse <= milder if above else worse >= milder:
                order = "greater" if above else "less"
                raise self.wrong(
                    f"{name}.{level.word}",
                    f"is {worse:g} after {milder:g}.",
                    f"each colour's limit must be {order} than the milder one's",
                )
        return limits

    def ladder(self, *, required: bool = True) -> Ladder:
        """Read direction, levels and deadband."""
        above = self.text("direction", default="above", choices=("above", "below")) == "above"
        levels = self.levels(above=above, required=required)
        deadband = self.number("deadband", default=0.0, least=0.0)
        return Ladder(levels, above, deadband)

    def action(self) -> Action:
        """Read the proposed action and its owner."""
        content = self.mapping("action", ACTION_FIELDS)
        for name, value in content.items():
            if not isinstance(value, str) or not value.strip():
                raise self.wrong(f"action.{name}", f"is {value!r}.", "write a text")
        return Action(**content)

    def stated(
        self, *, unit: str | None = None, quantities: tuple[str, ...] = ("value",), ladder: Ladder | None = None
    ) -> dict[str, Any]:
        """Read what every kind states, as the keywords of `Stated`; `unit` and `ladder` are the kind's own where it has them."""
        return {
            "scope": self.scope(),
            "ladder": self.ladder() if ladder is None else ladder,
            "unit": self.unit() if unit is None else unit,
            "quantity": self.text("quantity", default=quantities[0], choices=quantities),
            "policy": Policy(self.duration("hold", default=timedelta()), self.duration("clear_hold", default=timedelta())),
            "action": self.action(),
            "status": self.text("status", default="Actual", choices=("Actual", "Exercise")),
            "sigmas": self.number("sigmas", default=0.0, least=0.0),
            "fresh_for": self.duration("fresh_for", default=timedelta()) or None,
        }

    def finish(self) -> None:
        """Refuse keys that nobody asked for."""
        unknown = sorted(set(map(str, self.content)) - self.asked)
        if unknown:
            raise self.wrong(unknown[0], "is not known.", f"use {', '.join(sorted(self.asked))}")


def moment(value: Any, name: str, where: str) -> datetime | None:
    """Read a time with an offset, or None."""
    if value is None:
        return None
    try:
        read = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        read = None
    if read is None or read.tzinfo is None:
        raise InputError(
            f"{name} is {value!r}.", where=f"rule {where}", remedy="write a time with its offset, e.g. 2026-01-01T00:00:00+08:00"
        )
    return read

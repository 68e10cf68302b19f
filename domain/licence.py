"""Licences, limits and regions: registers that rules read through ports. All of it is configuration with a source.

This file finishes with `Limit`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any


@dataclass(frozen=True, slots=True)
class Region:
    """An administrative region by its GB/T 2260 code (city 4+00, county 6 digits)."""

    code: str
    name_zh: str
    name_en: str
    parent_code: str | None = None


@dataclass(frozen=True, slots=True)
class Licence:
    """One version of a geothermal mining right and its duties.

    A duty that is None does not exist for this holder: it is never a global rule. A version holds from `effective_from` (None =
    `valid_from`) until the day before `superseded_on`, the first day of the next one: what happened before is judged by what held then.
    """

    code: str
    station: str
    holder: str
    valid_from: date
    valid_to: date
    quota_m3_per_a: float | None = None
    quota_m3_per_d: float | None = None
    licence_year_start: str = "01-01"
    reinjection_ratio: float | None = None
    drawdown_limit_m: float | None = None
    source: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    effective_from: date | None = None
    superseded_on: date | None = None

    @property
    def begins(self) -> date:
        """First day on which this version can hold."""
        return self.effective_from or self.valid_from

    def is_in_force(self, day: date) -> bool:
        """Is this version the one that holds on a day of the node's zone, and the licence valid? `valid_to` is its last day."""
        is_this_version = self.begins <= day and (self.superseded_on is None or day < self.superseded_on)
        return is_this_version and self.valid_from <= day <= self.valid_to

    def year_of(self, day: date) -> tuple[date, date]:
        """Return first day and day after the last of the licence year that a day is in; it need not be the calendar year.

        Examples
        --------
        >>> licence = Licence("C", "S", "H", date(2020, 1, 1), date(2030, 1, 1), licence_year_start="07-01")
        >>> licence.year_of(date(2026, 3, 5))
        (datetime.date(2025, 7, 1), datetime.date(2026, 7, 1))
        """
        month, dom = (int(part) for part in self.licence_year_start.split("-"))
        begins = _day(day.year, month, dom)
        year = day.year if day >= begins else day.year - 1
        return _day(year, month, dom), _day(year + 1, month, dom)


def _day(year: int, month: int, day: int) -> date:
    """Return a day of a year; 29 February is 1 March where there is none."""
    try:
        return date(year, month, day)
    except ValueError:
        return date(year, month + 1, 1)


@dataclass(frozen=True, slots=True)
class Limit:
    """One version of a figure that something is held against: (scope, property, kind, level) -> value in `unit`, with source.

    A later version of its code ends it: what was observed is judged by what held on its day.
    """

    code: str
    property_code: str
    unit: str
    value: float
    kind: str
    level: str | None = None
    zone_code: str | None = None
    aquifer: str | None = None
    station: str | None = None
    source: str = ""
    effective_from: date | None = None
    effective_to: date | None = None

    def is_in_force(self, day: date) -> bool:
        """Does it hold on a day of the node's zone? `effective_from` is its first day, `effective_to` the first on which it does not."""
        return (self.effective_from is None or self.effective_from <= day) and (
            self.effective_to is None or day < self.effective_to
        )

"""What is added to heights of another datum: the offset that is valid on the local date of each observation.

An offset has a validity, because networks are adjusted anew and marks settle; a row of a date that no offset covers is refused, never
converted with the offset of another time. This file finishes with `DatumShift`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, tzinfo

import numpy as np

from domain.datum import DatumOffset, offset_m
from domain.errors import DatumError
from domain.observation import FloatArray, TimeArray
from domain.units import convert_spread

RESOLUTION_M = 1e-9
"""Converted heights are rounded to the nanometre, so that 3.928 m - 1.828 m is 2.1 m and not 2.0999999999999996 m."""


class DatumShift:
    """Converts heights from one datum to another, each by the offset of its date.

    Parameters
    ----------
    source, target
        Codes of the datums.
    region
        GB/T 2260 code of the station.
    offsets
        Every configured offset.
    unit
        UCUM unit of the heights, a length.
    zone
        Zone in which an observation's date is taken.
    where
        File, for messages.
    used
        Told each offset in metres the first time that it is applied.

    Raises
    ------
    DatumError
        When no offset of any date covers the region.
    """

    def __init__(
        self,
        source: str,
        target: str,
        region: str | None,
        offsets: Sequence[DatumOffset],
        *,
        unit: str,
        zone: tzinfo = UTC,
        where: str | None = None,
        used: Callable[[float], None] = lambda _: None,
    ) -> None:
        offset_m(source, target, region, offsets, where=where)
        self._names, self._region, self._offsets = (source, target), region, offsets
        self._unit, self._zone, self._where, self._used = unit, zone, where, used
        self._decimals = math.ceil(-math.log10(convert_spread(RESOLUTION_M, "m", unit)))
        self._by_day: dict[date, float | DatumError] = {}
        self._told: set[float] = set()

    def refusals(self, time: TimeArray) -> list[str | None]:
        """Return for each time why there is no offset for it, or None, shape (n,)."""
        return [str(found) if isinstance(found, DatumError) else None for found in self._of(time)]

    def apply(self, time: TimeArray, heights: FloatArray) -> FloatArray:
        """Return heights in the target datum, rounded to a nanometre; NaN where no offset is valid, shape (n,)."""
        offsets = self._of(time)
        for offset in offsets:
            if not isinstance(offset, DatumError) and offset not in self._told:
                self._told.add(offset)
                self._used(offset)
        metres = np.array([math.nan if isinstance(offset, DatumError) else offset for offset in offsets], dtype=np.float64)
        return np.round(heights + convert_spread(metres, "m", self._unit), self._decimals)

    def _of(self, time: TimeArray) -> list[float | DatumError]:
        micros, back = np.unique(time.astype("datetime64[us]").astype(np.int64), return_inverse=True)
        known = [self._on(self._day(int(value))) for value in micros]
        return [known[int(at)] for at in back]

    def _day(self, micros: int) -> date:
        return datetime.fromtimestamp(micros // 1_000_000, UTC).astimezone(self._zone).date()

    def _on(self, day: date) -> float | DatumError:
        if day not in self._by_day:
            try:
                self._by_day[day] = offset_m(*self._names, self._region, self._offsets, on=day, where=self._where)
            except DatumError as fault:
                self._by_day[day] = fault
        return self._by_day[day]

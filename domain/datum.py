"""Vertical datums and the offsets between them: rows of configuration with a region, a source and a validity.

A constant of another city is wrong by more than twenty years of today's subsidence (Jiaxing H85 = Wusong - 1.828 m, Shanghai
-1.659 m), so an offset is looked up by region and never assumed. This file finishes with `height_difference_m`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from domain.errors import DatumError


@dataclass(frozen=True, slots=True)
class DatumOffset:
    """`height in target = height in source + offset_m`, for the region whose GB/T 2260 code begins with `region_prefix`."""

    source_datum: str
    target_datum: str
    region_prefix: str
    offset_m: float
    source: str
    effective_from: date | None = None
    effective_to: date | None = None


def offset_m(
    source_datum: str | None,
    target_datum: str | None,
    region_code: str | None,
    offsets: Iterable[DatumOffset],
    *,
    on: date | None = None,
    where: str | None = None,
) -> float:
    """Return what to add to a height in `source_datum` to get one in `target_datum`.

    The row with the longest matching region prefix wins; a row also serves in reverse. With `on`, only rows valid on that date serve.

    Raises
    ------
    DatumError
        When a datum is missing or no row covers the region (on that date).
    """
    if not source_datum or not target_datum:
        raise DatumError(
            "a height has no vertical datum.",
            where=where,
            remedy="state it in the file, in the profile (datum:) or with --datum, e.g. CN-H85 for 1985国家高程基准",
        )
    if source_datum == target_datum:
        return 0.0
    best: tuple[int, float] | None = None
    for row in offsets:
        value = _offset_of(row, source_datum, target_datum)
        if value is None or not (region_code or "").startswith(row.region_prefix) or not _is_valid(row, on):
            continue
        if best is None or len(row.region_prefix) > best[0]:
            best = (len(row.region_prefix), value)
    if best is None:
        raise DatumError(
            f"no offset from {source_datum} to {target_datum} is configured for region {region_code or 'unknown'}"
            + (f" on {on.isoformat()}." if on else "."),
            where=where,
            remedy=f"add a row {'valid on that date ' if on else ''}with its source to datums.yaml of the node, "
            "or import in the datastream's own datum",
        )
    return best[1]


def _offset_of(row: DatumOffset, source_datum: str, target_datum: str) -> float | None:
    if (row.source_datum, row.target_datum) == (source_datum, target_datum):
        return row.offset_m
    if (row.source_datum, row.target_datum) == (target_datum, source_datum):
        return -row.offset_m
    return None


def _is_valid(row: DatumOffset, on: date | None) -> bool:
    if on is None:
        return True
    return (row.effective_from is None or row.effective_from <= on) and (row.effective_to is None or on < row.effective_to)


def height_difference_m(
    earlier_m: float,
    earlier_datum: str | None,
    later_m: float,
    later_datum: str | None,
    region_code: str | None,
    offsets: Iterable[DatumOffset],
) -> float:
    """Return later minus earlier height, both in the later one's datum, up positive.

    Examples
    --------
    >>> rows = [DatumOffset("CN-WUSONG", "CN-H85", "3304", -1.828, "table of the city survey")]
    >>> round(height_difference_m(3.928, "CN-WUSONG", 2.065, "CN-H85", "330402", rows), 3)
    -0.035
    """
    shift = offset_m(earlier_datum, later_datum, region_code, offsets)
    return later_m - (earlier_m + shift)

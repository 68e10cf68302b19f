"""GNSS day solutions as `.neu` tables: north, east and up of one mark with sigmas, in m or mm.

Two layouts occur: `year N E U sN sE sU` with a decimal year, and `year yyyy ddd N E U sN sE sU` with the day beside it (SOPAC).
Sources differ in their unit: it is read in a comment (`(mm)`, `unit: m`), else flag or profile states it, else the rows are refused. The
zero is the source's own. This file finishes with `parse`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from domain.errors import FormatError
from domain.observation import FloatArray, ParsedPayload, Rejected, TimeArray
from ingest.formats.decoding import decode, head, is_number, split_lines
from ingest.formats.displacements import displacement_payload, displacement_streams
from ingest.formats.format import ImportContext
from ingest.profile import Profile

_COMMENT = ("#", "%", "*", "!")
_UNIT = re.compile(r"[(\[](mm|m)[)\]]|\bunits?\b\s*[:=]?\s*(mm|m|millimet|met)|单位\s*[::]?\s*(mm|m|毫米|米)", re.IGNORECASE)
_UNITS = {"mm": "mm", "m": "m", "millimet": "mm", "met": "m", "毫米": "mm", "米": "m"}
_FRAME = re.compile(r"\b(IGS\d{2}|IGb\d{2}|ITRF\d{2,4}|CGCS2000|NAM\d{2}|EURA)\b", re.IGNORECASE)
_NAME = re.compile(r"^([A-Za-z0-9]{4,9})")
_LAYOUTS = {7: 1, 9: 3, 10: 3, 12: 3}
"""Number of columns, and where north stands; what follows the sigmas are correlations, which are not stored."""
_NOON_WITHIN = 0.2


def sniff(raw: bytes, filename: str) -> float:
    """Return how sure we are that this is a `.neu` table: its rows are bare numbers, so its name has to say so as well."""
    if not re.search(r"\.neu(\.gz)?$|neu\.(txt|dat)$", filename, re.IGNORECASE):
        return 0.0
    rows = [line.split() for line in split_lines(head(raw))[:-1] if line.strip() and not line.lstrip().startswith(_COMMENT)]
    return 0.9 if rows and _row(rows[0]) is not None else 0.0


def parse(raw: bytes, profile: Profile | None, context: ImportContext) -> ParsedPayload:
    """Parse a table into displacements north, east and up of days `[00:00 UTC, 24:00 UTC)`.

    Raises
    ------
    FormatError
        When no line is a row, or a decimal year tells neither noon nor midnight of its day.
    """
    lines = split_lines(decode(raw, profile.encoding if profile else None, where=context.filename))
    rows: list[list[float]] = []
    numbers: list[int] = []
    rejected: list[Rejected] = []
    comments: list[str] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        row = None if line.lstrip().startswith(_COMMENT) else _row(line.split())
        if row is not None and (not rows or len(row) == len(rows[0])):
            rows.append(row)
            numbers.append(number)
        elif line.lstrip().startswith(_COMMENT) or (not rows and not _is_of_numbers(line)):
            comments.append(line)
        else:
            reason = "the line is no row of 7 or 9 numbers (year, N, E, U and their sigmas) like the others; remove or repair it"
            rejected.append(Rejected(number, "columns", reason, line.encode("utf-8")))
    if not rows:
        raise FormatError(
            "no line is a row of 7 or 9 numbers (decimal year, N, E, U, and their sigmas).",
            where=context.filename,
            remedy="give the right --format, or describe the columns in a csv profile",
        )
    table = np.array(rows, dtype=np.float64)
    first = _LAYOUTS[table.shape[1]]
    time = _days(table, first, context)
    header = "\n".join(comments)
    found = _FRAME.search(header)
    frame = context.frame or (profile.frame if profile else None) or (found[1] if found else None) or "unstated"
    streams = displacement_streams(_station(profile, context), _unit(header, profile), frame, None, source="neu")
    notes: dict[str, Any] = {"frame": frame, "zero": "the source's own"}
    return displacement_payload(
        streams,
        time,
        time + np.timedelta64(1, "D"),
        table[:, first : first + 3],
        table[:, first + 3 : first + 6],
        np.array(numbers, dtype=np.int32),
        rejected,
        notes,
    )


def _is_of_numbers(line: str) -> bool:
    """Is a line above the first row a damaged row, not words of a header?"""
    fields = line.split()
    return 2 * sum(is_number(field) for field in fields) >= len(fields)


def _row(fields: Sequence[str]) -> list[float] | None:
    if len(fields) not in _LAYOUTS:
        return None
    try:
        numbers = [float(field) for field in fields]
    except ValueError:
        return None
    first = _LAYOUTS[len(fields)]
    if not all(math.isfinite(number) for number in numbers) or min(numbers[first + 3 : first + 6]) < 0:
        return None
    year, day = numbers[1:3] if first == 3 else (math.floor(numbers[0]), 1)
    is_date = 1980 <= numbers[0] < 2100 and 1980 <= year < 2100 and 1 <= day <= 366 and year == int(year) and day == int(day)
    return numbers if is_date else None


def _days(table: FloatArray, first: int, context: ImportContext) -> TimeArray:
    """Return the day of each row; decimal years are those of noon or of midnight, which the rows together tell."""
    if first == 3:
        starts = [datetime(int(year), 1, 1, tzinfo=UTC) + timedelta(days=int(day) - 1) for year, day in table[:, 1:3]]
        return np.array([start.replace(tzinfo=None) for start in starts], dtype="datetime64[us]")
    years = np.floor(table[:, 0]).astype(np.int64)
    starts_of_year = (years - 1970).astype("datetime64[Y]").astype("datetime64[D]")
    lengths = ((years - 1969).astype("datetime64[Y]").astype("datetime64[D]") - starts_of_year).astype(np.float64)
    days = (table[:, 0] - years) * lengths
    from_noon = float(np.median(np.abs(days - np.floor(days) - 0.5)))
    from_midnight = float(np.median(np.abs(days - np.rint(days))))
    if min(from_noon, from_midnight) > _NOON_WITHIN:
        raise FormatError(
            "the decimal years are neither noon nor midnight of their days.",
            where=context.filename,
            remedy="add year and day of the year as second and third column",
        )
    whole = np.floor(days) if from_noon < from_midnight else np.rint(days)
    return np.asarray((starts_of_year + whole.astype(np.int64).astype("timedelta64[D]")).astype("datetime64[us]"))


def _unit(header: str, profile: Profile | None) -> str | None:
    stated = {_UNITS[next(group for group in match.groups() if group).lower()] for match in _UNIT.finditer(header)}
    if len(stated) == 1:
        return stated.pop()
    return next((rule.unit for rule in profile.columns if rule.unit), None) if profile else None


def _station(profile: Profile | None, context: ImportContext) -> str:
    stated = context.station or (profile.station.constant if profile else None)
    match = _NAME.match(context.stem)
    if stated is None and match is None:
        raise FormatError("nothing says which station this is.", where=context.filename, remedy="give --station CODE")
    return stated or (match[1].upper() if match else "")

"""Text to UTC: ISO 8601, declared formats, 24:00, offsets, and naive times of a declared zone.

Nothing is guessed: a local time that occurs twice or never (change of summer time) is refused row by row. This file finishes with
`elapsed`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import numpy.typing as npt

from domain.errors import FormatError, UnitError
from domain.observation import NO_TIME, FloatArray, TimeArray
from domain.units import compatible, convert

if TYPE_CHECKING:
    import pandas as pd

BoolArray = npt.NDArray[np.bool_]
ISO_FORMATS = ("iso", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%Y/%m/%d")
_OFFSET_ZONE = re.compile(r"^(?:UTC|GMT)?\s*(?P<sign>[+-])(?P<hours>\d{1,2})(?::?(?P<minutes>\d{2}))?$", re.IGNORECASE)
_ISO_SHAPE = r"\d{4}-?\d{2}-?\d{2}(?:[T ]\d{1,2}.*)?"
_HAS_OFFSET = r".*\d:?\d{2}(?:[.,]\d+)?\s*(?:[Zz]|[+-]\d{2}(?::?\d{2})?)"
_ISO_CELL = r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?"
_PLAIN_COLUMN = re.compile(f"{_ISO_CELL}(?:\n{_ISO_CELL})*", re.ASCII)
_MIDNIGHT_24 = re.compile(r"(?<=[T ])24:00(?P<seconds>:00(?:\.0+)?)?(?![\d:.,])")
_EPOCH_UNITS = {"epoch_s": "s", "epoch_ms": "ms", "epoch_us": "us"}


def parse_zone(text: str, *, where: str | None = None) -> tzinfo:
    """Return the zone named by an IANA name, `UTC`, `Z` or an offset such as `+08:00` or `UTC+8`.

    Raises
    ------
    FormatError
        When there is no such zone.
    """
    name = text.strip()
    if name.upper() in {"UTC", "Z", "GMT"}:
        return UTC
    match = _OFFSET_ZONE.match(name)
    if match:
        minutes = int(match["hours"]) * 60 + int(match["minutes"] or 0)
        if minutes <= 14 * 60:
            return timezone(timedelta(minutes=-minutes if match["sign"] == "-" else minutes))
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as fault:
        raise FormatError(
            f"{text!r} is no time zone.", where=where, remedy="write an IANA name (Asia/Shanghai), UTC, or an offset (+08:00)"
        ) from fault


def localise(naive: TimeArray, zone: tzinfo, *, whole_days: bool = False) -> TimeArray:
    """Convert local wall times to UTC; NaT where the local time is ambiguous or does not exist.

    Parameters
    ----------
    naive : datetime64[us] (n,)
        Wall times.
    whole_days
        The times are dates: a midnight that does not exist begins at the first moment that does.
    """
    import pandas as pd

    if zone is UTC:
        return naive
    if isinstance(zone, timezone):
        offset = zone.utcoffset(None)
        return np.asarray(naive - np.timedelta64(int(offset.total_seconds()), "s"), dtype="datetime64[us]")
    local = pd.DatetimeIndex(naive.astype("datetime64[us]")).tz_localize(
        zone,
        ambiguous=np.ones(len(naive), dtype=bool) if whole_days else "NaT",
        nonexistent="shift_forward" if whole_days else "NaT",
    )
    return np.asarray(local.tz_convert("UTC").tz_localize(None).to_numpy(), dtype="datetime64[us]")


def parse_times(
    texts: npt.NDArray[np.object_], formats: Sequence[str], zone: tzinfo | None, *, where: str | None = None
) -> tuple[TimeArray, BoolArray]:
    """Parse a column of times to UTC.

    Parameters
    ----------
    texts : object (n,)
        Cells as text.
    formats
        Tried in order for each cell: `iso`, `epoch_s`, `epoch_ms`, `epoch_us` or a `strptime` pattern.
    zone
        Zone of times that carry no offset; None refuses such times.

    Returns
    -------
    time : datetime64[us] (n,)
        UTC; NaT where no format fits or the local time does not exist or occurs twice.
    is_date : bool (n,)
        Cells that state a date only.

    Raises
    ------
    FormatError
        When a time has no offset and no zone was declared.
    """
    import pandas as pd

    if formats and formats[0] == "iso" and (plain := _plain_iso(texts)) is not None:
        return localise_some(plain, zone, where), np.zeros(len(plain), dtype=bool)
    cells = pd.Series(texts, dtype=object).astype(str).str.strip()
    extra_day = np.zeros(len(cells), dtype=bool)
    is_24 = cells.str.contains("24:00", regex=False)
    if bool(is_24.any()):
        turned = cells[is_24].map(lambda text: _MIDNIGHT_24.sub(lambda match: "00:00" + (match["seconds"] or ""), text, count=1))
        extra_day[is_24.to_numpy(dtype=bool)] = (turned != cells[is_24]).to_numpy(dtype=bool)
        cells[is_24] = turned
    result = np.full(len(cells), NO_TIME)
    for pattern in formats:
        open_rows = np.flatnonzero(np.isnat(result))
        if len(open_rows) == 0:
            break
        result[open_rows] = _parse_pattern(cells.iloc[open_rows], pattern, zone, where)
    is_date = ~cells.str.contains(":", regex=False).to_numpy(dtype=bool) & (cells.str.len() <= 10).to_numpy(dtype=bool)
    result[extra_day] += np.timedelta64(1, "D")
    return result, is_date


def _plain_iso(texts: npt.NDArray[np.object_]) -> TimeArray | None:
    """Read a column of naive ISO dates with times the quick way; None where a cell needs a closer look."""
    if len(texts) == 0 or not _PLAIN_COLUMN.fullmatch("\n".join(texts.tolist())):
        return None
    try:
        return np.asarray(texts.astype("datetime64[us]"))
    except ValueError:
        return None


def _parse_pattern(cells: pd.Series, pattern: str, zone: tzinfo | None, where: str | None) -> TimeArray:
    import pandas as pd

    if pattern in _EPOCH_UNITS:
        return _epochs(cells, _EPOCH_UNITS[pattern])
    if pattern == "iso":
        return _parse_iso(cells, zone, where)
    if "%z" in pattern or "%Z" in pattern:
        parsed = pd.to_datetime(cells, format=pattern, errors="coerce", utc=True)
        return np.asarray(parsed.dt.tz_localize(None).to_numpy(), dtype="datetime64[us]")
    parsed = pd.to_datetime(cells, format=pattern, errors="coerce")
    naive = np.asarray(parsed.to_numpy(), dtype="datetime64[us]")
    return localise_some(naive, zone, where, whole_days="%H" not in pattern and "%I" not in pattern)


def localise_some(naive: TimeArray, zone: tzinfo | None, where: str | None, *, whole_days: bool = False) -> TimeArray:
    """Convert those local wall times to UTC that are known; see `localise`. No zone is a `FormatError`."""
    known = ~np.isnat(naive)
    if not known.any():
        return naive
    if zone is None:
        raise FormatError(
            "the times have no zone and none was declared.",
            where=where,
            remedy="declare it with --zone Asia/Shanghai (or +08:00, UTC) or in the profile under time: zone:",
        )
    result = naive.copy()
    result[known] = localise(naive[known], zone, whole_days=whole_days)
    return result


def _parse_iso(cells: pd.Series, zone: tzinfo | None, where: str | None) -> TimeArray:
    import pandas as pd

    result = np.full(len(cells), NO_TIME)
    shaped = cells.str.fullmatch(_ISO_SHAPE).to_numpy(dtype=bool)
    with_offset = cells.str.fullmatch(_HAS_OFFSET).to_numpy(dtype=bool) & shaped & (cells.str.len() > 10).to_numpy(dtype=bool)
    naive_rows = shaped & ~with_offset
    if with_offset.any():
        parsed = pd.to_datetime(cells[with_offset], format="ISO8601", errors="coerce", utc=True)
        result[with_offset] = np.asarray(parsed.dt.tz_localize(None).to_numpy(), dtype="datetime64[us]")
    if naive_rows.any():
        parsed = pd.to_datetime(cells[naive_rows], format="ISO8601", errors="coerce")
        whole = bool((cells[naive_rows].str.len() <= 10).all())
        result[naive_rows] = localise_some(np.asarray(parsed.to_numpy(), dtype="datetime64[us]"), zone, where, whole_days=whole)
    return result


def _epochs(cells: pd.Series, unit: str) -> TimeArray:
    import pandas as pd

    numbers = pd.to_numeric(cells, errors="coerce").to_numpy(dtype=np.float64)
    factor = {"s": 1e6, "ms": 1e3, "us": 1.0}[unit]
    return _microseconds(numbers * factor)


def _microseconds(counts: FloatArray) -> TimeArray:
    usable = np.isfinite(counts) & (np.abs(counts) < 2.0**62)
    result = np.full(len(counts), NO_TIME)
    result[usable] = np.rint(counts[usable]).astype(np.int64).astype("datetime64[us]")
    return result


def elapsed(counts: FloatArray, origin: str, unit: str, zone: tzinfo | None, *, where: str | None = None) -> TimeArray:
    """Return `origin + counts * unit` in UTC.

    Parameters
    ----------
    counts : float64 (n,)
        Elapsed time; NaN gives NaT.
    origin
        ISO time of zero, with an offset or in `zone`.
    unit
        UCUM unit of time (`s`, `min`, `h`, `d`).
    """
    if not compatible(unit, "s"):
        raise UnitError(f"{unit!r} is no unit of time.", where=where, remedy="write s, min, h or d under time: elapsed_unit:")
    start = parse_times(np.array([origin], dtype=object), ("iso",), zone, where=where)[0][0]
    if np.isnat(start):
        raise FormatError(f"{origin!r} is no time.", where=where, remedy="write the origin as 2024-08-01T00:00:00-06:00")
    seconds = convert(counts, unit, "s")
    shifted = _microseconds(seconds * 1e6)
    return np.asarray(start + (shifted - np.datetime64(0, "us")), dtype="datetime64[us]")


def to_datetime(time: np.datetime64) -> datetime:
    """Return an aware datetime for one UTC instant."""
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=int(time.astype("datetime64[us]").astype(np.int64)))


def iso(time: np.datetime64) -> str:
    """Return RFC 3339 with `Z`, without a fraction that is zero."""
    return to_datetime(time).isoformat().replace("+00:00", "Z")

"""GNSS day solutions of the Nevada Geodetic Laboratory, `tenv3`: 20 columns, or 23 with latitude, longitude and height.

East, north and up come as an integer and a fraction of a metre that may pass 1.0; they are joined exactly. Stored are displacements
from the file's first epoch in mm, which equal the source's difference to the last digit, because they are counted in integers of
the source's own resolution. Reference: http://geodesy.unr.edu/gps_timeseries/README_tenv3.txt (Blewitt, Hammond and Kreemer 2018,
doi 10.1029/2018EO104623). This file finishes with `parse`.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from domain.errors import FormatError
from domain.model import EventEffect, EventKind, StationKind
from domain.observation import FloatArray, ParsedPayload, Rejected, SourceStream, columns
from domain.quality import Quality
from ingest.formats.decoding import head, raw_line, split_lines
from ingest.formats.format import ImportContext
from ingest.formats.timestamps import iso
from ingest.profile import Profile

if TYPE_CHECKING:
    import pandas as pd

COLUMN_COUNTS = (20, 23)
_MJD_OF_1970 = 40587
_DATA_LINE = re.compile(r"^\s*[A-Za-z0-9_\-]{3,9}\s+\d{2}[A-Z]{3}\d{2}\s+\d{4}\.\d+\s+\d{5}\s", re.MULTILINE)
_COMPONENTS = (("displacement_east", 7, 8, 14), ("displacement_north", 9, 10, 15), ("displacement_up", 11, 12, 16))
_MJD, _REFLON, _ANTENNA, _LATITUDE = 3, 6, 13, 20
_LARGEST_M = 9e6
"""No coordinate of a site is larger; what is, is a damaged row."""
_STEP_MM = 0.05
"""Smallest change of antenna height (m fractions are given to 0.1 mm) that is worth an entry in the event log."""


def sniff(raw: bytes, filename: str) -> float:
    """Return how sure we are that this is tenv3."""
    beginning = head(raw, 2048)
    line = next((text for text in split_lines(beginning) if _DATA_LINE.match(text)), None)
    if line is None:
        return 0.0
    if len(line.split()) in COLUMN_COUNTS:
        return 1.0
    return 0.3 if filename.lower().endswith((".tenv3", ".tenv3.gz")) else 0.0


def parse(raw: bytes, profile: Profile | None, context: ImportContext) -> ParsedPayload:
    """Parse a tenv3 file into daily displacements east, north and up.

    Returns
    -------
    Three streams in mm with 1-sigma, each day `[00:00 UTC, 24:00 UTC)`. Attributes of each stream keep the reference coordinate
    (`reference_m`) and its day, so that a later file with another first epoch is tied to the same zero. Changes of the antenna height
    are proposed as station events in `notes["proposed_events"]`.

    Raises
    ------
    FormatError
        When no line is a tenv3 row, or the file holds several stations.
    """
    frame, lines, rejected = _read(raw, context)
    station_in_file = _station(frame, context)
    station = context.station or station_in_file
    time = ((frame[_MJD].to_numpy(dtype=np.float64) - _MJD_OF_1970) * 86_400_000_000).astype(np.int64).astype("datetime64[us]")
    order = np.argsort(time, kind="stable")
    first = int(order[0])
    parts = [_component(frame, whole, fraction, sigma, first) for _, whole, fraction, sigma in _COMPONENTS]
    n = len(time)
    first_line = (
        split_lines(raw.decode("ascii", errors="replace"))[lines[first] - 1] if b"\r" in raw else _line(raw, int(lines[first]))
    )
    result = np.concatenate([part[0] for part in parts])
    streams = tuple(
        _stream(station, station_in_file, code, parts[i][2], iso(time[first]), first_line, context, profile)
        for i, (code, *_) in enumerate(_COMPONENTS)
    )
    built = columns(
        np.repeat(np.arange(3, dtype=np.int32), n),
        np.tile(time, 3),
        result,
        sigma=np.concatenate([part[1] for part in parts]),
        quality=np.full(3 * n, int(Quality.GOOD), dtype=np.int16),
        line=np.tile(lines, 3),
        end=np.tile(time + np.timedelta64(1, "D"), 3),
    )
    notes: dict[str, Any] = {"reference_epoch": iso(time[first]), "frame": streams[0].frame}
    events = _antenna_events(station, frame, time, order)
    if events:
        notes["proposed_events"] = events
    return ParsedPayload(streams, built, tuple(rejected), notes)


def _line(raw: bytes, number: int) -> str:
    return raw_line(raw, number).decode("ascii", errors="replace")


def _read(raw: bytes, context: ImportContext) -> tuple[pd.DataFrame, npt.NDArray[np.int32], list[Rejected]]:
    text = raw.decode("ascii", errors="replace")
    skip = 0 if _DATA_LINE.match(text) else 1
    # A lone CR ends a line too, which the quick way does not know.
    quick = _read_quickly(text, skip) if text.count("\r") == text.count("\r\n") else None
    if quick is not None:
        return quick, np.arange(skip + 1, skip + 1 + len(quick), dtype=np.int32), []
    return _read_line_by_line(split_lines(text), context)


def _read_quickly(text: str, skip: int) -> pd.DataFrame | None:
    """Read a file whose every line is sound; None where a line needs to be judged by itself."""
    import pandas as pd

    start = text.find("\n") + 1 if skip else 0
    width = len(text[start : text.find("\n", start) % (len(text) + 1)].split())
    if width not in COLUMN_COUNTS:
        return None
    line_count = text.count("\n") + (not text.endswith("\n"))
    # All columns are read, although half are stored: a row with one too few or too many has shifted values, and is found only so.
    numbers = list(range(2, width))
    try:
        frame = pd.read_csv(
            io.StringIO(text),
            sep=r"\s+",
            header=None,
            skiprows=skip,
            names=list(range(width)),
            dtype={0: object, 1: object} | dict.fromkeys(numbers, np.float64),
            index_col=False,
            skip_blank_lines=False,
            na_filter=False,
            on_bad_lines="error",
            quoting=csv.QUOTE_NONE,
            engine="c",
        )
    except (ValueError, TypeError, IndexError, pd.errors.ParserError):
        return None
    values = frame[numbers].to_numpy(dtype=np.float64)
    sound = len(frame) == line_count - skip and len(frame) > 0 and bool(np.isfinite(values).all())
    if (
        not sound
        or np.abs(values).max() > _LARGEST_M
        or values[:, 1].min() <= 0
        or values[:, 1].max() >= 100_000
        or values[:, 12:15].min() < 0
    ):
        return None
    return frame


def _read_line_by_line(
    lines: Sequence[str], context: ImportContext
) -> tuple[pd.DataFrame, npt.NDArray[np.int32], list[Rejected]]:
    import pandas as pd

    rows: list[list[object]] = []
    numbers: list[int] = []
    rejected: list[Rejected] = []
    width = 0
    for number, line in enumerate(lines, start=1):
        fields = line.split()
        if not fields or (number == 1 and not _DATA_LINE.match(line)):
            continue
        row = _row(fields)
        if row is None or (width and len(row) != width):
            reason = f"the line is no tenv3 row of {width or '20 or 23'} columns; remove or repair it"
            rejected.append(Rejected(number, "columns", reason, line.encode("utf-8")))
            continue
        width = len(row)
        rows.append(row)
        numbers.append(number)
    if not rows:
        raise FormatError(
            "no line is a tenv3 row (site YYMMMDD yyyy.yyyy MJD week day reflon e0 east ...).",
            where=context.filename,
            remedy="give the right --format, or a --profile",
        )
    frame = pd.DataFrame(rows)
    return frame, np.array(numbers, dtype=np.int32), rejected


def _row(fields: list[str]) -> list[object] | None:
    if len(fields) not in COLUMN_COUNTS:
        return None
    try:
        numbers = [float(field) for field in fields[2:]]
    except ValueError:
        return None
    mjd, sigmas = numbers[1], numbers[12:15]
    if not all(np.isfinite(numbers)) or not 0 < mjd < 100_000 or min(sigmas) < 0 or max(map(abs, numbers)) > _LARGEST_M:
        return None
    return [fields[0], 0.0, *numbers]


def _station(frame: pd.DataFrame, context: ImportContext) -> str:
    import pandas as pd

    names = pd.unique(frame[0])
    if len(names) != 1:
        raise FormatError(
            f"the file holds several stations: {', '.join(map(str, names[:5]))}.",
            where=context.filename,
            remedy="split it by station",
        )
    return str(names[0])


def _component(frame: pd.DataFrame, whole: int, fraction: int, sigma: int, first: int) -> tuple[FloatArray, FloatArray, Decimal]:
    """Return displacement (mm), sigma (mm) and the reference coordinate (m, exact)."""
    metres = frame[whole].to_numpy(dtype=np.float64)
    parts = frame[fraction].to_numpy(dtype=np.float64)
    scale = next((s for s in (10**6, 10**9) if np.all(np.abs(parts * s - np.rint(parts * s)) < 1e-3)), 10**12)
    counts = np.rint(metres).astype(np.int64) * scale + np.rint(parts * scale).astype(np.int64)
    displacement_mm = (counts - counts[first]) / (scale // 1000)
    sigma_mm = np.rint(frame[sigma].to_numpy(dtype=np.float64) * 1e9) / 1e6
    return displacement_mm, sigma_mm, Decimal(int(counts[first])) / scale


def _stream(
    station: str,
    name: str,
    code: str,
    reference_m: Decimal,
    epoch: str,
    first_line: str,
    context: ImportContext,
    profile: Profile | None,
) -> SourceStream:
    fields = first_line.split()
    latitude, longitude, height = (
        (float(field) for field in fields[_LATITUDE:]) if len(fields) == COLUMN_COUNTS[1] else (None, None, None)
    )
    reflon = float(fields[_REFLON])
    return SourceStream(
        station=station,
        property_code=code,
        unit="mm",
        frame=context.frame or (profile.frame if profile else None) or "unstated",
        kind=StationKind.GNSS_MARK,
        name_en=name,
        name_zh=name,
        interval_s=86400.0,
        attributes={
            "reference_m": str(reference_m),
            "reference_epoch": epoch,
            "reference_longitude_deg": reflon,
            "source": "tenv3",
        },
        latitude_deg=latitude,
        longitude_deg=None if longitude is None else (longitude + 180.0) % 360.0 - 180.0,
        height_m=height,
    )


def _antenna_events(
    station: str, frame: pd.DataFrame, time: npt.NDArray[np.datetime64], order: npt.NDArray[np.intp]
) -> list[dict[str, Any]]:
    heights = frame[_ANTENNA].to_numpy(dtype=np.float64)[order]
    steps = np.flatnonzero(np.abs(np.diff(heights)) * 1000 > _STEP_MM) + 1
    return [
        {
            "station": station,
            "kind": EventKind.ANTENNA_CHANGE.value,
            "start": iso(time[order[i]]),
            "effect": EventEffect.OFFSET.value,
            "note": f"antenna height {heights[i - 1]:.4f} m -> {heights[i]:.4f} m in the tenv3 file",
        }
        for i in steps
    ]

"""GNSS day solutions of the Nevada Geodetic Laboratory, `tenv3`: 20 columns, or 23 with latitude, longitude and height.

East, north and up come as an integer and a fraction of a metre that may pass 1.0; they are joined exactly. Stored are displacements
from the file's first epoch in mm, which equal the source's difference to the last digit, because they are counted in integers of
the source's own resolution. Reference: http://geodesy.unr.edu/gps_timeseries/README_tenv3.txt (Blewitt, Hammond and Kreemer 2018,
doi 10.1029/2018EO104623). This file finishes with `parse`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

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

COLUMN_COUNTS = (20, 23)
_MJD_OF_1970 = 40587
_DATA_LINE = re.compile(r"^\s*[A-Za-z0-9_\-]{3,9}\s+\d{2}[A-Z]{3}\d{2}\s+\d{4}\.\d+\s+\d{5}\s", re.MULTILINE)
_COMPONENTS = (("displacement_east", 7, 8, 14), ("displacement_north", 9, 10, 15), ("displacement_up", 11, 12, 16))
_MJD, _REFLON, _ANTENNA, _LATITUDE = 3, 6, 13, 20
_SIGMAS = (14, 15, 16)
_LARGEST_M = 9e6
"""No coordinate of a site is larger; what is, is a damaged row."""
_STEP_MM = 0.05
"""Smallest change of antenna height (m fractions are given to 0.1 mm) that is worth an entry in the event log."""


@dataclass(frozen=True, slots=True)
class _Columns:
    """The stations that a file names, and its columns of numbers by their position (from 0), each of shape (n,)."""

    stations: tuple[str, ...]
    numbers: Mapping[int, FloatArray]


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
    table, lines, rejected = _read(raw, context)
    station_in_file = _station(table.stations, context)
    station = context.station or station_in_file
    time = ((table.numbers[_MJD] - _MJD_OF_1970) * 86_400_000_000).astype(np.int64).astype("datetime64[us]")
    order = np.argsort(time, kind="stable")
    first = int(order[0])
    parts = [_component(table, whole, fraction, sigma, first) for _, whole, fraction, sigma in _COMPONENTS]
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
    events = _antenna_events(station, table.numbers[_ANTENNA], time, order)
    if events:
        notes["proposed_events"] = events
    return ParsedPayload(streams, built, tuple(rejected), notes)


def _line(raw: bytes, number: int) -> str:
    return raw_line(raw, number).decode("ascii", errors="replace")


def _read(raw: bytes, context: ImportContext) -> tuple[_Columns, npt.NDArray[np.int32], list[Rejected]]:
    skip = 0 if _DATA_LINE.match(raw[:200].decode("ascii", errors="replace")) else 1
    quick = _read_quickly(raw, skip)
    if quick is not None:
        return quick, np.arange(skip + 1, skip + 1 + len(quick.numbers[_MJD]), dtype=np.int32), []
    return _read_line_by_line(split_lines(raw.decode("ascii", errors="replace")), context)


def _read_quickly(raw: bytes, skip: int) -> _Columns | None:
    """Read a file whose every line is sound; None where a line needs to be judged by itself."""
    import pyarrow as pa
    import pyarrow.csv as pa_csv

    start = raw.find(b"\n") + 1 if skip else 0
    width = len(raw[start : raw.find(b"\n", start) % (len(raw) + 1)].split())
    if width not in COLUMN_COUNTS:
        return None
    names = [str(i) for i in range(width)]
    # All columns are converted, although half are stored: a damaged row shows itself in the others as well.
    types = {name: pa.float64() for name in names[2:]} | {"0": pa.string(), "1": pa.string()}
    try:
        table = pa_csv.read_csv(
            pa.py_buffer(_single_blanks(raw[start:])),
            read_options=pa_csv.ReadOptions(use_threads=False, column_names=names, block_size=max(len(raw), 1)),
            parse_options=pa_csv.ParseOptions(delimiter=" ", quote_char=False, ignore_empty_lines=False),
            convert_options=pa_csv.ConvertOptions(column_types=types, null_values=[], strings_can_be_null=False),
        )
    except (pa.ArrowInvalid, pa.ArrowKeyError):
        return None
    if len(table) == 0:
        return None
    values = {i: table.column(i).to_numpy() for i in range(2, width)}
    # A NaN anywhere makes the largest NaN, and then the comparison is false.
    largest = np.abs([(column.min(), column.max()) for column in values.values()]).max()
    mjd = values[_MJD]
    if not (largest <= _LARGEST_M and mjd.min() > 0 and mjd.max() < 100_000 and min(values[i].min() for i in _SIGMAS) >= 0):
        return None
    return _Columns(tuple(table.column(0).unique().to_pylist()), values)


def _single_blanks(text: bytes) -> bytes:
    """Return the text with one blank for each run of blanks and none at the beginning of a line."""
    codes = np.frombuffer(text, dtype=np.uint8)
    is_blank = codes == ord(" ")
    after_blank_or_end = np.ones(len(codes), dtype=bool)
    after_blank_or_end[1:] = is_blank[:-1] | (codes[:-1] == ord("\n"))
    return bytes(codes[~(is_blank & after_blank_or_end)].tobytes())


def _read_line_by_line(lines: Sequence[str], context: ImportContext) -> tuple[_Columns, npt.NDArray[np.int32], list[Rejected]]:
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
    values = np.array([row[2:] for row in rows], dtype=np.float64)
    names = tuple(dict.fromkeys(str(row[0]) for row in rows))
    return _Columns(names, {i + 2: values[:, i] for i in range(width - 2)}), np.array(numbers, dtype=np.int32), rejected


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


def _station(names: tuple[str, ...], context: ImportContext) -> str:
    if len(names) != 1:
        raise FormatError(
            f"the file holds several stations: {', '.join(names[:5])}.", where=context.filename, remedy="split it by station"
        )
    return names[0]


def _component(table: _Columns, whole: int, fraction: int, sigma: int, first: int) -> tuple[FloatArray, FloatArray, Decimal]:
    """Return displacement (mm), sigma (mm) and the reference coordinate (m, exact)."""
    metres, parts = table.numbers[whole], table.numbers[fraction]
    scale = next((s for s in (10**6, 10**9) if np.all(np.abs(parts * s - np.rint(parts * s)) < 1e-3)), 10**12)
    counts = np.rint(metres).astype(np.int64) * scale + np.rint(parts * scale).astype(np.int64)
    displacement_mm = (counts - counts[first]) / (scale // 1000)
    sigma_mm = np.rint(table.numbers[sigma] * 1e9) / 1e6
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
    station: str, antenna_m: FloatArray, time: npt.NDArray[np.datetime64], order: npt.NDArray[np.intp]
) -> list[dict[str, Any]]:
    heights = antenna_m[order]
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

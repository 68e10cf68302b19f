"""GNSS day solutions of the PBO and GAGE, `.pos` version 1.1: geocentric and local coordinates with a header that states the frame.

Stored are dN, dE and dU about the file's NEU reference position, in m as written; the frame names that position, so that a series about
another one is refused rather than mixed in. Rapid and supplementary solutions are provisional. Reference: UNAVCO/EarthScope "PBO station
position time series" format description. This file finishes with `parse`.
"""

from __future__ import annotations

import math
import re
from datetime import datetime
from typing import Any

import numpy as np

from domain.errors import FormatError
from domain.observation import ParsedPayload, Rejected, TimeArray
from domain.quality import Quality
from ingest.formats.decoding import decode, head, split_lines
from ingest.formats.displacements import displacement_payload, displacement_streams
from ingest.formats.format import ImportContext
from ingest.formats.geodesy import geographic
from ingest.profile import Profile

_TITLE = re.compile(r"^PBO Station Position Time Series\. Reference Frame\s*:\s*(?P<frame>\S+)", re.MULTILINE)
_ID = re.compile(r"^4-character ID\s*:\s*(\S+)", re.MULTILINE)
_XYZ = re.compile(r"^XYZ Reference position\s*:\s*(\S+)\s+(\S+)\s+(\S+)", re.MULTILINE)
_HEADER_END = "*YYYYMMDD"
_DISPLACEMENT, _SIGMA, _SOLUTION, _NUMBERS = 15, 18, 24, 24
_FINAL = frozenset({"final", "suppf", "campd", "repro"})


def sniff(raw: bytes, filename: str) -> float:
    """Return how sure we are that this is `.pos`."""
    del filename
    return 1.0 if _TITLE.search(head(raw)) else 0.0


def parse(raw: bytes, profile: Profile | None, context: ImportContext) -> ParsedPayload:
    """Parse a `.pos` file into displacements north, east and up of days `[00:00 UTC, 24:00 UTC)`.

    Raises
    ------
    FormatError
        When the header lacks frame, station or reference position, or no line is a row.
    """
    text = decode(raw, where=context.filename)
    title, identity, reference = _TITLE.search(text), _ID.search(text), _XYZ.search(text)
    if title is None or identity is None or reference is None:
        raise FormatError(
            "the header lacks the reference frame, the 4-character ID or the XYZ reference position.",
            where=context.filename,
            remedy="fetch the file again",
        )
    try:
        xyz = np.array([float(value) for value in reference.groups()], dtype=np.float64)
    except ValueError as fault:
        raise FormatError(
            "the XYZ reference position is no position.", where=context.filename, remedy="fetch the file again"
        ) from fault
    days: list[np.datetime64] = []
    rows: list[list[float]] = []
    numbers: list[int] = []
    finals: list[bool] = []
    rejected: list[Rejected] = []
    is_body = False
    for number, line in enumerate(split_lines(text), start=1):
        if line.startswith(_HEADER_END):
            is_body = True
        elif is_body and line.strip():
            row = _row(line)
            if row is None:
                rejected.append(
                    Rejected(number, "columns", "the line is no row of a .pos file; remove or repair it", line.encode("utf-8"))
                )
                continue
            days.append(row[0])
            rows.append(row[1])
            finals.append(row[2])
            numbers.append(number)
    if not rows:
        raise FormatError(
            "no line is a row (YYYYMMDD HHMMSS MJD X Y Z ...).", where=context.filename, remedy="fetch the file again"
        )
    frame = f"{context.frame or title['frame']} about {reference[1]} {reference[2]} {reference[3]}"
    station = context.station or (profile.station.constant if profile else None) or identity[1]
    place = geographic(xyz) if bool(np.isfinite(xyz).all()) and float(np.linalg.norm(xyz)) > 6e6 else None
    streams = displacement_streams(station, "m", frame, place, source="pos", reference_xyz_m=" ".join(reference.groups()))
    values = np.array(rows, dtype=np.float64)
    is_final = np.array(finals, dtype=bool)
    reasons = np.empty(len(rows), dtype=object)
    reasons[:] = [None if final else ("provisional",) for final in finals]
    time: TimeArray = np.array(days, dtype="datetime64[us]")
    notes: dict[str, Any] = {"frame": frame}
    return displacement_payload(
        streams,
        time,
        time + np.timedelta64(1, "D"),
        values[:, :3],
        values[:, 3:],
        np.array(numbers, dtype=np.int32),
        rejected,
        notes,
        np.where(is_final, int(Quality.GOOD), int(Quality.UNKNOWN)).astype(np.int16),
        None if is_final.all() else reasons,
    )


def _row(line: str) -> tuple[np.datetime64, list[float], bool] | None:
    """Return day, `[dN, dE, dU, sN, sE, sU]` in m, and whether the solution is final."""
    fields = line.split()
    if len(fields) <= _SOLUTION:
        return None
    try:
        day = datetime.strptime(fields[0], "%Y%m%d")  # noqa: DTZ007 - a day of UTC
        numbers = [float(field) for field in fields[2:_NUMBERS]]
    except ValueError:
        return None
    wanted = numbers[_DISPLACEMENT - 2 : _SIGMA + 1]
    if not all(math.isfinite(number) for number in numbers) or min(wanted[3:]) < 0:
        return None
    return np.datetime64(day, "us"), wanted, fields[_SOLUTION].lower() in _FINAL

"""SINEX station solutions (2.02): geocentric coordinates with their covariance, turned into local north, east and up in mm.

The displacements are counted from a stated reference position: `reference_xyz_m: {CODE: [x, y, z]}` under a profile's `attributes`, else the
file's own SOLUTION/APRIORI. The frame names it, so that a file with other a-priori coordinates is refused rather than mixed in. Sigmas
come from SOLUTION/MATRIX_ESTIMATE (COVA or CORR, L or U) where it is there, else from the standard deviations alone. A point other than
A is a channel. Reference: SINEX 2.02 (IERS, 2006), https://www.iers.org/SharedDocs/Publikationen/EN/IERS/Documents/ac/sinex/. This file
finishes with `parse`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from domain.errors import FormatError
from domain.observation import NO_TIME, FloatArray, ParsedPayload, Rejected, SourceStream, columns
from ingest.formats.decoding import decode, split_lines
from ingest.formats.displacements import displacement_streams
from ingest.formats.format import ImportContext
from ingest.formats.geodesy import geographic, local_axes
from ingest.profile import Profile

_TITLE = re.compile(rb"%=SNX \d\.\d\d ")
_AXES = ("STAX", "STAY", "STAZ")
_EPOCH = re.compile(r"(\d{2,4}):(\d{3}):(\d{5})")
_LONGEST_EXTENT = np.timedelta64(40, "D")
Key = tuple[str, str, str]
"""Site code, point code, solution number."""


@dataclass(slots=True)
class _Estimate:
    """One parameter of a station's position."""

    index: int
    value_m: float
    sigma_m: float
    epoch: np.datetime64
    line: int


@dataclass(slots=True)
class _Blocks:
    """What is read of the file."""

    estimates: dict[Key, dict[str, _Estimate]] = field(default_factory=dict)
    apriori: dict[Key, dict[str, float]] = field(default_factory=dict)
    spans: dict[Key, tuple[np.datetime64, np.datetime64]] = field(default_factory=dict)
    matrix: dict[tuple[int, int], float] = field(default_factory=dict)
    matrix_kind: str = ""
    rejected: list[Rejected] = field(default_factory=list)


def sniff(raw: bytes, filename: str) -> float:
    """Return how sure we are that this is SINEX."""
    del filename
    return 1.0 if _TITLE.match(raw[:16]) else 0.0


def parse(raw: bytes, profile: Profile | None, context: ImportContext) -> ParsedPayload:
    """Parse the station positions of a SINEX file.

    A solution covers the time of its data (SOLUTION/EPOCHS) where that is at most 40 days, else it stands at its reference epoch.

    Raises
    ------
    FormatError
        When it is no SINEX, has no station position, or no reference position is stated for any of them.
    """
    if not _TITLE.match(raw[:16]):
        raise FormatError("the first line is no %=SNX.", where=context.filename, remedy="give the right --format")
    blocks = _read(split_lines(decode(raw, where=context.filename)))
    if not blocks.estimates:
        raise FormatError(
            "SOLUTION/ESTIMATE holds no station position (STAX, STAY, STAZ).",
            where=context.filename,
            remedy="ask for a file with SOLUTION/ESTIMATE; normal equations alone hold no solution",
        )
    frame = context.frame or (profile.frame if profile else None) or "unstated"
    references = profile.attributes.get("reference_xyz_m") if profile else None
    streams: list[SourceStream] = []
    rows: list[tuple[int, np.datetime64, np.datetime64, float, float, int]] = []
    known: dict[tuple[str, str, str], int] = {}
    for key, axes in blocks.estimates.items():
        fault = _append(key, axes, blocks, frame, references, context, known, streams, rows)
        if fault is not None:
            blocks.rejected.append(
                Rejected(min(e.line for e in axes.values()), fault[0], fault[1], " ".join(key).encode("utf-8"))
            )
    built = columns(
        [row[0] for row in rows],
        np.array([row[1] for row in rows], dtype="datetime64[us]"),
        [row[3] for row in rows],
        sigma=[row[4] for row in rows],
        line=[row[5] for row in rows],
        end=np.array([row[2] for row in rows], dtype="datetime64[us]"),
    )
    notes: dict[str, Any] = {"frame": frame, "covariance": bool(blocks.matrix)}
    return ParsedPayload(tuple(streams), built, tuple(sorted(blocks.rejected, key=lambda item: item.line)), notes)


def _append(
    key: Key,
    axes: Mapping[str, _Estimate],
    blocks: _Blocks,
    frame: str,
    references: object,
    context: ImportContext,
    known: dict[tuple[str, str, str], int],
    streams: list[SourceStream],
    rows: list[tuple[int, np.datetime64, np.datetime64, float, float, int]],
) -> tuple[str, str] | None:
    """Add the rows of one solution, or return why it cannot be used."""
    code, point, _ = key
    if set(axes) != set(_AXES):
        return "columns", f"the solution of {code} lacks {', '.join(sorted(set(_AXES) - set(axes)))}; ask for the whole file"
    reference = _reference(key, blocks, references)
    if reference is None:
        return (
            "value",
            f"no reference position is stated for {code}; write reference_xyz_m: {{{code}: [x, y, z]}} under attributes: of a profile",
        )
    xyz = np.array([axes[axis].value_m for axis in _AXES])
    if min(float(np.linalg.norm(xyz)), float(np.linalg.norm(reference))) < 6e6 or float(np.linalg.norm(xyz - reference)) > 1e4:
        return "value", f"the position of {code} is not near its reference position; correct one of them"
    place = geographic(reference)
    turn = local_axes(place[0], place[1])
    values = turn @ (xyz - reference) * 1000
    sigmas = _sigmas_mm(axes, blocks, turn)
    named = f"{frame} about " + " ".join(f"{value:.4f}" for value in reference)
    station = context.station or code
    place_of = (station, point, named)
    if place_of not in known:
        known[place_of] = len(streams)
        made = displacement_streams(
            station, "mm", named, place, source="sinex", reference_xyz_m=[float(value) for value in reference]
        )
        streams.extend(replace(stream, channel=None if point == "A" else point, interval_s=None) for stream in made)
    time, end = _span(key, axes, blocks)
    line = min(entry.line for entry in axes.values())
    rows.extend((known[place_of] + i, time, end, float(values[i]), float(sigmas[i]), line) for i in range(3))
    return None


def _reference(key: Key, blocks: _Blocks, references: object) -> FloatArray | None:
    stated = references.get(key[0]) if isinstance(references, Mapping) else None
    if stated is not None:
        try:
            wanted = np.array([float(value) for value in stated])
        except (TypeError, ValueError):
            return None
        return wanted if wanted.shape == (3,) and bool(np.isfinite(wanted).all()) else None
    apriori = blocks.apriori.get(key, {})
    return np.array([apriori[axis] for axis in _AXES]) if set(apriori) == set(_AXES) else None


def _sigmas_mm(axes: Mapping[str, _Estimate], blocks: _Blocks, turn: FloatArray) -> FloatArray:
    sigma = np.array([axes[axis].sigma_m for axis in _AXES])
    indices = [axes[axis].index for axis in _AXES]
    covariance = np.diag(sigma**2)
    for i in range(3):
        for j in range(i):
            pair = max(indices[i], indices[j]), min(indices[i], indices[j])
            entry = blocks.matrix.get(pair, 0.0)
            covariance[i, j] = covariance[j, i] = entry * sigma[i] * sigma[j] if blocks.matrix_kind == "CORR" else entry
    local = np.diag(turn @ covariance @ turn.T)
    return np.sqrt(np.where(local >= 0, local, np.nan)) * 1000


def _span(key: Key, axes: Mapping[str, _Estimate], blocks: _Blocks) -> tuple[np.datetime64, np.datetime64]:
    start, end = blocks.spans.get(key, (NO_TIME, NO_TIME))
    if not np.isnat(start) and not np.isnat(end) and start < end <= start + _LONGEST_EXTENT:
        return start, end
    return axes["STAX"].epoch, NO_TIME


def _read(lines: Sequence[str]) -> _Blocks:
    blocks, block = _Blocks(), ""
    for number, line in enumerate(lines, start=1):
        if line.startswith("+"):
            block = line[1:].strip()
            if block.startswith("SOLUTION/MATRIX_ESTIMATE"):
                blocks.matrix_kind = block.split()[-1]
        elif line.startswith("-"):
            block = ""
        elif line.startswith(" ") and block:
            try:
                _read_line(block, line.split(), number, blocks)
            except (ValueError, IndexError, OverflowError):
                reason = f"the line is no row of {block.split()[0]}; repair it"
                blocks.rejected.append(Rejected(number, "columns", reason, line.encode("utf-8")))
    return blocks


def _read_line(block: str, fields: list[str], number: int, blocks: _Blocks) -> None:
    if block == "SOLUTION/EPOCHS":
        blocks.spans[fields[0], fields[1], fields[2]] = (_moment(fields[4]), _moment(fields[5]))
    elif block == "SOLUTION/ESTIMATE" and fields[1] in _AXES:
        moment = _moment(fields[5])
        if np.isnat(moment) or fields[6] != "m":
            raise ValueError("no epoch, or not in metres")
        entry = _Estimate(int(fields[0]), _finite(fields[8]), _finite(fields[9]), moment, number)
        blocks.estimates.setdefault((fields[2], fields[3], fields[4]), {})[fields[1]] = entry
    elif block == "SOLUTION/APRIORI" and fields[1] in _AXES:
        blocks.apriori.setdefault((fields[2], fields[3], fields[4]), {})[fields[1]] = _finite(fields[8])
    elif block.startswith("SOLUTION/MATRIX_ESTIMATE") and blocks.matrix_kind in {"COVA", "CORR"}:
        row, column = int(fields[0]), int(fields[1])
        for offset, text in enumerate(fields[2:]):
            pair = max(row, column + offset), min(row, column + offset)
            blocks.matrix[pair] = _finite(text)


def _finite(text: str) -> float:
    number = float(text.replace("D", "E").replace("d", "e"))
    if not math.isfinite(number):
        raise ValueError(f"{text} is not finite")
    return number


def _moment(text: str) -> np.datetime64:
    """Return `YY:DDD:SSSSS` as UTC; NaT for 00:000:00000, which stands for none. Two digits up to 50 are of this century."""
    match = _EPOCH.fullmatch(text)
    if match is None:
        raise ValueError(f"{text} is no epoch")
    year, day, second = (int(group) for group in match.groups())
    if day == 0:
        return NO_TIME
    if len(match[1]) == 2:
        year += 2000 if year <= 50 else 1900
    return np.datetime64(datetime(year, 1, 1) + timedelta(days=day - 1, seconds=second), "us")  # noqa: DTZ001 - UTC by definition

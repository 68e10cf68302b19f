"""Reading InSAR deliveries: the header says where everything stands, and the rows come as blocks of whole lines.

This file finishes with `read_blocks`.
"""

from __future__ import annotations

import csv
import gzip
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import IO

import numpy as np

from domain.errors import FormatError, InputError
from domain.insar import DeliveryHeader, PointBlock
from domain.observation import TimeArray
from ingest.insar.blocks import BlockReader, Layout
from ingest.insar.profile import InsarProfile

BLOCK_BYTES = 16 * 1024 * 1024
"""Text that is parsed at once: bounds the memory of an import, and lets the parser work on a block while the one before is stored."""

_MATLAB_TO_UNIX_DAYS = 719_529
_LONGEST_LINE = 64 * 1024 * 1024


def open_delivery(path: Path) -> IO[bytes]:
    """Open a delivery, plain or gzip; `InputError` where it cannot be read."""
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        return gzip.open(path, "rb") if packed else path.open("rb")  # type: ignore[return-value]
    except OSError as error:
        raise InputError(
            f"cannot be read: {error.strerror}.", where=str(path), remedy="check the path and its permissions"
        ) from error


def read_layout(file: IO[bytes], profile: InsarProfile, where: str) -> Layout:
    """Read the header lines and leave the file at the first row.

    Raises
    ------
    FormatError
        The file is not of the kind that the profile describes.
    """
    first = _cells(file.readline(_LONGEST_LINE), profile, where)
    layout = _stamps(_cells(file.readline(_LONGEST_LINE), profile, where), profile, where) if profile.shape == "stamps" else None
    layout = layout or _wide(first, profile, where)
    epochs = layout.header.epochs
    if len(np.unique(epochs)) != len(epochs):
        raise FormatError("an epoch occurs twice.", where=where, remedy="leave one column a date")
    return layout


def _cells(line: bytes, profile: InsarProfile, where: str) -> list[str]:
    try:
        text = line.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise FormatError("the header is no UTF-8.", where=where, remedy="save the file as UTF-8") from error
    return [cell.strip() for cell in next(csv.reader([text], delimiter=profile.delimiter), [])]


def _wide(cells: list[str], profile: InsarProfile, where: str) -> Layout:
    wanted = {column: name for name, column in profile.point.items()}
    for name, columns in profile.attributes.items():
        present = next((column for column in columns if column in cells), None)
        if present is not None and present not in wanted:
            wanted[present] = name
    names: list[str] = []
    epochs: list[np.datetime64] = []
    not_stored: list[str] = []
    for number, cell in enumerate(cells):
        match = re.match(profile.epoch_pattern, cell)
        if cell in wanted:
            names.append(wanted.pop(cell))
        elif match:
            names.append(f"epoch:{len(epochs)}")
            epochs.append(_day(match[1], profile, where))
        else:
            names.append(f"skip:{number}")
            not_stored.append(cell)
    absent = [column for column, name in wanted.items() if name in profile.point]
    if absent:
        raise FormatError(
            f"no column is named {absent[0]!r}.",
            where=where,
            remedy=f"correct point: in the profile {profile.name}; {_has(cells)}",
        )
    if not epochs:
        raise FormatError(
            f"no column is an epoch like {profile.epoch_pattern}.",
            where=where,
            remedy=f"correct epochs: in the profile {profile.name}; {_has(cells)}",
        )
    attributes = tuple(name for name in names if ":" not in name and name not in profile.point)
    time = np.array(epochs, dtype="datetime64[us]")
    header = DeliveryHeader(time, attributes, profile.reference, profile.heading_deg, profile.incidence_deg)
    return Layout(tuple(names), header, 1, tuple(not_stored))


def _has(cells: Sequence[str]) -> str:
    return f"the file has {', '.join(cells[:12])}" + (" ..." if len(cells) > 12 else "")


def _day(text: str, profile: InsarProfile, where: str) -> np.datetime64:
    try:
        return np.datetime64(datetime.strptime(text, profile.epoch_format), "us")  # noqa: DTZ007 - an acquisition is known by its UTC day
    except ValueError as error:
        raise FormatError(
            f"{text!r} is no date like {profile.epoch_format}.", where=where, remedy="correct the header or epochs: format:"
        ) from error


def _stamps(cells: list[str], profile: InsarProfile, where: str) -> Layout:
    """Read the second line of a StaMPS export: longitude, latitude, NaN, and the epochs as MATLAB day numbers."""
    try:
        longitude, latitude, marker, *days = (float(cell) for cell in cells)
        sound = math.isnan(marker) and days and all(math.isfinite(day) and 693_962 <= day <= 767_011 for day in days)
    except ValueError:
        sound = False
    if not sound:
        raise FormatError(
            "the second line is not longitude, latitude, NaN and MATLAB day numbers.",
            where=where,
            remedy="this is no StaMPS export; for a table with a header row write a profile with shape: wide",
        )
    seconds = np.rint((np.array(days) - _MATLAB_TO_UNIX_DAYS) * 86_400).astype(np.int64)
    reference = {**profile.reference, "longitude_deg": longitude, "latitude_deg": latitude}
    header = DeliveryHeader(
        seconds.astype("datetime64[s]").astype("datetime64[us]"), ("rate",), reference, profile.heading_deg, profile.incidence_deg
    )
    return Layout(("longitude", "latitude", "rate", *(f"epoch:{i}" for i in range(len(days)))), header, 2)


def read_blocks(
    file: IO[bytes], layout: Layout, profile: InsarProfile, *, block_bytes: int = BLOCK_BYTES
) -> Iterator[PointBlock]:
    """Give the rows after the header as blocks of points, in time order of the epochs, toward the satellite positive, in mm.

    Identifiers that occurred before in the file are rejects. Epochs out of order are sorted. Nothing is read before the first block is
    asked for.
    """
    reader, line = BlockReader(layout, profile), layout.lines + 1
    text, rest = bytearray(block_bytes), 0  # one buffer for all blocks: fresh memory costs as much as reading into it
    while (end := rest + file.readinto(memoryview(text)[rest:])) > rest:  # type: ignore[attr-defined]
        whole = text.rfind(b"\n", 0, end) + 1
        if whole:
            block, lines = reader.read(memoryview(text)[:whole], line)
            line += lines
            yield block
        elif end == len(text):
            if end >= _LONGEST_LINE:
                raise FormatError("a line has more than 64 MiB.", remedy="this is no delimited table")
            text += bytes(end)
        rest = end - whole
        text[:rest] = text[whole:end]
    if rest:
        yield reader.read(bytes(text[:rest]) + b"\n", line)[0]


def sorted_header(layout: Layout) -> DeliveryHeader:
    """Return the header with its epochs in time order and with the attributes that every block has."""
    names = layout.header.attributes
    epochs: TimeArray = np.sort(layout.header.epochs)
    return replace(layout.header, epochs=epochs, attributes=names if "cumulative" in names else (*names, "cumulative"))

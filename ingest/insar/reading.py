"""Reading InSAR deliveries by blocks of whole lines: columns are parsed by pyarrow, whatever the size of the file.

A block whose every row is sound costs one pass. Where pyarrow refuses a block, its rows are looked at one by one, the bad ones become
`Rejected` with line and reason, and the rest is parsed. This file finishes with `read_blocks`.
"""

from __future__ import annotations

import csv
import gzip
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import starmap
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from domain.errors import FormatError, InputError
from domain.insar import DeliveryHeader, Float32Array, PointBlock
from domain.observation import Rejected, TimeArray
from ingest.insar.profile import InsarProfile

BLOCK_BYTES = 16 * 1024 * 1024
"""Text that is parsed at once: bounds the memory of an import, and lets the parser work on a block while the one before is stored."""

_MATLAB_TO_UNIX_DAYS = 719_529
_LONGEST_LINE = 64 * 1024 * 1024
_EVERYWHERE = (180.0, 90.0)
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?|nan|inf(inity)?)\s*", re.ASCII | re.IGNORECASE)
_NOT_IN_AN_IDENTIFIER = {'"', ",", ";", "\t", "|", *map(chr, range(32))}


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything stands in the rows of one file.

    `names` are the columns as we call them, in the order of the file: `pid`, `longitude`, `latitude`, attribute names, `epoch:N`, and
    `skip:N` for what is not read. `lines` header lines come before the first row. `reference` is what the file says of its reference.
    """

    names: tuple[str, ...]
    header: DeliveryHeader
    lines: int
    not_stored: tuple[str, ...] = ()


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
    """Yield the rows after the header as blocks of points, in time order of the epochs, toward the satellite positive, in mm.

    Identifiers that occurred before in the file are rejects. Epochs out of order are sorted.
    """
    reader = _BlockReader(layout, profile)
    line = layout.lines + 1
    left = b""
    while True:
        chunk = file.read(block_bytes)
        text = left + chunk
        if not text:
            return
        cut = text.rfind(b"\n") + 1 if chunk else len(text)
        if not cut and len(text) > _LONGEST_LINE:
            raise FormatError("a line has more than 64 MiB.", remedy="this is no delimited table")
        body, left = text[:cut], text[cut:]
        if body:
            yield reader.read(body, line)
            line += body.count(b"\n")


class _BlockReader:
    """Parses blocks of one file, and knows the identifiers that came before."""

    def __init__(self, layout: Layout, profile: InsarProfile) -> None:
        self.layout, self.profile = layout, profile
        self.read_names = [name for name in layout.names if not name.startswith("skip:")]
        self.epoch_order = np.argsort(layout.header.epochs, kind="stable")
        self.delimiter = profile.delimiter.encode()
        self.seen: npt.NDArray[np.uint64] = np.empty(0, dtype=np.uint64)
        self.options = pa_csv.ConvertOptions(
            column_types={name: _type(name) for name in self.read_names},
            include_columns=self.read_names,
            null_values=["", *profile.missing],
            strings_can_be_null=False,
            check_utf8=True,
        )

    def read(self, body: bytes, line: int) -> PointBlock:
        """Return the points of some whole lines, of which the first is `line`."""
        try:
            table = self._parse(body)
            if table.num_rows != body.count(b"\n") + (not body.endswith(b"\n")):
                raise pa.ArrowInvalid("empty lines")  # they would shift the numbers of the lines
            return self._points(table, np.arange(line, line + table.num_rows), (), body)
        except pa.ArrowInvalid:
            return self._read_by_rows(body, line)

    def _parse(self, body: bytes) -> Any:
        return pa_csv.read_csv(
            pa.BufferReader(body),
            # One thread parses while others store and keep the file: several would use more of the processors for the same work.
            read_options=pa_csv.ReadOptions(column_names=list(self.layout.names), block_size=1024 * 1024, use_threads=False),
            parse_options=pa_csv.ParseOptions(delimiter=self.profile.delimiter),
            convert_options=self.options,
        )

    def _read_by_rows(self, body: bytes, line: int) -> PointBlock:
        sound: list[bytes] = []
        kept: list[bytes] = []
        lines: list[int] = []
        rejected: list[Rejected] = []
        rows = body.split(b"\n")
        for number, row in enumerate(rows[:-1] if body.endswith(b"\n") else rows, line):
            bare = row.rstrip(b"\r")
            if not bare.strip():
                continue
            try:
                kept.append(self._plain(bare))
            except ValueError as fault:
                rejected.append(Rejected(number, fault.args[0], fault.args[1], bare))
                continue
            sound.append(bare)
            lines.append(number)
        table = self._parse(b"\n".join(kept)) if kept else pa.table({name: pa.array([], _type(name)) for name in self.read_names})
        return self._points(table, np.array(lines, dtype=np.int64), tuple(rejected), b"\n".join(sound))

    def _plain(self, row: bytes) -> bytes:
        """Return a row as pyarrow reads it, every number written out; `ValueError(code, reason)` for one that is none."""
        try:
            text = row.decode("utf-8")
            cells = next(csv.reader([text], delimiter=self.profile.delimiter, strict=True), [])
        except (UnicodeDecodeError, csv.Error) as error:
            raise ValueError("columns", f"the row is no UTF-8 or no row of cells ({error}); correct it") from error
        if len(cells) != len(self.layout.names):
            raise ValueError(
                "columns", f"the row has {len(cells)} cells, the header {len(self.layout.names)}; deliver the row whole"
            )
        return (
            ",".join(starmap(self._plain_cell, zip(self.layout.names, cells, strict=True))).encode().replace(b",", self.delimiter)
        )

    def _plain_cell(self, name: str, cell: str) -> str:
        if name.startswith("skip:"):
            return "0"
        if name == "pid":
            if set(cell) & _NOT_IN_AN_IDENTIFIER:
                raise ValueError("pid", f"{cell!r} is no identifier; leave out quotes, separators and control characters")
            return cell
        if cell == "" or cell in self.profile.missing:
            return "nan"
        if not _NUMBER.fullmatch(cell):
            raise ValueError(
                "value",
                f"{cell!r} in the column of {self._named(name)} is no number; correct it or add it to missing: in the profile",
            )
        return repr(float(cell))

    def _named(self, name: str) -> str:
        return str(self.layout.header.epochs[int(name[6:])].astype("datetime64[D]")) if name.startswith("epoch:") else name

    def _points(self, table: Any, lines: npt.NDArray[np.int64], rejected: tuple[Rejected, ...], body: bytes) -> PointBlock:
        longitude, latitude = (_numbers(table[name], np.float64) for name in ("longitude", "latitude"))
        pid = _bytes_of(table["pid"]) if "pid" in self.read_names else np.char.mod(b"%d", lines - self.layout.lines)
        attributes = {
            name: _scaled(_numbers(table[name], np.float32), self.profile.factor(name)) for name in self.layout.header.attributes
        }
        displacement = np.empty((len(self.epoch_order), table.num_rows), dtype=np.float32)
        for row, epoch in enumerate(self.epoch_order):
            displacement[row] = _numbers(table[f"epoch:{epoch}"], np.float32)
        displacement = _scaled(displacement, self.profile.factor("displacement"))
        attributes["cumulative"] = attributes.get("cumulative", _cumulative(displacement))
        block = PointBlock(pid, longitude, latitude, attributes, displacement, lines, rejected)
        return self._sound(block, body)

    def _sound(self, block: PointBlock, body: bytes) -> PointBlock:
        """Leave out points without a place, with infinite values, without identifier or with one that came before."""
        inside = (np.abs(block.longitude_deg) <= _EVERYWHERE[0]) & (np.abs(block.latitude_deg) <= _EVERYWHERE[1])
        infinite = np.isinf(block.displacement_mm).any(axis=0)
        for values in block.attributes.values():
            infinite |= np.isinf(values)
        named = np.char.str_len(block.pid) > 0
        good = inside & ~infinite & named
        keys = _keys(block.pid)
        repeated = np.zeros(len(block), dtype=bool)
        chosen = np.flatnonzero(good)
        _, firsts = np.unique(keys[chosen], return_index=True)
        repeated[np.setdiff1d(chosen, chosen[firsts])] = True
        place = np.minimum(np.searchsorted(self.seen, keys), max(len(self.seen) - 1, 0))
        if len(self.seen):
            repeated |= good & (self.seen[place] == keys)
        good &= ~repeated
        # Sorted runs are merged, so that this stays cheap however many blocks there are.
        self.seen = np.sort(np.concatenate([self.seen, np.sort(keys[good])]), kind="stable")
        if good.all():
            return block
        rows = body.split(b"\n")
        reasons = (
            (~inside, "position", "longitude or latitude is missing or beyond the earth; give degrees"),
            (infinite, "value", "a value is not finite; leave the cell empty where nothing was measured"),
            (~named, "pid", "the point has no identifier; give it one"),
            (repeated, "duplicate_in_file", "the identifier came before in this file, and that row holds; make it unique"),
        )
        found = {
            int(row): Rejected(int(block.line[row]), code, reason, rows[row].rstrip(b"\r"))
            for mask, code, reason in reversed(reasons)
            for row in np.flatnonzero(mask)
        }
        rejected = sorted((*block.rejected, *found.values()), key=lambda item: item.line)
        return replace(block.take(good), rejected=tuple(rejected))


def _type(name: str) -> Any:
    return pa.string() if name == "pid" else pa.float64() if name in {"longitude", "latitude"} else pa.float32()


def _numbers(column: Any, dtype: type[np.floating[Any]]) -> npt.NDArray[Any]:
    """Return a column as an array in which NULL is NaN."""
    return np.asarray(pc.fill_null(column, float("nan")).to_numpy(), dtype=dtype)


def _scaled(values: Float32Array, factor: float) -> Float32Array:
    return values if factor == 1.0 else values * np.float32(factor)


def _bytes_of(column: Any) -> npt.NDArray[np.bytes_]:
    """Return texts as fixed-width bytes: texts of one length stand without gaps in Arrow's buffer."""
    array = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    array = pc.utf8_trim_whitespace(array)
    lengths = np.asarray(pc.binary_length(array).to_numpy(zero_copy_only=False))
    found = np.zeros(len(array), dtype=f"S{max(int(lengths.max(initial=1)), 1)}")
    for length in np.unique(lengths):
        if length == 0:
            continue
        rows = np.flatnonzero(lengths == length)
        alike = pa.concat_arrays([array.take(pa.array(rows))])
        found[rows] = np.frombuffer(alike.buffers()[2], dtype=f"S{length}", count=len(rows))
    return found


def _keys(pid: npt.NDArray[np.bytes_]) -> npt.NDArray[np.uint64]:
    """Return a 64-bit digest of each identifier: two of ten million agree by chance once in about 370,000 files."""
    width = -(-pid.dtype.itemsize // 8)
    words = np.ascontiguousarray(pid.astype(f"S{width * 8}")).view(np.uint64).reshape(len(pid), width)
    key = np.full(len(pid), 0x9E3779B97F4A7C15, dtype=np.uint64)
    for number in range(width):
        key ^= words[:, number]
        key *= np.uint64(0xBF58476D1CE4E5B9)
        key ^= key >> np.uint64(29)
        key *= np.uint64(0x94D049BB133111EB)
        key ^= key >> np.uint64(32)
    return key


def _cumulative(displacement_mm: Float32Array) -> Float32Array:
    """Return the displacement from each point's first to its last value."""
    first, last = displacement_mm[0].copy(), displacement_mm[-1].copy()
    for rows, ends in ((range(1, len(displacement_mm)), first), (range(len(displacement_mm) - 2, -1, -1), last)):
        for row in rows:
            open_ends = np.isnan(ends)
            if not open_ends.any():
                break
            ends[open_ends] = displacement_mm[row, open_ends]
    with np.errstate(invalid="ignore"):  # points with infinite values are refused after this
        return np.asarray(last - first, dtype=np.float32)


def sorted_header(layout: Layout) -> DeliveryHeader:
    """Return the header with its epochs in time order and with the attributes that every block has."""
    names = layout.header.attributes
    epochs: TimeArray = np.sort(layout.header.epochs)
    return replace(layout.header, epochs=epochs, attributes=names if "cumulative" in names else (*names, "cumulative"))

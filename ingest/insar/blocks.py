"""Blocks of whole lines of an InSAR delivery as points: plain rows in one compiled pass, the others by pyarrow, bad ones one by one.

Rows of plain numbers are nearly all of a delivery. What the compiled pass leaves goes to pyarrow; where that refuses, the rows are looked
at one by one, and the bad ones become `Rejected` with line and reason. This file finishes with `BlockReader`.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import starmap
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from domain.insar import DeliveryHeader, Float32Array, PointBlock, identifier_keys
from domain.observation import Rejected
from ingest.insar.profile import InsarProfile

Body = bytes | memoryview
_EVERYWHERE = (180.0, 90.0)
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?|nan|inf(inity)?)\s*", re.ASCII | re.IGNORECASE)
_NOT_IN_AN_IDENTIFIER = {'"', ",", ";", "\t", "|", *map(chr, range(32))}
_LINE_FEED = ord("\n")
_MOSTLY_ODD = 8
"""Where one row of so many is left by the compiled pass, the file is of another kind, and pyarrow alone reads it sooner."""


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


def _compiled() -> ModuleType | None:
    """Return the compiled pass, or None where there is no compiler: numba follows a new Python months later."""
    try:
        from ingest.insar import cells

        cells.loop()
    except ImportError:
        return None
    return cells


class BlockReader:
    """Parses blocks of one file, and knows the identifiers that came before."""

    def __init__(self, layout: Layout, profile: InsarProfile) -> None:
        self.layout, self.profile = layout, profile
        self.read_names = [name for name in layout.names if not name.startswith("skip:")]
        self.epoch_order = np.argsort(layout.header.epochs, kind="stable")
        self.delimiter = profile.delimiter.encode()
        self.seen: npt.NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self.cells = _compiled() if len(self.delimiter) == 1 else None
        self.columns = None if self.cells is None else self._columns(self.cells)
        self.missing = [word.encode() for word in profile.missing if word]

    def read(self, body: Body, line: int) -> tuple[PointBlock, int]:
        """Return the points of some whole lines, each ended by a line feed, and how many lines they are.

        Nothing of the body is held afterwards.

        Parameters
        ----------
        line
            Number of the first line in the file.
        """
        if self.cells:
            block, lines, are_finite = self._by_scan(self.cells, body, line)
        else:
            lines = int(np.count_nonzero(np.frombuffer(body, dtype=np.uint8) == _LINE_FEED))
            block, are_finite = self._by_table(body, np.arange(line, line + lines)), False
        return self._sound(block, body, line, are_finite), lines

    def _columns(self, cells: ModuleType) -> Any:
        """Return what the compiled pass has to know of each column."""
        place = np.empty(len(self.epoch_order), dtype=np.int32)
        place[self.epoch_order] = np.arange(len(self.epoch_order))
        attributes = self.layout.header.attributes
        purpose, slot = [], []
        for name in self.layout.names:
            kind, _, number = name.partition(":")
            if kind == "epoch":
                purpose.append(cells.EPOCH)
                slot.append(int(place[int(number)]))
            elif kind in {"longitude", "latitude"}:
                purpose.append(cells.PLACE)
                slot.append(("longitude", "latitude").index(kind))
            elif kind in attributes:
                purpose.append(cells.ATTRIBUTE)
                slot.append(attributes.index(kind))
            else:
                purpose.append(cells.PID if kind == "pid" else cells.SKIP)
                slot.append(0)
        return cells.Columns(np.array(purpose, np.int8), np.array(slot, np.int32), 2, len(attributes), len(place))

    def _by_scan(self, cells: ModuleType, body: Body, line: int) -> tuple[PointBlock, int, bool]:
        """Return the points, the number of lines, and whether each value is certainly finite, as those of plain rows are."""
        text = np.frombuffer(body, dtype=np.uint8)
        found = cells.scan(text, self.columns, self.delimiter[0], self.missing)
        numbers = found.line + line
        pid = found.pid if "pid" in self.read_names else self._numbered(numbers)
        block = self._block(pid, found.places.T, found.attributes, found.values, numbers)
        if not len(found.odd):
            return block, found.lines, abs(self.profile.factor("displacement")) <= 1.0
        if len(found.odd) * _MOSTLY_ODD > found.lines:
            self.cells = None
        rows = b"\n".join(body[start:end] for start, end in found.odd[:, :2].tolist())
        return _in_order(block, self._by_table(rows + b"\n", found.odd[:, 2] + line)), found.lines, False

    def _by_table(self, body: Body, numbers: npt.NDArray[np.int64]) -> PointBlock:
        """Read rows by pyarrow; `numbers` are those of their lines in the file."""
        import pyarrow as pa

        try:
            table = self._parse(body)
            if table.num_rows != len(numbers):
                raise pa.ArrowInvalid("empty lines")  # they would shift the numbers of the lines
            return self._points(table, numbers, ())
        except pa.ArrowInvalid:
            return self._by_rows(body, numbers)

    @cached_property
    def options(self) -> Any:
        """What pyarrow has to know of the columns."""
        import pyarrow.csv as pa_csv

        return pa_csv.ConvertOptions(
            column_types={name: _type(name) for name in self.read_names},
            include_columns=self.read_names,
            null_values=["", *self.profile.missing],
            strings_can_be_null=False,
            check_utf8=True,
        )

    def _parse(self, body: Body) -> Any:
        import pyarrow as pa  # loaded where a row is not plain: it takes a tenth of a second
        import pyarrow.csv as pa_csv

        return pa_csv.read_csv(
            pa.BufferReader(body),
            # One thread parses while others store and keep the file: several would use more of the processors for the same work.
            read_options=pa_csv.ReadOptions(column_names=list(self.layout.names), block_size=1024 * 1024, use_threads=False),
            parse_options=pa_csv.ParseOptions(delimiter=self.profile.delimiter),
            convert_options=self.options,
        )

    def _by_rows(self, body: Body, numbers: npt.NDArray[np.int64]) -> PointBlock:
        import pyarrow as pa

        kept: list[bytes] = []
        lines: list[int] = []
        rejected: list[Rejected] = []
        for number, row in zip(numbers.tolist(), bytes(body).split(b"\n"), strict=False):
            bare = row.rstrip(b"\r")
            if not bare.strip():
                continue
            try:
                kept.append(self._plain(bare))
            except ValueError as fault:
                rejected.append(Rejected(number, fault.args[0], fault.args[1], bare))
                continue
            lines.append(number)
        table = self._parse(b"\n".join(kept)) if kept else pa.table({name: pa.array([], _type(name)) for name in self.read_names})
        return self._points(table, np.array(lines, dtype=np.int64), tuple(rejected))

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

    def _numbered(self, lines: npt.NDArray[np.int64]) -> npt.NDArray[np.bytes_]:
        """Name points without identifiers by their rows, from 1."""
        numbers = lines - self.layout.lines
        return numbers.astype(f"S{len(str(numbers.max(initial=0)))}")

    def _points(self, table: Any, lines: npt.NDArray[np.int64], rejected: tuple[Rejected, ...]) -> PointBlock:
        places = np.array([table[name].to_numpy() for name in ("longitude", "latitude")], dtype=np.float64)
        pid = _bytes_of(table["pid"]) if "pid" in self.read_names else self._numbered(lines)
        names = self.layout.header.attributes
        attributes = np.array([table[name].to_numpy() for name in names], dtype=np.float32).reshape(len(names), len(lines))
        values = np.empty((len(lines), len(self.epoch_order)), dtype=np.float32)
        row = 0
        for (
            batch
        ) in table.to_batches():  # small enough for the rows to stay in the processor's cache while columns are laid across
            rows = slice(row, row + batch.num_rows)
            for number, epoch in enumerate(self.epoch_order):
                values[rows, number] = batch.column(f"epoch:{epoch}").to_numpy(zero_copy_only=False)
            row = rows.stop
        return replace(self._block(pid, places, attributes, values, lines), rejected=rejected)

    def _block(
        self,
        pid: npt.NDArray[np.bytes_],
        places: npt.NDArray[np.float64],
        attributes: Float32Array,
        values: Float32Array,
        lines: npt.NDArray[np.int64],
    ) -> PointBlock:
        """Return rows in our units and signs: `places` is longitude and latitude, `values` of shape (points, epochs)."""
        scaled = {
            name: _scaled(row, self.profile.factor(name))
            for name, row in zip(self.layout.header.attributes, attributes, strict=True)
        }
        displacement = _scaled(values, self.profile.factor("displacement")).T
        scaled["cumulative"] = scaled.get("cumulative", _cumulative(displacement))
        return PointBlock(pid, np.ascontiguousarray(places[0]), np.ascontiguousarray(places[1]), scaled, displacement, lines)

    def _repeated(self, keys: npt.NDArray[np.int64], good: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Say which of the good points came before, in this block or in another, and note the others as seen.

        Sorted keys look near one another and are merged, so that this stays cheap however many blocks there are; which of two points
        came first is asked only where two have the same key.
        """
        repeated = np.zeros(len(keys), dtype=bool)
        added = np.sort(keys[good])
        place = np.searchsorted(self.seen, added)
        known = self.seen[np.minimum(place, len(self.seen) - 1)] == added if len(self.seen) else np.zeros(len(added), dtype=bool)
        if known.any() or (added[1:] == added[:-1]).any():
            chosen = np.flatnonzero(good)
            _, firsts = np.unique(keys[chosen], return_index=True)
            repeated[np.setdiff1d(chosen, chosen[firsts])] = True
            repeated |= good & np.isin(keys, added[known])
            added = np.sort(keys[good & ~repeated])
            place = np.searchsorted(self.seen, added)
        self.seen = np.insert(self.seen, place, added)
        return repeated

    def _sound(self, block: PointBlock, body: Body, first_line: int, are_finite: bool) -> PointBlock:
        """Leave out points without a place, with infinite values, without identifier or with one that came before."""
        inside = (np.abs(block.longitude_deg) <= _EVERYWHERE[0]) & (np.abs(block.latitude_deg) <= _EVERYWHERE[1])
        infinite = np.zeros(len(block), dtype=bool) if are_finite else _any_infinite(block.displacement_mm)
        for values in block.attributes.values():
            infinite |= np.isinf(values)
        named = np.char.str_len(block.pid) > 0
        good = inside & ~infinite & named
        repeated = self._repeated(identifier_keys(block.pid), good)
        good &= ~repeated
        if good.all():
            return block
        rows = bytes(body).split(b"\n")
        reasons = (
            (~inside, "position", "longitude or latitude is missing or beyond the earth; give degrees"),
            (infinite, "value", "a value is not finite; leave the cell empty where nothing was measured"),
            (~named, "pid", "the point has no identifier; give it one"),
            (repeated, "duplicate_in_file", "the identifier came before in this file, and that row holds; make it unique"),
        )
        found = {
            line: Rejected(line, code, reason, rows[line - first_line].rstrip(b"\r"))
            for mask, code, reason in reversed(reasons)
            for line in block.line[mask].tolist()
        }
        rejected = sorted((*block.rejected, *found.values()), key=lambda item: item.line)
        return replace(block.take(good), rejected=tuple(rejected))


def _type(name: str) -> Any:
    import pyarrow as pa

    return pa.string() if name == "pid" else pa.float64() if name in {"longitude", "latitude"} else pa.float32()


def _scaled(values: Float32Array, factor: float) -> Float32Array:
    with np.errstate(over="ignore"):  # infinite values are refused after this
        return values if factor == 1.0 else values * np.float32(factor)


def _any_infinite(displacement_mm: Float32Array) -> npt.NDArray[np.bool_]:
    """Say of each point whether one of its values is infinite; nearly always none is, which one look tells."""
    found = np.isinf(displacement_mm)
    return np.asarray(found.any(axis=0)) if found.any() else np.zeros(displacement_mm.shape[1], dtype=bool)


def _in_order(one: PointBlock, other: PointBlock) -> PointBlock:
    """Join two parts of a block, in the order of the file."""
    order = np.argsort(np.concatenate([one.line, other.line]), kind="stable")
    joined = PointBlock(
        np.concatenate([one.pid, other.pid]),
        np.concatenate([one.longitude_deg, other.longitude_deg]),
        np.concatenate([one.latitude_deg, other.latitude_deg]),
        {name: np.concatenate([values, other.attributes[name]]) for name, values in one.attributes.items()},
        np.concatenate([one.displacement_mm.T, other.displacement_mm.T]).T,
        np.concatenate([one.line, other.line]),
        (*one.rejected, *other.rejected),
    )
    return joined.take(order)


def _bytes_of(column: Any) -> npt.NDArray[np.bytes_]:
    """Return texts as fixed-width bytes: texts of one length stand without gaps in Arrow's buffer."""
    import pyarrow as pa
    import pyarrow.compute as pc

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

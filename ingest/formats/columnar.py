"""A block of delimited text as columns of Arrow: split, and read as numbers, times and categories, without an object a cell.

Only plain blocks are read this way: every row as wide as the header, no blank or comment line, nothing that a CSV reader could
understand differently. Whatever a column does not allow (a cell with blanks around it, a marker, another way to write a
time) is read by the careful functions of `decoding` and `timestamps`, so both ways give the same numbers. This file finishes with
`ColumnarTable`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from domain.observation import FloatArray, IntArray, TimeArray
from ingest.formats.decoding import number_columns
from ingest.formats.header import Names, find_column
from ingest.formats.timestamps import localise_some, parse_times

BoolArray = npt.NDArray[np.bool_]
MAX_LINE_BYTES = 1 << 20
_SHORTEST_TIME = len("2024-01-01 00:00")
_FIRST_YEAR = np.datetime64("1678-01-01", "us")
"""Before it pandas, which reads the careful way, knows no time in nanoseconds."""


@dataclass(frozen=True, slots=True)
class ColumnarTable:
    """Rows below a header, as columns; the same questions as `ingest.formats.table.Table` answers.

    Attributes
    ----------
    header
        Column names as written, stripped; empty where the file has no header.
    block
        The rows as UTF-8, lines ended by LF.
    columns
        One Arrow array of strings a column.
    lines : int32 (n,)
        Line of the file that each row came from.
    preamble
        Rows above the header.
    """

    header: tuple[str, ...]
    block: bytes
    columns: tuple[Any, ...]
    lines: IntArray
    preamble: tuple[tuple[str, ...], ...] = ()

    def __len__(self) -> int:
        return len(self.lines)

    def find(self, names: Names) -> int | None:
        """Return the column (from 0) that one of the names or 1-based positions picks, or None."""
        return find_column(self.header, self.width, names)

    def ends_before(self, index: int) -> BoolArray:
        """Return which rows end before a column: none, for all are as wide as the header."""
        del index
        return np.zeros(len(self), dtype=bool)

    @property
    def width(self) -> int:
        """Return the number of columns."""
        return len(self.columns)

    def column(self, index: int) -> npt.NDArray[np.object_]:
        """Return one column of text cells."""
        return np.asarray(self.columns[index].to_numpy(zero_copy_only=False), dtype=object)

    def cell(self, row: int, index: int) -> str:
        """Return the text of one cell."""
        return str(self.columns[index][row].as_py())

    def row_bytes(self, row: int, delimiter: str = ",") -> bytes:
        """Return a row as UTF-8 text, for quarantine."""
        return delimiter.join(self.cell(row, index) for index in range(self.width)).rstrip(delimiter).encode("utf-8")

    def categories(self, index: int) -> tuple[IntArray, list[str]]:
        """Return a number for each row, and the text that each number stands for."""
        encoded = self.columns[index].dictionary_encode()
        return _plain_array(encoded.indices, "i4"), encoded.dictionary.to_pylist()

    def numbers(
        self, index: int, *, decimal: str = ".", thousands: str = "", missing: Collection[str] = ()
    ) -> tuple[FloatArray, BoolArray, BoolArray]:
        """Convert a column to numbers; see `ingest.formats.decoding.number_columns`."""
        if decimal == "." and not thousands and (plain := _plain_numbers(self.columns[index], missing)) is not None:
            return (*plain, np.zeros(len(self), dtype=bool))
        return number_columns(self.column(index), decimal=decimal, thousands=thousands, missing=missing)

    def times(
        self, indices: Sequence[int], formats: Sequence[str], zone: tzinfo | None, *, where: str | None = None
    ) -> tuple[TimeArray, BoolArray]:
        """Read one column, or several joined by blanks, as times; see `ingest.formats.timestamps.parse_times`."""
        if formats[0] == "iso":
            cells = self.columns[indices[0]]
            if len(indices) > 1:
                cells = pc.binary_join_element_wise(*(self.columns[index] for index in indices), " ")
            for type_ in (pa.timestamp("us", tz="UTC"), pa.timestamp("us")):
                if (plain := _plain_times(cells, type_)) is not None:
                    return (
                        plain if type_.tz else localise_some(plain, zone, where),
                        np.zeros(len(self), dtype=bool),
                    )
        return parse_times(self.joined(indices), formats, zone, where=where)

    def joined(self, indices: Sequence[int]) -> npt.NDArray[np.object_]:
        """Return the cells of several columns, joined by blanks."""
        if len(indices) == 1:
            return self.column(indices[0])
        cells = pc.utf8_trim_whitespace(pc.binary_join_element_wise(*(self.columns[index] for index in indices), " "))
        return np.asarray(cells.to_numpy(zero_copy_only=False), dtype=object)


def _plain_numbers(cells: Any, missing: Collection[str]) -> tuple[FloatArray, BoolArray] | None:
    """Read decimal numbers, empty cells and markers written as declared; None where a cell needs a closer look."""
    absent = pc.equal(cells, "")
    is_missing = np.zeros(len(cells), dtype=bool)
    markers = sorted({form for marker in missing if (text := marker.strip()) for form in (text, text.lower(), text.upper())})
    if markers:
        marked = pc.is_in(cells, value_set=pa.array(markers, pa.string()))
        is_missing = _plain_array(marked.cast(pa.uint8()), "?")
        absent = pc.or_(absent, marked)
    is_whole = not pc.any(absent).as_py()
    try:
        found = (cells if is_whole else pc.if_else(absent, pa.scalar(None, pa.string()), cells)).cast(pa.float64())
    except pa.ArrowInvalid:
        return None
    values = _plain_array(found if is_whole else found.fill_null(np.nan), "f8").copy()
    known = values if is_whole else values[~_plain_array(absent.cast(pa.uint8()), "?")]
    # "nan" and "inf" are no numbers of a logger.
    return (values, is_missing) if np.isfinite(known).all() else None


def _plain_times(cells: Any, type_: Any) -> TimeArray | None:
    """Read ISO dates with times that all have an offset (a type with a zone) or all have none; None where one is otherwise."""
    shortest = pc.min(pc.binary_length(cells)).as_py()
    if shortest is None or shortest < _SHORTEST_TIME:
        return None
    try:
        found = cells.cast(type_)
    except pa.ArrowInvalid:
        return None
    times = _plain_array(found, "M8[us]")
    return None if times.min() < _FIRST_YEAR else times


def _plain_array(values: Any, kind: str) -> npt.NDArray[Any]:
    """Return the memory of an Arrow array without nulls; its own `to_numpy` would load pandas first."""
    return np.frombuffer(values.buffers()[1], dtype=kind, count=len(values), offset=values.offset * np.dtype(kind).itemsize)


def read_block(
    block: bytes, first: int, header: tuple[str, ...], preamble: tuple[tuple[str, ...], ...], delimiter: str, comment: str | None
) -> ColumnarTable | None:
    """Split a block of whole lines; None where it is not plain.

    Parameters
    ----------
    block
        UTF-8, lines ended by LF.
    first
        Number of its first line.
    header, preamble
        As found at the top of the file.
    delimiter, comment
        Of the profile.
    """
    if len(delimiter) != 1 or delimiter == " " or not block or (comment and comment.encode() in block) or b'""' in block:
        return None
    lines = block.count(b"\n") + (not block.endswith(b"\n"))
    width = len(header) or block[: block.find(b"\n") if b"\n" in block else len(block)].count(delimiter.encode()) + 1
    names = [str(number) for number in range(width)]
    try:
        table = pyarrow.csv.read_csv(
            pa.BufferReader(block),
            read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=len(block) + 1, column_names=names),
            parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, quote_char='"' if b'"' in block else False),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False, quoted_strings_can_be_null=False
            ),
        )
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None
    if table.num_rows != lines:
        return None
    columns = tuple(column.combine_chunks() for column in table.columns)
    return ColumnarTable(header, block, columns, np.arange(first, first + lines, dtype=np.int32), preamble)

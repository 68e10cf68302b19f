"""Tables: rows of text cells with their line numbers, from delimited text or a workbook. The shared ground of csv, levelling, TOA5.

This file finishes with `workbook_row`.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, tzinfo
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from domain.errors import FormatError
from domain.observation import FloatArray, IntArray, TimeArray
from ingest.formats.decoding import ByteSource, decode, detect_encoding, number_columns, split_lines, text_blocks
from ingest.formats.header import Names, find_column, fold
from ingest.formats.timestamps import parse_times
from ingest.profile import HeaderRule, Profile

if TYPE_CHECKING:
    from ingest.formats.columnar import ColumnarTable

XLSX_MAGIC = b"PK\x03\x04"
BLOCK_BYTES = 16 * 1024 * 1024
SMALLEST_BLOCK = 64 * 1024
"""A block that is not plain is halved down to this size before it is read cell by cell."""
MAX_COLUMNS = 4096


@dataclass(frozen=True, slots=True)
class Table:
    """Rows below a header.

    Attributes
    ----------
    header
        Column names as written, stripped; empty where the file has no header.
    cells : object (n, m)
        Text of each cell, stripped; "" where there is none.
    lines : int32 (n,)
        Line of the file (row of the sheet) that each row came from.
    preamble
        Rows above the header.
    written : int32 (n,)
        How many cells each row was written with, or more; None where nobody counted.
    """

    header: tuple[str, ...]
    cells: npt.NDArray[np.object_]
    lines: npt.NDArray[np.int32]
    preamble: tuple[tuple[str, ...], ...] = ()
    written: npt.NDArray[np.int32] | None = None

    def __len__(self) -> int:
        return len(self.lines)

    def find(self, names: Names) -> int | None:
        """Return the column (from 0) that one of the names or 1-based positions picks, or None."""
        return find_column(self.header, self.width, names)

    def column(self, index: int) -> npt.NDArray[np.object_]:
        """Return one column of text cells."""
        return self.cells[:, index]

    @property
    def width(self) -> int:
        """Return the number of columns."""
        return int(self.cells.shape[1])

    def ends_before(self, index: int) -> npt.NDArray[np.bool_]:
        """Return which rows end before a column."""
        return np.zeros(len(self), dtype=bool) if self.written is None else self.written <= index

    def cell(self, row: int, index: int) -> str:
        """Return the text of one cell."""
        return str(self.cells[row, index])

    def categories(self, index: int) -> tuple[IntArray, list[str]]:
        """Return a number for each row, and the text that each number stands for."""
        import pandas as pd

        codes, texts = pd.factorize(self.column(index))
        return codes.astype(np.int32), [str(text) for text in texts]

    def numbers(
        self, index: int, *, decimal: str = ".", thousands: str = "", missing: Collection[str] = ()
    ) -> tuple[FloatArray, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Convert a column to numbers; see `ingest.formats.decoding.number_columns`."""
        return number_columns(self.column(index), decimal=decimal, thousands=thousands, missing=missing)

    def times(
        self, indices: Sequence[int], formats: Sequence[str], zone: tzinfo | None, *, where: str | None = None
    ) -> tuple[TimeArray, npt.NDArray[np.bool_]]:
        """Read one column, or several joined by blanks, as times; see `ingest.formats.timestamps.parse_times`."""
        return parse_times(self.joined(indices), formats, zone, where=where)

    def joined(self, indices: Sequence[int]) -> npt.NDArray[np.object_]:
        """Return the cells of several columns, joined by blanks."""
        texts = self.column(indices[0])
        for index in indices[1:]:
            pairs = zip(texts, self.column(index), strict=True)
            texts = np.array([f"{left} {right}".strip() for left, right in pairs], dtype=object)
        return texts

    def row_bytes(self, row: int, delimiter: str = ",") -> bytes:
        """Return a row as UTF-8 text, for quarantine."""
        return delimiter.join(str(cell) for cell in self.cells[row]).rstrip(delimiter).encode("utf-8")


def is_workbook(raw: bytes) -> bool:
    """Do the bytes begin like an XLSX file?"""
    return raw.startswith(XLSX_MAGIC)


def read_tables(raw: bytes, profile: Profile, *, where: str) -> Iterator[Table | ColumnarTable]:
    """Yield the rows of a text file or workbook in bounded parts, each with the header found at the top.

    Raises
    ------
    FormatError
        When the header that the profile describes is not there.
    """
    if is_workbook(raw):
        rows = read_workbook(raw, profile.sheet, where=where, decimal=profile.decimal)
        position, header = find_header(rows, profile, where=where)
        yield _table_of_rows(rows[position:], position + 1, header, rows[: max(position - 1, 0)])
        return
    encoding = profile.encoding or detect_encoding(raw, where=where)
    yield from read_text_tables(io.BytesIO(raw), encoding, profile, where=where)


def read_text_tables(source: ByteSource, encoding: str, profile: Profile, *, where: str) -> Iterator[Table | ColumnarTable]:
    """Yield the rows of delimited text in parts of about `BLOCK_BYTES`; see `read_tables`."""
    found: tuple[int, tuple[str, ...], tuple[tuple[str, ...], ...]] | None = None
    try:
        for first, block in text_blocks(source, encoding, BLOCK_BYTES):
            skipped = 0
            if found is None:
                found = _text_header(block, profile, where)
                skipped = found[0]
            yield from _tables_of_block(_below(block, skipped), first + skipped, found[1], found[2], profile)
    except (UnicodeDecodeError, LookupError) as fault:
        raise FormatError(
            f"the text is not {encoding}.", where=where, remedy="state the right encoding: in the profile"
        ) from fault


def _text_header(block: bytes, profile: Profile, where: str) -> tuple[int, tuple[str, ...], tuple[tuple[str, ...], ...]]:
    deepest = profile.skip_lines + 400
    lines = split_lines(b"\n".join(block.split(b"\n", deepest)[:deepest]).decode())
    window = [split_row(line, profile.delimiter) for line in lines]
    position, header = find_header(window, profile, where=where)
    return position, header, tuple(tuple(row) for row in window[: max(position - 1, 0)])


def _below(block: bytes, lines: int) -> bytes:
    start = 0
    for _ in range(lines):
        end = block.find(b"\n", start)
        if end < 0:
            return b""
        start = end + 1
    return block[start:] if start else block


def _tables_of_block(
    block: bytes, first: int, header: tuple[str, ...], preamble: tuple[tuple[str, ...], ...], profile: Profile
) -> Iterator[Table | ColumnarTable]:
    """Yield a block as columns; where it is not plain, its halves, so that one odd row slows down its neighbours only."""
    from ingest.formats.columnar import read_block

    plain = read_block(block, first, header, preamble, profile.delimiter, profile.comment)
    if plain is not None:
        yield plain
        return
    middle = block.find(b"\n", len(block) // 2) + 1
    if len(block) <= SMALLEST_BLOCK or not 0 < middle < len(block) or not _may_be_plain(profile):
        yield _table_of_lines(split_lines(block.decode()), first, header, preamble, profile)
        return
    yield from _tables_of_block(block[:middle], first, header, preamble, profile)
    yield from _tables_of_block(block[middle:], first + block.count(b"\n", 0, middle), header, preamble, profile)


def _may_be_plain(profile: Profile) -> bool:
    return len(profile.delimiter) == 1 and profile.delimiter != " "


def find_header(rows: Sequence[Sequence[str]], profile: Profile, *, where: str) -> tuple[int, tuple[str, ...]]:
    """Return the number of rows down to the first data row, and the header's names."""
    rule: HeaderRule = profile.header
    if rule.match:
        wanted = {fold(name) for name in rule.match}
        for index, row in enumerate(rows):
            if wanted <= {fold(cell) for cell in row}:
                return index + 1 + rule.skip_after, tuple(cell.strip() for cell in row)
        raise FormatError(
            f"no row holds the header {', '.join(rule.match)}.",
            where=where,
            remedy=f"check that this is the kind of file of profile {profile.name}",
        )
    if rule.row is None:
        return profile.skip_lines, ()
    seen = 0
    for index, row in enumerate(rows):
        if index < profile.skip_lines or _is_skipped(row, profile.comment):
            continue
        seen += 1
        if seen == rule.row:
            return index + 1 + rule.skip_after, tuple(cell.strip() for cell in row)
    raise FormatError(
        "the file has no header row.", where=where, remedy=f"check that this is the kind of file of profile {profile.name}"
    )


def _is_skipped(row: Sequence[str], comment: str | None) -> bool:
    if not any(cell.strip() for cell in row):
        return True
    return comment is not None and row[0].lstrip().startswith(comment)


def split_row(line: str, delimiter: str) -> list[str]:
    """Split one line of delimited text; quotes are honoured."""
    if delimiter == " ":
        return line.split()
    if '"' not in line:
        return [cell.strip() for cell in line.split(delimiter)]
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))]
    except (csv.Error, StopIteration):
        return [cell.strip() for cell in line.split(delimiter)]


def _table_of_lines(
    lines: list[str], first: int, header: tuple[str, ...], preamble: tuple[tuple[str, ...], ...], profile: Profile
) -> Table:
    comment = profile.comment
    keep = [i for i, line in enumerate(lines) if line.strip() and not (comment and line.lstrip().startswith(comment))]
    kept = [lines[i] for i in keep]
    numbers = np.array(keep, dtype=np.int32) + first
    cells = _cells(kept, profile.delimiter, len(header))
    given = (len(line.split()) if profile.delimiter == " " else line.count(profile.delimiter) + 1 for line in kept)
    return Table(header, cells, numbers, preamble, np.fromiter(given, np.int32, len(kept)))


def _cells(lines: list[str], delimiter: str, width: int) -> npt.NDArray[np.object_]:
    import pandas as pd

    if not lines:
        return np.empty((0, max(width, 1)), dtype=object)
    if delimiter == " ":
        return _pad([line.split() for line in lines], width)
    quoted = any('"' in line for line in lines)
    if quoted and any(line.count('"') % 2 for line in lines):
        return _pad([split_row(line, delimiter) for line in lines], width)
    widest = min(max(width, max(line.count(delimiter) for line in lines) + 1), MAX_COLUMNS)
    try:
        frame = pd.read_csv(
            io.StringIO("\n".join(lines)),
            sep=delimiter,
            header=None,
            names=list(range(widest)),
            dtype=object,
            index_col=False,
            na_filter=False,
            skip_blank_lines=False,
            quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
            engine="c",
        )
    except (ValueError, pd.errors.ParserError):
        return _pad([split_row(line, delimiter) for line in lines], width)
    if len(frame) != len(lines):
        return _pad([split_row(line, delimiter) for line in lines], width)
    return np.asarray(frame.fillna("").to_numpy(dtype=object))


def _pad(rows: Sequence[Sequence[str]], width: int) -> npt.NDArray[np.object_]:
    widest = max(width, max((len(row) for row in rows), default=1), 1)
    cells = np.full((len(rows), widest), "", dtype=object)
    for i, row in enumerate(rows):
        cells[i, : len(row)] = row
    return cells


def _table_of_rows(rows: list[list[str]], first: int, header: tuple[str, ...], preamble: list[list[str]]) -> Table:
    keep = [i for i, row in enumerate(rows) if any(cell for cell in row)]
    cells = _pad([rows[i] for i in keep], len(header))
    return Table(header, cells, np.array(keep, dtype=np.int32) + first, tuple(tuple(row) for row in preamble))


def read_rows(raw: bytes, *, encoding: str | None = None, sheet: str | int | None = None, where: str) -> list[list[str]]:
    """Return every row of a small table, its delimiter found by counting (comma, tab, semicolon, 、-free)."""
    if is_workbook(raw):
        return read_workbook(raw, sheet, where=where)
    lines = split_lines(decode(raw, encoding, where=where))
    sample = "\n".join(lines[:40])
    delimiter = max((",", "\t", ";", "，"), key=sample.count)
    return [split_row(line, delimiter) for line in lines]


def read_workbook(raw: bytes, sheet: str | int | None = None, *, where: str, decimal: str = ".") -> list[list[str]]:
    """Return the rows of a sheet (name, 1-based number, or the first) as text; dates become ISO text, numbers get the decimal mark.

    Raises
    ------
    FormatError
        When the bytes are no workbook or the sheet does not exist.
    """
    import openpyxl

    try:
        book = openpyxl.load_workbook(io.BytesIO(raw), read_only=True, data_only=True)
    except (
        zipfile.BadZipFile,
        KeyError,
        ValueError,
        TypeError,
        OSError,
        EOFError,
        SyntaxError,
        AttributeError,
        IndexError,
    ) as fault:
        raise FormatError("the workbook is damaged or no XLSX file.", where=where, remedy="save it again as .xlsx") from fault
    try:
        names = book.sheetnames
        chosen = names[0] if sheet is None else names[sheet - 1] if isinstance(sheet, int) and 0 < sheet <= len(names) else sheet
        if chosen not in names:
            raise FormatError(f"there is no sheet {sheet!r}.", where=where, remedy=f"sheets: {', '.join(names)}")
        return [
            [_cell_text(cell, decimal) for cell in row[:MAX_COLUMNS]] for row in book[str(chosen)].iter_rows(values_only=True)
        ]
    except (KeyError, ValueError, TypeError, zipfile.BadZipFile, AttributeError, EOFError, SyntaxError) as fault:
        raise FormatError("the workbook is damaged.", where=where, remedy="save it again as .xlsx") from fault
    finally:
        book.close()


def _cell_text(value: Any, decimal: str) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == time(0) else value.isoformat(sep=" ")
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, float):
        return repr(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value).replace(".", decimal)
    return str(value).strip()


def workbook_row(raw: bytes, line: int, *, where: str) -> bytes:
    """Return one row of the first sheet as tab-separated UTF-8, for quarantine."""
    rows = read_workbook(raw, where=where)
    return "\t".join(rows[line - 1]).encode("utf-8") if 0 < line <= len(rows) else b""

"""PostgreSQL's binary COPY format, written and read with numpy: fixed-width rows instead of a loop over values.

A row of the format is a field count and, for each field, a length and its bytes; NULL is the length -1 and no bytes. Rows that are
NULL in the same columns therefore have one width, and one structured array writes all of them. Rows are grouped by what
they leave out; their order within one COPY does not matter.

Reference: PostgreSQL 17 documentation, COPY, "Binary Format". This file finishes with `decode_rows`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

HEADER = b"PGCOPY\n\xff\r\n\x00" + struct.pack(">ii", 0, 0)
TRAILER = struct.pack(">h", -1)
CHUNK_ROWS = 65_536
"""Rows encoded at once: bounds the memory of an encoder to some ten megabytes."""

_EPOCH = np.datetime64("2000-01-01", "us")
_MICROSECONDS_1970_TO_2000 = int(_EPOCH.astype(np.int64))
_TEXT_OID = 25
_BIG_ENDIAN = {"i2": ">i2", "i4": ">i4", "i8": ">i8", "f8": ">f8", "M8": ">i8"}


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table: an array, and which of its rows are NULL (None = none).

    An array of objects is written as `text[]`; of datetime64[us] as timestamptz; float64, int64, int32 and int16 as they are.
    """

    values: npt.NDArray[Any]
    null: npt.NDArray[np.bool_] | None = None


def constant(value: int | np.datetime64, dtype: str, n: int) -> Column:
    """Return a column that repeats one value without storing it n times."""
    return Column(np.broadcast_to(np.asarray(value, dtype=dtype), (n,)))


def floats(values: npt.NDArray[np.float64]) -> Column:
    """Return a column of float8 in which NaN is NULL."""
    return Column(values, np.isnan(values))


def times(values: npt.NDArray[np.datetime64]) -> Column:
    """Return a column of timestamptz in which NaT is NULL."""
    return Column(values, np.isnat(values))


def texts(values: npt.NDArray[np.object_]) -> Column:
    """Return a column of text[] in which None and the empty tuple are NULL."""
    return Column(values, np.fromiter((not value for value in values), dtype=bool, count=len(values)))


def encode_rows(columns: Sequence[Column], *, in_order: bool = False) -> Iterator[bytes]:
    """Yield the whole binary COPY stream of a table given by its columns, all of one length.

    Parameters
    ----------
    columns
        In the order of the COPY statement's column list.
    in_order
        Keep the order of the rows, at the price of smaller pieces: for tables whose identity tells the order of events.

    Yields
    ------
    bytes
        Header, rows of at most `CHUNK_ROWS` at a time, trailer.
    """
    n = len(columns[0].values)
    yield HEADER
    for start in range(0, n, CHUNK_ROWS):
        chunk = [_slice(column, slice(start, min(start + CHUNK_ROWS, n))) for column in columns]
        yield from _encode_runs(chunk) if in_order else _encode_chunk(chunk)
    yield TRAILER


def _slice(column: Column, rows: Any) -> Column:
    return Column(column.values[rows], None if column.null is None else column.null[rows])


def _encode_chunk(columns: list[Column]) -> Iterator[bytes]:
    pattern = _patterns(columns)
    distinct = np.unique(pattern)
    for value in distinct:
        chosen = columns if len(distinct) == 1 else [_slice(column, pattern == value) for column in columns]
        yield _encode_alike(chosen)


def _encode_runs(columns: list[Column]) -> Iterator[bytes]:
    ends = np.flatnonzero(np.diff(_patterns(columns))) + 1
    n = len(columns[0].values)
    for start, end in zip([0, *ends.tolist()], [*ends.tolist(), n], strict=True):
        yield _encode_alike([_slice(column, slice(start, end)) for column in columns])


def _patterns(columns: list[Column]) -> npt.NDArray[np.int64]:
    """Number the rows by which columns are NULL and by which texts they carry: equal numbers, equal layout."""
    pattern = np.zeros(len(columns[0].values), dtype=np.int64)
    for column in columns:
        if column.values.dtype == object:
            numbers: dict[Any, int] = {}
            code = np.fromiter((numbers.setdefault(_key(value), len(numbers)) for value in column.values), np.int64, len(pattern))
            pattern = np.unique(pattern * len(numbers) + code, return_inverse=True)[1]
        elif column.null is not None:
            pattern = pattern * 2 + column.null
    return pattern


def _key(value: Sequence[str] | None) -> tuple[str, ...] | None:
    return tuple(value) if value else None


def _encode_alike(columns: list[Column]) -> bytes:
    """Encode rows of one layout; a text[] column holds the same value in all of them."""
    fields: list[tuple[str, str]] = [("count", ">i2")]
    contents: dict[str, npt.ArrayLike] = {"count": len(columns)}
    for number, column in enumerate(columns):
        length, body = f"length{number}", f"body{number}"
        fields.append((length, ">i4"))
        if column.null is not None and len(column.null) and column.null[0]:
            contents[length] = -1
            continue
        if column.values.dtype == object:
            text = encode_texts(column.values[0])
            fields.append((body, f"V{len(text)}"))
            contents[length], contents[body] = len(text), np.void(text)
            continue
        kind = _BIG_ENDIAN[column.values.dtype.str[1:3]]
        fields.append((body, kind))
        contents[length] = np.dtype(kind).itemsize
        contents[body] = _microseconds(column.values) if column.values.dtype.kind == "M" else column.values
    rows = np.empty(len(columns[0].values), dtype=fields)
    for name, content in contents.items():
        rows[name] = content
    return rows.tobytes()


def _microseconds(values: npt.NDArray[np.datetime64]) -> npt.NDArray[np.int64]:
    """Return microseconds since 2000-01-01, which is how timestamptz is sent."""
    return values.astype("datetime64[us]").astype(np.int64) - _MICROSECONDS_1970_TO_2000


def encode_texts(values: Sequence[str]) -> bytes:
    """Encode a one-dimensional text[] without NULLs."""
    if not values:
        return struct.pack(">iii", 0, 0, _TEXT_OID)
    parts = [struct.pack(">iiiii", 1, 0, _TEXT_OID, len(values), 1)]
    for value in values:
        body = value.encode()
        parts.append(len(body).to_bytes(4, "big") + body)
    return b"".join(parts)


def decode_rows(packed: bytes, layout: Mapping[str, str]) -> dict[str, npt.NDArray[Any]]:
    """Read rows that the server packed with its binary send functions, one after the other, without lengths.

    Parameters
    ----------
    packed
        Rows of fixed width.
    layout
        Column names with their types: `i2`, `i4`, `i8`, `f8`, `b1` or `M8` (timestamptz; -infinity becomes NaT).

    Returns
    -------
    dict
        One array a column, in the machine's byte order; times as datetime64[us].
    """
    dtype = np.dtype([(name, _BIG_ENDIAN.get(kind, kind)) for name, kind in layout.items()])
    rows = np.frombuffer(packed, dtype=dtype)
    return {name: _native(rows[name], kind) for name, kind in layout.items()}


def _native(values: npt.NDArray[Any], kind: str) -> npt.NDArray[Any]:
    if kind != "M8":
        return values.astype(values.dtype.newbyteorder("="))
    microseconds = values.astype(np.int64)
    missing = microseconds == np.iinfo(np.int64).min
    found = (np.where(missing, 0, microseconds) + _MICROSECONDS_1970_TO_2000).astype("datetime64[us]")
    found[missing] = np.datetime64("NaT")
    return found

"""Numpy arrays as parameters of statements: a thousand numbers are handed to the server in one move instead of one by one.

PostgreSQL's binary array is a header and, for each element, its length and its bytes; elements of one width make one structured array.
Reference: PostgreSQL 17, `array_send`. This file finishes with `times_parameter`.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format

from domain.observation import TimeArray
from storage.copy_format import encode_texts

_HEADER = struct.Struct(">iiIii")
_EPOCH_1970 = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_2000 = np.datetime64("2000-01-01", "us").astype(np.int64)


@dataclass(frozen=True, slots=True)
class Int4Array:
    """An `integer[]`."""

    values: npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class TimestampArray:
    """A `timestamptz[]`: UTC instants without NaT."""

    values: TimeArray


@dataclass(frozen=True, slots=True)
class TextArray:
    """A `text[]` without NULLs."""

    values: Sequence[str]


def _pack(values: npt.NDArray[Any], element_oid: int, dtype: str) -> bytes:
    n = len(values)
    if n == 0:
        return struct.pack(">iiI", 0, 0, element_oid)
    rows = np.empty(n, dtype=[("length", ">i4"), ("value", dtype)])
    rows["length"] = rows.dtype["value"].itemsize
    rows["value"] = values
    return _HEADER.pack(1, 0, element_oid, n, 1) + rows.tobytes()


class _Int4ArrayDumper(Dumper):
    format = Format.BINARY
    oid = 1007

    def dump(self, obj: Int4Array) -> bytes:
        return _pack(obj.values, 23, ">i4")


class _TimestampArrayDumper(Dumper):
    format = Format.BINARY
    oid = 1185

    def dump(self, obj: TimestampArray) -> bytes:
        return _pack(obj.values.astype("datetime64[us]").astype(np.int64) - _EPOCH_2000, 1184, ">i8")


class _TextArrayDumper(Dumper):
    format = Format.BINARY
    oid = 1009

    def dump(self, obj: TextArray) -> bytes:
        return encode_texts(obj.values)


def register_arrays() -> None:
    """Teach psycopg these kinds of parameters; connections that were opened before do not know them."""
    for kind, dumper in (
        (Int4Array, _Int4ArrayDumper),
        (TimestampArray, _TimestampArrayDumper),
        (TextArray, _TextArrayDumper),
    ):
        psycopg.adapters.register_dumper(kind, dumper)


def ids_parameter(ids: Sequence[int]) -> Int4Array:
    """Return datastream ids as a parameter."""
    return Int4Array(np.fromiter(ids, dtype=np.int32, count=len(ids)))


def times_parameter(times: Sequence[datetime]) -> TimestampArray:
    """Return aware times as a parameter."""
    return TimestampArray(np.fromiter(map(_microseconds, times), dtype=np.int64, count=len(times)).view("datetime64[us]"))


def _microseconds(moment: datetime) -> int:
    """Return microseconds since 1970, exactly: a float of seconds would lose them in old archives."""
    since = moment - _EPOCH_1970
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds

"""Rows of plain numbers read straight into arrays: one compiled pass over the bytes, without a string or an object for any cell.

A row that holds anything else (quotes, blanks, numbers of seventeen digits, infinities, another count of cells) is left to the caller
untouched, so this never decides what a strange cell means. This file finishes with `scan`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from domain.machine_code import Loop, load

SKIP, PID, PLACE, ATTRIBUTE, EPOCH = range(5)
"""What a column is for."""

_TENS = np.concatenate([10.0 ** np.arange(23), -(10.0 ** np.arange(23))])
"""Powers of ten that are exact in float64, and their negatives: a whole number below 2^53 divided by one of them is rounded once.

Reference: Clinger 1990, doi:10.1145/93542.93557."""

_SINGLE_TENS = np.concatenate([_TENS[:11], -_TENS[:11]]).astype(np.float32)
"""Powers of ten that are exact in float32, and their negatives."""

_PID_WIDTH = 32
"""Identifiers of no more bytes are copied by the loop itself."""

_LINE_FEED = ord("\n")
_LOOKED_AT = 1 << 16
_ROWS_MORE = 64

_LOOP = Loop(
    "ingest.insar.cells_loop",
    "scan_rows",
    "*u1 u8 *i1 *i4 i8 i8 *u1 *i8 i8 *u1 *f8 *f4 *f8 i8 *f4 i8 *f4 i8 *u1 i8 *i8 *i8 *i8 *i8 *i8",
    also=(__name__,),
)


@dataclass(frozen=True, slots=True)
class Columns:
    """What each column of the text is for, and where its values go: `slot` counts within its purpose."""

    purpose: npt.NDArray[np.int8]
    slot: npt.NDArray[np.int32]
    places: int
    attributes: int
    epochs: int


@dataclass(frozen=True, slots=True)
class Scanned:
    """Rows that were plain, in their order, and where the others stand.

    Attributes
    ----------
    places
        Shape (rows, places), float64; NaN = empty.
    attributes
        Shape (attributes, rows); NaN = empty.
    values
        Shape (rows, epochs); NaN = empty.
    pid
        Identifiers, as wide as the longest of them.
    line
        Which line of the text each row is, from 0.
    odd
        Shape (n, 3): start, end and line of each row that was left.
    lines, end
        How many lines were read, and where in the text the last of them ends.
    """

    places: npt.NDArray[np.float64]
    attributes: npt.NDArray[np.float32]
    values: npt.NDArray[np.float32]
    pid: npt.NDArray[np.bytes_]
    line: npt.NDArray[np.int64]
    odd: npt.NDArray[np.int64]
    lines: int
    end: int


def scan(text: npt.NDArray[np.uint8], columns: Columns, delimiter: int, missing: Sequence[bytes]) -> Scanned:
    """Read whole lines, each ended by a line feed.

    Parameters
    ----------
    missing
        Cells that mean "no value", beside the empty one.
    """
    words = np.frombuffer(b"".join(missing) or b"\0", dtype=np.uint8)
    ends = np.cumsum([0, *map(len, missing)]).astype(np.int64)
    firsts = np.zeros(256, dtype=np.uint8)
    firsts[[word[0] for word in missing]] = 1
    parts = [_scan(text, 0, 0, columns, delimiter, (words, ends, firsts))]
    while parts[-1].end < len(text):  # the rows became shorter than the first ones
        parts.append(_scan(text, parts[-1].end, parts[-1].lines, columns, delimiter, (words, ends, firsts)))
    return parts[0] if len(parts) == 1 else _joined(parts)


def _scan(
    text: npt.NDArray[np.uint8], begin: int, line: int, columns: Columns, delimiter: int, missing: tuple[npt.NDArray[Any], ...]
) -> Scanned:
    """Read from a place on, of which `line` is the number, as many rows as arrays for rows like the first ones have room for."""
    words, ends, firsts = missing
    rest = text[begin:]
    lines = _rows_expected(rest)
    places = np.empty((lines, columns.places))
    attributes = np.empty((columns.attributes, lines), dtype=np.float32)
    values = np.empty((lines, columns.epochs), dtype=np.float32)
    pids = np.zeros((lines, _PID_WIDTH), dtype=np.uint8)
    start, length, line_of = (np.zeros(lines, dtype=np.int64) for _ in range(3))
    odd = np.empty((lines, 3), dtype=np.int64)
    counts = np.zeros(4, dtype=np.int64)
    loop()(
        rest, len(rest), columns.purpose, columns.slot, len(columns.purpose), delimiter, words, ends, len(ends) - 1, firsts,
        _TENS, _SINGLE_TENS, places, columns.places, attributes, lines, values, columns.epochs, pids, _PID_WIDTH,
        start, length, line_of, odd, counts,
    )  # fmt: skip
    rows, left, read, end = counts.tolist()
    pid = _identifiers(rest, pids[:rows], start[:rows], length[:rows])
    odd = odd[:left] + np.array([begin, begin, line])
    return Scanned(places[:rows], attributes[:, :rows], values[:rows], pid, line_of[:rows] + line, odd, line + read, begin + end)


def _rows_expected(text: npt.NDArray[np.uint8]) -> int:
    """Return how many rows a text may have, somewhat more than if all were as long as the first ones."""
    beginning = text[:_LOOKED_AT]
    feeds = int(np.count_nonzero(beginning == _LINE_FEED))
    return len(text) * max(feeds, 1) // len(beginning) * 17 // 16 + _ROWS_MORE if len(text) else 0


def _joined(parts: Sequence[Scanned]) -> Scanned:
    return Scanned(
        np.concatenate([part.places for part in parts]),
        np.concatenate([part.attributes for part in parts], axis=1),
        np.concatenate([part.values for part in parts]),
        np.concatenate([part.pid for part in parts]),
        np.concatenate([part.line for part in parts]),
        np.concatenate([part.odd for part in parts]),
        parts[-1].lines,
        parts[-1].end,
    )


@cache
def loop() -> Callable[..., None]:
    """Return the compiled loop; ImportError where it has to be compiled and there is no compiler."""
    return load(_LOOP)


def _identifiers(
    text: npt.NDArray[np.uint8], copied: npt.NDArray[np.uint8], start: npt.NDArray[np.int64], length: npt.NDArray[np.int64]
) -> npt.NDArray[np.bytes_]:
    """Return pieces of a text as fixed-width bytes; those that are not too long were copied already."""
    width = max(int(length.max(initial=1)), 1)
    if width <= copied.shape[1]:
        return np.ascontiguousarray(copied[:, :width]).view(f"S{width}").ravel()
    offset = np.arange(width)
    place = np.minimum(start[:, None] + offset, max(len(text) - 1, 0))
    return np.where(offset < length[:, None], text[place], np.uint8(0)).astype(np.uint8, copy=False).view(f"S{width}").ravel()

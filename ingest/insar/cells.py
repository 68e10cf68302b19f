"""Rows of plain numbers read straight into arrays: one compiled pass over the bytes, without a string or an object for any cell.

A row that holds anything else (quotes, blanks, numbers of seventeen digits, infinities, another count of cells) is left to the caller
untouched, so this never decides what a strange cell means. This file finishes with `scan`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from domain.compiling import compiled

SKIP, PID, PLACE, ATTRIBUTE, EPOCH = range(5)
"""What a column is for."""

_TENS = 10.0 ** np.arange(23)
"""Powers of ten that are exact in float64: a whole number below 2^53 divided by one of them is rounded once.

Reference: Clinger 1990, doi:10.1145/93542.93557."""

_NEWLINE, _RETURN, _QUOTE, _MINUS, _PLUS, _ZERO, _SMALL_E, _LARGE_E, _SPACE, _LAST_ASCII = b'\n\r"-+0eE ~'
_POINT = ord(".") - _ZERO
_EXACT = 1 << 53
_MOST_DIGITS = 18
_MOST_TENS = 22
_TOO_LARGE = 10_000
_LEAST, _MOST = 1.2e-38, 3.4e38
"""Magnitudes within which float32 has all its bits."""


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
    pid_start, pid_length
        Where the identifier of each row stands in the text.
    line
        Which line of the text each row is, from 0.
    odd
        Shape (n, 3): start, end and line of each row that was left.
    """

    places: npt.NDArray[np.float64]
    attributes: npt.NDArray[np.float32]
    values: npt.NDArray[np.float32]
    pid_start: npt.NDArray[np.int64]
    pid_length: npt.NDArray[np.int64]
    line: npt.NDArray[np.int64]
    odd: npt.NDArray[np.int64]


def scan(text: npt.NDArray[np.uint8], lines: int, columns: Columns, delimiter: int, missing: Sequence[bytes]) -> Scanned:
    """Read whole lines, each ended by a line feed.

    Parameters
    ----------
    text
        Bytes of `lines` lines.
    missing
        Cells that mean "no value", beside the empty one.
    """
    words = np.frombuffer(b"".join(missing) or b"\0", dtype=np.uint8)
    ends = np.cumsum([0, *map(len, missing)]).astype(np.int64)
    firsts = np.zeros(256, dtype=bool)
    firsts[[word[0] for word in missing]] = True
    places = np.empty((lines, columns.places))
    attributes = np.empty((columns.attributes, lines), dtype=np.float32)
    values = np.empty((lines, columns.epochs), dtype=np.float32)
    start, length, line = (np.zeros(lines, dtype=np.int64) for _ in range(3))
    odd = np.empty((lines, 3), dtype=np.int64)
    rows, left = _scan(
        text, columns.purpose, columns.slot, delimiter, words, ends, firsts, _TENS,
        places, attributes, values, start, length, line, odd,
    )  # fmt: skip
    return Scanned(places[:rows], attributes[:, :rows], values[:rows], start[:rows], length[:rows], line[:rows], odd[:left])


@compiled
def _scan(  # noqa: PLR0912, PLR0915 - calls between compiled functions cost as much as the cells themselves
    text: Any, purpose: Any, slot: Any, delimiter: int, words: Any, ends: Any, firsts: Any, tens: Any, places: Any, attributes: Any,
    values: Any, starts: Any, lengths: Any, lines: Any, odd: Any,
) -> tuple[int, int]:  # fmt: skip
    # Places are unsigned, because a signed one would be checked for counting from the end.
    one = np.uint64(1)
    at, size = np.uint64(0), np.uint64(len(text))
    row, left, line = 0, 0, 0
    columns = len(purpose)
    while at < size:
        begin = at
        plain: Any = True
        for column in range(columns):
            kind = purpose[column]
            if kind <= PID:
                start = at
                while text[at] != delimiter and text[at] != _NEWLINE and text[at] != _RETURN:
                    plain &= text[at] != _QUOTE and (kind == SKIP or _SPACE <= text[at] <= _LAST_ASCII)
                    at += one
                if kind == PID:
                    plain &= at == start or (text[start] != _SPACE and text[at - one] != _SPACE)
                    starts[row], lengths[row] = start, at - start
            else:
                value = np.nan
                found = at
                if firsts[text[at]]:
                    for word in range(len(ends) - 1):
                        found = max(found, _after_word(text, at, words[ends[word] : ends[word + 1]], delimiter))
                start = at = found
                if text[at] == _MINUS:
                    at += one
                whole, digits, decimals, after_point = np.int64(0), 0, 0, 0
                while True:
                    digit = np.int64(text[at]) - _ZERO
                    if 0 <= digit <= 9:
                        whole = whole * 10 + digit
                        digits += 1
                        decimals += after_point
                    elif digit == _POINT and after_point == 0:
                        after_point = 1
                    else:
                        break
                    at += one
                if digits > 0:
                    if text[at] == _SMALL_E or text[at] == _LARGE_E:
                        at, exponent = _exponent(text, at + one)
                        decimals -= exponent
                    plain &= digits <= _MOST_DIGITS and whole < _EXACT and -_MOST_TENS <= decimals <= _MOST_TENS
                    if not plain:
                        break
                    value = np.float64(whole) / tens[decimals] if decimals >= 0 else np.float64(whole) * tens[-decimals]
                    # Rounded to float64 and then to float32, only what seems to lie in the middle of two could go the wrong way.
                    if kind != PLACE:
                        off = value - np.float64(np.float32(value))
                        mirrored = value + off
                        plain &= off == 0.0 or np.float64(np.float32(mirrored)) != mirrored
                        plain &= whole == 0 or _LEAST < value < _MOST
                    if text[start] == _MINUS:
                        value = -value
                else:
                    plain &= at == start
                if kind == EPOCH:
                    values[row, slot[column]] = value
                elif kind == ATTRIBUTE:
                    attributes[slot[column], row] = value
                else:
                    places[row, slot[column]] = value
            if column == columns - 1 and text[at] == _RETURN:
                at += one
            plain &= text[at] == (_NEWLINE if column == columns - 1 else delimiter)
            if not plain:
                break
            at += one
        if plain:
            lines[row] = line
            row += 1
        else:
            while text[at] != _NEWLINE:
                at += one
            odd[left, 0], odd[left, 1], odd[left, 2] = begin, at, line
            left += 1
            at += one
        line += 1
    return row, left


@compiled
def _after_word(text: Any, at: Any, word: Any, delimiter: int) -> Any:
    """Return the place after a word where it is the whole cell, else the place where it would begin."""
    end = at
    for byte in word:
        if text[end] != byte:
            return at
        end += np.uint64(1)
    return end if text[end] == delimiter or text[end] == _NEWLINE or text[end] == _RETURN else at


@compiled
def _exponent(text: Any, at: Any) -> Any:
    """Return the place after an exponent and its value; a value beyond all powers where there is none."""
    one = np.uint64(1)
    negative = text[at] == _MINUS
    if negative or text[at] == _PLUS:
        at += one
    value, first = 0, at
    while _ZERO <= text[at] <= _ZERO + 9:
        if value < _TOO_LARGE:
            value = value * 10 + int(text[at]) - _ZERO
        at += one
    if at == first:
        value = _TOO_LARGE
    return at, (-value if negative else value)

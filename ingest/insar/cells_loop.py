"""The loop over the cells of a text, for the compiler alone: `cells` calls it, and imports this only where no machine code is kept.

Everything is passed by address, so that the machine code needs nothing of the compiler that made it. This file finishes with `scan_rows`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from domain.compiling import inlined, instruction
from ingest.insar.cells import EPOCH, PID, PLACE, SKIP

_NEWLINE, _RETURN, _QUOTE, _MINUS, _PLUS, _ZERO, _SMALL_E, _LARGE_E, _SPACE, _LAST_ASCII = b'\n\r"-+0eE ~'
_POINT = ord(".") - _ZERO
_EXACT = 1 << 53
_MOST_DIGITS = 18
_MOST_TENS = 22
_TOO_LARGE = 10_000
_LEAST, _MOST = 1.2e-38, 3.4e38
"""Magnitudes within which float32 has all its bits."""

_NONE, _ONE, _SEVEN, _EIGHT, _SIXTEEN, _TOP_BYTE, _SIXTY_THREE, _SIXTY_FOUR = map(np.uint64, (0, 1, 7, 8, 16, 56, 63, 64))
_TENS, _SINGLE_TENS = np.uint64(23), np.uint64(11)
"""How many powers of ten there are in the tables; their negatives follow."""
_BITS_OF_EIGHT = np.uint64(3)
_TEN_TO_EIGHT = np.uint64(10**8)
_ONES, _HIGHS = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
_ZEROS, _POINTS = np.uint64(0x3030303030303030), np.uint64(0x2E2E2E2E2E2E2E2E)
_BEYOND_NINE = np.uint64(0x7676767676767676)
_PAIRS, _FOURS, _EIGHTS = np.uint64(0x0F0F0F0F0F0F0F0F), np.uint64(0x00FF00FF00FF00FF), np.uint64(0x0000FFFF0000FFFF)
_TIMES_10, _TIMES_100, _TIMES_10000 = np.uint64(2561), np.uint64(6553601), np.uint64(42949672960001)
_SHIFT_16, _SHIFT_32 = np.uint64(16), np.uint64(32)
_LOW = np.uint64(0xFF)


@instruction
def _word_at(_: Any, text: Any, place: Any) -> Any:
    """Load eight bytes from anywhere, the first of them lowest."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        address = builder.bitcast(builder.gep(arguments[0], [arguments[1]]), ir.IntType(64).as_pointer())
        return builder.load(address, align=1)

    pointer: Any = types.CPointer
    return types.uint64(pointer(types.uint8), types.uint64), generate


@instruction
def _trailing_zeros(_: Any, word: Any) -> Any:
    """Count the zero bits below the lowest set bit of a word; 64 where none is set."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(types.uint64), generate


@inlined
def _first_of(word: Any, repeated: Any) -> Any:
    """Return a word whose lowest set bit ends the first byte that equals the repeated one; zero where no byte does."""
    unlike = word ^ repeated
    return (unlike - _ONES) & ~unlike & _HIGHS


@inlined
def _not_digits(digits: Any) -> Any:
    """Return a word with a bit for each byte that is not 0 to 9."""
    return ((digits + _BEYOND_NINE) | digits) & _HIGHS


@inlined
def _bytes_before(found: Any) -> Any:
    """Return a word whose bytes before the one that was found are full; all are where none was found."""
    return ((found & (_NONE - found)) >> _SEVEN) - _ONE


@inlined
def _converted(digits: Any) -> Any:
    """Return the number that eight digits make, the first of them in the lowest byte."""
    digits = ((digits & _PAIRS) * _TIMES_10) >> _EIGHT
    digits = ((digits & _FOURS) * _TIMES_100) >> _SHIFT_16
    return ((digits & _EIGHTS) * _TIMES_10000) >> _SHIFT_32


@inlined
def _is_rounded_once(value: float) -> Any:
    """Rounded to float64 and then to float32, only what seems to lie in the middle of two could go the wrong way."""
    off = value - np.float64(np.float32(value))
    mirrored = value + off
    return off == 0.0 or np.float64(np.float32(mirrored)) != mirrored


@inlined
def _put(value: Any, kind: int, row: int, slot: int, attributes: Any, lines: int, values: Any, values_wide: int) -> None:
    """Store an epoch's value point by point, an attribute attribute by attribute."""
    if kind == EPOCH:
        values[row * values_wide + slot] = value
    else:
        attributes[slot * lines + row] = value


@inlined
def _after_word(text: Any, at: Any, words: Any, begin: int, end: int, delimiter: int) -> Any:
    """Return the place after a word where it is the whole cell, else the place where it would begin."""
    place = at
    for number in range(begin, end):
        if text[place] != words[number]:
            return at
        place += _ONE
    return place if text[place] == delimiter or text[place] == _NEWLINE or text[place] == _RETURN else at


@inlined
def _exponent(text: Any, at: Any) -> Any:
    """Return the place after an exponent and its value; a value beyond all powers where there is none."""
    negative = text[at] == _MINUS
    if negative or text[at] == _PLUS:
        at += _ONE
    value: Any = 0
    first = at
    while _ZERO <= text[at] <= _ZERO + 9:
        if value < _TOO_LARGE:
            value = value * 10 + np.int64(text[at]) - _ZERO
        at += _ONE
    if at == first:
        value = _TOO_LARGE
    return at, (-value if negative else value)


def scan_rows(  # noqa: PLR0912, PLR0915 - calls between compiled functions cost as much as the cells themselves
    text: Any, size: Any, purpose: Any, slot: Any, columns: int, delimiter: int, words: Any, ends: Any, word_count: int, firsts: Any,
    tens: Any, single_tens: Any, places: Any, places_wide: int, attributes: Any, lines: int, values: Any, values_wide: int, pids: Any,
    pids_wide: int, pid_starts: Any, pid_lengths: Any, line_of: Any, odd: Any, counts: Any,
) -> None:  # fmt: skip
    """Read whole lines; see `cells.scan` for what the arrays are."""
    # Places are unsigned, because a signed one would be checked for counting from the end.
    at = np.uint64(0)
    row, left, line = 0, 0, 0
    cell_ends = _ONES * np.uint64(delimiter)
    line_ends = _ONES * np.uint64(_NEWLINE)
    while at < size and line < lines:
        begin = at
        plain: Any = True
        for column in range(columns):
            kind = purpose[column]
            last = column == columns - 1
            if kind <= PID:
                start = at
                while text[at] != delimiter and text[at] != _NEWLINE and text[at] != _RETURN:
                    plain &= text[at] != _QUOTE and (kind == SKIP or _SPACE <= text[at] <= _LAST_ASCII)
                    at += _ONE
                if kind == PID:
                    plain &= at == start or (text[start] != _SPACE and text[at - _ONE] != _SPACE)
                    length = np.int64(at - start)
                    pid_starts[row], pid_lengths[row] = np.int64(start), length
                    for number in range(length if length < pids_wide else pids_wide):
                        pids[row * pids_wide + number] = text[start + np.uint64(number)]
            else:
                # A number of at most 15 characters: its digits side by side in two words, converted together, without a branch for any of them.
                if at + _SIXTEEN <= size and firsts[text[at]] == 0:
                    word = _word_at(text, at)
                    end = _first_of(word, line_ends if last else cell_ends)
                    negative = np.uint64((word & _LOW) == np.uint64(_MINUS))
                    if end != 0:
                        word >>= negative * _EIGHT
                        wide = _trailing_zeros(end) >> _BITS_OF_EIGHT
                        count = wide - negative
                        point = _first_of(word, _POINTS)
                        before = _trailing_zeros(point) >> _BITS_OF_EIGHT
                        pointed = np.uint64(before < count)
                        below = _bytes_before(point)
                        count -= pointed
                        decimals = pointed * (count - before)
                        digits = (((word & below) | ((word >> _EIGHT) & ~below)) ^ _ZEROS) << ((_EIGHT - count) * _EIGHT)
                        if count != 0 and _not_digits(digits) == 0:
                            whole_digits = np.int64(_converted(digits))
                            if kind == PLACE:
                                places[row * places_wide + slot[column]] = (
                                    np.float64(whole_digits) / tens[decimals + negative * _TENS]
                                )
                            else:
                                # At most seven digits are exact in float32, and so are their powers of ten: the quotient is rounded once.
                                single = np.float32(whole_digits) / single_tens[decimals + negative * _SINGLE_TENS]
                                _put(single, kind, row, slot[column], attributes, lines, values, values_wide)
                            at += wide + _ONE
                            continue
                    else:
                        word_after = _word_at(text, at + _EIGHT)
                        wide = _EIGHT + (
                            _trailing_zeros(_first_of(word_after, line_ends if last else cell_ends)) >> _BITS_OF_EIGHT
                        )
                        word = (word >> (negative * _EIGHT)) | ((word_after << _ONE) << (_SIXTY_THREE - negative * _EIGHT))
                        point = _first_of(word, _POINTS)
                        before = _trailing_zeros(point) >> _BITS_OF_EIGHT
                        below = _bytes_before(point)
                        count = wide - negative - _ONE
                        first = (
                            (word & below) | (((word >> _EIGHT) | ((word_after >> (negative * _EIGHT)) << _TOP_BYTE)) & ~below)
                        ) ^ _ZEROS
                        second = ((word_after >> (negative * _EIGHT)) >> _EIGHT) ^ _ZEROS
                        shift = ((_SIXTEEN - count) * _EIGHT) & _SIXTY_THREE
                        if count > _EIGHT:
                            second = (second << shift) | (first >> (_SIXTY_FOUR - shift))
                            first <<= shift
                        else:
                            second = first << shift
                            first = _NONE
                        if wide < _SIXTEEN and before < _EIGHT and (_not_digits(first) | _not_digits(second)) == 0:
                            whole_digits = np.int64(_converted(first) * _TEN_TO_EIGHT + _converted(second))
                            double = np.float64(whole_digits) / tens[count - before + negative * _TENS]
                            if kind == PLACE:
                                places[row * places_wide + slot[column]] = double
                                at += wide + _ONE
                                continue
                            if _is_rounded_once(double):
                                _put(np.float32(double), kind, row, slot[column], attributes, lines, values, values_wide)
                                at += wide + _ONE
                                continue
                value = np.nan
                after = at
                if firsts[text[at]] != 0:
                    for number in range(word_count):
                        after = max(after, _after_word(text, at, words, ends[number], ends[number + 1], delimiter))
                start = at = after
                if text[at] == _MINUS:
                    at += _ONE
                whole, digit_count, decimal_count, after_point = np.int64(0), 0, 0, 0
                while True:
                    digit = np.int64(text[at]) - _ZERO
                    if 0 <= digit <= 9:
                        whole = whole * 10 + digit
                        digit_count += 1
                        decimal_count += after_point
                    elif digit == _POINT and after_point == 0:
                        after_point = 1
                    else:
                        break
                    at += _ONE
                if digit_count > 0:
                    if text[at] == _SMALL_E or text[at] == _LARGE_E:
                        at, exponent = _exponent(text, at + _ONE)
                        decimal_count -= exponent
                    plain &= digit_count <= _MOST_DIGITS and whole < _EXACT and -_MOST_TENS <= decimal_count <= _MOST_TENS
                    if not plain:
                        break
                    value = (
                        np.float64(whole) / tens[decimal_count]
                        if decimal_count >= 0
                        else np.float64(whole) * tens[-decimal_count]
                    )
                    if kind != PLACE:
                        plain &= _is_rounded_once(value) and (whole == 0 or _LEAST < value < _MOST)
                    if text[start] == _MINUS:
                        value = -value
                else:
                    plain &= at == start
                if kind == PLACE:
                    places[row * places_wide + slot[column]] = value
                else:
                    _put(np.float32(value), kind, row, slot[column], attributes, lines, values, values_wide)
            if last and text[at] == _RETURN:
                at += _ONE
            plain &= text[at] == (_NEWLINE if last else delimiter)
            if not plain:
                break
            at += _ONE
        if plain:
            line_of[row] = line
            row += 1
        else:
            for number in range(pids_wide):
                pids[row * pids_wide + number] = 0
            while text[at] != _NEWLINE:
                at += _ONE
            odd[3 * left], odd[3 * left + 1], odd[3 * left + 2] = np.int64(begin), np.int64(at), line
            left += 1
            at += _ONE
        line += 1
    counts[0], counts[1], counts[2], counts[3] = row, left, line, np.int64(at)

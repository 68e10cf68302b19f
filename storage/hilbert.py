"""Places on a Hilbert curve: what is near on the curve is near on the ground. This file finishes with `hilbert`."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

BITS = 16
_AT_ONCE = 4
"""Bits of each coordinate that one look into the tables takes."""


def hilbert(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Return the place of each point on a Hilbert curve over their common square.

    Reference: Hilbert 1891, doi:10.1007/BF01199431.
    """
    side = 1 << BITS
    span = max(float(np.ptp(x)), float(np.ptp(y)), 1e-9)
    i = np.minimum(((x - x.min()) / span * side).astype(np.int64), side - 1)
    j = np.minimum(((y - y.min()) / span * side).astype(np.int64), side - 1)
    places, states = _tables()
    place, state = np.zeros(len(x), dtype=np.int64), np.zeros(len(x), dtype=np.int64)
    low = (1 << _AT_ONCE) - 1
    for shift in range(BITS - _AT_ONCE, -1, -_AT_ONCE):
        seen = state << (2 * _AT_ONCE) | (i >> shift & low) << _AT_ONCE | (j >> shift & low)
        place = place << (2 * _AT_ONCE) | places[seen]
        state = states[seen]
    return place


@cache
def _tables() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return what some bits of both coordinates add to the place, and the state after them, for each of the four states before.

    In each quarter the curve is one of four: as it is, with both coordinates mirrored (1), exchanged (2), or both.
    """
    width = 1 << _AT_ONCE
    places, states = (np.zeros(4 * width * width, dtype=np.int64) for _ in range(2))
    for seen in range(len(places)):
        place, state = 0, seen // (width * width)
        for bit in range(_AT_ONCE - 1, -1, -1):
            right, upper = (seen >> _AT_ONCE >> bit) & 1, (seen >> bit) & 1
            if state & 1:
                right, upper = 1 - right, 1 - upper
            if state & 2:
                right, upper = upper, right
            place = place << 2 | ((3 * right) ^ upper)
            if not upper:
                state ^= 2 | right
        places[seen], states[seen] = place, state
    return places, states

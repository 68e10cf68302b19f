"""Columns of native JSON as arrays: what a device buffered comes as hundreds of values, which need no object each.

Only columns of plain numbers at plain times are read this way, and they are read to the same microsecond and the same
bit as element by element. This file finishes with `plain_runs`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from domain.model import CHANNEL_CODE, PROPERTY_CODE
from domain.observation import FloatArray, IntArray

MILLISECONDS_FROM = 1e11
MOST_EPOCH = 1e14
_FEWEST = 4
"""With fewer values an array costs more than it saves."""


@dataclass(frozen=True, slots=True)
class Run:
    """Good values of one key without sigma, extent or reasons: times in microseconds since 1970 UTC, elements from 1."""

    key: str
    time_us: npt.NDArray[np.int64]
    result: FloatArray

    def __len__(self) -> int:
        return len(self.result)

    @property
    def line(self) -> IntArray:
        """Return the number of each element."""
        return np.arange(1, len(self) + 1, dtype=np.int32)


@lru_cache(maxsize=4096)
def is_key(key: str) -> bool:
    """Tell whether a key is `property` or `property:channel`; devices send few keys, each of them again and again."""
    name, _, channel = key.partition(":")
    return bool(PROPERTY_CODE.match(name)) and (not channel or bool(CHANNEL_CODE.match(channel))) and not key.endswith(":")


def plain_runs(content: Mapping[str, Any], keys: Sequence[str], epoch_us: Callable[[object], int | None]) -> list[Run] | None:
    """Return the columns `keys` as runs; None where one of them, or the time, needs to be looked at element by element.

    Parameters
    ----------
    content
        The payload, its columns as long as `t`.
    keys
        Which columns.
    epoch_us
        Reads one time; used for times written as text.
    """
    if len(content["t"]) < _FEWEST:
        return None
    time_us = _times(content["t"], epoch_us)
    if time_us is None:
        return None
    runs: list[Run] = []
    for key in keys:
        if not is_key(key):
            return None
        result = _numbers(content[key])
        if result is None:
            return None
        runs.append(Run(key, time_us, result))
    return runs


def _times(values: Sequence[Any], epoch_us: Callable[[object], int | None]) -> npt.NDArray[np.int64] | None:
    kinds = set(map(type, values))
    if kinds == {str}:
        read = [epoch_us(value) for value in values]
        return None if None in read else np.array(read, dtype=np.int64)
    if kinds not in ({int}, {float}) or not 0 <= min(values) <= max(values) < MOST_EPOCH:  # a NaN is no JSON
        return None
    numbers = np.array(values)
    are_ms = numbers >= MILLISECONDS_FROM
    factor = np.where(are_ms, 1_000, 1_000_000)
    return numbers * factor if kinds == {int} else np.rint(numbers * factor.astype(np.float64)).astype(np.int64)


def _numbers(values: Sequence[Any]) -> FloatArray | None:
    if not set(map(type, values)) <= {int, float}:
        return None
    try:
        numbers = np.array(values, dtype=np.float64)
    except OverflowError:
        return None
    return numbers if np.isfinite(numbers).all() else None

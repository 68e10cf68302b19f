"""A batch brought into the order in which it is merged: sorted by key, one row a key, earlier lines of a key set aside.

Pure arrays, no database. Within one batch the last line of a key wins. This file finishes with `prepare`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from domain.errors import InputError
from domain.observation import Columns

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Prepared:
    """Rows to merge.

    Attributes
    ----------
    rows
        One row a key, in ascending order of (datastream, time).
    superseded
        Lines that a later, unlike line of the same key superseded within the batch, in the order of keys and lines.
    superseded_key
        For each of them the index of its key in `rows`.
    """

    rows: Columns
    superseded: Columns
    superseded_key: npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Spans:
    """For each datastream of sorted rows: its id, and the half-open range of its rows."""

    ids: npt.NDArray[np.int32]
    begin: npt.NDArray[np.intp]
    end: npt.NDArray[np.intp]


def prepare(columns: Columns) -> Prepared:
    """Sort a batch and resolve keys that it holds more than once.

    Raises
    ------
    InputError
        A time is missing or a result or sigma is infinite: what cannot be stored belongs into quarantine.
    """
    _check(columns)
    rows = columns if _is_strictly_sorted(columns) else columns.take(np.lexsort((columns.time, columns.stream)))
    n = len(rows)
    repeats = _same_key(rows)
    if not repeats.any():
        return Prepared(rows, rows.take(np.empty(0, dtype=np.intp)), np.empty(0, dtype=np.intp))
    is_last = np.append(~repeats, True)
    earlier = np.flatnonzero(~is_last)
    unlike = earlier[~equal_rows(rows, earlier, rows, earlier + 1)]
    key_of_row = np.cumsum(np.concatenate(([False], ~repeats)))
    return Prepared(rows.take(np.arange(n)[is_last]), rows.take(unlike), key_of_row[unlike].astype(np.intp))


def _check(columns: Columns) -> None:
    if np.isnat(columns.time).any():
        raise InputError("an observation has no time.", remedy="reject the row before it is committed")
    if np.isinf(columns.result).any() or np.isinf(columns.sigma).any():
        raise InputError("a result or a sigma is infinite.", remedy="reject the row before it is committed")


def _is_strictly_sorted(columns: Columns) -> bool:
    stream, time = columns.stream, columns.time
    return bool(((stream[1:] > stream[:-1]) | ((stream[1:] == stream[:-1]) & (time[1:] > time[:-1]))).all())


def _same_key(rows: Columns) -> BoolArray:
    same: BoolArray = (rows.stream[1:] == rows.stream[:-1]) & (rows.time[1:] == rows.time[:-1])
    return same


def equal_rows(left: Columns, left_rows: npt.NDArray[np.intp], right: Columns, right_rows: npt.NDArray[np.intp]) -> BoolArray:
    """Tell for each pair of rows whether their values are the same: result, sigma, extent, quality and reasons.

    When a result became available is provenance, not value. Missing equals missing.
    """
    same = _same_floats(left.result[left_rows], right.result[right_rows])
    same &= _same_floats(left.sigma[left_rows], right.sigma[right_rows])
    same &= left.quality[left_rows] == right.quality[right_rows]
    same &= left.end[left_rows].astype(np.int64) == right.end[right_rows].astype(np.int64)
    if left.reasons is not None or right.reasons is not None:
        pairs = zip(_reasons(left, left_rows), _reasons(right, right_rows), strict=True)
        same &= np.fromiter((a == b for a, b in pairs), dtype=bool, count=len(same))
    return same


def _same_floats(left: npt.NDArray[np.float64], right: npt.NDArray[np.float64]) -> BoolArray:
    return np.asarray((left == right) | (np.isnan(left) & np.isnan(right)), dtype=bool)


def _reasons(columns: Columns, rows: npt.NDArray[np.intp]) -> list[Sequence[Any] | None]:
    if columns.reasons is None:
        return [None] * len(rows)
    return [tuple(value) if value else None for value in columns.reasons[rows]]


def spans(stream: npt.NDArray[np.int32]) -> Spans:
    """Return where each datastream begins and ends in sorted rows."""
    ids, begin, count = np.unique(stream, return_index=True, return_counts=True)
    return Spans(ids, begin, begin + count)

"""A short look at the newest observations of many datastreams, for whoever can tell from them that their flags stand.

This file finishes with `QualityLooks`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

from domain.observation import FloatArray, TimeArray
from storage.arrays import ids_parameter, times_parameter
from storage.commit import fetch_packed
from storage.copy_format import decode_rows
from storage.database import Database
from storage.queries import load_statements

SQL = load_statements("quality_looks")
_LAYOUT = {"place": "i4", "time": "M8", "received": "M8", "result": "f8", "flagged": "b1"}
From = tuple[int, datetime]
"""Datastream id, and from when on it changed."""


@dataclass(frozen=True, slots=True)
class Newest:
    """Rows of many datastreams, one after the other, each in time order.

    Attributes
    ----------
    place : int (n,)
        Which of the changes that were asked for a row belongs to.
    time, received : datetime64[us] (n,)
    result : float64 (n,)
        NaN = missing.
    flagged : bool (n,)
        True where quality control or a person says otherwise than the source.
    since : datetime64[us] (changes,)
        From when on each changed.
    overridden : bool (changes,)
        True where a person said something of that stretch.
    before, most : int
        At most so many rows before the change, and from it on, are here.
    """

    place: npt.NDArray[np.intp]
    time: TimeArray
    received: TimeArray
    result: FloatArray
    flagged: npt.NDArray[np.bool_]
    since: TimeArray
    overridden: npt.NDArray[np.bool_]
    before: int
    most: int


class QualityLooks:
    """Reads what is newest, without any lock: what is committed meanwhile leaves work of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def newest(self, changes: Sequence[From], before: int, most: int) -> Newest:
        """Return the rows of each change from its time on (at most `most`) with up to `before` rows before it."""
        ids, starts = ids_parameter([identity for identity, _ in changes]), times_parameter([start for _, start in changes])
        with self._database.single() as connection:
            packed = fetch_packed(connection, SQL.pack_newest, {"ids": ids, "starts": starts, "before": before, "most": most})
            said = {identity for (identity,) in connection.execute(SQL.overridden, {"ids": ids, "starts": starts})}
        columns = decode_rows(packed, _LAYOUT)
        return Newest(
            columns["place"].astype(np.intp) - 1,
            columns["time"],
            columns["received"],
            columns["result"],
            columns["flagged"],
            starts.values,
            np.fromiter((identity in said for identity, _ in changes), dtype=np.bool_, count=len(changes)),
            before,
            most,
        )

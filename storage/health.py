"""What the board of instruments asks of the database for many stations at once. This file finishes with `HealthRepository`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np

from domain.observation import FloatArray
from storage.database import Database
from storage.queries import load_statements

SQL = load_statements("health")
RECEIPTS = 200


class HealthRepository:
    """Reads what tells of instruments, not of the ground."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def receipts(self, stations: Sequence[str], start: datetime, now: datetime) -> dict[str, tuple[FloatArray, FloatArray]]:
        """Return device times and times of receipt of each station's newest observations since `start`, in seconds, ascending."""
        parameters = {"stations": list(stations), "start": start, "now": now, "limit": RECEIPTS}
        found: dict[str, list[tuple[float, float]]] = defaultdict(list)
        with self._database.transaction() as connection:
            for station, made, received in connection.execute(SQL.station_receipts, parameters):
                found[station].append((made.timestamp(), received.timestamp()))
        pairs = {station: np.array(rows, dtype=np.float64) for station, rows in found.items()}
        return {station: (rows[:, 0], rows[:, 1]) for station, rows in pairs.items()}

    def waiting(self) -> Mapping[str, int]:
        """Return how much of each station waits in quarantine; keys are casefolded codes."""
        with self._database.transaction() as connection:
            return {str(code): int(count) for code, count in connection.execute(SQL.waiting_by_station)}

    def findings(self, start: datetime) -> Mapping[str, int]:
        """Return how many findings of each station stand that began since `start`."""
        with self._database.transaction() as connection:
            return {str(code): int(count) for code, count in connection.execute(SQL.open_findings_by_station, {"start": start})}

    def daily(self, datastream_ids: Sequence[int], start: datetime, now: datetime) -> tuple[FloatArray, FloatArray]:
        """Return days since 1970, ascending (n,), and the daily means of usable values in the order of the ids (n, k); NaN = none."""
        parameters = {"ids": list(datastream_ids), "start": start, "now": now}
        with self._database.transaction() as connection:
            rows = connection.execute(SQL.daily_means, parameters).fetchall()
        days = np.unique(np.array([row[1] for row in rows], dtype=np.float64))
        place = {identity: column for column, identity in enumerate(datastream_ids)}
        means = np.full((days.size, len(place)), np.nan)
        if rows:
            at = np.searchsorted(days, [row[1] for row in rows])
            means[at, [place[row[0]] for row in rows]] = [row[2] for row in rows]
        return days, means

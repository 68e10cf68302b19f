"""Roll-ups by hour, day and month, kept up to date from the work that commits leave behind.

On the Apache edition the buckets that a batch touched are computed again from the observations and stored; on the Community edition
the same items refresh the continuous aggregates over their span. This file finishes with `RollupRepository`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import psycopg

from domain.errors import UnavailableError
from storage.database import SESSION, Connection, Database
from storage.queries import load_statements
from storage.work import WorkItem, merge_items

SQL = load_statements("rollups")
LOCK_BUCKETS = 1024
_MARGIN = {"1h": timedelta(hours=2), "1d": timedelta(days=3), "1mo": timedelta(days=64)}
"""A refresh covers whole buckets only: the span is widened so that the first and last bucket are inside."""


class RollupRepository:
    """Drains `rollup` work into observation_1h, observation_1d and observation_1mo."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def refresh(self, limit: int = 1000) -> int:
        """Do up to `limit` items of work; return how many datastreams were brought up to date (0 = nothing waited)."""
        with self._database.transaction() as connection:
            setting = connection.execute(SQL.setting).fetchone()
            items = merge_items(connection.execute(SQL.claim, [limit]).fetchall())
            if setting is None or not items:
                return 0
            zone, edition = setting
            if edition == "timescale":
                self._refresh_aggregates(items)
            else:
                _store_buckets(connection, items, zone)
        return len(items)

    def _refresh_aggregates(self, items: Sequence[WorkItem]) -> None:
        """Refresh the continuous aggregates over every span, on a connection outside the transaction that claims the items."""
        try:
            with psycopg.connect(self._database.url, autocommit=True, options=SESSION) as connection:
                for start, end in join_spans([(start, end) for _, start, end in items]):
                    for resolution, margin in _MARGIN.items():
                        connection.execute(getattr(SQL, f"refresh_{resolution}"), {"start": start - margin, "end": end + margin})
        except psycopg.OperationalError as error:
            raise UnavailableError(f"the roll-ups cannot be refreshed: {error}", where="database") from error


def _store_buckets(connection: Connection, items: Sequence[WorkItem], zone: str) -> None:
    keys = sorted({datastream_id % LOCK_BUCKETS for datastream_id, _, _ in items})
    connection.execute(SQL.lock_datastreams, [keys])
    ids, starts, ends = ([item[column] for item in items] for column in range(3))
    parameters = {"ids": ids, "starts": starts, "ends": ends, "least": min(starts), "greatest": max(ends), "zone": zone}
    for statement in (SQL.upsert_1h, SQL.upsert_1d, SQL.upsert_1mo):
        connection.execute(statement, parameters)


def join_spans(
    spans: Sequence[tuple[datetime, datetime]], gap: timedelta = timedelta(days=366)
) -> list[tuple[datetime, datetime]]:
    """Join spans that overlap or lie less than `gap` apart, so that an aggregate is refreshed once for all of them."""
    joined: list[tuple[datetime, datetime]] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1] + gap:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined

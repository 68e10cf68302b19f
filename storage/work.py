"""The queue of work that commits leave behind, in the very transaction of the batch, so that none is ever lost.

A worker claims some items, does them and commits: what it claimed is then gone; if it dies, the items are there again. This file
finishes with `WorkQueue`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from storage.database import Database
from storage.queries import load_statements

SQL = load_statements("work")

WorkItem = tuple[int, datetime, datetime]
"""Datastream id and the span of phenomenon times that changed, both ends included."""


@dataclass(frozen=True, slots=True)
class Pending:
    """How much work waits, and for how long the oldest item has (None = nothing waits)."""

    count: int
    oldest_age_s: float | None


class WorkQueue:
    """Items of kind `quality`, `evaluate` (rules), `rollup` and `analyse`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @contextmanager
    def claim(
        self, kind: str, limit: int = 1000, *, after: str | None = None, patience_s: float = 0.5
    ) -> Iterator[list[WorkItem]]:
        """Lend up to `limit` items, merged to one span a datastream; they are deleted when the block ends without an error.

        What a crash of the server brings back is done again. Several workers never get the same item. An item that arrives meanwhile for the
        same datastream is another item.

        Parameters
        ----------
        after
            Leave datastreams aside of which work of this kind waits or is being done: rules wait for quality control.
        patience_s
            An item older than this waits only for what was left before it.
        """
        parameters = {"kind": kind, "limit": limit, "first": after, "patience_s": patience_s}
        with self._database.transaction(awaits_disk=False) as connection:
            yield merge_items(connection.execute(SQL.claim if after is None else SQL.claim_after, parameters).fetchall())

    @contextmanager
    def claim_datastream(self, kind: str, datastream_id: int) -> Iterator[list[WorkItem]]:
        """Lend the items of one datastream, merged; as `claim`, for work that is better done a datastream at a time."""
        with self._database.transaction() as connection:
            yield merge_items(connection.execute(SQL.claim_datastream, {"kind": kind, "datastream_id": datastream_id}).fetchall())

    def oldest_age_s(self, *kinds: str) -> float | None:
        """Return how long the oldest item of these kinds has waited, in seconds; None where nothing waits."""
        with self._database.single() as connection:
            row = connection.execute(SQL.oldest_age, [list(kinds)]).fetchone()
        return None if row is None else row[0]

    def waiting(self, kind: str, limit: int = 10_000) -> list[int]:
        """Return the datastreams with waiting items of a kind, the one that waits longest first; nothing is claimed."""
        with self._database.transaction() as connection:
            return [row[0] for row in connection.execute(SQL.waiting, {"kind": kind, "limit": limit}).fetchall()]

    def pending(self, kind: str) -> Pending:
        """Return how many items of a kind wait and how old the oldest is, in seconds."""
        with self._database.transaction() as connection:
            row = connection.execute(SQL.pending, [kind]).fetchone()
        return Pending(*row) if row else Pending(0, None)

    def enqueue(self, kind: str, datastream_ids: Sequence[int] | None = None) -> int:
        """Put whole datastreams (None = all that have observations) on the queue again and wake the workers."""
        ids = None if datastream_ids is None else list(datastream_ids)
        with self._database.transaction() as connection:
            added = connection.execute(SQL.enqueue, {"kind": kind, "ids": ids}).rowcount
            connection.execute(SQL.notify)
        return added


def merge_items(items: Iterable[WorkItem]) -> list[WorkItem]:
    """Merge items to one span a datastream, in ascending order of datastreams.

    Examples
    --------
    >>> merge_items([(2, 5, 6), (1, 1, 2), (2, 3, 4)])
    [(1, 1, 2), (2, 3, 6)]
    """
    merged: dict[int, tuple[datetime, datetime]] = {}
    for datastream_id, start, end in items:
        before = merged.get(datastream_id)
        merged[datastream_id] = (start, end) if before is None else (min(start, before[0]), max(end, before[1]))
    return [(datastream_id, *span) for datastream_id, span in sorted(merged.items())]

"""Runs of analytics, their findings and the derived datastreams that they feed.

A run that says what the newest run of its method says already is not stored again, and findings that stand are left alone, so that
analysing twice changes nothing. This file finishes with `AnalysisRepository`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
from psycopg.rows import class_row

from domain.errors import NotFoundError
from domain.finding import Finding, Outcome, Run, Scalar
from domain.model import Datastream
from domain.observation import Batch, Columns, columns
from domain.quality import Quality
from storage.commit import commit_batch
from storage.database import Connection, Database, refusals_are_conflicts
from storage.json_values import jsonb, plain
from storage.queries import load_statements
from storage.registers import RegisterRepository

SQL = load_statements("analyses")


@dataclass(frozen=True, slots=True)
class RunRow:
    """A stored run: enough to do it again and get the same digits."""

    run_id: int
    datastream_id: int
    method: str
    version: str
    parameters: Mapping[str, Any]
    window_start: datetime | None
    window_end: datetime | None
    input_digest: str
    status: str
    result: Mapping[str, Any]
    read_seq: int
    recorded_at: datetime
    ledger_seq: int
    inputs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FindingRow:
    """A stored finding and the run and method that made it."""

    finding_id: int
    run_id: int
    datastream_id: int
    method: str
    kind: str
    start: datetime
    end: datetime | None
    size: float | None
    sigma: float | None
    score: float | None
    unit: str | None
    source: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class AnalysisState:
    """When a datastream was analysed last, and up to which ledger sequence it was read."""

    datastream_id: int
    analysed_at: datetime
    read_seq: int
    input_digest: str


class AnalysisRepository:
    """Stores outcomes of analytics and reads them back."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._registers = RegisterRepository(database)

    def save(self, datastream: Datastream, outcomes: Sequence[Outcome], read_seq: int, *, is_whole: bool = True) -> None:
        """Store what all methods say about a datastream, in one transaction.

        Parameters
        ----------
        datastream
            The source; it must have its database id.
        outcomes
            One a method. Scalars become observations of derived datastreams (created where they are new), findings replace the
            current ones of the same datastream and method unless they are equal.
        read_seq
            The ledger sequence that the observations were read at.
        is_whole
            The outcomes are all that the datastream's own analysis says. What a group of datastreams says of one of its members is not:
            it leaves the state of that analysis alone.

        Raises
        ------
        NotFoundError
            The datastream was never stored.
        """
        source_id = datastream.datastream_id
        if source_id is None:
            raise NotFoundError(f"datastream {datastream.code} was never stored.")
        # Registers are written in transactions of their own, before this one takes any lock that a commit may wait for.
        derived = [
            (scalar, self._derived_id(datastream, scalar, outcome.run), outcome.run)
            for outcome in outcomes
            for scalar in outcome.scalars
        ]
        with self._database.transaction() as connection, refusals_are_conflicts(f"the analysis of {datastream.code}"):
            connection.execute(SQL.lock_datastream, [source_id])
            self._save_scalars(connection, datastream, derived)
            self._save_runs(connection, datastream, source_id, outcomes, read_seq)
            if not is_whole:
                return
            digest = outcomes[0].run.input_digest if outcomes else ""
            connection.execute(SQL.save_state, {"datastream_id": source_id, "read_seq": read_seq, "input_digest": digest})

    def _derived_id(self, source: Datastream, scalar: Scalar, run: Run) -> int:
        found = self._registers.ensure_derived(source, scalar, run).datastream_id
        assert found is not None
        return found

    def _save_scalars(self, connection: Connection, source: Datastream, derived: Sequence[tuple[Scalar, int, Run]]) -> None:
        if not derived:
            return
        methods = {run.method: run.version for _, _, run in derived}
        rows = scalar_columns([(scalar, datastream_id) for scalar, datastream_id, _ in derived])
        batch = Batch("analysis", source.code, rows, actor="analytics", parameters={"methods": methods})
        if commit_batch(connection, batch).ledger_seq is None:
            return
        for datastream_id, run in {datastream_id: run for _, datastream_id, run in derived}.items():
            connection.execute(SQL.refresh_derivation, _run_parameters(run) | {"datastream_id": datastream_id})

    def _save_runs(
        self, connection: Connection, datastream: Datastream, source_id: int, outcomes: Sequence[Outcome], read_seq: int
    ) -> None:
        latest = _latest_runs(connection, source_id)
        seq: int | None = None
        for outcome in outcomes:
            stored = _current_findings(connection, source_id, outcome.run.method)
            new = {_key(finding): finding for finding in outcome.findings}
            gone = [row.finding_id for row in stored if _key(row) not in new]
            fresh = [finding for key, finding in new.items() if key not in {_key(row) for row in stored}]
            if not gone and not fresh and _says_the_same(latest.get(outcome.run.method), outcome.run):
                continue
            if seq is None:
                row = connection.execute(SQL.append_ledger, [f"datastream:{datastream.code}"]).fetchone()
                assert row is not None
                seq = int(row[0])
            run_id = _insert_run(connection, outcome.run, source_id, read_seq, seq)
            if gone:
                connection.execute(SQL.supersede_findings, {"run_id": run_id, "ids": gone})
            for finding in fresh:
                connection.execute(
                    SQL.insert_finding, _finding_parameters(finding) | {"run_id": run_id, "datastream_id": source_id}
                )
        if seq is not None:
            connection.execute(SQL.insert_evaluation, {"datastream_id": source_id})
            connection.execute(SQL.notify)

    def latest_runs(self, datastream_id: int) -> dict[str, RunRow]:
        """Return the newest run of each method on a datastream, by method."""
        with self._database.transaction() as connection:
            return _latest_runs(connection, datastream_id)

    def run(self, run_id: int) -> RunRow | None:
        """Return one run, or None."""
        with self._database.transaction() as connection, connection.cursor(row_factory=class_row(RunRow)) as cursor:
            return cursor.execute(SQL.run, [run_id]).fetchone()

    def findings(
        self,
        datastream_id: int | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        after: int | None = None,
        limit: int = 100,
    ) -> list[FindingRow]:
        """Return current findings that touch [start, end), with an id above `after`, in the order in which they were made."""
        parameters = {
            "datastream_id": datastream_id,
            "start": "-infinity" if start is None else start,
            "end": "infinity" if end is None else end,
            "after": after or 0,
            "limit": limit,
        }
        with self._database.transaction() as connection, connection.cursor(row_factory=class_row(FindingRow)) as cursor:
            return cursor.execute(SQL.findings, parameters).fetchall()

    def runs_as_of(self, datastream_id: int, as_of: int | None) -> list[RunRow]:
        """Return the newest run of each method on a datastream, as known at a ledger sequence (None = now)."""
        parameters = {"datastream_id": datastream_id, "as_of": as_of}
        with self._database.transaction() as connection, connection.cursor(row_factory=class_row(RunRow)) as cursor:
            return cursor.execute(SQL.runs_as_of, parameters).fetchall()

    def findings_as_of(self, datastream_id: int, as_of: int | None) -> list[FindingRow]:
        """Return the findings on a datastream that were current at a ledger sequence (None = now), by their beginning."""
        parameters = {"datastream_id": datastream_id, "as_of": as_of}
        with self._database.transaction() as connection, connection.cursor(row_factory=class_row(FindingRow)) as cursor:
            return cursor.execute(SQL.findings_as_of, parameters).fetchall()

    def state(self, datastream_id: int) -> AnalysisState | None:
        """Return when and up to where a datastream was analysed last, or None."""
        with self._database.transaction() as connection, connection.cursor(row_factory=class_row(AnalysisState)) as cursor:
            return cursor.execute(SQL.state, [datastream_id]).fetchone()

    def current_seq(self) -> int:
        """Return the newest ledger sequence."""
        with self._database.transaction() as connection:
            row = connection.execute(SQL.current_seq).fetchone()
        return int(row[0]) if row else 0


def scalar_columns(scalars: Sequence[tuple[Scalar, int]]) -> Columns:
    """Return scalars and the ids of their datastreams as columns; a value that cannot be told is a missing observation."""
    reasons = np.empty(len(scalars), dtype=object)
    reasons[:] = [scalar.reasons or None for scalar, _ in scalars]
    return columns(
        [datastream_id for _, datastream_id in scalars],
        np.array([scalar.time.astimezone(UTC).replace(tzinfo=None) for scalar, _ in scalars], dtype="datetime64[us]"),
        [np.nan if scalar.value is None else scalar.value for scalar, _ in scalars],
        sigma=[np.nan if scalar.sigma is None else scalar.sigma for scalar, _ in scalars],
        quality=[int(Quality.MISSING if scalar.value is None else scalar.quality) for scalar, _ in scalars],
        reasons=reasons,
    )


def _latest_runs(connection: Connection, datastream_id: int) -> dict[str, RunRow]:
    with connection.cursor(row_factory=class_row(RunRow)) as cursor:
        return {row.method: row for row in cursor.execute(SQL.latest_runs, [datastream_id])}


def _current_findings(connection: Connection, datastream_id: int, method: str) -> list[FindingRow]:
    with connection.cursor(row_factory=class_row(FindingRow)) as cursor:
        return cursor.execute(SQL.current_findings_of_method, {"datastream_id": datastream_id, "method": method}).fetchall()


def _insert_run(connection: Connection, run: Run, datastream_id: int, read_seq: int, ledger_seq: int) -> int:
    parameters = _run_parameters(run) | {"datastream_id": datastream_id, "read_seq": read_seq, "ledger_seq": ledger_seq}
    parameters["inputs"] = jsonb(run.inputs)
    row = connection.execute(SQL.insert_run, parameters).fetchone()
    assert row is not None
    return int(row[0])


def _run_parameters(run: Run) -> dict[str, Any]:
    return {
        "method": run.method,
        "version": run.version,
        "parameters": jsonb(run.parameters),
        "window_start": run.window_start,
        "window_end": run.window_end,
        "input_digest": run.input_digest,
        "status": run.status,
        "result": jsonb(run.result),
    }


def _says_the_same(stored: RunRow | None, run: Run) -> bool:
    if stored is None:
        return False
    told = (stored.version, stored.window_start, stored.window_end, stored.input_digest, stored.status)
    same = told == (run.version, run.window_start, run.window_end, run.input_digest, run.status)
    return same and stored.parameters == plain(run.parameters) and stored.result == plain(run.result)


def _finding_parameters(finding: Finding) -> dict[str, Any]:
    return {
        "kind": str(finding.kind),
        "start": finding.start,
        "end": finding.end,
        "size": plain(finding.size),
        "sigma": plain(finding.sigma),
        "score": plain(finding.score),
        "unit": finding.unit,
        "source": finding.source,
        "parameters": jsonb(finding.parameters),
    }


def _key(finding: Finding | FindingRow) -> tuple[Any, ...]:
    """Return what makes two findings equal."""
    said = (finding.size, finding.sigma, finding.score, finding.unit, finding.source)
    return (str(finding.kind), finding.start, finding.end, *(plain(value) for value in said), repr(plain(finding.parameters)))

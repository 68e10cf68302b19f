"""Runs, findings and derived datastreams."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from domain.finding import Finding, FindingKind, Outcome, Run, Scalar
from domain.model import Datastream
from domain.quality import Quality
from storage.analyses import AnalysisRepository
from storage.database import Database
from storage.observations import ObservationRepository
from storage.registers import RegisterRepository
from storage.work import WorkQueue
from tests.storage.batches import id_of

pytestmark = pytest.mark.stack

T0 = datetime(2025, 1, 1, tzinfo=UTC)
RUN = Run(
    "velocity",
    "1.0",
    {"noise": "pl+wn", "window": (1, 2)},
    T0,
    T0 + timedelta(days=365),
    "d1",
    "ok",
    {"rate": -3.25, "sigma": np.nan},
)
STEP = Finding(FindingKind.STEP, T0 + timedelta(days=9), size=4.5, sigma=0.3, unit="mm")
RATE = Scalar("rate_12mo", "mm/a", T0 + timedelta(days=365), -3.25, 0.4)


@pytest.fixture(scope="module")
def analyses(database: Database) -> AnalysisRepository:
    return AnalysisRepository(database)


def test_an_outcome_becomes_run_finding_and_derived_observation(
    analyses: AnalysisRepository, registers: RegisterRepository, observations: ObservationRepository, datastream: Datastream
) -> None:
    analyses.save(datastream, [Outcome(RUN, (RATE,), (STEP,))], read_seq=5)
    run = analyses.latest_runs(id_of(datastream))["velocity"]
    assert (run.version, run.parameters, run.result, run.read_seq) == (
        "1.0",
        {"noise": "pl+wn", "window": [1, 2]},
        {"rate": -3.25, "sigma": None},
        5,
    )
    found = analyses.findings(id_of(datastream))
    assert [(row.kind, row.start, row.size, row.unit, row.method) for row in found] == [
        ("step", STEP.start, 4.5, "mm", "velocity")
    ]
    derived = registers.datastream(f"{datastream.code}_rate_12mo")
    assert derived is not None
    assert derived.derivation is not None
    assert (derived.unit, derived.derivation.method, derived.derivation.source_datastream_id) == (
        "mm/a",
        "velocity",
        datastream.datastream_id,
    )
    observed = registers.observed_property("displacement_up_rate_12mo")
    assert observed is not None
    assert observed.unit == "mm/a"
    assert [(row.phenomenon_time, row.result, row.sigma) for row in observations.page(id_of(derived), None, None)] == [
        (RATE.time, -3.25, 0.4)
    ]
    state = analyses.state(id_of(datastream))
    assert state is not None
    assert (state.read_seq, state.input_digest) == (5, "d1")


def test_the_same_outcome_again_stores_nothing(analyses: AnalysisRepository, datastream: Datastream) -> None:
    analyses.save(datastream, [Outcome(RUN, (RATE,), (STEP,))], read_seq=5)
    seq, run = analyses.current_seq(), analyses.latest_runs(id_of(datastream))
    analyses.save(datastream, [Outcome(RUN, (RATE,), (STEP,))], read_seq=9)
    assert (analyses.current_seq(), analyses.latest_runs(id_of(datastream))) == (seq, run)


def test_findings_that_stand_are_left_and_others_superseded(analyses: AnalysisRepository, datastream: Datastream) -> None:
    spike = replace(STEP, kind=FindingKind.SPIKE, size=50.0)
    analyses.save(datastream, [Outcome(RUN, (), (STEP, spike)), Outcome(replace(RUN, method="midas"), (), (STEP,))], 1)
    before = {row.finding_id: row for row in analyses.findings(id_of(datastream))}
    moved = replace(spike, size=51.0)
    analyses.save(datastream, [Outcome(replace(RUN, input_digest="d2"), (), (STEP, moved))], 2)
    after = {row.finding_id: row for row in analyses.findings(id_of(datastream))}
    assert len(before) == len(after) == 3
    assert {row.size for key, row in after.items() if key not in before} == {51.0}
    assert {row.size for key, row in before.items() if key not in after} == {50.0}


def test_findings_are_picked_by_time_and_paged(analyses: AnalysisRepository, datastream: Datastream) -> None:
    findings = tuple(replace(STEP, start=T0 + timedelta(days=day)) for day in range(10))
    analyses.save(datastream, [Outcome(RUN, (), findings)], 1)
    within = analyses.findings(id_of(datastream), T0 + timedelta(days=3), T0 + timedelta(days=6))
    assert sorted(row.start.day for row in within) == [4, 5, 6]
    first = analyses.findings(id_of(datastream), limit=4)
    rest = analyses.findings(id_of(datastream), after=first[-1].finding_id)
    assert len({row.finding_id for row in first + rest}) == 10


def test_what_cannot_be_told_is_missing_and_no_work_for_analytics(
    analyses: AnalysisRepository,
    registers: RegisterRepository,
    observations: ObservationRepository,
    database: Database,
    datastream: Datastream,
) -> None:
    queue = WorkQueue(database)
    with queue.claim("analyse", 100_000):
        pass
    analyses.save(datastream, [Outcome(RUN, (replace(RATE, value=None, sigma=None, reasons=("gap",)),), ())], 1)
    derived = registers.datastream(f"{datastream.code}_rate_12mo")
    assert derived is not None
    rows: list[Any] = observations.page(id_of(derived), None, None)
    assert [(row.result, row.quality, row.quality_reasons) for row in rows] == [(None, Quality.MISSING, ["gap"])]
    assert queue.pending("analyse").count == 0

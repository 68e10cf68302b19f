"""What the signs of life mean for readiness and metrics."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from service.api.processes import process_families, trouble_of
from storage.heartbeats import ProcessRow

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def row(process: str = "ingest", *, age_s: float = 1.0, replaced: bool = False, **detail: Any) -> ProcessRow:
    return ProcessRow(process, "host:1", 1, "host", NOW, NOW, detail, age_s, replaced)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], None),
        ([row(connected=True, retrying=False)], None),
        ([row(age_s=29.0, connected=True)], None),
        ([row(age_s=31.0, connected=True)], "silent for 31 s"),
        ([row(age_s=31.0, replaced=True)], None),
        ([row(connected=False)], "not connected"),
        (
            [row(connected=False, connection_fault="the certificate. Remedy: renew it")],
            "to the broker: the certificate. Remedy: renew it",
        ),
        ([row(connected=True, retrying=True)], "cannot commit"),
        ([row("worker", age_s=3000.0)], None),
        ([row(connected=True), row(age_s=40.0)], "silent"),
    ],
)
def test_ingest_is_in_trouble(rows: list[ProcessRow], said: str | None) -> None:
    reason = trouble_of(rows, "ingest")
    assert reason is None if said is None else said in (reason or "")


def test_a_silent_worker_is_missed_and_a_leaderless_one_is_not() -> None:
    assert "silent" in (trouble_of([row("worker", age_s=31.0)], "worker") or "")
    assert trouble_of([row("worker", leading=False, loops=["evaluate"], faults={})], "worker") is None


def test_metrics_tell_counters_state_and_loops() -> None:
    rows = [
        row(connected=True, messages_received=7, messages_quarantined=2, reconnects=1, lag_s=0.25),
        row("worker", age_s=31.0, leading=True, loops=["evaluate", "lead"], faults={"evaluate": "no"}),
        row("worker", age_s=500.0, replaced=True, leading=True, loops=["old"]),
    ]
    samples = {
        (sample.name, sample.labels.get("process") or sample.labels.get("loop")): sample.value
        for family in process_families(rows)
        for sample in family.samples
    }
    assert samples["groundwatch_ingest_messages_received_total", None] == 7
    assert samples["groundwatch_ingest_messages_quarantined_total", None] == 2
    assert samples["groundwatch_ingest_reconnects_total", None] == 1
    assert samples["groundwatch_ingest_connected", None] == 1
    assert samples["groundwatch_ingest_message_lag_seconds", None] == 0.25
    assert samples["groundwatch_process_up", "ingest"] == 1
    assert samples["groundwatch_process_up", "worker"] == 0
    assert samples["groundwatch_worker_loop_up", "evaluate"] == 0
    assert samples["groundwatch_worker_loop_up", "lead"] == 1
    assert ("groundwatch_worker_loop_up", "old") not in samples

"""Rounds of evaluation and of analysis on the real store, while commits fall into the middle of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import psycopg
import pytest

from alerts.rules import parse_rule
from alerts.store import AlertFilter
from domain.model import Datastream, ObservedProperty, Station, StationKind
from domain.observation import Batch, columns
from service.analysing import Analyst
from service.bootstrap import Container
from service.jobs import evaluate_once
from service.settings import Settings
from storage.register_rows import Node
from tests.alerts.fakes import DEPTH, T0

pytestmark = pytest.mark.stack

CODE = "W7:depth_to_water"


@pytest.fixture
def container(own_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    with Container(Settings(home=tmp_path_factory.mktemp("home"), database_url=own_database_url)) as made:
        made.registers.set_node(Node("jiaxing", "嘉兴", "Jiaxing", "330400"))
        made.registers.upsert_property(ObservedProperty("depth_to_water", "水位埋深", "depth to water", "m", "down"))
        made.registers.add_station(Station("W7", StationKind.OBSERVATION_WELL, "七号井", "Well 7"), actor="test")
        made.registers.add_datastream(Datastream("W7", "depth_to_water", "m"), actor="test")
        made.alerts.save_rule(parse_rule(DEPTH), now=T0)
        yield made


def put(container: Container, depths_m: Sequence[float], *times: datetime) -> None:
    stream = container.registers.datastream(CODE)
    assert stream is not None
    time = np.array([at.replace(tzinfo=None) for at in times], dtype="datetime64[us]")
    container.observations.commit(Batch("file", "test", columns(stream.datastream_id or 0, time, depths_m)))


def once_before(thing: Any, name: str, happens: Any, patch: pytest.MonkeyPatch) -> None:
    """Let something happen just before the next call of a method."""
    method = getattr(thing, name)

    def call(*args: Any, **named: Any) -> Any:
        patch.setattr(thing, name, method)
        happens()
        return method(*args, **named)

    patch.setattr(thing, name, call)


def seconds_from_commit(url: str) -> float:
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT extract(epoch FROM a.opened_at - b.committed_at)::float8 FROM alert a"
            " JOIN observation o ON o.datastream_id = a.datastream_id AND o.phenomenon_time = a.onset"
            " JOIN ingest_batch b ON b.id = o.batch_id"
        ).fetchone()
    assert row is not None
    return float(row[0])


@pytest.mark.parametrize("by", ["round", "tick"])
def test_an_alert_on_what_was_committed_while_all_was_read_opens_after_that_commit(
    by: str, container: Container, own_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.now(UTC)
    put(container, [9.0], now - timedelta(minutes=2))
    breach = now - timedelta(minutes=1)
    once_before(container.alerts, "current_seq", lambda: put(container, [13.0], breach), monkeypatch)
    if by == "round":
        assert evaluate_once(container) == 1
    else:
        container.engine.tick(container.clock(), container.clock)
    (alert,) = container.alerts.list_alerts(AlertFilter())[0]
    assert alert.onset == breach
    assert 0.0 <= seconds_from_commit(own_database_url) < 1.0


def test_what_came_after_a_long_run_of_analytics_began_is_looked_at_when_its_turn_comes(container: Container) -> None:
    began = T0 + timedelta(days=400)
    depths = 9.0 + np.random.default_rng(1).normal(0.0, 0.01, 400)
    put(container, depths, *(T0 + timedelta(days=day) for day in range(400)))
    spike = began + timedelta(minutes=1)  # committed after the run began and before its turn
    put(container, [12.0], spike)
    with Analyst(container, in_process=True) as analyst:
        turn = began + timedelta(minutes=2)
        assert analyst.analyse_changed(began, timedelta(days=-36_500), clock=lambda: turn) == 1
    stream = container.registers.datastream(CODE)
    assert stream is not None
    assert container.work.pending("analyse").count == 0  # it is not looked at again
    assert spike in [finding.start for finding in container.analyses.findings(stream.datastream_id or 0, limit=100)]

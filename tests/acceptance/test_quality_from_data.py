"""Figures of quality control that a keeper states with a datastream: flags, roll-ups of every resolution, and a person's last word."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from domain.model import Datastream, Station, StationKind
from domain.observation import Batch, columns
from domain.quality import Quality
from service.bootstrap import Container
from service.configuration.vocabulary import apply_vocabulary
from service.jobs import evaluate_once
from service.quality.overriding import override, withdraw
from service.settings import Settings
from storage.register_rows import Node

pytestmark = pytest.mark.stack
BEGIN = datetime(2026, 6, 30, 16, tzinfo=UTC)  # July begins at Jiaxing


@pytest.fixture(scope="module")
def container(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    with Container(Settings(home=tmp_path_factory.mktemp("home"), database_url=database_url)) as opened:
        apply_vocabulary(opened.registers)
        opened.registers.set_node(Node("jiaxing", "嘉兴", "Jiaxing", "330400", zone="Asia/Shanghai"))
        opened.registers.add_station(Station("W1", StationKind.OBSERVATION_WELL, "一号", "one"), actor="t")
        yield opened


def judged(container: Container) -> None:
    while evaluate_once(container):
        pass
    while container.rollups.refresh(1000):
        pass


def counts(container: Container, key: int) -> dict[str, tuple[int, int, float | None]]:
    """All samples, usable ones and their greatest value by resolution."""
    found = {}
    for resolution in ("1h", "1d", "1mo"):
        rows = container.observations.buckets(key, None, None, resolution)
        largest = max((row.max for row in rows if row.max is not None), default=None)
        found[resolution] = (sum(row.n for row in rows), sum(row.n_good for row in rows), largest)
    return found


def test_climatology_and_gaps_as_stated_are_honoured_by_every_resolution_and_overridden_by_a_person(container: Container) -> None:
    own = {"months": {7: [10.0, 25.0]}, "gap_h": 6}
    stream = container.registers.add_datastream(
        Datastream("W1", "water_temperature", "Cel", interval_s=3600.0, attributes={"quality": own}), actor="t"
    )
    key = stream.datastream_id or 0
    hours = np.concatenate((np.arange(24), np.arange(32, 48)))
    values = 18.0 + 0.01 * hours
    values[10] = 26.5
    values[11] = 9.0
    begin = np.datetime64(BEGIN.replace(tzinfo=None), "us")
    container.observations.commit(Batch("mqtt", "t", columns(key, begin + hours * np.timedelta64(1, "h"), values)))
    judged(container)
    rows = container.observations.page(key, None, None, limit=100)
    told = {
        int(hour): (row.quality, row.quality_reasons)
        for hour, row in zip(hours, rows, strict=True)
        if row.quality != Quality.GOOD
    }
    assert told == {10: (3, ["climatology"]), 11: (3, ["climatology"]), 32: (3, ["gap"])}
    usable = pytest.approx(18.47)
    assert counts(container, key) == dict.fromkeys(("1h", "1d", "1mo"), (40, 37, usable))
    at = BEGIN + timedelta(hours=10)
    applied = override(container, key, at, None, "good", "warm water was let in for a test", "W. Chen")
    judged(container)
    assert counts(container, key) == dict.fromkeys(("1h", "1d", "1mo"), (40, 38, 26.5))
    withdraw(container, applied.override_id, "W. Chen")
    judged(container)
    assert counts(container, key) == dict.fromkeys(("1h", "1d", "1mo"), (40, 37, usable))

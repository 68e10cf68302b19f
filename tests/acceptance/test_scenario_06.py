"""Scenario 6: a datum re-adjustment that lifts or lowers 120 marks at once is one common-mode finding and no 120 alerts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import numpy as np
import pytest

from alerts.defaults import default_rules
from alerts.store import AlertFilter
from domain.alerting import Receiver
from domain.model import StationKind
from service.bootstrap import Container
from service.settings import Settings
from tests.acceptance.group_world import GroupWorld, after, every

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def world(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GroupWorld]:
    with Container(Settings(home=tmp_path_factory.mktemp("home"), database_url=database_url)) as container:
        yield GroupWorld(container).begin()


MARKS = 120
EPOCHS = every(365.25, 6, "2019-05-10")
ANALYSED = [f"BM{number:03d}:height" for number in range(0, 120, 17)]
STEP_AT = 4
"""Index of the first campaign after the re-adjustment."""


def levelled(world: GroupWorld, step_mm: float, rates: np.ndarray, epochs: np.ndarray = EPOCHS) -> None:
    """Store yearly campaigns of 120 marks, each two weeks long, in one file."""
    from domain.observation import Batch, columns

    rng = np.random.default_rng(6)
    ids, times, values = [], [], []
    for number, rate in enumerate(rates):
        code = f"BM{number:03d}"
        world.station(code, StationKind.BENCHMARK, (120.5 + 0.005 * (number % 12), 30.5 + 0.005 * (number // 12)))
        stream = world.stream(code, "height", "m", interval_s=365 * 86400.0, datum_code="CN-H85")
        years = np.arange(epochs.size)
        height = 2.0 + (rate * years + rng.normal(0.0, 0.7, years.size)) / 1000.0
        height[STEP_AT:] += (step_mm + rng.normal(0.0, 1.0)) / 1000.0
        ids += [stream.datastream_id or 0] * epochs.size
        times.append(epochs + np.timedelta64(number % 14, "D"))
        values.append(height)
    moments = np.concatenate(times)
    rows = columns(ids, moments, np.concatenate(values), sigma=np.full(moments.size, 0.0007))
    world.container.observations.commit(Batch("file", "levelling.csv", rows, actor="tester"))


@pytest.fixture(scope="module")
def stepped(world: GroupWorld) -> GroupWorld:
    levelled(world, -7.0, -np.random.default_rng(60).uniform(0.0, 3.0, MARKS))
    world.analyse(after(EPOCHS), only=ANALYSED)
    return world


def test_one_finding_names_all_marks(stepped: GroupWorld) -> None:
    everything = stepped.get("/findings?limit=10000")["items"]
    (finding,) = [item for item in everything if item["kind"] == "common_mode"]
    assert finding["size"] == pytest.approx(-7.0, abs=0.6)
    assert finding["sigma"] < 0.5
    assert finding["unit"] == "mm"
    assert finding["datastream"] == "BM000:height"
    assert len(finding["parameters"]["members"]) == MARKS
    assert finding["start"][:10] == str(EPOCHS[STEP_AT])[:10]


def test_the_marks_own_rates_are_free_of_it_and_say_so(stepped: GroupWorld) -> None:
    """Without the correction every mark would seem to subside by some 7 mm/a more in that year: 120 yellow alerts."""
    rates = np.random.default_rng(60).uniform(0.0, 3.0, MARKS)
    for number in range(0, MARKS, 17):
        shown = stepped.get(f"/datastreams/BM{number:03d}:height/results")["velocity"]
        assert shown["rate"] == pytest.approx(-rates[number], abs=1.0)
        (rate,) = stepped.get(f"/observations?datastream=BM{number:03d}:height_velocity")["items"]
        assert "common_mode" in rate["quality_reasons"]


def test_no_mark_reaches_a_colour(stepped: GroupWorld) -> None:
    rates = [stepped.get(f"/observations?datastream={code}_rate_12mo")["items"][-1]["result"] for code in ANALYSED]
    assert min(rates) > -5.0


def test_the_supervisor_is_told_once_and_not_120_times(own_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """After the campaign of the re-adjustment every shipped rule looks at everything; one message about the datum comes of it."""
    with Container(Settings(home=tmp_path_factory.mktemp("home"), database_url=own_database_url)) as container:
        world = GroupWorld(container).begin()
        now = container.clock()
        last = np.datetime64(now.replace(tzinfo=None) - timedelta(days=20), "us")
        epochs = EPOCHS[: STEP_AT + 1] + (last - EPOCHS[STEP_AT])
        for rule in default_rules():
            container.alerts.save_rule(rule, now=now)
        container.alerts.save_receiver(Receiver("duty", "webhook", {"url": "http://127.0.0.1:9/"}))
        levelled(world, -7.0, -np.random.default_rng(60).uniform(0.0, 3.0, MARKS), epochs)
        world.analyse(now, only=ANALYSED)
        while evaluate(container, now):
            pass
        alerts, _ = container.alerts.list_alerts(AlertFilter(), limit=1000)
        kinds = {alert.rule_code: container.alerts.rule(alert.rule_code).kind for alert in alerts}
        assert [kinds[alert.rule_code] for alert in alerts if not alert.memory.get("history")] == ["common_mode"]
        (message,) = container.alerts.waiting("duty", 1000)
        assert "120" in message.payload["explanation"]["zh"]


def evaluate(container: Container, now: datetime) -> int:
    with container.work.claim("evaluate", 1000) as changes:
        if changes:
            container.engine.evaluate(changes, now)
        return len(changes)


def test_ground_that_subsides_unevenly_is_no_common_mode(own_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    with Container(Settings(home=tmp_path_factory.mktemp("home"), database_url=own_database_url)) as container:
        world = GroupWorld(container).begin()
        levelled(world, 0.0, -np.random.default_rng(61).uniform(0.0, 40.0, MARKS))
        world.analyse(after(EPOCHS), only=())
        assert not [item for item in world.get("/findings?limit=10000")["items"] if item["kind"] == "common_mode"]

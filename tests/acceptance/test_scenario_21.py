"""Scenario 21: transmissivity from the recovery after a shut-in, early data left out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from domain.model import StationKind
from service.bootstrap import Container
from service.settings import Settings
from tests.acceptance.group_world import GroupWorld, after, every

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def world(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GroupWorld]:
    with Container(Settings(home=tmp_path_factory.mktemp("home"), database_url=database_url)) as container:
        yield GroupWorld(container).begin()


def test_a_shut_in_after_1000_m3_a_day_gives_the_transmissivity(world: GroupWorld) -> None:
    """Five metres a log cycle, and a well that fills in the first minutes: 36.6 m2/d."""
    world.station("GT3", StationKind.GEOTHERMAL_WELL)
    minutes = every(10.0 / 1440.0, 6 * 144, "2024-03-01")
    since = (np.arange(minutes.size) - 3 * 144) / 144.0
    pumped = 3.0
    with np.errstate(divide="ignore", invalid="ignore"):
        residual = np.where(since > 0.0, 5.0 * np.log10((pumped + since) / since), 18.0)
        fills = np.where(since > 0.0, 6.0 * np.exp(-since * 144.0 / 3.0), 0.0)
    noise = np.random.default_rng(21).normal(0.0, 0.01, minutes.size)
    world.put(world.stream("GT3", "abstraction_rate", "m3/h"), minutes, np.where(since < 0.0, 1000.0 / 24.0, 0.0))
    depth = world.stream("GT3", "depth_to_water", "m")
    world.put(depth, every(0.25, 4, "2024-02-29"), np.full(4, 30.0))
    world.put(depth, minutes, 30.0 + residual + fills + noise)
    world.analyse(after(minutes))
    (test,) = world.run_of("GT3:depth_to_water", "recovery")["result"]["tests"]
    assert test["flow_m3_d"] == pytest.approx(1000.0)
    assert test["n_left_out"] > 0
    assert test["per_log_cycle_m"] == pytest.approx(5.0, rel=0.02)
    (stored,) = world.get("/observations?datastream=GT3:depth_to_water_transmissivity")["items"]
    assert stored["result"] == pytest.approx(36.6, rel=0.02)

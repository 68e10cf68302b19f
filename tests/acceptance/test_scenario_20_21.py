"""Scenarios 20 and 21: static levels of a hot well, its temperature at equal flow, and transmissivity from a shut-in."""

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


HOURS = every(1.0 / 24.0, 24 * 60, "2024-01-01")


def test_a_column_that_warms_from_50_to_64_degrees_is_no_recovery(world: GroupWorld) -> None:
    world.station("GT1", StationKind.GEOTHERMAL_WELL, None, column_m=1500.0, reference_temperature=50.0)
    flow = world.stream("GT1", "abstraction_rate", "m3/h")
    depth = world.stream("GT1", "depth_to_water", "m")
    warmth = world.stream("GT1", "liquid_surface_temperature", "Cel")
    hour = np.arange(HOURS.size)
    running = (hour % 240) < 144  # ten-day cycles: six days of pumping, four of rest
    temperature = 50.0 + 14.0 * hour / hour[-1]
    density = np.array([988.03, 981.10])
    rise = 1500.0 * (np.interp(temperature, [50.0, 64.0], [1.0, density[0] / density[1]]) - 1.0)
    world.put(flow, HOURS, np.where(running, 60.0, 0.0))
    world.put(depth, HOURS, 40.0 + np.where(running, 25.0, 0.0) - rise)
    world.put(warmth, HOURS, temperature)
    world.analyse(after(HOURS))
    result = world.run_of("GT1:depth_to_water", "static_level")["result"]
    assert result["thermal_rise_m"] == pytest.approx(10.6, abs=0.1)
    assert result["n_shut_in"] == sum((hour % 240) >= 144 + 12 - 1) or result["n_shut_in"] == sum((hour % 240) >= 144 + 11)
    assert result["apparent_change_m"] < -5.0
    static = world.get("/observations?datastream=GT1:depth_to_water_static")["items"]
    assert len(static) == 6 * 4
    assert max(abs(item["result"] - 40.0) for item in static) < 0.3
    assert "density_corrected" in static[-1]["quality_reasons"]


def test_the_wellhead_cools_at_equal_flow_whatever_low_flow_samples_say(world: GroupWorld) -> None:
    world.station("GT2", StationKind.GEOTHERMAL_WELL)
    days = every(0.5, 2 * 731, "2023-01-01")
    years = np.arange(days.size) * 0.5 / 365.25
    rng = np.random.default_rng(20)
    low = rng.random(days.size) < 0.25
    flow = np.where(low, 8.0, 60.0)
    temperature = 64.0 - 0.7 * years + rng.normal(0.0, 0.1, days.size) - np.where(low, 9.0 - 4.0 * years, 0.0)
    world.put(world.stream("GT2", "abstraction_rate", "m3/h"), days, flow)
    world.put(world.stream("GT2", "wellhead_temperature", "Cel"), days, temperature)
    world.analyse(after(days))
    result = world.run_of("GT2:wellhead_temperature", "temperature_trend")["result"]
    assert result["trend"]["rate_per_a"] == pytest.approx(-0.7, abs=0.05)
    assert result["trend"]["p_value"] < 1e-6
    assert result["n_equal_flow"] <= (~low).sum()
    (finding,) = [item for item in world.findings("GT2:wellhead_temperature", "drift") if item["unit"] == "K/a"]
    assert finding["parameters"]["p_value"] < 1e-6
    (stored,) = world.get("/observations?datastream=GT2:wellhead_temperature_trend_equal_flow")["items"]
    assert stored["result"] == pytest.approx(-0.7, abs=0.05)


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
    world.put(world.stream("GT3", "depth_to_water", "m"), minutes, 30.0 + residual + fills + noise)
    world.put(
        world.container.registers.datastream("GT3:depth_to_water") or world.stream("GT3", "x", "m"),
        every(0.25, 4, "2024-02-29"), np.full(4, 30.0),
    )  # fmt: skip
    world.analyse(after(minutes))
    (test,) = world.run_of("GT3:depth_to_water", "recovery")["result"]["tests"]
    assert test["flow_m3_d"] == pytest.approx(1000.0)
    assert test["n_left_out"] > 0
    assert test["per_log_cycle_m"] == pytest.approx(5.0, rel=0.02)
    (stored,) = world.get("/observations?datastream=GT3:depth_to_water_transmissivity")["items"]
    assert stored["result"] == pytest.approx(36.6, rel=0.02)

"""Scenario 20: static levels of a hot well at one temperature, and its temperature at equal flow."""

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
    # Twelve hours after the last flowing sample a level is static: at 155 h of each ten days.
    assert result["n_shut_in"] == int(((hour % 240) >= 143 + 12).sum())
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

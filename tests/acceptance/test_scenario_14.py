"""Scenario 14: layered marks close on the surface mark or say that they do not, and a stick-slip step is no acceleration."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from domain.model import StationKind
from service.bootstrap import Container
from service.settings import Settings
from tests.acceptance.group_world import GroupWorld, after, every

pytestmark = pytest.mark.stack

DEPTHS = ((0.0, 40.0), (40.0, 90.0), (90.0, 160.0), (160.0, 280.0))
MONTHS = every(365.25 / 12.0, 13)


@pytest.fixture(scope="module")
def world(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GroupWorld]:
    with Container(Settings(home=tmp_path_factory.mktemp("home"), database_url=database_url)) as container:
        yield GroupWorld(container).begin()


def group(world: GroupWorld, code: str, layers: tuple[float, ...], surface: float) -> str:
    """Store a year of layered marks whose layers and surface shorten evenly by the given amounts; return the surface mark."""
    world.station(code, StationKind.EXTENSOMETER_GROUP)
    share = np.linspace(0.0, 1.0, MONTHS.size)
    for number, ((top, bottom), amount) in enumerate(zip(DEPTHS, layers, strict=True), start=1):
        stream = world.stream(code, "compaction", "mm", channel=f"F{number}", depth_top_m=top, depth_bottom_m=bottom)
        world.put(stream, MONTHS, amount * share)
    total = world.stream(code, "compaction", "mm", channel="total", depth_top_m=0.0, depth_bottom_m=280.0)
    world.put(total, MONTHS, surface * share)
    return total.code


def test_layers_that_sum_to_the_surface_mark_close(world: GroupWorld) -> None:
    surface = group(world, "EX-A", (3.1, 1.2, 0.4, 0.1), 4.9)
    world.analyse(after(MONTHS))
    result = world.run_of(surface, "layer_closure")["result"]
    assert result["closes"] is True
    assert (round(result["sum_mm"], 6), round(result["surface_mm"], 6)) == (4.8, 4.9)
    assert [round(layer["share"], 3) for layer in result["layers"]] == [0.646, 0.25, 0.083, 0.021]
    assert world.findings(surface, "closure") == []
    stored = world.get("/observations?datastream=EX-A:compaction_closure:total")["items"]
    assert [round(item["result"], 6) for item in stored] == [-0.1]
    share = world.get("/observations?datastream=EX-A:compaction_share_0_40:total")["items"]
    assert round(share[-1]["result"], 1) == 64.6


def test_layers_that_do_not_are_one_closure_finding(world: GroupWorld) -> None:
    surface = group(world, "EX-B", (3.1, 1.2, 3.1, 0.1), 4.8)
    world.analyse(after(MONTHS))
    assert world.run_of(surface, "layer_closure")["result"]["closes"] is False
    (finding,) = world.findings(surface, "closure")
    assert finding["size"] == pytest.approx(2.7)
    assert finding["unit"] == "mm"


def test_a_silent_layer_makes_the_closure_unsayable_and_not_wrong(world: GroupWorld) -> None:
    world.station("EX-C", StationKind.EXTENSOMETER_GROUP)
    upper = world.stream("EX-C", "compaction", "mm", channel="F1", depth_top_m=0.0, depth_bottom_m=40.0)
    world.stream("EX-C", "compaction", "mm", channel="F2", depth_top_m=40.0, depth_bottom_m=100.0)
    surface = world.stream("EX-C", "compaction", "mm", channel="total", depth_top_m=0.0, depth_bottom_m=100.0)
    world.put(upper, MONTHS, np.linspace(0.0, 1.0, 13))
    world.put(surface, MONTHS, np.linspace(0.0, 9.0, 13))
    world.analyse(after(MONTHS))
    assert world.run_of(surface.code, "layer_closure")["status"] == "cannot_tell"
    assert world.findings(surface.code, "closure") == []


def test_stick_slip_steps_are_marked_and_the_rate_is_kept(world: GroupWorld) -> None:
    world.station("EX-D", StationKind.EXTENSOMETER_GROUP)
    stream = world.stream("EX-D", "compaction", "mm", channel="F1", depth_top_m=0.0, depth_bottom_m=40.0)
    days = every(1.0, 4 * 365)
    rng = np.random.default_rng(14)
    ground = 12.0 * np.arange(days.size) / 365.25
    world.put(stream, days, np.floor(ground / 0.8) * 0.8 + rng.normal(0.0, 0.01, days.size))
    world.analyse(after(days))
    slips = [item for item in world.findings(stream.code, "step") if item["parameters"].get("cause") == "stick_slip"]
    assert len(slips) == pytest.approx(ground[-1] / 0.8, abs=3)
    results = world.get(f"/datastreams/{stream.code}/results")
    assert results["velocity"]["rate"] == pytest.approx(12.0, abs=0.3)
    assert results["recent_rate"]["rate"] == pytest.approx(12.0, abs=1.5)
    assert not world.findings(stream.code, "rate_change")
    assert not [item for item in world.findings(stream.code, "step") if item["source"] == "detected"]


def test_a_home_without_stations_has_no_groups(own_database_url: str, tmp_path: Path) -> None:
    with Container(Settings(home=tmp_path, database_url=own_database_url)) as container:
        world = GroupWorld(container).begin()
        assert world.analyse(after(MONTHS)) == {}

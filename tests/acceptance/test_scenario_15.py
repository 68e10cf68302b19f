"""Scenario 15: head against compaction: storage, lag, preconsolidation head, and the warning at a new record low."""

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


LAG_D = 20
DAYS = every(5.0, 5 * 73)
PHASE = 2.0 * np.pi * (np.arange(DAYS.size) * 5.0) / 365.25
LATE = 2.0 * np.pi * (np.arange(DAYS.size) * 5.0 - LAG_D) / 365.25


def column(world: GroupWorld, code: str, head_m: np.ndarray, compaction_mm: np.ndarray) -> str:
    """Store a column of 100 m of clay and sand with the head beside it; return the compaction."""
    world.station(code, StationKind.EXTENSOMETER_GROUP)
    mark = world.stream(code, "compaction", "mm", depth_top_m=50.0, depth_bottom_m=150.0)
    depth = world.stream(code, "depth_to_water", "m")
    world.put(depth, DAYS, 30.0 - head_m)
    world.put(mark, DAYS, compaction_mm)
    return mark.code


def test_swings_of_four_metres_and_six_millimetres_give_the_elastic_storage_and_the_lag(world: GroupWorld) -> None:
    rng = np.random.default_rng(15)
    mark = column(
        world, "EX-E", 2.0 * np.sin(PHASE) + rng.normal(0, 0.01, DAYS.size), -3.0 * np.sin(LATE) + rng.normal(0, 0.05, DAYS.size)
    )
    world.analyse(after(DAYS))
    result = world.run_of(mark, "compaction_head")["result"]
    assert result["storage"]["ske"] == pytest.approx(1.5e-3, rel=0.02)
    assert result["storage"]["sske_per_m"] == pytest.approx(1.5e-5, rel=0.02)
    assert result["lag"]["lag_d"] == pytest.approx(LAG_D, abs=2.0)
    assert result["lag"]["significant"] is True
    assert result["storage"]["preconsolidation_m"] == pytest.approx(-32.0, abs=0.1)
    assert result["inelastic_since"] is None
    assert world.findings(mark, "inelastic") == []
    (stored,) = world.get("/observations?datastream=EX-E:compaction_sske")["items"]
    assert stored["result"] == pytest.approx(1.5e-5, rel=0.02)


def test_a_new_record_low_warns_of_inelastic_compaction_that_is_ten_times_larger(world: GroupWorld) -> None:
    head = 2.0 * np.sin(PHASE)
    falls = np.clip((np.arange(DAYS.size) - 290) / 60.0, 0.0, None) * 6.0
    low = np.minimum.accumulate(head - falls)
    virgin = np.where(np.arange(DAYS.size) > 290, -2.0 - np.minimum(low, -2.0), 0.0)
    elastic = head - falls - low
    mark = column(world, "EX-F", head - falls, -1.5 * elastic + 15.0 * virgin)
    world.analyse(after(DAYS))
    result = world.run_of(mark, "compaction_head")["result"]
    (finding,) = world.findings(mark, "inelastic")
    assert finding["unit"] == "m"
    assert finding["parameters"]["previous_low_m"] == pytest.approx(-32.0, abs=0.1)
    assert finding["size"] > 2.0
    assert result["inelastic_since"] is not None
    assert result["storage"]["skv"] > 5.0 * result["storage"]["ske"] > 0.0


def test_without_a_head_nothing_is_said_of_storage(world: GroupWorld) -> None:
    world.station("EX-G", StationKind.EXTENSOMETER_GROUP)
    mark = world.stream("EX-G", "compaction", "mm", depth_top_m=0.0, depth_bottom_m=100.0)
    world.put(mark, DAYS, -3.0 * np.sin(LATE))
    world.analyse(after(DAYS))
    methods = {run["method"] for run in world.get(f"/datastreams/{mark.code}/results")["runs"]}
    assert "compaction_head" not in methods
    assert "velocity" in methods

"""Scenario 22: differential settlement along a railway, and pumping wells near it."""

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


LATITUDE = 30.70
METRE_E = 1.0 / 95_860.0
"""Degrees of longitude of a metre at that latitude."""
METRE_N = 1.0 / 110_857.0
LINE = {
    "line": [[120.70, LATITUDE], [120.80, LATITUDE]],
    "limits": [
        {"code": "simple span", "largest": 1 / 1000, "source": "TB 10621"},
        {"code": "continuous span", "largest": 1 / 1500, "source": "the test"},
    ],
    "protected_m": 200,
    "protected_source": "铁路安全管理条例",
}
EPOCHS = every(182.625, 6, "2022-01-10")


def pillar(world: GroupWorld, code: str, chainage_m: float, settled_mm: float) -> str:
    """A mark on the line that settles evenly by an amount over the record."""
    world.station(code, StationKind.BENCHMARK, (120.70 + chainage_m * METRE_E, LATITUDE))
    stream = world.stream(code, "displacement_up", "mm", interval_s=182 * 86400.0, frame=code)
    world.put(stream, EPOCHS, -settled_mm * np.linspace(0.0, 1.0, EPOCHS.size), sigma=0.3)
    return stream.code


def well(world: GroupWorld, code: str, east_m: float, north_m: float, flow: float = 40.0) -> None:
    world.station(code, StationKind.OBSERVATION_WELL, (120.70 + east_m * METRE_E, LATITUDE + north_m * METRE_N))
    world.put(world.stream(code, "abstraction_rate", "m3/h"), every(1.0, 30, "2024-06-20"), np.full(30, flow))


@pytest.fixture(scope="module")
def railway(world: GroupWorld) -> GroupWorld:
    world.station("HSR", StationKind.OTHER, None, **LINE)
    pillar(world, "P1", 100.0, 0.0)
    pillar(world, "P2", 120.0, 22.0)
    pillar(world, "P3", 1000.0, 0.0)
    pillar(world, "P4", 1032.0, 23.0)
    pillar(world, "P5", 6000.0, 2.0)
    pillar(world, "P6", 6040.0, 2.5)
    # Ground around the far wells: even at one place, subsiding by 24 mm/a at the other.
    for east, total in ((2600.0, 60.0), (3000.0, 60.0), (3400.0, 60.0), (5600.0, 2.0), (6400.0, 2.0)):
        for north in (-300.0, 300.0, 600.0):
            code = f"G{east:.0f}.{north:.0f}"
            world.station(code, StationKind.BENCHMARK, (120.70 + east * METRE_E, LATITUDE + north * METRE_N))
            stream = world.stream(code, "displacement_up", "mm", interval_s=182 * 86400.0, frame=code)
            world.put(stream, EPOCHS, -total * np.linspace(0.0, 1.0, EPOCHS.size), sigma=0.3)
    well(world, "W150", 500.0, 150.0)
    well(world, "W250-EVEN", 6000.0, 250.0)
    well(world, "W250-SUBSIDING", 3000.0, 250.0)
    well(world, "W100-IDLE", 4000.0, 100.0, flow=0.0)
    well(world, "W900", 500.0, 900.0)
    world.analyse(after(EPOCHS))
    return world


HOME = "HSR:differential_settlement"


def spans(world: GroupWorld) -> dict[str, dict[str, object]]:
    return {span["from"]: span for span in world.run_of(HOME, "line")["result"]["spans"]}


def test_22_mm_over_20_m_is_more_than_one_per_mille(railway: GroupWorld) -> None:
    span = spans(railway)["P1:displacement_up"]
    assert span["distortion_mm_per_m"] == pytest.approx(1.1, abs=0.01)
    found = {item["parameters"]["from"]: item for item in railway.findings(HOME, "distortion")}
    finding = found["P1:displacement_up"]
    assert (finding["unit"], round(finding["size"], 2)) == ("mm/m", 1.1)
    assert [limit["limit"] for limit in finding["parameters"]["exceeded"]] == ["simple span", "continuous span"]
    assert finding["parameters"]["exceeded"][0]["source"] == "TB 10621"


def test_23_mm_over_32_m_passes_the_simple_span_and_fails_the_continuous_one(railway: GroupWorld) -> None:
    limits = spans(railway)["P3:displacement_up"]["limits"]
    assert isinstance(limits, list)
    assert [(limit["limit"], limit["exceeded"]) for limit in limits] == [("simple span", False), ("continuous span", True)]
    assert [round(limit["allowed_mm"], 1) for limit in limits] == [32.0, 21.3]


def test_even_ground_is_not_flagged_and_marks_far_apart_are_no_span(railway: GroupWorld) -> None:
    assert {item["parameters"]["from"] for item in railway.findings(HOME, "distortion")} == {
        "P1:displacement_up",
        "P3:displacement_up",
    }
    assert set(spans(railway)) == {"P1:displacement_up", "P3:displacement_up", "P5:displacement_up"}


def test_wells_are_judged_by_distance_and_subsidence(railway: GroupWorld) -> None:
    wells = {item["station"]: item for item in railway.run_of(HOME, "line")["result"]["wells"]}
    assert {code: item["verdict"] for code, item in wells.items()} == {
        "W150": "breach",
        "W250-EVEN": "ok",
        "W250-SUBSIDING": "breach",
    }
    assert wells["W150"]["distance_m"] == pytest.approx(150.0, abs=1.0)
    flagged = {item["parameters"]["station"]: item for item in railway.findings(HOME, "proximity")}
    assert set(flagged) == {"W150", "W250-SUBSIDING"}
    assert flagged["W150"]["parameters"]["source"] == "铁路安全管理条例"


def test_the_surface_of_the_network_tells_areas_and_the_steepest_gradient(railway: GroupWorld) -> None:
    surface = railway.run_of("testcity-network:subsidence_rate", "funnel")["result"]
    areas = [entry["area_km2"] for entry in surface["classes"]]
    assert areas == sorted(areas, reverse=True)
    assert 0.0 < areas[1] < surface["area_km2"]
    assert all(entry["low_km2"] <= entry["area_km2"] + 1e-9 for entry in surface["classes"])
    stored = railway.get("/observations?datastream=testcity-network:subsidence_rate_area_beyond_10")
    assert stored["unit"] == "km2"
    assert stored["items"][-1]["result"] == pytest.approx(areas[1])
    assert railway.run_of(HOME, "line")["result"]["gradient"]["steepest_mm_per_a_per_km"] != 0.0

"""Groups in the worker: analysed when a member changed, once, before single datastreams where those need them; and bit for bit again."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from datetime import datetime, timedelta

import numpy as np
import pytest

from analytics.groups import GROUP_METHODS
from analytics.method import plain
from domain.errors import ConfigurationError
from domain.model import Station, StationKind
from service.analysing import Analyst
from service.bootstrap import Container
from service.groups import duties_of, groups_of, line_parameters, read_registry
from service.network_analysing import compute_group
from service.settings import Settings
from tests.acceptance.group_world import GroupWorld, after, every

pytestmark = pytest.mark.stack

EPOCHS = every(365.25, 5, "2020-05-10")
NEXT = every(365.25, 1, "2025-05-10")
NO_PATIENCE = -timedelta(days=36_500)
"""Less than no debounce: the data of these tests are older than the clock that stamps an analysis."""


@pytest.fixture
def world(own_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GroupWorld]:
    with Container(Settings(home=tmp_path_factory.mktemp("home"), database_url=own_database_url)) as container:
        yield GroupWorld(container).begin()


def marks(world: GroupWorld, count: int) -> None:
    rng = np.random.default_rng(1)
    for number in range(count):
        world.station(f"B{number:02d}", StationKind.BENCHMARK, (120.7 + number / 100, 30.7))
        stream = world.stream(f"B{number:02d}", "height", "m", interval_s=365 * 86400.0, datum_code="CN-H85")
        world.put(stream, EPOCHS, 3.0 + rng.normal(0.0, 0.0005, EPOCHS.size), sigma=0.0005)


def survey(world: GroupWorld, code: str, height_m: float) -> None:
    stream = world.container.registers.datastream(code)
    assert stream is not None
    world.put(stream, NEXT, [height_m], sigma=0.0005)


def common_modes(world: GroupWorld) -> int:
    return sum(item["kind"] == "common_mode" for item in world.get("/findings?limit=10000")["items"])


def work_off(world: GroupWorld, analyst: Analyst, now: datetime) -> int:
    return analyst.analyse_changed(now, NO_PATIENCE)


def test_a_step_of_the_datum_is_known_before_any_mark_is_judged_by_it(world: GroupWorld) -> None:
    marks(world, 10)
    with Analyst(world.container, in_process=True) as analyst:
        assert work_off(world, analyst, after(EPOCHS)) == 10
        assert common_modes(world) == 0
        for number in range(10):
            survey(world, f"B{number:02d}:height", 2.993)
        late = after(NEXT)
        work_off(world, analyst, late)
        assert common_modes(world) == 1
        for code in ("B00", "B09"):
            rates = world.get(f"/observations?datastream={code}:height_velocity")["items"]
            assert abs(rates[-1]["result"]) < 0.5
            assert "common_mode" in rates[-1]["quality_reasons"]
        runs = len(world.get("/findings?limit=10000")["items"])
        work_off(world, analyst, late)
        assert len(world.get("/findings?limit=10000")["items"]) == runs


def test_marks_that_came_first_are_judged_again_once_the_others_tell_the_step(world: GroupWorld) -> None:
    marks(world, 10)
    with Analyst(world.container, in_process=True) as analyst:
        work_off(world, analyst, after(EPOCHS))
        survey(world, "B00:height", 2.993)
        late = after(NEXT)
        work_off(world, analyst, late)
        alone = world.get("/observations?datastream=B00:height_rate_12mo")["items"][-1]
        assert alone["result"] < -5.0
        for number in range(1, 10):
            survey(world, f"B{number:02d}:height", 2.993)
        work_off(world, analyst, late)
        assert common_modes(world) == 1
        work_off(world, analyst, late)
        told = world.get("/observations?datastream=B00:height_rate_12mo")["items"][-1]
        assert abs(told["result"]) < 2.0


def test_a_person_who_logs_the_re_adjustment_ends_the_finding(world: GroupWorld) -> None:
    from domain.model import EventEffect, EventKind, StationEvent

    marks(world, 10)
    for number in range(10):
        survey(world, f"B{number:02d}:height", 2.993)
    now = after(NEXT)
    world.analyse(now, only=())
    assert common_modes(world) == 1
    for number in range(10):
        event = StationEvent(
            f"B{number:02d}", EventKind.DATUM_CHANGE, now - timedelta(days=30), effect=EventEffect.OFFSET, size=-0.007
        )
        world.container.registers.add_event(event, "tester")
    world.analyse(now, only=("B00:height",))
    assert common_modes(world) == 0
    rate = world.get("/observations?datastream=B00:height_velocity")["items"][-1]
    assert abs(rate["result"]) < 0.5
    assert "common_mode" not in rate["quality_reasons"]


def test_a_stored_result_of_a_group_comes_out_again_bit_for_bit(world: GroupWorld) -> None:
    marks(world, 10)
    now = after(EPOCHS)
    world.analyse(now, only=())
    stored = world.container.registers.datastream("B00:height")
    assert stored is not None
    run = world.container.analyses.latest_runs(stored.datastream_id or 0)["common_mode"]
    survey(world, "B03:height", 9.0)  # what came later plays no part
    registry = read_registry(world.container)
    (group,) = [group for group in groups_of(registry) if "common_mode" in group.methods]
    with Analyst(world.container, in_process=True) as analyst:
        task = analyst.networks.task(group, registry, now, run.read_seq)
    again = dict(compute_group(pickle.loads(pickle.dumps(task))))["B00:height"].run  # as the computing process gets it
    assert again.input_digest == run.input_digest
    assert plain(again.result) == run.result


def test_a_surface_waits_for_rates_and_follows_them(world: GroupWorld) -> None:
    marks(world, 8)
    with Analyst(world.container, in_process=True) as analyst:
        work_off(world, analyst, after(EPOCHS))
        work_off(world, analyst, after(EPOCHS))
        run = world.run_of("testcity-network:subsidence_rate", "funnel")
        assert run["result"]["points"] == 8
    station = world.container.registers.station("testcity-network")
    assert station is not None
    assert station.longitude_deg is None


def test_groups_have_only_methods_that_are_registered(world: GroupWorld) -> None:
    marks(world, 3)
    for group in groups_of(read_registry(world.container)):
        assert set(group.methods) <= set(GROUP_METHODS)


def test_configuration_that_cannot_be_read_names_its_place() -> None:
    with pytest.raises(ConfigurationError, match="owner of a cause"):
        duties_of({"rows": [{"cause": "pumping", "owner": "x"}]})
    line = Station("HSR", StationKind.OTHER, "线", "line", attributes={"line": [[120.7]]})
    with pytest.raises(ConfigurationError, match="HSR"):
        line_parameters(line)

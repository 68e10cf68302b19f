"""Scenario 7: a benchmark destroyed and re-set 40 m away under the same name is tied, and its cumulative is carried across the tie."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import pytest

from domain.model import EventEffect, EventKind, StationEvent, StationKind
from service.bootstrap import Container
from service.settings import Settings
from tests.acceptance.group_world import GroupWorld, after, every

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def world(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GroupWorld]:
    with Container(Settings(home=tmp_path_factory.mktemp("home"), database_url=database_url)) as container:
        yield GroupWorld(container).begin()


EPOCHS = every(182.625, 11, "2019-05-10")
YEARS = np.arange(EPOCHS.size) / 2.0
RESET = datetime(2021, 8, 1, tzinfo=UTC)
RATE = -8.0
NEW_HEIGHT_MM = 412.0
"""What the new mark stands higher than the old one."""


def mark(world: GroupWorld, code: str, place: tuple[float, float], jump_mm: float, seed: int) -> str:
    world.station(code, StationKind.BENCHMARK, place)
    stream = world.stream(code, "height", "m", interval_s=182 * 86400.0, datum_code="CN-H85")
    height = 3000.0 + RATE * YEARS + np.random.default_rng(seed).normal(0.0, 0.4, YEARS.size)
    reset = np.datetime64(RESET.replace(tzinfo=None), "us")
    world.put(stream, EPOCHS, (height + np.where(reset <= EPOCHS, jump_mm, 0.0)) / 1000.0, sigma=0.0005)
    return stream.code


def logged(world: GroupWorld, station: str, size_m: float | None, effect: EventEffect) -> None:
    event = StationEvent(station, EventKind.RESET, RESET, effect=effect, size=size_m, note="destroyed; re-set 40 m to the east")
    world.container.registers.add_event(event, "tester")


@pytest.fixture(scope="module")
def network(world: GroupWorld) -> GroupWorld:
    for number in range(6):
        mark(world, f"N{number}", (120.70 + 0.01 * number, 30.80), 0.0, 70 + number)
    mark(world, "LOST", (120.725, 30.81), NEW_HEIGHT_MM, 77)
    logged(world, "LOST", None, EventEffect.BREAK)
    mark(world, "SURVEYED", (120.745, 30.81), NEW_HEIGHT_MM, 78)
    logged(world, "SURVEYED", NEW_HEIGHT_MM / 1000.0, EventEffect.OFFSET)
    mark(world, "ALONE", (121.9, 29.9), NEW_HEIGHT_MM, 79)
    logged(world, "ALONE", None, EventEffect.BREAK)
    world.analyse(after(EPOCHS))
    return world


def test_a_mark_without_overlap_is_tied_by_its_neighbours_with_a_sigma(network: GroupWorld) -> None:
    (tie,) = [item for item in network.findings("LOST:height", "step") if item["source"] == "tie"]
    assert tie["size"] == pytest.approx(NEW_HEIGHT_MM, abs=3.0 * tie["sigma"])
    assert 0.3 < tie["sigma"] < 3.0
    assert tie["parameters"]["method"] == "neighbours"
    assert tie["parameters"]["n"] == 6
    assert "40 m" in tie["parameters"]["note"]


def test_the_cumulative_goes_on_across_the_tie_and_its_sigma_knows_of_it(network: GroupWorld) -> None:
    items = network.get("/observations?datastream=LOST:height_cumulative_tied")["items"]
    assert len(items) == EPOCHS.size
    assert items[-1]["result"] == pytest.approx(RATE * YEARS[-1], abs=3.5)
    before, behind = items[3]["sigma"], items[-1]["sigma"]
    assert behind > 1.2 * before


def test_the_marks_velocity_is_that_of_the_whole_record(network: GroupWorld) -> None:
    shown = network.get("/datastreams/LOST:height/results")["velocity"]
    assert shown["rate"] == pytest.approx(RATE, abs=1.0)
    assert shown["span_a"] == pytest.approx(5.0, abs=0.01)
    assert [step["source"] for step in shown["steps"]] == ["stated"]


def test_a_tie_surveyed_at_the_re_set_is_taken_as_it_is(network: GroupWorld) -> None:
    (tie,) = [item for item in network.findings("SURVEYED:height", "step") if item["source"] == "tie"]
    assert tie["size"] == pytest.approx(NEW_HEIGHT_MM)
    assert tie["parameters"]["method"] == "overlap"
    shown = network.get("/datastreams/SURVEYED:height/results")["velocity"]
    assert shown["rate"] == pytest.approx(RATE, abs=0.5)


def test_a_mark_that_nothing_ties_starts_anew(network: GroupWorld) -> None:
    assert network.run_of("ALONE:height", "tie")["status"] == "cannot_tell"
    shown = network.get("/datastreams/ALONE:height/results")["velocity"]
    assert shown["span_a"] == pytest.approx(3.0, abs=0.51)

"""What a group of datastreams was said to do comes out again to the digit, whatever was observed, corrected or moved afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from analytics.groups import GROUP_METHODS
from domain.errors import RequestError
from domain.model import EventEffect, EventKind, StationEvent, StationKind
from service import cli
from service.bootstrap import Container
from service.explaining import explain_finding_by_id, explain_run, recompute
from service.settings import Settings
from storage.analyses import RunRow
from tests.acceptance.group_world import GroupWorld, after, every

pytestmark = pytest.mark.stack

EPOCHS = every(182.625, 11, "2019-05-10")
DAYS = every(5.0, 5 * 73, "2019-05-10")
HOURS = every(1.0 / 24.0, 24 * 40, "2024-03-01")
RESET = datetime(2021, 8, 1, tzinfo=UTC)


def marks(world: GroupWorld) -> None:
    """Nine marks of a datum that all step in one campaign; one of them was destroyed and re-set."""
    for number in range(9):
        code = f"M{number}"
        world.station(code, StationKind.BENCHMARK, (120.70 + 0.012 * (number % 3), 30.80 + 0.010 * (number // 3)))
        stream = world.stream(code, "height", "m", interval_s=182 * 86400.0, datum_code="CN-H85")
        height = 3000.0 - (4.0 + 2.0 * number) * np.arange(EPOCHS.size) / 2.0
        height += np.random.default_rng(number).normal(0.0, 0.4, EPOCHS.size) + np.where(np.arange(EPOCHS.size) >= 7, 9.0, 0.0)
        if number == 4:
            height += np.where(np.datetime64(RESET.replace(tzinfo=None), "us") <= EPOCHS, 300.0, 0.0)
            event = StationEvent(code, EventKind.RESET, RESET, effect=EventEffect.BREAK, note="destroyed")
            world.container.registers.add_event(event, "tester")
        world.put(stream, EPOCHS, height / 1000.0, sigma=0.0005)
    world.station("WALL", StationKind.OTHER, None, line=[[120.69, 30.80], [120.73, 30.80]], longest_span_m=2000.0)


def column(world: GroupWorld) -> None:
    """Two layers and the whole beside a head that swings; the lower layer sticks once."""
    world.station("EX", StationKind.EXTENSOMETER_GROUP, (120.75, 30.82))
    phase = 2.0 * np.pi * np.arange(DAYS.size) * 5.0 / 365.25
    rng = np.random.default_rng(15)
    upper, lower = -1.0 * np.sin(phase - 0.3), -2.0 * np.sin(phase - 0.3) + 0.02 * np.arange(DAYS.size)
    for channel, top, bottom, value in (
        ("F1", 0.0, 60.0, upper),
        ("F2", 60.0, 150.0, lower),
        ("total", 0.0, 150.0, upper + lower),
    ):
        stream = world.stream("EX", "compaction", "mm", channel=channel, depth_top_m=top, depth_bottom_m=bottom)
        world.put(stream, DAYS, value + rng.normal(0.0, 0.05, DAYS.size))
    world.put(world.stream("EX", "depth_to_water", "m"), DAYS, 30.0 - 2.0 * np.sin(phase) + rng.normal(0.0, 0.01, DAYS.size))


def well(world: GroupWorld) -> None:
    """A geothermal well: ten days of steady flow, ten days of rest, twice."""
    world.station("GEO", StationKind.GEOTHERMAL_WELL, (120.76, 30.83), column_m=800.0)
    hours = np.arange(HOURS.size)
    running = (hours // 240) % 2 == 0
    since = hours % 240 + 1.0
    drawdown = np.where(running, 6.0 + 1.2 * np.log(since), 1.2 * np.log((240.0 + since) / since))
    rng = np.random.default_rng(8)
    world.put(world.stream("GEO", "abstraction_rate", "m3/h"), HOURS, np.where(running, 80.0, 0.0))
    world.put(world.stream("GEO", "depth_to_water", "m"), HOURS, 40.0 + drawdown + rng.normal(0.0, 0.005, hours.size))
    world.put(world.stream("GEO", "wellhead_temperature", "Cel"), HOURS, 55.0 + rng.normal(0.0, 0.1, hours.size))


def change_everything(world: GroupWorld) -> None:
    """Correct observations, log an event and move a station, so that what is known now is not what was known."""
    registers = world.container.registers
    for code, times in (("M2:height", EPOCHS[3:5]), ("EX:compaction:F1", DAYS[40:60]), ("GEO:depth_to_water", HOURS[500:520])):
        stream = registers.datastream(code)
        assert stream is not None
        world.put(stream, times, np.linspace(2.0, 9.0, len(times)))
    for code in ("M3", "EX", "GEO"):
        registers.add_event(StationEvent(code, EventKind.OTHER, RESET, effect=EventEffect.EXCLUDE, note="found later"), "tester")


@pytest.fixture(scope="module")
def world(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GroupWorld]:
    with Container(Settings(home=tmp_path_factory.mktemp("home"), database_url=database_url)) as container:
        made = GroupWorld(container).begin()
        marks(made)
        column(made)
        well(made)
        made.analyse(after(HOURS))
        change_everything(made)
        yield made


def group_runs(world: GroupWorld, method: str) -> list[RunRow]:
    """Every newest run of a group method, on whatever datastream it hangs."""
    found = []
    for item in world.container.registers.list_datastreams(limit=10_000):
        run = world.container.analyses.latest_runs(item.datastream_id or 0).get(method)
        found += [run] if run is not None else []
    return found


@pytest.mark.parametrize("method", GROUP_METHODS)
def test_every_group_method_is_recomputed_to_the_digit(method: str, world: GroupWorld) -> None:
    runs = group_runs(world, method)
    assert runs
    for run in runs:
        answer = explain_run(world.container, run)
        assert answer["differences"] == {}
        assert answer["ok"]
        assert answer["same"]


def test_every_finding_of_a_group_comes_out_again(world: GroupWorld) -> None:
    found = [row for row in world.container.analyses.findings(limit=1000) if row.method in GROUP_METHODS]
    assert {row.method for row in found} >= {"common_mode", "tie"}
    for row in found:
        assert explain_finding_by_id(world.container, row.finding_id)["same"], row


def test_the_command_explains_a_group_run_by_its_method(
    world: GroupWorld,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("GROUNDWATCH_DATABASE_URL", database_url)
    home = ["--home", str(tmp_path)]
    assert cli.main(["explain", "testcity-network:subsidence_rate", "funnel", "--json", *home]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["ok"], answer["differences"]) == (True, {})
    (run,) = group_runs(world, "line")
    assert cli.main(["explain", f"run:{run.run_id}", *home]) == 0
    assert "comes out the same" in capsys.readouterr().out


def test_a_tampered_result_is_told_and_a_run_without_members_is_refused(world: GroupWorld) -> None:
    (run,) = group_runs(world, "funnel")
    kept = {name: getattr(run, name) for name in run.__dataclass_fields__}
    tampered = RunRow(**kept | {"result": {**run.result, "points": 3}})
    assert set(explain_run(world.container, tampered)["differences"]) == {"result"}
    with pytest.raises(RequestError, match="before inputs were recorded"):
        recompute(world.container, RunRow(**kept | {"inputs": {}}))

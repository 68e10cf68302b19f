"""A stored result comes out again to the digit, whatever was corrected or logged after it was computed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from analytics import METHODS
from domain.errors import NotFoundError
from domain.licence import Limit
from domain.model import Datastream, EventEffect, EventKind, ObservedProperty, Station, StationEvent, StationKind
from domain.observation import Batch, columns
from service import cli
from service.analysing import Analyst
from service.bootstrap import Container
from service.explaining import explain_finding_by_id, explain_run, find_run
from service.settings import Settings
from storage.register_rows import Node
from tests.analytics.simulation import gnss_like

pytestmark = pytest.mark.stack
CODE = "MARK:displacement_up"


@pytest.fixture(scope="module")
def container(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    with Container(Settings(home=tmp_path_factory.mktemp("home"), database_url=database_url)) as opened:
        _analysed_and_then_changed(opened)
        yield opened


def _analysed_and_then_changed(container: Container) -> None:
    """Five years of a mark with a spike, an unlogged and a logged step, analysed; then a correction and a new event."""
    registers = container.registers
    registers.set_node(Node("jiaxing", "嘉兴", "Jiaxing", "330400"))
    registers.upsert_property(ObservedProperty("displacement_up", "垂直位移", "vertical displacement", "mm", "up"))
    registers.upsert_limit(Limit("red", "displacement_up", "mm", -200.0, "min", source="test"))
    registers.add_station(Station("MARK", StationKind.GNSS_MARK, "点", "mark"), actor="test")
    stream = registers.add_datastream(Datastream("MARK", "displacement_up", "mm", interval_s=86400.0), actor="test")
    samples = gnss_like(3, 1826)
    newest = np.datetime64(container.clock().replace(tzinfo=None), "D") - np.timedelta64(1, "D")
    time = (newest - np.arange(1825, -1, -1)).astype("datetime64[us]")
    value = samples.value - 8.0 * np.arange(1826) / 365.25
    value[900:] += 40.0
    value[1400] += 90.0
    container.observations.commit(Batch("file", "test", columns(stream.datastream_id or 0, time, value)))
    logged = container.clock() - timedelta(days=1500)
    registers.add_event(
        StationEvent("MARK", EventKind.ANTENNA_CHANGE, logged, effect=EventEffect.OFFSET, note="new antenna"), actor="test"
    )
    with Analyst(container, in_process=True) as analyst:
        analyst.analyse(stream, container.clock())
    value[300:310] += 25.0
    container.observations.commit(Batch("file", "corrected", columns(stream.datastream_id or 0, time[300:310], value[300:310])))
    registers.add_event(
        StationEvent("MARK", EventKind.OTHER, logged + timedelta(days=500), effect=EventEffect.BREAK), actor="test"
    )


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_recomputed_to_the_digit(method: str, container: Container) -> None:
    answer = explain_run(container, find_run(container, CODE, method))
    assert answer["differences"] == {}
    assert answer["ok"]
    assert answer["same"]


def test_every_finding_comes_out_again(container: Container) -> None:
    findings = container.analyses.findings()
    assert {row.kind for row in findings} >= {"step"}
    for row in findings:
        assert explain_finding_by_id(container, row.finding_id)["same"], row


def test_what_was_computed_is_found_as_of_a_time_and_a_tampered_result_is_told(container: Container) -> None:
    first = find_run(container, CODE, "velocity")
    stream = container.registers.datastream(CODE)
    assert stream is not None
    with Analyst(container, in_process=True) as analyst:
        analyst.analyse(stream, container.clock())
    later = find_run(container, CODE, "velocity")
    assert later.run_id != first.run_id
    assert find_run(container, CODE, "velocity", first.ledger_seq).run_id == first.run_id
    assert explain_run(container, first)["same"]
    changed = type(first)(
        **{name: getattr(first, name) for name in first.__dataclass_fields__} | {"result": {**first.result, "rate": 0.0}}
    )
    assert set(explain_run(container, changed)["differences"]) == {"result"}


def test_the_command_names_runs_findings_and_methods(
    container: Container, database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("GROUNDWATCH_DATABASE_URL", database_url)
    home = ["--home", str(tmp_path)]
    run_id = find_run(container, CODE, "forecast").run_id
    assert cli.main(["explain", f"run:{run_id}", "--json", *home]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["ok"], answer["run"], answer["differences"]) == (True, run_id, {})
    assert cli.main(["explain", CODE, "rate_12mo", *home]) == 0
    assert "comes out the same" in capsys.readouterr().out
    assert cli.main(["explain", "run:987654", *home]) == 2
    with pytest.raises(NotFoundError):
        find_run(container, CODE, "no_such_method")

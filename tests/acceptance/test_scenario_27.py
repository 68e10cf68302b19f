"""A new InSAR delivery re-references the stack: both stand side by side, and 56 marks tell how good the new one is.

By the command line, as an analyst would do it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from domain.model import Datastream, Disclosure, Station, StationKind
from domain.observation import Batch, columns
from service.bootstrap import Container
from service.settings import Settings
from storage.register_rows import Node
from tests.insar.samples import Made, make, write_egms

pytestmark = pytest.mark.stack
ROOT = Path(__file__).resolve().parents[2]
MARKS, POINTS, EPOCHS = 56, 2500, 70
Run = Callable[..., tuple[int, list[dict[str, Any]]]]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def run(database_url: str, home: Path) -> Run:
    environ = {**os.environ, "GROUNDWATCH_DATABASE_URL": database_url, "GROUNDWATCH_HOME": str(home)}

    def groundwatch(*arguments: str) -> tuple[int, list[dict[str, Any]]]:
        done = subprocess.run(
            [sys.executable, "-m", "service.cli", *arguments], env=environ, capture_output=True, text=True, check=False, cwd=ROOT
        )
        assert done.stdout, done.stderr
        return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]

    assert groundwatch("migrate", "--json")[0] == 0
    return groundwatch


@pytest.fixture(scope="module")
def truth(run: Run, database_url: str, home: Path) -> dict[str, float]:
    """Marks beside 56 of the points, levelled once a year: each moves up as its point does along the line of sight / cos(39)."""
    made, rng = make(POINTS, EPOCHS, seed=27), np.random.default_rng(27)
    rates: dict[str, float] = {}
    with Container(Settings(home=home, database_url=database_url)) as container:
        container.registers.set_node(Node("330400", "嘉兴", "Jiaxing", "330400"))
        for number in range(MARKS):
            code = f"BM{number:02d}"
            place = {"longitude_deg": float(made.longitude[number]), "latitude_deg": float(made.latitude[number])}
            mark = Station(code, StationKind.BENCHMARK, code, code, disclosure=Disclosure.RELATIVE, **place)  # type: ignore[arg-type]
            container.registers.add_station(mark, actor="test")
            datastream = container.registers.add_datastream(Datastream(code, "displacement_up", "mm"), actor="test")
            rates[code] = float(made.rate[number] / np.cos(np.radians(39.0)))
            times = [
                np.datetime64(f"{year}-{month:02d}-10", "us") for year, month in ((2019, 2), (2020, 2), (2020, 8), (2021, 2))
            ]
            years = np.array([0.1, 1.1, 1.6, 2.1])
            rows = columns(datastream.datastream_id or 0, times, rates[code] * years + rng.normal(0, 0.3, 4))
            container.observations.commit(Batch("file", "levelling", rows, received_at=datetime(2026, 1, 1, tzinfo=UTC)))
    return rates


def delivery(tmp_path: Path, name: str, plane: tuple[float, float, float]) -> tuple[Path, Made]:
    made = make(POINTS, EPOCHS, seed=27, plane=plane)
    return write_egms(tmp_path / f"{name}.csv", made), made


def load(run: Run, path: Path, name: str) -> dict[str, Any]:
    flags = ("--station", "JX-AREA", "--track", "asc-69", "--heading", "348.5", "--delivery", name)
    code, (report,) = run("import", str(path), "--format", "insar", "--profile", "egms", *flags, "--json")
    assert code == 0, report
    return report


def test_scenario_27_old_and_new_delivery_against_56_marks(run: Run, truth: dict[str, float], tmp_path: Path) -> None:
    old, made = delivery(tmp_path, "old", (0, 0, 0))
    new, moved = delivery(tmp_path, "new", (2.5, 12.0, -7.0))
    assert load(run, old, "2021")["accepted"] == POINTS
    report = load(run, new, "2022")
    assert (report["accepted"], report["notes"]["version"]) == (POINTS, 2)

    listed = {row["code"]: row for row in run("insar", "list", "--json")[1]}
    assert (listed["2021"]["superseded_by"], listed["2022"]["superseded_by"]) == ("2022", None)
    for name, source in (("2021", made), ("2022", moved)):
        (point,) = run("insar", "show", name, "--point", source.pid[5], "--json")[1]
        assert point["direction"] == "toward the satellite positive"
        stored = [item["displacement"] for item in point["series"]]
        np.testing.assert_allclose(stored, source.displacement[5].astype(np.float32))

    code, (run_row,) = run("insar", "analyse", "2022", "--json")
    assert (code, run_row["summary"]["points"], run_row["summary"]["cannot_tell"]) == (0, POINTS, 0)

    for name, slope in (("2021", 0.0), ("2022", 12.0)):
        code, (answer,) = run("insar", "compare", name, "--json")
        assert (code, answer["used"], answer["direction"], answer["unit"]) == (0, MARKS, "up positive", "mm/a")
        assert "horizontal motion is taken as zero" in answer["assumption"]
        assert answer["r"] > 0.97
        assert answer["rmse"] < 1.2
        assert answer["rmse"] <= answer["rmse_left_out"] < 1.5
        per_km = slope / (111.195 * np.cos(np.radians(30.72))) / np.cos(np.radians(39.0))
        assert answer["frame"]["per_km_east"] == pytest.approx(per_km, abs=0.05)
        worst = max(answer["items"], key=lambda item: abs(item["difference"]))
        assert (answer["largest_at"], answer["largest"]) == (worst["station"], pytest.approx(abs(worst["difference"])))
        assert all(abs(item["mark_up"] - truth[item["station"]]) < 1.0 for item in answer["items"])

    code, (beside,) = run("insar", "compare", "2022", "--with", "2021", "--json")
    assert (code, beside["direction"]) == (0, "toward the satellite positive")
    assert beside["r"] > 0.97
    # No sign was turned on the way: what subsides moves away from the satellite, and down.
    sinking = min(truth, key=truth.__getitem__)
    (item,) = (item for item in answer["items"] if item["station"] == sinking)
    assert item["mark_up"] < -3
    assert item["insar_up"] < -3


def test_the_same_file_again_changes_nothing_and_marks_that_are_too_few_cannot_tell(
    run: Run, truth: object, tmp_path: Path
) -> None:
    lone = make(30, 10, seed=3)
    path = write_egms(
        tmp_path / "lone.csv", Made(lone.pid, lone.longitude + 3, lone.latitude, lone.rate, lone.displacement, lone.epochs)
    )
    flags = ("--profile", "egms", "--station", "FAR", "--track", "asc-1", "--json")
    assert run("import", str(path), *flags)[1][0]["accepted"] == 30
    assert run("import", str(path), *flags)[1][0]["duplicate"] == 30
    code, (answer,) = run("insar", "compare", "lone", "--json")
    assert (code, answer["ok"], answer["rmse"]) == (1, False, None)
    assert "are needed" in answer["reason"]

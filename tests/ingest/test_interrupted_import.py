"""Ctrl-C at `groundwatch import` of a large file, in either pass: what is stored is whole, is told, and the next import goes on from it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psycopg
import pytest

pytestmark = pytest.mark.stack
STATIONS, ROWS = 40, 1_600_000
"""More than three parts of half a million rows."""

PATIENCE_S = 120.0
INTERRUPTED = 130
PROFILE = """\
format: csv
time: {columns: [time], zone: UTC}
station: {template: "{station}"}
columns: [{match: [depth], property: depth_to_water, unit: m}]
"""


class Home:
    """A home, a database and one large file."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self.folder, self.database_url = folder, database_url
        self.source = folder / "large.csv"
        (folder / "own.yaml").write_text(PROFILE, encoding="utf-8")
        moments = np.datetime64("2024-01-01T00:00:00") + np.arange(ROWS // STATIONS).astype("timedelta64[m]")
        depth = np.round(20 + np.random.default_rng(5).normal(0, 0.5, ROWS), 3)
        self.total = float(depth.sum())
        names = [f"W{number:02d}" for number in range(STATIONS)] * len(moments)
        pd.DataFrame(
            {"time": np.repeat(np.datetime_as_string(moments, timezone="UTC"), STATIONS), "station": names, "depth": depth}
        ).to_csv(self.source, index=False)

    def start(self) -> subprocess.Popen[str]:
        environment = {**os.environ, "GROUNDWATCH_DATABASE_URL": self.database_url, "GROUNDWATCH_HOME": str(self.folder)}
        command = [
            sys.executable,
            "-m",
            "service.cli",
            "import",
            str(self.source),
            "--profile",
            str(self.folder / "own.yaml"),
            "--json",
        ]
        return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def interrupt_when(self, condition: Callable[[], bool]) -> str:
        """Import until the condition holds, then press Ctrl-C; return what was said."""
        process = self.start()
        try:
            deadline = time.monotonic() + PATIENCE_S
            while not condition():
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < deadline
                time.sleep(0.005)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()
            process.wait()
        assert process.returncode == INTERRUPTED, said
        return said

    def finish(self) -> dict[str, Any]:
        process = self.start()
        told, said = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, said
        return dict(json.loads(told))

    def ask(self, statement: str) -> Any:
        with psycopg.connect(self.database_url) as connection:
            row = connection.execute(statement.encode()).fetchone()
        assert row is not None
        return row[0]

    def stored(self) -> int:
        return int(self.ask("SELECT count(*) FROM observation"))

    def runs(self) -> list[Path]:
        return list((self.folder / "spool").glob("import-*/run-*"))


@pytest.fixture
def home(tmp_path: Path, own_database_url: str) -> Home:
    from service.bootstrap import Container
    from service.configuration import apply_vocabulary
    from service.settings import Settings

    with Container(Settings(home=tmp_path, database_url=own_database_url)) as container:
        apply_vocabulary(container.registers)
    return Home(tmp_path, own_database_url)


def test_an_import_that_is_interrupted_in_either_pass_is_whole_and_goes_on(home: Home) -> None:
    said = home.interrupt_when(lambda: len(home.runs()) > 0)
    assert "interrupted" in said
    assert "(0 rows)" in said
    assert home.stored() == 0
    assert home.runs() == []

    said = home.interrupt_when(lambda: bool(home.ask("SELECT coalesce(bool_or(accepted > 0), false) FROM ingest_batch")))
    kept = home.stored()
    assert 0 < kept < ROWS
    assert home.ask("SELECT sum(accepted) FROM ingest_batch") == kept
    told = re.search(r"\(([\d,]+) rows\)", said)
    assert told is not None
    assert int(told[1].replace(",", "")) == kept
    assert home.runs() == []

    report = home.finish()
    assert (report["accepted"], report["duplicate"], report["corrected"], report["rejected"]) == (ROWS - kept, kept, 0, 0)
    assert home.stored() == ROWS
    assert home.ask("SELECT sum(result) FROM observation") == pytest.approx(home.total, rel=1e-12)
    assert home.ask("SELECT count(*) FROM observation_revision") == 0

"""`groundwatch import` of a generic CSV beside psql copying the same rows, pre-split for the table, into the same definition."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import psycopg

from benchmarks.own_stack import BenchStack, bench_stack
from benchmarks.side_by_side import compare, seconds, tell
from domain.model import Datastream, ObservedProperty, Station, StationKind

STATIONS = 100
ROWS = int(os.environ.get("GROUNDWATCH_BENCH_ROWS", "1000000"))
PROFILE = """\
name: bench
format: csv
title: benchmark
source: made by the benchmark
time: {columns: [time], zone: UTC}
station: {template: "{station}"}
columns:
  - {match: [depth], property: depth_to_water, unit: m}
"""


def make_rows(rows: int) -> pd.DataFrame:
    """Return `rows` observations of 100 stations, a minute apart, in time order as loggers deliver them."""
    per_station = rows // STATIONS
    rng = np.random.default_rng(1)
    minute = np.repeat(np.arange(per_station), STATIONS)
    return pd.DataFrame(
        {
            "time": np.datetime_as_string(np.datetime64("2024-01-01T00:00:00") + minute.astype("timedelta64[m]"), timezone="UTC"),
            "station": [f"W{index:03d}" for index in range(STATIONS)] * per_station,
            "depth": np.round(20 + rng.normal(0, 0.5, per_station * STATIONS), 3),
        }
    )


def prepare(stack: BenchStack, url: str) -> dict[str, int]:
    """Register the stations and datastreams; return their ids by station."""
    with stack.container(url) as container:
        registers = container.registers
        registers.upsert_property(ObservedProperty("depth_to_water", "埋深", "depth to water", "m", "down"))
        ids: dict[str, int] = {}
        for index in range(STATIONS):
            station = registers.add_station(Station(f"W{index:03d}", StationKind.OBSERVATION_WELL, "井", "well"), actor="bench")
            added = registers.add_datastream(Datastream(station.code, "depth_to_water", "m", interval_s=60.0), actor="bench")
            ids[station.code] = int(added.datastream_id or 0)
        return ids


def ours(stack: BenchStack, source: Path, profile: Path) -> float:
    with stack.database() as url:
        prepare(stack, url)
        environment = {**os.environ, "GROUNDWATCH_DATABASE_URL": url, "GROUNDWATCH_HOME": str(stack.home)}
        command = [
            shutil.which("groundwatch") or ".venv/bin/groundwatch",
            "import",
            str(source),
            "--profile",
            str(profile),
            "--json",
        ]
        taken = seconds(lambda: subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL))
        _require_rows(url, ROWS)
        return taken


def plain(stack: BenchStack, frame: pd.DataFrame, target: Path) -> float:
    with stack.database() as url:
        ids = prepare(stack, url)
        table = pd.DataFrame(
            {
                "datastream_id": frame["station"].map(ids),
                "phenomenon_time": frame["time"],
                "result": frame["depth"],
                "quality": 1,
                "received_at": "2026-01-01T00:00:00Z",
                "batch_id": 1,
            }
        )
        table.to_csv(target, sep="\t", header=False, index=False)
        columns = ", ".join(table.columns)
        command = ["psql", url, "-q", "-c", f"\\copy observation ({columns}) FROM '{target}'"]
        taken = seconds(lambda: subprocess.run(command, check=True))
        _require_rows(url, ROWS)
        return taken


def _require_rows(url: str, rows: int) -> None:
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT count(*) FROM observation").fetchone()
    if found is None or found[0] != rows:
        raise RuntimeError(f"{found} rows are stored, not {rows}")


def main() -> None:
    if shutil.which("psql") is None:
        tell("psql is not installed; install postgresql-client to compare with it")
        return
    with bench_stack() as stack:
        source, profile, target = stack.home / "bench.csv", stack.home / "bench.yaml", stack.home / "bench.tsv"
        frame = make_rows(ROWS)
        frame.to_csv(source, index=False)
        profile.write_text(PROFILE, encoding="utf-8")
        compare(
            f"import {ROWS:,} rows of {STATIONS} datastreams beside psql \\copy",
            lambda: ours(stack, source, profile),
            lambda: plain(stack, frame, target),
            amount=ROWS,
            unit="rows",
        )

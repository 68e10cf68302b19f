"""`groundwatch import` of a generic CSV beside psql copying the same rows, pre-split for the table, into the same definition.

Then the identical file once more, and a copy with one changed value and its lines shuffled, beside the first import. Run by itself it takes
`--rows` (10,000,000 by default, 1,000,000 from `make bench`) and `--pairs`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psycopg

from benchmarks.own_stack import BenchStack, bench_stack
from benchmarks.processes import groundwatch
from benchmarks.side_by_side import Comparison, seconds, tell
from domain.model import Datastream, ObservedProperty, Station, StationKind

STATIONS = 100
ROWS = int(os.environ.get("GROUNDWATCH_BENCH_ROWS", "1000000"))
PAIRS = int(os.environ.get("GROUNDWATCH_BENCH_PAIRS", "3"))
FULL_ROWS = 10_000_000
MINUTES_A_PIECE = 5000
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


@dataclass(frozen=True)
class Files:
    """The same rows for both ways, and the copy for the third import."""

    source: Path
    shuffled: Path
    split: Path
    profile: Path
    rows: int


@dataclass(frozen=True)
class Imported:
    """Seconds of the first import, of the identical file and of the shuffled copy, and the greatest resident memory of the three."""

    first_s: float
    again_s: float
    shuffled_s: float
    peak_bytes: int


def write_files(folder: Path, rows: int, ids: dict[str, int]) -> Files:
    """Write rows of 100 stations, a minute apart, in time order as loggers deliver them; a piece at a time."""
    files = Files(folder / "bench.csv", folder / "shuffled.csv", folder / "bench.tsv", folder / "bench.yaml", rows)
    rng = np.random.default_rng(1)
    names = [f"W{index:03d}" for index in range(STATIONS)]
    with files.source.open("w") as source, files.split.open("w") as split:
        source.write("time,station,depth\n")
        for first in range(0, rows // STATIONS, MINUTES_A_PIECE):
            minutes = np.arange(first, min(first + MINUTES_A_PIECE, rows // STATIONS))
            moments = np.datetime64("2024-01-01T00:00:00") + minutes.astype("timedelta64[m]")
            station = names * len(minutes)
            frame = pd.DataFrame(
                {
                    "time": np.repeat(np.datetime_as_string(moments, timezone="UTC"), STATIONS),
                    "station": station,
                    "depth": np.round(20 + rng.normal(0, 0.5, len(station)), 3),
                }
            )
            frame.to_csv(source, index=False, header=False)
            table = {"id": [ids[name] for name in station], "time": frame["time"], "depth": frame["depth"]}
            constants = {"quality": 1, "received_at": "2026-01-01T00:00:00Z", "batch_id": 1}
            pd.DataFrame({**table, **constants}).to_csv(split, sep="\t", header=False, index=False)
    _shuffle(files)
    files.profile.write_text(PROFILE, encoding="utf-8")
    return files


def _shuffle(files: Files) -> None:
    """Write the lines in another order, one of them with another value."""
    header, *lines = files.source.read_bytes().splitlines(keepends=True)
    chance = random.Random(2)
    chance.shuffle(lines)
    place = chance.randrange(len(lines))
    lines[place] = lines[place][: lines[place].rindex(b",")] + b",99.5\n"
    files.shuffled.write_bytes(header + b"".join(lines))


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


def ours(stack: BenchStack, files: Files) -> Imported:
    with stack.database() as url:
        prepare(stack, url)
        first_s, first_peak, report = import_file(stack, url, files.source, files.profile)
        _expect(report, accepted=files.rows, duplicate=0, corrected=0)
        _require_rows(url, files.rows)
        again_s, again_peak, report = import_file(stack, url, files.source, files.profile)
        _expect(report, accepted=0, duplicate=files.rows, corrected=0)
        shuffled_s, shuffled_peak, report = import_file(stack, url, files.shuffled, files.profile)
        _expect(report, accepted=0, duplicate=files.rows - 1, corrected=1)
        return Imported(first_s, again_s, shuffled_s, max(first_peak, again_peak, shuffled_peak))


def import_file(stack: BenchStack, url: str, source: Path, profile: Path) -> tuple[float, int, dict[str, Any]]:
    """Import one file in a process of its own; return its seconds, its greatest resident memory in bytes, and its report."""
    environment = {**os.environ, "GROUNDWATCH_DATABASE_URL": url, "GROUNDWATCH_HOME": str(stack.home)}
    command = [groundwatch(), "import", str(source), "--profile", str(profile), "--json"]
    began = time.perf_counter()
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        answer = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    taken = time.perf_counter() - began
    if process.returncode:
        raise RuntimeError(f"the import ended with {process.returncode}")
    return taken, usage.ru_maxrss * 1024, json.loads(answer)


def _expect(report: dict[str, Any], **counts: int) -> None:
    found = {name: report[name] for name in counts}
    if found != counts:
        raise RuntimeError(f"the import reports {found}, not {counts}")


def plain(stack: BenchStack, files: Files) -> float:
    with stack.database() as url:
        prepare(stack, url)
        columns = "datastream_id, phenomenon_time, result, quality, received_at, batch_id"
        command = ["psql", url, "-q", "-c", f"\\copy observation ({columns}) FROM '{files.split}'"]
        taken = seconds(lambda: subprocess.run(command, check=True))
        _require_rows(url, files.rows)
        return taken


def _require_rows(url: str, rows: int) -> None:
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT count(*) FROM observation").fetchone()
    if found is None or found[0] != rows:
        raise RuntimeError(f"{found} rows are stored, not {rows}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=FULL_ROWS if __name__ == "__main__" else ROWS)
    parser.add_argument("--pairs", type=int, default=PAIRS)
    chosen = parser.parse_args()
    if shutil.which("psql") is None:
        tell("psql is not installed; install postgresql-client to compare with it")
        return
    with bench_stack() as stack:
        with stack.database() as url:
            ids = prepare(stack, url)
        # In a process of its own: a child's greatest memory counts what its parent held when it was started.
        with ProcessPoolExecutor(1, get_context("spawn")) as writer:
            files = writer.submit(write_files, stack.home, chosen.rows, ids).result()
        runs = [(ours(stack, files), plain(stack, files)) for _ in range(chosen.pairs)]
    first = tuple(run.first_s for run, _ in runs)
    title = f"import {chosen.rows:,} rows of {STATIONS} datastreams"
    for name, mine, other in (
        (f"{title} beside psql \\copy", first, tuple(copied for _, copied in runs)),
        ("the identical file beside its first import", tuple(run.again_s for run, _ in runs), first),
        ("shuffled, one value changed, beside the first import", tuple(run.shuffled_s for run, _ in runs), first),
    ):
        tell(Comparison(name, mine, other, chosen.rows, "rows").report())
    tell(f"greatest resident memory: {max(run.peak_bytes for run, _ in runs) / 1e6:,.0f} MB")


if __name__ == "__main__":
    main()

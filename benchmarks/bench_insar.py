"""InSAR: import beside binary COPY of the same tiles, reads, and analyses beside the usual programs point by point.

`OPENBLAS_NUM_THREADS=1 python -m benchmarks insar`. Sizes by the environment: GROUNDWATCH_BENCH_INSAR_POINTS (1,000,000),
GROUNDWATCH_BENCH_INSAR_EPOCHS (150), GROUNDWATCH_BENCH_INSAR_PEERS (200: points that the peers fit, their time is scaled),
GROUNDWATCH_BENCH_PAIRS (3).
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.csv as pa_csv
import pymannkendall
import statsmodels.api as sm

from analytics.insar import PointSettings, fit_points
from benchmarks.own_stack import BenchStack, bench_stack
from benchmarks.side_by_side import compare, seconds, tell

POINTS = int(os.environ.get("GROUNDWATCH_BENCH_INSAR_POINTS", "1000000"))
EPOCHS = int(os.environ.get("GROUNDWATCH_BENCH_INSAR_EPOCHS", "150"))
PEERS = int(os.environ.get("GROUNDWATCH_BENCH_INSAR_PEERS", "200"))
PAIRS = int(os.environ.get("GROUNDWATCH_BENCH_PAIRS", "3"))
ROWS_AT_ONCE = 20_000
HEAD = "pid,latitude,longitude,height,rmse,temporal_coherence,incidence_angle,track_angle,mean_velocity,mean_velocity_std"
DAYS = [date(2018, 1, 4) + timedelta(days=12 * number) for number in range(EPOCHS)]
YEARS = np.array([2018 + day.toordinal() / 365.25 - date(2018, 1, 1).toordinal() / 365.25 for day in DAYS])


def made(points: int, rng: np.random.Generator) -> np.ndarray:
    """Return displacement (points, epochs) in mm with rate, seasons and noise."""
    rate = rng.normal(-4.0, 4.0, (points, 1))
    season = 2.0 * np.sin(2 * np.pi * YEARS)
    return rate * (YEARS - YEARS[0]) + season + rng.normal(0, 3.0, (points, EPOCHS))


def write_delivery(path: Path) -> None:
    """Write a delivery in EGMS shape in the order of raster lines, as processors do."""
    rng = np.random.default_rng(1)
    options = pa_csv.WriteOptions(include_header=False, quoting_style="none")
    with path.open("wb") as file:
        file.write((HEAD + "," + ",".join(day.strftime("%Y%m%d") for day in DAYS) + "\n").encode())
        for start in range(0, POINTS, ROWS_AT_ONCE):
            number = np.arange(start, min(start + ROWS_AT_ONCE, POINTS))
            latitude = np.round(30.4 + 0.6 * number / POINTS + rng.normal(0, 1e-5, len(number)), 7)
            longitude = np.round(rng.uniform(120.3, 121.2, len(number)), 7)
            columns: list[Any] = [[f"{value:010x}" for value in number], latitude, longitude]
            columns += [np.full(len(number), value, np.float32) for value in (3.1, 2.1, 0.91, 39.0, 348.5, -4.1, 0.3)]
            columns += list(np.round(made(len(number), rng), 1).astype(np.float32).T)
            pa_csv.write_csv(
                pa.table([pa.array(column) for column in columns], names=list(map(str, range(len(columns))))), file, options
            )


def command(stack: BenchStack, url: str, *arguments: str) -> tuple[float, float]:
    """Run `groundwatch`; return its seconds and its peak memory in MB."""
    environment = {**os.environ, "GROUNDWATCH_DATABASE_URL": url, "GROUNDWATCH_HOME": str(stack.home)}
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "service.cli", *arguments], env=environment, stdout=subprocess.DEVNULL)
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, high_water_mb(process.pid))  # wait4 would tell the peak of this process, from which that one was forked
        time.sleep(0.02)
    if process.returncode:
        raise RuntimeError(f"groundwatch {' '.join(arguments)} failed with {process.returncode}")
    return time.perf_counter() - began, peak


def high_water_mb(pid: int) -> float:
    """Return the most memory that a process has had, in MB; 0 when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def dump_tiles(url: str, target: Path) -> None:
    statement = "COPY (SELECT * FROM insar_tile ORDER BY tile_no) TO STDOUT (FORMAT binary)"
    with (
        psycopg.connect(url) as connection,
        connection.cursor() as cursor,
        cursor.copy(statement) as copy,
        target.open("wb") as file,
    ):
        for part in copy:
            file.write(part)


def copy_tiles(url: str, source: Path) -> float:
    """Copy the tiles into a table of the same definition, by binary COPY, flushed as in production."""
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE plain_tile (LIKE insar_tile INCLUDING ALL)")
        connection.commit()

        def run() -> None:
            with (
                connection.cursor() as cursor,
                cursor.copy("COPY plain_tile FROM STDIN (FORMAT binary)") as copy,
                source.open("rb") as file,
            ):
                while part := file.read(1 << 20):
                    copy.write(part)
            connection.commit()

        taken = seconds(run)
        connection.execute("DROP TABLE plain_tile")
        connection.commit()
    return taken


def bench_import(stack: BenchStack, url: str, source: Path) -> None:
    memory: list[float] = []
    number = 0
    tiles = stack.home / "tiles.bin"

    def ours() -> float:
        nonlocal number
        number += 1
        name = f"--delivery=d{number}", f"--track=t{number}"
        taken, peak = command(stack, url, "import", str(source), "--profile", "egms", "--station", "AREA", *name, "--json")
        memory.append(peak)
        if not tiles.exists():
            dump_tiles(url, tiles)
        return taken

    compare(
        f"import {POINTS:,} points x {EPOCHS} epochs ({source.stat().st_size / 1e6:,.0f} MB of CSV) beside binary COPY of its tiles",
        ours,
        lambda: copy_tiles(url, tiles),
        amount=POINTS * EPOCHS,
        unit="values",
        pairs=PAIRS,
    )
    tell(f"  peak memory of the import {max(memory):,.0f} MB; the target is a ratio of 0.5 or more")


def bench_reads(stack: BenchStack, url: str) -> None:
    with stack.container(url) as container:
        row = container.insar.delivery("d1")
        assert row is not None
        rng = np.random.default_rng(3)
        pids = [f"{number:010x}" for number in rng.integers(0, POINTS, 20)]
        boxes = [
            (x, y, x + 0.01, y + 0.01) for x, y in zip(rng.uniform(120.3, 121.1, 20), rng.uniform(30.4, 30.9, 20), strict=True)
        ]

        def series(pid: str) -> None:
            point = container.insar.point(row.delivery_id, pid)
            assert point is not None
            assert len(container.insar.series(row.delivery_id, point.point_no)) == EPOCHS

        def milliseconds(actions: Iterator[Callable[[], Any]]) -> str:
            taken = sorted(1000 * seconds(action) for action in actions)
            return f"median {statistics.median(taken):.1f} ms, worst {taken[-1]:.1f} ms of {len(taken)}"

        series(pids[0])
        tell(f"series of a point: {milliseconds((lambda p=pid: series(p)) for pid in pids)}; the target is under 100 ms")
        maps = ((lambda n=int(n): container.insar.map_of_epoch(row.delivery_id, n)) for n in rng.integers(0, EPOCHS, 10))
        tell(f"map of an epoch, every point: {milliseconds(maps)}; the target is under 100 ms")
        found = ((lambda b=box: container.insar.points(row.delivery_id, b, limit=1000)) for box in boxes)
        tell(f"points of a box of 0.01 degree: {milliseconds(found)}")
        whole = (
            (lambda a=after: container.insar.points(row.delivery_id, after=a, limit=1000))
            for after in range(0, POINTS // 2, POINTS // 20)
        )
        tell(f"a page of 1,000 points of the whole delivery: {milliseconds(whole)}")


def fitted(values: np.ndarray, settings: PointSettings) -> float:
    """Fit on as many threads as there are processors, as the command does; return the seconds."""
    parts = [values[:, start : start + 4096] for start in range(0, values.shape[1], 4096)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return seconds(lambda: list(pool.map(lambda part: fit_points(YEARS, part, settings), parts)))


def bench_analysis() -> None:
    points = min(POINTS, 100_000)
    whole = made(points, np.random.default_rng(5)).T.astype(np.float32)
    gaps = whole.copy()
    gaps[np.random.default_rng(6).random(gaps.shape) < 0.05] = np.nan
    t = YEARS - YEARS.mean()
    design = np.stack([np.ones(EPOCHS), t, np.cos(2 * np.pi * YEARS), np.sin(2 * np.pi * YEARS)], axis=1)

    def each(values: np.ndarray, fit: Callable[[np.ndarray, np.ndarray], object]) -> float:
        """Return the seconds of a peer, scaled from some points to all."""

        def run() -> None:
            for point in range(min(PEERS, points)):
                known = ~np.isnan(values[:, point])
                fit(values[known, point].astype(np.float64), design[known])

        return seconds(run) / min(PEERS, points) * points

    def ols(y: np.ndarray, x: np.ndarray) -> object:
        result = sm.OLS(y, x).fit()
        return result.params, result.bse

    def glsar(y: np.ndarray, x: np.ndarray) -> object:
        result = sm.GLSAR(y, x, 1).iterative_fit(3)
        return result.params, result.bse

    def huber(y: np.ndarray, x: np.ndarray) -> object:
        return sm.RLM(y, x).fit().bse

    rows: list[tuple[str, np.ndarray, PointSettings, str, Callable[[np.ndarray, np.ndarray], object]]] = [
        ("rate, annual, sigma; no gaps (target 150, 1 s)", whole, PointSettings("ols"), "statsmodels OLS", ols),
        ("rate, annual, sigma; 5 % gaps (target 20)", gaps, PointSettings("ols"), "statsmodels OLS", ols),
        ("sigma under AR(1); no gaps", whole, PointSettings("ar1"), "statsmodels GLSAR", glsar),
        ("robust; no gaps", whole, PointSettings("robust"), "statsmodels RLM", huber),
        (
            "AR(1), Mann-Kendall, Sen; no gaps (target 20 s)", whole, PointSettings("ar1", trend_test=True), "pymannkendall",
            lambda y, _: pymannkendall.original_test(y),
        ),
    ]  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, values, settings, peer, fit in rows:
            fit_points(YEARS, values[:, :100], settings)
            pairs = [(fitted(values, settings), each(values, fit)) for _ in range(PAIRS)]
            own, theirs = statistics.median(pair[0] for pair in pairs), statistics.median(pair[1] for pair in pairs)
            ratios = sorted(theirs / own for own, theirs in pairs)
            tell(
                f"{points:,} x {EPOCHS} {name}: {own:.2f} s, {peer} loop {theirs:,.0f} s, "
                f"ratio {statistics.median(ratios):,.0f} ({ratios[0]:,.0f} to {ratios[-1]:,.0f})"
            )
        worst = max(agreement(values, design) for values in (whole, gaps))
    tell(f"  largest difference of rate and sigma from statsmodels OLS: {worst:.1e} of the sigma; the target is 1e-9")
    tell(f"  peak memory so far {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB")


def agreement(values: np.ndarray, design: np.ndarray) -> float:
    found = fit_points(YEARS, values[:, :PEERS], PointSettings("ols"))
    worst = 0.0
    for point in range(min(PEERS, values.shape[1])):
        known = ~np.isnan(values[:, point])
        peer = sm.OLS(values[known, point].astype(np.float64), design[known]).fit()
        worst = max(
            worst, abs(peer.params[1] - found["rate"][point]) / peer.bse[1], abs(found["rate_sigma"][point] / peer.bse[1] - 1)
        )
    return worst


def bench_command(stack: BenchStack, url: str) -> None:
    for words in (("--sigma=ols",), ("--sigma=ar1", "--trend-test")):
        taken, peak = command(stack, url, "insar", "analyse", "d1", *words, "--json")
        tell(
            f"groundwatch insar analyse {' '.join(words)}, {POINTS:,} x {EPOCHS}, read and stored: {taken:.1f} s, peak {peak:,.0f} MB"
        )


def main() -> None:
    bench_analysis()
    with bench_stack() as stack, stack.database() as url:
        command(stack, url, "migrate", "--json")
        source = stack.home / "delivery.csv"
        write_delivery(source)
        bench_import(stack, url, source)
        bench_reads(stack, url)
        bench_command(stack, url)


if __name__ == "__main__":
    main()

"""InSAR: import beside binary COPY of the same tiles, reads here and by HTTP, and analyses beside the usual programs point by point.

`OPENBLAS_NUM_THREADS=1 python -m benchmarks insar`; `python -m benchmarks.bench_insar stored` leaves out the analyses. Sizes by the
environment: GROUNDWATCH_BENCH_INSAR_POINTS (1,000,000), GROUNDWATCH_BENCH_INSAR_EPOCHS (150), GROUNDWATCH_BENCH_INSAR_PEERS (200: points
that the peers fit, their time is scaled), GROUNDWATCH_BENCH_PAIRS (3).
"""

from __future__ import annotations

import os
import resource
import shutil
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

import httpx
import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.csv as pa_csv
import pymannkendall
import statsmodels.api as sm

from analytics.insar import PointSettings, fit_points
from benchmarks.bench_chart import TOKEN, wait_until_served
from benchmarks.own_stack import BenchStack, bench_stack
from benchmarks.processes import running
from benchmarks.side_by_side import Comparison, seconds, tell
from service.api.passwords import digest_of
from service.embedded.ports import choose

POINTS = int(os.environ.get("GROUNDWATCH_BENCH_INSAR_POINTS", "1000000"))
EPOCHS = int(os.environ.get("GROUNDWATCH_BENCH_INSAR_EPOCHS", "150"))
PEERS = int(os.environ.get("GROUNDWATCH_BENCH_INSAR_PEERS", "200"))
PAIRS = int(os.environ.get("GROUNDWATCH_BENCH_PAIRS", "3"))
ROWS_AT_ONCE = 20_000
HEAD = "pid,latitude,longitude,height,rmse,temporal_coherence,incidence_angle,track_angle,mean_velocity,mean_velocity_std"
DAYS = [date(2018, 1, 4) + timedelta(days=12 * number) for number in range(EPOCHS)]
HEADS = {
    "egms": (HEAD + "," + ",".join(day.strftime("%Y%m%d") for day in DAYS) + "\n").encode(),
    "stamps": (
        ",".join(f"export_res_{number}" for number in range(EPOCHS + 3))
        + "\n120.75,30.7,NaN,"
        + ",".join(str(day.toordinal() + 366) for day in DAYS)
        + "\n"
    ).encode(),
}
YEARS = np.array([2018 + day.toordinal() / 365.25 - date(2018, 1, 1).toordinal() / 365.25 for day in DAYS])


def made(points: int, rng: np.random.Generator) -> np.ndarray:
    """Return displacement (points, epochs) in mm with rate, seasons and noise."""
    rate = rng.normal(-4.0, 4.0, (points, 1))
    season = 2.0 * np.sin(2 * np.pi * YEARS)
    return rate * (YEARS - YEARS[0]) + season + rng.normal(0, 3.0, (points, EPOCHS))


def write_delivery(path: Path, shape: str) -> None:
    """Write a delivery in the order of raster lines, as processors do: EGMS with tenths of a mm, StaMPS with seven digits."""
    rng = np.random.default_rng(1)
    options = pa_csv.WriteOptions(include_header=False, quoting_style="none")
    with path.open("wb") as file:
        file.write(HEADS[shape])
        for start in range(0, POINTS, ROWS_AT_ONCE):
            number = np.arange(start, min(start + ROWS_AT_ONCE, POINTS))
            latitude = np.round(30.4 + 0.6 * number / POINTS + rng.normal(0, 1e-5, len(number)), 7)
            longitude = np.round(rng.uniform(120.3, 121.2, len(number)), 7)
            values = made(len(number), rng)
            columns: list[Any] = [longitude, latitude, rng.normal(-4, 4, len(number)).astype(np.float32)]
            if shape == "egms":
                columns = [[f"{value:010x}" for value in number], latitude, longitude]
                columns += [np.full(len(number), value, np.float32) for value in (3.1, 2.1, 0.91, 39.0, 348.5, -4.1, 0.3)]
                values = np.round(values, 1)
            columns += list(values.astype(np.float32).T)
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


def dump(url: str, target: Path, shape: str) -> None:
    """Write the tiles of the first delivery as binary COPY."""
    wanted = f"SELECT id FROM insar_delivery WHERE code = '{shape}-1'"
    statement = f"COPY (SELECT * FROM insar_tile WHERE delivery_id = ({wanted}) ORDER BY tile_no) TO STDOUT (FORMAT binary)"
    with (
        psycopg.connect(url) as connection,
        connection.cursor() as cursor,
        cursor.copy(statement) as copy,
        target.open("wb") as file,
    ):
        for part in copy:
            file.write(part)


def copy_in(url: str, source: Path) -> float:
    """Copy tiles into a table of the same definition, storage and indexes, by binary COPY, logged and flushed as in production."""
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE plain (LIKE insar_tile INCLUDING ALL)")
        connection.commit()

        def run() -> None:
            with (
                connection.cursor() as cursor,
                cursor.copy("COPY plain FROM STDIN (FORMAT binary)") as copy,
                source.open("rb") as file,
            ):
                while part := file.read(1 << 20):
                    copy.write(part)
            connection.commit()

        taken = seconds(run)
        connection.execute("DROP TABLE plain")
        connection.commit()
    return taken


def settle(url: str) -> None:
    """Let nothing that was written before be vacuumed or flushed at the cost of what is measured next."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM insar_tile, insar_directory")
        connection.execute("CHECKPOINT")
    os.sync()


def bench_import(stack: BenchStack, url: str, shape: str, pairs: int) -> None:
    """Import one delivery several times, as versions of areas of their own, each time beside the COPY of what it stored.

    The first import and the first COPY are told by themselves: they compile the reader and let the server make its segments of the log. After
    that each way comes first in turn, from a settled server, and the raw file is kept anew every time.
    """
    source, dumped = stack.home / f"{shape}.csv", stack.home / f"{shape}.tiles"
    write_delivery(source, shape)

    def own_way(number: int) -> tuple[float, float]:
        shutil.rmtree(stack.home / "raw", ignore_errors=True)
        settle(url)
        names = "--station", f"AREA-{shape}", f"--delivery={shape}-{number}", f"--track={shape}-{number}"
        return command(stack, url, "import", str(source), "--profile", shape, *names, "--json")

    def plain_way() -> float:
        settle(url)
        return copy_in(url, dumped)

    first_s, peak = own_way(1)
    dump(url, dumped, shape)
    first_plain_s = plain_way()
    own: list[float] = []
    plain: list[float] = []
    for number in range(2, pairs + 2):
        for ours in (True, False) if number % 2 else (False, True):
            if ours:
                own.append(own_way(number)[0])
            else:
                plain.append(plain_way())
    size = f"{POINTS:,} points x {EPOCHS} epochs, {shape} ({source.stat().st_size / 1e6:,.0f} MB of CSV)"
    title = f"import {size}, beside binary COPY of its tiles"
    tell(Comparison(title, tuple(own), tuple(plain), POINTS * EPOCHS, "values").report())
    tell(f"  seconds: {', '.join(f'{one:.1f} beside {other:.1f}' for one, other in zip(own, plain, strict=True))}")
    tell(f"  the first of each, on a new server: {first_s:.1f} beside {first_plain_s:.1f} s for the tiles")
    tell(f"  peak memory of the import {peak:,.0f} MB; the target is a ratio of 0.5 or more to the tiles")
    source.unlink()
    dumped.unlink()


def milliseconds(actions: Iterator[Callable[[], Any]]) -> str:
    """Run each action once; the first one finds nothing opened or cached."""
    taken = [1000 * seconds(action) for action in actions]
    later = sorted(taken[1:])
    return f"first {taken[0]:.1f} ms, then median {statistics.median(later):.1f} ms, worst {later[-1]:.1f} ms of {len(later)}"


def bench_http(stack: BenchStack, url: str) -> None:
    """Ask `groundwatch serve` for the same over one kept connection."""
    with stack.container(url) as container:
        container.access.add_key(digest_of(TOKEN), TOKEN[:8], "supervisor")
        row = container.insar.delivery("egms-1")
    assert row is not None
    port = choose(18_000)
    environment = {"GROUNDWATCH_DATABASE_URL": url, "GROUNDWATCH_HOME": str(stack.home)}
    environment["GROUNDWATCH_MQTT_URL"] = stack.stack.addresses.mqtt_url_with_login
    log = stack.home / "serve.log"
    headers = {"Authorization": f"Bearer {TOKEN}"}
    rng = np.random.default_rng(4)
    with (
        httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, trust_env=False, timeout=60.0) as client,
        running(["serve", "--port", str(port)], environment, log),
    ):
        wait_until_served(client, log)

        def ask(path: str, **parameters: str) -> None:
            answer = client.get(f"/api/v1/insar/{path}", params={"delivery": "egms-1", **parameters})
            answer.raise_for_status()

        pids = [f"{number:010x}" for number in rng.integers(0, POINTS, 20)]
        tell(f"series of a point by HTTP, JSON: {milliseconds((lambda p=pid: ask(f'points/{p}')) for pid in pids)}")
        epochs = [row.epochs[number].isoformat() for number in rng.integers(0, EPOCHS, 10)]
        maps = ((lambda e=epoch: ask("map", epoch=e, format="arrow")) for epoch in epochs)
        tell(f"map of an epoch by HTTP, every point, Arrow: {milliseconds(maps)}")


def bench_reads(stack: BenchStack, url: str) -> None:
    with stack.container(url) as container:
        row = container.insar.delivery("egms-1")
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
        taken, peak = command(stack, url, "insar", "analyse", "egms-1", *words, "--json")
        tell(
            f"groundwatch insar analyse {' '.join(words)}, {POINTS:,} x {EPOCHS}, read and stored: {taken:.1f} s, peak {peak:,.0f} MB"
        )


def main() -> None:
    only_stored = sys.argv[1:] == ["stored"]
    if not only_stored:
        bench_analysis()
    with bench_stack() as stack, stack.database() as url:
        command(stack, url, "migrate", "--json")
        bench_import(stack, url, "egms", PAIRS)
        bench_reads(stack, url)
        bench_http(stack, url)
        bench_import(stack, url, "stamps", PAIRS)
        if not only_stored:
            bench_command(stack, url)


if __name__ == "__main__":
    main()

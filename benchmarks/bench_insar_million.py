"""A delivery of a million points: rate, annual terms and sigma, then AR(1) or robust with Mann-Kendall and Sen, in bounded memory.

Run ``OPENBLAS_NUM_THREADS=1 python -m benchmarks insar_million``; GROUNDWATCH_BENCH_MILLION_POINTS = 1,000,000. Blocks of 4,096 points are
made, fitted on as many threads as there are processors and thrown away; what making them takes is not counted. Targets on two cores: 10 s and
200 s, 1.5 GB.
"""

from __future__ import annotations

import os
import resource
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from analytics.insar import PointSettings, fit_points
from benchmarks.side_by_side import tell

POINTS = int(os.environ.get("GROUNDWATCH_BENCH_MILLION_POINTS", "1000000"))
EPOCHS, BLOCK = 150, 4096
YEARS = 2018.0 + np.arange(EPOCHS) * 12.0 / 365.25


def made(points: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Return displacement of shape (epochs, points) in tenths of a millimetre, with rate, season and noise."""
    noise = rng.standard_normal((EPOCHS, points), dtype=np.float32)
    rate = rng.normal(-4.0, 4.0, points)
    whole = np.outer(YEARS - YEARS[0], rate) + 2.0 * np.sin(2.0 * np.pi * YEARS)[:, None] + 3.0 * noise
    return np.round(whole, 1).astype(np.float32)


def bench(name: str, settings: PointSettings, points: int, gaps: float = 0.0) -> None:
    count = os.cpu_count() or 1
    wall = cpu = 0.0
    rng = np.random.default_rng(7)
    with ThreadPoolExecutor(count) as pool:
        for start in range(0, points, 16 * BLOCK):
            blocks = []
            for first in range(start, min(start + 16 * BLOCK, points), BLOCK):
                values = made(min(BLOCK, points - first), rng)
                if gaps:
                    values[rng.random(values.shape) < gaps] = np.nan
                blocks.append(values)
            began, used = time.perf_counter(), time.process_time()
            list(pool.map(lambda part: fit_points(YEARS, part, settings), blocks))
            wall += time.perf_counter() - began
            cpu += time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    tell(f"{points:,} x {EPOCHS} {name}: {wall:.1f} s on {count} threads, {cpu:.1f} s of processors; peak memory {peak:,.0f} MB")


def main() -> None:
    fit_points(YEARS, made(100, np.random.default_rng(1)), PointSettings("ar1", trend_test=True))
    bench("rate, annual, sigma; no gaps", PointSettings("ols"), POINTS)
    bench("rate, annual, sigma; 5 % gaps", PointSettings("ols"), POINTS, gaps=0.05)
    bench("rate, annual, acceleration, a step; no gaps", PointSettings("ols", acceleration=True, steps=(2020.5,)), POINTS)
    bench("AR(1), Mann-Kendall, Sen; no gaps", PointSettings("ar1", trend_test=True), POINTS)
    bench("AR(1), Mann-Kendall, Sen; 5 % gaps", PointSettings("ar1", trend_test=True), POINTS, gaps=0.05)
    bench("robust, Mann-Kendall, Sen; no gaps", PointSettings("robust", trend_test=True), POINTS)


if __name__ == "__main__":
    main()

"""Rates and offsets where nobody logged a step: ours beside MIDAS, least squares and kernel change points, on simulated GNSS components.

Run ``python -m benchmarks.bench_offsets [--series 165] [--component horizontal|up]``; the generator is
`tests/analytics/simulation.py: offset_series`, its seeds from 1000 on, which no setting was chosen on. What is judged is what
`groundwatch velocity` answers by default.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import ruptures
from numpy.typing import NDArray

from analytics.midas import midas
from analytics.preparation import VelocityParameters, prepare
from analytics.sampling import Floats, decimal_years
from analytics.trajectory import TrajectoryFit, choose_model, fit_trajectory
from benchmarks.side_by_side import tell
from tests.analytics.simulation import OffsetSeries, match_offsets, offset_series

LARGE_MM = 5.0
FIRST_SEED = 1000
NOW = datetime(9000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Judged:
    """One series: errors of the rate by method, offsets found, missed, invented, and the errors of their sizes.

    `sizes_dated` are the errors where the dates of all offsets are given, `amplitude_bound` the standard deviation that generalised
    least squares (so the Cramer-Rao bound of the noise that was found) gives the annual amplitude then.
    """

    rates: dict[str, float]
    sigma: float
    hits: int
    large: int
    found: int
    false: int
    sizes: list[float]
    sizes_dated: list[float]
    amplitude: float
    amplitude_known: float
    amplitude_bound: float
    seconds: float


def _plain_rate(years: Floats, values: Floats, steps: Any) -> float:
    design = choose_model(years, steps).design(years)
    return float(np.linalg.lstsq(design, values - np.median(values), rcond=None)[0][1])


def _kernel_steps(years: Floats, values: Floats) -> list[float]:
    """Change points of the residuals by a radial kernel on blocks of ten days (ruptures), its penalty left at the usual log n."""
    block = 10
    design = choose_model(years).design(years)
    residual = values - design @ np.linalg.lstsq(design, values, rcond=None)[0]
    n = residual.size - residual.size % block
    coarse = residual[:n].reshape(-1, block).mean(axis=1)
    cuts = ruptures.KernelCPD(kernel="rbf", min_size=3).fit(coarse[:, None]).predict(pen=float(np.log(coarse.size)))
    return [float(years[cut * block]) for cut in cuts[:-1]]


def judge(task: tuple[int, bool]) -> Judged:
    """Everything about one series."""
    series = offset_series(*task)
    years, values = series.years, series.samples.value
    began = time.process_time()
    ready = prepare(series.samples, [], VelocityParameters(), NOW)
    seconds = time.process_time() - began
    fit = ready.fit
    assert fit is not None
    given = fit_trajectory(years, values, choose_model(years, list(series.steps)), ("flicker_white",))
    robust = midas(years, values)
    assert robust is not None
    rates = {
        "ours": fit.value_of("rate"),
        "MIDAS": robust.rate,
        "OLS, no steps": _plain_rate(years, values, ()),
        "kernel CPD + OLS": _plain_rate(years, values, _kernel_steps(years, values)),
        "OLS, true steps": _plain_rate(years, values, series.steps),
    }
    since = float(decimal_years(series.samples.time[:1])[0] - years[0])
    found = np.array([step.year - since for step in ready.detected])
    matched = match_offsets(series.steps, found)
    large = np.abs(series.sizes) >= LARGE_MM
    hits = [(i, j) for i, j in matched if large[i]]
    true_amplitude = 1.2 * (2.0 if task[1] else 1.0)
    return Judged(
        {name: rate - series.rate for name, rate in rates.items()},
        fit.sigma_of("rate"),
        len(hits),
        int(large.sum()),
        int(found.size),
        int(found.size - len(matched)),
        [ready.detected[j].size - float(series.sizes[i]) for i, j in hits],
        _errors_when_dated(series, given, large),
        fit.amplitude_of(1)[0] - true_amplitude,
        given.amplitude_of(1)[0] - true_amplitude,
        given.amplitude_of(1)[1],
        seconds,
    )


def _errors_when_dated(series: OffsetSeries, given: TrajectoryFit, large: NDArray[np.bool_]) -> list[float]:
    """Errors of the sizes of large offsets where all dates are given."""
    sizes = dict(zip(series.steps.tolist(), series.sizes.tolist(), strict=True))
    wanted = set(series.steps[large].tolist())
    return [given.value_of(f"step_{j}") - sizes[step] for j, step in enumerate(given.model.steps) if step in wanted]


def rms(values: Any) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(np.asarray(values, dtype=np.float64)))))


def report(vertical: bool, count: int) -> None:
    with multiprocessing.get_context("spawn").Pool(min(os.cpu_count() or 1, 2)) as pool:
        judged = pool.map(judge, [(seed, vertical) for seed in range(FIRST_SEED, FIRST_SEED + count)], chunksize=4)
    name = "up" if vertical else "horizontal"
    rates = ", ".join(f"{method} {rms([one.rates[method] for one in judged]):.3f}" for method in judged[0].rates)
    hits, large, false = (sum(getattr(one, part) for one in judged) for part in ("hits", "large", "false"))
    inside = np.mean([abs(one.rates["ours"]) < 1.96 * one.sigma for one in judged])
    tell(f"{name}, {count} series, RMS of the rate in mm/a: {rates}; 1.96 sigmas hold {100.0 * inside:.0f} %")
    tell(
        f"    offsets >= {LARGE_MM:.0f} mm within 15 d: F1 {2 * hits / (2 * hits + false + large - hits):.3f}, "
        f"false {false / count:.2f} a series; sizes RMS {rms([size for one in judged for size in one.sizes]):.2f} mm where found, "
        f"{rms([size for one in judged for size in one.sizes_dated]):.2f} mm where dated; "
        f"annual amplitude RMS {rms([one.amplitude_known for one in judged]):.3f} mm steps known "
        f"(bound {rms([one.amplitude_bound for one in judged]):.3f}), {rms([one.amplitude for one in judged]):.3f} not; "
        f"{np.mean([one.seconds for one in judged]):.2f} s of processor time a series"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=165)
    parser.add_argument("--component", choices=("horizontal", "up"), help="one component only")
    chosen = parser.parse_args()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    for vertical in (False, True) if chosen.component is None else (chosen.component == "up",):
        report(vertical, chosen.series)


if __name__ == "__main__":
    main()

"""Rates and offsets where nobody logged a step: ours beside MIDAS, least squares and kernel change points, on simulated GNSS components.

Run ``python -m benchmarks.bench_offsets [--series 165]``; the generator is `tests/analytics/simulation.py: offset_series`.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import ruptures

from analytics.midas import midas
from analytics.sampling import Floats
from analytics.steps import StepSearch, search_steps
from analytics.trajectory import choose_model, fit_trajectory
from benchmarks.side_by_side import tell
from tests.analytics.simulation import match_offsets, offset_series

LARGE_MM = 5.0


@dataclass(frozen=True)
class Judged:
    """One series: errors of the rate by method, offsets found, missed, invented, and the errors of their sizes."""

    rates: dict[str, float]
    sigma: float
    hits: int
    large: int
    found: int
    false: int
    sizes: list[float]
    amplitude: float
    amplitude_known: float
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
    began = time.perf_counter()
    search: StepSearch = search_steps(years, values, choose_model(years))
    model = choose_model(years, [step.year for step in search.steps])
    fit = fit_trajectory(years, values, model, known=search.noise if search.model == model else ())
    seconds = time.perf_counter() - began
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
    found = np.array([step.year for step in search.steps])
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
        [search.steps[j].size - float(series.sizes[i]) for i, j in hits],
        fit.amplitude_of(1)[0] - true_amplitude,
        given.amplitude_of(1)[0] - true_amplitude,
        seconds,
    )


def rms(values: Any) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(np.asarray(values, dtype=np.float64)))))


def report(vertical: bool, count: int) -> None:
    with multiprocessing.get_context("spawn").Pool(min(os.cpu_count() or 1, 2)) as pool:
        judged = pool.map(judge, [(seed, vertical) for seed in range(1000, 1000 + count)], chunksize=4)
    name = "up" if vertical else "horizontal"
    rates = ", ".join(f"{method} {rms([one.rates[method] for one in judged]):.3f}" for method in judged[0].rates)
    hits, large, false = (sum(getattr(one, part) for one in judged) for part in ("hits", "large", "false"))
    tell(f"{name}, {count} series, RMS of the rate in mm/a: {rates}")
    tell(
        f"    offsets >= {LARGE_MM:.0f} mm within 15 d: F1 {2 * hits / (2 * hits + false + large - hits):.3f}, "
        f"false {false / count:.2f} a series; sizes RMS {rms([size for one in judged for size in one.sizes]):.2f} mm; "
        f"annual amplitude RMS {rms([one.amplitude_known for one in judged]):.3f} mm steps known, "
        f"{rms([one.amplitude for one in judged]):.3f} not; {np.mean([one.seconds for one in judged]):.2f} s a series"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=165)
    chosen = parser.parse_args()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    for vertical in (False, True):
        report(vertical, chosen.series)


if __name__ == "__main__":
    main()

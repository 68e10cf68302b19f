"""Whether the interval of a rate holds what it promises: simulated white plus flicker noise with gaps and steps, fixed seeds.

Run ``python -m benchmarks.bench_coverage [--seeds 2000] [--kind middle]``. Every kind prints one line: the share of 95 % intervals
(rate +- 1.96 sigma) that hold the truth, the bias in units of the error's own spread, and the same for least squares (statsmodels).
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from dataclasses import dataclass

import numpy as np
import statsmodels.api as sm

from analytics.sampling import Floats
from analytics.trajectory import choose_model, fit_trajectory
from benchmarks.side_by_side import tell
from tests.analytics.simulation import coloured_noise, years_since

RATE = -5.0


@dataclass(frozen=True)
class Kind:
    """Days, white noise in mm, flicker in mm / a^(1/4)."""

    days: int
    white: float
    flicker: float


KINDS = {
    "middle": Kind(1300, 3.0, 12.0),
    "white": Kind(2000, 4.0, 6.0),
    "short": Kind(1000, 2.0, 10.0),
    "long": Kind(2500, 1.0, 4.0),
}


def simulated(kind: Kind, seed: int) -> tuple[Floats, Floats, float]:
    """Years, values and the date of one known step of 10 mm; 5 % of the days missing and a gap of 60 days."""
    n, rng = kind.days, np.random.default_rng(10_000 + seed)
    years = years_since(n)
    values = coloured_noise(rng, n, kind.white, kind.flicker) + RATE * years
    keep = rng.random(n) > 0.05
    hole = int(rng.integers(n // 6, int(n * 0.7)))
    keep[hole : hole + 60] = False
    step = float(years[rng.integers(n // 4, 3 * n // 4)])
    return years[keep], (values + 10.0 * (years >= step))[keep], step


def estimate(task: tuple[str, int]) -> tuple[float, float, float, float]:
    """Error and sigma of the rate, ours and by ordinary least squares."""
    years, values, step = simulated(KINDS[task[0]], task[1])
    model = choose_model(years, [step])
    fit = fit_trajectory(years, values, model)
    plain = sm.OLS(values, model.design(years)).fit()
    return fit.value_of("rate") - RATE, fit.sigma_of("rate"), float(plain.params[1]) - RATE, float(plain.bse[1])


def coverage(kind: str, seeds: int) -> None:
    """Estimate all seeds on two processes and print the line."""
    began = time.perf_counter()
    with multiprocessing.get_context("spawn").Pool(min(os.cpu_count() or 1, 2)) as pool:
        found = np.array(pool.map(estimate, [(kind, seed) for seed in range(seeds)], chunksize=20))
    error, sigma, plain, plain_sigma = found.T
    inside, plain_inside = (100.0 * float(np.mean(np.abs(e) < 1.96 * s)) for e, s in ((error, sigma), (plain, plain_sigma)))
    spread = 100.0 * np.sqrt(0.95 * 0.05 / seeds)
    tell(
        f"{kind:8s} {seeds} seeds: 95 % interval holds {inside:.1f} % (±{spread:.1f}), bias {error.mean() / error.std():+.3f} sigma, "
        f"error {error.std():.3f}, mean sigma {sigma.mean():.3f} mm/a; OLS {plain_inside:.1f} %, "
        f"sigma {plain_sigma.mean():.3f}; {(time.perf_counter() - began) / seeds:.3f} s a seed"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000)
    parser.add_argument("--kind", choices=KINDS, help="one kind only")
    chosen = parser.parse_args()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    for kind in [chosen.kind] if chosen.kind else ["middle", "white"]:
        coverage(kind, chosen.seeds)


if __name__ == "__main__":
    main()

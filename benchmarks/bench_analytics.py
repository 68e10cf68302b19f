"""Time and accuracy of the analytics beside plain peers on the same series.

Run ``OPENBLAS_NUM_THREADS=1 python benchmarks/bench_analytics.py [--seeds 2000]``; the shared real data are used where present.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import statsmodels.api as sm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scipy.signal import lfilter

from analytics import METHODS, Samples, detect_in_series
from analytics.changepoints import ChangePointSettings, detect_change_points
from analytics.method import aware
from analytics.midas import midas, select_pairs
from analytics.sampling import decimal_years
from analytics.trajectory import choose_model, fit_trajectory
from analytics.velocity import VelocityParameters
from tests.analytics.simulation import coloured_noise, f1_score, gnss_like, read_tenv3, stepped_series, years_since


def timed(label: str, work: Callable[[], Any]) -> Any:
    began = time.perf_counter()
    answer = work()
    print(f"{label:58s} {time.perf_counter() - began:9.4f} s")
    return answer


def bench_velocity() -> None:
    for n in (2500, 3650, 6659):
        samples = gnss_like(1, n)
        keep = np.random.default_rng(0).random(n) > 0.05
        samples = samples.where(keep)
        years = decimal_years(samples.time)
        model = choose_model(years)
        fit = timed(f"noise by REML, 5 models, n={n}", lambda y=years, s=samples, m=model: fit_trajectory(y, s.value, m))
        now = aware(samples.time[-1]) + timedelta(days=1)
        timed(
            f"velocity with steps and forecast, n={n}",
            lambda s=samples, t=now: METHODS["velocity"].run(s, [], VelocityParameters(), t),
        )
        design = model.design(years)
        ols = timed(f"  peer: statsmodels OLS, n={n}", lambda d=design, s=samples: sm.OLS(s.value, d).fit())
        ar = timed(f"  peer: statsmodels GLSAR(1), n={n}", lambda d=design, s=samples: sm.GLSAR(s.value, d, 1).iterative_fit(5))
        print(f"    sigma of the rate: ours {fit.sigma_of('rate'):.3f}, OLS {ols.bse[1]:.3f}, GLSAR {ar.bse[1]:.3f} mm/a")


def bench_midas() -> None:
    years = years_since(6659)
    values = [coloured_noise(np.random.default_rng(k), 6659) for k in range(3)]
    pairs = timed("MIDAS pairs, n=6659", lambda: select_pairs(years))
    timed("MIDAS three components, n=6659", lambda: [midas(years, x, pairs=pairs) for x in values])


def bench_detect() -> None:
    t = np.arange(20_000)
    values = np.sin(2 * np.pi * t / 288.0) + 0.05 * np.random.default_rng(3).normal(size=t.size)
    timed("detect, n=20,000", lambda: detect_in_series(t * 300.0, values, True))


def bench_change_points(series: int = 300) -> None:
    """Choose the settings of `changepoints`: the best mean F1 that splits at most one change-free series in fifteen."""
    simulated = [stepped_series(seed) for seed in range(series)]
    for length in (5, 12, 20):
        for penalty in (0.65, 0.75, 1.0, 1.25, 1.5, 2.0):
            chosen = ChangePointSettings(minimum_length=length, penalty=penalty)
            scores = [f1_score({"truth": cuts}, [p.index for p in detect_change_points(x, chosen)]) for x, cuts in simulated]
            split = max(_false_splits(rho, chosen) for rho in (0.0, 0.6, 0.9, 0.97))
            print(
                f"minimum length {length:2d}, penalty {penalty:4.2f}: F1 {np.mean(scores):.3f}, false splits a series {split:.3f}"
            )


def _false_splits(coefficient: float, chosen: ChangePointSettings, series: int = 300, n: int = 500) -> float:
    """Change points found in each of some AR(1) series without any."""
    found = 0
    for seed in range(series):
        values = lfilter([1.0], [1.0, -coefficient], np.random.default_rng(50_000 + seed).normal(size=n))
        found += len(detect_change_points(np.asarray(values), chosen))
    return found / series


def bench_coverage(seeds: int, n: int = 1300) -> None:
    """Truth -5 mm/a, white 3 mm, flicker 12 mm/a^(1/4), 5 % missing, a gap of 60 d and one known step."""
    years, errors, sigmas = years_since(n), [], []
    for seed in range(seeds):
        rng = np.random.default_rng(10_000 + seed)
        values = coloured_noise(rng, n) - 5.0 * years
        keep = rng.random(n) > 0.05
        hole = int(rng.integers(200, 900))
        keep[hole : hole + 60] = False
        step = float(years[rng.integers(300, 1000)])
        values += 10.0 * (years >= step)
        fit = fit_trajectory(years[keep], values[keep], choose_model(years[keep], [step]))
        errors.append(fit.value_of("rate") + 5.0)
        sigmas.append(fit.sigma_of("rate"))
    error, sigma = np.array(errors), np.array(sigmas)
    inside = float(np.mean(np.abs(error) < 1.96 * sigma))
    print(f"coverage of the 95 % interval over {seeds} seeds: {100 * inside:.1f} %, bias {error.mean() / error.std():+.3f} sigma")


def bench_real(folder: Path) -> None:
    for name in ("PUHI", "DVLT"):
        _, times, components = read_tenv3(folder / f"gnss/ngl_tenv3/{name}.tenv3")
        for component, values in components.items():
            samples = Samples(times, values)
            now = aware(times[-1]) + timedelta(days=1)
            result = timed(
                f"velocity {name} {component}", lambda s=samples, t=now: METHODS["velocity"].run(s, [], VelocityParameters(), t)
            ).run.result
            print(
                f"    {result['rate']:9.3f} +- {result['rate_sigma']:.3f} ({result['noise_model']}), "
                f"MIDAS {result['midas_rate']:9.3f} +- {result['midas_sigma']:.3f}, steps {len(result['steps'])}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="seeds of the coverage run (2000 for the published figure)")
    parser.add_argument("--change-points", action="store_true", help="only choose the change-point settings on simulations")
    chosen = parser.parse_args()
    if chosen.change_points:
        bench_change_points()
        return
    bench_midas()
    bench_velocity()
    bench_detect()
    shared = Path(os.environ.get("GROUNDWATCH_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    folder = next((path for path in (shared / "data", shared) if (path / "PROVENANCE.md").exists()), None)
    if folder is not None:
        bench_real(folder)
    bench_coverage(chosen.seeds)


if __name__ == "__main__":
    main()

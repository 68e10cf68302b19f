"""Time and accuracy of the analytics beside plain peers on the same series.

Run ``OPENBLAS_NUM_THREADS=1 python -m benchmarks.bench_analytics``; the shared real data are used where present. Coverage and unlogged
offsets have benchmarks of their own (`bench_coverage`, `bench_offsets`).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pymannkendall  # type: ignore[import-untyped]
import ruptures
import statsmodels.api as sm
from scipy.signal import lfilter

from analytics import METHODS, Samples, detect_in_series
from analytics.changepoints import ChangePointSettings, detect_change_points
from analytics.level_forecast import ForecastParameters
from analytics.method import aware
from analytics.midas import midas, select_pairs
from analytics.sampling import Floats, Times, decimal_years
from analytics.trajectory import TrajectoryFit, choose_model, fit_trajectory
from analytics.velocity import VelocityParameters
from tests.analytics.simulation import coloured_noise, covering, f1_score, gnss_like, read_tenv3, stepped_series, years_since


def timed(label: str, work: Callable[[], Any]) -> Any:
    began = time.perf_counter()
    answer = work()
    print(f"{label:58s} {time.perf_counter() - began:9.4f} s")
    return answer


def bench_velocity() -> None:
    for n in (2500, 3650, 6659):
        samples = gnss_like(1, n)
        samples = samples.where(np.random.default_rng(0).random(n) > 0.05)
        years = decimal_years(samples.time)
        model = choose_model(years)
        fit: TrajectoryFit = timed(f"noise by REML, 5 models, n={n}", partial(fit_trajectory, years, samples.value, model))
        now = aware(samples.time[-1]) + timedelta(days=1)
        timed(
            f"velocity with steps and forecast, n={n}", partial(METHODS["velocity"].run, samples, [], VelocityParameters(), now)
        )
        timed(f"tested forecast, n={n}", partial(METHODS["forecast"].run, samples, [], ForecastParameters(), now))
        _least_squares_peers(samples.value, model.design(years), fit, n)


def _least_squares_peers(values: Floats, design: Floats, fit: TrajectoryFit, n: int) -> None:
    """Rate and sigma of statsmodels' answers on the same series."""
    peers = {
        "OLS": lambda: sm.OLS(values, design).fit(),
        "HAC(365)": lambda: sm.OLS(values, design).fit(cov_type="HAC", cov_kwds={"maxlags": 365}),
        "GLSAR(1)": lambda: sm.GLSAR(values, design, 1).iterative_fit(5),
    }
    told = [f"ours {fit.value_of('rate'):.3f} ± {fit.sigma_of('rate'):.3f}"]
    for name, work in peers.items():
        found = timed(f"  peer: statsmodels {name}, n={n}", work)
        told.append(f"{name} {found.params[1]:.3f} ± {found.bse[1]:.3f}")
    print(f"    rate (truth -4 mm/a): {', '.join(told)}")


def bench_trend_tests() -> None:
    """Mann-Kendall by variant on one autocorrelated series without trend, and our p from the rate and its sigma."""
    values = gnss_like(2, 3000, rate=0.0).value
    years = years_since(3000)
    fit = timed("rate and sigma, n=3000", partial(fit_trajectory, years, values, choose_model(years)))
    ratio = fit.value_of("rate") / fit.sigma_of("rate")
    print(f"    p of a rate of 0: ours {2.0 * NormalDist().cdf(-abs(ratio)):.3f}")
    for name in (
        "original_test",
        "hamed_rao_modification_test",
        "yue_wang_modification_test",
        "trend_free_pre_whitening_modification_test",
    ):
        found = timed(f"  peer: pymannkendall {name}", partial(getattr(pymannkendall, name), values))
        print(f"    p {found.p:.2g}, slope {found.slope * 365.25:.3f} mm/a")


def bench_midas() -> None:
    years = years_since(6659)
    values = [coloured_noise(np.random.default_rng(k), 6659) for k in range(3)]

    def three() -> None:
        pairs = select_pairs(years)
        for component in values:
            midas(years, component, pairs=pairs)

    timed("MIDAS, pairs and three components, n=6659", three)


def bench_detect() -> None:
    t = np.arange(20_000, dtype=np.float64)
    values = np.sin(2 * np.pi * t / 288.0) + 0.05 * np.random.default_rng(3).normal(size=t.size)
    timed("detect, n=20,000", partial(detect_in_series, t * 300.0, values, True))


def change_point_finders() -> dict[str, Callable[[Floats], list[int]]]:
    """Ours and two peers with their usual penalties."""
    return {
        "ours": lambda x: [point.index for point in detect_change_points(x)],
        "ruptures PELT l2, 3 log n": lambda x: ruptures.Pelt(model="l2").fit(x / x.std()).predict(pen=3.0 * np.log(x.size))[:-1],
        "ruptures Binseg normal": lambda x: (
            ruptures.Binseg(model="normal", min_size=5).fit(x).predict(pen=5.0 * np.log(x.size))[:-1]
        ),
    }


def judge_change_points(label: str, series: list[tuple[dict[str, list[int]], Floats]]) -> None:
    """Print mean F1 and covering of every finder; NaN is no sample."""
    for name, find in change_point_finders().items():
        scores, covers = [], []
        began = time.perf_counter()
        for judged, values in series:
            rows = np.flatnonzero(np.isfinite(values))
            found = [int(rows[index]) for index in find(values[rows])]
            scores.append(f1_score(judged, found))
            covers.append(covering(judged, found, values.size))
        spent = time.perf_counter() - began
        print(f"{label}, {name:30s} F1 {np.mean(scores):.3f}, covering {np.mean(covers):.3f}, {spent:.3f} s")


def bench_tcpd(folder: Path) -> None:
    """The five series of the Turing benchmark at hand."""
    expected = json.loads((folder / "changepoint/tcpd/expected.json").read_text())
    series = [
        (judged, np.loadtxt(folder / f"changepoint/tcpd/{name}.csv", delimiter=",", skiprows=1)[:, 2])
        for name, judged in expected["annotations"].items()
    ]
    judge_change_points(f"{len(series)} series", series)


AT_HAND = frozenset({"co2_canada", "quality_control_1", "quality_control_2", "quality_control_3", "rail_lines"})


def bench_tcpd_clone(clone: Path) -> None:
    """All other univariate series of a clone of the benchmark, by halves: every other one by name was looked at, the rest was not."""
    annotations = json.loads((clone / "annotations.json").read_text())
    series = []
    for path in sorted(clone.glob("datasets/*/*.json")):
        data = json.loads(path.read_text())
        if data["n_dim"] == 1 and data["name"] not in AT_HAND:
            series.append((annotations[data["name"]], np.array(data["series"][0]["raw"], dtype=np.float64)))
    judge_change_points(f"{len(series[0::2])} series settings were chosen on", series[0::2])
    judge_change_points(f"{len(series[1::2])} held-out series", series[1::2])


def bench_change_points(series: int = 300) -> None:
    """F1 on simulated series and change points invented in each change-free one, by setting."""
    simulated = [stepped_series(seed) for seed in range(series)]
    for floor in (0.15, 0.2, 0.25):
        for penalty in (1.0, 1.1, 1.2):
            chosen = ChangePointSettings(floor=floor, penalty=penalty)
            scores = [f1_score({"truth": cuts}, [p.index for p in detect_change_points(x, chosen)]) for x, cuts in simulated]
            split = max(_false_splits(rho, chosen) for rho in (0.0, 0.6, 0.9, 0.97))
            print(f"floor {floor:4.2f}, penalty {penalty:4.2f}: F1 {np.mean(scores):.3f}, false splits a series {split:.3f}")


def _false_splits(coefficient: float, chosen: ChangePointSettings, series: int = 300, n: int = 500) -> float:
    """Change points found in each of some AR(1) series without any."""
    found = 0
    for seed in range(series):
        values = lfilter([1.0], [1.0, -coefficient], np.random.default_rng(50_000 + seed).normal(size=n))
        found += len(detect_change_points(np.asarray(values), chosen))
    return found / series


def bench_real(folder: Path) -> None:
    for name in ("PUHI", "DVLT"):
        _, times, components = read_tenv3(folder / f"gnss/ngl_tenv3/{name}.tenv3")
        now = aware(times[-1]) + timedelta(days=1)
        for component, values in components.items():
            work = partial(METHODS["velocity"].run, Samples(times, values), [], VelocityParameters(), now)
            result = timed(f"velocity {name} {component}", work).run.result
            print(
                f"    {result['rate']:9.3f} +- {result['rate_sigma']:.3f} ({result['noise_model']}), "
                f"MIDAS {result['midas_rate']:9.3f} +- {result['midas_sigma']:.3f}, steps {len(result['steps'])}"
            )


def bench_commands() -> None:
    """The commands with their start, against the seconds promised."""
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder) / f"{name}.csv" for name in ("velocity", "detect")}
        samples = gnss_like(1, 2500)
        _write(files["velocity"], samples.time, samples.value)
        steps = np.arange(20_000)
        clean = np.sin(2 * np.pi * steps / 288.0) + 0.05 * np.random.default_rng(3).normal(size=steps.size)
        _write(files["detect"], np.datetime64("2024-01-01T00:00:00", "us") + steps * np.timedelta64(300, "s"), clean)
        program = [sys.executable, "-m", "service.cli"]
        root = Path(__file__).resolve().parents[1]
        for words, promised in (
            (["--help"], 0.3),
            (["detect", str(files["detect"])], 2.0),
            (["velocity", str(files["velocity"])], 3.0),
        ):
            run = partial(subprocess.run, [*program, *words], check=True, capture_output=True, cwd=root)
            timed(f"groundwatch {words[0]}, start included (promised {promised} s)", run)


def _write(path: Path, times: Times, values: Floats) -> None:
    rows = (f"{time},{value:.6f}" for time, value in zip(times.astype("datetime64[s]"), values, strict=True))
    path.write_text("time,value\n" + "\n".join(rows) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--change-points", action="store_true", help="only the change-point settings on simulations")
    parser.add_argument("--tcpd", type=Path, help="only the change points of a clone of the Turing benchmark, by halves")
    chosen = parser.parse_args()
    if chosen.tcpd:
        bench_tcpd_clone(chosen.tcpd)
        return
    if chosen.change_points:
        bench_change_points()
        return
    bench_midas()
    bench_velocity()
    bench_trend_tests()
    bench_detect()
    bench_commands()
    shared = Path(os.environ.get("GROUNDWATCH_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    folder = next((path for path in (shared / "data", shared) if (path / "PROVENANCE.md").exists()), None)
    if folder is not None:
        bench_tcpd(folder)
        bench_real(folder)


if __name__ == "__main__":
    main()

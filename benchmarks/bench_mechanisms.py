"""Well tests, heads, surfaces and seasons beside their peers on the same series: accuracy and time in one table.

Run ``python -m benchmarks mechanisms``; the peers of the extra `peers` (pastas) and PyKrige are used where they are installed, the shared
real data where present. Times are processor seconds, the best of three.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from analytics.heads import fit_heads
from analytics.kriging import krige
from analytics.network import common_steps
from analytics.sampling import Floats, Times
from analytics.skeletal_storage import storage_at_best_lag
from analytics.slugtest import SlugWell, fit_slug
from analytics.variogram import fit_by_likelihood, left_out
from analytics.well_lines import fit_recovery
from analytics.welltest import ObservedDrawdown, fit_pumping

ROW = "{:34s} {:>12s} {:>12s} {:>11s} {:>9s}"


def tell(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """The answer, and the best processor time of three runs."""
    best, answer = np.inf, None
    for _ in range(3):
        began = time.process_time()
        answer = work()
        best = min(best, time.process_time() - began)
    return answer, float(best)


def row(name: str, ours: float, published: float, seconds: float) -> None:
    """One line: our value, the published or peer's one, the relative difference, our time."""
    off = abs(ours / published - 1.0)
    tell(ROW.format(name, f"{ours:.6g}", f"{published:.6g}", f"{off:.3%}", f"{seconds:.3f} s"))


def shared() -> Path | None:
    base = Path(os.environ.get("GROUNDWATCH_SHARED") or Path(__file__).resolve().parents[2] / "shared")
    return next((folder for folder in (base / "data", base) if (folder / "PROVENANCE.md").exists()), None)


def bench_well_tests(folder: Path) -> None:
    published = json.loads((folder / "expected.json").read_text())

    def load(names: dict[float, str], per_day: float) -> list[ObservedDrawdown]:
        rows = {radius: np.loadtxt(folder / name) for radius, name in names.items()}
        return [ObservedDrawdown(values[:, 0] / per_day, -values[:, 1], radius) for radius, values in rows.items()]

    tell(ROW.format("well test", "ours", "published", "difference", "time"))
    wells = load({30.0: "piezometer_h30.txt", 90.0: "piezometer_h90.txt"}, 1440.0)
    theis, seconds = timed(lambda: fit_pumping(wells, 788.0))
    told = published["oude_korendijk"]["published"]["AQTESOLV"]
    row("Oude Korendijk k m/d", theis.transmissivity / 7.0, told["k"], seconds)
    row("Oude Korendijk Ss 1/m", theis.storativity / 7.0, told["Ss"], seconds)
    row("Oude Korendijk residual m", theis.rmse_m, told["rmse"], seconds)
    wells = load({float(r): f"dalem_p{r}.txt" for r in (30, 60, 90, 120)}, 1.0)
    leaky, seconds = timed(lambda: fit_pumping(wells, 761.0, leaky=True))
    told = published["dalem"]["published"]["Hantush"]
    row("Dalem k m/d", leaky.transmissivity / 37.0, told["k"], seconds)
    row("Dalem Ss 1/m", leaky.storativity / 37.0, told["Ss"], seconds)
    row("Dalem c d", leaky.resistance_d, told["c_d"], seconds)
    row("Dalem residual m", leaky.rmse_m, told["rmse"], seconds)
    (pumped,) = load({0.155: "recovery.txt"}, 1.0)
    found, seconds = timed(lambda: fit_recovery(pumped, 1848.0, 0.013889))
    row("Hardinxveld k m/d (TTim)", found.transmissivity / 27.0, 48.653, seconds)
    row("Hardinxveld k m/d (MLU)", found.transmissivity / 27.0, 51.53, seconds)
    rows = np.loadtxt(folder / "slug.txt", skiprows=1)
    well = SlugWell(0.125, 0.064, 1.52, 47.87, top_m=16.77)
    slug, seconds = timed(lambda: fit_slug(rows[:, 0] / 86400.0, rows[:, 1], well, 0.671, clock_d=0.1 / 86400.0))
    row("Pratt slug k m/d", slug.conductivity_m_d, 4.034, seconds)
    row("Pratt slug Ss 1/m", slug.specific_storage_per_m, 3.834e-4, seconds)
    rows = np.loadtxt(folder / "falling_head.txt")
    well = SlugWell(0.127, 0.127, 4.20624, 9.9274, top_m=0.1433, unconfined=True)
    slug, seconds = timed(lambda: fit_slug(rows[:, 0] / 86400.0, (10.0 - rows[:, 1]) * 0.3048, well, 0.4511))
    row("falling head k m/d, draining pack", slug.conductivity_m_d, 2.616, seconds)


def series(path: Path) -> tuple[Times, Floats]:
    rows = [line.split(",") for line in path.read_text().splitlines()[1:] if line.strip()]
    return np.array([day for day, _ in rows], "datetime64[us]"), np.array([float(value) for _, value in rows])


def bench_heads(folder: Path) -> None:
    head, rain, evaporation = (series(folder / f"{name}_nb1.csv") for name in ("head", "rain", "evap"))
    days = min(len(rain[0]), len(evaporation[0]))
    found, seconds = timed(lambda: fit_heads(head, rain[0][:days], rain[1][:days], evaporation[1][:days]))
    peer = json.loads((folder / "expected.json").read_text())["results"]["nb1_ar1_noise"]
    tell(ROW.format("heads (nb1)", "ours", "pastas 2.0", "difference", "time"))
    row("explained variance %", found.explained_variance, peer["evp"], seconds)
    row("residual m", found.rmse_m, peer["rmse"], seconds)
    row("gain d", found.values[0], peer["params"]["rch_A"][0], seconds)
    inside = [float((np.abs(found.residual) <= found.interval(level)).mean()) for level in (0.80, 0.95)]
    tell(f"  heads inside the 80 % and 95 % intervals: {inside[0]:.1%}, {inside[1]:.1%}")
    if importlib.util.find_spec("pastas") is None:
        tell("  pastas is not installed here: its stored result is compared with, its time is not (extra `peers`)")
        return
    peer_heads(head, (rain[0][:days], rain[1][:days]), (evaporation[0][:days], evaporation[1][:days]))


def peer_heads(head: tuple[Times, Floats], rain: tuple[Times, Floats], evaporation: tuple[Times, Floats]) -> None:
    import pandas as pd
    import pastas as ps

    ps.set_log_level("ERROR")
    warnings.simplefilter(
        "ignore", FutureWarning
    )  # both spellings of its interface, the one before 2.4 and the one after, are in use

    def solve() -> Any:
        model = ps.Model(pd.Series(head[1], pd.DatetimeIndex(head[0])))
        stresses = [pd.Series(item[1], pd.DatetimeIndex(item[0])) for item in (rain, evaporation)]
        model.add_stressmodel(ps.RechargeModel(*stresses, rfunc=ps.Gamma(), name="rch"))
        model.add_noisemodel(ps.ArNoiseModel())
        model.solve(report=False)
        return model

    model, seconds = timed(solve)
    tell(f"  peer: pastas {ps.__version__}: {model.stats.evp():.2f} %, {model.stats.rmse():.5f} m, {seconds:.3f} s")


def bench_surface() -> None:
    rng = np.random.default_rng(7)
    points, targets = rng.uniform(-5000.0, 5000.0, (300, 2)), rng.uniform(-4500.0, 4500.0, (5000, 2))

    def funnel(at: Floats) -> Floats:
        return np.asarray(30.0 * np.exp(-(at**2).sum(axis=1) / 2.0 / 2000.0**2))

    values = funnel(points) + rng.normal(0.0, 1.0, 300)
    truth = funnel(targets)
    variogram, fit_s = timed(lambda: fit_by_likelihood(points, values, np.ones(300)))
    ours, seconds = timed(lambda: krige(points, values, targets, variogram, np.ones(300)))
    error = ours.value - truth
    inside = float((np.abs(error) <= 1.96 * ours.sigma).mean())
    tell(f"kriging 300 marks, 5,000 cells: rmse {np.sqrt((error**2).mean()):.3f} mm/a, {inside:.1%} within 1.96 sigma")
    spread = float((left_out(points, values, variogram, np.ones(300)) ** 2).mean())
    tell(f"  variogram {fit_s:.3f} s, surface {seconds:.3f} s; mean square of what is left out in its sigmas {spread:.2f}")
    if importlib.util.find_spec("pykrige") is None:
        tell("  peer PyKrige is not installed here")
        return
    kriging = importlib.import_module("pykrige.ok").OrdinaryKriging

    def peer() -> Any:
        model = kriging(points[:, 0], points[:, 1], values, variogram_model="exponential", nlags=12)
        return model.execute("points", targets[:, 0], targets[:, 1], backend="loop", n_closest_points=24)

    (peer_value, peer_variance), seconds = timed(peer)
    error = np.asarray(peer_value) - truth
    inside = float((np.abs(error) <= 1.96 * np.sqrt(np.asarray(peer_variance))).mean())
    tell(
        f"  peer: PyKrige, exponential, 24 neighbours: rmse {np.sqrt((error**2).mean()):.3f} mm/a, {inside:.1%}, {seconds:.3f} s"
    )


def bench_mechanisms() -> None:
    rng = np.random.default_rng(1)
    n = 12 * 365
    t = np.arange(n)
    times = np.datetime64("2010-01-01", "us") + t * np.timedelta64(1, "D")
    head = 2.0 * np.sin(2.0 * np.pi * t / 365.25) - np.clip((t - 6 * 365) / 365.0, 0.0, 3.0) * 2.0
    low = np.minimum(np.minimum.accumulate(head), head[:730].min())
    column = -1.5 * (head - low) + 15.0 * (low[0] - low)
    measured = np.concatenate((np.full(30, column[0]), column))[:n] + rng.normal(0.0, 0.1, n)
    found, seconds = timed(lambda: storage_at_best_lag((times, head), (times, measured)))
    lag, storage = found
    tell(
        f"storage of 12 years daily: lag {lag:.0f} d (30), Ske {storage.ske:.3e} (1.5e-3), Skv {storage.skv:.3e} (1.5e-2), {seconds:.3f} s"
    )
    days = np.tile(np.arange(20) * 365.25, (1000, 1))
    values = -rng.uniform(0.0, 20.0, (1000, 1)) * days / 365.25 + rng.normal(0.0, 1.0, (1000, 20))
    values[:, 12:] += 7.0
    steps, seconds = timed(lambda: common_steps(values, days))
    tell(
        f"common steps of 1,000 marks, 20 campaigns: {[(s.campaign, round(s.size, 1)) for s in steps]} (12, 7.0), {seconds:.3f} s"
    )


def main() -> None:
    folder = shared()
    if folder is None:
        tell("the shared real data are absent (GROUNDWATCH_SHARED): well tests and heads are left out")
    else:
        bench_well_tests(folder / "pumptest")
        bench_heads(folder / "groundwater/pastas")
    bench_surface()
    bench_mechanisms()


if __name__ == "__main__":
    main()

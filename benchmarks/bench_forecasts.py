"""Forecasts of compaction 36 months ahead and of long subsidence 25 years ahead, beside their peers on the same outcomes.

Run ``python -m benchmarks forecasts``. Compaction: the extensometers of the shared data (monthly means, only what was known at the origin).
Long subsidence: no data at hand, so the generator `subsidence_under_production`, which is none of the families that the scenario mixes.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from analytics.backtest import BackTest, back_test, bootstrap_difference, try_models
from analytics.forecast_models import combined, logistic, persistence, trend
from analytics.level_forecast import blocks
from analytics.long_scenario import long_scenario
from analytics.sampling import Floats, decimal_years
from benchmarks.bench_mechanisms import shared
from benchmarks.side_by_side import tell

FEET_TO_CM = 30.48
WINDOWS_MONTHS = (108, 72, 36)
AHEAD = np.arange(1, 37) / 12.0
Forecaster = Callable[[Floats, Floats], Floats]


def extensometers(folder: Path) -> dict[str, tuple[Floats, Floats]]:
    """Monthly means of every extensometer at hand, years and centimetres."""
    found = {}
    for path in sorted(folder.glob("TABLE*_*.txt")):
        if "Sites" in path.name:
            continue
        rows = [line.split("\t") for line in path.read_text().splitlines()[1:] if line.strip()]
        times = np.array([day_of(row[0]) for row in rows])
        values = FEET_TO_CM * np.array([float(row[1]) for row in rows])
        found[path.stem.partition("_")[2]] = blocks(decimal_years(times), values, 1.0 / 12.0)
    return found


def day_of(text: str) -> np.datetime64:
    """Noon of a day written as month/day/year."""
    month, day, year = (int(part) for part in text.split("/"))
    return np.datetime64(f"{year:04d}-{month:02d}-{day:02d}T12", "us")


def bench_rolling(series: dict[str, tuple[Floats, Floats]]) -> None:
    """Every origin from a quarter of the record on: the error at month 36, the choice and the intervals as the product makes them."""
    began = time.process_time()
    tested = [
        back_test(try_models(years, values, np.array([0.25, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0]))) for years, values in series.values()
    ]
    seconds = (time.process_time() - began) / max(len(tested), 1)
    tell(f"compaction of {len(series)} extensometers, error at month 36 [cm]; {seconds:.2f} s a series for its back-test")
    for since in (0.0, 1995.0, 2006.0):
        _row(tested, since)
    inside = [np.concatenate([part.inside[k].ravel() for part in tested]) for k in (0, 1)]
    shares = [float(np.nanmean(part)) for part in inside]
    tell(f"  inside the 80 % and 95 % intervals, all origins and horizons: {shares[0]:.1%}, {shares[1]:.1%}")


def _row(tested: list[BackTest], since: float) -> None:
    own, last, groups = [], [], []
    for number, part in enumerate(tested):
        rows = (part.trials.origins >= since) & np.isfinite(part.errors[:, -1])
        own.append(part.errors[rows, -1])
        last.append(part.reference[rows, -1])
        groups.append(np.full(int(rows.sum()), number))
    e, p = np.concatenate(own), np.concatenate(last)
    difference, low, high = bootstrap_difference(e, p, np.concatenate(groups), np.random.default_rng(1))
    tell(
        f"  origins from {since:.0f} on ({e.size}): ours {np.sqrt(np.mean(e**2)):.3f}, persistence {np.sqrt(np.mean(p**2)):.3f}, "
        f"difference {difference:.3f} ({low:.3f} to {high:.3f})"
    )


def peers() -> dict[str, Forecaster]:
    """Ours and the peers of statsmodels, each from the past of a monthly series to 36 months."""
    from statsmodels.tsa.forecasting.theta import ThetaModel
    from statsmodels.tsa.statespace.sarimax import SARIMAX
    from statsmodels.tsa.statespace.structural import UnobservedComponents

    def monthly(years: Floats, values: Floats) -> Floats:
        grid = years[-1] - np.arange(int((years[-1] - years[0]) * 12), -1, -1) / 12.0
        return np.asarray(np.interp(grid, years, values))

    def model_of(own: Callable[[Floats, Floats, Floats], Floats | None]) -> Forecaster:
        def said(years: Floats, values: Floats) -> Floats:
            found = own(years, values, AHEAD)
            assert found is not None
            return found

        return said

    return {
        "ours (combined)": model_of(combined),
        "persistence": model_of(persistence),
        "trend of ten years": model_of(trend),
        "statsmodels Theta": lambda t, v: np.asarray(ThetaModel(monthly(t, v), period=12).fit().forecast(36)),
        "statsmodels SARIMA(1,1,1)(1,0,1)12": lambda t, v: np.asarray(
            SARIMAX(monthly(t, v)[-240:], order=(1, 1, 1), seasonal_order=(1, 0, 1, 12)).fit(disp=0, maxiter=40).forecast(36)
        ),
        "statsmodels UCM (local trend, season)": lambda t, v: np.asarray(
            UnobservedComponents(monthly(t, v)[-240:], "local linear trend", freq_seasonal=[{"period": 12, "harmonics": 2}])
            .fit(disp=0, maxiter=40)
            .forecast(36)
        ),
    }


def bench_windows(series: dict[str, tuple[Floats, Floats]]) -> None:
    """The last three windows of 36 months of each extensometer, the error over the months of the window."""
    tell(f"the last three windows of 36 months of each ({3 * len(series)}), error over the months [cm]")
    for name, forecaster in peers().items():
        errors = []
        began = time.process_time()
        for years, values in series.values():
            for months in WINDOWS_MONTHS:
                row = int(np.searchsorted(years, years[-1] - months / 12.0 + 0.01)) - 1
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    said = forecaster(years[: row + 1], values[: row + 1])
                errors.append(said - np.interp(years[row] + AHEAD, years, values))
        seconds = (time.process_time() - began) / len(errors)
        squares = np.mean(np.square(errors), axis=1)
        tell(
            f"  {name:40s} {np.sqrt(squares.mean()):6.3f}, mean of the windows {np.sqrt(squares).mean():6.3f}, {seconds:7.3f} s each"
        )


def subsidence_under_production(rng: np.random.Generator, years: int) -> tuple[Floats, Floats]:
    """Annual levels in metres of ground over a field whose production rises and then stays; about 15 m after 70 years.

    Pressure follows production with a lag of 3 to 9 years, a slow layer the pressure with 4 to 14; a random walk of 20 mm a root year and
    noise of 20 mm are added.
    """
    fine = np.arange(0.0, 70.0, 0.1)
    produced = np.clip((fine - rng.uniform(3.0, 8.0)) / rng.uniform(5.0, 20.0), 0.0, 1.0)
    reservoir, layer = rng.uniform(3.0, 9.0), rng.uniform(4.0, 14.0)
    pressure, level = np.zeros(fine.size), np.zeros(fine.size)
    for i in range(1, fine.size):
        pressure[i] = pressure[i - 1] + 0.1 * (produced[i - 1] - pressure[i - 1]) / reservoir
        level[i] = level[i - 1] + 0.1 * (pressure[i - 1] - level[i - 1]) / layer
    t = np.arange(float(years))
    walk = np.cumsum(rng.normal(0.0, 0.02, years)) + rng.normal(0.0, 0.02, years)
    return t, np.interp(t, fine, -15.0 * level / level[-1]) + walk


def bench_long(first_seed: int = 3000, seeds: int = 200) -> None:
    errors: dict[str, list[float]] = {"ours (mixture)": [], "one logistic curve": [], "line of ten years": []}
    inside, widths = [], []
    began = time.process_time()
    for seed in range(first_seed, first_seed + seeds):
        years, seen = subsidence_under_production(np.random.default_rng(seed), 66)
        t, v, far = years[:41], seen[:41], np.array([25.0])
        said = long_scenario(t, v, far)
        assert said is not None
        errors["ours (mixture)"].append(float(said.value[0] - seen[-1]))
        inside.append(said.lower[0] <= seen[-1] <= said.upper[0])
        widths.append(said.upper[0] - said.lower[0])
        curve = logistic(t, v, far)
        errors["one logistic curve"].append(np.nan if curve is None else float(curve[0] - seen[-1]))
        errors["line of ten years"].append(float(v[-1] + 25.0 * np.polyfit(t[-11:], v[-11:], 1)[0] - seen[-1]))
    seconds = (time.process_time() - began) / seeds
    tell(f"15 m of subsidence under production, 41 years known, 25 ahead, {seeds} seeds from {first_seed}; {seconds:.3f} s each")
    for name, found in errors.items():
        known = np.array(found)[np.isfinite(found)]
        tell(f"  {name:20s} error {np.sqrt(np.mean(known**2)):.2f} m, mean {known.mean():+.2f} m ({known.size} seeds)")
    tell(f"  inside the 95 % interval {np.mean(inside):.1%}, median width {np.median(widths):.1f} m")


def main() -> None:
    folder = shared()
    if folder is None:
        tell("the shared real data are absent (GROUNDWATCH_SHARED): compaction is left out")
    else:
        series = extensometers(folder / "extensometer/usgs_houston")
        bench_rolling(series)
        bench_windows(series)
    bench_long()


if __name__ == "__main__":
    main()

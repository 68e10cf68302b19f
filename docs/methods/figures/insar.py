"""One point's series with its fit, and what the reference frame does to a delivery before it is compared with marks."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analytics.insar import PointSettings, fit_points
from analytics.insar_geometry import vertical_from_los
from analytics.insar_marks import compare_with_marks


def draw(rng: np.random.Generator) -> Figure:
    """Left: a point that subsides. Right: 40 marks before and after the plane is off."""
    figure = Figure(figsize=(7, 3))
    left, right = figure.subplots(1, 2)
    _series(left, rng)
    _marks(right, rng)
    return figure


def _series(axis: Axes, rng: np.random.Generator) -> None:
    years = 2019.0 + np.arange(130) * 12 / 365.25
    noise = rng.normal(0.0, 1.6, years.size)
    for epoch in range(1, years.size):
        noise[epoch] += 0.5 * noise[epoch - 1]
    values = -8.0 * (years - 2019.0) + 2.5 * np.cos(2 * np.pi * (years - 0.1)) + noise
    values[60:68] = np.nan
    found = {sigma: fit_points(years, values[:, None], PointSettings(sigma)) for sigma in ("ols", "ar1")}
    fit = found["ar1"]
    rate, amplitude, phase = (float(fit[name][0]) for name in ("rate", "annual_amplitude", "annual_phase"))
    model = rate * years + amplitude * np.cos(2 * np.pi * (years - phase / 365.25))
    model += np.nanmean(values - model)
    axis.plot(years, values, ".", markersize=3, color="#666666", label="line of sight")
    axis.plot(years, model, color="#0b5fa5", label="fit")
    sigmas = [float(found[sigma]["rate_sigma"][0]) for sigma in ("ols", "ar1")]
    down = float(vertical_from_los(rate, 39.0).subsidence)
    axis.set_title(
        f"LOS {rate:.1f} mm/a, σ white {sigmas[0]:.2f}, AR(1) {sigmas[1]:.2f}\nsubsidence {down:.1f} mm/a at 39°", fontsize=8
    )
    axis.set_xlabel("year")
    axis.set_ylabel("toward the satellite [mm]")
    axis.legend()


def _marks(axis: Axes, rng: np.random.Generator) -> None:
    x, y, truth = rng.uniform(120.6, 120.9, 40), rng.uniform(30.6, 30.85, 40), rng.uniform(-15.0, 1.0, 40)
    frame = 3.0 + 25.0 * (x - 120.75) - 15.0 * (y - 30.72)
    points = truth + frame + rng.normal(0.0, 0.8, 40)
    answer = compare_with_marks((x, y, points), (x, y, truth))
    axis.plot(truth, points, "x", markersize=4, color="#c2410c", label="as delivered")
    axis.plot(truth, answer.insar, "o", markersize=3, color="#0b5fa5", label="plane taken off")
    axis.axline((0.0, 0.0), slope=1.0, color="#999999", linewidth=0.8)
    axis.set_title(f"r {answer.r:.3f}, RMSE {answer.rmse:.2f}, largest {answer.largest:.2f} mm/a", fontsize=8)
    axis.set_xlabel("mark, up [mm/a]")
    axis.set_ylabel("InSAR, up [mm/a]")
    axis.legend()

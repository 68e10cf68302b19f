"""The rate of the last twelve months by hinges of the whole record."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from analytics.noise import fractional_filter
from analytics.sampling import Floats
from analytics.trajectory import TrajectoryModel, fit_trajectory


def _flicker(rng: np.random.Generator, n: int, white: float, flicker: float) -> Floats:
    slow = np.convolve(fractional_filter(0.5, n), rng.normal(size=n))[:n]
    return np.asarray(white * rng.normal(size=n) + flicker * 365.25**-0.25 * slow)


def draw(rng: np.random.Generator) -> Figure:
    """A mark that began to move faster two years ago."""
    years = 2016.0 + np.arange(2192) / 365.25
    end = float(years[-1])
    values = -3.0 * (years - 2016.0) - 9.0 * np.maximum(years - end + 2.0, 0.0) + 4.0 * np.sin(2.0 * np.pi * years)
    values = values + _flicker(rng, years.size, 1.5, 3.0)
    model = TrajectoryModel(float(years.mean()), hinges=(end - 3.0, end - 1.0))
    fit = fit_trajectory(years, values, model, ("flicker_white",))
    weights = np.array([float(name == "rate" or name.startswith("hinge")) for name in model.names])
    rate, sigma = float(weights @ fit.parameters), float(np.sqrt(weights @ fit.covariance @ weights))
    figure = Figure(figsize=(7, 3))
    axis = figure.subplots()
    axis.plot(years, values, ".", markersize=2, color="#888888")
    axis.plot(years, fit.fitted, color="#0b5fa5", label=f"last 12 months: {rate:.1f} ± {sigma:.1f} mm/a (truth -12)")
    for hinge in model.hinges:
        axis.axvline(hinge, color="#c2410c", linestyle="--", linewidth=1)
    axis.axvspan(end - 1.0, end, color="#0b5fa5", alpha=0.1, linewidth=0)
    axis.set_xlabel("year")
    axis.set_ylabel("up [mm]")
    axis.legend()
    return figure

"""The statistic of a step at every epoch, in noise that wanders."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from analytics.gls import lay_on_grid
from analytics.noise import fractional_filter
from analytics.noise_search import estimate_noise
from analytics.sampling import Floats
from analytics.steps import STEP_LIMIT, search_steps, step_statistics
from analytics.trajectory import choose_model


def _flicker(rng: np.random.Generator, n: int, white: float, flicker: float) -> Floats:
    slow = np.convolve(fractional_filter(0.5, n), rng.normal(size=n))[:n]
    return np.asarray(white * rng.normal(size=n) + flicker * 365.25**-0.25 * slow)


def draw(rng: np.random.Generator) -> Figure:
    """Two unlogged steps; the statistic before any is accepted, and what is found."""
    years = 2014.0 + np.arange(2000) / 365.25
    values = _flicker(rng, 2000, 1.5, 4.0) + 12.0 * (years >= 2016.0) - 8.0 * (years >= 2018.2)
    model = choose_model(years)
    grid = lay_on_grid(years, model.design(years), values)
    statistic, _, _ = step_statistics(grid, estimate_noise(grid, ("flicker_white",))[0])
    found = search_steps(years, values, model).steps
    figure = Figure(figsize=(7, 4))
    above, below = figure.subplots(2, 1, sharex=True)
    above.plot(years, values, ".", markersize=2, color="#888888")
    for step in found:
        above.axvspan(step.earliest, step.latest, color="#c2410c", alpha=0.3)
        above.axvline(step.year, color="#c2410c", linestyle="--", label=f"{step.size:.1f} ± {step.sigma:.1f} mm")
    above.set_ylabel("up [mm]")
    above.legend()
    below.plot(years[: statistic.size], statistic[: years.size], color="#0b5fa5", linewidth=0.8)
    below.axhline(STEP_LIMIT, color="black", linewidth=0.8, linestyle=":")
    below.set_ylabel("statistic T")
    below.set_xlabel("year")
    return figure

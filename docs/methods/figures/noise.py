"""What the noise model makes of the sigma of a rate."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from analytics.noise import fractional_filter
from analytics.sampling import Floats
from analytics.trajectory import choose_model, fit_trajectory


def _flicker(rng: np.random.Generator, n: int, white: float, flicker: float) -> Floats:
    slow = np.convolve(fractional_filter(0.5, n), rng.normal(size=n))[:n]
    return np.asarray(white * rng.normal(size=n) + flicker * 365.25**-0.25 * slow)


def draw(rng: np.random.Generator) -> Figure:
    """Errors of the rate of simulated series beside the sigmas under white noise and under the noise that was found."""
    years = np.arange(900) / 365.25
    found = []
    for _ in range(40):
        values = _flicker(rng, 900, 2.0, 8.0)
        fits = [fit_trajectory(years, values, choose_model(years), names) for names in (("white",), ("white", "flicker_white"))]
        found.append([fits[1].value_of("rate"), fits[0].sigma_of("rate"), fits[1].sigma_of("rate")])
    error, white, coloured = np.array(found).T
    order = np.argsort(error)
    figure = Figure(figsize=(7, 3))
    axis = figure.subplots()
    axis.errorbar(
        np.arange(40), error[order], 1.96 * coloured[order], fmt="none", color="#0b5fa5", label="95 %, noise found by REML"
    )
    axis.errorbar(
        np.arange(40), error[order], 1.96 * white[order], fmt="none", color="#c2410c", linewidth=3, label="95 %, white noise"
    )
    axis.plot(np.arange(40), error[order], "k.", markersize=4)
    axis.axhline(0.0, color="black", linewidth=0.8)
    axis.set_xlabel("simulated series, flicker plus white, 2.5 a")
    axis.set_ylabel("error of the rate [mm/a]")
    axis.legend()
    return figure

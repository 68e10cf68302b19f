"""A trajectory with its steps, seasons and band, beside the truth."""

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
    """Six years of a GNSS mark with one logged step; residuals below."""
    years = 2018.0 + np.arange(2192) / 365.25
    values = (
        -6.0 * (years - 2018.0) + 3.0 * np.sin(2.0 * np.pi * years) + 12.0 * (years >= 2021.3) + _flicker(rng, 2192, 2.0, 6.0)
    )
    keep = (rng.random(2192) > 0.05) & ~((years > 2019.4) & (years < 2019.7))
    years, values = years[keep], values[keep]
    fit = fit_trajectory(years, values, choose_model(years, [2021.3]))
    curve, sigma = fit.evaluate(years)
    figure = Figure(figsize=(7, 4))
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    above.plot(years, values, ".", markersize=2, color="#888888")
    above.plot(years, curve, color="#0b5fa5", label=f"{fit.value_of('rate'):.2f} ± {fit.sigma_of('rate'):.2f} mm/a (truth -6)")
    above.fill_between(years, curve - 1.96 * sigma, curve + 1.96 * sigma, color="#0b5fa5", alpha=0.25, linewidth=0)
    above.axvline(2021.3, color="#c2410c", linestyle="--", label=f"step {fit.value_of('step_0'):.1f} mm (truth 12)")
    above.set_ylabel("up [mm]")
    above.legend()
    below.plot(years, fit.residual, ".", markersize=2, color="#888888")
    below.set_ylabel("residual [mm]")
    below.set_xlabel("year")
    return figure

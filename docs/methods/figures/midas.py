"""Slopes over one year and their trimmed median."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from analytics.midas import midas, select_pairs


def draw(rng: np.random.Generator) -> Figure:
    """A series with a step that nobody told: least squares follows it, the median hardly."""
    years = 2015.0 + np.arange(1826) / 365.25
    values = (
        -4.0 * (years - 2015.0) + 12.0 * (years > 2017.2) + 3.0 * np.sin(2.0 * np.pi * years) + rng.normal(0.0, 2.0, years.size)
    )
    result = midas(years, values)
    assert result is not None
    first, second = select_pairs(years)
    slopes = (values[second] - values[first]) / (years[second] - years[first])
    plain = float(np.polyfit(years, values, 1)[0])
    figure = Figure(figsize=(7, 3))
    left, right = figure.subplots(1, 2, width_ratios=(2, 1))
    left.plot(years, values, ".", markersize=2, color="#888888")
    left.plot(
        years, result.intercept + result.rate * (years - years[0]), color="#0b5fa5", label=f"MIDAS {result.rate:.2f} (truth -4)"
    )
    left.plot(
        years,
        np.polyval(np.polyfit(years - 2015.0, values, 1), years - 2015.0),
        color="#c2410c",
        label=f"least squares {plain:.2f}",
    )
    left.set_ylabel("up [mm]")
    left.set_xlabel("year")
    left.legend()
    right.hist(slopes, 60, color="#888888")
    right.axvline(result.rate, color="#0b5fa5")
    right.set_xlabel("slope of a pair [mm/a]")
    return figure

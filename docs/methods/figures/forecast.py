"""Forecast of a mark that settles, with its tested intervals and what came after."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
from matplotlib.figure import Figure

from analytics import METHODS, Samples
from analytics.sampling import decimal_years


def draw(rng: np.random.Generator) -> Figure:
    """Ten years known, three more that the forecast did not see."""
    time = np.datetime64("2010-01-01", "us") + np.arange(0, 4748, 5) * np.timedelta64(1, "D")
    years = decimal_years(time)
    wander = np.cumsum(rng.normal(0.0, 0.25, time.size))
    level = -120.0 * (1.0 - np.exp(-(years - years[0]) / 5.0)) + 2.0 * np.sin(2.0 * np.pi * years) + wander
    known = years <= years[0] + 10.0
    method = METHODS["forecast"]
    end = datetime(2020, 1, 2, tzinfo=UTC)
    result = method.run(Samples(time[known], level[known]), [], method.parameters(), end).run.result
    figure = Figure(figsize=(7, 3))
    axis = figure.subplots()
    axis.plot(years[known], level[known], ".", markersize=2, color="#666666", label="known")
    axis.plot(years[~known], level[~known], ".", markersize=2, color="#c2410c", label="came after")
    axis.fill_between(
        result["years"], result["lower_95"], result["upper_95"], color="#0b5fa5", alpha=0.15, linewidth=0, label="95 %"
    )
    axis.fill_between(
        result["years"], result["lower_80"], result["upper_80"], color="#0b5fa5", alpha=0.25, linewidth=0, label="80 %"
    )
    axis.plot(result["years"], result["value"], color="#0b5fa5", label=result["model"].replace("_", " "))
    axis.set_xlabel("year")
    axis.set_ylabel("displacement up [mm]")
    axis.legend(ncols=2)
    return figure

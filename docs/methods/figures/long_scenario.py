"""A scenario of long subsidence under production, and what came."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from analytics.long_scenario import long_scenario


def draw(rng: np.random.Generator) -> Figure:
    """Forty years known, twenty-five more that the scenario did not see."""
    t = np.arange(1950.0, 2016.0)
    pressure, level, levels = 0.0, 0.0, []
    for year in t:
        pressure += (min(max(year - 1955.0, 0.0) / 12.0, 1.0) - pressure) / 6.0
        level += (-16.0 * pressure - level) / 9.0
        levels.append(level)
    seen = np.array(levels) + np.cumsum(rng.normal(0.0, 0.02, t.size))
    known = t <= 1990.0
    said = long_scenario(t[known], seen[known], np.linspace(1.0, 25.0, 25))
    assert said is not None
    figure = Figure(figsize=(7, 3))
    axis = figure.subplots()
    axis.plot(t[known], seen[known], ".", markersize=3, color="#666666", label="known")
    axis.plot(t[~known], seen[~known], ".", markersize=3, color="#c2410c", label="came after")
    axis.fill_between(said.years, said.lower, said.upper, color="#0b5fa5", alpha=0.2, linewidth=0, label="95 %")
    axis.plot(said.years, said.value, color="#0b5fa5", label="scenario")
    axis.set_xlabel("year")
    axis.set_ylabel("displacement up [m]")
    axis.legend(ncols=2)
    return figure

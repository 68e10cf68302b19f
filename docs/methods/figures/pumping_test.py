"""A Theis fit to two observation wells."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from analytics.welltest import ObservedDrawdown, drawdown, fit_pumping


def draw(rng: np.random.Generator) -> Figure:
    """Drawdown at 30 and 90 m with errors of a centimetre."""
    figure = Figure(figsize=(7, 3))
    axis = figure.subplots()
    times = np.geomspace(1e-4, 0.6, 34)
    seen = [
        ObservedDrawdown(times, drawdown(times, radius, 788.0, 462.6, 1.78e-4) + rng.normal(0.0, 0.01, 34), radius)
        for radius in (30.0, 90.0)
    ]
    found = fit_pumping(seen, 788.0)
    for item, colour in zip(seen, ("#0b5fa5", "#c2410c"), strict=True):
        axis.plot(item.time_d, item.drawdown_m, ".", color=colour, label=f"{item.radius_m:.0f} m")
        if found is not None:
            axis.plot(
                times, drawdown(times, item.radius_m, 788.0, found.transmissivity, found.storativity), color=colour, linewidth=1
            )
    if found is not None:
        axis.set_title(
            f"T = {found.transmissivity:.0f} ± {found.transmissivity_sigma:.0f} m2/d, S = {found.storativity:.2e}", fontsize=9
        )
    axis.set(xscale="log", xlabel="days", ylabel="drawdown, m")
    axis.legend()
    return figure

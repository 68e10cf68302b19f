"""A recovery test with its early samples left out."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from analytics.well_lines import late_straight_line, recovery_line


def draw(rng: np.random.Generator) -> Figure:
    """Five metres a log cycle at 1,000 m3/d, and a well that fills in the first minutes."""
    since = np.geomspace(1e-3, 3.0, 60)
    residual = 5.0 * np.log10((3.0 + since) / since) + 4.0 * np.exp(-since / 0.004) + rng.normal(0.0, 0.03, 60)
    found = recovery_line(since, residual, 3.0, 1000.0)
    ratio = np.log10((3.0 + since) / since)
    line = late_straight_line(ratio, residual, np.ones(60, dtype=bool))
    figure = Figure(figsize=(7, 3))
    axis = figure.subplots()
    if found is not None and line is not None:
        axis.plot(10.0 ** ratio[~line.used], residual[~line.used], "x", color="#999999", label="early, left out")
        axis.plot(10.0 ** ratio[line.used], residual[line.used], ".", color="#0b5fa5", label="used")
        label = f"T = {found.transmissivity:.1f} ± {found.transmissivity_sigma:.1f} m2/d"
        axis.plot(10.0**ratio, line.intercept_m + line.per_log_cycle_m * ratio, color="#c2410c", linewidth=1, label=label)
    axis.set(xscale="log", xlabel="t / t'", ylabel="residual drawdown, m")
    axis.legend()
    return figure

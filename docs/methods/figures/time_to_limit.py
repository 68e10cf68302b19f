"""When a forecast passes a limit, with the interval of that time."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from analytics import METHODS, Samples
from analytics.forecast import fit_curve, time_to_limit
from analytics.method import aware
from analytics.sampling import decimal_years


def draw(rng: np.random.Generator) -> Figure:
    """A mark that sinks by 9 mm/a towards a limit of -75 mm."""
    time = np.datetime64("2016-01-01", "us") + np.arange(2557) * np.timedelta64(1, "D")
    years = decimal_years(time)
    values = -9.0 * (years - years[0]) + np.cumsum(rng.normal(0.0, 0.15, years.size)) + rng.normal(0.0, 1.5, years.size)
    method = METHODS["velocity"]
    result = method.run(Samples(time, values), [], method.parameters(), aware(time[-1])).run.result
    ahead = np.linspace(years[-1], years[-1] + result["forecast"]["horizon_a"], 200)
    curve = fit_curve(result, ahead, 0.8)
    answer = time_to_limit(result, -75.0, float(np.median(values[-14:])), rising=False)
    figure = Figure(figsize=(7, 3))
    axis = figure.subplots()
    axis.plot(years, values, ".", markersize=2, color="#888888")
    axis.plot(ahead, curve.value, color="#0b5fa5", label="forecast with its 80 % band")
    axis.fill_between(ahead, curve.lower, curve.upper, color="#0b5fa5", alpha=0.25, linewidth=0)
    axis.axhline(-75.0, color="#c2410c", linewidth=1, label=f"limit: {answer.status}")
    if answer.year is not None and answer.earliest is not None:
        latest = answer.latest or float(ahead[-1])
        axis.errorbar(
            answer.year,
            -75.0,
            xerr=[[answer.year - answer.earliest], [latest - answer.year]],
            fmt="o",
            color="#c2410c",
            capsize=4,
        )
    axis.set_xlabel("year")
    axis.set_ylabel("up [mm]")
    axis.legend()
    return figure

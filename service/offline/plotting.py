"""Draws what was found: samples, fit with its band, steps, residuals, anomalies. This file finishes with `plot_detection`.

Matplotlib is imported here alone; it comes with the extra `plot`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from analytics import fit_curve
from analytics.sampling import decimal_years
from domain.errors import ConfigurationError
from service.offline.reading import FileSeries

SUFFIXES = (".png", ".svg", ".pdf")


def _figure(rows: int, path: Path) -> tuple[Any, Any]:
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigurationError(
            f"{path.suffix or 'no suffix'} cannot be drawn.", where=str(path), remedy=f"use {', '.join(SUFFIXES)}"
        )
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise ConfigurationError(
            "matplotlib is not installed.", where="--plot", remedy="pip install 'groundwatch[plot]'"
        ) from error
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    return plt.subplots(rows, 1, figsize=(10, 2.8 * rows), sharex=True, squeeze=False, layout="constrained")


def plot_velocity(path: Path, found: Sequence[tuple[FileSeries, Mapping[str, Any]]]) -> None:
    """Draw each series with its fit and 95 % band, and its residuals below."""
    figure, axes = _figure(2 * len(found), path)
    for number, (series, result) in enumerate(found):
        above, below = axes[2 * number, 0], axes[2 * number + 1, 0]
        years = decimal_years(series.time)
        above.plot(years, series.value, ".", markersize=2, color="#777777", label="observations")
        if result.get("model") is not None:
            curve = fit_curve(result, years)
            above.plot(
                years, curve.value, color="#0b5fa5", label=f"{result['rate']:.2f} ± {result['rate_sigma']:.2f} {series.unit}/a"
            )
            above.fill_between(years, curve.lower, curve.upper, color="#0b5fa5", alpha=0.2, linewidth=0)
            below.plot(years, series.value - curve.value, ".", markersize=2, color="#777777")
        for step in result.get("steps", ()):
            for axis in (above, below):
                axis.axvline(_year(step["time"]), color="#c2410c", linewidth=1, linestyle="--")
        above.set_ylabel(f"{series.station} {series.component} [{series.unit}]")
        below.set_ylabel(f"residual [{series.unit}]")
        above.legend(loc="best", fontsize=8)
    axes[-1, 0].set_xlabel("year")
    figure.savefig(path)


def _year(time: str) -> float:
    moment = np.datetime64(datetime.fromisoformat(time).replace(tzinfo=None), "us")
    return float(decimal_years(np.array([moment]))[0])


def plot_detection(path: Path, found: Sequence[tuple[FileSeries, Mapping[str, Any]]]) -> None:
    """Draw each series with its anomalies and change points."""
    figure, axes = _figure(len(found), path)
    for axis, (series, answer) in zip(axes[:, 0], found, strict=True):
        abscissa = series.time if series.ordinate is None else series.ordinate
        axis.plot(abscissa, series.value, linewidth=0.8, color="#777777")
        for anomaly in answer["anomalies"]:
            axis.axvspan(abscissa[anomaly["start_index"]], abscissa[anomaly["end_index"]], color="#c2410c", alpha=0.25)
            axis.plot(abscissa[anomaly["start_index"]], series.value[anomaly["start_index"]], "v", color="#c2410c", markersize=5)
        for point in answer["change_points"]:
            axis.axvline(abscissa[point["index"]], color="#0b5fa5", linewidth=1, linestyle="--")
        axis.set_ylabel(series.station)
    figure.savefig(path)

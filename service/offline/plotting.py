"""Draws what was found: samples, fit with its band, steps, residuals, anomalies. This file finishes with `plot_detection`.

Matplotlib is imported here alone; it comes with the extra `plot`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from analytics import fit_curve
from analytics.sampling import decimal_years
from domain.errors import ConfigurationError
from service.offline.reading import FileSeries

SUFFIXES = (".png", ".svg", ".pdf")
CHINESE_FONTS = (
    "Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "Microsoft YaHei", "SimHei",
    "PingFang SC", "Noto Serif CJK SC",
)  # fmt: skip
GREY, BLUE, ORANGE, GREEN = "#777777", "#0b5fa5", "#c2410c", "#15803d"


def _figure(rows: int, path: Path, *, sharex: bool) -> tuple[Any, Any]:
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
    from matplotlib.figure import Figure

    mpl.rcParams["font.family"] = ["DejaVu Sans", *_chinese_fonts()]
    figure = Figure(figsize=(10, 2.8 * rows), layout="constrained")
    return figure, figure.subplots(rows, 1, sharex=sharex, squeeze=False)


def _chinese_fonts() -> list[str]:
    """Installed fonts that have the characters of Chinese station names; asked after the default font, glyph by glyph."""
    from matplotlib import font_manager

    installed = {font.name for font in font_manager.fontManager.ttflist}
    return [name for name in CHINESE_FONTS if name in installed]


def plot_velocity(path: Path, found: Sequence[tuple[FileSeries, Mapping[str, Any]]]) -> None:
    """Draw each series with its fit and 95 % band, its steps and changes of rate, and its residuals below."""
    figure, axes = _figure(2 * len(found), path, sharex=len({series.file for series, _ in found}) == 1)
    for number, (series, result) in enumerate(found):
        _draw_fit(axes[2 * number, 0], axes[2 * number + 1, 0], series, result)
    axes[-1, 0].set_xlabel("year")
    figure.savefig(path)


def _draw_fit(above: Any, below: Any, series: FileSeries, result: Mapping[str, Any]) -> None:
    years = decimal_years(series.time)
    above.plot(years, series.value, ".", markersize=2, color=GREY, label="observations")
    if result.get("model") is not None:
        curve = fit_curve(result, years)
        sigma = f" ± {result['rate_sigma']:.2f}" if result.get("rate_sigma") is not None else ""
        noise = f" ({result['noise_model'].replace('_', ' ')})" if result.get("noise_model") else ""
        above.plot(years, curve.value, color=BLUE, label=f"fit: {result['rate']:.2f}{sigma} {series.unit}/a{noise}")
        above.fill_between(years, curve.lower, curve.upper, color=BLUE, alpha=0.25, linewidth=0, label="95 % band of the fit")
        below.plot(years, series.value - curve.value, ".", markersize=2, color=GREY)
        below.axhline(0.0, color=BLUE, linewidth=0.8)
    _mark(above, below, [step["time"] for step in result.get("steps", ())], ORANGE, "step")
    change = result.get("rate_change")
    if change:
        text = f"rate changes by {change['change']:.2f} ± {change['sigma']:.2f}"
        _mark(above, below, [change["time"]], GREEN, text)
        for axis in (above, below):
            axis.axvspan(_year(change["earliest"]), _year(change["latest"]), color=GREEN, alpha=0.12, linewidth=0)
    above.set_title(f"{series.station} {series.component}", loc="left", fontsize=10)
    above.set_ylabel(series.unit)
    below.set_ylabel(f"residual [{series.unit}]")
    above.legend(loc="best", fontsize=8)


def _mark(above: Any, below: Any, times: Sequence[str], color: str, text: str) -> None:
    """Draw dates through both axes, named once in the legend."""
    for number, time in enumerate(times):
        above.axvline(_year(time), color=color, linewidth=1, linestyle="--", label=text if number == 0 else None)
        below.axvline(_year(time), color=color, linewidth=1, linestyle="--")


def _year(time: str) -> float:
    moment = np.datetime64(datetime.fromisoformat(time).replace(tzinfo=None), "us")
    return float(decimal_years(np.array([moment]))[0])


def plot_detection(path: Path, found: Sequence[tuple[FileSeries, Mapping[str, Any]]]) -> None:
    """Draw each series with its anomalies and change points, and the mean of every part between two of these."""
    figure, axes = _figure(len(found), path, sharex=False)
    for axis, (series, answer) in zip(axes[:, 0], found, strict=True):
        abscissa = series.time if series.ordinate is None else series.ordinate
        axis.plot(abscissa, series.value, linewidth=0.8, color=GREY, label="observations")
        if series.ordinate is None:
            _short_dates(axis)
        _draw_parts(axis, abscissa, series.value, [point["index"] for point in answer["change_points"]])
        for anomaly in answer["anomalies"]:
            axis.axvspan(abscissa[anomaly["start_index"]], abscissa[anomaly["end_index"]], color=ORANGE, alpha=0.25)
        for grade, fill in (("alarm", ORANGE), ("suspect", "none")):
            at = [anomaly["start_index"] for anomaly in answer["anomalies"] if anomaly["grade"] == grade]
            if at:
                axis.plot(abscissa[at], series.value[at], "v", color=ORANGE, markerfacecolor=fill, markersize=5, label=grade)
        axis.set_title(series.station, loc="left", fontsize=10)
        axis.legend(loc="best", fontsize=8)
    figure.savefig(path)


def _short_dates(axis: Any) -> None:
    """Label times with no more than tells them apart, so that they do not run into each other."""
    from matplotlib import dates

    untyped: Any = dates
    locator = untyped.AutoDateLocator()
    axis.xaxis.set_major_locator(locator)
    axis.xaxis.set_major_formatter(untyped.ConciseDateFormatter(locator))


def _draw_parts(axis: Any, abscissa: Any, values: Any, cuts: Sequence[int]) -> None:
    edges = [0, *cuts, len(values)]
    for number, (first, last) in enumerate(pairwise(edges)):
        part = values[first:last][np.isfinite(values[first:last])]
        if cuts and part.size:
            ends = [abscissa[first], abscissa[last - 1]]
            axis.plot(ends, [part.mean()] * 2, color=BLUE, linewidth=1.5, label="mean of a part" if number == 0 else None)
    for number, cut in enumerate(cuts):
        axis.axvline(abscissa[cut], color=BLUE, linewidth=1, linestyle="--", label="change point" if number == 0 else None)

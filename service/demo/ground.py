"""The simulated ground: heads that recover after the pumping ban, layers that consolidate with a lag, tide and weather.

The equations are written out in docs/demo.md. All times are days of a daily grid; depths in m, compaction in mm, shortening positive.
This file finishes with `compaction_mm`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from service.demo.noise import Array, autoregressive, first_order

YEAR_D = 365.25
BAROMETRIC_M = 0.018
"""A confined well answers 4 hPa of passing weather with about half of its 4 cm of water (barometric efficiency)."""
M2_PERIOD_H = 12.4206
S2_PERIOD_H = 12.0


@dataclass(frozen=True, slots=True)
class HeadModel:
    """Depth to water of one confined aquifer at one place.

    Attributes
    ----------
    final_m, deficit_m, recovery_a
        Depth after full recovery, what was still missing on the first day, and the time constant of the recovery.
    seasonal_m, peak_d
        Amplitude of the annual swing and the day of the year of its greatest depth (summer pumping inland of the ban's border).
    weather_m
        Standard deviation of the slow random part, correlated over 45 d.
    tide_m
        Amplitude of the semi-diurnal tide (wells near Haiyan).
    """

    final_m: float
    deficit_m: float
    recovery_a: float
    seasonal_m: float
    peak_d: float
    weather_m: float
    tide_m: float = 0.0


@dataclass(frozen=True, slots=True)
class LayerModel:
    """Compaction of one depth interval.

    Attributes
    ----------
    name
        Channel of the extensometer, L1 (shallow) to L4 (deep).
    residual_mm, residual_a
        Compression still to come on the first day, and its time constant: decades, as slow drainage of thick clays has it after the
        pumping ban, so that the rate falls visibly within ten years.
    elastic_mm_per_m, lag_d
        Elastic skeletal storage (mm of shortening per m of drawdown) and Terzaghi's lag of the layer.
    """

    name: str
    residual_mm: float
    residual_a: float
    elastic_mm_per_m: float
    lag_d: float


def depth_to_water_m(model: HeadModel, days: Array, first_day_of_year: float, rng: np.random.Generator) -> Array:
    """Return the daily depth to water without tide, shape of `days` (days since the first)."""
    recovery = model.deficit_m * np.exp(-days / (model.recovery_a * YEAR_D))
    season = model.seasonal_m * np.cos(2.0 * np.pi * (days + first_day_of_year - model.peak_d) / YEAR_D)
    weather = autoregressive(len(days), model.weather_m, 45.0, rng)
    barometric = autoregressive(len(days), BAROMETRIC_M, 3.0, rng)
    return np.asarray(model.final_m + recovery + season + weather + barometric)


def noise_free_depth_m(model: HeadModel, days: Array) -> Array:
    """Return recovery alone: the part whose slope is the true rate, shape of `days`."""
    return np.asarray(model.final_m + model.deficit_m * np.exp(-days / (model.recovery_a * YEAR_D)))


def tide_m(amplitude_m: float, hours: Array) -> Array:
    """Return the tide at hours since the first day: M2 with a third of S2, so springs and neaps alternate, shape of `hours`."""
    m2 = np.cos(2.0 * np.pi * hours / M2_PERIOD_H)
    s2 = np.cos(2.0 * np.pi * hours / S2_PERIOD_H + 0.7)
    return np.asarray(amplitude_m * (m2 + s2 / 3.0))


def compaction_mm(layer: LayerModel, days: Array, depth_m: Array) -> Array:
    """Return the compaction of a layer since the first day.

    Residual compression `R (1 - exp(-t / T))` plus the elastic answer to depth to water through a first-order lag.

    Parameters
    ----------
    layer
        The layer's constants.
    days, depth_m : ndarray (n,)
        Days since the first, and the depth to water that drives the layer on them.

    Returns
    -------
    ndarray (n,), mm, shortening positive, zero on the first day.
    """
    residual = layer.residual_mm * (1.0 - np.exp(-days / (layer.residual_a * YEAR_D)))
    lagged = first_order(depth_m, 1.0, layer.lag_d)
    return np.asarray(residual + layer.elastic_mm_per_m * (lagged - lagged[0]))

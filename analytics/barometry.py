"""The air over a logger that is not vented: 1 hPa is 10.2 mm of water.

An absolute pressure sensor under water feels water and air. When the barometer rises by 30 hPa, such a logger reports 0.31 m more
water though not a drop came. With a barometer beside it the share of the air is taken off; without one nobody can tell, and the value
is flagged `uncompensated`. This file finishes with `compensate`.

Reference: ISO 4373:2022 (pressure sensors, vented and absolute); density 1000 kg/m3, standard gravity 9.80665 m/s2 (CGPM 1901).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from analytics.sampling import Floats

METRES_OF_WATER_PER_HPA = 100.0 / (1000.0 * 9.80665)
"""0.010197 m."""
STANDARD_HPA = 1013.25
AIR_IN_VALUE: Mapping[str, tuple[str, float]] = MappingProxyType(
    {
        "depth_to_water": ("m", -METRES_OF_WATER_PER_HPA),
        "static_depth_to_water": ("m", -METRES_OF_WATER_PER_HPA),
        "dynamic_depth_to_water": ("m", -METRES_OF_WATER_PER_HPA),
        "head": ("m", METRES_OF_WATER_PER_HPA),
        "water_level": ("m", METRES_OF_WATER_PER_HPA),
        "stage": ("m", METRES_OF_WATER_PER_HPA),
        "water_pressure": ("kPa", 0.1),
        "pore_pressure": ("kPa", 0.1),
    }
)
"""By property: the unit, and how much of it one hPa of air adds to what an unvented sensor says."""


def compensate(
    seconds: Floats,
    values: Floats,
    air_seconds: Floats,
    air_hpa: Floats,
    per_hpa: float,
    *,
    reference_hpa: float = STANDARD_HPA,
    largest_gap_s: float = 3 * 3600.0,
) -> Floats:
    """Take the air off.

    Parameters
    ----------
    seconds, values : ndarray, shape (n,)
        What the unvented sensor says.
    air_seconds, air_hpa : ndarray, shape (m,)
        The barometer, ascending and finite.
    per_hpa : float
        From `AIR_IN_VALUE`.
    reference_hpa : float
        Air pressure at which the sensor's zero was set.
    largest_gap_s : float
        Air is interpolated over no more than this, and not beyond the barometer's record: there the answer is NaN.

    Returns
    -------
    ndarray, shape (n,)

    Examples
    --------
    >>> import numpy as np
    >>> air = np.array([1000.0, 1030.0])
    >>> apparent = np.array([5.0, 5.0 - 0.30594])
    >>> at = np.array([0.0, 3600.0])
    >>> true = compensate(at, apparent, at, air, AIR_IN_VALUE["depth_to_water"][1])
    >>> bool(abs(true[1] - true[0]) < 1e-4)
    True
    """
    if air_seconds.size == 0:
        return np.full(values.size, np.nan)
    after = np.searchsorted(air_seconds, seconds, side="left")
    inside = (after < air_seconds.size) & ((after > 0) | (air_seconds[0] == seconds))
    after = np.minimum(after, air_seconds.size - 1)
    before = np.where(air_seconds[after] <= seconds, after, np.maximum(after - 1, 0))
    usable = inside & (air_seconds[after] - air_seconds[before] <= largest_gap_s)
    air = np.interp(seconds, air_seconds, air_hpa)
    return np.where(usable, values - per_hpa * (air - reference_hpa), np.nan)

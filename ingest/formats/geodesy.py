"""Geocentric coordinates turned into local north, east and up (GRS 80).

References: Moritz 2000, Geodetic Reference System 1980, doi 10.1007/s001900050278; Bowring 1985 for the latitude. This file finishes
with `local_axes`.
"""

from __future__ import annotations

import math

import numpy as np

from domain.observation import FloatArray

SEMI_MAJOR_M = 6_378_137.0
FLATTENING = 1 / 298.257222101
_E2 = FLATTENING * (2 - FLATTENING)


def geographic(xyz_m: FloatArray) -> tuple[float, float, float]:
    """Return longitude and latitude (deg) and ellipsoidal height (m) of a geocentric position of shape (3,).

    Examples
    --------
    >>> [round(value, 6) for value in geographic(np.array([6_378_137.0, 0.0, 0.0]))]
    [0.0, 0.0, 0.0]
    """
    x, y, z = (float(value) for value in xyz_m)
    p = math.hypot(x, y)
    b = SEMI_MAJOR_M * (1 - FLATTENING)
    theta = math.atan2(z * SEMI_MAJOR_M, p * b)
    second = (SEMI_MAJOR_M**2 - b**2) / b**2
    latitude = math.atan2(z + second * b * math.sin(theta) ** 3, p - _E2 * SEMI_MAJOR_M * math.cos(theta) ** 3)
    normal = SEMI_MAJOR_M / math.sqrt(1 - _E2 * math.sin(latitude) ** 2)
    # Projected on the normal, so that the height holds at the poles as well.
    height = p * math.cos(latitude) + z * math.sin(latitude) - SEMI_MAJOR_M**2 / normal
    return math.degrees(math.atan2(y, x)), math.degrees(latitude), height


def local_axes(longitude_deg: float, latitude_deg: float) -> FloatArray:
    """Return the matrix (3, 3) whose rows are north, east and up in geocentric coordinates."""
    lon, lat = math.radians(longitude_deg), math.radians(latitude_deg)
    return np.array(
        [
            [-math.sin(lat) * math.cos(lon), -math.sin(lat) * math.sin(lon), math.cos(lat)],
            [-math.sin(lon), math.cos(lon), 0.0],
            [math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat)],
        ]
    )

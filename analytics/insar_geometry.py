r"""From the line of sight to up and east, each with its assumption stated.

Line-of-sight values count toward the satellite; up and east count up and east; subsidence says so in its name. The unit vector from
the ground to a right-looking satellite with incidence θ (from the vertical) and heading α (from north, clockwise) is
(east, north, up) = (-sin θ cos α, sin θ sin α, cos θ).

References: Hanssen 2001, doi:10.1007/0-306-47633-9; Wright et al. 2004, doi:10.1029/2003GL018827 (what two tracks leave open).
This file finishes with `decompose`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
NO_HORIZONTAL = "horizontal motion is taken as zero: up = los / cos(incidence)"
NO_NORTH = "northward motion is taken as zero: two tracks of a polar orbit barely see it"
_METRES_PER_DEGREE = 111_195.0
"""Length of a degree on the sphere of 6,371 km; cells and distances of some hundred metres need no better."""

LEAST_DETERMINANT = 0.05


@dataclass(frozen=True, slots=True)
class Vertical:
    """Vertical motion from one line of sight: `up` positive up, `subsidence` positive down, and the assumption that it stands on."""

    up: Floats
    sigma: Floats
    assumption: str = NO_HORIZONTAL

    @property
    def subsidence(self) -> Floats:
        """Return the motion positive down."""
        return -self.up


@dataclass(frozen=True, slots=True)
class UpEast:
    """Motion from two lines of sight; NaN where they do not differ enough. `north_in_up` is what 1 of north adds to up."""

    up: Floats
    up_sigma: Floats
    east: Floats
    east_sigma: Floats
    north_in_up: Floats
    assumption: str = NO_NORTH


@dataclass(frozen=True, slots=True)
class Cells:
    """Means of points in square cells: centre in degrees, points used, mean value, its sigma."""

    column: npt.NDArray[np.int64]
    row: npt.NDArray[np.int64]
    longitude_deg: Floats
    latitude_deg: Floats
    n: npt.NDArray[np.int64]
    mean: Floats
    sigma: Floats

    def take(self, rows: npt.NDArray[np.intp]) -> Cells:
        """Return some of the cells."""
        place = (self.column[rows], self.row[rows], self.longitude_deg[rows], self.latitude_deg[rows])
        return Cells(*place, self.n[rows], self.mean[rows], self.sigma[rows])


def look_vector(incidence_deg: Floats | float, heading_deg: Floats | float) -> Floats:
    """Return (east, north, up) from the ground to a right-looking satellite, shape (3, ...).

    Examples
    --------
    >>> np.round(look_vector(39.0, 348.5), 3).tolist()
    [-0.617, -0.125, 0.777]
    """
    incidence, heading = np.radians(incidence_deg), np.radians(heading_deg)
    return np.stack(
        np.broadcast_arrays(-np.sin(incidence) * np.cos(heading), np.sin(incidence) * np.sin(heading), np.cos(incidence))
    )


def vertical_from_los(los: Floats | float, incidence_deg: Floats | float, sigma: Floats | float = np.nan) -> Vertical:
    """Return vertical motion from one line of sight, horizontal motion taken as zero.

    Parameters
    ----------
    los, sigma
        Toward the satellite positive, and its 1 sigma, in any unit.
    incidence_deg
        From the vertical, 0 < θ < 90.

    Raises
    ------
    ValueError
        The incidence is none.

    Examples
    --------
    >>> float(np.round(vertical_from_los(-8.0, 39.0).subsidence, 1))
    10.3
    """
    incidence = np.asarray(incidence_deg, dtype=np.float64)
    if not ((incidence > 0) & (incidence < 90)).all():
        raise ValueError("the incidence must be between 0 and 90 degrees from the vertical")
    up = np.cos(np.radians(incidence))
    return Vertical(np.asarray(los / up), np.asarray(sigma / up))


def decompose(first: Floats, first_look: Floats, second: Floats, second_look: Floats, sigmas: tuple[Floats, Floats]) -> UpEast:
    r"""Return up and east from two lines of sight, northward motion taken as zero.

    Solves [e₁ u₁; e₂ u₂] (east, up) = (los₁, los₂); sigmas of both lines of sight, independent, are propagated.

    Parameters
    ----------
    first, second
        Toward the satellite positive, shape (points,).
    first_look, second_look
        `look_vector` of each, shape (3,) or (3, points).
    sigmas
        1 sigma of both.

    Examples
    --------
    >>> one, two = look_vector(39.0, 348.5), look_vector(37.0, 191.5)
    >>> truth = np.array([[2.0], [0.0], [-10.0]])
    >>> found = decompose(one @ truth, one, two @ truth, two, (np.ones(1), np.ones(1)))
    >>> np.round([found.east[0], found.up[0]], 6).tolist()
    [2.0, -10.0]
    """
    east1, north1, up1 = first_look
    east2, north2, up2 = second_look
    determinant = np.asarray(east1 * up2 - east2 * up1, dtype=np.float64)
    safe = np.where(np.abs(determinant) >= LEAST_DETERMINANT, determinant, np.nan)
    east = (up2 * first - up1 * second) / safe
    up = (east1 * second - east2 * first) / safe
    return UpEast(
        up,
        np.hypot(east1 * sigmas[1], east2 * sigmas[0]) / np.abs(safe),
        east,
        np.hypot(up2 * sigmas[0], up1 * sigmas[1]) / np.abs(safe),
        np.broadcast_to((east1 * north2 - east2 * north1) / safe, np.shape(up)),
    )


def metres(longitude_deg: Floats, latitude_deg: Floats, centre: tuple[float, float]) -> tuple[Floats, Floats]:
    """Return metres east and north of `centre` (longitude, latitude), true to a part in a thousand within 100 km."""
    east = (np.asarray(longitude_deg) - centre[0]) * _METRES_PER_DEGREE * np.cos(np.radians(centre[1]))
    return np.asarray(east), np.asarray((np.asarray(latitude_deg) - centre[1]) * _METRES_PER_DEGREE)


def in_cells(longitude_deg: Floats, latitude_deg: Floats, value: Floats, origin: tuple[float, float], cell_m: float) -> Cells:
    """Return the mean of the points in each square cell that has any; `sigma` is from their scatter (NaN for a single point)."""
    known = np.isfinite(value)
    east, north = metres(longitude_deg[known], latitude_deg[known], origin)
    column, row = np.floor(east / cell_m).astype(np.int64), np.floor(north / cell_m).astype(np.int64)
    key, place = np.unique(np.stack([column, row]), axis=1, return_inverse=True)
    place = place.reshape(-1)
    n = np.bincount(place, minlength=key.shape[1])
    mean = np.bincount(place, weights=value[known], minlength=key.shape[1]) / np.maximum(n, 1)
    squares = np.bincount(place, weights=(value[known] - mean[place]) ** 2, minlength=key.shape[1])
    sigma = np.sqrt(np.where(n > 1, squares / np.maximum(n - 1, 1) / np.maximum(n, 1), np.nan))
    longitude = origin[0] + (key[0] + 0.5) * cell_m / (_METRES_PER_DEGREE * np.cos(np.radians(origin[1])))
    return Cells(key[0], key[1], longitude, origin[1] + (key[1] + 0.5) * cell_m / _METRES_PER_DEGREE, n, mean, sigma)

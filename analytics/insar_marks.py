r"""InSAR against marks on the ground: the reference frame's plane removed, r, RMSE and the largest difference.

A delivery is relative to its own reference, and orbits leave a slope. The differences between the mean of the points round a mark
and the mark itself are therefore fitted by a plane a + b·east + c·north, which is taken off before the two are compared (with fewer than
six marks only a constant, with fewer than three nothing can be told). Because the plane is fitted to the same marks, the differences
of marks left out in turn are given too: they say what an unseen mark would show.

This file finishes with `compare_with_marks`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analytics.insar_geometry import metres

Floats = npt.NDArray[np.float64]
RADIUS_M = 100.0
MARKS_FOR_A_PLANE, MARKS_FOR_A_CONSTANT = 6, 3


@dataclass(frozen=True, slots=True)
class MarkComparison:
    """Rates at marks, all in mm/a and up positive, and what the comparison says.

    Attributes
    ----------
    n_points, insar, difference
        For each mark: points within the radius, their mean with the frame removed, and that less the mark. NaN where no point is near.
    frame
        What was removed: constant, and slopes in mm/a per km east and north (0 where only a constant could be fitted).
    r, rmse, largest
        Correlation, root mean square and largest absolute difference over the marks used; None = cannot tell.
    rmse_left_out
        Root mean square of each mark's difference from a frame fitted to the others.
    reason
        Why nothing can be told, else None.
    """

    n_points: npt.NDArray[np.int64]
    insar: Floats
    difference: Floats
    frame: tuple[float, float, float]
    marks_used: int
    r: float | None
    rmse: float | None
    rmse_left_out: float | None
    largest: float | None
    largest_at: int | None
    reason: str | None = None


def means_near(
    points: tuple[Floats, Floats, Floats], marks: tuple[Floats, Floats], radius_m: float = RADIUS_M
) -> tuple[npt.NDArray[np.int64], Floats]:
    """Return how many points (longitude, latitude, value) lie within `radius_m` of each mark, and their mean (NaN for none)."""
    longitude, latitude, value = points
    counts, means = np.zeros(len(marks[0]), dtype=np.int64), np.full(len(marks[0]), np.nan)
    for number, centre in enumerate(zip(*marks, strict=True)):
        east, north = metres(longitude, latitude, (float(centre[0]), float(centre[1])))
        near = (east**2 + north**2 <= radius_m**2) & np.isfinite(value)
        counts[number] = np.count_nonzero(near)
        if counts[number]:
            means[number] = value[near].mean()
    return counts, means


def compare_with_marks(
    points: tuple[Floats, Floats, Floats],
    marks: tuple[Floats, Floats, Floats],
    *,
    radius_m: float = RADIUS_M,
) -> MarkComparison:
    """Compare vertical rates of points with those of marks.

    Parameters
    ----------
    points
        Longitude and latitude in degrees and vertical rate in mm/a (up positive), each of shape (points,).
    marks
        The same of the marks, each of shape (marks,); NaN = the mark has no rate for the same span.
    radius_m
        Points within this distance of a mark stand for it.

    Returns
    -------
    MarkComparison
        Whether it can tell or not.
    """
    longitude, latitude, truth = (np.asarray(part, dtype=np.float64) for part in marks)
    counts, means = means_near(points, (longitude, latitude), radius_m)
    return compare_means(counts, means, (longitude, latitude, truth))


def compare_means(counts: npt.NDArray[np.int64], means: Floats, marks: tuple[Floats, Floats, Floats]) -> MarkComparison:
    """Compare means of points at places with what is known there; see `compare_with_marks`."""
    longitude, latitude, truth = marks
    used = np.isfinite(means) & np.isfinite(truth)
    number = int(used.sum())
    if number < MARKS_FOR_A_CONSTANT:
        absent = np.full(len(truth), np.nan)
        reason = f"{number} places have both a rate and points near it; {MARKS_FOR_A_CONSTANT} are needed"
        return MarkComparison(counts, absent, absent, (np.nan,) * 3, number, None, None, None, None, None, reason)
    centre = (float(longitude[used].mean()), float(latitude[used].mean()))
    east, north = metres(longitude, latitude, centre)
    design = np.stack([np.ones_like(east), east / 1000.0, north / 1000.0], axis=1)
    terms = 3 if number >= MARKS_FOR_A_PLANE and np.linalg.matrix_rank(design[used]) == 3 else 1
    fitted, hat = _fit(design[used, :terms], (means - truth)[used])
    insar = means - design[:, :terms] @ fitted
    difference = insar - truth
    size = np.abs(difference[used])
    left_out = difference[used] / np.where(hat < 1 - 1e-9, 1 - hat, np.nan)
    spread = np.std(insar[used]) > 0 and np.std(truth[used]) > 0
    frame = (float(fitted[0]), *(float(value) for value in (*fitted[1:], 0.0, 0.0)[:2]))
    return MarkComparison(
        counts,
        insar,
        difference,
        (frame[0], frame[1], frame[2]),
        number,
        float(np.corrcoef(insar[used], truth[used])[0, 1]) if spread else None,
        float(np.sqrt(np.mean(size**2))),
        float(np.sqrt(np.nanmean(left_out**2))),
        float(size.max()),
        int(np.flatnonzero(used)[int(size.argmax())]),
    )


def _fit(design: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Return the least-squares estimate and the diagonal of the hat matrix."""
    q, _ = np.linalg.qr(design)
    return np.asarray(np.linalg.lstsq(design, values, rcond=None)[0]), np.asarray(np.sum(q**2, axis=1), dtype=np.float64)

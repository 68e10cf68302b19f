"""Detection on a bare series, with nothing known but its samples: anomalies and change points.

Rows that hold no finite value are stepped over, and indices count the rows as given. An anomaly is an alarm, or a suspect where only
near limits were passed. This file holds what the command `detect` prints.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from analytics.anomaly import Anomaly, AnomalySettings, detect_anomalies
from analytics.changepoints import ChangePoint, ChangePointSettings, detect_change_points
from analytics.habits import HabitSettings, NearLimits
from analytics.sampling import Floats

TOLD = AnomalySettings(habits=HabitSettings(near=NearLimits()))
"""An analyst who asks for one file is told what is worth a look as well, each by its grade."""


@dataclass(frozen=True)
class Detection:
    """Anomalies and change points of one series; indices count the rows given, from 0."""

    n: int
    anomalies: tuple[Anomaly, ...]
    change_points: tuple[ChangePoint, ...]


def detect_in_series(
    ordinate: Floats,
    values: Floats,
    is_time: bool,
    anomaly_settings: AnomalySettings | None = None,
    change_point_settings: ChangePointSettings | None = None,
) -> Detection:
    """Detect anomalies (causally) and change points (in retrospect).

    Parameters
    ----------
    ordinate : ndarray, shape (n,)
        Seconds since any epoch, or plain numbers with ``is_time=False``.
    values : ndarray, shape (n,)
        NaN and infinities are missing.
    is_time : bool
        Whether the ordinate is a time in seconds.

    Returns
    -------
    Detection

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=600)
    >>> x[10], x[400] = np.nan, 50.0
    >>> [a.start_index for a in detect_in_series(np.arange(600.0), x, False).anomalies]
    [400]
    """
    rows = np.flatnonzero(np.isfinite(values) & np.isfinite(ordinate))
    if rows.size > 1 and np.any(np.diff(ordinate[rows]) < 0.0):
        rows = rows[np.argsort(ordinate[rows], kind="stable")]
    anomalies = detect_anomalies(ordinate[rows], values[rows], is_time, anomaly_settings or TOLD)
    points = detect_change_points(values[rows], change_point_settings)
    return Detection(
        int(values.size),
        tuple(replace(a, start_index=int(rows[a.start_index]), end_index=int(rows[a.end_index])) for a in anomalies),
        tuple(replace(point, index=int(rows[point.index])) for point in points),
    )

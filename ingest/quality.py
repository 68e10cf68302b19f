"""Checks of single observations: range and clock. Stateless and deterministic, so that a replay flags as the first run did.

References: QARTOD (IOOS 2020) test 4 "gross range", here with the property's physical bounds as fail span and the datastream's own
bounds as suspect span. This file finishes with `suspect_rows`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from domain.observation import Columns
from domain.quality import Quality

CLOCK_TOLERANCE = timedelta(minutes=10)
"""How far a device's clock may run ahead of ours before the observation is suspect."""
CLOCK_LIMIT = timedelta(days=1)
"""Beyond this the time is impossible and the observation goes to quarantine: stored, it would hide a silent station."""
CLOCK_PAST = timedelta(days=3653)
"""No device buffers for ten years: what a message says to be older comes from a clock that began anew at 1970, 1980, 1990 or 2000,
or whose week of GPS rolled over (1,024 weeks)."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Plausible ranges in the datastream's unit; None = no bound. Outside `fail` is fail (4), outside `suspect` is suspect (3)."""

    fail: tuple[float | None, float | None] = (None, None)
    suspect: tuple[float | None, float | None] = (None, None)

    def as_row(self) -> tuple[float, float, float, float]:
        """Return fail low and high, suspect low and high; NaN = no bound."""
        low, high, suspect_low, suspect_high = (math.nan if bound is None else bound for bound in (*self.fail, *self.suspect))
        return low, high, suspect_low, suspect_high


def impossible_time(time: npt.NDArray[np.datetime64], now: datetime) -> npt.NDArray[np.bool_]:
    """Which times are further ahead of `now` than `CLOCK_LIMIT`?"""
    return np.asarray(time > _utc(now + CLOCK_LIMIT))


def flagged_rows(rows: Columns, spans: npt.NDArray[np.float64], now: datetime, *, since: datetime | None = None) -> Columns:
    """Return rows with range and clock flags set; a flag is only ever made worse.

    Parameters
    ----------
    rows
        Observations in their datastreams' units.
    spans : float64 (4, n) or (4, 1)
        Fail low and high, suspect low and high of each row, inclusive; NaN = no bound. A bound of 0 is a bound.
    now
        When the observations were received.
    since
        Earlier than this no device can have observed; None = any time may be right.
    """
    with np.errstate(invalid="ignore"):
        fail = (rows.result < spans[0]) | (rows.result > spans[1])
        suspect = ((rows.result < spans[2]) | (rows.result > spans[3])) & ~fail
    clock = np.asarray(rows.time > _utc(now + CLOCK_TOLERANCE))
    if since is not None:
        clock |= rows.time < _utc(since)
    if not (fail.any() or suspect.any() or clock.any()):
        return rows
    quality = rows.quality.copy()
    quality[fail & (quality != Quality.MISSING)] = Quality.FAIL
    rows = suspect_rows(replace(rows, quality=quality), suspect, "out_of_range", beside=fail)
    return suspect_rows(rows, clock, "clock")


def suspect_rows(
    rows: Columns, suspect: npt.NDArray[np.bool_], code: str, *, beside: npt.NDArray[np.bool_] | None = None
) -> Columns:
    """Return rows of which some are suspect (3) unless they are worse already, with the reason; those `beside` get the reason alone."""
    marked = suspect if beside is None else suspect | beside
    if not marked.any():
        return rows
    quality = rows.quality.copy()
    quality[suspect & (quality < Quality.SUSPECT)] = Quality.SUSPECT
    reasons = np.full(len(rows), None, dtype=object) if rows.reasons is None else rows.reasons.copy()
    for row in np.flatnonzero(marked):
        before: tuple[str, ...] = reasons[row] or ()
        reasons[row] = before if code in before else (*before, code)
    return replace(rows, quality=quality, reasons=reasons)


def _utc(moment: datetime) -> np.datetime64:
    return np.datetime64(round(moment.timestamp() * 1_000_000), "us")

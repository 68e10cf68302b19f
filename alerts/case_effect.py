"""Does a measure show effect? The observations of a datastream before and after it, compared with an honest interval.

Two windows, either their levels (means) or their rates (least-squares slopes). Neighbouring observations are alike, so their number is
reduced to an effective one by the correlation of neighbours (Bayley and Hammersley 1946, doi:10.2307/2983560, first-order case): without
it an hour of one calm afternoon would prove a measure. This file finishes with `effect_of`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from domain.case import Effect
from domain.errors import InputError

FloatArray = NDArray[np.float64]
Better = Literal["lower", "higher"]
Quantity = Literal["level", "rate"]
FEWEST = 5
SIGMAS = 1.96
SECONDS_A_YEAR = 365.25 * 86_400.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """A level (unit of the datastream) or a rate (per year) with its standard error and the effective number behind it."""

    value: float
    sigma: float
    n: int
    effective_n: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two windows say: `change` = after minus before, `lower` and `upper` its 95 % interval; None where nothing can be told."""

    effect: Effect
    quantity: Quantity
    better: Better
    before: Estimate | None
    after: Estimate | None
    change: float | None = None
    lower: float | None = None
    upper: float | None = None
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**asdict(self), "effect": self.effect.value}


def effect_of(
    times_s: FloatArray, values: FloatArray, measure_at_s: float, *, better: Better, quantity: Quantity = "level"
) -> Comparison:
    """Compare what was observed before a measure with what was observed after it.

    Parameters
    ----------
    times_s, values
        Shape (n,), seconds in ascending order and usable results (NaN = missing, left out).
    measure_at_s
        When the measure was taken; an observation at that second counts as after it.
    better
        Which way is the good one: `lower` for a rate of subsidence or a depth to water.
    quantity
        Compare levels or rates.

    Returns
    -------
    Comparison
        IMPROVED or WORSE where the 95 % interval of the change leaves zero out, UNCHANGED where it does not, CANNOT_TELL with fewer
        than five observations on one side.

    Examples
    --------
    >>> t = np.arange(20.0) * 86400
    >>> effect_of(t, np.where(t < 864000, 9.0, 4.0) + 0.1 * (-1.0) ** np.arange(20), 864000.0, better="lower").effect
    <Effect.IMPROVED: 'improved'>
    """
    if times_s.shape != values.shape or (times_s.size > 1 and bool(np.any(np.diff(times_s) < 0))):
        raise InputError("times and values do not belong together.", remedy="give as many times as values, in ascending order")
    usable = np.isfinite(values)
    earlier = usable & (times_s < measure_at_s)
    later = usable & (times_s >= measure_at_s)
    estimate = _rate if quantity == "rate" else _level
    before, after = (estimate(times_s[part], values[part]) for part in (earlier, later))
    if before is None or after is None:
        few = "before" if before is None else "after"
        return Comparison(
            Effect.CANNOT_TELL,
            quantity,
            better,
            before,
            after,
            reason=f"fewer than {FEWEST} usable observations {few} the measure",
        )
    change = after.value - before.value
    margin = SIGMAS * float(np.hypot(before.sigma, after.sigma))
    effect = _judged(change, margin, better)
    return Comparison(effect, quantity, better, before, after, change, change - margin, change + margin)


def _judged(change: float, margin: float, better: Better) -> Effect:
    if abs(change) <= margin:
        return Effect.UNCHANGED
    return Effect.IMPROVED if (change < 0) == (better == "lower") else Effect.WORSE


def _level(times_s: FloatArray, values: FloatArray) -> Estimate | None:
    del times_s
    if values.size < FEWEST:
        return None
    rest = values - values.mean()
    effective = _effective_number(rest)
    sigma = float(np.sqrt(np.sum(rest**2) / (values.size - 1) / effective))
    return Estimate(float(values.mean()), sigma, int(values.size), effective)


def _rate(times_s: FloatArray, values: FloatArray) -> Estimate | None:
    if values.size < FEWEST:
        return None
    years = (times_s - times_s.mean()) / SECONDS_A_YEAR
    spread = float(np.sum(years**2))
    if spread == 0.0:
        return None
    slope = float(np.sum(years * values) / spread)
    rest = values - values.mean() - slope * years
    effective = _effective_number(rest)
    variance = float(np.sum(rest**2)) / (values.size - 2)
    return Estimate(slope, float(np.sqrt(variance / spread * values.size / effective)), int(values.size), effective)


def _effective_number(rest: FloatArray) -> float:
    """Return the effective number of observations from the correlation of neighbours; never more than there are, never below 2."""
    power = float(np.sum(rest**2))
    if power == 0.0:
        return float(rest.size)
    alike = float(np.clip(np.sum(rest[1:] * rest[:-1]) / power, 0.0, 0.99))
    return max(2.0, rest.size * (1.0 - alike) / (1.0 + alike))


def window_around(measure_at: datetime, now: datetime, before_days: float) -> tuple[datetime, datetime]:
    """Return the span to read: `before_days` ahead of the measure until now; `InputError` for a measure that is still to come."""
    from datetime import timedelta

    if measure_at > now:
        raise InputError("the measure is still to come.", where="measure_at", remedy="follow up after it was taken")
    return measure_at - timedelta(days=before_days), now

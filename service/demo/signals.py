"""One simulated datastream: a curve over time, the noise of its instrument, what was planted in it and when it was sampled.

This file finishes with `Series`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt

from service.demo.noise import Array

Times = npt.NDArray[np.datetime64]
Curve = Callable[[Array], Array]
DAY_US = 86_400_000_000


@dataclass(slots=True)
class Signal:
    """What an instrument would report at any time.

    Attributes
    ----------
    datastream
        Code of the datastream.
    curve
        Days since the first day of the simulation, shape (n,), to values in the datastream's unit, shape (n,).
    noise
        Standard deviation of the instrument's own white noise, same unit.
    decimals
        Digits that the instrument prints.
    steps
        Planted steps as (day, size).
    silent_from
        Day since which nothing is sent, or None.
    """

    datastream: str
    curve: Curve
    noise: float
    decimals: int
    steps: list[tuple[float, float]] = field(default_factory=list)
    silent_from: float | None = None

    @property
    def station(self) -> str:
        """Code of the station."""
        return self.datastream.split(":", 1)[0]

    @property
    def key(self) -> str:
        """`property` or `property:channel`, as in an MQTT payload."""
        return self.datastream.split(":", 1)[1]

    def values(self, days: Array, rng: np.random.Generator) -> Array:
        """Return what the instrument reports at `days`, with steps and noise, rounded as it prints."""
        clean = self.curve(days)
        for day, size in self.steps:
            clean = clean + np.where(days >= day, size, 0.0)
        return np.asarray(np.round(clean + rng.normal(0.0, self.noise, len(days)), self.decimals))


@dataclass(slots=True)
class Series:
    """The recorded history of one datastream, in its unit. `sigma` is 1 sigma per sample, None where the source states none."""

    datastream: str
    days: Array
    result: Array
    sigma: Array | None = None

    def drop(self, keep: npt.NDArray[np.bool_]) -> None:
        """Keep only the samples that the mask picks."""
        self.days, self.result = self.days[keep], self.result[keep]
        self.sigma = None if self.sigma is None else self.sigma[keep]

    def times(self, first: datetime) -> Times:
        """Return the times of the samples, UTC, datetime64[us] (n,)."""
        start = np.datetime64(first.astimezone(UTC).replace(tzinfo=None), "us")
        return start + np.round(self.days * DAY_US).astype("timedelta64[us]")


def moment(first: datetime, day: float) -> datetime:
    """Return the time at `day` days since the first, rounded to a second."""
    return first + timedelta(seconds=round(day * 86_400))


def on_grid(values: Array) -> Curve:
    """Return the curve that interpolates daily values linearly."""
    grid = np.arange(len(values), dtype=np.float64)

    def curve(days: Array) -> Array:
        return np.asarray(np.interp(days, grid, values))

    return curve


def schedule(first_day: float, dense_from: float, last_day: float, interval_d: float) -> Array:
    """Return sampling days: daily up to `dense_from`, then every `interval_d`, none after `last_day`."""
    daily = np.arange(np.ceil(first_day), np.floor(dense_from))
    start = np.floor(dense_from)
    steps = int(np.floor((last_day - start) / interval_d + 1e-9))
    return np.concatenate([daily, start + np.arange(steps + 1) * interval_d])


def stick_slip(values: Array, band: float) -> Array:
    """Return what an extensometer with friction records: it holds until the ground has moved by `band`, then follows."""
    held = np.empty_like(values)
    current = values[0]
    for i, value in enumerate(values):
        if abs(value - current) > band:
            current = value
        held[i] = current
    return held

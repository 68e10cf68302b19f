"""What a rule is given to look at, and how a value climbs a ladder of limits. This file finishes with `climb`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from alerts.lifecycle import LevelArray, Policy, Trace
from alerts.rules.definition import Action, Ladder, Scope
from domain.alert import Evaluation, Level, Verdict
from domain.alerting import Rule
from domain.errors import UnitError
from domain.licence import Licence, Limit
from domain.model import Datastream, EventEffect, Station, StationEvent
from domain.observation import FloatArray, TimeArray
from domain.ports import SeriesData
from domain.quality import USABLE, Quality
from domain.units import convert, convert_spread

SUBSIDENCE_SIGN: Mapping[str, float] = {
    "displacement_up": -1.0, "height": -1.0, "los_displacement": -1.0, "compaction": 1.0, "subsidence": 1.0,
}  # fmt: skip
_ZERO = timedelta()
_IS_USABLE = np.array([flag in USABLE for flag in range(max(Quality) + 1)])
"""By flag: a look-up is several times as quick as a search for each of the few observations that come at a time."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """When a datastream was last heard of, and how often it should be.

    `last_time` is the phenomenon time of its newest observation, `received_at` when the newest of its observations came in.
    """

    datastream: Datastream
    last_time: datetime | None
    received_at: datetime | None = None


class Analysed(Protocol):
    """A stored run of an analytic: which stretch it looked at, and how it went."""

    @property
    def method(self) -> str:
        """Name of the method."""

    @property
    def window_start(self) -> datetime | None:
        """First observation that it saw."""

    @property
    def window_end(self) -> datetime | None:
        """Last observation that it saw."""

    @property
    def status(self) -> str:
        """`ok`, `interim`, or why it could not tell."""

    @property
    def result(self) -> Mapping[str, Any]:
        """What the method said."""


class DatedFinding(Protocol):
    """A stored finding."""

    @property
    def method(self) -> str:
        """Name of the method that found it."""

    @property
    def kind(self) -> str:
        """What was found."""

    @property
    def start(self) -> datetime:
        """When it began."""

    @property
    def end(self) -> datetime | None:
        """When it ended; None = an instant, or it goes on."""

    @property
    def size(self) -> float | None:
        """How much, in `unit`."""

    @property
    def sigma(self) -> float | None:
        """Its standard error."""

    @property
    def score(self) -> float | None:
        """How striking it is, in the method's own measure."""

    @property
    def unit(self) -> str | None:
        """Unit of `size`."""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """What else the method says of it."""


@dataclass(frozen=True, slots=True)
class Context:
    """One rule on one scope, with everything that it may look at.

    `samples` are the datastream's observations (None for rules that need none); `source` is the datastream that a derived one comes
    from; `series` reads another datastream as of the same ledger sequence, `lookup` finds one by its code; `runs` are the latest results
    of analytics by method, `analyses` the runs that looked at the datastream and `findings` what they found, as of that sequence;
    `limits` are those of the register and `licences` the station's, in all their versions, whose days are those of `zone`; `start` is
    from when on verdicts are asked for, `limits_at` the time whose limits are (None = that of the newest sample); `cause` says to what
    analytics attribute the motion of the station, for whoever asks.
    """

    rule: Rule
    now: datetime
    station: Station
    datastream: Datastream | None = None
    samples: SeriesData | None = None
    source: Datastream | None = None
    series: Callable[[int, datetime | None, datetime | None], SeriesData] | None = None
    limits: Sequence[Limit] = ()
    events: Sequence[StationEvent] = ()
    arrivals: Sequence[Arrival] = ()
    runs: Mapping[str, Any] = field(default_factory=dict)
    lookup: Callable[[str], Datastream | None] | None = None
    analyses: Sequence[Analysed] = ()
    findings: Sequence[DatedFinding] = ()
    licences: Sequence[Licence] = ()
    zone: tzinfo = UTC
    start: datetime | None = None
    limits_at: datetime | None = None
    cause: Callable[[], Mapping[str, Any] | None] | None = None


class Definition(Protocol):
    """What every kind's definition states."""

    @property
    def scope(self) -> Scope:
        """Which datastreams the rule looks at."""

    @property
    def policy(self) -> Policy:
        """Hold and clear times."""

    @property
    def action(self) -> Action:
        """What should be done, by whom."""

    @property
    def status(self) -> str:
        """CAP status: Actual, or Exercise."""

    @property
    def unit(self) -> str:
        """Unit of values and limits."""

    @property
    def quantity(self) -> str:
        """What the value is."""

    @property
    def ladder(self) -> Ladder:
        """Limits by colour as the definition states them."""


def quantity_of(context: Context, quantity: str, unit: str) -> tuple[FloatArray, FloatArray] | str:
    """Return values and sigmas in the rule's quantity and unit, or the reason why that cannot be told.

    Subsidence is down positive: minus displacement or height, plus compaction; a line-of-sight value is divided by the cosine of the
    incidence angle that the datastream (or its source) states, and without one it says nothing about the vertical.
    """
    samples, datastream = context.samples, context.datastream
    if samples is None or datastream is None:
        raise TypeError("this rule needs a datastream and its samples")
    try:
        value = np.asarray(convert(samples.result, datastream.unit, unit), dtype=np.float64)
        sigma = np.asarray(convert_spread(samples.sigma, datastream.unit, unit), dtype=np.float64)
    except UnitError:
        return "unlike_unit"
    if quantity != "subsidence":
        return value, sigma
    factor = subsidence_factor(datastream, context.source)
    if isinstance(factor, str):
        return factor
    return factor * value, abs(factor) * sigma


def subsidence_factor(datastream: Datastream, source: Datastream | None) -> float | str:
    """Return what a value is multiplied by to be subsidence (down positive), or the reason why it cannot be said."""
    base = source.property_code if source is not None else datastream.property_code
    sign = next((sign for name, sign in SUBSIDENCE_SIGN.items() if base == name or base.startswith(f"{name}_")), None)
    if sign is None:
        return "no_subsidence"
    if not base.startswith("los_displacement"):
        return sign
    incidence = datastream.attributes.get("incidence_deg", (source.attributes if source else {}).get("incidence_deg"))
    if not isinstance(incidence, int | float) or not 0 <= incidence < 90:
        return "no_incidence_angle"
    return sign / float(np.cos(np.radians(incidence)))


@dataclass(frozen=True, slots=True)
class Calm:
    """Between `low` and `high`, in the datastream's unit, no sample says anything; its value for the rule is `factor` times it in `unit`."""

    low: float
    high: float
    unit: str
    factor: float

    def value_of(self, result: float, datastream: Datastream) -> float:
        """Return what a result is in the rule's quantity and unit."""
        return self.factor * float(convert(result, datastream.unit, self.unit))


def calm_of(ladder: Ladder, quantity: str, unit: str, datastream: Datastream, source: Datastream | None) -> Calm | None:
    """Return between which values no sample passes a limit of `judged` or is kept by one; None = unknown.

    A hair less than that: a value so near a limit that rounding could tell it from the other side is judged by itself.
    """
    factor = 1.0 if quantity != "subsidence" else subsidence_factor(datastream, source)
    if isinstance(factor, str) or not ladder.levels:
        return None
    clear = min(ladder.levels.values()) - ladder.deadband if ladder.above else max(ladder.levels.values()) + ladder.deadband
    try:
        bound = float(convert(clear / factor, unit, datastream.unit))
    except UnitError:
        return None
    hair = 1e-9 * (1.0 + abs(bound))
    span = (-np.inf, bound - hair) if ladder.above == (factor > 0.0) else (bound + hair, np.inf)
    return Calm(*span, unit, factor)


def usable(samples: SeriesData, events: Sequence[StationEvent]) -> npt.NDArray[np.bool_]:
    """Return which samples may be judged: usable quality, a result, and outside of every excluding event."""
    good = _IS_USABLE[np.asarray(samples.quality)] & np.isfinite(samples.result)
    for event in events:
        if event.effect is EventEffect.EXCLUDE:
            during = samples.time >= instant_of(event.start)
            if event.end is not None:
                during &= samples.time < instant_of(event.end)
            good &= ~during
    return np.asarray(good, dtype=np.bool_)


def instant_of(moment: datetime) -> np.datetime64:
    """Return an aware time as a numpy instant (UTC)."""
    return np.datetime64(round((moment - datetime.fromisoformat("1970-01-01T00:00:00+00:00")) / timedelta(microseconds=1)), "us")


def climb(ladder: Ladder, value: FloatArray, slack: FloatArray | float = 0.0) -> LevelArray:
    """Return the worst level whose limit `value` passes; `slack` (>= 0, same unit) makes every limit that much harder to pass."""
    reached = np.zeros(np.shape(value), dtype=np.int8)
    for level, limit in sorted(ladder.levels.items()):
        passed = value - slack >= limit if ladder.above else value + slack <= limit
        reached[passed] = int(level)
    return reached


def judged(context: Context, ladder: Ladder, value: FloatArray, sigma: FloatArray, *, sigmas: float, needs_good: bool) -> Trace:
    """Hold values against a ladder.

    Parameters
    ----------
    value, sigma
        In the ladder's unit; NaN sigma = unknown.
    sigmas
        How many sigma the value must lie beyond a limit; with more than 0 an unknown sigma makes the verdict unsure.
    needs_good
        True where a quality of *unknown* (an interim estimate) makes the verdict unsure too.
    """
    samples = context.samples
    if samples is None:
        raise TypeError("this rule needs samples")
    blind = ~usable(samples, context.events) | ~np.isfinite(value)
    known = np.isfinite(sigma) if sigmas > 0 else np.ones(len(value), dtype=np.bool_)
    interim = (np.asarray(samples.quality) != Quality.GOOD) if needs_good else np.zeros(len(value), dtype=np.bool_)
    sure = known & ~interim & ~blind
    safe = np.where(blind, np.nan, value)
    slack = np.where(known, sigmas * np.where(np.isfinite(sigma), sigma, 0.0), 0.0)
    confident = climb(ladder, safe, slack)
    estimate = climb(ladder, safe)
    reason = np.full(len(value), "", dtype=object)
    reason[estimate > confident] = "worse_not_significant"
    reason[(estimate > 0) & (confident == 0)] = "not_significant"
    reason[interim & (confident > 0)] = "interim"
    reason[~known & (estimate > 0)] = "no_sigma"
    reason[blind] = "no_usable_value"
    return Trace(
        time=samples.time,
        up=np.where(sure, confident, 0).astype(np.int8),
        keep=climb(ladder, safe, -ladder.deadband),
        unsure=np.where(sure | blind, 0, confident).astype(np.int8),
        blind=np.asarray(blind, dtype=np.bool_),
        value=safe,
        sigma=sigma,
        reason=reason,
    )


def joined(parts: Sequence[Trace]) -> Trace:
    """Return traces of stretches that follow each other as one; they have no details."""

    def column(name: str) -> npt.NDArray[Any]:
        return np.concatenate([getattr(part, name) for part in parts])

    return Trace(
        time=column("time"),
        up=column("up"),
        keep=column("keep"),
        unsure=column("unsure"),
        blind=column("blind"),
        value=column("value"),
        sigma=column("sigma"),
        reason=column("reason"),
    )


def rows_of(series: SeriesData, rows: slice) -> SeriesData:
    """Return some rows of a series."""
    return SeriesData(series.time[rows], series.result[rows], series.sigma[rows], series.quality[rows], series.end[rows])


def blind_trace(time: TimeArray, reason: str) -> Trace:
    """Return a trace that can tell nothing, for one reason."""
    n = len(time)
    nothing, unknown = np.zeros(n, dtype=np.int8), np.full(n, np.nan)
    return Trace(time, nothing, nothing, nothing, np.ones(n, dtype=np.bool_), unknown, unknown, np.full(n, reason, dtype=object))


def evaluation_of(trace: Trace, context: Context, ladder: Ladder, unit: str) -> Evaluation:
    """Return what the newest sample of a trace says; without samples it cannot be told."""
    if not len(trace):
        return Evaluation(Verdict.CANNOT_TELL, Level.NONE, context.now, unit=unit, reason="no_observation")
    row = len(trace) - 1
    level = Level(int(trace.up[row]))
    value, sigma = float(trace.value[row]), float(trace.sigma[row])
    return Evaluation(
        verdict=trace.verdict(row),
        level=level,
        at=moment_of(trace.time[row]),
        value=value if np.isfinite(value) else None,
        sigma=sigma if np.isfinite(sigma) else None,
        unit=unit,
        limit=ladder.levels.get(level),
        reason=str(trace.reason[row]),
    )


def moment_of(instant: Any) -> datetime:
    """Return a numpy instant (UTC) as an aware datetime."""
    microseconds = int(np.datetime64(instant, "us").astype(np.int64))
    return datetime.fromisoformat("1970-01-01T00:00:00+00:00") + timedelta(microseconds=microseconds)

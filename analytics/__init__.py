"""Analytics: pure functions from arrays to outcomes, and the registry of methods.

`METHODS` is the registry; `analyse_datastream` runs all that suit one datastream with one shared fit; and
`fit_curve` recomputes curve and band of a stored run. This file finishes with `analyse_datastream`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType

from analytics import level_forecast, limits, recent_rate, screening, velocity
from analytics.detection import Detection, detect_in_series
from analytics.forecast import Curve, fit_curve
from analytics.level_forecast import ForecastParameters
from analytics.limits import LimitLine, LimitParameters
from analytics.method import Method, input_digest
from analytics.preparation import VelocityParameters, prepare
from analytics.recent_rate import RecentRateParameters
from analytics.sampling import Samples
from analytics.screening import AnomalyParameters
from domain.finding import Outcome
from domain.model import StationEvent, ValueKind

__all__ = [
    "METHODS",
    "AnalysisSettings",
    "Curve",
    "Detection",
    "LimitLine",
    "Method",
    "Samples",
    "analyse_datastream",
    "detect_in_series",
    "fit_curve",
    "input_digest",
    "velocity_parameters",
]

METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "velocity": Method("velocity", velocity.VERSION, VelocityParameters, velocity.run, "velocity.md"),
        "rate_12mo": Method("rate_12mo", recent_rate.VERSION, RecentRateParameters, recent_rate.run, "rate_12mo.md"),
        "anomaly": Method("anomaly", screening.VERSION, AnomalyParameters, screening.run, "anomaly.md"),
        "time_to_limit": Method("time_to_limit", limits.VERSION, LimitParameters, limits.run, "time_to_limit.md"),
        "forecast": Method("forecast", level_forecast.VERSION, ForecastParameters, level_forecast.run, "forecast.md"),
    }
)


MILLIMETRE_PROPERTIES = frozenset({"height", "displacement_up", "compaction", "los_displacement"})
"""Properties whose rates are mm/a whatever the stored unit of length."""


@dataclass(frozen=True)
class AnalysisSettings:
    """What a datastream says about itself to the analytics.

    Attributes
    ----------
    unit : str
        UCUM unit of the stored values.
    property_code : str
        Heights in m are analysed in mm, so that all vertical rates share one unit.
    value_kind : ValueKind
        Instant, mean, total or totaliser.
    zone_offset_h : float
        Hours by which the node's days begin before UTC days.
    interval_s : float or None
        Declared sampling interval in seconds.
    sparse : bool or None
        True for surveys (levelling), None to decide by the interval.
    limits : tuple of LimitLine
        Figures in the datastream's unit for `time_to_limit`.
    find_steps : bool
        Whether unlogged steps are searched for.
    """

    unit: str
    property_code: str = ""
    value_kind: ValueKind = ValueKind.INSTANT
    zone_offset_h: float = 8.0
    interval_s: float | None = None
    sparse: bool | None = None
    limits: tuple[LimitLine, ...] = ()
    find_steps: bool = True


def velocity_parameters(settings: AnalysisSettings) -> VelocityParameters:
    """Return the one default setting as a datastream's unit, property and interval have it."""
    in_mm = settings.property_code in MILLIMETRE_PROPERTIES and settings.unit == "m"
    return replace(
        VelocityParameters(),
        unit="mm" if in_mm else settings.unit,
        scale=1000.0 if in_mm else 1.0,
        value_kind=settings.value_kind,
        zone_offset_h=settings.zone_offset_h,
        interval_s=settings.interval_s,
        sparse=settings.sparse,
        find_steps=settings.find_steps,
    )


def analyse_datastream(
    samples: Samples, events: Sequence[StationEvent], settings: AnalysisSettings, now: datetime
) -> list[Outcome]:
    """Run every method that suits one datastream, sharing one fit.

    Parameters
    ----------
    samples : Samples
        As stored, flags included.
    events : sequence of StationEvent
        The station's log.
    settings : AnalysisSettings
    now : datetime
        Aware; later samples are not looked at.

    Returns
    -------
    list of Outcome
        Velocity, rate over twelve months, anomalies, forecast and, where limits are given, time to limit. Each equals
        what the method's own `run` returns.
    """
    base = velocity_parameters(settings)
    ready = prepare(samples, events, base, now)
    outcomes = [
        velocity.outcome(samples, events, base, ready),
        recent_rate.outcome(samples, events, RecentRateParameters(base), ready, now),
        screening.outcome(samples, events, AnomalyParameters(base), ready, now),
        level_forecast.outcome(samples, events, ForecastParameters(base), ready, now),
    ]
    if settings.limits:
        chosen = LimitParameters(base, settings.limits)
        outcomes.append(limits.outcome(samples, events, chosen, ready, now))
    return outcomes

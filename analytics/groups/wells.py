"""The methods of one well: `recovery`, `static_level` and `temperature_trend`.

Members are a well's flow, levels and temperatures. This file finishes with `run_temperature_trend`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analytics.compaction import values_at
from analytics.geothermal import is_equal_flow, is_shut_in, monthly_trend, thermal_rise_m
from analytics.groups.method import Member, make_group_run
from analytics.method import aware
from analytics.sampling import Floats, Samples
from analytics.well_lines import recovery_line
from domain.finding import Finding, FindingKind, Outcome, Scalar
from domain.quality import Quality

RECOVERY, STATIC_LEVEL, TEMPERATURE = "recovery", "static_level", "temperature_trend"
VERSION = "1"
DEPTHS = ("dynamic_depth_to_water", "depth_to_water", "static_depth_to_water")
FLOWS = {"abstraction_rate": {"m3/h": 1.0, "m3/d": 1.0 / 24.0, "L/s": 3.6, "m3/s": 3600.0}}
COLUMN_TEMPERATURES = ("water_temperature", "liquid_surface_temperature", "wellhead_temperature")


def flow_of(members: Sequence[Member], now: datetime) -> Samples | None:
    """Return the flow in m3/h, gaps left as gaps, or None where no meter is."""
    for member in members:
        scale = FLOWS.get(member.property_code, {}).get(member.unit)
        if scale is not None:
            known = member.known(now)
            return Samples(known.time, known.value * scale)
    return None


@dataclass(frozen=True)
class RecoveryParameters:
    """The one default setting of `recovery`.

    Attributes
    ----------
    least_pumped_h : float
        A run shorter than this is no test.
    longest_recovery_h : float
        Levels later than this after the stop are not looked at.
    steadiness : float
        Share by which the flow may vary during the run.
    still_m3_h : float
        Flow of a meter that stands still.
    least_samples : int
        Levels after the stop.
    longest_gap_h : float
        A silent meter breaks a run.
    tests : int
        Newest tests that are told.
    """

    least_pumped_h: float = 6.0
    longest_recovery_h: float = 240.0
    steadiness: float = 0.15
    still_m3_h: float = 0.05
    least_samples: int = 12
    longest_gap_h: float = 6.0
    tests: int = 5


@dataclass(frozen=True)
class PumpingRun:
    """A stretch of steady flow that ended in a shut-in: indices of its first sample and of the first one at rest, and its flow."""

    start: int
    stop: int
    flow_m3_h: float


def pumping_runs(flow: Samples, parameters: RecoveryParameters) -> list[PumpingRun]:
    """Return the steady runs of a well that end with the pump stopping.

    Examples
    --------
    >>> t = np.datetime64("2024-01-01", "us") + np.arange(30) * np.timedelta64(1, "h")
    >>> pumping_runs(Samples(t, np.where(np.arange(30) < 12, 40.0, 0.0)), RecoveryParameters())
    [PumpingRun(start=0, stop=12, flow_m3_h=40.0)]
    """
    if len(flow) < 3:
        return []
    hours = (flow.time - flow.time[0]) / np.timedelta64(1, "h")
    gap = np.concatenate(([False], np.diff(hours) > parameters.longest_gap_h))
    on = flow.value > parameters.still_m3_h
    found, start = list[PumpingRun](), None
    for index in range(len(flow)):
        if on[index] and (start is None or gap[index]):
            start = index
        elif not on[index] and start is not None:
            mean = float(flow.value[start:index].mean())
            steady = float(np.ptp(flow.value[start:index])) <= 2.0 * parameters.steadiness * mean
            if not gap[index] and steady and hours[index] - hours[start] >= parameters.least_pumped_h:
                found.append(PumpingRun(start, index, mean))
            start = None
    return found


def run_recovery(members: Sequence[Member], parameters: RecoveryParameters, now: datetime) -> Mapping[str, Outcome]:
    """Evaluate every shut-in after a steady run as a recovery test: transmissivity by Theis recovery, early data left out."""
    flow = flow_of(members, now)
    level = next((m for code in DEPTHS for m in members if m.property_code == code), None)
    if flow is None or level is None:
        return {}
    depth = level.known(now)
    tests: list[dict[str, Any]] = []
    scalars: list[Scalar] = []
    for run in pumping_runs(flow, parameters)[-parameters.tests :]:
        tests.append(_recovery_test(flow, depth, run, parameters))
        if "transmissivity_m2_d" in tests[-1]:
            end = aware(flow.time[run.stop])
            test = tests[-1]
            scalars.append(Scalar("transmissivity", "m2/d", end, test["transmissivity_m2_d"], test["transmissivity_sigma_m2_d"]))
    status = "ok" if scalars else "cannot_tell"
    record = make_group_run((RECOVERY, VERSION), members, parameters, status, {"tests": tests})
    return {level.datastream: Outcome(record, tuple(scalars))}


def _recovery_test(flow: Samples, depth: Samples, run: PumpingRun, parameters: RecoveryParameters) -> dict[str, Any]:
    begin, stop = flow.time[run.start], flow.time[run.stop]
    # Samples say what flowed since the one before: at an even interval the pump stopped between the last flow and the first rest.
    on_again = np.flatnonzero((flow.time > stop) & (flow.value > parameters.still_m3_h))
    until = flow.time[on_again[0]] if on_again.size else stop + np.timedelta64(round(parameters.longest_recovery_h * 3600), "s")
    pumped_d = float((stop - begin) / np.timedelta64(1, "s")) / 86400.0
    test: dict[str, Any] = {"stopped": aware(stop), "pumped_d": pumped_d, "flow_m3_d": run.flow_m3_h * 24.0}
    after = depth.where((depth.time > stop) & (depth.time < until))
    rest = depth.where((depth.time <= begin) & (depth.time >= begin - np.timedelta64(2, "D")))
    if len(after) < parameters.least_samples:
        return test | {"reason": "too_few_levels"}
    # A constant static level shifts the line and leaves its slope: where none was seen before the run, the last level serves.
    static = float(np.median(rest.value)) if len(rest) else float(after.value.min())
    since_d = (after.time - stop) / np.timedelta64(1, "s") / 86400.0
    found = recovery_line(since_d, after.value - static, pumped_d, run.flow_m3_h * 24.0)
    if found is None:
        return test | {"reason": "no_straight_line"}
    return test | {
        "transmissivity_m2_d": found.transmissivity,
        "transmissivity_sigma_m2_d": found.transmissivity_sigma,
        "per_log_cycle_m": 2.302585092994046 * run.flow_m3_h * 24.0 / (4.0 * np.pi * found.transmissivity),
        "n": found.n,
        "n_left_out": found.n_left_out,
        "rmse_m": found.rmse_m,
    }


@dataclass(frozen=True)
class StaticLevelParameters:
    """The one default setting of `static_level`.

    Attributes
    ----------
    column_m : float or None
        Length of the water column above the feed zone, from configuration; None = no thermal correction.
    reference_temperature : float or None
        Temperature in degrees Celsius that levels are reduced to; None = the first one known.
    quiet_h : float
        Hours of shut-in before a level is static.
    reach_d : float
        How far a temperature may be from its level, days.
    """

    column_m: float | None = None
    reference_temperature: float | None = None
    quiet_h: float = 12.0
    reach_d: float = 1.0


def run_static_level(members: Sequence[Member], parameters: StaticLevelParameters, now: datetime) -> Mapping[str, Outcome]:
    """Static depths to water: shut-in samples only, reduced to one temperature of the column."""
    flow = flow_of(members, now)
    level = next((m for code in DEPTHS for m in members if m.property_code == code), None)
    if flow is None or level is None:
        return {}
    depth = level.known(now)
    still = depth.where(is_shut_in(depth.time, flow.time, flow.value, parameters.quiet_h))
    temperature = _temperature_at(members, still, parameters.reach_d, now)
    value, reasons = still.value, tuple[str, ...](("shut_in",))
    rise: Floats | None = None
    if parameters.column_m is not None:
        keep = np.isfinite(temperature)
        still, temperature, value = still.where(keep), temperature[keep], value[keep]
        if temperature.size:
            reference = float(temperature[0]) if parameters.reference_temperature is None else parameters.reference_temperature
            rise = thermal_rise_m(parameters.column_m, temperature, reference)
            value, reasons = value + rise, (*reasons, "density_corrected")
    days, first = _daily_first(still)
    scalars = tuple(Scalar("static", "m", aware(still.time[i]), float(value[i]), reasons=reasons) for i in first)
    result: dict[str, Any] = {"n": len(depth), "n_shut_in": len(still), "days": days, "column_m": parameters.column_m}
    if rise is not None and rise.size:
        result["thermal_rise_m"] = float(rise[-1])
        result["apparent_change_m"] = float(still.value[-1] - still.value[0])
        result["corrected_change_m"] = float(value[-1] - value[0])
    status = "ok" if scalars else "cannot_tell"
    return {level.datastream: Outcome(make_group_run((STATIC_LEVEL, VERSION), members, parameters, status, result), scalars)}


def _temperature_at(members: Sequence[Member], at: Samples, reach_d: float, now: datetime) -> Floats:
    for code in COLUMN_TEMPERATURES:
        for member in members:
            if member.property_code == code:
                known = member.known(now)
                return values_at(known.time, known.value, at.time, reach_d)
    return np.full(len(at), np.nan)


def _daily_first(samples: Samples) -> tuple[int, NDArray[np.int64]]:
    """How many days have samples, and the last sample of each: the longest at rest."""
    if not len(samples):
        return 0, np.zeros(0, dtype=np.int64)
    day = samples.time.astype("datetime64[D]")
    last = np.flatnonzero(np.concatenate((day[1:] != day[:-1], [True])))
    return int(last.size), last


@dataclass(frozen=True)
class TemperatureParameters:
    """The one default setting of `temperature_trend`.

    Attributes
    ----------
    band : float
        Share by which the flow may differ from the usual one.
    minimum_run_min : float
        Minutes of steady flow before a temperature counts.
    level : float
        Significance below which a trend is told.
    least_per_a : float
        Smallest trend that is told, K/a: below it lies the drift of a thermometer.
    """

    band: float = 0.15
    minimum_run_min: float = 30.0
    level: float = 0.01
    least_per_a: float = 0.1


def run_temperature_trend(members: Sequence[Member], parameters: TemperatureParameters, now: datetime) -> Mapping[str, Outcome]:
    """Trend of the wellhead temperature at equal flow, with its p-value; samples of low flow and of the first minutes are left out."""
    flow = flow_of(members, now)
    wellhead = next((m for m in members if m.property_code == "wellhead_temperature"), None)
    if flow is None or wellhead is None:
        return {}
    known = wellhead.known(now)
    mask, usual = is_equal_flow(known.time, flow.time, flow.value, parameters.band, parameters.minimum_run_min)
    used = known.where(mask)
    trend = monthly_trend(used.time, used.value)
    result: dict[str, Any] = {"n": len(known), "n_equal_flow": len(used), "flow_m3_h": usual, "trend": trend}
    run = make_group_run((TEMPERATURE, VERSION), members, parameters, "ok" if trend else "cannot_tell", result)
    if not len(used):
        return {wellhead.datastream: Outcome(run)}
    end = aware(used.time[-1])
    if trend is None:
        missing = Scalar("trend_equal_flow", "K/a", end, None, None, Quality.MISSING, ("cannot_tell",))
        return {wellhead.datastream: Outcome(run, (missing,))}
    findings: tuple[Finding, ...] = ()
    if trend.p_value < parameters.level and abs(trend.rate_per_a) >= parameters.least_per_a:
        details = {"cause": "equal_flow", "p_value": trend.p_value, "flow_m3_h": usual, "months": trend.n}
        findings = (
            Finding(
                FindingKind.DRIFT, aware(used.time[0]), end, trend.rate_per_a, trend.sigma_per_a,
                abs(trend.rate_per_a) / trend.sigma_per_a if trend.sigma_per_a else None, "K/a", parameters=details,
            ),
        )  # fmt: skip
    return {
        wellhead.datastream: Outcome(
            run, (Scalar("trend_equal_flow", "K/a", end, trend.rate_per_a, trend.sigma_per_a),), findings
        )
    }

"""The methods of an area: `funnel` over all rates, and `line` along a railway or a sea wall.

Members of both are rates (mm/a) or displacements with their places. This file finishes with `run_line`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from analytics.compaction import values_at
from analytics.groups.layers import TO_MM
from analytics.groups.marks import free_of_offsets
from analytics.groups.method import Member, make_group_run
from analytics.kriging import Surface, Variogram, krige, local_metres
from analytics.method import aware
from analytics.sampling import Floats, Samples
from analytics.spatial import (
    Distortion,
    DistortionLimit,
    along_line,
    angular_distortions,
    border_pairs,
    class_areas,
    distance_to_line,
    grid_over,
    judge_span,
    well_near_line,
)
from analytics.variogram import fit_by_likelihood
from domain.finding import Finding, FindingKind, Outcome, Scalar

FUNNEL, LINE = "funnel", "line"
VERSION = "2"
RATE = "_rate_12mo"
UP = ("height", "displacement_up")
"""Properties that are up positive: subsidence is their negative."""
PUMPING = ("abstraction_rate", "abstraction_volume", "abstraction_total")


@dataclass(frozen=True)
class FunnelParameters:
    """The one default setting of `funnel`.

    Attributes
    ----------
    classes : tuple of float
        Boundaries of the rate classes, mm/a, down positive.
    cell_m, reach_m : float
        Width of a cell, and how far from a datum the surface goes.
    longest_age_a : float
        Rates older than this against the newest one are left out.
    least_points : int
    farthest_pair_m : float
        Pairs across a border.
    pairs : int
        Steepest pairs that are told.
    """

    classes: tuple[float, ...] = (5.0, 10.0, 20.0, 30.0)
    cell_m: float = 200.0
    reach_m: float = 6000.0
    longest_age_a: float = 1.5
    least_points: int = 6
    farthest_pair_m: float = 10_000.0
    pairs: int = 20


@dataclass(frozen=True)
class Rates:
    """Subsidence rates with their places: metres in a local plane, mm/a down positive, sigmas, members; each (n,)."""

    places_m: Floats
    origin: tuple[float, float]
    subsidence: Floats
    sigma: Floats
    members: tuple[Member, ...]
    newest: np.datetime64 | None


def rates_of(members: Sequence[Member], longest_age_a: float, now: datetime, origin: tuple[float, float] | None = None) -> Rates:
    """Newest rate of each placed mark, as subsidence; several of one station are one datum: the one with the smallest sigma."""
    newest: dict[str, tuple[Member, np.datetime64, float, float]] = {}
    for member in members:
        if not member.property_code.endswith(RATE) or member.longitude_deg is None or member.latitude_deg is None:
            continue
        known = member.known(now)
        if not len(known):
            continue
        sign = -1.0 if member.property_code.removesuffix(RATE) in UP else 1.0
        sigma = np.nan if known.sigma is None else float(known.sigma[-1])
        before = newest.get(member.station)
        if before is None or not np.isfinite(before[3]) or sigma < before[3]:
            newest[member.station] = (member, known.time[-1], sign * float(known.value[-1]), sigma)
    rows = [newest[station] for station in sorted(newest)]
    last = max((row[1] for row in rows), default=None)
    if last is not None:
        rows = [row for row in rows if (last - row[1]) / np.timedelta64(1, "D") <= longest_age_a * 365.25]
    longitude = np.array([row[0].longitude_deg for row in rows], dtype=np.float64)
    latitude = np.array([row[0].latitude_deg for row in rows], dtype=np.float64)
    if origin is None:
        origin = (float(longitude.mean()), float(latitude.mean())) if rows else (0.0, 0.0)
    places = local_metres(longitude, latitude, origin) if rows else np.zeros((0, 2))
    return Rates(
        places,
        origin,
        np.array([row[2] for row in rows]),
        np.array([row[3] for row in rows]),
        tuple(row[0] for row in rows),
        last,
    )


def surface_over(rates: Rates, targets_m: Floats) -> tuple[Surface, Variogram]:
    """Kriged subsidence rates at targets."""
    variogram = fit_by_likelihood(rates.places_m, rates.subsidence, rates.sigma)
    return krige(rates.places_m, rates.subsidence, targets_m, variogram, rates.sigma), variogram


def run_funnel(members: Sequence[Member], parameters: FunnelParameters, now: datetime) -> Mapping[str, Outcome]:
    """Surface of subsidence rates: areas by class with their uncertainty, the deepest place, and pairs across borders.

    The outcome is under the code "" : it belongs to the network, not to one of its members.
    """
    rates = rates_of(members, parameters.longest_age_a, now)
    if rates.subsidence.size < parameters.least_points or rates.newest is None:
        record = make_group_run((FUNNEL, VERSION), members, parameters, "cannot_tell", {"points": rates.subsidence.size})
        return {"": Outcome(record)}
    centres, cell_m = grid_over(rates.places_m, parameters.cell_m, parameters.reach_m)
    surface, variogram = surface_over(rates, centres)
    areas = class_areas(surface.value, surface.sigma, cell_m**2, parameters.classes)
    deepest = int(np.argmax(surface.value))
    regions = [member.region_code for member in rates.members]
    pairs = border_pairs(rates.places_m, rates.subsidence, rates.sigma, regions, parameters.farthest_pair_m)
    end = aware(rates.newest)
    result: dict[str, Any] = {
        "points": rates.subsidence.size,
        "variogram": variogram,
        "cell_m": cell_m,
        "origin": rates.origin,
        "area_km2": centres.shape[0] * cell_m**2 / 1e6,
        "classes": [
            {"beyond": a.beyond, "area_km2": a.area_m2 / 1e6, "low_km2": a.low_m2 / 1e6, "high_km2": a.high_m2 / 1e6}
            for a in areas
        ],
        "deepest": {
            "subsidence_mm_per_a": surface.value[deepest],
            "sigma": surface.sigma[deepest],
            "east_m": centres[deepest, 0],
            "north_m": centres[deepest, 1],
        },
        "border_pairs": [
            {
                "datastreams": [rates.members[p.first].datastream, rates.members[p.second].datastream],
                "regions": [regions[p.first], regions[p.second]],
                "distance_m": p.distance_m,
                "difference_mm_per_a": p.difference,
                "sigma": p.sigma,
                "gradient_mm_per_a_per_km": p.gradient_per_km,
            }
            for p in pairs[: parameters.pairs]
        ],
    }
    scalars = tuple(
        Scalar(f"area_beyond_{a.beyond:.0f}", "km2", end, a.area_m2 / 1e6, max(a.high_m2 - a.low_m2, 0.0) / 2e6) for a in areas
    )
    record = make_group_run((FUNNEL, VERSION), members, parameters, "ok", result)
    return {"": Outcome(record, scalars)}


@dataclass(frozen=True)
class LineParameters:
    """What configuration says of one line.

    Attributes
    ----------
    line : tuple of (float, float)
        Longitude and latitude of its vertices, degrees.
    limits : tuple of DistortionLimit
        With their sources.
    on_line_m : float
        Marks this near belong to the line.
    longest_span_m : float
        Marks further apart tell nothing of what lies between.
    protected_m, watched_m : float
        Pumping within the first is a breach; up to the second where the ground subsides.
    subsiding_mm_per_a : float
        Rate from which a zone subsides.
    source : str
        Where the distances are laid down.
    step_m : float
        Step of the gradient along the line.
    """

    line: tuple[tuple[float, float], ...] = ()
    limits: tuple[DistortionLimit, ...] = ()
    on_line_m: float = 100.0
    longest_span_m: float = 200.0
    protected_m: float = 200.0
    watched_m: float = 500.0
    subsiding_mm_per_a: float = 10.0
    source: str = ""
    step_m: float = 100.0
    longest_age_a: float = 1.5
    pumping_age_d: float = 60.0


def run_line(members: Sequence[Member], parameters: LineParameters, now: datetime) -> Mapping[str, Outcome]:
    """Angular distortion between marks, gradient of the kriged rates, and pumping wells near the line.

    The outcome is under the code "" : it belongs to the line.
    """
    if len(parameters.line) < 2:
        return {}
    origin = parameters.line[0]
    line_m = local_metres([p[0] for p in parameters.line], [p[1] for p in parameters.line], origin)
    marks, chainage, settlement, when = _settlements(members, line_m, origin, parameters, now)
    spans = [span for span in angular_distortions(chainage, settlement) if span.span_m <= parameters.longest_span_m]
    judged = [(span, [verdict for verdict in judge_span(span, parameters.limits) if verdict.exceeded]) for span in spans]
    rates = rates_of(members, parameters.longest_age_a, now, origin)
    wells = _wells(members, line_m, origin, rates, parameters, now)
    if when is None and rates.newest is None and not wells:
        return {"": Outcome(make_group_run((LINE, VERSION), members, parameters, "cannot_tell", {"reason": "no_data"}))}
    dates = [moment for moment in (when, rates.newest, *(well["time"] for well in wells)) if moment is not None]
    end = aware(max(np.datetime64(moment, "us") for moment in dates))
    codes = {float(x): mark.datastream for x, mark in zip(chainage, marks, strict=True)}
    findings = [_distortion_finding(span, verdicts, codes, parameters, end) for span, verdicts in judged if verdicts]
    findings += [_well_finding(well, parameters) for well in wells if well["verdict"] == "breach"]
    worst = max(spans, key=lambda span: span.distortion, default=None)
    result: dict[str, Any] = {
        "marks": [
            {"datastream": m.datastream, "chainage_m": x, "settlement_mm": s}
            for m, x, s in zip(marks, chainage, settlement, strict=True)
        ],
        "spans": [{**_span(span, codes), "limits": judge_span(span, parameters.limits)} for span in spans],
        "wells": [{**well, "time": aware(well["time"])} for well in wells],
        "gradient": _gradient(rates, line_m, parameters),
    }
    scalars: tuple[Scalar, ...] = ()
    if worst is not None:
        scalars = (Scalar("angular_distortion", "mm/m", end, worst.distortion * 1000.0),)
    status = "ok" if spans or rates.subsidence.size else "cannot_tell"
    return {"": Outcome(make_group_run((LINE, VERSION), members, parameters, status, result), scalars, tuple(findings))}


def _settlements(
    members: Sequence[Member], line_m: Floats, origin: tuple[float, float], parameters: LineParameters, now: datetime
) -> tuple[list[Member], Floats, Floats, np.datetime64 | None]:
    """Marks on the line by chainage, with their settlement since the newest first epoch of all of them, mm."""
    found: list[tuple[float, Member, Samples]] = []
    fine, at = along_line(line_m, 1.0)
    for member in members:
        if member.property_code not in UP or member.longitude_deg is None or member.latitude_deg is None:
            continue
        place = local_metres([member.longitude_deg], [member.latitude_deg], origin)
        if float(distance_to_line(place, line_m)[0]) > parameters.on_line_m:
            continue
        known = member.known(now)
        scale = TO_MM.get(member.unit, 1.0)
        series = Samples(known.time, known.value * scale)
        series = free_of_offsets(member, series)
        if len(series) >= 2:
            nearest = int(np.argmin(((at - place[0]) ** 2).sum(axis=1)))
            found.append((float(fine[nearest]), member, series))
    found.sort(key=lambda item: (item[0], item[1].datastream))
    if not found:
        return [], np.zeros(0), np.zeros(0), None
    ends = np.array([max(item[2].time[0] for item in found), min(item[2].time[-1] for item in found)])
    settlement = []
    for _, _, series in found:
        first, last = values_at(series.time, series.value, ends, 60.0)
        settlement.append(first - last)
    return [item[1] for item in found], np.array([item[0] for item in found]), np.array(settlement), ends[1]


def _wells(
    members: Sequence[Member],
    line_m: Floats,
    origin: tuple[float, float],
    rates: Rates,
    parameters: LineParameters,
    now: datetime,
) -> list[dict[str, Any]]:
    """Wells that pumped lately within the watched distance, each judged by its distance and the subsidence there."""
    wells: dict[str, dict[str, Any]] = {}
    for member in members:
        if member.property_code not in PUMPING or member.longitude_deg is None or member.latitude_deg is None:
            continue
        place = local_metres([member.longitude_deg], [member.latitude_deg], origin)
        distance = float(distance_to_line(place, line_m)[0])
        known = member.known(now)
        if distance > parameters.watched_m or not _pumps(member, known, parameters.pumping_age_d):
            continue
        rate: float | None = None
        sigma: float | None = None
        if rates.subsidence.size >= 3:
            surface, _ = surface_over(rates, place)
            rate, sigma = float(surface.value[0]), float(surface.sigma[0])
        verdict = well_near_line(distance, parameters.protected_m, parameters.watched_m, rate, parameters.subsiding_mm_per_a)
        wells[member.station] = {
            "station": member.station, "datastream": member.datastream, "distance_m": distance, "time": known.time[-1],
            "subsidence_mm_per_a": rate, "sigma": sigma, "verdict": verdict,
        }  # fmt: skip
    return sorted(wells.values(), key=lambda well: (well["distance_m"], well["station"]))


def _pumps(member: Member, known: Samples, age_d: float) -> bool:
    """Whether anything flowed in the last days of the record; a totaliser that moved is a flow."""
    if not len(known):
        return False
    lately = known.where(known.time >= known.time[-1] - np.timedelta64(round(age_d * 86400), "s"))
    if member.property_code == "abstraction_total":
        return bool(np.ptp(lately.value) > 0.0)
    return bool((lately.value > 0.0).any())


def _span(span: Distortion, codes: Mapping[float, str]) -> dict[str, Any]:
    return {
        "from": codes[span.start_m],
        "to": codes[min(chainage for chainage in codes if chainage > span.start_m)],
        "span_m": span.span_m,
        "differential_mm": span.differential_mm,
        "distortion_mm_per_m": span.distortion * 1000.0,
    }


def _distortion_finding(
    span: Distortion, verdicts: Sequence[Any], codes: Mapping[float, str], parameters: LineParameters, end: datetime
) -> Finding:
    sources = {limit.code: limit.source for limit in parameters.limits}
    exceeded = [
        {"limit": v.limit, "allowed_mm": v.allowed_mm, "certain": v.certain, "source": sources[v.limit]} for v in verdicts
    ]
    return Finding(
        FindingKind.DISTORTION, end, None, span.distortion * 1000.0, span.sigma_mm / span.span_m,
        max(span.differential_mm / v.allowed_mm for v in verdicts), "mm/m", parameters={**_span(span, codes), "exceeded": exceeded},
    )  # fmt: skip


def _well_finding(well: Mapping[str, Any], parameters: LineParameters) -> Finding:
    details = {name: value for name, value in well.items() if name != "time"} | {"source": parameters.source}
    score = parameters.protected_m / max(float(well["distance_m"]), 1.0)
    return Finding(
        FindingKind.PROXIMITY, aware(well["time"]), None, float(well["distance_m"]), None, score, "m", parameters=details
    )


def _gradient(rates: Rates, line_m: Floats, parameters: LineParameters) -> dict[str, Any] | None:
    """Steepest gradient of the kriged rates along the line, mm/a/km."""
    if rates.subsidence.size < 3:
        return None
    chainage, points = along_line(line_m, parameters.step_m)
    if chainage.size < 2:
        return None
    surface, _ = surface_over(rates, points)
    slopes = np.diff(surface.value) / np.diff(chainage) * 1000.0
    steepest = int(np.argmax(np.abs(slopes)))
    deepest = int(np.argmax(surface.value))
    return {
        "steepest_mm_per_a_per_km": slopes[steepest],
        "chainage_m": chainage[steepest],
        "deepest_mm_per_a": surface.value[deepest],
        "deepest_sigma": surface.sigma[deepest],
        "deepest_chainage_m": chainage[deepest],
    }

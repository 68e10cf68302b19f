"""The methods of one network of marks: `common_mode` and `tie`.

Members are the heights (or displacements) of one datum or frame. This file finishes with `run_tie`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from analytics.compaction import values_at
from analytics.groups.layers import TO_MM
from analytics.groups.method import Member, make_group_run
from analytics.kriging import local_metres
from analytics.method import aware, numpy_time
from analytics.network import Tie, campaigns, common_steps, epoch_matrix, tie_by_neighbours, tie_by_overlap
from analytics.sampling import Floats, Samples, Times
from domain.finding import Finding, FindingKind, Outcome, Scalar
from domain.model import EventKind, StationEvent

COMMON_MODE, TIE = "common_mode", "tie"
VERSION = "1"


@dataclass(frozen=True)
class CommonModeParameters:
    """The one default setting of `common_mode`: see `analytics.network.common_steps`; mm.

    Attributes
    ----------
    apart_d : float
        Pause between campaigns, days.
    """

    apart_d: float = 45.0
    minimum_marks: int = 8
    minimum_size_mm: float = 3.0
    largest_scatter_share: float = 0.5
    minimum_share: float = 0.75


def in_mm(member: Member, now: datetime) -> Samples:
    """Return the usable samples in millimetres."""
    known, scale = member.known(now), TO_MM.get(member.unit, 1.0)
    return Samples(known.time, known.value * scale, None if known.sigma is None else known.sigma * scale)


def free_of_offsets(member: Member, samples: Samples) -> Samples:
    """Take logged offsets of known size off, and leave out what lies before one of unknown size."""
    value, keep = samples.value.copy(), np.ones(len(samples), dtype=bool)
    scale = TO_MM.get(member.unit, 1.0)
    for event in member.events:
        if str(event.effect) == "offset" and event.size is not None:
            value[samples.time >= numpy_time(event.start)] -= event.size * scale
        elif str(event.effect) in {"offset", "break"}:
            keep &= samples.time >= numpy_time(event.start)
    return Samples(samples.time, value, samples.sigma).where(keep)


def run_common_mode(members: Sequence[Member], parameters: CommonModeParameters, now: datetime) -> Mapping[str, Outcome]:
    """Find campaigns at which the whole datum stepped; one finding on the first member, naming all.

    The step belongs to the datum, so every mark of it is a member, surveyed at that campaign or not.
    """
    if not members:
        return {}
    ordered = sorted(members, key=lambda member: member.datastream)
    series = [free_of_offsets(member, in_mm(member, now)) for member in ordered]
    pairs = [(item.time, item.value) for item in series]
    starts = campaigns([time for time, _ in pairs], parameters.apart_d)
    values, days = epoch_matrix(pairs, starts)
    steps = common_steps(
        values,
        days,
        parameters.minimum_marks,
        parameters.minimum_size_mm,
        parameters.largest_scatter_share,
        parameters.minimum_share,
    )
    codes = [member.datastream for member in ordered]
    findings = []
    for step in steps:
        first, last = _campaign_span(pairs, starts, step.campaign)
        details = {
            "members": codes,
            "moved": [codes[row] for row in step.marks],
            "marks": int(step.marks.size),
            "scatter": step.scatter,
            "share": step.share,
        }
        score = abs(step.size) / max(step.sigma, 1e-3)
        findings.append(
            Finding(FindingKind.COMMON_MODE, aware(first), aware(last), step.size, step.sigma, score, "mm", parameters=details)
        )
    enough = len(starts) > 1 and int(np.isfinite(values).any(axis=1).sum()) >= parameters.minimum_marks
    result: dict[str, Any] = {
        "campaigns": [aware(start) for start in starts],
        "steps": [
            {"campaign": aware(starts[s.campaign]), "size_mm": s.size, "sigma_mm": s.sigma, "marks": s.marks.size} for s in steps
        ],
    }
    run = make_group_run((COMMON_MODE, VERSION), ordered, parameters, "ok" if enough else "cannot_tell", result)
    return {codes[0]: Outcome(run, (), tuple(findings))}


def _campaign_span(pairs: Sequence[tuple[Times, Floats]], starts: Times, index: int) -> tuple[np.datetime64, np.datetime64]:
    times = np.concatenate([time for time, _ in pairs])
    inside = times[np.searchsorted(starts, times, side="right") - 1 == index]
    return inside.min(), inside.max()


@dataclass(frozen=True)
class TieParameters:
    """The one default setting of `tie`.

    Attributes
    ----------
    neighbours_m : float
        How far away a mark may be and still speak for the one that was lost.
    longest_wait_d : float
        Longest time between the last old and the first new epoch.
    epoch_reach_d : float
        A neighbour's epoch may be this far from the mark's.
    sigma_mm : float
        One standard deviation of an epoch where the data state none.
    """

    neighbours_m: float = 15_000.0
    longest_wait_d: float = 800.0
    epoch_reach_d: float = 60.0
    sigma_mm: float = 1.0


def run_tie(members: Sequence[Member], parameters: TieParameters, now: datetime) -> Mapping[str, Outcome]:
    """Tie every re-set mark to its predecessor: by overlap where the log states both, else by its neighbours.

    The overlap is a logged offset of known size, or a second datastream of the station with the channel `old` that goes on after the
    re-set. The outcome is on the mark's own datastream: the tie as a step with its sigma, and the cumulative carried across it.
    """
    outcomes: dict[str, Outcome] = {}
    for member in members:
        resets = sorted((event for event in member.events if event.kind == EventKind.RESET), key=lambda event: event.start)
        if not resets or member.datastream.endswith(":old"):
            continue
        outcome = _tied(member, resets, members, parameters, now)
        if outcome is not None:
            outcomes[member.datastream] = outcome
    return outcomes


def _tied(
    member: Member, resets: Sequence[StationEvent], members: Sequence[Member], parameters: TieParameters, now: datetime
) -> Outcome | None:
    samples = in_mm(member, now)
    ties: list[tuple[StationEvent, Tie | None]] = []
    value, variance = samples.value.copy(), np.zeros(len(samples))
    for event in resets:
        at = numpy_time(event.start)
        before, after = samples.where(samples.time < at), samples.where(samples.time >= at)
        if not len(before) or not len(after):
            continue
        tie = _tie(member, event, before, after, members, parameters, now)
        ties.append((event, tie))
        if tie is None:
            value[samples.time < at] = np.nan
        else:
            value[samples.time >= at] -= tie.offset
            variance[samples.time >= at] += tie.sigma**2
    if not ties:
        return None
    findings = tuple(
        Finding(
            FindingKind.STEP, event.start, None, tie.offset, tie.sigma, None, "mm", "tie",
            {"cause": "re_set", "method": tie.method, "n": tie.n, "note": event.note},
        )
        for event, tie in ties
        if tie is not None
    )  # fmt: skip
    described = [{"time": event.start, "note": event.note, "tie": tie} for event, tie in ties]
    known = np.isfinite(value)
    status = "ok" if all(tie is not None for _, tie in ties) else "cannot_tell"
    result: dict[str, Any] = {"ties": described}
    scalars: tuple[Scalar, ...] = ()
    if known.any():
        first = float(value[known][0])
        own = np.full(len(samples), parameters.sigma_mm) if samples.sigma is None else samples.sigma
        sigma = np.sqrt(np.where(np.isfinite(own), own, parameters.sigma_mm) ** 2 + variance)
        scalars = tuple(
            Scalar("cumulative_tied", "mm", aware(samples.time[i]), float(value[i] - first), float(sigma[i]), reasons=("tied",))
            for i in np.flatnonzero(known)
        )
        result |= {"cumulative_mm": scalars[-1].value, "cumulative_sigma_mm": scalars[-1].sigma}
    used = [member, *_neighbours(member, members, parameters.neighbours_m)]
    run = make_group_run((TIE, VERSION), used, parameters, status, result)
    return Outcome(run, scalars, findings)


def _tie(
    member: Member,
    event: StationEvent,
    before: Samples,
    after: Samples,
    members: Sequence[Member],
    parameters: TieParameters,
    now: datetime,
) -> Tie | None:
    sigma = _epoch_sigma(before, after, parameters)
    if event.size is not None:
        return Tie(event.size * TO_MM.get(member.unit, 1.0), float(np.hypot(sigma, sigma)), 1, "overlap")
    old = next((item for item in members if item.datastream == f"{member.datastream}:old"), None)
    if old is not None:
        kept = in_mm(old, now)
        overlap = tie_by_overlap(_near(kept, after.time, parameters.epoch_reach_d), after.value, sigma, sigma)
        if overlap is not None:
            return overlap
    wait = (after.time[0] - before.time[-1]) / np.timedelta64(1, "D")
    if wait > parameters.longest_wait_d:
        return None
    ends = np.array([before.time[-1], after.time[0]])
    changes = []
    for other in _neighbours(member, members, parameters.neighbours_m):
        series = in_mm(other, now)
        if any(e.kind == EventKind.RESET and ends[0] < numpy_time(e.start) <= ends[1] for e in other.events):
            continue
        first, last = _near(series, ends, parameters.epoch_reach_d)
        changes.append(last - first)
    return tie_by_neighbours(float(after.value[0] - before.value[-1]), changes, sigma)


def _epoch_sigma(before: Samples, after: Samples, parameters: TieParameters) -> float:
    stated = [item.sigma[np.isfinite(item.sigma)] for item in (before, after) if item.sigma is not None]
    known = np.concatenate(stated) if stated else np.zeros(0)
    return float(np.median(known)) if known.size else parameters.sigma_mm


def _near(samples: Samples, at: Times, reach_d: float) -> Floats:
    return values_at(samples.time, samples.value, at, reach_d)


def _neighbours(member: Member, members: Sequence[Member], reach_m: float) -> list[Member]:
    """Other marks within reach, nearest first; none where the mark's own place is unknown."""
    if member.longitude_deg is None or member.latitude_deg is None:
        return []
    placed = [m for m in members if m.station != member.station and m.longitude_deg is not None and m.latitude_deg is not None]
    if not placed:
        return []
    places = local_metres(
        [m.longitude_deg or 0.0 for m in placed],
        [m.latitude_deg or 0.0 for m in placed],
        (member.longitude_deg, member.latitude_deg),
    )
    distance = np.hypot(places[:, 0], places[:, 1])
    return [placed[i] for i in np.argsort(distance, kind="stable") if distance[i] <= reach_m]

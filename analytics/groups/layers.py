"""The methods of one group of layered marks: `layer_closure`, `stick_slip` and `compaction_head`.

Members are the compaction datastreams of an extensometer group and the heads beside it. This file finishes with `run_compaction_head`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from analytics.compaction import layer_closure, leading_layer, stick_slips, values_at
from analytics.geothermal import monthly_trend
from analytics.groups.method import Duties, Member, Owner, make_group_run
from analytics.method import aware
from analytics.sampling import Floats, Samples, Times, daily
from analytics.skeletal_storage import find_lag, inelastic_spells, storage_at_best_lag
from domain.finding import Finding, FindingKind, Outcome, Scalar
from domain.quality import Quality

CLOSURE, STICK_SLIP, COMPACTION_HEAD = "layer_closure", "stick_slip", "compaction_head"
VERSION = "1"
TO_MM = {"mm": 1.0, "cm": 10.0, "m": 1000.0}
HEADS = {"head": 1.0, "depth_to_water": -1.0, "static_depth_to_water": -1.0, "water_level": 1.0}
"""Factor from the stored value to a head that is up positive."""


@dataclass(frozen=True)
class LayerParameters:
    """The one default setting.

    Attributes
    ----------
    window_a : float
        Window of the contributions before the newest common date; a shorter record is taken whole.
    reach_d : float
        How far from the window's ends a sample may lie.
    tolerance_mm, k : float
        Closure: see `analytics.compaction.layer_closure`.
    join_m : float
        How far the layers may miss each other and the surface mark's interval and still be its parts.
    least_mm : float
        Compaction of the column in the window below which nothing is attributed.
    duties : Duties
        Owners of causes, from configuration.
    """

    window_a: float = 1.0
    reach_d: float = 31.0
    tolerance_mm: float = 2.0
    k: float = 3.0
    join_m: float = 1.0
    least_mm: float = 2.0
    duties: Duties = field(default_factory=Duties)


@dataclass(frozen=True)
class HeadParameters:
    """The one default setting of `compaction_head`.

    Attributes
    ----------
    longest_lag_d, longest_gap_d : float
    preconsolidation_m : float or None
        Lowest head before the records, from configuration; None = learnt from the first years.
    margin_m : float
        How far below the old low a new low must be to be told.
    """

    longest_lag_d: float = 180.0
    longest_gap_d: float = 45.0
    preconsolidation_m: float | None = None
    margin_m: float = 0.1


def column_of(members: Sequence[Member], join_m: float = 1.0) -> tuple[Member | None, list[Member]]:
    """Return the surface mark (the interval that holds all others) and the layers, top first.

    Examples
    --------
    >>> empty = Samples(np.zeros(0, "datetime64[us]"), np.zeros(0))
    >>> parts = [Member(f"E:compaction:{n}", "E", "compaction", "mm", empty, (), a, b)
    ...          for n, a, b in (("total", 0.0, 300.0), ("F2", 40.0, 300.0), ("F1", 0.0, 40.0))]
    >>> surface, layers = column_of(parts)
    >>> surface.datastream, [layer.datastream for layer in layers]
    ('E:compaction:total', ['E:compaction:F1', 'E:compaction:F2'])
    """
    marks = [m for m in members if m.property_code == "compaction" and m.depth_bottom_m is not None]
    if not marks:
        return None, []
    spans = {m.datastream: (m.depth_top_m or 0.0, m.depth_bottom_m or 0.0) for m in marks}
    surface = max(marks, key=lambda m: (spans[m.datastream][1] - spans[m.datastream][0], m.datastream))
    top, bottom = spans[surface.datastream]
    layers = sorted((m for m in marks if m is not surface), key=lambda m: spans[m.datastream])
    holds = all(spans[m.datastream][0] >= top - join_m and spans[m.datastream][1] <= bottom + join_m for m in layers)
    return (surface, layers) if holds and layers else (None, sorted(marks, key=lambda m: spans[m.datastream]))


def _tile(surface: Member, layers: Sequence[Member], join_m: float) -> bool:
    """Whether the layers lie end to end from the top to the bottom of the surface mark's interval."""
    tops = [layer.depth_top_m or 0.0 for layer in layers] + [surface.depth_bottom_m or 0.0]
    bottoms = [surface.depth_top_m or 0.0] + [layer.depth_bottom_m or 0.0 for layer in layers]
    return all(abs(top - bottom) <= join_m for top, bottom in zip(tops, bottoms, strict=True))


def _series(member: Member, now: datetime) -> Samples:
    known = daily(member.known(now))
    scale = TO_MM.get(member.unit, 1.0)
    return Samples(known.time, known.value * scale, None if known.sigma is None else known.sigma * scale)


def run_layer_closure(members: Sequence[Member], parameters: LayerParameters, now: datetime) -> Mapping[str, Outcome]:
    """Contributions of the layers over the last window, their closure on the surface mark, and who acts on the cause."""
    surface, layers = column_of(members, parameters.join_m)
    if surface is None:
        return {}
    told = [surface, *layers]
    series = {member.datastream: _series(member, now) for member in told}
    tiled = _tile(surface, layers, parameters.join_m)
    lasts = [item.time[-1] for item in series.values() if len(item)]
    window = _window(series, parameters) if len(lasts) == len(told) else None
    if window is None or not tiled:
        reason = "too_short" if tiled else "layers_do_not_tile"
        result: dict[str, Any] = {"reason": reason, "surface": surface.datastream}
        return {surface.datastream: Outcome(make_group_run((CLOSURE, VERSION), members, parameters, "cannot_tell", result))}
    ends = np.array(window, dtype="datetime64[us]")
    changes, sigmas = _changes([series[m.datastream] for m in layers], ends, parameters.reach_d)
    (total,), (total_sigma,) = _changes([series[surface.datastream]], ends, parameters.reach_d)
    closure = layer_closure(changes, total, [*sigmas, total_sigma], parameters.tolerance_mm, parameters.k)
    end = aware(ends[1])
    result = {
        "surface": surface.datastream,
        "window": [aware(ends[0]), end],
        "layers": [
            {
                "datastream": layer.datastream,
                "top_m": layer.depth_top_m,
                "bottom_m": layer.depth_bottom_m,
                "change_mm": change,
                "share": share,
            }
            for layer, change, share in zip(layers, changes, closure.shares, strict=True)
        ],
        "surface_mm": closure.surface_mm,
        "sum_mm": closure.total_mm,
        "residual_mm": closure.residual_mm,
        "tolerance_mm": closure.tolerance_mm,
        "closes": closure.closes,
        "attribution": _attribution(members, layers, changes, closure.surface_mm, ends, parameters, now),
    }
    status = "cannot_tell" if closure.closes is None else "ok"
    run = make_group_run((CLOSURE, VERSION), members, parameters, status, result, (aware(ends[0]), end))
    return {surface.datastream: Outcome(run, _scalars(layers, closure.shares, closure.residual_mm, end), _misfit(closure, ends))}


def _window(series: Mapping[str, Samples], parameters: LayerParameters) -> tuple[np.datetime64, np.datetime64] | None:
    """First and last date of the comparison, at which every mark has a sample within reach."""
    end = min(item.time[-1] for item in series.values())
    start = max(item.time[0] for item in series.values())
    year = np.timedelta64(round(parameters.window_a * 365.25 * 86400e6), "us")
    reach = np.timedelta64(round(parameters.reach_d * 86400e6), "us")
    if end - start > year + reach:
        start = end - year
    return (start, end) if end > start else None


def _changes(series: Sequence[Samples], ends: Times, reach_d: float) -> tuple[Floats, Floats]:
    changes, sigmas = np.full(len(series), np.nan), np.full(len(series), np.nan)
    for index, item in enumerate(series):
        first, last = values_at(item.time, item.value, ends, reach_d)
        changes[index] = last - first
        if item.sigma is not None:
            sigmas[index] = float(np.hypot(*values_at(item.time, item.sigma, ends, reach_d)))
    return changes, sigmas


def _scalars(layers: Sequence[Member], shares: Floats, residual_mm: float, end: datetime) -> tuple[Scalar, ...]:
    def scalar(name: str, unit: str, value: float) -> Scalar:
        if np.isfinite(value):
            return Scalar(name, unit, end, float(value))
        return Scalar(name, unit, end, None, None, Quality.MISSING, ("cannot_tell",))

    named = [
        scalar(f"share_{layer.depth_top_m or 0.0:.0f}_{layer.depth_bottom_m or 0.0:.0f}", "%", 100.0 * float(share))
        for layer, share in zip(layers, shares, strict=True)
    ]
    return (scalar("closure", "mm", residual_mm), *named)


def _misfit(closure: Any, ends: Times) -> tuple[Finding, ...]:
    if closure.closes is not False:
        return ()
    sigma = closure.tolerance_mm / 3.0
    parameters = {"sum_mm": closure.total_mm, "surface_mm": closure.surface_mm, "tolerance_mm": closure.tolerance_mm}
    return (
        Finding(
            FindingKind.CLOSURE, aware(ends[0]), aware(ends[1]), closure.residual_mm, sigma,
            abs(closure.residual_mm) / sigma, "mm", parameters=parameters,
        ),
    )  # fmt: skip


def head_direction(members: Sequence[Member], ends: Times, now: datetime) -> str:
    """What the heads beside the group did in the window: falling, rising, steady, or unknown."""
    for member in members:
        if member.property_code not in HEADS:
            continue
        known = daily(member.known(now))
        inside = known.where((known.time >= ends[0]) & (known.time <= ends[1]))
        trend = monthly_trend(inside.time, inside.value * HEADS[member.property_code], minimum_months=6)
        if trend is not None:
            if trend.p_value > 0.05:
                return "steady"
            return "falling" if trend.rate_per_a < 0.0 else "rising"
    return "unknown"


def _attribution(
    members: Sequence[Member],
    layers: Sequence[Member],
    changes: Floats,
    surface_mm: float,
    ends: Times,
    parameters: LayerParameters,
    now: datetime,
) -> dict[str, Any] | None:
    """The layer that leads, what the head did meanwhile, and whose that is by the configured duties."""
    leader = leading_layer(changes.tolist())
    if leader is None or not np.isfinite(surface_mm) or surface_mm < parameters.least_mm:
        return None
    layer, head = layers[leader], head_direction(members, ends, now)
    middle = ((layer.depth_top_m or 0.0) + (layer.depth_bottom_m or 0.0)) / 2.0
    owner = owner_of(parameters.duties, middle, head)
    known = float(np.nansum(changes))
    return {
        "layer": layer.datastream,
        "top_m": layer.depth_top_m,
        "bottom_m": layer.depth_bottom_m,
        "share": float(changes[leader]) / known if known > 0.0 else None,
        "head": head,
        "cause": owner.cause,
        "owner_zh": owner.owner_zh,
        "owner_en": owner.owner_en,
        "source": owner.source,
    }


def owner_of(duties: Duties, middle_m: float, head: str) -> Owner:
    """Return the first configured owner that fits the leading layer's depth and the head.

    Examples
    --------
    >>> rows = (Owner("pumping", "水利局", "water bureau", 0.0, 1000.0, "falling"),
    ...         Owner("construction", "住建局", "construction bureau", 0.0, 40.0, "not_falling"))
    >>> [owner_of(Duties(rows), depth, head).cause for depth, head in ((20.0, "rising"), (90.0, "falling"), (90.0, "rising"))]
    ['construction', 'pumping', 'unknown']
    """
    fits = {"falling": ("falling", "any"), "rising": ("not_falling", "any"), "steady": ("not_falling", "any")}.get(head, ("any",))
    for row in duties.rows:
        if row.head in fits and row.top_m <= middle_m <= row.bottom_m:
            return row
    return duties.otherwise


@dataclass(frozen=True)
class SlipParameters:
    """The one default setting of `stick_slip`: smallest jump (mm), see `analytics.compaction.stick_slips`."""

    minimum_mm: float = 0.2
    stuck_share: float = 0.1
    agreement: float = 0.5


def run_stick_slip(members: Sequence[Member], parameters: SlipParameters, now: datetime) -> Mapping[str, Outcome]:
    """Mark the releases of sticking extensometers, each on its own datastream: artefacts of friction, no acceleration."""
    outcomes: dict[str, Outcome] = {}
    for member in members:
        if member.property_code != "compaction":
            continue
        known = member.known(now)
        values = known.value * TO_MM.get(member.unit, 1.0)
        slips = stick_slips(known.time, values, parameters.minimum_mm, parameters.stuck_share, parameters.agreement)
        findings = tuple(
            Finding(
                FindingKind.STEP, aware(slip.time), None, slip.size_mm, None, None, "mm", "stick_slip",
                {"cause": "stick_slip", "stuck_d": slip.stuck_d},
            )
            for slip in slips
        )  # fmt: skip
        status = "ok" if len(known) >= 10 else "cannot_tell"
        result = {"slips": len(slips), "released_mm": float(sum(slip.size_mm for slip in slips))}
        run = make_group_run((STICK_SLIP, VERSION), [member], parameters, status, result)
        outcomes[member.datastream] = Outcome(run, (), findings)
    return outcomes


def run_compaction_head(members: Sequence[Member], parameters: HeadParameters, now: datetime) -> Mapping[str, Outcome]:
    """Lag, skeletal storage and preconsolidation head of the column, and a warning for every new record low of the head."""
    surface, layers = column_of(members)
    heads = [member for member in members if member.property_code in HEADS]
    marks = [surface, *layers] if surface is not None else layers
    if not heads or not marks:
        return {}
    head = heads[0]
    mark = _mark_of(head, marks)
    known = daily(head.known(now))
    head_m: tuple[Times, Floats] = (known.time, known.value * HEADS[head.property_code] * (TO_MM.get(head.unit, 1000.0) / 1000.0))
    compaction = _series(mark, now)
    measured = (compaction.time, compaction.value)
    low = np.inf if parameters.preconsolidation_m is None else parameters.preconsolidation_m
    lag = find_lag(head_m, measured, parameters.longest_lag_d, longest_gap_d=parameters.longest_gap_d)
    thickness = None if mark.depth_bottom_m is None else mark.depth_bottom_m - (mark.depth_top_m or 0.0)
    result: dict[str, Any] = {"head": head.datastream, "compaction": mark.datastream, "thickness_m": thickness, "lag": lag}
    storage = None
    if lag is not None:
        fitted = storage_at_best_lag(
            head_m, measured, thickness, low, parameters.longest_lag_d if lag.significant else 0.0, parameters.longest_gap_d
        )
        result["model_lag_d"], storage = fitted if fitted is not None else (None, None)
    result["storage"] = storage
    spells = inelastic_spells(*head_m, low, parameters.margin_m) if len(known) else []
    findings = tuple(
        Finding(
            FindingKind.INELASTIC, aware(spell.start), aware(spell.end) + timedelta(days=1), spell.below_m, None, None, "m",
            parameters={"head": head.datastream, "low_m": spell.low_m, "previous_low_m": spell.low_m + spell.below_m},
        )
        for spell in spells
    )  # fmt: skip
    result["inelastic_since"] = aware(spells[-1].start) if spells and spells[-1].end == head_m[0][-1] else None
    run = make_group_run((COMPACTION_HEAD, VERSION), [head, mark], parameters, "ok" if storage else "cannot_tell", result)
    scalars: tuple[Scalar, ...] = ()
    if storage is not None:
        end = aware(measured[0][-1])
        scalars = (Scalar("ske", "1", end, storage.ske, storage.ske_sigma),)
        if thickness:
            scalars += (Scalar("sske", "1/m", end, storage.sske_per_m, storage.ske_sigma / thickness),)
    return {mark.datastream: Outcome(run, scalars, findings)}


def _mark_of(head: Member, marks: Sequence[Member]) -> Member:
    """The layer in which the well is screened; the whole column where that is not known."""
    if head.depth_top_m is not None and head.depth_bottom_m is not None:
        middle = (head.depth_top_m + head.depth_bottom_m) / 2.0
        inside = [m for m in marks[1:] if (m.depth_top_m or 0.0) <= middle < (m.depth_bottom_m or np.inf)]
        if inside:
            return inside[0]
    return marks[0]

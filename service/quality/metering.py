"""What counters become: daily volumes in a datastream of their own, and findings where a meter was tampered with or stood still.

The volume of a day that nobody can tell is missing, never zero. This file finishes with `keep_volumes`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from analytics.quality_control import Verdict
from analytics.sampling import Floats
from analytics.totaliser import Balance, Judgement, Turn, Volume, daily_volumes, flow_against_counter
from domain.finding import Finding, FindingKind, Outcome, Run
from domain.model import Datastream, Derivation
from domain.observation import Batch, Columns, TimeArray, columns
from domain.quality import Quality
from domain.units import compatible, convert
from service.quality.plan import Flow, Plan
from service.quality.pressure import digest_of, ensured
from storage.quality import FlagWindow

if TYPE_CHECKING:
    from service.bootstrap import Container

METHOD, VERSION = "quality", "1"
VOLUME_METHOD = "totaliser"
CHANNEL = "daily"
CUBIC_METRES = "m3"
_REASON = {Turn.FROZEN: "frozen", Turn.DECREASE: "tamper", Turn.ROLLOVER: "totaliser", Turn.SWAP: "totaliser"}


def keep_findings(container: Container, datastream: Datastream, plan: Plan, window: FlagWindow, verdict: Verdict) -> None:
    """Store what the judged span says of the meter; what was found before it stands."""
    assert datastream.datastream_id is not None
    assert verdict.counter is not None
    begin = _aware(window.time[window.wanted][0])
    stored = [row for row in container.analyses.findings(datastream.datastream_id, limit=10_000) if row.method == METHOD]
    earlier = [
        Finding(FindingKind(row.kind), row.start, row.end, row.size, row.sigma, row.score, row.unit, row.source, row.parameters)
        for row in stored
        if row.start < begin
    ]
    fresh = [item for item in findings_of(window, verdict.counter, datastream.unit) if item.start >= begin]
    run = Run(
        method=METHOD,
        version=VERSION,
        parameters={"totaliser": asdict(plan.checks.totaliser) if plan.checks.totaliser else None, "source": plan.source},
        window_start=None,
        window_end=None,
        input_digest=_digest([*earlier, *fresh]),
        status="ok",
        result={"findings": len(earlier) + len(fresh)},
    )
    container.analyses.save(datastream, [Outcome(run, (), (*earlier, *fresh))], container.analyses.current_seq())


def _digest(findings: Sequence[Finding]) -> str:
    said = repr([(str(item.kind), item.start, item.end, item.size) for item in findings])
    return hashlib.sha256(said.encode()).hexdigest()


def findings_of(window: FlagWindow, counter: Judgement, unit: str) -> list[Finding]:
    """Return a finding for every fall with no record, and one for every stand while water runs."""
    found = []
    for row in np.flatnonzero(counter.turn == Turn.DECREASE):
        earlier = np.flatnonzero(np.isfinite(window.result[:row]) & (counter.turn[:row] != Turn.GLITCH))
        size = float(window.result[row] - window.result[earlier[-1]])
        found.append(
            Finding(FindingKind.TAMPER, _aware(window.time[row]), None, size, None, 1.0, unit, parameters={"why": "decrease"})
        )
    rows = np.flatnonzero(counter.turn == Turn.FROZEN)
    for run in np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1):
        if len(run):
            stand = Finding(
                FindingKind.FROZEN, _aware(window.time[run[0]]), None, None, None, 1.0, parameters={"why": "companion"}
            )
            found.append(stand)
    return sorted(found, key=lambda item: item.start)


def keep_volumes(container: Container, datastream: Datastream, plan: Plan, window: FlagWindow, verdict: Verdict) -> int:
    """Write the volumes of the whole days that the judged span touches; return how many."""
    if plan.volume is None or not compatible(datastream.unit, CUBIC_METRES) or verdict.counter is None:
        return 0
    volumes = _volumes_of(container, window, verdict.counter, datastream.unit)
    if not volumes:
        return 0
    unlike = [] if plan.flow is None else _unlike(container, datastream, plan.flow, volumes)
    derived = _ensure(container, datastream, plan.volume)
    assert derived.datastream_id is not None
    rows = volume_columns(derived.datastream_id, volumes, {balance.start_s for balance in unlike})
    container.observations.commit(Batch("analysis", datastream.code, rows, actor=VOLUME_METHOD))
    return len(volumes)


def _volumes_of(container: Container, window: FlagWindow, counter: Judgement, unit: str) -> list[Volume]:
    node = container.registers.node()
    zone = ZoneInfo(node.zone if node is not None else "UTC")
    judged = window.time[window.wanted]
    if not len(judged):
        return []
    # A reading changes the volume of its own day and, by the gain that ends with it, of the days before back to the last reading.
    edges = midnights(_aware(judged[0]), _aware(judged[-1]), zone)
    factor = float(convert(1.0, unit, CUBIC_METRES))
    found = daily_volumes(_seconds(window.time), counter, edges)
    return [item if item.value is None else replace(item, value=item.value * factor) for item in found]


def midnights(first: datetime, last: datetime, zone: ZoneInfo) -> Floats:
    """Return the zone's midnights around [first, last], as seconds since 1970; a day has 23 to 25 hours where clocks change."""
    day, beyond = first.astimezone(zone).date(), last.astimezone(zone).date() + timedelta(days=1)
    edges = []
    while day <= beyond:
        edges.append(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp())
        day += timedelta(days=1)
    return np.array(edges)


def _unlike(container: Container, datastream: Datastream, flow: Flow, volumes: Sequence[Volume]) -> list[Balance]:
    code = f"{datastream.station}:{flow.property_code}" + (f":{datastream.channel}" if datastream.channel else "")
    found = container.registers.datastream(code)
    if found is None or found.datastream_id is None or not compatible(found.unit, "m3/h"):
        return []
    reach = 3 * 3600.0
    start, end = (datetime.fromtimestamp(edge, UTC) for edge in (volumes[0].start_s - reach, volumes[-1].end_s + reach))
    series = container.observations.series(found.datastream_id, start, end)
    good = np.isfinite(series.result) & np.isin(series.quality, (Quality.GOOD, Quality.UNKNOWN))
    rate = np.asarray(convert(series.result[good], found.unit, "m3/h"), dtype=np.float64)
    balances = flow_against_counter(_seconds(series.time[good]), rate, volumes, tolerance=flow.tolerance, least=flow.least)
    return [balance for balance in balances if not balance.agrees]


def _ensure(container: Container, source: Datastream, property_code: str) -> Datastream:
    channel = CHANNEL if source.channel is None else f"{source.channel}-{CHANNEL}"
    parameters: dict[str, Any] = {"day": "of the node's zone"}
    return ensured(
        container,
        Datastream(
            station=source.station,
            property_code=property_code,
            unit=CUBIC_METRES,
            channel=channel,
            interval_s=86400.0,
            aquifer=source.aquifer,
            disclosure=source.disclosure,
            confirmed=source.confirmed,
            derivation=Derivation(VOLUME_METHOD, VERSION, parameters, digest_of(source.code, parameters), source.datastream_id),
        ),
    )


def volume_columns(datastream_id: int, volumes: Sequence[Volume], unlike: set[float]) -> Columns:
    """Return volumes as observations with an extent; unknown ones are missing with the reason why."""
    reasons = np.full(len(volumes), None, dtype=object)
    quality: npt.NDArray[np.int16] = np.full(len(volumes), int(Quality.GOOD), dtype=np.int16)
    for row, volume in enumerate(volumes):
        codes = [_REASON[turn] for turn in volume.turns if turn in _REASON]
        codes += ["estimated"] if volume.spread else []
        codes += ["flow_mismatch"] if volume.start_s in unlike else []
        if volume.value is None:
            quality[row] = Quality.MISSING
        elif Turn.SWAP in volume.turns or volume.spread or volume.start_s in unlike:
            quality[row] = Quality.UNKNOWN
        reasons[row] = tuple(dict.fromkeys(codes)) or None
    values = [np.nan if volume.value is None else volume.value for volume in volumes]
    times, ends = (_times([getattr(volume, name) for volume in volumes]) for name in ("start_s", "end_s"))
    return columns(datastream_id, times, values, quality=quality, end=ends, reasons=reasons)


def _times(seconds: Sequence[float]) -> TimeArray:
    return np.rint(np.asarray(seconds) * 1e6).astype(np.int64).astype("datetime64[us]")


def _seconds(time: TimeArray) -> Floats:
    return np.asarray(time.astype("datetime64[us]").astype(np.int64) * 1e-6)


def _aware(time: np.datetime64) -> datetime:
    moment: datetime = time.astype("datetime64[us]").item()
    return moment.replace(tzinfo=UTC)

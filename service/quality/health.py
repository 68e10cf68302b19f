"""The state of a station's instruments: last seen, completeness, battery, signal, clock, and what quality control found.

What is not known is None, never 0: a datastream without a declared interval has no completeness. This file finishes with `station_health`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from analytics.clock import ClockOffset, clock_offset
from analytics.sensor_drift import DriftState
from service.quality.drift import StationDrift, sensor_drifts
from storage.quality import HealthRow

if TYPE_CHECKING:
    from service.bootstrap import Container

BATTERY, SIGNAL = "battery_voltage", "signal_strength"
MISSED_INTERVALS = 3.0
LEAST_GRACE_S = 120.0
INCOMPLETE_PERCENT = 90.0
CLOCK_LIMIT_S = 600.0
CLOCK_SPAN = timedelta(days=7)


class HealthState(StrEnum):
    """What a keeper sees first."""

    OK = "ok"
    DOUBTFUL = "doubtful"
    SILENT = "silent"
    CANNOT_TELL = "cannot_tell"


@dataclass(frozen=True)
class DatastreamHealth:
    """One datastream over the window; percent is None where no interval is declared or the record is younger than one."""

    datastream: str
    last_time: datetime | None
    last_received_at: datetime | None
    expected: float | None
    received: int
    usable: int
    completeness_percent: float | None
    silent: bool | None


@dataclass(frozen=True)
class StationHealth:
    """A station's instruments over the window."""

    station: str
    state: HealthState
    window_h: float
    last_seen: datetime | None
    last_received_at: datetime | None
    completeness_percent: float | None
    usable_percent: float | None
    battery_v: float | None
    signal: float | None
    clock: ClockOffset | None
    drift: StationDrift | None
    quarantined: int
    findings: int
    reasons: Mapping[str, int]
    datastreams: tuple[DatastreamHealth, ...]


def datastream_health(row: HealthRow, start: datetime, now: datetime, ahead: timedelta = timedelta(0)) -> DatastreamHealth:
    """Hold what came of one datastream against what its interval promises.

    The promise begins with the window or with the record, whichever is later; half an interval of grace is given to the newest.
    `ahead` is how far the device's clock is wrong: what is sent with a wrong clock is not silence.
    """
    expected = percent = None
    silent: bool | None = None
    if row.interval_s is not None:
        since = start if row.first_time is None else max(start, row.first_time)
        expected = max((now - since).total_seconds() / row.interval_s - 0.5, 0.0)
        percent = min(100.0, 100.0 * row.n / expected) if expected >= 1.0 else None
        grace = timedelta(seconds=max(MISSED_INTERVALS * row.interval_s, LEAST_GRACE_S))
        silent = row.last_time is None or row.last_time - ahead + grace < now
    return DatastreamHealth(row.datastream, row.last_time, row.last_received_at, expected, row.n, row.n_good, percent, silent)


def summarise(
    station: str,
    rows: Sequence[HealthRow],
    start: datetime,
    now: datetime,
    *,
    clock: ClockOffset | None = None,
    drift: StationDrift | None = None,
    quarantined: int = 0,
    findings: int = 0,
    reasons: Mapping[str, int] | None = None,
) -> StationHealth:
    """Return one station's health from the rows of its datastreams."""
    ahead = timedelta(seconds=clock.offset_s or 0.0) if clock is not None and _is_wrong(clock) else timedelta(0)
    streams = tuple(datastream_health(row, start, now, ahead) for row in rows)
    promised = [item for item in streams if item.expected is not None and item.expected >= 1.0]
    total = sum(item.expected or 0.0 for item in promised)
    complete = 100.0 * sum(min(item.received, item.expected or 0.0) for item in promised) / total if total else None
    received = sum(item.received for item in streams)
    usable = 100.0 * sum(item.usable for item in streams) / received if received else None
    newest = {code: next((row.last_result for row in rows if row.property_code == code), None) for code in (BATTERY, SIGNAL)}
    found = dict(reasons or {})
    return StationHealth(
        station,
        _state(streams, complete, usable, clock, drift),
        (now - start).total_seconds() / 3600.0,
        max((item.last_time for item in streams if item.last_time is not None), default=None),
        max((item.last_received_at for item in streams if item.last_received_at is not None), default=None),
        complete,
        usable,
        newest[BATTERY],
        newest[SIGNAL],
        clock,
        drift,
        quarantined,
        findings,
        found,
        streams,
    )


def _is_wrong(clock: ClockOffset) -> bool:
    return clock.offset_s is not None and abs(clock.offset_s) > CLOCK_LIMIT_S


def _state(
    streams: Sequence[DatastreamHealth],
    complete: float | None,
    usable: float | None,
    clock: ClockOffset | None,
    drift: StationDrift | None,
) -> HealthState:
    told = [item.silent for item in streams if item.silent is not None]
    if told and all(told):
        return HealthState.SILENT
    low = [value for value in (complete, usable) if value is not None and value < INCOMPLETE_PERCENT]
    drifts = drift is not None and drift.found.state is DriftState.DRIFTING
    if any(told) or low or drifts or (clock is not None and _is_wrong(clock)):
        return HealthState.DOUBTFUL
    return HealthState.OK if told else HealthState.CANNOT_TELL


def board(container: Container, stations: Sequence[str], now: datetime, window: timedelta) -> list[StationHealth]:
    """Return the health of many stations by their codes, each question asked once for all of them."""
    start = now - window
    own: dict[str, list[HealthRow]] = defaultdict(list)
    for row in container.quality.health_rows(start, now, stations):
        own[row.station].append(row)
    receipts = container.health.receipts(list(own), now - CLOCK_SPAN, now)
    waiting, findings = container.health.waiting(), container.health.findings(start)
    drifts = sensor_drifts(container, own, now)
    return [
        summarise(
            station,
            rows,
            start,
            now,
            clock=clock_offset(*receipts[station]) if station in receipts else None,
            drift=drifts.get(station),
            quarantined=waiting.get(station.lower(), 0),
            findings=findings.get(station, 0),
        )
        for station, rows in sorted(own.items())
    ]


def station_health(container: Container, station: str, now: datetime, window: timedelta) -> StationHealth:
    """Return one station's health with its clock and with the reasons of its flags."""
    start = now - window
    rows = container.quality.health_rows(start, now, [station])
    ids = [row.datastream_id for row in rows]
    made, received = container.quality.receipts(ids, now - CLOCK_SPAN, now)
    reasons = container.quality.reason_counts(ids, start) if ids else {}
    return summarise(
        station,
        rows,
        start,
        now,
        clock=clock_offset(made, received),
        drift=sensor_drifts(container, {station}, now).get(station),
        quarantined=container.health.waiting().get(station.lower(), 0),
        findings=container.health.findings(start).get(station, 0),
        reasons=reasons,
    )

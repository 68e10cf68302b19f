"""Which sensors drift away from their neighbours: the figures of `quality.yaml`, the register's places, and daily means.

This file finishes with `sensor_drifts`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import cos, hypot, radians
from typing import TYPE_CHECKING

from analytics.sensor_drift import LEAST_NEIGHBOURS, DriftState, SensorDrift, drift_of
from domain.model import Datastream, Station
from domain.units import convert
from service.api.listings import every_datastream, every_station
from service.quality.plan import shipped

if TYPE_CHECKING:
    from service.bootstrap import Container

SPAN = timedelta(days=90)
REACH_KM = 30.0
MOST_NEIGHBOURS = 5
KM_PER_DEGREE = 111.2
_ORDER = (DriftState.DRIFTING, DriftState.CANNOT_TELL, DriftState.STEADY)


@dataclass(frozen=True)
class StationDrift:
    """The datastream of a station that says most of drift: a drifting one first, then one of which nobody can tell."""

    datastream: str
    unit: str
    found: SensorDrift


def sensor_drifts(container: Container, wanted: Collection[str], now: datetime) -> Mapping[str, StationDrift]:
    """Return what can be said of the sensors of some stations; stations without a property that is looked at are left out."""
    limits = {name: float(said["drift"]) for name, said in shipped()["properties"].items() if said.get("drift")}
    places = {station.code: station for station in every_station(container)}
    groups: dict[tuple[str, str, str | None], list[Datastream]] = defaultdict(list)
    for stream in every_datastream(container, derived=False):
        if stream.property_code in limits and stream.station in places:
            groups[stream.property_code, stream.unit, stream.aquifer].append(stream)
    found: dict[str, StationDrift] = {}
    for (name, unit, _), streams in groups.items():
        if not any(stream.station in wanted for stream in streams):
            continue
        observed = container.registers.observed_property(name)
        assert observed is not None
        zero = float(convert(0.0, observed.unit, unit))
        limit = abs(float(convert(limits[name], observed.unit, unit)) - zero)
        days, means = container.health.daily([stream.datastream_id or 0 for stream in streams], now - SPAN, now)
        for column, stream in enumerate(streams):
            if stream.station not in wanted:
                continue
            beside = _neighbours(column, streams, places)
            drift = drift_of(days, means[:, column], means[:, beside], limit) if len(beside) >= LEAST_NEIGHBOURS else _NOBODY
            said = StationDrift(stream.code, unit, drift)
            known = found.get(stream.station)
            if known is None or _ORDER.index(drift.state) < _ORDER.index(known.found.state):
                found[stream.station] = said
    return found


_NOBODY = SensorDrift(DriftState.CANNOT_TELL, None, None, 0)


def _neighbours(own: int, streams: list[Datastream], places: Mapping[str, Station]) -> list[int]:
    """The nearest datastreams of other stations within reach."""
    here = places[streams[own].station]
    near = []
    for column, stream in enumerate(streams):
        distance = _distance_km(here, places[stream.station])
        if stream.station != here.code and distance is not None and distance <= REACH_KM:
            near.append((distance, column))
    return [column for _, column in sorted(near)[:MOST_NEIGHBOURS]]


def _distance_km(one: Station, other: Station) -> float | None:
    angles = (one.longitude_deg, one.latitude_deg, other.longitude_deg, other.latitude_deg)
    if any(angle is None for angle in angles):
        return None
    east, north, to_east, to_north = (float(angle or 0.0) for angle in angles)
    return KM_PER_DEGREE * hypot((to_east - east) * cos(radians(north)), to_north - north)

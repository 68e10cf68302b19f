"""Which sensors drift away from their neighbours: the figures of `quality.yaml`, the register's places, and daily means.

This file finishes with `sensor_drifts`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import cos, hypot, radians
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from analytics.sampling import Floats
from analytics.sensor_drift import DriftState, SensorDrift, drift_of
from domain.model import Datastream, EventKind, Station
from domain.units import convert
from service.api.listings import every_datastream, every_station
from service.quality.plan import shipped

if TYPE_CHECKING:
    from service.bootstrap import Container

SPAN = timedelta(days=90)
REACH_KM = 30.0
MOST_NEIGHBOURS = 5
PUMPING_REACH_KM = 5.0
DAY_S = 86_400.0
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
    figures = {name: said for name, said in shipped()["properties"].items() if said.get("drift")}
    places = {station.code: station for station in every_station(container)}
    streams = [stream for stream in every_datastream(container) if stream.station in places]
    groups: dict[tuple[str, str, str | None], list[Datastream]] = defaultdict(list)
    for stream in streams:
        if stream.property_code in figures and stream.derivation is None:
            groups[stream.property_code, stream.unit, stream.aquifer].append(stream)
    found: dict[str, StationDrift] = {}
    for (name, unit, aquifer), members in groups.items():
        if not any(stream.station in wanted for stream in members):
            continue
        observed = container.registers.observed_property(name)
        assert observed is not None
        zero = float(convert(0.0, observed.unit, unit))
        limit = abs(float(convert(float(figures[name]["drift"]), observed.unit, unit)) - zero)
        drivers = _Drivers(container, figures[name], aquifer, streams, places, now)
        ids = [stream.datastream_id or 0 for stream in (*members, *drivers.streams)]
        days, means = container.health.daily(ids, now - SPAN, now)
        for column, stream in enumerate(members):
            if stream.station not in wanted:
                continue
            beside = _neighbours(column, members, places)
            who = {stream.station, *(members[other].station for other in beside)}
            drift = drift_of(
                days,
                means[:, column],
                means[:, beside],
                limit,
                pumping=drivers.pumping(who, days, means[:, len(members) :]),
                levels=drivers.levels(stream, means[:, len(members) :]),
            )
            said = StationDrift(stream.code, unit, drift)
            known = found.get(stream.station)
            if known is None or _ORDER.index(drift.state) < _ORDER.index(known.found.state):
                found[stream.station] = said
    return found


class _Drivers:
    """What may part water itself from its neighbours': pumping nearby, by meters and by the event log, and the level of the own well."""

    def __init__(
        self,
        container: Container,
        figures: Mapping[str, Any],
        aquifer: str | None,
        streams: Sequence[Datastream],
        places: Mapping[str, Station],
        now: datetime,
    ) -> None:
        pumped, followed = set(figures.get("pumping") or ()), set(figures.get("follows") or ())
        self._container, self._places, self._now = container, places, now
        self._pumped = pumped
        self.streams = [
            stream
            for stream in streams
            if (stream.property_code in pumped and (aquifer is None or stream.aquifer in {None, aquifer}))
            or stream.property_code in followed
        ]

    def pumping(self, stations: Collection[str], days: Floats, means: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the daily means of all pumping at or near some stations; a pump or a dewatering that the log tells of is a step of its own."""
        near = [
            column
            for column, stream in enumerate(self.streams)
            if stream.property_code in self._pumped and any(self._is_near(stream.station, station) for station in stations)
        ]
        logged = [
            (days >= event.start.timestamp() / DAY_S).astype(np.float64)
            for station in sorted(stations)
            for event in self._container.registers.events(station)
            if event.kind in {EventKind.PUMP_STATE, EventKind.CONSTRUCTION} and self._now - SPAN <= event.start <= self._now
        ]
        return np.column_stack([means[:, near], *logged]) if self._pumped else np.empty((days.size, 0))

    def levels(self, own: Datastream, means: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the daily means of what the value may follow at its own station."""
        columns = [
            column
            for column, stream in enumerate(self.streams)
            if stream.station == own.station and stream.property_code not in self._pumped
        ]
        return means[:, columns]

    def _is_near(self, one: str, other: str) -> bool:
        distance = 0.0 if one == other else _distance_km(self._places[one], self._places[other])
        return distance is not None and distance <= PUMPING_REACH_KM


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

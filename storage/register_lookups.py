"""The registers as they are read: stations, sensors, observed properties, datastreams, events and all configuration that rules read.

Lookups are cached for seconds (see `storage.cache`), and for longer while the ledger names no change. This file finishes with
`RegisterLookups`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any, TypeVar

from psycopg.rows import class_row, dict_row

from domain.datum import DatumOffset
from domain.licence import Licence, Limit, Region
from domain.model import Datastream, Device, ObservedProperty, Sensor, Station, StationEvent
from storage.cache import Cache
from storage.database import Database
from storage.devices import DeviceRepository
from storage.licences import licences, node_day
from storage.limits import limits
from storage.queries import load_statements
from storage.register_rows import (
    DatastreamStatus,
    Datum,
    Node,
    to_datastream,
    to_event,
    to_property,
    to_sensor,
    to_station,
)

SQL = load_statements("registers")
T = TypeVar("T")

LEAST_TOGETHER = 4
AHEAD_S = 3.0
"""Fewer lookups than this are left to themselves; what is forgotten that soon is read anew with the others, not alone afterwards."""
STANDING = frozenset({"station", "sensors", "datastream", "datastream id", "events"})
"""What the ledger names every change of."""
LOOK_EVERY_S, KEEP_S = 1.0, 120.0
"""How often the ledger is asked for changes, and how long an entry is kept at most whatever it says."""


class RegisterLookups:
    """Reads the registers, and remembers for a while what it read.

    Parameters
    ----------
    database
        Where the registers are.
    clock
        Monotonic seconds, for the cache.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._devices = DeviceRepository(database)
        self._clock = clock
        self._cache = Cache(clock)
        self._mark: int | None = None
        self._look_at = 0.0

    def forget(self) -> None:
        """Clear the cache: call it when `groundwatch_register` was notified."""
        self._cache.clear()

    def observed_property(self, code: str) -> ObservedProperty | None:
        """Return the property, or None."""
        return self._cache.get(("property", code), lambda: self._one(SQL.property_by_code, [code], to_property))

    def station(self, code: str) -> Station | None:
        """Return the station whatever the case of `code`, or None."""
        return self._cache.get(("station", code), lambda: self._one(SQL.station_by_code, [code], to_station))

    def datastream(self, code: str) -> Datastream | None:
        """Return the datastream whatever the case of `code`, or None."""
        return self._cache.get(("datastream", code), lambda: self._one(SQL.datastream_by_code, [code], to_datastream))

    def datastream_by_id(self, datastream_id: int) -> Datastream | None:
        """Return the datastream with a database id, or None."""
        return self._cache.get(
            ("datastream id", datastream_id), lambda: self._one(SQL.datastream_by_id, [datastream_id], to_datastream)
        )

    def prepare(self, datastream_ids: Sequence[int]) -> None:
        """Read many datastreams with their stations, sensors and events in four statements, for lookups that follow within seconds."""
        self._renew()
        generation = self._cache.generation
        missing = self._cache.missing([("datastream id", identity) for identity in datastream_ids], AHEAD_S)
        if len(missing) < LEAST_TOGETHER:
            return
        streams = self._all(SQL.datastreams_by_ids, [[key[1] for key in missing]], to_datastream)  # type: ignore[index]
        codes = sorted({stream.station.lower() for stream in streams})
        stations = self._all(SQL.stations_by_codes, [codes], to_station)
        events: dict[str, list[StationEvent]] = {station.code: [] for station in stations}
        for event in self._all(SQL.events_of_stations, [codes], to_event):
            events.setdefault(event.station, []).append(event)
        sensors: dict[str, list[Sensor]] = {station.code: [] for station in stations}
        for sensor in self._all(SQL.sensors_of_stations, [codes], to_sensor):
            sensors.setdefault(sensor.station, []).append(sensor)
        self._cache.put(
            {("datastream id", stream.datastream_id): stream for stream in streams}
            | {("station", station.code): station for station in stations}
            | {("events", code): found for code, found in events.items()}
            | {("sensors", code): found for code, found in sensors.items()},
            generation,
        )

    def look(self) -> None:
        """Forget what is remembered where the ledger names a change of any register since the last look."""
        self._look_at = self._clock()
        self._renew()

    def _renew(self) -> None:
        """Keep stations, sensors, datastreams and events for longer while the ledger names no change of any register.

        One look at an index a second is all that a thousand entries cost then. A change by any process forgets them all.
        """
        now = self._clock()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_EVERY_S
        with self._database.single() as connection:
            row = connection.execute(SQL.register_mark).fetchone()
        mark = int(row[0]) if row else 0
        if mark == self._mark:
            self._cache.renew(STANDING, KEEP_S)
        else:
            self._cache.clear()
            self._mark = mark

    def prepare_stations(self, codes: Sequence[str]) -> None:
        """Read many stations with all that was observed there in two statements, for messages that name them within seconds."""
        self._renew()
        generation = self._cache.generation
        missing = set(self._cache.missing([("station", code) for code in codes], AHEAD_S))
        if len(missing) < LEAST_TOGETHER:
            return
        wanted = [sorted({code.lower() for code in codes if ("station", code) in missing})]
        stations = self._all(SQL.stations_by_codes, wanted, to_station)
        streams = self._all(SQL.datastreams_of_stations, wanted, to_datastream)
        self._cache.put(
            {("station", station.code): station for station in stations}
            | {("datastream", stream.code): stream for stream in streams}
            | {("datastream id", stream.datastream_id): stream for stream in streams},
            generation,
        )

    def device(self, protocol: str, identity: str) -> Device | None:
        """Return the device whose frames carry an identity, admitted or rejected, or None when nobody knows it."""
        return self._cache.get(("device", protocol, identity), lambda: self._devices.device(protocol, identity))

    def list_properties(self) -> list[ObservedProperty]:
        """Return every observed property, by code."""
        return self._all(SQL.list_properties, {}, to_property)

    def list_stations(
        self, after: str | None = None, limit: int = 100, kind: str | None = None, region: str | None = None
    ) -> list[Station]:
        """Return stations with a code after `after`, by code; `region` is a GB/T 2260 code or the beginning of one."""
        parameters = {"after": after or "", "limit": limit, "kind": kind, "region": region}
        return self._all(SQL.list_stations, parameters, to_station)

    def list_datastreams(
        self,
        station: str | None = None,
        property_code: str | None = None,
        after: str | None = None,
        limit: int = 100,
        derived: bool | None = None,
    ) -> list[Datastream]:
        """Return datastreams with a code after `after`, by code; `derived` None = both kinds."""
        parameters = {
            "station": station,
            "property_code": property_code,
            "after": after or "",
            "limit": limit,
            "derived": derived,
        }
        return self._all(SQL.list_datastreams, parameters, to_datastream)

    def sensors(self, station: str) -> list[Sensor]:
        """Return the sensors of a station, by code."""
        return self._all(SQL.sensors, [station], to_sensor)

    def sensor(self, station: str, code: str) -> Sensor | None:
        """Return one sensor of a station, or None."""
        known = self._cache.get(("sensors", station), lambda: self.sensors(station))
        return next((sensor for sensor in known if sensor.code == code), None)

    def datastream_statuses(self, datastream_ids: Sequence[int]) -> dict[int, DatastreamStatus]:
        """Return newest observation and count by datastream id; a datastream that never had an observation is not there."""
        with self._database.single() as connection, connection.cursor(row_factory=class_row(DatastreamStatus)) as cursor:
            return {row.datastream_id: row for row in cursor.execute(SQL.statuses, [list(datastream_ids)])}

    def heard(self, datastream_ids: Sequence[int]) -> tuple[int, dict[int, DatastreamStatus]]:
        """Return the greatest ledger sequence and the statuses as of it, both from one state of the database."""
        with self._database.transaction() as connection:
            connection.execute(SQL.read_one_snapshot)
            row = connection.execute(SQL.current_seq).fetchone()
            with connection.cursor(row_factory=class_row(DatastreamStatus)) as cursor:
                found = {item.datastream_id: item for item in cursor.execute(SQL.statuses, [list(datastream_ids)])}
        return int(row[0]) if row else 0, found

    def regions(self) -> list[Region]:
        """Return every region, by code."""
        return self._all(SQL.regions, {}, lambda row: Region(**row))

    def datums(self) -> list[Datum]:
        """Return every vertical datum, by code."""
        return self._all(SQL.datums, {}, lambda row: Datum(**row))

    def datum_codes(self) -> Sequence[str]:
        """Return the codes of every vertical datum that heights can be in, sorted."""
        return [datum.code for datum in self.datums()]

    def datum_offsets(self) -> Sequence[DatumOffset]:
        """Return every configured offset between vertical datums."""
        return self._cache.get("offsets", lambda: self._all(SQL.datum_offsets, {}, lambda row: DatumOffset(**row)))

    def node(self) -> Node | None:
        """Return this deployment, or None before it was configured."""
        return self._cache.get("node", lambda: self._one(SQL.node, {}, lambda row: Node(**row)))

    def node_region(self) -> str | None:
        """Return the GB/T 2260 code of the node's own region, used where a station states none."""
        node = self.node()
        return node.region_code if node else None

    def licences(self, station: str) -> Sequence[Licence]:
        """Return every version of a station's licences, oldest first."""
        return self._cache.get(("licences", station), lambda: self._licences(station))

    def list_licences(self) -> list[Licence]:
        """Return every version of every licence."""
        return self._licences(None)

    def _licences(self, station: str | None) -> list[Licence]:
        with self._database.transaction() as connection:
            return licences(connection, station=station)

    def limits(self, datastream: Datastream, station: Station) -> Sequence[Limit]:
        """Return the limits that apply to a datastream today (in the node's zone), most general first."""
        today = self._cache.get("today", self._today)
        return [limit for limit in self.dated_limits(datastream, station) if limit.is_in_force(today)]

    def dated_limits(self, datastream: Datastream, station: Station) -> Sequence[Limit]:
        """Return every version of the limits that apply to a datastream, past and future ones too, most general first."""
        known = self._cache.get("limits", self.list_limits)
        return [limit for limit in known if _applies(limit, datastream, station)]

    def list_limits(self) -> list[Limit]:
        """Return every version of every limit."""
        with self._database.transaction() as connection:
            return limits(connection)

    def _today(self) -> date:
        with self._database.transaction() as connection:
            return node_day(connection)

    def events(self, station: str) -> Sequence[StationEvent]:
        """Return the event log of a station, oldest first, without what was withdrawn."""
        return self._cache.get(("events", station), lambda: self._all(SQL.events, [station], to_event))

    def event(self, event_id: int) -> StationEvent | None:
        """Return one event of any station, or None when there is none or it was withdrawn."""
        return self._one(SQL.event, [event_id], to_event)

    def _one(self, statement: bytes, parameters: Any, read: Callable[[Mapping[str, Any]], T]) -> T | None:
        with self._database.single() as connection, connection.cursor(row_factory=dict_row) as cursor:
            row = cursor.execute(statement, parameters).fetchone()
        return None if row is None else read(row)

    def _all(self, statement: bytes, parameters: Any, read: Callable[[Mapping[str, Any]], T]) -> list[T]:
        with self._database.single() as connection, connection.cursor(row_factory=dict_row) as cursor:
            return [read(row) for row in cursor.execute(statement, parameters)]


def _applies(limit: Limit, datastream: Datastream, station: Station) -> bool:
    return (
        limit.property_code == datastream.property_code
        and limit.zone_code in {None, station.zone_code}
        and limit.aquifer in {None, datastream.aquifer}
        and (limit.station is None or limit.station.lower() == station.code.lower())
    )

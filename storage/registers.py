"""The registers: stations, sensors, observed properties, datastreams, events and all configuration that rules read.

Lookups are cached for seconds (see `storage.cache`); whoever writes clears its own cache, notifies `groundwatch_register` and leaves
an entry in the ledger and in the audit log. This file finishes with `RegisterRepository`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from typing import Any, TypeVar

from psycopg.rows import class_row, dict_row

from domain.datum import DatumOffset
from domain.errors import ConflictError, NotFoundError
from domain.finding import Run, Scalar
from domain.licence import Licence, Limit, Region
from domain.model import Datastream, Device, ObservedProperty, Sensor, Station, StationEvent
from storage.cache import Cache
from storage.database import Connection, Database, refusals_are_conflicts
from storage.derived import derived_datastream, derived_property
from storage.devices import DeviceRepository
from storage.json_values import jsonb
from storage.licences import add_licence, licences, node_day
from storage.limits import add_limit, limits
from storage.queries import load_statements
from storage.register_rows import (
    DatastreamStatus,
    Datum,
    Node,
    datastream_values,
    to_datastream,
    to_event,
    to_property,
    to_sensor,
    to_station,
    values_of,
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


class RegisterRepository:
    """Implements `domain.ports.Registry` and `domain.ports.Registers`.

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

    # -- lookups ------------------------------------------------------------------------------------------------------

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
        mark = _id(row)
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

    # -- stations, sensors and datastreams --------------------------------------------------------------------------------

    def add_station(self, station: Station, *, actor: str) -> Station:
        """Create a station and return it with its id.

        Raises
        ------
        ConflictError
            A station has that code already, whatever its case, or the schema refuses a field.
        """
        with self._change(f"station {station.code}", actor, "add") as connection:
            row = connection.execute(SQL.insert_station, values_of(station)).fetchone()
        return replace(station, station_id=_id(row))

    def update_station(self, station: Station, *, actor: str) -> Station:
        """Change everything of a station but its code; NotFoundError when there is none."""
        with self._change(f"station {station.code}", actor, "update") as connection:
            row = connection.execute(SQL.update_station, values_of(station)).fetchone()
            if row is None:
                raise _no_station(station.code)
        return replace(station, station_id=row[0], code=row[1])

    def add_sensor(self, sensor: Sensor, *, actor: str) -> Sensor:
        """Create a sensor and return it with its id; NotFoundError when its station is unknown."""
        with self._change(f"sensor {sensor.station}:{sensor.code}", actor, "add") as connection:
            row = connection.execute(SQL.insert_sensor, values_of(sensor)).fetchone()
            if row is None:
                raise _no_station(sensor.station)
        return replace(sensor, sensor_id=_id(row))

    def update_sensor(self, sensor: Sensor, *, actor: str) -> Sensor:
        """Change everything of a sensor but its code; NotFoundError when there is none."""
        with self._change(f"sensor {sensor.station}:{sensor.code}", actor, "update") as connection:
            row = connection.execute(SQL.update_sensor, values_of(sensor)).fetchone()
            if row is None:
                raise NotFoundError(f"station {sensor.station} has no sensor {sensor.code}.")
        return replace(sensor, sensor_id=_id(row))

    def add_datastream(self, datastream: Datastream, *, actor: str) -> Datastream:
        """Create a datastream and return it with its id.

        Raises
        ------
        NotFoundError
            Its station, sensor or observed property is unknown.
        ConflictError
            The code is taken, or the schema refuses it: no unit, a height without datum, a derived one without method.
        """
        self._check_parts(datastream)
        with self._change(f"datastream {datastream.code}", actor, "add") as connection:
            row = connection.execute(SQL.insert_datastream, datastream_values(datastream)).fetchone()
        return replace(datastream, datastream_id=_id(row))

    def _check_parts(self, datastream: Datastream) -> None:
        if self.station(datastream.station) is None:
            raise _no_station(datastream.station)
        if self.observed_property(datastream.property_code) is None:
            raise NotFoundError(
                f"there is no observed property {datastream.property_code}.",
                remedy="add it to observed_properties.yaml of the node",
            )
        if datastream.sensor and datastream.sensor not in {sensor.code for sensor in self.sensors(datastream.station)}:
            raise NotFoundError(f"station {datastream.station} has no sensor {datastream.sensor}.", remedy="add the sensor first")

    def update_datastream(self, datastream: Datastream, *, actor: str) -> Datastream:
        """Change what describes a datastream; its unit, datum, property and derivation stay what its numbers were stored with."""
        with self._change(f"datastream {datastream.code}", actor, "update") as connection:
            row = connection.execute(SQL.update_datastream, datastream_values(datastream)).fetchone()
            if row is None:
                raise NotFoundError(f"there is no datastream {datastream.code}.")
        return self._one(SQL.datastream_by_id, [row[0]], to_datastream) or datastream

    def ensure_derived(self, source: Datastream, scalar: Scalar, run: Run) -> Datastream:
        """Return the derived datastream of a scalar of `source`, creating it and its property where they are new."""
        wanted = derived_datastream(source, scalar, run)
        found = self.datastream(wanted.code)
        if found is not None:
            return found
        observed = self.observed_property(source.property_code)
        if observed is None:
            raise NotFoundError(f"there is no observed property {source.property_code}.")
        if self.observed_property(wanted.property_code) is None:
            self.upsert_property(derived_property(observed, scalar))
        try:
            return self.add_datastream(wanted, actor="analytics")
        except ConflictError:
            # Another worker created it meanwhile.
            self.forget()
            found = self.datastream(wanted.code)
            if found is None:
                raise
            return found

    # -- events -----------------------------------------------------------------------------------------------------------

    def add_event(self, event: StationEvent, actor: str) -> StationEvent:
        """Add to a station's log; what the event touches is analysed again."""
        with self._change(f"station {event.station}", actor, f"event {event.kind}") as connection:
            if event.datastream is not None and self.datastream(event.datastream) is None:
                raise NotFoundError(f"there is no datastream {event.datastream}.")
            row = connection.execute(SQL.insert_event, values_of(event)).fetchone()
            if row is None:
                raise _no_station(event.station)
            scope = connection.execute(SQL.event_scope, [row[0]]).fetchone()
            self._leave_work(connection, scope)
        return replace(event, event_id=_id(row))

    def withdraw_event(self, event_id: int, actor: str) -> None:
        """Take an event back; it stays in the log as withdrawn. NotFoundError when there is none that stands."""
        with self._change(f"event {event_id}", actor, "withdraw") as connection:
            scope = connection.execute(SQL.withdraw_event, [event_id]).fetchone()
            if scope is None:
                raise NotFoundError(f"there is no event {event_id} that could be withdrawn.")
            self._leave_work(connection, scope)

    def _leave_work(self, connection: Connection, scope: tuple[int, int | None] | None) -> None:
        if scope is not None:
            connection.execute(SQL.event_leaves_work, {"station_id": scope[0], "datastream_id": scope[1]})
            connection.execute(SQL.notify_work)

    # -- configuration ------------------------------------------------------------------------------------------------------

    def upsert_property(self, observed: ObservedProperty) -> None:
        """Add or change an observed property; unit and direction are fixed once a datastream uses it (ConflictError)."""
        with self._configuration(f"property {observed.code}") as connection:
            used = connection.execute(SQL.property_unit_in_use, [observed.code]).fetchone()
            if used is not None and used[0] != observed.unit:
                raise ConflictError(
                    f"property {observed.code} is stored in {used[0]} and cannot become {observed.unit}.",
                    remedy="define a new property and import again",
                )
            connection.execute(SQL.upsert_property, values_of(observed))

    def upsert_region(self, region: Region) -> None:
        """Add or change an administrative region."""
        with self._configuration(f"region {region.code}") as connection:
            connection.execute(SQL.upsert_region, values_of(region))

    def upsert_datum(self, datum: Datum) -> None:
        """Add or change a vertical datum."""
        with self._configuration(f"datum {datum.code}") as connection:
            connection.execute(SQL.upsert_datum, values_of(datum))

    def upsert_datum_offset(self, offset: DatumOffset) -> None:
        """Add or change an offset between two datums for a region."""
        with self._configuration(f"offset {offset.source_datum} to {offset.target_datum}") as connection:
            connection.execute(SQL.upsert_datum_offset, values_of(offset))

    def upsert_licence(self, licence: Licence) -> None:
        """Add a licence, or a version of one that begins on `effective_from`; what is stored already like that changes nothing.

        Where no beginning is stated it is `valid_from` for a new licence and today, in the node's zone, for a change: what was judged
        by the licence as it stood stays as it is.

        Raises
        ------
        NotFoundError
            Its station is unknown.
        """
        with self._configuration(f"licence {licence.code}") as connection:
            if not add_licence(connection, licence):
                raise _no_station(licence.station)
            connection.execute(SQL.notify_work)

    def upsert_limit(self, limit: Limit) -> None:
        """Add a limit, ban or target, or a version of it; what it applies to is judged and forecast anew."""
        with self._configuration(f"limit {limit.code}") as connection:
            if add_limit(connection, limit):
                connection.execute(SQL.notify_work)

    def set_node(self, node: Node) -> None:
        """Say what this deployment is; another zone rebuilds the roll-ups, whose days and months are those of the zone."""
        with self._configuration(f"node {node.code}") as connection:
            known = connection.execute(SQL.known_zone, [node.zone]).fetchone()
            if known is None or not known[0]:
                raise ConflictError(f"{node.zone!r} is not a time zone.", remedy="write an IANA name such as Asia/Shanghai")
            connection.execute(SQL.set_node, values_of(node))
            connection.execute(SQL.ensure_rollups)

    def record_configuration(self, name: str, digest: str, content: Mapping[str, Any], actor: str) -> int | None:
        """Keep a configuration as it was applied; return its version's id, or None when it is the one in force already."""
        with self._change(f"configuration {name}", actor, "apply") as connection:
            parameters = {"name": name, "digest": digest, "content": jsonb(content), "actor": actor}
            row = connection.execute(SQL.record_configuration, parameters).fetchone()
        return row[0] if row else None

    # -- plumbing -------------------------------------------------------------------------------------------------------------

    def _one(self, statement: bytes, parameters: Any, read: Callable[[Mapping[str, Any]], T]) -> T | None:
        with self._database.single() as connection, connection.cursor(row_factory=dict_row) as cursor:
            row = cursor.execute(statement, parameters).fetchone()
        return None if row is None else read(row)

    def _all(self, statement: bytes, parameters: Any, read: Callable[[Mapping[str, Any]], T]) -> list[T]:
        with self._database.single() as connection, connection.cursor(row_factory=dict_row) as cursor:
            return [read(row) for row in cursor.execute(statement, parameters)]

    @contextmanager
    def _change(self, subject: str, actor: str, action: str) -> Iterator[Connection]:
        """A transaction that changes an entry for somebody: the audit log says who and what."""
        with self._configuration(subject) as connection:
            yield connection
            connection.execute(SQL.audit, [actor, action, subject, jsonb({})])

    @contextmanager
    def _configuration(self, subject: str) -> Iterator[Connection]:
        """A transaction that changes a register: refusals become conflicts, other processes hear of it, the cache is cleared."""
        with self._database.transaction() as connection, refusals_are_conflicts(subject):
            yield connection
            connection.execute(SQL.notify)
        self._cache.clear()


def _applies(limit: Limit, datastream: Datastream, station: Station) -> bool:
    return (
        limit.property_code == datastream.property_code
        and limit.zone_code in {None, station.zone_code}
        and limit.aquifer in {None, datastream.aquifer}
        and (limit.station is None or limit.station.lower() == station.code.lower())
    )


def _id(row: tuple[Any, ...] | None) -> int:
    assert row is not None
    return int(row[0])


def _no_station(code: str) -> NotFoundError:
    return NotFoundError(f"there is no station {code}.", remedy="add the station first, or import with it in the file")

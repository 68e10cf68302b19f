"""The registers: what is read of them, and how they are changed.

Whoever changes an entry clears its own cache, notifies `groundwatch_register` and leaves an entry in the ledger and in the audit log.
This file finishes with `RegisterRepository`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from domain.datum import DatumOffset
from domain.errors import ConflictError, NotFoundError
from domain.finding import Run, Scalar
from domain.licence import Licence, Limit, Region
from domain.model import Datastream, ObservedProperty, Sensor, Station, StationEvent
from storage.database import Connection, refusals_are_conflicts
from storage.derived import derived_datastream, derived_property
from storage.json_values import jsonb
from storage.licences import add_licence
from storage.limits import add_limit
from storage.queries import load_statements
from storage.register_lookups import RegisterLookups
from storage.register_rows import Datum, Node, datastream_values, to_datastream, values_of

SQL = load_statements("registers")


class RegisterRepository(RegisterLookups):
    """Implements `domain.ports.Registry` and `domain.ports.Registers`."""

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

    # -- transactions ------------------------------------------------------------------------------------------------------

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


def _id(row: tuple[Any, ...] | None) -> int:
    assert row is not None
    return int(row[0])


def _no_station(code: str) -> NotFoundError:
    return NotFoundError(f"there is no station {code}.", remedy="add the station first, or import with it in the file")

"""Devices by the identity of their frames, and those that nobody has admitted yet.

What is not admitted is not kept in a list of its own: it is read from the quarantine, where its frames wait, so that the list and the
frames can never disagree. This file finishes with `DeviceRepository`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import class_row, dict_row

from domain.errors import NotFoundError
from domain.model import Device, DeviceStatus
from storage.database import Database, refusals_are_conflicts
from storage.json_values import jsonb
from storage.observations import QuarantineRow
from storage.queries import load_statements

SQL = load_statements("devices")


@dataclass(frozen=True, slots=True)
class UnknownDevice:
    """A device whose frames wait in quarantine; `device` is `protocol:identity`, `source` the address or topic of one of them."""

    device: str
    first_seen: datetime
    last_seen: datetime
    frames: int
    transport: str
    source: str


class DeviceRepository:
    """Which station the frames of a device belong to."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def device(self, protocol: str, identity: str) -> Device | None:
        """Return the device that carries an identity, admitted or rejected, or None."""
        with self._database.transaction() as connection, connection.cursor(row_factory=dict_row) as cursor:
            row = cursor.execute(SQL.device, {"protocol": protocol, "identity": identity}).fetchone()
        return None if row is None else _device(row)

    def devices(self, after: tuple[str, str] = ("", ""), limit: int = 1000) -> list[Device]:
        """Return devices after (protocol, identity), in that order."""
        parameters = {"protocol": after[0], "identity": after[1], "limit": limit}
        with self._database.transaction() as connection, connection.cursor(row_factory=dict_row) as cursor:
            return [_device(row) for row in cursor.execute(SQL.devices, parameters)]

    def store(self, device: Device, *, actor: str) -> None:
        """Insert or replace a device.

        Raises
        ------
        NotFoundError
            Its station is unknown.
        ConflictError
            The schema refuses it, e.g. an admitted device without station.
        """
        with self._database.transaction() as connection, refusals_are_conflicts(f"device {device.code}"):
            station_id: int | None = None
            if device.station is not None:
                row = connection.execute(SQL.station_id, [device.station]).fetchone()
                if row is None:
                    raise NotFoundError(f"there is no station {device.station}.", remedy="add it first: groundwatch station add")
                station_id = int(row[0])
            parameters = {
                "protocol": device.protocol,
                "identity": device.identity,
                "station_id": station_id,
                "status": str(device.status),
                "password": device.password,
                "note": device.note,
                "attributes": jsonb(device.attributes),
            }
            # The password stays out of the audit log, which more people read than the register.
            detail = {"station": device.station, "status": str(device.status)}
            connection.execute(SQL.audit, [actor, "device store", device.code, jsonb(detail)])
            connection.execute(SQL.upsert_device, parameters)
            connection.execute(SQL.notify)

    def remove(self, protocol: str, identity: str, *, actor: str) -> bool:
        """Forget a device, so that its next frame is that of an unknown one; return whether it was known."""
        with self._database.transaction() as connection:
            connection.execute(SQL.audit, [actor, "device remove", f"{protocol}:{identity}", jsonb({})])
            removed = connection.execute(SQL.delete_device, {"protocol": protocol, "identity": identity}).rowcount == 1
            connection.execute(SQL.notify)
        return removed

    def unknown(self, after: str = "", limit: int = 1000) -> list[UnknownDevice]:
        """Return the devices that nobody has admitted and whose frames wait, by `protocol:identity` after `after`."""
        with self._database.transaction() as connection, connection.cursor(row_factory=class_row(UnknownDevice)) as cursor:
            return cursor.execute(SQL.unknown_devices, {"after": after, "limit": limit}).fetchall()

    def waiting(self, device: str, after: int = 0, limit: int = 1000) -> list[QuarantineRow]:
        """Return the open quarantine entries of a device (`protocol:identity`) with an id above `after`, oldest first."""
        parameters = {"device": device, "after": after, "limit": limit}
        with self._database.transaction() as connection, connection.cursor(row_factory=class_row(QuarantineRow)) as cursor:
            return cursor.execute(SQL.open_entries_of_device, parameters).fetchall()

    def every_waiting(self, device: str) -> Iterator[QuarantineRow]:
        """Yield all open quarantine entries of a device (`protocol:identity`), oldest first."""
        after = 0
        while page := self.waiting(device, after):
            yield from page
            after = page[-1].id

    def waiting_aliases(self, edge: str, limit: int = 1000) -> Iterator[QuarantineRow]:
        """Yield what waits for the births of a Sparkplug B edge node (`group/node`), its devices' too, oldest first."""
        after = 0
        while True:
            parameters = {"device": f"sparkplug:{edge}", "after": after, "limit": limit}
            with self._database.transaction() as connection, connection.cursor(row_factory=class_row(QuarantineRow)) as cursor:
                page = cursor.execute(SQL.open_aliases, parameters).fetchall()
            yield from page
            if len(page) < limit:
                return
            after = page[-1].id

    def newest_frame(self, device: str) -> bytes | None:
        """Return the newest waiting frame of a device (`protocol:identity`), or None."""
        with self._database.transaction() as connection:
            row = connection.execute(SQL.newest_frame, {"device": device}).fetchone()
        return None if row is None or row[0] is None else bytes(row[0])


def _device(row: Mapping[str, Any]) -> Device:
    return Device(
        protocol=row["protocol"],
        identity=row["identity"],
        station=row["station"],
        status=DeviceStatus(row["status"]),
        password=row["password"],
        note=row["note"],
        attributes=row["attributes"],
    )

"""`groundwatch device ...`: who may send. Broker accounts with their API keys, and devices known by the identity of their frames.

A code with a colon is a device by its frames (`sl651:3304020001`, `hj212:MN`, `chirpstack:devEui`), one without is a broker account: a
station's own, or a gateway's. This file finishes with `reject`.
"""

from __future__ import annotations

import argparse
import getpass
import os
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from domain.errors import ConflictError, InputError, NotFoundError
from domain.model import Device, DeviceStatus, StationKind
from ingest.device_attributes import check_attributes
from service.admitting import Details, NewStation, split_identity
from service.admitting import admit as admit_device
from service.admitting import reject as reject_device
from service.bootstrap import Container
from service.commands.accounts import KeyRegister, checked_password, refuse_unknown
from service.commands.entries import parse_values, text_of
from service.commands.output import emit, jsonable, say
from service.settings import load_settings

Entry = Mapping[str, Any]
PAGE = 1000
FIELDS = ("station", "status", "password", "note", "attributes")
ACCOUNT_FIELDS = ("password", "stations", "topics")


class DeviceRegister:
    """Devices of both kinds."""

    def __init__(self, container: Container) -> None:
        self.container = container
        self.accounts = BrokerAccounts(container)

    def all(self) -> Iterator[Entry]:
        """Return every broker account, then every device by its frames."""
        yield from self.accounts.all()
        after = ("", "")
        while page := self.container.devices.devices(after, PAGE):
            yield from (_entry(device) for device in page)
            after = (page[-1].protocol, page[-1].identity)

    def add(self, code: str, values: dict[str, Any]) -> Entry:
        """Add a broker account, or a device by its frames with station=CODE."""
        if ":" not in code:
            return self.accounts.add(code, values)
        protocol, identity = split_identity(code)
        if self.container.devices.device(protocol, identity) is not None:
            raise ConflictError(
                f"there is a device {protocol}:{identity} already.", remedy=f"groundwatch device set {code} KEY=VALUE"
            )
        return self._store(Device(protocol, identity, None, status=_status(values.get("status", "admitted"))), values)

    def change(self, code: str, values: dict[str, Any]) -> Entry:
        """Change a device: station=, password=, note=, attributes={...}; or the password of a broker account."""
        if ":" not in code:
            return self.accounts.change(code, values)
        return self._store(self._found(code), values)

    def _found(self, code: str) -> Device:
        protocol, identity = split_identity(code)
        device = self.container.devices.device(protocol, identity)
        if device is None:
            raise NotFoundError(f"there is no device {code}.", remedy="groundwatch device list, or groundwatch device unknown")
        return device

    def _store(self, device: Device, values: dict[str, Any]) -> Entry:
        refuse_unknown(values, *FIELDS)
        attributes = values.get("attributes", device.attributes)
        if not isinstance(attributes, Mapping):
            raise InputError("attributes are no mapping.", remedy='e.g. attributes={"zone": "+08:00", "ignored": ["26"]}')
        stored = replace(
            device,
            station=text_of(values, "station") if "station" in values else device.station,
            status=_status(values.get("status", device.status)),
            password=text_of(values, "password") if "password" in values else device.password,
            note=text_of(values, "note") if "note" in values else device.note,
            attributes=attributes,
        )
        if stored.status is DeviceStatus.ADMITTED and stored.station is None:
            raise InputError("station missing.", remedy=f"groundwatch device add {device.code} station=CODE")
        check_attributes(stored.protocol, stored.attributes, stored.code)
        self.container.devices.store(stored, actor=getpass.getuser())
        return _entry(stored)

    def remove(self, code: str) -> Entry:
        """Withdraw a broker account with its keys, or forget a device by its frames."""
        if ":" not in code:
            return self.accounts.remove(code)
        device = self._found(code)
        self.container.devices.remove(device.protocol, device.identity, actor=getpass.getuser())
        return {"code": device.code, "removed": True}


def _status(value: Any) -> DeviceStatus:
    try:
        return DeviceStatus(str(value))
    except ValueError as fault:
        raise InputError(f"status cannot be {value!r}.", remedy="one of admitted, rejected") from fault


def _entry(device: Device) -> Entry:
    own = {name: value for name, value in asdict(device).items() if name not in {"protocol", "identity"}}
    return {"code": device.code, **own}


class BrokerAccounts:
    """Accounts at the broker: a device may publish under its own station only, a gateway under those that it was given."""

    def __init__(self, container: Container) -> None:
        self.container = container
        self.keys = KeyRegister(container)

    def all(self) -> Iterator[Entry]:
        """Return every device's account at the broker; the service's own is none of a device."""
        from service.embedded.accounts import SERVICE_USER

        for name, account in self._files().read().items():
            if name == SERVICE_USER:
                continue
            topics = {"topics": list(account.topics)} if account.topics else {}
            yield {"code": name, "stations": list(account.stations) or [name], **topics}

    def add(self, code: str, values: dict[str, Any]) -> Entry:
        """Give a station's device its password for MQTT and its key for HTTP, both shown once; a gateway gets stations=[...], topics=[...]."""
        refuse_unknown(values, *ACCOUNT_FIELDS)
        stations, topics = _names(values, "stations"), _names(values, "topics")
        password = checked_password(values) or secrets.token_urlsafe(18)
        if topics or stations not in ((), (code,)):
            for station in stations:
                self._station(station)
            self._write(code, password, stations, topics)
            return {"code": code, "stations": list(stations), "mqtt_username": code, "mqtt_password": password}
        station = self._station(code)
        self._write(station, password)
        key = self.keys.add("device", {"station": station, "note": "device"})
        return {"code": station, "mqtt_username": station, "mqtt_password": password, "key": key["key"]}

    def _station(self, code: str) -> str:
        station = self.container.registers.station(code)
        if station is None:
            raise NotFoundError(f"there is no station {code}.", remedy=f"add it first: groundwatch station add {code} kind=...")
        return station.code

    def change(self, code: str, values: dict[str, Any]) -> Entry:
        """Give an account a new MQTT password; what an export says of it unchanged changes nothing."""
        refuse_unknown(values, *ACCOUNT_FIELDS)
        known = next((entry for entry in self.all() if entry["code"] == code), None)
        if known is None:
            raise NotFoundError(f"there is no device {code}.", remedy="groundwatch device list")
        password = checked_password(values)
        if password is None:
            if values and all(list(values[name] or ()) == known.get(name, []) for name in values):
                return known
            raise InputError(
                "nothing to change.", remedy="password=...; stations and topics: remove the account and add it again"
            )
        stations = tuple(known["stations"])
        self._write(code, password, () if stations == (code,) else stations, tuple(known.get("topics", ())))
        return {"code": code, "mqtt_password": password}

    def remove(self, code: str) -> Entry:
        """Withdraw an account and the keys of its station."""
        from service.embedded import EmbeddedStack

        known = self._files().remove(code) if _external() else EmbeddedStack(self.container.settings.home).remove_device(code)
        for key in self.container.access.keys():  # noqa: SIM118 - a repository, no mapping
            if key.role == "device" and key.station == code and key.revoked_at is None:
                self.container.access.revoke_key(key.key_id, self.container.clock())
                known = True
        if not known:
            raise NotFoundError(f"there is no device {code}.", remedy="groundwatch device list")
        return {"code": code, "removed": True}

    def _write(self, code: str, password: str, stations: tuple[str, ...] = (), topics: tuple[str, ...] = ()) -> None:
        from service.embedded import EmbeddedStack

        if _external():
            self._files().add(code, password, stations, topics)
        elif stations or topics:
            EmbeddedStack(self.container.settings.home).add_gateway(code, password, stations, topics)
        else:
            EmbeddedStack(self.container.settings.home).add_device(code, password)

    def _files(self) -> Any:
        from service.embedded.accounts import AccountFiles
        from service.embedded.home import Layout, server_account

        directory = Path(_external() or Layout.of(self.container.settings.home).broker)
        return AccountFiles(directory, server_account())


def _external() -> str | None:
    return os.environ.get("GROUNDWATCH_BROKER_ACCOUNTS")


def _names(values: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = values.get(key) or ()
    if not isinstance(value, list | tuple):
        raise InputError(f"{key} is no list.", remedy=f"e.g. {key}=[A, B]")
    return tuple(str(item) for item in value)


def unknown(arguments: argparse.Namespace) -> int:
    """List the devices that nobody has admitted and whose frames wait in quarantine."""
    with Container(load_settings({"home": arguments.home})) as container:
        after = ""
        while page := container.devices.unknown(after, PAGE):
            for device in page:
                _tell(jsonable(asdict(device)), as_json=arguments.json)
            after = page[-1].device
    return 0


def admit(arguments: argparse.Namespace) -> int:
    """Admit a device and run its waiting frames again; 3 when something of them still waits."""
    values = parse_values(arguments.values)
    refuse_unknown(values, "password", "note", "attributes")
    attributes = values.get("attributes")
    if attributes is not None and not isinstance(attributes, Mapping):
        raise InputError("attributes are no mapping.", remedy='e.g. attributes={"zone": "+08:00"}')
    with Container(load_settings({"home": arguments.home})) as container:
        done = admit_device(
            container,
            arguments.code,
            arguments.station,
            actor=getpass.getuser(),
            create=None if arguments.create is None else _new_station(arguments.create),
            details=Details(text_of(values, "password"), text_of(values, "note"), attributes),
        )
    answer = {
        "ok": not done.refused,
        "device": done.device.code,
        "station": done.device.station,
        "created": list(done.created),
        "frames": done.replay.payloads,
        "resolved": done.replay.resolved,
        "remaining": done.replay.remaining,
        "refused": dict(done.refused),
    }
    if arguments.json:
        emit(answer)
    else:
        say(f"{done.device.code} is admitted at {done.device.station}: {done.replay.payloads} frames run again")
        for code in done.created:
            say(f"made {code}")
        for reason, count in done.refused.items():
            say(f"still waiting ({count}): {reason}")
    return 3 if done.refused else 0


def _new_station(words: list[str]) -> NewStation:
    values = parse_values(words)
    refuse_unknown(values, "kind", "name_zh", "name_en")
    try:
        kind = StationKind(values.get("kind", StationKind.OTHER))
    except ValueError as fault:
        kinds = ", ".join(kind.value for kind in StationKind)
        raise InputError(f"kind cannot be {values['kind']!r}.", remedy=f"one of {kinds}") from fault
    return NewStation(kind, text_of(values, "name_zh"), text_of(values, "name_en"))


def reject(arguments: argparse.Namespace) -> int:
    """Refuse a device for good: what waits of it is set aside, what comes is neither stored nor answered."""
    with Container(load_settings({"home": arguments.home})) as container:
        count = reject_device(container, arguments.code, actor=getpass.getuser(), note=arguments.note)
    _tell({"device": arguments.code, "rejected": True, "set_aside": count}, as_json=arguments.json)
    return 0


def _tell(answer: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        emit(answer)
    else:
        say(f"{answer['device']}  " + "  ".join(f"{key}={value}" for key, value in answer.items() if key != "device"))

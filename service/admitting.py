"""Admitting a device: its identity gets a station, and the frames that waited become observations with the time at which they came.

This file finishes with `reject`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from domain.errors import ConflictError, InputError, NotFoundError
from domain.model import Datastream, Device, DeviceStatus, Disclosure, Station, StationKind, datastream_code, station_code
from ingest.device_attributes import check_attributes
from ingest.formats import MESSAGE_FORMATS, MessageContext
from service.bootstrap import Container
from service.replaying import ReplayReport, replay_device


@dataclass(frozen=True, slots=True)
class Admission:
    """What an admission did; `refused` counts what still waits by reason, `created` names what was made."""

    device: Device
    created: tuple[str, ...]
    replay: ReplayReport
    refused: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class NewStation:
    """How a station is made that does not exist yet; it is unconfirmed and restricted until somebody says otherwise."""

    kind: StationKind = StationKind.OTHER
    name_zh: str | None = None
    name_en: str | None = None


@dataclass(frozen=True, slots=True)
class Details:
    """What a device's register entry says beside its station; None leaves an entry as it is."""

    password: str | None = None
    note: str | None = None
    attributes: Mapping[str, Any] | None = None


def split_identity(code: str) -> tuple[str, str]:
    """Return protocol and identity of `protocol:identity`, the latter as frames carry it.

    Raises
    ------
    InputError
        It has another shape, or no message format is named so.
    """
    protocol, _, identity = code.partition(":")
    if protocol not in MESSAGE_FORMATS or not identity.strip():
        raise InputError(
            f"{code!r} names no device.",
            remedy=f"write PROTOCOL:IDENTITY, e.g. sl651:3304020001; protocols are {', '.join(sorted(MESSAGE_FORMATS))}",
        )
    identity = identity.strip()
    folded = {"sl651": identity.upper(), "chirpstack": identity.lower()}
    return protocol, folded.get(protocol, identity)


def admit(
    container: Container,
    code: str,
    station: str,
    *,
    actor: str,
    create: NewStation | None = None,
    details: Details | None = None,
) -> Admission:
    """Register a device at a station and run its waiting frames again.

    Parameters
    ----------
    code
        `protocol:identity`.
    station
        Code of its station.
    actor
        Who admits it.
    create
        Make the station, and the datastreams that the waiting frames have values for, where they do not exist; None makes nothing, and
        what has no datastream goes on waiting.
    details
        Password, note and attributes of the device.

    Raises
    ------
    InputError
        The identity or the station's code is none.
    NotFoundError
        The station does not exist and is not to be made.
    ConflictError
        The device belongs to another station.
    """
    protocol, identity = split_identity(code)
    device = container.devices.device(protocol, identity) or Device(protocol, identity, None)
    home = station_code(station)
    if device.station is not None and device.station.casefold() != home.casefold():
        raise ConflictError(
            f"{device.code} belongs to station {device.station}.",
            remedy=f"move it: groundwatch device set {device.code} station={home}",
        )
    said = {key: value for key, value in asdict(details or Details()).items() if value is not None}
    device = replace(device, station=home, status=DeviceStatus.ADMITTED, **said)
    check_attributes(protocol, device.attributes, device.code)
    created = _station(container, home, create, actor)
    container.devices.store(device, actor=actor)
    container.registers.forget()
    if create is not None:
        created += _datastreams(container, device, actor)
    replay = replay_device(container, device.code)
    refused = Counter(f"{row.code}: {row.reason}" for row in container.devices.every_waiting(device.code))
    return Admission(device, tuple(created), replay, dict(refused.most_common(20)))


def _station(container: Container, code: str, create: NewStation | None, actor: str) -> list[str]:
    if container.registers.station(code) is not None:
        return []
    if create is None:
        raise NotFoundError(
            f"there is no station {code}.",
            remedy=f"add it (groundwatch station add {code} kind=...), or make it here with --create",
        )
    made = Station(
        code,
        create.kind,
        create.name_zh or code,
        create.name_en or code,
        disclosure=Disclosure.RESTRICTED,
        confirmed=False,
    )
    return [container.registers.add_station(made, actor=actor).code]


def _datastreams(container: Container, device: Device, actor: str) -> list[str]:
    """Make the datastreams that waiting frames have values for; one that needs a datum is left for a person, who knows it."""
    made: list[str] = []
    station = device.station or ""
    for key in dict.fromkeys(_keys(container, device)):
        name, _, channel = key.partition(":")
        observed = container.registers.observed_property(name)
        exists = container.registers.datastream(datastream_code(station, name, channel or None)) is not None
        if observed is None or observed.needs_datum or exists:
            continue
        new = Datastream(station, name, observed.unit, channel=channel or None, confirmed=False, disclosure=Disclosure.RESTRICTED)
        made.append(container.registers.add_datastream(new, actor=actor).code)
    return made


def _keys(container: Container, device: Device) -> Iterator[str]:
    """Yield `property[:channel]` of every value in waiting frames."""
    entry = MESSAGE_FORMATS[device.protocol]
    payloads = dict.fromkeys(row.raw_payload_id for row in container.devices.every_waiting(device.code))
    for payload_id in payloads:
        payload = None if payload_id is None else container.observations.raw_payload(payload_id)
        if payload is None or payload.body is None:
            continue
        context = MessageContext(payload.source, payload.received_at, device.station or "", device.attributes)
        try:
            found = entry.elements(payload.body, context)
        except InputError:
            continue  # it stays in quarantine with its reason
        for element in found.values:
            if element.key not in found.optional:
                yield element.key


def reject(container: Container, code: str, *, actor: str, note: str | None = None) -> int:
    """Refuse a device: what waits of it is set aside, what comes from now on is neither stored nor answered; return what was set aside.

    Raises
    ------
    InputError
        The identity is none.
    """
    protocol, identity = split_identity(code)
    device = Device(protocol, identity, None, DeviceStatus.REJECTED, note=note)
    container.devices.store(device, actor=actor)
    container.registers.forget()
    waiting = [row.id for row in container.devices.every_waiting(device.code)]
    return container.observations.resolve_quarantine(waiting, None, container.clock()) if waiting else 0

"""Device messages: many payloads become one commit, each with its own receipt.

The hot path of MQTT: parsed into plain tuples, resolved through the registry's cache, built into columns once a batch. A message
that cannot be used is quarantined whole, with its bytes; one that the store itself refuses is found by halving the batch, so that
it never blocks the others. This file finishes with `ingest_messages`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from domain.errors import GroundWatchError, InputError, UnavailableError
from domain.model import Device, DeviceStatus, station_code
from domain.observation import (
    Batch,
    CommitCounts,
    QuarantineEntry,
    RawPayload,
    Rejected,
    SourceStream,
)
from domain.ports import ObservationStore, Registry
from ingest.element_rows import rows_of
from ingest.formats import MESSAGE_FORMATS, ImportContext, MessageContext
from ingest.formats.json_runs import Run
from ingest.formats.native_json import Element, Elements, elements_of
from ingest.mapping import Refusal, StreamResolver, Target
from ingest.quality import CLOCK_LIMIT
from ingest.report import MessageReceipt
from ingest.uplinks import UplinkMemory

LOG = logging.getLogger(__name__)
_LONG_PAYLOAD_BYTES = 4096
_NOTHING = CommitCounts(0, 0, 0, 0, None, None)


class Message(NamedTuple):
    """One payload of a device; a named tuple, because thousands are made in a second.

    `station` is what topic, URL or credentials say (empty where they name a device instead); a payload that names another is refused.
    `source` is the topic or path, `device` the identity that topic or credentials state, `format` a key of `MESSAGE_FORMATS`.
    """

    station: str
    payload: bytes
    received_at: datetime
    source: str
    device: str | None = None
    format: str = "native_json"


@dataclass(slots=True)
class _Prepared:
    """A message after parsing: its observations with where they go, and what is refused."""

    message: Message
    sha256: str
    station: str | None = None
    identity: str | None = None
    is_ignored: bool = False
    message_id: str | None = None
    elements: list[tuple[Target, Element]] = field(default_factory=list)
    runs: list[tuple[Target, Run]] = field(default_factory=list)
    rejects: list[Rejected] = field(default_factory=list)

    @property
    def observations(self) -> int:
        """Return how many observations go to the store."""
        return len(self.elements) + (sum(len(run) for _, run in self.runs) if self.runs else 0)

    def refuse_all(self, reject: Rejected) -> None:
        """Quarantine the message as a whole."""
        self.elements.clear()
        self.runs.clear()
        self.rejects[:] = [reject]


@dataclass(frozen=True, slots=True)
class PreparedMessages:
    """Messages that were parsed and only wait for their commit."""

    items: list[_Prepared]


class _Round:
    """What the messages of one batch are read with: each station and each `property[:channel]` is resolved once."""

    def __init__(self, registry: Registry, now: datetime, source_kind: str, copies: UplinkMemory) -> None:
        self.registry, self.copies = registry, copies
        self.latest_us = round((now + CLOCK_LIMIT).timestamp() * 1_000_000)
        self._resolver = StreamResolver(
            registry,
            ImportContext(source_kind),
            create=False,
            convert_datum=False,
            actor=source_kind,
            unit_is_the_datastreams=True,
        )
        self._known: dict[tuple[str, str, str | None], Target | Refusal] = {}
        self._stations: dict[str, str] = {}

    def station(self, message: Message) -> str:
        """Return the station that a message's topic, URL or credentials name; raises `InputError` when it is no code."""
        code = self._stations.get(message.station)
        if code is None:
            code = self._stations[message.station] = station_code(message.station, where=message.source)
        return code

    def target(self, station: str, key: str, unit: str | None) -> Target | Refusal:
        wanted = (station, key, unit)
        found = self._known.get(wanted)
        if found is None:
            name, _, channel = key.partition(":")
            found = self._resolver.resolve(SourceStream(station, name, channel=channel or None, unit=unit))
            self._known[wanted] = found
        return found


def ingest_messages(
    registry: Registry,
    store: ObservationStore,
    messages: Sequence[Message],
    now: datetime,
    *,
    source_kind: str,
    actor: str | None,
    uplinks: UplinkMemory | None = None,
) -> list[MessageReceipt]:
    """Commit messages together and return a receipt for each, in order; `uplinks` knows copies of radio frames from earlier calls.

    Raises
    ------
    UnavailableError
        When the store is out of reach: nothing is stored and every message may be sent again.
    """
    prepared = prepare_messages(registry, messages, now, source_kind=source_kind, uplinks=uplinks)
    return commit_messages(store, prepared, now, source_kind=source_kind, actor=actor)


def prepare_messages(
    registry: Registry, messages: Sequence[Message], now: datetime, *, source_kind: str, uplinks: UplinkMemory | None = None
) -> PreparedMessages:
    """Parse messages and find out where their observations go; nothing is stored. Batches are prepared in the order of their coming.

    Raises
    ------
    UnavailableError
        When the register is out of reach.
    """
    registry.prepare_stations(sorted({message.station for message in messages if message.station}))
    given = _Round(registry, now, source_kind, uplinks or UplinkMemory())
    return PreparedMessages([_prepared(message, given) for message in messages])


def commit_messages(
    store: ObservationStore, prepared: PreparedMessages, now: datetime, *, source_kind: str, actor: str | None
) -> list[MessageReceipt]:
    """Commit what was prepared and return a receipt for each message, in order.

    Raises
    ------
    UnavailableError
        When the store is out of reach: the same may be committed again.
    """
    wanted = [item for item in prepared.items if not item.is_ignored]
    receipts = iter(_commit(store, wanted, now, source_kind, actor) if wanted else ())
    return [_receipt(item, _NOTHING) if item.is_ignored else next(receipts) for item in prepared.items]


def _sender(result: _Prepared, given: _Round) -> Device | None:
    """Find out who sent a message: the station of its topic or credentials, or that of the registered device whose identity it carries.

    Raises
    ------
    InputError
        Topic or credentials state another station than the one that the device is registered at.
    """
    message = result.message
    entry = MESSAGE_FORMATS[message.format]
    stated = None if message.station else message.device  # beside a station, `device` only says whose credentials they are
    identity = stated if entry.identity is None else entry.identity(message.payload)
    device = None if identity is None else given.registry.device(message.format, identity)
    result.identity = None if identity is None else f"{message.format}:{identity}"
    result.station = given.station(message) if message.station else None
    if device is None or device.status is DeviceStatus.REJECTED:
        result.is_ignored = device is not None
        return device
    registered = station_code(device.station or "")
    if result.station is not None and result.station.casefold() != registered.casefold():
        raise InputError(
            f"{device.code} is registered at station {registered}, its topic or credentials state {result.station}.",
            where=message.source,
            remedy="send under the station's own name, or correct it: groundwatch device set",
        )
    result.station = registered
    return device


def _prepared(message: Message, given: _Round) -> _Prepared:
    """Parse a message and find where it goes; where that fails in a way that nobody foresaw, it is refused, for others wait behind it."""
    result = _Prepared(message, hashlib.sha256(message.payload).hexdigest())
    try:
        _prepare(result, given)
    except UnavailableError:
        raise
    except Exception as fault:
        LOG.exception("a message on %s cannot be read and goes to quarantine", message.source)
        reason = f"the message cannot be read: {fault!r}. Remedy: look at the device's attributes, else report it; then replay"
        result.refuse_all(Rejected(0, "internal", reason, message.payload))
    return result


def _prepare(result: _Prepared, given: _Round) -> None:
    message = result.message
    try:
        device = _sender(result, given)
        if result.is_ignored:
            result.rejects.append(Rejected(0, "rejected_device", f"{result.identity} was rejected by a person", message.payload))
            return
        if result.station is None and _refuse_nobodys(result):
            return
        if device is not None and not _proves_itself(message, device):
            result.rejects.append(Rejected(0, "password", f"{device.code} carries another password", message.payload))
            return
        station = result.station or given.station(message)
        context = MessageContext(message.source, message.received_at, station, device.attributes if device else {})
        found = MESSAGE_FORMATS[message.format].elements(message.payload, context)
        result.message_id = found.message_id
        if found.station is not None and station_code(found.station).casefold() != station.casefold():
            raise InputError(
                f"the payload names station {found.station!r}, its topic or URL {station!r}.",
                where=message.source,
                remedy="send each station's observations under its own name",
            )
    except InputError as fault:
        result.rejects.append(Rejected(0, fault.code, str(fault), message.payload))
        return
    result.rejects.extend(found.rejected)
    if found.uplink is not None:
        _date_like_the_first_copy(found, given.copies)
    _take_runs(result, found, station, given)
    for element in found.values:
        target = given.target(station, element.key, found.units.get(element.key))
        if isinstance(target, Refusal) and element.key in found.optional:
            continue
        if isinstance(target, Refusal):
            result.rejects.append(Rejected(element.line, target.code, f"{element.key}: {target.reason}", _raw(message, element)))
        elif element.time_us > given.latest_us:
            reason = f"{element.key}: the time is more than a day in the future; set the device's clock"
            result.rejects.append(Rejected(element.line, "clock", reason, _raw(message, element)))
        else:
            result.elements.append((target, element))
    if not found.values and not found.runs and not found.rejected and not found.is_sign_of_life:
        result.rejects.append(Rejected(0, "value", "the payload holds no observation", message.payload))


def _take_runs(result: _Prepared, found: Elements, station: str, given: _Round) -> None:
    """Take what can be taken as a whole; the elements of the others are looked at one by one."""
    for run in found.runs:
        target = given.target(station, run.key, found.units.get(run.key))
        if isinstance(target, Refusal) or (run.time_us > given.latest_us).any():
            found.values.extend(elements_of(run))
        else:
            result.runs.append((target, run))


def _refuse_nobodys(result: _Prepared) -> bool:
    """Refuse a message that neither topic nor register give a station; False when its topic should have."""
    message = result.message
    entry = MESSAGE_FORMATS[message.format]
    if result.identity is not None:
        result.rejects.append(Rejected(0, "unknown_device", _unknown(result.identity), message.payload))
    elif entry.identity is not None:
        found = entry.elements(message.payload, MessageContext(message.source, message.received_at, ""))
        nameless = Rejected(0, "station", "the frame does not say who sent it", message.payload)
        result.rejects.extend(found.rejected or [nameless])
    return bool(result.rejects)


def _proves_itself(message: Message, device: Device) -> bool:
    """Return whether a message carries the password that is registered for its device, where one is."""
    entry = MESSAGE_FORMATS[message.format]
    return device.password is None or entry.password is None or entry.password(message.payload) == device.password


def _unknown(identity: str) -> str:
    return f"no station has the device {identity}. Remedy: groundwatch device admit {identity} --station CODE"


def _date_like_the_first_copy(found: Elements, copies: UplinkMemory) -> None:
    if found.uplink is None or not found.values:
        return
    first_us = copies.first_time_us(found.uplink, found.values[0].time_us)
    if first_us is not None:
        found.values[:] = [element._replace(time_us=first_us) for element in found.values]


def _raw(message: Message, element: Element) -> bytes:
    """Return the message, or of a long one the element (the whole of it is kept beside)."""
    if len(message.payload) <= _LONG_PAYLOAD_BYTES:
        return message.payload
    value = None if math.isnan(element.result) else element.result
    return json.dumps({"t": element.time_us / 1e6, element.key: value}).encode("utf-8")


def _commit(
    store: ObservationStore, prepared: list[_Prepared], now: datetime, source_kind: str, actor: str | None
) -> list[MessageReceipt]:
    try:
        counts = store.commit(_batch(prepared, now, source_kind, actor))
    except UnavailableError:
        raise
    except Exception as fault:  # whatever one message holds must not stop the others
        if len(prepared) > 1:
            half = len(prepared) // 2
            first = _commit(store, prepared[:half], now, source_kind, actor)
            return first + _commit(store, prepared[half:], now, source_kind, actor)
        if not prepared[0].observations:
            raise
        code = fault.code if isinstance(fault, GroundWatchError) else "internal"
        LOG.exception("a message on %s is refused by the store and goes to quarantine", prepared[0].message.source)
        prepared[0].refuse_all(Rejected(0, code, f"the store refuses the message: {fault}", prepared[0].message.payload))
        counts = store.commit(_batch(prepared, now, source_kind, actor))
    return [_receipt(item, counts) for item in prepared]


def _receipt(item: _Prepared, counts: CommitCounts) -> MessageReceipt:
    return MessageReceipt(
        station=item.station or item.message.station,
        source=item.message.source,
        sha256=item.sha256,
        message_id=item.message_id,
        observations=item.observations,
        rejects=tuple(item.rejects),
        counts=counts,
    )


def _batch(prepared: list[_Prepared], now: datetime, source_kind: str, actor: str | None) -> Batch:
    sources = {item.message.source for item in prepared}
    devices = {item.identity or item.message.device for item in prepared}
    formats = {item.message.format for item in prepared}
    return Batch(
        source_kind=source_kind,
        source=sources.pop() if len(sources) == 1 else f"{source_kind} ({len(prepared)} messages)",
        columns=rows_of(
            [pair for item in prepared for pair in item.elements], [pair for item in prepared for pair in item.runs], now
        ),
        raws=tuple(
            RawPayload(
                source=item.message.source,
                sha256=item.sha256,
                size=len(item.message.payload),
                received_at=item.message.received_at,
                body=item.message.payload,
                media_type=MESSAGE_FORMATS[item.message.format].media_type,
            )
            for item in prepared
        ),
        quarantine=tuple(
            QuarantineEntry(reject, index, item.station or item.message.station or None, item.identity)
            for index, item in enumerate(prepared)
            for reject in item.rejects
        ),
        device=devices.pop() if len(devices) == 1 else None,
        actor=actor,
        format=",".join(sorted(formats)),
        received_at=max(item.message.received_at for item in prepared),
    )

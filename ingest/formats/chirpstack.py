"""LoRaWAN uplinks as ChirpStack v4 publishes them (`application/{id}/device/{devEui}/event/up`, JSON).

One event is one uplink, however many gateways heard it (`rxInfo`). The values come from `data` by the codec of the device, else from
`object`, what the network server decoded: by the codec's map, or by its own names where these are property codes. The time is the
device's where the codec reads one, else the event's, else the earliest of a gateway or of the network server, else that of receipt,
marked with `clock`. Battery, RSSI and SNR of the best gateway are observations of the station's health, kept where a datastream is
configured for them. Reference: https://www.chirpstack.io/docs/chirpstack/integrations/events.html. This file finishes with `parse`.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from domain.errors import FormatError, InputError
from domain.model import CHANNEL_CODE, PROPERTY_CODE, station_code
from domain.observation import ParsedPayload, Rejected
from domain.quality import Quality
from ingest.codec import TIME, Codec, Value, codec_named
from ingest.formats.decoding import head
from ingest.formats.element_rows import ElementRows, stream_of
from ingest.formats.format import ImportContext
from ingest.formats.message import MessageContext
from ingest.formats.native_json import NO_END, Element, Elements, epoch_us
from ingest.profile import Profile
from ingest.uplinks import UplinkMemory

HEALTH = frozenset({"signal_strength", "signal_strength:snr", "battery_voltage"})
_DEV_EUI = re.compile(r"[0-9a-f]{16}")
_HEALTH_UNIT = "dB"


@dataclass(frozen=True, slots=True)
class Uplink:
    """One uplink with its values."""

    dev_eui: str
    dev_addr: str
    frame_counter: int | None
    time_us: int
    is_timed: bool
    values: tuple[Value, ...]
    deduplication_id: str | None = None
    tags: Mapping[str, Any] = field(default_factory=dict)
    data: str = ""


def sniff(raw: bytes, filename: str) -> float:
    """Return how sure we are that these are ChirpStack v4 uplinks."""
    del filename
    beginning = head(raw, 8192).lstrip()
    if not beginning.startswith(("{", "[")):
        return 0.0
    return 0.97 if re.search(r'"devEui"\s*:', beginning) and re.search(r'"(fCnt|rxInfo|deduplicationId)"\s*:', beginning) else 0.0


def read_uplink(content: object, attributes: Mapping[str, Any], received_us: int | None, *, where: str) -> Uplink:
    """Read one event.

    Parameters
    ----------
    content
        The event as parsed JSON.
    attributes
        What is registered of the device: `codec`, `parameters`.
    received_us
        When it arrived, in microseconds since 1970; None where nobody knows.

    Raises
    ------
    FormatError
        When it is no uplink, has no time, or its payload cannot be decoded.
    """
    info = content.get("deviceInfo") if isinstance(content, Mapping) else None
    dev_eui = str(info.get("devEui", "")).lower() if isinstance(info, Mapping) else ""
    if not isinstance(content, Mapping) or not isinstance(info, Mapping) or not _DEV_EUI.fullmatch(dev_eui):
        raise FormatError(
            "the event is no ChirpStack v4 uplink with deviceInfo.devEui.",
            where=where,
            remedy="configure the MQTT integration of ChirpStack v4 with JSON",
        )
    tags = info.get("tags") if isinstance(info.get("tags"), Mapping) else {}
    values = list(_values(content, info, tags or {}, attributes, where))
    clock = next((value.value for value in values if value.key == TIME), math.nan)
    moment = _time(content, clock)
    if moment is None and received_us is None:
        raise FormatError(
            "the uplink has no time, and a file does not keep that of its receipt.", where=where, remedy="export it with time"
        )
    counter = content.get("fCnt", 0)
    return Uplink(
        dev_eui=dev_eui,
        dev_addr=str(content.get("devAddr", "")),
        frame_counter=counter if isinstance(counter, int) and not isinstance(counter, bool) else None,
        time_us=moment if moment is not None else int(received_us or 0),
        is_timed=moment is not None,
        values=tuple(value for value in (*values, *_signal(content)) if value.key != TIME),
        deduplication_id=content["deduplicationId"] if isinstance(content.get("deduplicationId"), str) else None,
        tags=tags or {},
        data=content["data"] if isinstance(content.get("data"), str) else "",
    )


def _values(
    content: Mapping[str, Any], info: Mapping[str, Any], tags: Mapping[str, Any], attributes: Mapping[str, Any], where: str
) -> Iterator[Value]:
    codec = _codec(info, tags, attributes, where)
    parameters = stated_parameters(attributes.get("parameters"), where)
    decoded, data = content.get("object"), content.get("data")
    if codec is not None and codec.object and isinstance(decoded, Mapping):
        yield from codec.decode_object(decoded, parameters, where=where)
    elif codec is not None and isinstance(data, str):
        port = content.get("fPort")
        if codec.ports and port not in codec.ports:
            raise FormatError(
                f"codec {codec.name} does not read port {port}.", where=where, remedy="add it under ports: of the codec"
            )
        yield from codec.decode(_bytes(data, where), parameters, where=where)
    elif isinstance(decoded, Mapping):
        yield from _named(decoded)
    elif data:
        raise FormatError(
            "the uplink has bytes and no codec says what they mean.",
            where=where,
            remedy="state codec: with the device (see docs/formats.md), or decode in ChirpStack",
        )


def _codec(info: Mapping[str, Any], tags: Mapping[str, Any], attributes: Mapping[str, Any], where: str) -> Codec | None:
    """Return the codec that the register states, else the device's tag, else that of a model named like the device profile."""
    stated = attributes.get("codec") or attributes.get("model") or tags.get("codec")
    if stated:
        return codec_named(str(stated), where=where)
    try:
        return codec_named(str(info.get("deviceProfileName", "")), where=where)
    except FormatError:
        return None


def stated_parameters(stated: object, where: str) -> dict[str, float]:
    """Return the numbers that stand on a device's probe.

    Raises
    ------
    FormatError
        They are no mapping of numbers.
    """
    if stated is None:
        return {}
    try:
        return {str(key): float(value) for key, value in dict(stated).items()}  # type: ignore[call-overload]
    except (TypeError, ValueError) as fault:
        raise FormatError(
            "the device's parameters are no numbers.", where=where, remedy="write parameters: {name: 1.0}"
        ) from fault


def _bytes(data: str, where: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as fault:
        raise FormatError("data is no base64.", where=where, remedy="send the event as ChirpStack made it") from fault


def _named(decoded: Mapping[str, Any]) -> Iterator[Value]:
    """Take the numbers whose names are property codes (or `property:channel`); their unit is the datastream's."""
    for key, value in decoded.items():
        name, _, channel = str(key).partition(":")
        if not PROPERTY_CODE.match(name) or (channel and not CHANNEL_CODE.match(channel)):
            continue
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(float(value)):
            yield Value(str(key), float(value), None)


def _signal(content: Mapping[str, Any]) -> Iterator[Value]:
    heard = content.get("rxInfo")
    gateways = [item for item in heard if isinstance(item, Mapping)] if isinstance(heard, Sequence) else []
    for name, key in (("rssi", "signal_strength"), ("snr", "signal_strength:snr")):
        levels = [item[name] for item in gateways if isinstance(item.get(name), int | float) and not isinstance(item[name], bool)]
        if levels and math.isfinite(max(levels)):
            yield Value(key, float(max(levels)), _HEALTH_UNIT)


def _time(content: Mapping[str, Any], clock_s: float) -> int | None:
    if 0 < clock_s < 1e11:
        return round(clock_s * 1_000_000)
    stated = epoch_us(content.get("time"))
    if stated is not None:
        return stated
    heard = content.get("rxInfo")
    gateways = [item for item in heard if isinstance(item, Mapping)] if isinstance(heard, Sequence) else []
    for name in ("gwTime", "nsTime"):
        moments = [moment for item in gateways if (moment := epoch_us(item.get(name))) is not None]
        if moments:
            return min(moments)
    return None


def elements_of(uplink: Uplink, channel: str | None, line: int) -> list[Element]:
    """Return the observations of an uplink; `channel` is the device's own where its station has several of a kind."""
    quality = int(Quality.GOOD if uplink.is_timed else Quality.UNKNOWN)
    reasons = None if uplink.is_timed else ("clock",)
    found = []
    for value in uplink.values:
        missing = math.isnan(value.value)
        flag = int(Quality.MISSING) if missing else quality
        found.append(Element(_key(value.key, channel), uplink.time_us, NO_END, value.value, math.nan, flag, reasons, line))
    return found


def _key(key: str, channel: str | None) -> str:
    return key if channel is None or ":" in key else f"{key}:{channel}"


def _json(raw: bytes, where: str) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as fault:
        raise FormatError("the event is not JSON.", where=where, remedy="configure the MQTT integration with JSON") from fault


def message_elements(raw: bytes, context: MessageContext) -> Elements:
    """Parse one event of a registered device."""
    received_us = round(context.received_at.timestamp() * 1_000_000)
    uplink = read_uplink(_json(raw, context.where), context.attributes, received_us, where=context.where)
    channel = context.attributes.get("channel")
    own = None if channel is None else str(channel)
    if own is not None and not CHANNEL_CODE.match(own):
        raise FormatError(f"{own!r} is no channel.", where=context.where, remedy="correct channel: of the device")
    return Elements(
        values=elements_of(uplink, own, 1),
        message_id=uplink.deduplication_id,
        units={_key(value.key, own): value.unit for value in uplink.values if value.unit is not None},
        optional=frozenset(_key(key, own) for key in HEALTH),
        uplink=(uplink.dev_eui, uplink.dev_addr, str(uplink.frame_counter), uplink.data),
    )


def parse(raw: bytes, profile: Profile | None, context: ImportContext) -> ParsedPayload:
    """Parse exported events: one, a list, or one a line.

    The station is the flag's, else the profile's (`station: codes: {devEui: station}`), else the device's tag `station`; the codec is
    `codec:` under the profile's `attributes`, else the device's tag `codec`, else the one of a model named like the device profile.
    Copies of one uplink are one observation; gaps and resets of the frame counter are listed in the notes.
    """
    rows = ElementRows()
    copies = UplinkMemory()
    counters: dict[str, tuple[str, int, int]] = {}
    notes: dict[str, list[dict[str, Any]]] = {"frame_gaps": [], "frame_resets": [], "copies": []}
    attributes = profile.attributes if profile else {}
    for line, content in _events(raw, context.filename, rows.rejected):
        try:
            uplink = read_uplink(content, attributes, None, where=f"{context.filename}, event {line}")
            station = _station(uplink, profile, context)
        except InputError as fault:
            rows.rejected.append(
                Rejected(line, fault.code, str(fault), json.dumps(content, ensure_ascii=False).encode("utf-8", "replace"))
            )
            continue
        identity = (uplink.dev_eui, uplink.dev_addr, str(uplink.frame_counter), uplink.data)
        if copies.first_time_us(identity, uplink.time_us) is not None:
            notes["copies"].append({"line": line, "device": uplink.dev_eui, "fCnt": uplink.frame_counter})
            continue
        _count(uplink, line, counters, notes)
        for value, element in zip(uplink.values, elements_of(uplink, None, line), strict=True):
            rows.add(stream_of(station, element.key, value.unit, sensor=uplink.dev_eui), element)
    return rows.payload({key: value for key, value in notes.items() if value})


def _events(raw: bytes, where: str, rejected: list[Rejected]) -> Iterator[tuple[int, Any]]:
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError):
        lines = [(number, line) for number, line in enumerate(raw.split(b"\n"), start=1) if line.strip()]
        if len(lines) < 2:
            _json(raw, where)
        usable = 0
        for number, line in lines:
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError):
                rejected.append(Rejected(number, "json", "the line is not JSON; repair it", line))
            else:
                usable += 1
        if usable == 0:
            raise FormatError("no line is an event in JSON.", where=where, remedy="give the right --format") from None
        return
    yield from enumerate(content if isinstance(content, list) else [content], start=1)


def _station(uplink: Uplink, profile: Profile | None, context: ImportContext) -> str:
    place = profile.station if profile else None
    stated = context.station or (place and (place.codes.get(uplink.dev_eui) or place.constant)) or uplink.tags.get("station")
    if not stated:
        raise InputError(
            f"nothing says at which station device {uplink.dev_eui} is.",
            remedy="give --station, station: codes: {devEui: station} in a profile, or the tag station in ChirpStack",
        )
    return station_code(str(stated), where=context.filename)


def _count(
    uplink: Uplink, line: int, counters: dict[str, tuple[str, int, int]], notes: Mapping[str, list[dict[str, Any]]]
) -> None:
    """Note frames that are missing between two of one session; a counter that begins anew is a reset, not a loss."""
    if uplink.frame_counter is None:
        return
    before = counters.get(uplink.dev_eui)
    if before is not None and uplink.time_us >= before[2]:
        session, last, _ = before
        if session != uplink.dev_addr or uplink.frame_counter <= last:
            notes["frame_resets"].append({"line": line, "device": uplink.dev_eui, "from": last, "to": uplink.frame_counter})
        elif uplink.frame_counter > last + 1:
            notes["frame_gaps"].append({"line": line, "device": uplink.dev_eui, "missing": uplink.frame_counter - last - 1})
    if before is None or uplink.time_us >= before[2]:
        counters[uplink.dev_eui] = (uplink.dev_addr, uplink.frame_counter, uplink.time_us)

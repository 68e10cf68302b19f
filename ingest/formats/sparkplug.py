"""Sparkplug B payloads (Eclipse Sparkplug 3.0.0): metrics of an edge node or device, as a SCADA gateway publishes them by MQTT.

Only the fields that observations need are declared; the others pass through unread. A birth certificate names each metric and gives it an
alias, data may carry the alias alone: `completed` writes names and types back from the births, so that a stored payload says all by itself
and this module stays a function of its bytes. Which metric is which property the device's attributes say (`elements`), else the last part
of its name where that is a property code.
This file finishes with `rebirth_request`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

from domain.errors import FormatError
from domain.model import CHANNEL_CODE, PROPERTY_CODE
from domain.observation import Rejected
from domain.quality import Quality
from ingest.formats.element_table import ignored_codes, own_elements
from ingest.formats.message import MessageContext
from ingest.formats.native_json import NO_END, Element, Elements

NAMESPACE = "spBv1.0"
_SESSION = "bdSeq"
_CONTROLS = ("Node Control/", "Device Control/")
_SIGNED_BITS = {1: 8, 2: 16, 3: 32, 4: 64}
_NUMBERS = frozenset({"int_value", "long_value", "float_value", "double_value", "boolean_value"})
_BOOLEAN = 11
_LATEST_MS = 2**53
Names = Mapping[int, tuple[str, int]]
"""Name and datatype of each alias."""


@cache
def _payload_class() -> Any:
    """Build the message class from its descriptor (sparkplug_b.proto, proto2); nothing generated is kept."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="groundwatch/sparkplug_b.proto", package="groundwatch.sparkplug", syntax="proto2"
    )
    metric = file.message_type.add(name="Metric")
    metric.oneof_decl.add(name="value")
    plain = [("name", 1, kinds.TYPE_STRING), ("alias", 2, kinds.TYPE_UINT64), ("timestamp", 3, kinds.TYPE_UINT64)]
    plain += [("datatype", 4, kinds.TYPE_UINT32), ("is_historical", 5, kinds.TYPE_BOOL), ("is_null", 7, kinds.TYPE_BOOL)]
    for name, number, kind in plain:
        metric.field.add(name=name, number=number, type=kind, label=kinds.LABEL_OPTIONAL)
    values = [("int_value", 10, kinds.TYPE_UINT32), ("long_value", 11, kinds.TYPE_UINT64), ("float_value", 12, kinds.TYPE_FLOAT)]
    values += [
        ("double_value", 13, kinds.TYPE_DOUBLE),
        ("boolean_value", 14, kinds.TYPE_BOOL),
        ("string_value", 15, kinds.TYPE_STRING),
    ]
    for name, number, kind in values:
        metric.field.add(name=name, number=number, type=kind, label=kinds.LABEL_OPTIONAL, oneof_index=0)
    payload = file.message_type.add(name="Payload")
    payload.field.add(name="timestamp", number=1, type=kinds.TYPE_UINT64, label=kinds.LABEL_OPTIONAL)
    payload.field.add(
        name="metrics", number=2, type=kinds.TYPE_MESSAGE, type_name=".groundwatch.sparkplug.Metric", label=kinds.LABEL_REPEATED
    )
    payload.field.add(name="seq", number=3, type=kinds.TYPE_UINT64, label=kinds.LABEL_OPTIONAL)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("groundwatch.sparkplug.Payload"))


def read_payload(raw: bytes, *, where: str) -> Any:
    """Return the payload with `timestamp`, `seq` and `metrics`.

    Raises
    ------
    FormatError
        The bytes are no such message.
    """
    from google.protobuf.message import DecodeError

    try:
        return _payload_class().FromString(raw)
    except DecodeError as fault:
        raise FormatError(
            "the payload is no Sparkplug B message.", where=where, remedy="publish payloads of Sparkplug B under spBv1.0"
        ) from fault


def names_of(payload: Any) -> dict[int, tuple[str, int]]:
    """Return name and datatype of each alias that a birth certificate gives."""
    return {
        metric.alias: (metric.name, metric.datatype) for metric in payload.metrics if metric.HasField("alias") and metric.name
    }


def session_of(payload: Any) -> int | None:
    """Return the bdSeq of a birth or death of an edge node: the number of its session; None where it states none."""
    for metric in payload.metrics:
        if metric.name == _SESSION and metric.WhichOneof("value") in {"int_value", "long_value"}:
            return int(_value(metric))
    return None


def completed(payload: Any, names: Names) -> tuple[bytes, int]:
    """Write names and datatypes of aliases into a payload; return it and how many metrics go on having no name."""
    nameless = 0
    for metric in payload.metrics:
        if metric.name and metric.HasField("datatype"):
            continue
        name, datatype = names.get(metric.alias, ("", 0)) if metric.HasField("alias") else ("", 0)
        if not metric.name and not name:
            nameless += 1
            continue
        metric.name = metric.name or name
        if datatype and not metric.HasField("datatype"):
            metric.datatype = datatype
    return bytes(payload.SerializeToString()), nameless


def message_elements(raw: bytes, context: MessageContext) -> Elements:
    """Parse the payload of a birth or of data."""
    found = Elements()
    payload = read_payload(raw, where=context.where)
    places = own_elements(context.attributes, context.where)
    ignored = ignored_codes(context.attributes, context.where)
    for line, metric in enumerate(payload.metrics, start=1):
        if metric.name == _SESSION or metric.name.startswith(_CONTROLS) or metric.name in ignored:
            continue
        fault = _add(metric, payload, places, line, context, found)
        if fault is not None:
            found.rejected.append(Rejected(line, fault[0], fault[1], metric.SerializeToString()))
    found.is_sign_of_life = not found.values and not found.rejected
    return found


def _add(
    metric: Any, payload: Any, places: Mapping[str, Mapping[str, Any]], line: int, context: MessageContext, found: Elements
) -> tuple[str, str] | None:
    """Add one metric to the elements; return code and reason where it cannot be."""
    if not metric.name:
        return (
            "alias",
            f"no birth certificate names alias {metric.alias}; it waits for the edge node's next births (NBIRTH, DBIRTH)",
        )
    is_number = metric.WhichOneof("value") in _NUMBERS or metric.is_null
    key, unit = _place(metric.name, places)
    if key is None:
        remedy = "name its property and unit in the device's attributes (elements), or list it in ignored; then replay"
        return ("element", f"metric {metric.name!r} has no observed property. Remedy: {remedy}") if is_number else None
    if not is_number:
        return "value", f"metric {metric.name!r} is no number"
    stated_ms = metric.timestamp or payload.timestamp
    if stated_ms > _LATEST_MS:
        return "time", f"metric {metric.name!r}: {stated_ms} is no time in milliseconds since 1970"
    quality, reasons = Quality.GOOD, None
    if not stated_ms:
        quality, reasons = Quality.UNKNOWN, ("clock",)
    value = math.nan if metric.is_null else _value(metric)
    if math.isinf(value):
        return "value", f"metric {metric.name!r} is not finite"
    quality = Quality.MISSING if math.isnan(value) else quality
    time_us = stated_ms * 1000 if stated_ms else round(context.received_at.timestamp() * 1_000_000)
    if unit is not None:
        found.units[key] = unit
    found.values.append(Element(key, time_us, NO_END, value, math.nan, int(quality), reasons, line))
    return None


def _place(name: str, places: Mapping[str, Mapping[str, Any]]) -> tuple[str | None, str | None]:
    """Return key and unit of a metric; a key of None has no place."""
    said = places.get(name)
    if said is not None and said.get("property"):
        channel = said.get("channel")
        unit = said.get("unit")
        return (f"{said['property']}:{channel}" if channel else str(said["property"])), (None if unit is None else str(unit))
    key = name.rpartition("/")[2]
    code, _, channel = key.partition(":")
    is_key = bool(PROPERTY_CODE.match(code)) and not key.endswith(":") and (not channel or bool(CHANNEL_CODE.match(channel)))
    return (key if is_key else None), None


def _value(metric: Any) -> float:
    """Return the number; signed integers are written in two's complement."""
    value = getattr(metric, metric.WhichOneof("value"))
    bits = _SIGNED_BITS.get(metric.datatype)
    if bits is not None and not isinstance(value, float | bool):
        value &= (1 << bits) - 1
        value -= (value >> (bits - 1)) << bits
    return float(value)


def rebirth_request(now_ms: int) -> bytes:
    """Return the command that has an edge node publish its birth certificates again."""
    payload = _payload_class()(timestamp=now_ms)
    payload.metrics.add(name="Node Control/Rebirth", timestamp=now_ms, datatype=_BOOLEAN, boolean_value=True)
    return bytes(payload.SerializeToString())

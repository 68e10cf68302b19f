"""Codecs: how the bytes of one kind of radio device become values, declared as YAML.

Three layouts cover the field: `fields` at fixed places; `groups` present where a bit of a flag word is set (Decentlab); and `tagged`
values, each behind its tag (Cayenne LPP and its kin). `object` maps what a network server has decoded already. Shipped codecs are in
`ingest/codecs/`; every key is described in docs/formats.md. This file finishes with `codec_named`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from domain.errors import ConfigurationError, FormatError, InputError
from domain.model import CHANNEL_CODE, PROPERTY_CODE
from domain.units import parse_unit

CODEC_FOLDER = Path(__file__).parent / "codecs"
TIME = "time"
_SIZES = {
    "uint8": 1,
    "int8": 1,
    "uint16": 2,
    "int16": 2,
    "uint24": 3,
    "int24": 3,
    "uint32": 4,
    "int32": 4,
    "float32": 4,
    "float64": 8,
}
_REMEDY = "see docs/formats.md for the keys of a codec"
_KEYS = frozenset(
    {"title", "source", "models", "byte_order", "ports", "check", "parameters", "fields", "flags", "groups", "tagged", "object"}
)
_FIELD_KEYS = frozenset({"at", "type", "property", "channel", "unit", "add", "divide", "times", "span", "mask", "missing"})
Number = float | str


@dataclass(frozen=True, slots=True)
class Field:
    """One value: `((raw & mask) + add) / divide * times`, laid onto `span` (0 = its beginning, 1 = its end).

    Numbers may be names of the codec's parameters, which a device may state. `property` is an observed property, or `time` for the
    device's own clock (seconds since 1970 UTC); None is a value that is passed over.
    """

    property_code: str | None
    type: str = "uint16"
    at: int = 0
    channel: str | None = None
    unit: str | None = None
    add: Number = 0.0
    divide: Number = 1.0
    times: Number = 1.0
    span: tuple[Number, Number] | None = None
    mask: int | None = None
    missing: tuple[float, ...] = ()

    @property
    def size(self) -> int:
        """Bytes that the value takes."""
        return _SIZES[self.type]

    @property
    def key(self) -> str:
        """`property` or `property:channel`."""
        return f"{self.property_code}:{self.channel}" if self.channel else str(self.property_code)


@dataclass(frozen=True, slots=True)
class Value:
    """One decoded value with its unit; NaN is what the device reports as missing."""

    key: str
    value: float
    unit: str | None


@dataclass(frozen=True, slots=True)
class Codec:
    """How one kind of device writes its payload."""

    name: str
    title: str
    source: str
    models: tuple[str, ...] = ()
    byte_order: str = "big"
    ports: tuple[int, ...] = ()
    check: tuple[tuple[Field, float], ...] = ()
    parameters: Mapping[str, float] = field(default_factory=dict)
    fields: tuple[Field, ...] = ()
    flags: Field | None = None
    groups: tuple[tuple[Field, ...], ...] = ()
    tagged: Mapping[bytes, tuple[Field, ...]] = field(default_factory=dict)
    object: Mapping[str, Field] = field(default_factory=dict)

    def decode(self, payload: bytes, parameters: Mapping[str, float], *, where: str) -> list[Value]:
        """Return the values of a payload.

        Raises
        ------
        FormatError
            When the payload is too short, fails the codec's check, or holds a tag that the codec does not know.
        """
        known = {**self.parameters, **parameters}
        for place, wanted in self.check:
            if self._number(payload, place.at, place, where) != wanted:
                raise FormatError(
                    f"the payload is none of codec {self.name}: byte {place.at} is not {wanted:g}.",
                    where=where,
                    remedy="register the device with the codec of its model",
                )
        found = []
        for at, entry in self._places(payload, where):
            raw = self._number(payload, at, entry, where)
            if entry.property_code is not None:
                found.append(
                    Value(entry.key, math.nan if raw in entry.missing else _scaled(raw, entry, known, where), entry.unit)
                )
        return found

    def _places(self, payload: bytes, where: str) -> Iterator[tuple[int, Field]]:
        for entry in self.fields:
            yield entry.at, entry
        if self.flags is not None:
            flags = int(self._number(payload, self.flags.at, self.flags, where))
            at = self.flags.at + self.flags.size
            for bit, group in enumerate(self.groups):
                for entry in group if flags & (1 << bit) else ():
                    yield at, entry
                    at += entry.size
        if self.tagged:
            yield from self._tags(payload, where)

    def _tags(self, payload: bytes, where: str) -> Iterator[tuple[int, Field]]:
        at, length = 0, len(next(iter(self.tagged)))
        while at < len(payload):
            group = self.tagged.get(payload[at : at + length])
            if group is None:
                raise FormatError(
                    f"codec {self.name} knows no tag {payload[at : at + length].hex()} (byte {at}).",
                    where=where,
                    remedy="add it under tagged: of a copy of the codec",
                )
            at += length
            for entry in group:
                yield at, entry
                at += entry.size

    def _number(self, payload: bytes, at: int, entry: Field, where: str) -> float:
        part = payload[at : at + entry.size]
        if len(part) < entry.size:
            raise FormatError(
                f"the payload of {len(payload)} bytes is too short for codec {self.name} (byte {at}).",
                where=where,
                remedy="register the device with the codec of its model",
            )
        big = self.byte_order == "big"
        if entry.type.startswith("float"):
            return float(struct.unpack((">" if big else "<") + ("f" if entry.size == 4 else "d"), part)[0])
        whole = int.from_bytes(part, "big" if big else "little", signed=entry.type.startswith("int"))
        return float(whole if entry.mask is None else whole & entry.mask)

    def decode_object(self, content: Mapping[str, Any], parameters: Mapping[str, float], *, where: str) -> list[Value]:
        """Return the values of what a network server decoded; names that the codec does not map are passed over."""
        known, found = {**self.parameters, **parameters}, []
        for path, entry in self.object.items():
            value: Any = content
            for part in path.split("."):
                value = value.get(part) if isinstance(value, Mapping) else None
            if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
                found.append(Value(entry.key, _scaled(float(value), entry, known, where), entry.unit))
        return found


def _scaled(raw: float, entry: Field, parameters: Mapping[str, float], where: str) -> float:
    def number(stated: Number) -> float:
        return float(parameters[stated] if isinstance(stated, str) else stated)

    try:
        value = (raw + number(entry.add)) / number(entry.divide) * number(entry.times)
        if entry.span is not None:
            lower, upper = map(number, entry.span)
            value = lower + value * (upper - lower)
    except (KeyError, ZeroDivisionError, TypeError, ValueError) as fault:
        raise FormatError(
            f"the codec's parameter for {entry.key} is not stated or zero ({fault}).",
            where=where,
            remedy="state it with the device: parameters: {name: number}",
        ) from fault
    return value


def parse_codec(content: object, name: str) -> Codec:
    """Build a codec from parsed YAML.

    Raises
    ------
    ConfigurationError
        When a key is unknown or a value has the wrong type.
    """
    where = f"codec {name}"
    if (
        not isinstance(content, Mapping)
        or not content.keys() <= _KEYS
        or not (content.keys() & {"fields", "groups", "tagged", "object"})
    ):
        raise ConfigurationError("the codec has an unknown key or declares no values.", where=where, remedy=_REMEDY)
    try:
        flags = content.get("flags")
        codec = Codec(
            name=name,
            title=str(content["title"]),
            source=str(content["source"]),
            models=tuple(map(str, content.get("models", ()))),
            byte_order=str(content.get("byte_order", "big")),
            ports=tuple(map(int, content.get("ports", ()))),
            check=tuple(
                (_field({k: v for k, v in item.items() if k != "equals"}), float(item["equals"]))
                for item in content.get("check", ())
            ),
            parameters={str(key): float(value) for key, value in content.get("parameters", {}).items()},
            fields=_fields(content.get("fields", ())),
            flags=None if flags is None else _field(flags),
            groups=tuple(_fields(group) for group in content.get("groups", ())),
            tagged={bytes.fromhex(str(tag)): _fields(group) for tag, group in content.get("tagged", {}).items()},
            object={str(path): _field({"type": "float64", **item}) for path, item in content.get("object", {}).items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError, InputError) as fault:
        raise ConfigurationError(f"the codec cannot be read: {fault}.", where=where, remedy=_REMEDY) from fault
    if codec.byte_order not in {"big", "little"} or len({len(tag) for tag in codec.tagged}) > 1 or b"" in codec.tagged:
        raise ConfigurationError("byte_order is big or little, tags have one length.", where=where, remedy=_REMEDY)
    return codec


def _fields(items: Sequence[Mapping[str, Any]]) -> tuple[Field, ...]:
    return tuple(_field(item) for item in items)


def _field(item: Mapping[str, Any]) -> Field:
    unknown = item.keys() - _FIELD_KEYS
    kind, code, channel = str(item.get("type", "uint16")), item.get("property"), item.get("channel")
    if unknown or kind not in _SIZES:
        raise ValueError(f"unknown key or type in {dict(item)!r}")
    if code is not None and code != TIME and not PROPERTY_CODE.match(str(code)):
        raise ValueError(f"{code!r} is no property")
    if channel is not None and not CHANNEL_CODE.match(str(channel)):
        raise ValueError(f"{channel!r} is no channel")
    if code is not None and code != TIME and "unit" not in item:
        raise ValueError(f"{code} has no unit")
    if "unit" in item:
        parse_unit(str(item["unit"]))
    span = item.get("span")
    return Field(
        property_code=None if code is None else str(code),
        type=kind,
        at=int(item.get("at", 0)),
        channel=None if channel is None else str(channel),
        unit=None if "unit" not in item else str(item["unit"]),
        add=_stated(item.get("add", 0.0)),
        divide=_stated(item.get("divide", 1.0)),
        times=_stated(item.get("times", 1.0)),
        span=None if span is None else (_stated(span[0]), _stated(span[1])),
        mask=None if "mask" not in item else int(item["mask"]),
        missing=tuple(map(float, item.get("missing", ()))),
    )


def _stated(value: object) -> Number:
    return value if isinstance(value, str) else float(value)  # type: ignore[arg-type]


@lru_cache
def shipped_codecs() -> Mapping[str, Codec]:
    """Return every shipped codec by its name."""
    return {
        path.stem: parse_codec(yaml.safe_load(path.read_text(encoding="utf-8")), path.stem)
        for path in sorted(CODEC_FOLDER.glob("*.yaml"))
    }


def codec_named(name: str, *, where: str) -> Codec:
    """Return the codec of a name or of a device's model.

    Raises
    ------
    FormatError
        When no codec has this name and none states this model.
    """
    codecs = shipped_codecs()
    found = codecs.get(name) or next(
        (codec for codec in codecs.values() if name.casefold() in {m.casefold() for m in codec.models}), None
    )
    if found is None:
        raise FormatError(f"there is no codec {name!r}.", where=where, remedy=f"known: {', '.join(codecs)}")
    return found

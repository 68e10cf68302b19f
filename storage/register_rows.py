"""Register entries between `domain` and rows: one pair of functions a noun. This file finishes with `datastream_values`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from domain.model import (
    Datastream,
    Derivation,
    Disclosure,
    EventEffect,
    EventKind,
    ObservedProperty,
    Sensor,
    Station,
    StationEvent,
    StationKind,
    ValueKind,
)
from storage.json_values import jsonb

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Node:
    """A deployment: its code, city, zone, and whether all of it is simulated."""

    code: str
    name_zh: str
    name_en: str
    region_code: str
    zone: str = "Asia/Shanghai"
    simulated: bool = False
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Datum:
    """A vertical datum and where its definition stands."""

    code: str
    name_zh: str
    name_en: str
    source: str


@dataclass(frozen=True, slots=True)
class DatastreamStatus:
    """Newest observation and count of one datastream."""

    datastream_id: int
    last_time: datetime | None
    last_result: float | None
    last_quality: int | None
    first_time: datetime | None
    observations: int
    last_received_at: datetime | None


def values_of(entry: Any) -> dict[str, Any]:
    """Return the fields of a dataclass as statement parameters; mappings become jsonb, tuples arrays."""
    return {name: _parameter(getattr(entry, name)) for name in entry.__dataclass_fields__}


def _parameter(value: Any) -> Any:
    if isinstance(value, Mapping):
        return jsonb(value)
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, StationKind | Disclosure | ValueKind | EventEffect | EventKind) else value


def to_property(row: Row) -> ObservedProperty:
    """Read an observed property."""
    return ObservedProperty(**{**row, "value_kind": ValueKind(row["value_kind"])})


def to_station(row: Row) -> Station:
    """Read a station; a kind that another node knows and this one does not is `other`."""
    kind = StationKind(row["kind"]) if row["kind"] in set(StationKind) else StationKind.OTHER
    return Station(**{**row, "kind": kind, "disclosure": Disclosure(row["disclosure"]), "tags": tuple(row["tags"])})


def to_sensor(row: Row) -> Sensor:
    """Read a sensor."""
    return Sensor(**row)


def to_event(row: Row) -> StationEvent:
    """Read an event of a station's log."""
    kind = EventKind(row["kind"]) if row["kind"] in set(EventKind) else EventKind.OTHER
    return StationEvent(**{**row, "kind": kind, "effect": EventEffect(row["effect"])})


_DERIVATION = ("derived", "method", "method_version", "method_parameters", "input_digest", "source_datastream_id")


def to_datastream(row: Row) -> Datastream:
    """Read a datastream, with its derivation where it is derived."""
    plain = {name: value for name, value in row.items() if name not in _DERIVATION}
    plain["disclosure"] = Disclosure(row["disclosure"]) if row["disclosure"] else None
    if not row["derived"]:
        return Datastream(**plain)
    derivation = Derivation(
        method=row["method"],
        version=row["method_version"],
        parameters=row["method_parameters"],
        input_digest=row["input_digest"],
        source_datastream_id=row["source_datastream_id"],
    )
    return Datastream(**plain, derivation=derivation)


def datastream_values(datastream: Datastream) -> dict[str, Any]:
    """Return a datastream as statement parameters."""
    derivation = datastream.derivation
    values = values_of(datastream)
    del values["derivation"]
    return values | {
        "code": datastream.code,
        "derived": derivation is not None,
        "method": derivation.method if derivation else None,
        "method_version": derivation.version if derivation else None,
        "method_parameters": jsonb(derivation.parameters) if derivation else None,
        "input_digest": derivation.input_digest if derivation else None,
        "source_datastream_id": derivation.source_datastream_id if derivation else None,
    }

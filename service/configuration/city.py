"""What a configuration folder says, as typed values: the whole of one city.

This file finishes with `City`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from domain.alerting import Receiver, Rule
from domain.datum import DatumOffset
from domain.licence import Licence, Limit, Region
from domain.model import Datastream, ObservedProperty, Sensor, Station, StationEvent

COUNTED = (
    *("regions", "datums", "offsets", "aquifers", "properties", "stations", "sensors", "datastreams", "events"),
    *("limits", "licences", "rules", "receivers", "partners"),
)


@dataclass(frozen=True, slots=True)
class Node:
    """What this deployment is: its code, names, region, zone, and what it says of itself in messages and on the map."""

    code: str
    name_zh: str
    name_en: str
    region_code: str
    zone: str
    simulated: bool
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NamedDatum:
    """A vertical datum by its code; the source says who defines it."""

    code: str
    name_zh: str
    name_en: str
    source: str


@dataclass(frozen=True, slots=True)
class Aquifer:
    """An aquifer as this city numbers it, and what its neighbours across the border call it."""

    code: str
    name_zh: str
    name_en: str
    confined: bool
    depth_top_m: float | None
    depth_bottom_m: float | None
    neighbours: Mapping[str, Any]
    source: str


@dataclass(frozen=True, slots=True)
class Partner:
    """A partner of the joint control with what its agreement lets it see."""

    code: str
    name_zh: str
    name_en: str
    agreement: Mapping[str, Any]
    source: str
    enabled: bool


@dataclass(frozen=True, slots=True)
class City:
    """Everything that a folder holds, checked, with the digest of what it says (not of how it is laid out)."""

    name: str
    node: Node
    regions: tuple[Region, ...] = ()
    datums: tuple[NamedDatum, ...] = ()
    offsets: tuple[DatumOffset, ...] = ()
    aquifers: tuple[Aquifer, ...] = ()
    properties: tuple[ObservedProperty, ...] = ()
    stations: tuple[Station, ...] = ()
    sensors: tuple[Sensor, ...] = ()
    datastreams: tuple[Datastream, ...] = ()
    events: tuple[StationEvent, ...] = ()
    limits: tuple[Limit, ...] = ()
    licences: tuple[Licence, ...] = ()
    rules: tuple[Rule, ...] = ()
    receivers: tuple[Receiver, ...] = ()
    partners: tuple[Partner, ...] = ()
    digest: str = ""
    content: Mapping[str, Any] = field(default_factory=dict)

    def counts(self) -> dict[str, int]:
        """Return how many entries of each kind the folder holds."""
        return {name: len(getattr(self, name)) for name in COUNTED}

"""From codes in a URL to what the caller may see: what is not theirs does not exist for them (404, never a hint).

This file finishes with `readable_datastream`.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Any

from fastapi import Request

from domain.errors import ConfigurationError, NotFoundError, PermissionDeniedError
from domain.model import Datastream, ObservedProperty, Station
from service.api.callers import Caller
from service.sharing.disclosure import HeightView, coarse, disclosure_of, height_view


def container_of(request: Request) -> Any:
    """Return the container that the application was made with."""
    return request.app.state.container


def node_code(container: Any) -> str:
    """Return the code of this node, or `node` before any configuration was applied."""
    node = container.registers.node()
    return "node" if node is None else str(node.code)


def visible_station(container: Any, caller: Caller, code: str) -> Station:
    """Return the station, or `NotFoundError` when it does not exist for this caller."""
    station: Station | None = container.registers.station(unicodedata.normalize("NFC", code))
    if station is None or not caller.audience.sees(station):
        raise NotFoundError(f"there is no station {code!r}.", where="station", remedy="the codes are listed at /api/v1/stations")
    return station


def as_seen(caller: Caller, station: Station) -> Station:
    """Return the station with position and height as this caller may see them."""
    return station if caller.sees_precisely(station) else coarse(station)


@dataclass(frozen=True, slots=True)
class Readable:
    """A datastream that the caller may see, with its station, its property and how its heights may be given."""

    datastream: Datastream
    station: Station
    observed: ObservedProperty
    heights: HeightView

    @property
    def key(self) -> int:
        """Return the database's id."""
        assert self.datastream.datastream_id is not None
        return self.datastream.datastream_id


def visible_datastream(container: Any, caller: Caller, code: str) -> Readable:
    """Return the datastream with what belongs to it, or `NotFoundError` when it does not exist for this caller."""
    datastream: Datastream | None = container.registers.datastream(unicodedata.normalize("NFC", code))
    station = container.registers.station(datastream.station) if datastream is not None else None
    if datastream is None or station is None or not may_see(caller, station, datastream):
        raise NotFoundError(
            f"there is no datastream {code!r}.", where="datastream", remedy="the codes are listed at /api/v1/datastreams"
        )
    observed = container.registers.observed_property(datastream.property_code)
    if observed is None:
        raise ConfigurationError(f"the property {datastream.property_code} is not configured.", where=datastream.code)
    precise = caller.sees_precisely(station)
    return Readable(
        datastream, station, observed, HeightView.AS_STORED if precise else height_view(station, datastream, observed)
    )


def may_see(caller: Caller, station: Station, datastream: Datastream) -> bool:
    """May this caller know of the datastream?"""
    if not caller.audience.sees(station):
        return False
    restricted = disclosure_of(station, datastream).value == "restricted"
    return caller.sees_precisely(station) or not restricted


def readable_datastream(container: Any, caller: Caller, code: str) -> Readable:
    """Return a datastream whose values the caller may read; `PermissionDeniedError` for absolute heights that are hidden."""
    found = visible_datastream(container, caller, code)
    if found.heights is HeightView.HIDDEN:
        raise PermissionDeniedError(
            "absolute heights of this station are not disclosed.",
            where="datastream",
            remedy="read its displacement, or ask for a role with precise rights",
        )
    return found

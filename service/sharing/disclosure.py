"""Disclosure: what of a station may be seen by somebody without precise rights.

Precise coordinates and heights of control points are controlled (自然资发〔2020〕95号), so changes are shared and absolute heights are
not, by default. `open` shows all; `relative` rounds the position to 0.01 degree and gives height datastreams as differences from their
first observation; `rounded` rounds the position and hides absolute heights; `restricted` is not shown at all.
This file finishes with `HeightView`.
"""

from __future__ import annotations

import dataclasses
from enum import StrEnum

from domain.model import Datastream, Disclosure, ObservedProperty, Station

POSITION_STEP_DEG = 0.01
_STRICTNESS = {Disclosure.OPEN: 0, Disclosure.RELATIVE: 1, Disclosure.ROUNDED: 2, Disclosure.RESTRICTED: 3}


class HeightView(StrEnum):
    """How the values of a datastream may be given."""

    AS_STORED = "as_stored"
    RELATIVE = "relative"
    HIDDEN = "hidden"


def is_restricted(station: Station, datastream: Datastream | None = None) -> bool:
    """Is the station, or the datastream by its own class, not to be shown at all?"""
    return disclosure_of(station, datastream) is Disclosure.RESTRICTED


def disclosure_of(station: Station, datastream: Datastream | None = None, floor: Disclosure = Disclosure.OPEN) -> Disclosure:
    """Return the strictest class of station, datastream and `floor` (e.g. that of a partner's agreement)."""
    own = datastream.disclosure if datastream is not None else None
    return max((station.disclosure, own or station.disclosure, floor), key=_STRICTNESS.__getitem__)


def coarse(station: Station, floor: Disclosure = Disclosure.OPEN) -> Station:
    """Return the station as the unprivileged may see it: position to 0.01 degree and no height, unless it is open."""
    if disclosure_of(station, None, floor) is Disclosure.OPEN:
        return station
    return dataclasses.replace(
        station,
        longitude_deg=_rounded(station.longitude_deg),
        latitude_deg=_rounded(station.latitude_deg),
        height_m=None,
        attributes={},
    )


def _rounded(angle_deg: float | None) -> float | None:
    return None if angle_deg is None else round(angle_deg / POSITION_STEP_DEG) / round(1 / POSITION_STEP_DEG)


def height_view(
    station: Station, datastream: Datastream, observed_property: ObservedProperty, floor: Disclosure = Disclosure.OPEN
) -> HeightView:
    """Say how values may be given to the unprivileged: only absolute heights (properties that need a datum) are touched."""
    disclosure = disclosure_of(station, datastream, floor)
    if disclosure is Disclosure.RESTRICTED:
        return HeightView.HIDDEN
    if not observed_property.needs_datum or disclosure is Disclosure.OPEN:
        return HeightView.AS_STORED
    return HeightView.RELATIVE if disclosure is Disclosure.RELATIVE else HeightView.HIDDEN

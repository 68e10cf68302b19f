"""Element tables: which code of a protocol is which observed property, in which unit. Data with their source, read once.

A device's attributes change them for that device alone: `elements` (codes and what to change), `ignored` (codes that nobody wants) and
`zone`. This file finishes with `TableReader`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from domain.errors import ConfigurationError, InputError, UnitError
from domain.model import CHANNEL_CODE, PROPERTY_CODE
from domain.units import parse_unit
from ingest.formats.timestamps import parse_zone

FOLDER = Path(__file__).parent / "elements"
_KEYS = frozenset({"property", "unit", "channel", "extent_s", "name", "keep_raw", "fields", "classes"})
"""What a device may say differently of an element."""
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


@dataclass(frozen=True, slots=True)
class Place:
    """Where the values of one element go, and in which unit they are written."""

    key: str
    unit: str | None
    extent_us: int = 0


@dataclass(frozen=True, slots=True)
class Unplaced:
    """An element whose values go nowhere: known by name only, unknown, or no observation by nature (`is_wanted` False)."""

    name: str | None
    is_wanted: bool


@cache
def load_table(protocol: str) -> Mapping[str, Any]:
    """Return the table of a protocol.

    Raises
    ------
    ConfigurationError
        The file is no table.
    """
    path = FOLDER / f"{protocol}.yaml"
    try:
        table = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as fault:
        raise ConfigurationError(f"the element table cannot be read: {fault}.", where=str(path)) from fault
    if not isinstance(table, dict) or not isinstance(table.get("elements"), dict):
        raise ConfigurationError("the element table has no elements.", where=str(path), remedy="restore the shipped file")
    return table


def microseconds(moment: datetime) -> int:
    """Return an aware time as microseconds since 1970 UTC."""
    gap = moment - _EPOCH
    return (gap.days * 86400 + gap.seconds) * 1_000_000 + gap.microseconds


class TableReader:
    """A protocol's table as one device uses it.

    Parameters
    ----------
    protocol
        Name of the table.
    attributes
        Of the device; `elements` maps codes to what to change, `ignored` lists codes, `zone` replaces the table's.
    where
        For messages.
    """

    def __init__(self, protocol: str, attributes: Mapping[str, Any], where: str) -> None:
        self.table = load_table(protocol)
        self._own = {code.upper(): entry for code, entry in own_elements(attributes, where).items()}
        self._ignored = frozenset(code.upper() for code in ignored_codes(attributes, where))
        self._known = {code.upper(): entry for code, entry in {**self.table["elements"], **self.table.get("series", {})}.items()}
        self.zone = parse_zone(str(attributes.get("zone") or self.table["zone"]), where=where)

    def entry(self, code: str) -> Mapping[str, Any] | None:
        """Return what table and device say about a code, or None."""
        key = code.upper()
        known, own = self._known.get(key), self._own.get(key)
        return known if own is None else {**(known or {}), "keep_raw": False, **own}

    def place(self, code: str, *, station_class: str | None = None, field: str | None = None) -> Place | Unplaced:
        """Return where the values of a code go.

        Parameters
        ----------
        code
            Of the element or factor, in any case.
        station_class
            Letter of the station's class, where the frame states one.
        field
            Suffix of the field, where values of one code come in several.
        """
        if code.upper() in self._ignored:
            return Unplaced(None, is_wanted=False)
        entry = self.entry(code)
        if entry is None:
            return Unplaced(None, is_wanted=True)
        entry = {**entry, **entry.get("classes", {}).get(station_class, {})} if station_class else entry
        fields = entry.get("fields", {})
        if field in fields:
            entry = {key: value for key, value in fields[field].items() if key != "fields"}
        if entry.get("keep_raw"):
            return Unplaced(entry.get("name"), is_wanted=False)
        if not entry.get("property"):
            return Unplaced(entry.get("name"), is_wanted=True)
        channel = entry.get("channel")
        key = f"{entry['property']}:{channel}" if channel else str(entry["property"])
        unit = entry.get("unit")
        return Place(key, None if unit is None else str(unit), round(float(entry.get("extent_s") or 0) * 1_000_000))


def own_elements(attributes: Mapping[str, Any], where: str) -> dict[str, Mapping[str, Any]]:
    """Return the `elements` of a device's attributes by code.

    Raises
    ------
    InputError
        They are no mapping, or one of them says what cannot be.
    """
    content = attributes.get("elements")
    if content is None:
        return {}
    if not isinstance(content, Mapping) or not all(isinstance(entry, Mapping) for entry in content.values()):
        raise InputError(
            "the device's elements are no mapping of codes.",
            where=where,
            remedy='e.g. elements={"27": {"property": "injection_rate"}}',
        )
    for code, entry in content.items():
        _check_entry(str(code), entry, where)
    return {str(code): entry for code, entry in content.items()}


def _check_entry(code: str, entry: Mapping[str, Any], where: str) -> None:
    def refuse(what: str, remedy: str) -> InputError:
        return InputError(f"element {code} of the device: {what}.", where=where, remedy=remedy)

    unknown = sorted(str(key) for key in entry if key not in _KEYS)
    if unknown:
        raise refuse(f"{', '.join(unknown)} is unknown", f"keys are {', '.join(sorted(_KEYS))}")
    name, channel, unit = entry.get("property"), entry.get("channel"), entry.get("unit")
    if name is not None and not (isinstance(name, str) and PROPERTY_CODE.match(name)):
        raise refuse(f"{name!r} is no property", 'e.g. "property": "depth_to_water"')
    if channel is not None and not (isinstance(channel, str) and CHANNEL_CODE.match(channel)):
        raise refuse(f"{channel!r} is no channel", "write letters and digits")
    if unit is not None and not _is_unit(unit):
        raise refuse(f"{unit!r} is no unit", "write it as UCUM does, e.g. m3/h")
    extent_s = entry.get("extent_s")
    if extent_s is not None and not is_duration(extent_s):
        raise refuse(f"extent_s {extent_s!r} is no number of seconds", 'e.g. "extent_s": 3600')
    for key in ("fields", "classes"):
        if not isinstance(entry.get(key, {}), Mapping):
            raise refuse(f"{key} is no mapping", "leave it out")


def _is_unit(value: object) -> bool:
    try:
        return isinstance(value, str) and parse_unit(value) is not None
    except UnitError:
        return False


def is_duration(value: object) -> bool:
    """Is this a number of seconds?"""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


def ignored_codes(attributes: Mapping[str, Any], where: str) -> frozenset[str]:
    """Return the codes that nobody wants of a device.

    Raises
    ------
    InputError
        They are no list.
    """
    content = attributes.get("ignored") or ()
    if not isinstance(content, list | tuple):
        raise InputError("the device's ignored are no list of codes.", where=where, remedy='e.g. ignored=["26", "FF38"]')
    return frozenset(str(code) for code in content)


def unplaced_reason(code: str, unplaced: Unplaced, protocol: str) -> str:
    """Return why the values of a code wait in quarantine, with the remedy."""
    known = f"element {code} ({unplaced.name}) has no observed property" if unplaced.name else f"element {code} is in no table"
    return (
        f"{known}. Remedy: name its property and unit in the device's attributes (elements), or list it in ignored; then replay"
    )

"""Element tables: which code of a protocol is which observed property, in which unit. Data with their source, read once.

A device's attributes change them for that device alone: `elements` (codes and what to change), `ignored` (codes that nobody wants) and
`zone`. This file finishes with `TableReader`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from domain.errors import ConfigurationError, InputError
from ingest.formats.timestamps import parse_zone

FOLDER = Path(__file__).parent / "elements"
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
        self._own = _codes(attributes.get("elements"), "elements", where)
        self._ignored = frozenset(str(code).upper() for code in attributes.get("ignored") or ())
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


def _codes(content: Any, name: str, where: str) -> dict[str, Mapping[str, Any]]:
    if content is None:
        return {}
    if not isinstance(content, Mapping) or not all(isinstance(entry, Mapping) for entry in content.values()):
        raise InputError(
            f"the device's {name} are no mapping of codes.",
            where=where,
            remedy='e.g. elements={"27": {"property": "injection_rate"}}',
        )
    return {str(code).upper(): entry for code, entry in content.items()}


def unplaced_reason(code: str, unplaced: Unplaced, protocol: str) -> str:
    """Return why the values of a code wait in quarantine, with the remedy."""
    known = f"element {code} ({unplaced.name}) has no observed property" if unplaced.name else f"element {code} is in no table"
    return (
        f"{known}. Remedy: name its property and unit in the device's attributes (elements), or list it in ignored; then replay"
    )

"""The vocabulary that GroundWatch ships: observed properties with unit and sign, and the names of vertical datums.

A city's folder may add to it or redefine an entry. This file finishes with `apply_vocabulary`.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Protocol

from domain.model import ObservedProperty
from service.configuration.city import NamedDatum
from service.configuration.reading import FolderError, Problems, read_yaml
from service.configuration.sections import parse_datums, parse_properties
from storage.register_rows import Datum

SHIPPED = Path(__file__).resolve().parent.parent / "config"


class VocabularyRegisters(Protocol):
    """Where the vocabulary is written."""

    def upsert_property(self, observed: ObservedProperty) -> object:
        """Create or update an observed property."""

    def upsert_datum(self, datum: Datum) -> object:
        """Create or update a vertical datum."""


@lru_cache(maxsize=1)
def shipped_properties() -> tuple[ObservedProperty, ...]:
    """Return the observed properties that GroundWatch ships."""
    problems = Problems()
    found = parse_properties("observed_properties.yaml", read_yaml(SHIPPED / "observed_properties.yaml", problems), problems)
    _refuse(problems)
    return tuple(found)


@lru_cache(maxsize=1)
def shipped_datums() -> tuple[NamedDatum, ...]:
    """Return the vertical datums that GroundWatch knows by name."""
    problems = Problems()
    found, _ = parse_datums("datums.yaml", read_yaml(SHIPPED / "datums.yaml", problems), problems)
    _refuse(problems)
    return tuple(found)


def _refuse(problems: Problems) -> None:
    if problems.found:
        raise FolderError(SHIPPED, problems.found)


def apply_vocabulary(registers: VocabularyRegisters) -> int:
    """Write the shipped vocabulary into the registers, so that files can be imported before any city is configured.

    Returns
    -------
    int
        Number of properties and datums written.
    """
    for observed in shipped_properties():
        registers.upsert_property(observed)
    for datum in shipped_datums():
        registers.upsert_datum(Datum(datum.code, datum.name_zh, datum.name_en, datum.source))
    return len(shipped_properties()) + len(shipped_datums())

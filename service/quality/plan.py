"""Which tests suit a datastream: shipped figures by property, replaced key by key by what the datastream says of itself.

This file finishes with `plan_for`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from analytics.barometry import AIR_IN_VALUE, STANDARD_HPA
from analytics.quality_control import Checks, Pair
from analytics.totaliser import TotaliserSettings
from domain.errors import ConfigurationError
from domain.model import Datastream, ObservedProperty, Sensor
from domain.units import compatible, convert

SHIPPED = Path(__file__).resolve().parent.parent / "config" / "quality.yaml"
_PAIRS = ("spike", "rate_per_h", "flat_h", "attenuated", "suspect_span")
_KEYS = {*_PAIRS, "months", "flat_tolerance", "attenuated_h", "gap_h", "totaliser", "companions", "flow", "volume"}
_KEYS |= {"drift", "pumping", "follows"}
_DIFFERENCES = {"spike", "rate_per_h", "attenuated"}
"""Figures in the datastream's unit that are differences: they scale, and no zero is shifted."""


@dataclass(frozen=True)
class Companion:
    """Another datastream of the station that tells whether water runs: above a figure, or moving by one within some hours."""

    property_code: str
    above: float | None
    moves: float | None
    within_s: float


@dataclass(frozen=True)
class Flow:
    """The flow that a counter is held against: relative tolerance and least difference in m3 a day."""

    property_code: str
    tolerance: float
    least: float


@dataclass(frozen=True)
class Air:
    """How the air is taken off an unvented sensor; no barometer = it cannot be."""

    barometer: str | None
    reference_hpa: float
    per_hpa: float


@dataclass(frozen=True)
class Plan:
    """All that quality control does with one datastream."""

    checks: Checks
    companions: tuple[Companion, ...] = ()
    flow: Flow | None = None
    volume: str | None = None
    air: Air | None = None
    source: str = ""


@lru_cache(maxsize=1)
def shipped() -> Mapping[str, Any]:
    """Return the shipped figures."""
    figures: Mapping[str, Any] = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))
    return figures


def plan_for(datastream: Datastream, observed: ObservedProperty, sensor: Sensor | None = None) -> Plan:
    """Return what is tested in a datastream.

    Raises
    ------
    ConfigurationError
        The datastream's own figures are malformed; names the datastream and the key.
    """
    if datastream.derivation is not None:
        return Plan(Checks(zone_offset_h=None))  # made by us: judged by what made it, and by persons
    figures = shipped()
    own = _own(datastream)
    said = {**figures["properties"].get(datastream.property_code, {}), **own}
    reader = _Reader(said, set(own), datastream, observed)
    air = _air(datastream, sensor)
    counter = said.get("totaliser")
    checks = Checks(
        fail_span=reader.span(observed.lowest, observed.highest, observed.unit),
        suspect_span=_narrower((datastream.lowest, datastream.highest), reader.pair("suspect_span")),
        months=reader.months(),
        spike=reader.pair("spike"),
        rate_per_h=reader.pair("rate_per_h"),
        flat_h=reader.pair("flat_h"),
        flat_tolerance=reader.number("flat_tolerance", 0.0),
        attenuated=reader.pair("attenuated"),
        attenuated_h=reader.number("attenuated_h", 24.0),
        gap_h=reader.optional("gap_h"),
        zone_offset_h=figures["zone_offset_h"],
        uncompensated=air is not None,
        totaliser=None if counter is None else reader.totaliser(counter),
    )
    return Plan(checks, reader.companions(), reader.flow(), said.get("volume"), air, str(figures["source"]))


def _own(datastream: Datastream) -> Mapping[str, Any]:
    own = datastream.attributes.get("quality") or {}
    if not isinstance(own, Mapping) or (unknown := sorted(set(own) - _KEYS)):
        what = f"unknown key {', '.join(unknown)}" if isinstance(own, Mapping) else "no mapping"
        raise ConfigurationError(
            f"the quality figures hold {what}.",
            where=f"{datastream.code}, attributes: quality",
            remedy=f"use {', '.join(sorted(_KEYS))}",
        )
    return own


def _narrower(stored: Pair, said: Pair) -> Pair:
    return (said[0] if said[0] is not None else stored[0], said[1] if said[1] is not None else stored[1])


class _Reader:
    """Reads figures, shipped ones in the property's unit, own ones in the datastream's."""

    def __init__(self, said: Mapping[str, Any], own: set[str], datastream: Datastream, observed: ObservedProperty) -> None:
        self._said, self._own, self._datastream, self._observed = said, own, datastream, observed

    def _wrong(self, key: str) -> ConfigurationError:
        return ConfigurationError(
            f"{self._said.get(key)!r} is not what {key} holds.",
            where=f"{self._datastream.code}, attributes: quality: {key}",
            remedy="see service/config/quality.yaml: pairs are [suspect, fail], numbers or null",
        )

    def _in_unit(self, value: float, key: str) -> float:
        """Shipped figures are in the property's unit; the datastream may be stored in another."""
        unit, canonical = self._datastream.unit, self._observed.unit
        if key in self._own or unit == canonical or not compatible(unit, canonical):
            return value
        zero = float(convert(0.0, canonical, unit)) if key in _DIFFERENCES else 0.0
        return float(convert(value, canonical, unit)) - zero

    def span(self, low: float | None, high: float | None, unit: str) -> Pair:
        mine = self._datastream.unit
        if not compatible(unit, mine):
            return (None, None)
        return (
            None if low is None else float(convert(low, unit, mine)),
            None if high is None else float(convert(high, unit, mine)),
        )

    def _two(self, value: Any, key: str) -> Pair:
        numbers = isinstance(value, list) and len(value) == 2 and all(v is None or _is_number(v) for v in value)
        if not numbers:
            raise self._wrong(key)
        scaled = key in _DIFFERENCES or key in {"suspect_span", "months"}
        first, second = (None if v is None else self._in_unit(float(v), key) if scaled else float(v) for v in value)
        return (first, second)

    def pair(self, key: str) -> Pair:
        value = self._said.get(key)
        return (None, None) if value is None else self._two(value, key)

    def number(self, key: str, default: float) -> float:
        value = self._said.get(key)
        if value is None:
            return default
        if not _is_number(value):
            raise self._wrong(key)
        return float(value)

    def optional(self, key: str) -> float | None:
        return None if self._said.get(key) is None else self.number(key, 0.0)

    def months(self) -> dict[int, Pair]:
        said = self._said.get("months") or {}
        if not isinstance(said, Mapping) or any(str(month) not in map(str, range(1, 13)) for month in said):
            raise self._wrong("months")
        return {int(month): self._two(span, "months") for month, span in said.items()}

    def totaliser(self, said: Any) -> TotaliserSettings:
        if not isinstance(said, Mapping) or set(said) - {"capacity", "frozen_h", "rollover_share"}:
            raise self._wrong("totaliser")
        usual = TotaliserSettings()
        return TotaliserSettings(
            capacity=said.get("capacity"),
            rollover_share=float(said.get("rollover_share", usual.rollover_share)),
            frozen_s=3600.0 * float(said.get("frozen_h", usual.frozen_s / 3600.0)),
        )

    def companions(self) -> tuple[Companion, ...]:
        try:
            return tuple(
                Companion(item["property"], item.get("above"), item.get("moves"), 3600.0 * float(item["within_h"]))
                for item in self._said.get("companions") or ()
            )
        except (KeyError, TypeError, ValueError) as error:
            raise self._wrong("companions") from error

    def flow(self) -> Flow | None:
        said = self._said.get("flow")
        if said is None:
            return None
        try:
            return Flow(said["property"], float(said["tolerance"]), float(said["least"]))
        except (KeyError, TypeError, ValueError) as error:
            raise self._wrong("flow") from error


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _air(datastream: Datastream, sensor: Sensor | None) -> Air | None:
    """What is known of the air in a datastream; None = its sensor is vented, or its property feels no air."""
    known = AIR_IN_VALUE.get(datastream.property_code)
    vented = datastream.attributes.get("vented", None if sensor is None else sensor.calibration.get("vented"))
    if known is None or vented is not False:
        return None
    unit, per_hpa = known
    barometer = datastream.attributes.get("barometer")
    return Air(
        None if barometer is None else str(barometer),
        float(datastream.attributes.get("reference_hpa", STANDARD_HPA)),
        float(convert(per_hpa, unit, datastream.unit)),
    )

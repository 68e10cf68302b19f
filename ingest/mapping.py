"""Mapping: ties what a payload says about its streams to the registers, and converts units, datums and references.

A stream that cannot be stored is a `Refusal` with its remedy, never a guess. This file finishes with `StreamResolver`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, tzinfo
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

import numpy as np

from domain.datum import offset_m
from domain.errors import ConflictError, DatumError, InputError, UnitError
from domain.model import Datastream, Disclosure, ObservedProperty, Sensor, Station, StationKind, datastream_code, station_code
from domain.observation import Columns, FloatArray, SourceStream
from domain.ports import Registry
from domain.units import canonical, compatible, convert, convert_spread, parse_unit
from ingest.datum_shift import DatumShift
from ingest.formats.delimited import DATASTREAM_NAMES
from ingest.formats.format import ImportContext
from ingest.quality import Bounds

UNSTATED = "unstated"
T = TypeVar("T", float, FloatArray)
_REFERENCE = "reference_m"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a stream cannot be stored: a stable code and a sentence that ends with the remedy."""

    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Target:
    """Where a stream goes and what is done to its values.

    `shift` is added after the conversion of units, in the datastream's unit; `datum` then converts heights of another datum.
    """

    datastream: Datastream
    datastream_id: int
    source_unit: str
    shift: float
    bounds: Bounds
    datum: DatumShift | None = None

    def convert(self, rows: Columns) -> Columns:
        """Return the rows of one stream under the datastream's id and in its unit."""
        result = convert(rows.result, self.source_unit, self.datastream.unit)
        sigma = convert_spread(rows.sigma, self.source_unit, self.datastream.unit)
        if self.shift:
            result = result + self.shift
        if self.datum is not None:
            result = self.datum.apply(rows.time, result)
        return replace(rows, stream=np.full(len(rows), self.datastream_id, dtype=np.int32), result=result, sigma=sigma)

    def convert_one(self, result: T) -> T:
        """Return one value of a device (or an array of them), which reports in its datastream's datum, in the datastream's unit."""
        assert self.datum is None
        if self.source_unit != self.datastream.unit:
            result = convert(result, self.source_unit, self.datastream.unit)
        return result + self.shift if self.shift else result

    def convert_sigma(self, sigma: float) -> float:
        """Return one sigma in the datastream's unit."""
        return (
            sigma if self.source_unit == self.datastream.unit else convert_spread(sigma, self.source_unit, self.datastream.unit)
        )


@dataclass(slots=True)
class Created:
    """What an import made, and what it used that nobody has confirmed yet."""

    stations: list[str] = field(default_factory=list)
    sensors: list[str] = field(default_factory=list)
    datastreams: list[str] = field(default_factory=list)
    unconfirmed: list[str] = field(default_factory=list)

    def note_unconfirmed(self, code: str) -> None:
        """List a code once."""
        if code not in self.unconfirmed:
            self.unconfirmed.append(code)


def bounds_of(datastream: Datastream, observed: ObservedProperty) -> Bounds:
    """Return the plausible ranges in the datastream's unit."""

    def own(value: float | None) -> float | None:
        return None if value is None else convert(value, observed.unit, datastream.unit)

    return Bounds(fail=(own(observed.lowest), own(observed.highest)), suspect=(datastream.lowest, datastream.highest))


class StreamResolver:
    """Resolves the streams of one import.

    Parameters
    ----------
    registry
        The registers.
    context
        The flags of the import.
    create
        Make what is missing (a person's import); otherwise the stream is refused.
    convert_datum
        Convert heights of another datum with the offset configured for the region; otherwise they are refused.
    unit_is_the_datastreams
        Values without unit are in the datastream's own.
    rehearse
        Make nothing: what would be made gets a negative id (dry run).
    zone
        Zone in which the date of an observation is taken, where an offset between datums has a validity.
    """

    def __init__(
        self,
        registry: Registry,
        context: ImportContext,
        *,
        create: bool,
        convert_datum: bool,
        actor: str,
        unit_is_the_datastreams: bool = False,
        rehearse: bool = False,
        zone: tzinfo = UTC,
    ) -> None:
        self.registry, self.context, self.actor = registry, context, actor
        self.create, self.convert_datum, self.rehearse = create, convert_datum, rehearse
        self.unit_is_the_datastreams, self.zone = unit_is_the_datastreams, zone
        self.created = Created()
        self.notes: list[str] = []
        self.conversions: list[dict[str, Any]] = []
        self._known: dict[tuple[str | None, ...], Target | Refusal] = {}
        self._rehearsed: dict[str, Station] = {}
        self._datums: tuple[str, ...] = ()

    @property
    def has_news(self) -> bool:
        """Is there more to tell of this import than its counts: what was made, is unconfirmed, or was converted?"""
        return self.created != Created() or bool(self.notes or self.conversions)

    def resolve(self, stream: SourceStream) -> Target | Refusal:
        """Return where a stream goes, or why it cannot go anywhere."""
        reference = stream.attributes.get(_REFERENCE)
        key = (stream.station, stream.property_code, stream.channel, stream.unit, stream.datum, stream.frame, reference)
        if key not in self._known:
            try:
                self._known[key] = self._resolve(stream)
            except DatumError as fault:
                self._known[key] = Refusal("datum", str(fault))
            except UnitError as fault:
                self._known[key] = Refusal("unit", str(fault))
            except (InputError, ConflictError) as fault:
                self._known[key] = Refusal("station", str(fault))
        return self._known[key]

    def _resolve(self, stream: SourceStream) -> Target | Refusal:
        observed = self.registry.observed_property(stream.property_code)
        if observed is None:
            return Refusal(
                "property",
                f"there is no observed property {stream.property_code!r}. Remedy: correct the profile, or configure the property",
            )
        code = datastream_code(station_code(stream.station), stream.property_code, stream.channel)
        datum = self._agreed("datum", stream.datum, self.context.datum, DatumError)
        self._check_datum(datum)
        unit = self._agreed_unit(stream)
        existing = self.registry.datastream(code)
        if existing is None:
            ready = self._check_new(stream, observed, code, unit, datum)
            if isinstance(ready, Refusal):
                return ready
            existing = self._make(stream, observed, unit=observed.unit, datum=datum)
        elif existing.derivation is not None:
            return Refusal(
                "datastream",
                f"{existing.code} is derived by {existing.derivation.method}. Remedy: import into a datastream of its own",
            )
        source_unit = unit or (existing.unit if self.unit_is_the_datastreams else None)
        if source_unit is None:
            return Refusal("unit", _no_unit(code))
        if not compatible(source_unit, existing.unit):
            raise UnitError(
                f"{source_unit!r} cannot be converted to {existing.unit!r}: they measure different things.",
                remedy=f"state the unit of the values; {existing.code} is kept in {existing.unit!r}",
            )
        frame = self._frame_fault(stream, existing)
        if frame is not None:
            return frame
        shift, datum_shift = self._reference_shift(stream, existing), self._datum_shift(existing, observed, datum)
        if not existing.confirmed:
            self.created.note_unconfirmed(existing.code)
        return Target(existing, existing.datastream_id or 0, source_unit, shift, bounds_of(existing, observed), datum_shift)

    def _agreed(self, word: str, stated: str | None, flag: str | None, error: type[InputError]) -> str | None:
        if stated and flag and stated != flag:
            raise error(
                f"the file or its profile states the {word} {stated}, the import {flag}.",
                where=self.context.filename,
                remedy=f"leave out --{word}, or correct the file",
            )
        return stated or flag

    def _check_datum(self, datum: str | None) -> None:
        """Refuse a datum that nobody configured before anything offers to convert it."""
        if datum is None:
            return
        self._datums = self._datums or tuple(self.registry.datum_codes())
        if datum not in self._datums:
            raise DatumError(
                f"there is no vertical datum {datum!r}.",
                where=self.context.filename,
                remedy=f"state one of {', '.join(self._datums)}, or add it to datums.yaml of the node",
            )

    def _agreed_unit(self, stream: SourceStream) -> str | None:
        stated = canonical(stream.unit) if stream.unit is not None else None
        flag = canonical(self.context.unit) if self.context.unit else None
        unit = self._agreed("unit", stated, flag, UnitError)
        if unit is not None:
            parse_unit(unit)
        return unit

    def _check_new(
        self, stream: SourceStream, observed: ObservedProperty, code: str, unit: str | None, datum: str | None
    ) -> Refusal | None:
        if not self.create:
            missing, name = ("station", stream.station) if self.registry.station(stream.station) is None else ("datastream", code)
            return Refusal(
                missing,
                f"{code} does not exist and nothing is made by itself. Remedy: add it (groundwatch {missing} add {name} ...), then "
                "replay what waits; or import the file by hand",
            )
        if unit is None:
            return Refusal("unit", _no_unit(code))
        if not compatible(unit, observed.unit):
            convert(0.0, unit, observed.unit)
        if observed.needs_datum and datum is None:
            offset_m(None, None, None, (), where=self.context.filename)
        return None

    def _make(self, stream: SourceStream, observed: ObservedProperty, *, unit: str, datum: str | None) -> Datastream:
        station = self._station(stream)
        attributes = dict(stream.attributes)
        name_zh, name_en = attributes.pop(DATASTREAM_NAMES, (None, None))
        if stream.sensor:
            self._sensor(station.code, stream.sensor)
        wanted = Datastream(
            station=station.code,
            property_code=observed.code,
            unit=unit,
            channel=stream.channel,
            sensor=stream.sensor,
            name_zh=name_zh,
            name_en=name_en,
            interval_s=stream.interval_s,
            depth_top_m=stream.depth_top_m,
            depth_bottom_m=stream.depth_bottom_m,
            aquifer=stream.aquifer,
            datum_code=datum,
            datum_epoch=stream.datum_epoch,
            frame=stream.frame,
            confirmed=False,
            disclosure=stream.disclosure or Disclosure.RESTRICTED,
            attributes=attributes,
            datastream_id=-1 - len(self.created.datastreams) if self.rehearse else None,
        )
        made = wanted if self.rehearse else self.registry.add_datastream(wanted, actor=self.actor)
        self.created.datastreams.append(made.code)
        return made

    def _station(self, stream: SourceStream) -> Station:
        known = self.registry.station(stream.station) or self._rehearsed.get(stream.station)
        if known is not None:
            if not known.confirmed:
                self.created.note_unconfirmed(known.code)
            return known
        code = station_code(stream.station)
        wanted = Station(
            code=code,
            kind=stream.kind or StationKind.OTHER,
            name_zh=stream.name_zh or code,
            name_en=stream.name_en or code,
            region_code=stream.region_code,
            longitude_deg=stream.longitude_deg,
            latitude_deg=stream.latitude_deg,
            height_m=stream.height_m,
            disclosure=stream.disclosure or Disclosure.RESTRICTED,
            confirmed=False,
        )
        made = wanted if self.rehearse else self.registry.add_station(wanted, actor=self.actor)
        if self.rehearse:
            self._rehearsed[code] = made
        self.created.stations.append(made.code)
        self.created.note_unconfirmed(made.code)
        return made

    def _sensor(self, station: str, code: str) -> None:
        name = f"{station}/{code}"
        if name in self.created.sensors or self.rehearse:
            return
        try:
            self.registry.add_sensor(Sensor(station=station, code=code), actor=self.actor)
        except ConflictError:
            return  # it is there already
        self.created.sensors.append(name)

    def _frame_fault(self, stream: SourceStream, existing: Datastream) -> Refusal | None:
        mine, theirs = stream.frame, existing.frame
        if mine is None or theirs is None or mine == theirs:
            return None
        return Refusal(
            "frame",
            f"{existing.code} is in the frame {theirs}, the file in {mine}. Remedy: state the right one with --frame",
        )

    def _datum_shift(self, existing: Datastream, observed: ObservedProperty, datum: str | None) -> DatumShift | None:
        if datum is None and not observed.needs_datum:
            return None
        if datum is None and self.unit_is_the_datastreams:
            return None  # a device of ours reports in the datum of its datastream
        if datum is not None and datum == existing.datum_code:
            return None
        if datum is not None and existing.datum_code is not None and not self.convert_datum:
            raise DatumError(
                f"{existing.code} is kept in {existing.datum_code}, the file is in {datum}; datums are never mixed.",
                where=self.context.filename,
                remedy="convert with the offset configured for the region (--convert-datum), or import into another channel",
            )
        station = self.registry.station(existing.station)
        region = (station.region_code if station else None) or self.registry.node_region()
        target = existing.datum_code
        if datum is None or target is None:
            offset_m(datum, target, region, (), where=self.context.filename)  # refuses with the remedy
            return None

        def note(offset: float) -> None:
            self.conversions.append(
                {"datastream": existing.code, "from": datum, "to": target, "offset_m": offset, "region": region}
            )

        offsets = self.registry.datum_offsets()
        return DatumShift(
            datum, target, region, offsets, unit=existing.unit, zone=self.zone, where=self.context.filename, used=note
        )

    def _reference_shift(self, stream: SourceStream, existing: Datastream) -> float:
        """Return what ties displacements counted from another first epoch to the datastream's own zero."""
        mine, theirs = _decimal(stream.attributes, _REFERENCE), _decimal(existing.attributes, _REFERENCE)
        if mine is None or theirs is None:
            if mine is not None:
                self.notes.append(f"{existing.code} has no reference coordinate: its zero is taken to be the file's first epoch")
            return 0.0
        if mine == theirs:
            return 0.0
        shift_mm = float((mine - theirs) * 1000)
        self.notes.append(
            f"{existing.code}: the file begins at another epoch; {shift_mm:+.3f} mm ties it to the datastream's zero"
        )
        return convert_spread(shift_mm, "mm", existing.unit)


def _no_unit(code: str) -> str:
    return f"neither file nor profile states the unit of {code}. Remedy: give --unit, or unit: in the profile"


def _decimal(attributes: Mapping[str, Any], key: str) -> Decimal | None:
    try:
        return Decimal(str(attributes[key])) if key in attributes else None
    except InvalidOperation:
        return None

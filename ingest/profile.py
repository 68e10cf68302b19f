"""Profiles: what a file does not say about itself, declared once as YAML.

A profile states columns, units, zone, time format, missing markers and the like for one kind of file. Shipped ones are in
`ingest/profiles/`; a path names one of the user's own. Every key is described in docs/formats.md. This file finishes with
`shipped_profiles`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from domain.errors import ConfigurationError
from domain.model import PROPERTY_CODE, Disclosure, StationKind, ValueKind
from domain.quality import REASONS, Quality
from domain.units import parse_unit

PROFILE_FOLDER = Path(__file__).parent / "profiles"
_REMEDY = "see docs/formats.md for the keys of a profile"


@dataclass(frozen=True, slots=True)
class ColumnRule:
    """One column of values: which header names it, and what its numbers are.

    `match` are header names (any of them, compared stripped and whatever their case) or 1-based positions. Values are multiplied by
    `scale` before their unit is applied: -1 turns a down-positive source into an up-positive property.
    """

    match: tuple[str | int, ...]
    property_code: str
    unit: str | None = None
    channel: str | None = None
    datum: str | None = None
    frame: str | None = None
    scale: float = 1.0
    sigma: tuple[str | int, ...] = ()
    sigma_unit: str | None = None
    quality: tuple[str | int, ...] = ()
    reasons: tuple[str, ...] = ()
    value_kind: ValueKind = ValueKind.INSTANT
    interval_s: float | None = None
    sensor: str | None = None
    aquifer: str | None = None
    depth_top_m: float | None = None
    depth_bottom_m: float | None = None
    name_zh: str | None = None
    name_en: str | None = None
    required: bool = False


@dataclass(frozen=True, slots=True)
class TimeRule:
    """Where the time is and how it is written. `stamp` says whether a mean or total carries its `end` or its `start`."""

    columns: tuple[tuple[str | int, ...], ...] = ()
    formats: tuple[str, ...] = ()
    zone: str | None = None
    zone_column: tuple[str | int, ...] = ()
    zones: Mapping[str, str] = field(default_factory=dict)
    origin: str | None = None
    elapsed_unit: str | None = None
    stamp: str = "end"
    end_column: tuple[str | int, ...] = ()
    dates_are_days: bool = False


@dataclass(frozen=True, slots=True)
class StationRule:
    """Which station the rows belong to: a constant, a template of columns, or a pattern on the file's name."""

    constant: str | None = None
    template: str | None = None
    filename: str | None = None
    codes: Mapping[str, str] = field(default_factory=dict)
    kind: StationKind | None = None
    name_zh: str | None = None
    name_en: str | None = None
    longitude_deg: float | None = None
    latitude_deg: float | None = None
    region_code: str | None = None
    disclosure: Disclosure | None = None


@dataclass(frozen=True, slots=True)
class QualityRule:
    """What one code of the source's quality column means."""

    quality: Quality
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HeaderRule:
    """Where the header is: a row (from 1 after the skipped lines), the first row that holds all of `match`, or none."""

    row: int | None = 1
    match: tuple[str, ...] = ()
    skip_after: int = 0


@dataclass(frozen=True, slots=True)
class Profile:
    """One kind of file. `format` names the parser in `ingest.formats.FORMATS`."""

    name: str
    format: str
    title: str = ""
    source: str = ""
    encoding: str | None = None
    delimiter: str = ","
    decimal: str = "."
    thousands: str = ""
    comment: str | None = None
    skip_lines: int = 0
    sheet: str | int | None = None
    records: str | None = None
    header: HeaderRule = HeaderRule()
    missing: tuple[str, ...] = ()
    empty_is_missing: bool = False
    time: TimeRule = TimeRule()
    station: StationRule = StationRule()
    columns: tuple[ColumnRule, ...] = ()
    quality: Mapping[str, QualityRule] = field(default_factory=dict)
    datum: str | None = None
    datums: Mapping[str, str] = field(default_factory=dict)
    frame: str | None = None
    convert_datum: bool = False
    parameters: Mapping[str, ColumnRule] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    detect_header: str | None = None
    detect_filename: str | None = None

    def recognises(self, beginning: str, filename: str) -> bool:
        """Does the profile's own pattern fit the beginning of a file (and its name, where it states one)?"""
        if self.detect_header is None or not re.search(self.detect_header, beginning, re.MULTILINE):
            return False
        return self.detect_filename is None or re.search(self.detect_filename, filename) is not None


class _Reader:
    """Reads one mapping strictly: unknown keys and wrong types are refused with the place they stand at."""

    def __init__(self, content: object, where: str) -> None:
        if not isinstance(content, Mapping):
            raise ConfigurationError("a mapping was expected.", where=where, remedy=_REMEDY)
        self.content = {str(key): value for key, value in content.items()}
        self.where = where

    def check(self, *known: str) -> None:
        unknown = sorted(set(self.content) - set(known))
        if unknown:
            raise ConfigurationError(f"unknown key {unknown[0]!r}.", where=self.where, remedy=f"known: {', '.join(known)}")

    def text(self, key: str, default: str | None = None) -> str | None:
        value = self.content.get(key, default)
        return None if value is None else str(value)

    def number(self, key: str, default: float | None = None) -> float | None:
        value = self.content.get(key, default)
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
            return None if value is None else float(value)
        raise ConfigurationError(f"{key} is no number: {value!r}.", where=self.where, remedy=_REMEDY)

    def integer(self, key: str, default: int) -> int:
        number = self.number(key, default)
        return default if number is None else int(number)

    def flag(self, key: str) -> bool:
        value = self.content.get(key, False)
        if not isinstance(value, bool):
            raise ConfigurationError(f"{key} must be true or false.", where=self.where, remedy=_REMEDY)
        return value

    def names(self, key: str) -> tuple[str | int, ...]:
        value = self.content.get(key)
        if value is None:
            return ()
        items = value if isinstance(value, list) else [value]
        return tuple(item if isinstance(item, int) and not isinstance(item, bool) else str(item) for item in items)

    def texts(self, key: str) -> tuple[str, ...]:
        return tuple(str(name) for name in self.names(key))

    def mapping(self, key: str) -> Mapping[str, Any]:
        value = self.content.get(key) or {}
        if not isinstance(value, Mapping):
            raise ConfigurationError(f"{key} must be a mapping.", where=self.where, remedy=_REMEDY)
        return {str(name): item for name, item in value.items()}

    def inner(self, key: str) -> _Reader:
        return _Reader(self.content.get(key) or {}, f"{self.where}: {key}")


def parse_profile(content: object, name: str) -> Profile:
    """Build a profile from parsed YAML.

    Raises
    ------
    ConfigurationError
        When a key is unknown, a value has the wrong type, or a unit, property or quality code is none.
    """
    reader = _Reader(content, f"profile {name}")
    reader.check(*(entry.name for entry in fields(Profile)))
    columns = reader.content.get("columns") or []
    if not isinstance(columns, list):
        raise ConfigurationError("columns must be a list.", where=reader.where, remedy=_REMEDY)
    format_name = reader.text("format")
    if not format_name:
        raise ConfigurationError(
            "the profile names no format.", where=reader.where, remedy="write format: csv (or toa5, levelling, rdb)"
        )
    sheet = reader.content.get("sheet")
    if reader.text("thousands") and reader.text("thousands") == (reader.text("decimal", ".") or "."):
        raise ConfigurationError(
            "thousands: and decimal: are the same mark.",
            where=reader.where,
            remedy="state the one that the file groups digits with",
        )
    return Profile(
        name=name,
        format=format_name,
        title=reader.text("title") or "",
        source=reader.text("source") or "",
        encoding=reader.text("encoding"),
        delimiter={"tab": "\t", "space": " "}.get(reader.text("delimiter", ",") or ",", reader.text("delimiter", ",") or ","),
        decimal=reader.text("decimal", ".") or ".",
        thousands=reader.text("thousands") or "",
        comment=reader.text("comment"),
        skip_lines=reader.integer("skip_lines", 0),
        sheet=sheet if isinstance(sheet, int | str) else None,
        records=reader.text("records"),
        header=_header(reader),
        missing=reader.texts("missing"),
        empty_is_missing=reader.flag("empty_is_missing"),
        time=_time(reader.inner("time")),
        station=_station(reader.inner("station")),
        columns=tuple(_column(_Reader(item, f"{reader.where}: columns[{i}]")) for i, item in enumerate(columns)),
        quality={code: _quality(item, reader.where) for code, item in reader.mapping("quality").items()},
        datum=reader.text("datum"),
        datums={key: str(value) for key, value in reader.mapping("datums").items()},
        frame=reader.text("frame"),
        convert_datum=reader.flag("convert_datum"),
        parameters={
            code: _column(_Reader({"match": [code], **dict(item)}, f"{reader.where}: parameters: {code}"))
            for code, item in reader.mapping("parameters").items()
        },
        attributes=dict(reader.mapping("attributes")),
        detect_header=reader.text("detect_header"),
        detect_filename=reader.text("detect_filename"),
    )


def _header(reader: _Reader) -> HeaderRule:
    value = reader.content.get("header", 1)
    if value is None or value == "none":
        return HeaderRule(row=None)
    if isinstance(value, int) and not isinstance(value, bool):
        return HeaderRule(row=value)
    inner = _Reader(value, f"{reader.where}: header")
    inner.check("row", "match", "skip_after")
    match = inner.texts("match")
    return HeaderRule(row=None if match else inner.integer("row", 1), match=match, skip_after=inner.integer("skip_after", 0))


def _time(reader: _Reader) -> TimeRule:
    reader.check("column", *(entry.name for entry in fields(TimeRule)))
    single = reader.names("column")
    several = reader.content.get("columns") or []
    columns = (single,) if single else tuple(tuple(item) if isinstance(item, list) else (item,) for item in several)
    stamp = reader.text("stamp", "end") or "end"
    if stamp not in {"start", "end"}:
        raise ConfigurationError(f"stamp {stamp!r} is neither start nor end.", where=reader.where, remedy=_REMEDY)
    return TimeRule(
        columns=columns,
        formats=reader.texts("formats"),
        zone=reader.text("zone"),
        zone_column=reader.names("zone_column"),
        zones={key: str(value) for key, value in reader.mapping("zones").items()},
        origin=reader.text("origin"),
        elapsed_unit=reader.text("elapsed_unit"),
        stamp=stamp,
        end_column=reader.names("end_column"),
        dates_are_days=reader.flag("dates_are_days"),
    )


def _station(reader: _Reader) -> StationRule:
    reader.check(*(entry.name for entry in fields(StationRule)))
    kind, disclosure = reader.text("kind"), reader.text("disclosure")
    try:
        pattern = reader.text("filename")
        if pattern is not None:
            re.compile(pattern)
        return StationRule(
            constant=reader.text("constant"),
            template=reader.text("template"),
            filename=pattern,
            codes={key: str(value) for key, value in reader.mapping("codes").items()},
            kind=StationKind(kind) if kind else None,
            name_zh=reader.text("name_zh"),
            name_en=reader.text("name_en"),
            longitude_deg=reader.number("longitude_deg"),
            latitude_deg=reader.number("latitude_deg"),
            region_code=reader.text("region_code"),
            disclosure=Disclosure(disclosure) if disclosure else None,
        )
    except (ValueError, re.error) as fault:
        raise ConfigurationError(f"{fault}.", where=reader.where, remedy=_REMEDY) from fault


def _column(reader: _Reader) -> ColumnRule:
    reader.check("property", *(entry.name for entry in fields(ColumnRule) if entry.name != "property_code"))
    match, code = reader.names("match"), reader.text("property") or ""
    if not match or not PROPERTY_CODE.match(code):
        raise ConfigurationError("a column needs match: and property:.", where=reader.where, remedy=_REMEDY)
    unit, kind = reader.text("unit"), reader.text("value_kind", "instant") or "instant"
    for stated in (unit, reader.text("sigma_unit")):
        if stated:
            parse_unit(stated)
    reasons = reader.texts("reasons")
    _check_reasons(reasons, reader.where)
    try:
        value_kind = ValueKind(kind)
    except ValueError as fault:
        raise ConfigurationError(f"{kind!r} is no value_kind.", where=reader.where, remedy=_REMEDY) from fault
    scale = reader.number("scale", 1.0)
    return ColumnRule(
        match=match,
        property_code=code,
        unit=unit,
        channel=reader.text("channel"),
        datum=reader.text("datum"),
        frame=reader.text("frame"),
        scale=1.0 if scale is None else scale,
        sigma=reader.names("sigma"),
        sigma_unit=reader.text("sigma_unit"),
        quality=reader.names("quality"),
        reasons=reasons,
        value_kind=value_kind,
        interval_s=reader.number("interval_s"),
        sensor=reader.text("sensor"),
        aquifer=reader.text("aquifer"),
        depth_top_m=reader.number("depth_top_m"),
        depth_bottom_m=reader.number("depth_bottom_m"),
        name_zh=reader.text("name_zh"),
        name_en=reader.text("name_en"),
        required=reader.flag("required"),
    )


def _quality(item: object, where: str) -> QualityRule:
    parts: Sequence[object] = item if isinstance(item, list) else [item]
    try:
        flag = Quality(int(str(parts[0])))
    except (ValueError, IndexError) as fault:
        raise ConfigurationError(
            f"{item!r} is no quality.", where=where, remedy="write 1, 2, 3, 4 or 9, or [3, source_flag]"
        ) from fault
    reasons = tuple(str(part) for part in parts[1:])
    _check_reasons(reasons, where)
    return QualityRule(flag, reasons)


def _check_reasons(reasons: Sequence[str], where: str) -> None:
    for reason in reasons:
        if reason not in REASONS:
            raise ConfigurationError(f"{reason!r} is no quality reason.", where=where, remedy=f"known: {', '.join(REASONS)}")


def load_profile(name_or_path: str | Path) -> Profile:
    """Return a shipped profile by its name, or one of the user's own by its path.

    Raises
    ------
    ConfigurationError
        When there is no such profile or it cannot be read.
    """
    text = str(name_or_path)
    path = Path(text)
    if re.fullmatch(r"[A-Za-z0-9_\-]+", text) and (PROFILE_FOLDER / f"{text}.yaml").is_file():
        path = PROFILE_FOLDER / f"{text}.yaml"
    elif not path.is_file():
        known = ", ".join(sorted(file.stem for file in PROFILE_FOLDER.glob("*.yaml")))
        raise ConfigurationError(
            f"there is no profile {text!r}.", remedy=f"name one of: {known}; or give the path of a YAML file"
        )
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as fault:
        raise ConfigurationError(f"the profile cannot be read: {fault}", where=str(path), remedy=_REMEDY) from fault
    return parse_profile(content, path.stem)


@lru_cache(maxsize=1)
def shipped_profiles() -> Mapping[str, Profile]:
    """Return every shipped profile by its name."""
    return {file.stem: load_profile(file.stem) for file in sorted(PROFILE_FOLDER.glob("*.yaml"))}

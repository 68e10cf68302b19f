"""Profiles of InSAR deliveries: which column is what, the sign and the units, declared once as YAML.

The sign of the line of sight is never guessed: a profile without `positive` is refused. Shipped profiles are in
`ingest/profiles/insar/`. This file finishes with `load_insar_profile`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from domain.errors import ConfigurationError
from domain.insar import AWAY_FROM_SATELLITE, TOWARD_SATELLITE
from domain.units import convert_spread

FOLDER = Path(__file__).parent.parent / "profiles" / "insar"
SHAPES = ("wide", "stamps")
SIGNED = frozenset({"rate", "cumulative", "acceleration"})
"""Attributes that change their sign with the displacement."""

_SCALED = {"sigma", "rmse", "acceleration_sigma", "seasonality", "seasonality_sigma"} | SIGNED
_OF_A_RATE = {"rate", "sigma"}
_REMEDY = "see docs/methods/insar.md for the keys of an InSAR profile"
_NAME = re.compile(r"^[a-z][a-z0-9_]{0,63}$")


@dataclass(frozen=True, slots=True)
class InsarProfile:
    """One kind of delivery.

    `point` names the columns of pid (optional), longitude and latitude; `attributes` our names with the file's columns (the first that
    is there); `epoch_pattern` finds the epochs among the headers, its first group is read with `epoch_format`. Displacements are in
    `unit`, rates in `rate_unit`; `positive` says which way the file counts. Track, heading (clockwise from north) and incidence (from
    the vertical) hold for all points where the file has no columns for them.
    """

    name: str
    shape: str
    positive: str
    title: str = ""
    source: str = ""
    unit: str = "mm"
    rate_unit: str = "mm/a"
    delimiter: str = ","
    point: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    epoch_pattern: str = r"^(\d{8})$"
    epoch_format: str = "%Y%m%d"
    missing: tuple[str, ...] = ()
    area: str | None = None
    track: str | None = None
    heading_deg: float | None = None
    incidence_deg: float | None = None
    reference: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sign(self) -> float:
        """Return 1 where the file counts toward the satellite, -1 where it counts away from it."""
        return 1.0 if self.positive == TOWARD_SATELLITE else -1.0

    def factor(self, attribute: str) -> float:
        """Return what values of an attribute (or of `displacement`) are multiplied by: unit and sign."""
        if attribute == "displacement":
            return self.sign * float(convert_spread(1.0, self.unit, "mm"))
        if attribute not in _SCALED:
            return 1.0
        scale = convert_spread(1.0, self.rate_unit, "mm/a") if attribute in _OF_A_RATE else convert_spread(1.0, self.unit, "mm")
        return float(scale) * (self.sign if attribute in SIGNED else 1.0)

    def to_json(self) -> dict[str, Any]:
        """Return what decides how bytes are read: two readings that agree in it give the same delivery."""
        return {
            entry.name: list(value) if isinstance(value := getattr(self, entry.name), tuple) else _plain(value)
            for entry in fields(self)
            if entry.name not in {"title", "source"}
        }


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: list(item) if isinstance(item, tuple) else item for key, item in value.items()}
    return value


def load_insar_profile(name_or_path: str | Path) -> InsarProfile:
    """Return a shipped profile by its name, or one of the user's own by its path.

    Raises
    ------
    ConfigurationError
        There is no such profile, or it cannot be used.
    """
    text = str(name_or_path)
    path = FOLDER / f"{text}.yaml" if _NAME.match(text) and (FOLDER / f"{text}.yaml").is_file() else Path(text)
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in FOLDER.glob("*.yaml")))
        raise ConfigurationError(
            f"there is no InSAR profile {text!r}.", remedy=f"name one of: {known}; or give the path of a YAML file"
        )
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as fault:
        raise ConfigurationError(f"the profile cannot be read: {fault}", where=str(path), remedy=_REMEDY) from fault
    return parse_insar_profile(content, path.stem)


def is_insar_profile(name_or_path: str | Path | None) -> bool:
    """Does this name or path lead to a profile whose format is `insar`?"""
    if name_or_path is None:
        return False
    text = str(name_or_path)
    if _NAME.match(text) and (FOLDER / f"{text}.yaml").is_file():
        return True
    try:
        content = yaml.safe_load(Path(text).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return False
    return isinstance(content, Mapping) and content.get("format") == "insar"


def parse_insar_profile(content: object, name: str) -> InsarProfile:
    """Build a profile from parsed YAML; `ConfigurationError` names the key that cannot be used."""
    where = f"profile {name}"
    if not isinstance(content, Mapping):
        raise ConfigurationError("a mapping was expected.", where=where, remedy=_REMEDY)
    keys = {entry.name for entry in fields(InsarProfile)} - {"epoch_pattern", "epoch_format"} | {"format", "epochs"}
    unknown = sorted(set(map(str, content)) - keys)
    if unknown:
        raise ConfigurationError(f"unknown key {unknown[0]!r}.", where=where, remedy=f"known: {', '.join(sorted(keys))}")
    shape = _choice(content, "shape", SHAPES, where)
    positive = _choice(content, "positive", (TOWARD_SATELLITE, AWAY_FROM_SATELLITE), where)
    point = {str(key): str(value) for key, value in _mapping(content, "point", where).items()}
    if shape == "wide" and (set(point) - {"pid", "longitude", "latitude"} or not {"longitude", "latitude"} <= set(point)):
        raise ConfigurationError("point: needs longitude and latitude, and may have pid.", where=where, remedy=_REMEDY)
    epochs = _mapping(content, "epochs", where)
    pattern, written = str(epochs.get("pattern", r"^(\d{8})$")), str(epochs.get("format", "%Y%m%d"))
    try:
        groups = re.compile(pattern).groups
    except re.error as fault:
        raise ConfigurationError(f"the pattern of the epochs is none: {fault}.", where=where, remedy=_REMEDY) from fault
    if groups != 1:
        raise ConfigurationError(
            "the pattern of the epochs needs one group, the date.", where=where, remedy=r"e.g. '^D_(\d{8})$'"
        )
    found = InsarProfile(
        name=name,
        shape=shape,
        positive=positive,
        title=str(content.get("title", "")),
        source=str(content.get("source", "")),
        unit=str(content.get("unit", "mm")),
        rate_unit=str(content.get("rate_unit", "mm/a")),
        delimiter={"tab": "\t"}.get(str(content.get("delimiter", ",")), str(content.get("delimiter", ","))),
        point=point,
        attributes=_attributes(content, where),
        epoch_pattern=pattern,
        epoch_format=written,
        missing=tuple(str(item) for item in content.get("missing") or ()),
        area=_text(content, "area"),
        track=_text(content, "track"),
        heading_deg=_number(content, "heading_deg", where),
        incidence_deg=_number(content, "incidence_deg", where),
        reference=_mapping(content, "reference", where),
    )
    found.factor("displacement"), found.factor("rate")  # an unknown unit is refused here, not at the first row
    return found


def _attributes(content: Mapping[Any, Any], where: str) -> dict[str, tuple[str, ...]]:
    attributes: dict[str, tuple[str, ...]] = {}
    for key, value in _mapping(content, "attributes", where).items():
        if not _NAME.match(str(key)):
            raise ConfigurationError(f"{key!r} is no name of an attribute.", where=where, remedy="use a-z, 0-9 and _")
        attributes[str(key)] = tuple(str(item) for item in (value if isinstance(value, list) else [value]))
    return attributes


def _choice(content: Mapping[Any, Any], key: str, known: tuple[str, ...], where: str) -> str:
    value = content.get(key)
    if value not in known:
        said = "is not stated" if value is None else f"{value!r} is unknown"
        raise ConfigurationError(f"{key}: {said}.", where=where, remedy=f"write {key}: {' or '.join(known)}")
    return str(value)


def _mapping(content: Mapping[Any, Any], key: str, where: str) -> dict[str, Any]:
    value = content.get(key) or {}
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"{key} must be a mapping.", where=where, remedy=_REMEDY)
    return {str(name): item for name, item in value.items()}


def _text(content: Mapping[Any, Any], key: str) -> str | None:
    value = content.get(key)
    return None if value is None else str(value)


def _number(content: Mapping[Any, Any], key: str, where: str) -> float | None:
    value = content.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigurationError(f"{key} is no number: {value!r}.", where=where, remedy=_REMEDY)
    return float(value)

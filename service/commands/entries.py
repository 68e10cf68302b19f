"""KEY=VALUE words into the fields of a register's entry, typed by the entry's own annotations.

Values are YAML scalars, so `confirmed=true`, `interval_s=3600` and `tags=[border, hsr]` mean what they say. This file finishes with
`with_values`.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from enum import Enum
from typing import Any, TypeVar

import yaml

from domain.errors import InputError

T = TypeVar("T")


def parse_values(words: Iterable[str]) -> dict[str, Any]:
    """Return the values of `KEY=VALUE` words."""
    values: dict[str, Any] = {}
    for word in words:
        key, separator, text = word.partition("=")
        if not separator or not key:
            raise InputError(f"{word!r} is not KEY=VALUE.", remedy="e.g. name_en='East well' disclosure=open")
        try:
            values[key] = yaml.safe_load(text) if text else None
        except yaml.YAMLError as error:
            raise InputError(f"{word!r} cannot be read: {error}.", remedy="quote texts with special characters") from error
    return values


def build(kind: type[T], values: Mapping[str, Any], *, fixed: Mapping[str, Any]) -> T:
    """Make a new entry; what has no default must be among the values."""
    assert dataclasses.is_dataclass(kind)
    given = {**_typed(kind, values), **fixed}
    missing = [
        field.name
        for field in dataclasses.fields(kind)
        if field.name not in given and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise InputError(f"{', '.join(missing)} missing.", remedy="add " + " ".join(f"{name}=..." for name in missing))
    return typing.cast("T", kind(**given))


def with_values(entry: T, values: Mapping[str, Any]) -> T:
    """Return the entry with some fields changed."""
    return dataclasses.replace(entry, **_typed(type(entry), values))  # type: ignore[type-var]


def _typed(kind: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    known = [field.name for field in dataclasses.fields(kind) if not field.name.endswith("_id")]
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise InputError(f"unknown: {', '.join(unknown)}.", remedy=f"known are {', '.join(known)}")
    return {name: _convert(value, hints[name], name) for name, value in values.items()}


def _convert(value: Any, hint: Any, name: str) -> Any:
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if value is None and type(None) in kinds:
        return None
    for kind in (item for item in kinds if item is not type(None)):
        converted = _as(value, kind)
        if converted is not _UNFIT:
            return converted
    words = " or ".join(getattr(kind, "__name__", str(kind)) for kind in kinds)
    choices = [str(item.value) for kind in kinds if isinstance(kind, type) and issubclass(kind, Enum) for item in kind]
    raise InputError(f"{name} cannot be {value!r}.", remedy=f"one of {', '.join(choices)}" if choices else f"write a {words}")


_UNFIT = object()


def _as(value: Any, kind: Any) -> Any:
    origin = typing.get_origin(kind)
    if origin is tuple:
        return tuple(str(item) for item in value) if isinstance(value, list) else _UNFIT
    if origin is not None:
        return value if isinstance(value, Mapping) else _UNFIT
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(value) if value in {item.value for item in kind} else _UNFIT
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is str and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if kind is datetime and isinstance(value, datetime):
        return value if value.tzinfo is not None else _UNFIT
    if kind is date and isinstance(value, datetime):
        return _UNFIT
    return value if isinstance(kind, type) and isinstance(value, kind) else _UNFIT

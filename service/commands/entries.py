"""KEY=VALUE words into the fields of a register's entry, typed by the entry's own annotations.

Values are YAML scalars, so `confirmed=true`, `interval_s=3600` and `tags=[border, hsr]` mean what they say; a text that looks like a
number (`region_code=330411`, `serial=0123`) is taken as it is written. This file finishes with `with_values` and the readings of single values.
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


class Values(dict[str, Any]):
    """Values of `KEY=VALUE` words as YAML reads them, and each as it was written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: dict[str, str] = {}

    def without(self, *names: str) -> Values:
        """Return the values but those named."""
        rest = Values()
        rest.update({key: value for key, value in self.items() if key not in names})
        rest.written = self.written
        return rest


def text_of(values: Mapping[str, Any], key: str) -> str | None:
    """Return a value as text, as it was written: YAML would read the code 02177000 as an octal number."""
    value = values.get(key)
    if value is None or isinstance(value, str):
        return value
    return values.written[key] if isinstance(values, Values) and key in values.written else str(value)


def parse_values(words: Iterable[str]) -> Values:
    """Return the values of `KEY=VALUE` words."""
    values = Values()
    for word in words:
        key, separator, text = word.partition("=")
        if not separator or not key:
            raise InputError(f"{word!r} is not KEY=VALUE.", remedy="e.g. name_en='East well' disclosure=open")
        try:
            values[key] = yaml.safe_load(text) if text else None
            values.written[key] = text
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
    return {name: _convert(_as_meant(values, name, hints[name]), hints[name], name) for name in values}


def _as_meant(values: Mapping[str, Any], name: str, hint: Any) -> Any:
    """Return a number that stands for a text as it was written."""
    value = values[name]
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return text_of(values, name) if is_number and str in kinds else value


def _convert(value: Any, hint: Any, name: str) -> Any:
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if value is None and type(None) in kinds:
        return None
    for kind in (item for item in kinds if item is not type(None)):
        converted = _as(value, kind)
        if converted is not _UNFIT:
            return converted
    words = " or ".join(_WORDS.get(kind, str(kind)) for kind in kinds if kind is not type(None))
    choices = [str(item.value) for kind in kinds if isinstance(kind, type) and issubclass(kind, Enum) for item in kind]
    raise InputError(f"{name} cannot be {value!r}.", remedy=f"one of {', '.join(choices)}" if choices else f"write {words}")


_UNFIT = object()
_WORDS: dict[Any, str] = {
    str: "a text",
    float: "a number",
    int: "a whole number",
    bool: "true or false",
    date: "a date such as 2026-01-31",
    datetime: "a time with offset such as 2026-01-31T00:00:00+08:00",
}


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
    if kind in {date, datetime} and isinstance(value, str):
        return _as(_moment(kind, value), kind)
    if kind is datetime and isinstance(value, datetime):
        return value if value.tzinfo is not None else _UNFIT
    if kind is date and isinstance(value, datetime):
        return _UNFIT
    return value if isinstance(kind, type) and isinstance(value, kind) else _UNFIT


def _moment(kind: Any, text: str) -> Any:
    """Return a day or a time that stands as text, as an export writes it; None where it is none."""
    try:
        return kind.fromisoformat(text)
    except ValueError:
        return None

"""Records of alerting between `domain.alerting` and rows. This file finishes with `jsonb_of`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any

import orjson
from psycopg.types.json import Jsonb

from domain.alert import AlertState, Confirmation, Level, MessageStatus, MessageType, Verdict
from domain.alerting import (
    AlertRecord,
    CapMessage,
    Notification,
    NotificationState,
    Receiver,
    Rule,
    RuleState,
    Silence,
    Transition,
)
from storage.json_values import jsonb, plain

Row = Mapping[str, Any]

_ALERT: Mapping[str, Callable[[Any], Any]] = {
    "state": AlertState,
    "level": Level,
    "peak_level": Level,
    "verdict": Verdict,
    "confirmation": Confirmation,
    "status": MessageStatus,
}
_TRANSITION: Mapping[str, Callable[[Any], Any]] = {
    "to_state": AlertState,
    "from_state": AlertState,
    "from_level": Level,
    "to_level": Level,
}


def _typed(row: Row, kinds: Mapping[str, Callable[[Any], Any]]) -> dict[str, Any]:
    return {name: kinds[name](value) if name in kinds and value is not None else value for name, value in row.items()}


def to_alert(row: Row) -> AlertRecord:
    """Read an alert."""
    return AlertRecord(**_typed(row, _ALERT))


def to_transition(row: Row) -> Transition:
    """Read a transition."""
    return Transition(**_typed(row, _TRANSITION))


def to_state(row: Row) -> RuleState:
    """Read the last verdict of a rule on a scope."""
    return RuleState(**_typed(row, {"verdict": Verdict, "level": Level}))


def to_rule(row: Row) -> Rule:
    """Read one version of a rule."""
    return Rule(**row)


def to_silence(row: Row) -> Silence:
    """Read a silence."""
    return Silence(**row)


def to_receiver(row: Row) -> Receiver:
    """Read a receiver."""
    return Receiver(**_typed(row, {"min_level": Level}))


def to_notification(row: Row) -> Notification:
    """Read an entry of the outbox."""
    return Notification(**_typed(row, {"message_type": MessageType, "state": NotificationState}))


def to_cap(row: Row) -> CapMessage:
    """Read a CAP message."""
    return CapMessage(**_typed(row, {"message_type": MessageType}))


def parameters_of(record: Any) -> dict[str, Any]:
    """Return the fields of a record as statement parameters: words and numbers of enumerations, mappings as jsonb."""
    return {name: _parameter(getattr(record, name)) for name in record.__dataclass_fields__}


def jsonb_of(records: Sequence[Any]) -> Jsonb:
    """Return many records as one array of objects, for statements that take them all at once."""
    names = records[0].__dataclass_fields__ if records else ()
    return Jsonb([{name: getattr(record, name) for name in names} for record in records], dumps=_in_json)


def _in_json(value: Any) -> str | bytes:
    """Write JSON at once; what holds something that only we can write, a key that is no text for one, is put in plain words first."""
    try:
        return orjson.dumps(value, default=plain)
    except TypeError:
        return json.dumps(plain(value))


def _parameter(value: Any) -> Any:
    if isinstance(value, Mapping):
        return jsonb(value)
    return value.value if isinstance(value, Enum) else value

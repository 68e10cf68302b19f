"""Parameters, events and members as a run records them, read back so that it can be computed again.

This file finishes with `member_from_json`.
"""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Union, get_args, get_origin, get_type_hints

from analytics.groups.method import Member
from analytics.method import plain
from analytics.sampling import Samples
from domain.model import EventEffect, EventKind, StationEvent


def parameters_from_json(kind: type[Any], stored: Mapping[str, Any]) -> Any:
    """Rebuild a parameters' dataclass from its stored JSON; fields that were not stored take their defaults.

    Parameters
    ----------
    kind : type
        Frozen dataclass; its fields are numbers, texts, enumerations, tuples and dataclasses of these.
    stored : mapping

    Examples
    --------
    >>> from analytics.limits import LimitLine, LimitParameters
    >>> given = LimitParameters(limits=(LimitLine("red", -50.0, False),))
    >>> parameters_from_json(LimitParameters, plain(given)) == given
    True
    """
    hints = get_type_hints(kind)
    return kind(**{item.name: _read(hints[item.name], stored[item.name]) for item in fields(kind) if item.name in stored})


def _read(hint: Any, value: Any) -> Any:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return None if value is None else _read(next(part for part in get_args(hint) if part is not type(None)), value)
    if origin is tuple:
        parts = get_args(hint)
        inner = parts if len(parts) == len(value) and Ellipsis not in parts else (parts[0],) * len(value)
        return tuple(_read(part, item) for part, item in zip(inner, value, strict=True))
    if isinstance(hint, type):
        if is_dataclass(hint):
            return parameters_from_json(hint, value)
        if issubclass(hint, Enum):
            return hint(value)
        if hint is float:
            return float(value)
    return value


def inputs_as_json(events: Sequence[StationEvent], now: datetime) -> dict[str, Any]:
    """What a run saw beside observations and parameters, as it is recorded with it."""
    return {
        "now": plain(now),
        "events": _events_as_json(events),
    }


def _events_as_json(events: Sequence[StationEvent]) -> list[dict[str, Any]]:
    return [
        {
            "kind": str(event.kind),
            "start": plain(event.start),
            "end": plain(event.end),
            "effect": str(event.effect),
            "datastream": event.datastream,
            "size": event.size,
            "note": event.note,
            "author": event.author,
        }
        for event in events
    ]


def event_from_json(station: str, stored: Mapping[str, Any]) -> StationEvent:
    """One event as it was recorded."""
    return StationEvent(
        station,
        EventKind(stored["kind"]),
        datetime.fromisoformat(stored["start"]),
        None if stored["end"] is None else datetime.fromisoformat(stored["end"]),
        effect=EventEffect(stored["effect"]),
        datastream=stored["datastream"],
        size=stored["size"],
        note=stored["note"],
        author=stored["author"],
    )


PLACE = tuple(item.name for item in fields(Member) if item.name not in {"samples", "events"})
"""What a group method sees of a member beside its observations and its log."""


def group_inputs_as_json(members: Sequence[Member], about: str, now: datetime) -> dict[str, Any]:
    """What a run on a group saw beside observations and parameters, as it is recorded with it.

    Parameters
    ----------
    members : sequence of Member
        In the order in which the method saw them.
    about : str
        The code under which the method returned this outcome; "" where it speaks for no single member.
    now : datetime
    """
    return {
        "now": plain(now),
        "about": about,
        "members": [_member_as_json(member) for member in members],
    }


def _member_as_json(member: Member) -> dict[str, Any]:
    """What is known of a member; a network has a thousand of them, so what is not known is left out."""
    place = {name: plain(value) for name in PLACE if (value := getattr(member, name)) is not None}
    return place | ({"events": _events_as_json(member.events)} if member.events else {})


def member_from_json(stored: Mapping[str, Any], samples: Samples) -> Member:
    """One member of a group as it was recorded, with the observations that it had then."""
    events = tuple(event_from_json(stored["station"], event) for event in stored.get("events", ()))
    place: dict[str, Any] = {name: stored.get(name) for name in PLACE}
    return Member(samples=samples, events=events, **place)

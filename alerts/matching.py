"""Labels of an alert, and the matchers of silences and receivers. This file finishes with `silence_for`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

from domain.alert import Level, MessageStatus
from domain.alerting import OUT_OF_SERVICE, AlertRecord, Receiver, Rule, Silence
from domain.errors import InputError
from domain.model import Datastream, Station

LABELS = (
    "rule", "kind", "scope", "station", "datastream", "property", "region", "zone", "aquifer", "tag", "gateway", "member", "level", "status",
)  # fmt: skip
Labels = Mapping[str, tuple[str, ...]]


def labels_of(alert: AlertRecord, rule: Rule, station: Station | None, datastream: Datastream | None) -> Labels:
    """Return what matchers can ask for."""
    return {**labels_for(rule, alert.scope, alert.level, alert.status, station, datastream), "member": _members(alert)}


def labels_for(
    rule: Rule, scope: str, level: Level, status: MessageStatus, station: Station | None, datastream: Datastream | None
) -> Labels:
    """Return what matchers can ask for, of an alert that need not exist."""
    return {
        "rule": (rule.code,),
        "kind": (rule.kind,),
        "scope": (scope,),
        "station": (station.code,) if station else (),
        "datastream": (datastream.code,) if datastream else (),
        "property": (datastream.property_code,) if datastream else (),
        "region": (station.region_code,) if station and station.region_code else (),
        "zone": (station.zone_code,) if station and station.zone_code else (),
        "aquifer": (datastream.aquifer,) if datastream and datastream.aquifer else (),
        "tag": station.tags if station else (),
        "gateway": (str(station.attributes["gateway"]),) if station and station.attributes.get("gateway") else (),
        "level": (level.word,),
        "status": (status.value,),
    }


def _members(alert: AlertRecord) -> tuple[str, ...]:
    """Return the stations whose datastreams share the finding that an alert is about."""
    findings = alert.evidence.get("findings") or ()
    return tuple(sorted({str(code).partition(":")[0] for item in findings for code in item.get("members") or ()}))


def check_matchers(matchers: Mapping[str, Any], where: str) -> None:
    """Raise `InputError` where a matcher asks for a label that no alert has, or is no text."""
    for name, globs in matchers.items():
        if name not in LABELS:
            raise InputError(f"matcher {name!r} is not known.", where=where, remedy=f"use {', '.join(LABELS)}")
        if not all(isinstance(glob, str) for glob in _globs(globs)):
            raise InputError(f"matcher {name!r} is {globs!r}.", where=where, remedy="write a glob or a list of globs")


def matches(matchers: Mapping[str, Any], labels: Labels) -> bool:
    """Does every matcher find one of its globs among the labels? No matcher matches everything."""
    return all(
        any(fnmatchcase(value, glob) for glob in _globs(globs) for value in labels.get(name, ()))
        for name, globs in matchers.items()
    )


def _globs(globs: Any) -> Sequence[Any]:
    return globs if isinstance(globs, list | tuple) else [globs]


def wants(receiver: Receiver, labels: Labels, status: MessageStatus) -> bool:
    """Does the receiver want this alert? An exercise goes only to who asks for exercises by name, so it never pages staff."""
    if status is not MessageStatus.ACTUAL and status.value not in _globs(receiver.matchers.get("status", ())):
        return False
    return matches(receiver.matchers, labels)


def silence_for(silences: Sequence[Silence], labels: Labels, now: datetime) -> Silence | None:
    """Return what is in force and matches, out of service before silences, or None. One without matchers holds nothing."""
    found = [
        item for item in silences if item.matchers and item.starts_at <= now < item.ends_at and matches(item.matchers, labels)
    ]
    return min(found, key=lambda item: item.kind != OUT_OF_SERVICE, default=None)

"""The policy that holds notifications back, as data: inhibition, grouping, flapping, shelving, and how far a dry run looks back.

Evaluation is never held: an alert that is hidden is recorded like any other. This file finishes with `policy_in_force`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from importlib.resources import files
from typing import Any, Protocol

import yaml

from alerts.matching import LABELS, check_matchers
from alerts.rules.definition import COLOURS, Reader
from domain.alert import Level, level_of
from domain.alerting import StoredPolicy
from domain.errors import InputError

SECTIONS = ("inhibition", "grouping", "flapping", "shelving", "realarm", "budget")
LEAST_CHANGES = 2


@dataclass(frozen=True, slots=True)
class Inhibition:
    """Alerts that match `by` hide those that match `hides`, where every label in `equal` of the hidden one is one of the hiding one's."""

    code: str
    source: str
    by: Mapping[str, Any]
    hides: Mapping[str, Any]
    equal: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Grouping:
    """Alerts that match and agree in the labels `by` are told together from the `after`th on, at most once in `interval`.

    What is worse than `up_to` is told at once and by itself: a person has decided on it.
    """

    code: str
    source: str
    match: Mapping[str, Any]
    by: tuple[str, ...]
    after: int
    wait: timedelta
    interval: timedelta
    up_to: Level = Level.YELLOW


@dataclass(frozen=True, slots=True)
class Policy:
    """What holds notifications back; `changes` within `window` is flapping, nothing is shelved for longer than `longest`.

    What stands at `realarm_from` or worse and is not acted on for `realarm_after` is announced anew (None: never).
    """

    inhibition: tuple[Inhibition, ...]
    grouping: tuple[Grouping, ...]
    changes: int
    window: timedelta
    longest: timedelta
    budget_window: timedelta
    realarm_from: Level = Level.ORANGE
    realarm_after: timedelta | None = None


class PolicySource(Protocol):
    """Where the policy is kept."""

    def policy(self, version: int | None = None) -> StoredPolicy | None:
        """Return a version (newest by default), or None where the shipped policy holds."""


def parse_policy(content: Mapping[str, Any]) -> Policy:
    """Read a policy; a section that is left out is the shipped one.

    Raises
    ------
    InputError
        Naming the section and the field, with the remedy.
    """
    unknown = sorted(set(map(str, content)) - set(SECTIONS))
    if unknown:
        raise InputError(f"{unknown[0]} is not known.", where="policy", remedy=f"use {', '.join(SECTIONS)}")
    full = {**shipped_content(), **content}
    flapping, shelving, realarm, budget = (_reader(name, full[name]) for name in ("flapping", "shelving", "realarm", "budget"))
    policy = Policy(
        inhibition=tuple(map(_inhibition, _entries("inhibition", full["inhibition"]))),
        grouping=tuple(map(_grouping, _entries("grouping", full["grouping"]))),
        changes=_count(flapping, "changes"),
        window=flapping.duration("window"),
        longest=shelving.duration("longest"),
        budget_window=budget.duration("window"),
        realarm_from=level_of(realarm.text("from", default="orange", choices=COLOURS)),
        realarm_after=realarm.duration("after", default=timedelta()) or None,
    )
    for reader in (flapping, shelving, realarm, budget):
        reader.text("source")
        reader.finish()
    return policy


def _reader(name: str, content: Any) -> Reader:
    if not isinstance(content, Mapping):
        raise InputError(f"{name} is no mapping.", where="policy", remedy="compare with alerts/default_policy.yaml")
    return Reader(content, f"policy {name}")


def _entries(name: str, entries: Any) -> Iterator[Reader]:
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) and entry.get("code") for entry in entries):
        raise InputError(
            f"{name} is no list of entries with a code.", where="policy", remedy="compare with alerts/default_policy.yaml"
        )
    return (Reader(entry, f"policy {name} {entry['code']}") for entry in entries)


def _count(reader: Reader, name: str) -> int:
    value = reader.number(name, least=LEAST_CHANGES)
    if value != int(value):
        raise reader.wrong(name, f"is {value:g}.", "write a whole number")
    return int(value)


def _matchers(reader: Reader, name: str) -> Mapping[str, Any]:
    matchers = reader.mapping(name, LABELS)
    check_matchers(matchers, f"rule {reader.where}")
    return matchers


def _inhibition(reader: Reader) -> Inhibition:
    equal = reader.mapping("equal", LABELS)
    wrong = next((value for value in equal.values() if value not in LABELS), None)
    if wrong is not None:
        raise reader.wrong("equal", f"names the label {wrong!r}.", f"use {', '.join(LABELS)}")
    found = Inhibition(reader.text("code"), reader.text("source"), _matchers(reader, "by"), _matchers(reader, "hides"), equal)
    reader.finish()
    if not found.by or not found.hides:
        raise reader.wrong("by", "or hides matches everything.", "say which alerts hide which, e.g. {kind: silence}")
    return found


def _grouping(reader: Reader) -> Grouping:
    by = reader.names("by", default=())
    for label in by:
        if label not in LABELS:
            raise reader.wrong("by", f"names the label {label!r}.", f"use {', '.join(LABELS)}")
    found = Grouping(
        reader.text("code"), reader.text("source"), _matchers(reader, "match"), by, _count(reader, "after"),
        reader.duration("wait"), reader.duration("interval"),
        level_of(reader.text("up_to", default="yellow", choices=COLOURS)),
    )  # fmt: skip
    reader.finish()
    return found


@cache
def _shipped() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(files("alerts").joinpath("default_policy.yaml").read_text(encoding="utf-8"))
    return content


def shipped_content() -> dict[str, Any]:
    """Return the shipped policy as data, which the caller may change."""
    return deepcopy(_shipped())


@cache
def default_policy() -> Policy:
    """Return the shipped policy."""
    return parse_policy({})


def policy_in_force(source: PolicySource) -> Policy:
    """Return the newest stored policy, or the shipped one; a stored one that cannot be read is not put in force."""
    stored = source.policy()
    if stored is None:
        return default_policy()
    try:
        return parse_policy(stored.content)
    except InputError:
        return default_policy()


def group_key(grouping: Grouping, labels: Mapping[str, Sequence[str]]) -> str:
    """Return what tells one group from another."""
    return "|".join([grouping.code, *(f"{name}={','.join(labels.get(name, ()))}" for name in grouping.by)])

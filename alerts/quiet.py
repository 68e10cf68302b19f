"""Which rules have nothing to say of what came, told of all of them at once.

A rule that was quiet, whose new values all lie where it passes no limit and no clear limit, is quiet still: carrying it forward would give
the state that it has, but for the newest value and its time. So nothing is written for it until its state is a minute or two old; who
carries on from the older state reads the observations since, and comes to the same. This file finishes with `Quiet`.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

import numpy as np
import numpy.typing as npt

from alerts.doubts import patience
from alerts.ports import AlertObservations, AlertRegisters
from alerts.replay import limits_digest
from alerts.rules import RULES, definition_of
from domain.alert import Verdict
from domain.alerting import Rule, RuleKey, RuleState
from domain.model import Datastream, EventEffect, Station

WRITE_AFTER_S = 60.0
"""How old the state of a quiet rule may become, and as much again by chance, so that not all are written in one moment."""
MOST_UNWRITTEN = 500
"""Observations of a datastream that a stored state may lack."""
MOST_REMEMBERED = 400_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class QuietTask(Protocol):
    """One rule on one scope, and from when on its observations changed."""

    @property
    def rule(self) -> Rule:
        """The rule."""

    @property
    def station(self) -> Station:
        """Where it looks."""

    @property
    def datastream(self) -> Datastream:
        """What it looks at."""

    @property
    def changed_from(self) -> datetime:
        """The earliest time that changed."""

    @property
    def key(self) -> RuleKey:
        """Rule and scope."""


@dataclass(frozen=True, slots=True)
class _Gate:
    """Values strictly between `low` and `high`, in the datastream's unit, say nothing, where the stored limits have this digest."""

    low: float
    high: float
    limits: str
    patience_us: int


@dataclass(frozen=True, slots=True)
class _Memory:
    """What a stored state says of a rule that was quiet: up to when it has seen everything, and when it should be written again."""

    at_us: int
    due: datetime
    limits: str


class Quiet:
    """Finds the rules that are quiet still."""

    def __init__(self, observations: AlertObservations, registers: AlertRegisters) -> None:
        self._observations = observations
        self._registers = registers
        self._gates: dict[tuple[RuleKey, int], tuple[tuple[object, ...], _Gate | None]] = {}
        self._memories: dict[RuleKey, tuple[RuleState, _Memory | None]] = {}

    def still(self, tasks: Sequence[QuietTask], states: Mapping[RuleKey, RuleState], now: datetime) -> npt.NDArray[np.bool_]:
        """Say of each task whether its rule was quiet and is so still, and its state need not be written now."""
        still = np.zeros(len(tasks), dtype=np.bool_)
        found = [
            (row, task, gate, memory)
            for row, task in enumerate(tasks)
            if (memory := self._memory(task, states.get(task.key))) is not None
            and now < memory.due
            and (gate := self._gate(task)) is not None
            and gate.limits == memory.limits
            and _us(task.changed_from) > memory.at_us
        ]
        if not found:
            return still
        starts: dict[int, int] = {}
        for _, task, _, memory in found:
            identity = task.datastream.datastream_id or 0
            starts[identity] = min(starts.get(identity, memory.at_us), memory.at_us)
        extents = self._observations.extents_since({identity: _moment(at_us + 1) for identity, at_us in starts.items()})
        place = {identity: row for row, identity in enumerate(starts)}
        of = np.fromiter((place[task.datastream.datastream_id or 0] for _, task, *_ in found), dtype=np.intp, count=len(found))
        low, high, longest = np.array([(gate.low, gate.high, gate.patience_us) for _, _, gate, _ in found]).T
        calm = (extents.low[of] > low) & (extents.high[of] < high) & (extents.unusable[of] == 0)
        known = (extents.count[of] > 0) & (extents.count[of] <= MOST_UNWRITTEN)
        fresh = _us(now) - extents.newest_us[of] <= longest
        still[[row for row, *_ in found]] = calm & known & fresh
        return still

    def _memory(self, task: QuietTask, state: RuleState | None) -> _Memory | None:
        if state is None or state.rule_version != task.rule.version:
            return None
        known = self._memories.get(task.key)
        if known is not None and known[0] is state:
            return known[1]
        if len(self._memories) >= MOST_REMEMBERED:
            self._memories.clear()
        memory = _memory_of(state)
        self._memories[task.key] = (state, memory)
        return memory

    def _gate(self, task: QuietTask) -> _Gate | None:
        derivation = task.datastream.derivation
        source = None
        if derivation is not None and derivation.source_datastream_id is not None:
            source = self._registers.datastream_by_id(derivation.source_datastream_id)
        events = self._registers.events(task.station.code)
        if events and any(event.effect is EventEffect.EXCLUDE for event in events):
            return None
        inputs = (task.station, task.datastream, source)
        known = self._gates.get((task.key, task.rule.version))
        if known is not None and known[0] == inputs:
            return known[1]
        if len(self._gates) >= MOST_REMEMBERED:
            self._gates.clear()
        gate = _gate_of(task.rule, *inputs)
        self._gates[(task.key, task.rule.version)] = (inputs, gate)
        return gate


def _memory_of(state: RuleState) -> _Memory | None:
    """Read a state; None where the rule was not quiet, or could not tell."""
    memory = state.memory
    fold = memory.get("fold")
    if fold is None or "at" not in memory or memory.get("stale") or state.verdict is not Verdict.OK or state.reason:
        return None
    if fold.get("episode") or any(latch["since"] is not None for latch in fold.get("latches", ())):
        return None
    chance = zlib.crc32(f"{state.rule_code} {state.scope} {state.evaluated_at}".encode()) / 2**32
    due = state.evaluated_at + timedelta(seconds=WRITE_AFTER_S * (1.0 + chance))
    return _Memory(_us(datetime.fromisoformat(memory["at"])), due, memory.get("limits", ""))


def _gate_of(rule: Rule, station: Station, datastream: Datastream, source: Datastream | None) -> _Gate | None:
    """Return between which values a rule says nothing; None where that is not a matter of single values, or nobody confirmed them."""
    calm, definition = RULES[rule.kind].calm, definition_of(rule)
    if calm is None or not all(item is None or item.confirmed for item in (station, datastream, source)):
        return None
    span = calm(definition, datastream, source)
    if span is None:
        return None
    longest = patience(definition, datastream, source) // timedelta(microseconds=1)
    return _Gate(*span, limits_digest(definition.ladder), longest)


def _us(moment: datetime) -> int:
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _moment(us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=us)

"""Which rules have nothing to say of what came, told of all of them at once.

A rule that was quiet, whose new values all lie where it passes no limit and no clear limit, is quiet still: what carrying it forward would
give is the state that it has, with the newest value and its time. This file finishes with `Quiet`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

import numpy as np

from alerts.doubts import patience
from alerts.ports import AlertObservations, AlertRegisters
from alerts.replay import limits_digest, seen_since
from alerts.rules import RULES, definition_of
from alerts.rules.context import Calm
from alerts.times import Times
from domain.alert import Verdict
from domain.alerting import Rule, RuleKey, RuleState
from domain.model import Datastream, EventEffect, Station

MOST_REMEMBERED = 400_000
_OFF = {"since": None, "on": False, "sure": False, "clearing": None}
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
    """Where values say nothing, the digest of the limits that this rests on, and how old the newest may be."""

    calm: Calm
    limits: str
    patience_us: int


class Quiet:
    """Finds the rules that are quiet still."""

    def __init__(self, observations: AlertObservations, registers: AlertRegisters) -> None:
        self._observations = observations
        self._registers = registers
        self._gates: dict[tuple[RuleKey, int], tuple[tuple[object, ...], _Gate | None]] = {}

    def still(
        self, tasks: Sequence[QuietTask], states: Mapping[RuleKey, RuleState], times: Times, seq: int
    ) -> dict[RuleKey, RuleState]:
        """Return the new states of the rules that were quiet and are so still; `seq` is a ledger sequence that all is read after."""
        found = [
            (task, state, gate, at_us)
            for task in tasks
            if (state := states.get(task.key)) is not None
            and state.rule_version == task.rule.version
            and (at_us := _quiet_until(state)) is not None
            and _us(task.changed_from) > at_us
            and (gate := self._gate(task)) is not None
            and gate.limits == state.memory["limits"]
        ]
        if not found:
            return {}
        starts: dict[int, int] = {}
        for task, _, _, at_us in found:
            identity = task.datastream.datastream_id or 0
            starts[identity] = min(starts.get(identity, at_us), at_us)
        extents = self._observations.extents_since({identity: _moment(at_us + 1) for identity, at_us in starts.items()})
        place = {identity: row for row, identity in enumerate(starts)}
        of = np.fromiter((place[task.datastream.datastream_id or 0] for task, *_ in found), dtype=np.intp, count=len(found))
        low, high, longest = np.array([(gate.calm.low, gate.calm.high, gate.patience_us) for _, _, gate, _ in found]).T
        calm = (extents.low[of] > low) & (extents.high[of] < high) & (extents.unusable[of] == 0) & (extents.count[of] > 0)
        calm &= _us(times.as_of) - extents.newest_us[of] <= longest
        at = times.clock()  # after everything was read
        figures = np.stack([extents.first_us, extents.newest_us], axis=1).tolist()
        last = extents.last.tolist()
        return {
            found[row][0].key: self._state(*found[row], (*figures[n], last[n]), at, seq)
            for row, n in zip(np.flatnonzero(calm).tolist(), of[calm].tolist(), strict=True)
        }

    def _state(
        self,
        task: QuietTask,
        state: RuleState,
        gate: _Gate,
        at_us: int,
        newest: tuple[int, int, float],
        recorded: datetime,
        seq: int,
    ) -> RuleState:
        """Return the state with what is newest: first and last time (microseconds) and value of what came."""
        first_us, last_us, result = newest
        first = _moment(max(first_us, at_us + 1))  # another rule of the datastream may be further behind
        at = _moment(last_us)
        events = [event for event in self._registers.events(task.station.code) if event.datastream in (None, state.scope)]
        memory = {**state.memory, "at": at.isoformat(), "seen": seen_since(state.memory, first, events, seq)}
        return RuleState(
            rule_code=state.rule_code,
            scope=state.scope,
            rule_version=state.rule_version,
            verdict=state.verdict,
            level=state.level,
            evaluated_at=recorded,
            value=gate.calm.value_of(result, task.datastream),
            reason=state.reason,
            event_time=at,
            memory=memory,
        )

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


def _quiet_until(state: RuleState) -> int | None:
    """Return up to when a state has seen everything, in microseconds; None where its rule was not quiet, or could not tell."""
    memory = state.memory
    fold = memory.get("fold")
    if fold is None or "at" not in memory or memory.get("stale") or state.verdict is not Verdict.OK or state.reason:
        return None
    if fold.get("episode") or any(latch != _OFF for latch in fold.get("latches", ())):
        return None
    return _us(datetime.fromisoformat(memory["at"]))


def _gate_of(rule: Rule, station: Station, datastream: Datastream, source: Datastream | None) -> _Gate | None:
    """Return between which values a rule says nothing; None where that is not a matter of single values, or nobody confirmed them."""
    calm, definition = RULES[rule.kind].calm, definition_of(rule)
    if calm is None or not all(item is None or item.confirmed for item in (station, datastream, source)):
        return None
    found = calm(definition, datastream, source)
    if found is None:
        return None
    longest = patience(definition, datastream, source) // timedelta(microseconds=1)
    return _Gate(found, limits_digest(definition.ladder), longest)


def _us(moment: datetime) -> int:
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _moment(us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=us)

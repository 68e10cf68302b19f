"""Replays a rule over stored observations in event time.

Forward from the stored memory where only newer data came; over the whole record, pinned to one ledger sequence, where older data
changed or where an alert has to change, so that what is recorded is a function of history and can be recomputed. This file finishes
with `Replay`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Any

import numpy as np

from alerts.doubts import is_confirmed, newest_told, patience, unconfirmed_trace
from alerts.lifecycle import Episode, Folded, Trace, episode_from_json, fold
from alerts.ports import AlertObservations, AlertRegisters, RunReader
from alerts.rules import RULES, Context, Ladder, definition_of
from alerts.rules.context import Arrival, evaluation_of, instant_of, moment_of, rows_of
from domain.alert import Evaluation, Level, Verdict
from domain.alerting import Rule, RuleState
from domain.errors import NotFoundError
from domain.licence import Licence, Limit
from domain.model import Datastream, Station, StationEvent, StationKind
from domain.ports import SeriesData

MOST_LAYERS = 200
RECENT = timedelta(hours=1)
READ_TOGETHER = timedelta(days=1)
"""How old a change may be whose observations are read together with others': a year's file of each is too much at once."""
CAUSE_FIELDS = ("cause", "layer", "top_m", "bottom_m", "share", "head", "owner_zh", "owner_en", "source")
_MICROSECOND = timedelta(microseconds=1)
_FIRST = datetime(1000, 1, 1, tzinfo=UTC)
"""Before every observation."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a rule says about a scope.

    `trace` and `folded` are None for a rule that is not replayed; `pinned` is False where only the newest observations were read, so
    that no alert changes. `stale` is True where the newest usable observation is too old to open an alert; one that is open stays.
    """

    context: Context
    definition: Any
    ladder: Ladder
    evaluation: Evaluation
    read_seq: int
    trace: Trace | None = None
    folded: Folded | None = None
    pinned: bool = True
    stale: bool = False
    seen: Mapping[str, Any] | None = None

    def state(self, scope: str, at: datetime) -> RuleState:
        """Return the state to store, recorded at a time."""
        found = self.evaluation
        memory: dict[str, Any] = {}
        if self.folded is not None and self.trace is not None:
            memory = {"limits": limits_digest(self.ladder), "fold": self.folded.memory}
            if len(self.trace):
                memory["at"] = moment_of(self.trace.time[-1]).isoformat()
            if self.stale:
                memory["stale"] = True
            if self.seen is not None and len(self.trace):
                memory["seen"] = self.seen
        return RuleState(
            rule_code=self.context.rule.code,
            scope=scope,
            rule_version=self.context.rule.version,
            verdict=found.verdict,
            level=found.level,
            evaluated_at=at,
            value=found.value,
            reason=found.reason,
            event_time=found.at,
            memory=memory,
        )


def limits_digest(ladder: Ladder) -> str:
    """Return what tells one set of limits from another."""
    return _limits_digest(
        tuple(sorted((int(level), float(limit)) for level, limit in ladder.levels.items())), ladder.above, ladder.deadband
    )


@lru_cache(maxsize=10_000)
def _limits_digest(levels: tuple[tuple[int, float], ...], above: bool, deadband: float) -> str:
    return hashlib.sha256(f"{list(levels)} {above} {deadband}".encode()).hexdigest()[:16]


class Replay:
    """Builds contexts and replays rules."""

    def __init__(
        self, observations: AlertObservations, registers: AlertRegisters, runs: RunReader | None, zone: tzinfo = UTC
    ) -> None:
        self._observations = observations
        self._registers = registers
        self._runs = runs
        self._zone = zone

    def forward(
        self, rule: Rule, datastream: Datastream, station: Station, state: RuleState | None, changed_from: datetime, now: datetime,
        new: Mapping[int, SeriesData] | None = None, seen_seq: int | None = None,
    ) -> Found | None:  # fmt: skip
        """Carry on from the stored memory; None where the whole record has to be read, or where an alert would change."""
        at = _remembered(state, rule, changed_from)
        if state is None or at is None or state.memory.get("stale") or "findings" in RULES[rule.kind].needs:
            return None
        known = _from(new, datastream, at + _MICROSECOND)
        start = at + _MICROSECOND if "at" in state.memory else rule.effective_from
        context = self._context(rule, datastream, station, now, start=start, as_of=None, samples=known)
        definition = definition_of(rule)
        ladder = RULES[rule.kind].ladder(definition, context)
        if state.memory.get("limits") != limits_digest(ladder):
            return None
        trace = _trace(rule, definition, context)
        memory: Mapping[str, Any] = state.memory["fold"]
        folded = fold(trace, definition.policy, memory)
        before = episode_from_json(memory["episode"]) if memory.get("episode") else None
        if not len(trace) or not _unchanged(before, folded):
            return None
        evaluation = evaluation_of(trace, context, ladder, definition.unit)
        if _is_stale(trace, definition, context):
            return None
        seen = None if seen_seq is None else seen_since(state.memory, moment_of(trace.time[0]), context.events, seen_seq)
        found = Found(context, definition, ladder, evaluation, 0, trace, folded, pinned=False, seen=seen)
        blinded = (found.evaluation.verdict is Verdict.CANNOT_TELL) != (state.verdict is Verdict.CANNOT_TELL)
        return None if before is not None and blinded else found

    def not_judged(self, tasks: Sequence[tuple[Rule, Datastream, RuleState | None, datetime]]) -> list[datetime | None]:
        """Return from when on each task has something to judge: an earlier one may have read a change before its turn came.

        Where the change lies in the stretch that was carried forward lately and the events are the same, that is from where on batches
        have come since; None = none has.
        """
        maybe: dict[int, int] = {}
        for rule, datastream, state, changed_from in tasks:
            seen = self._seen_of(rule, datastream, state, changed_from)
            if seen is not None and datastream.datastream_id is not None:
                maybe[datastream.datastream_id] = min(int(seen["seq"]), maybe.get(datastream.datastream_id, int(seen["seq"])))
        changed = self._observations.changed_after(maybe)
        return [
            changed.get(datastream.datastream_id or 0)
            if self._seen_of(rule, datastream, state, changed_from) is not None
            else changed_from
            for rule, datastream, state, changed_from in tasks
        ]

    def _seen_of(
        self, rule: Rule, datastream: Datastream, state: RuleState | None, changed_from: datetime
    ) -> Mapping[str, Any] | None:
        if state is None or state.rule_version != rule.version or RULES[rule.kind].needs or RULES[rule.kind].watched is not None:
            return None
        seen: Mapping[str, Any] | None = state.memory.get("seen")
        if seen is None or not datetime.fromisoformat(seen["since"]) <= changed_from <= datetime.fromisoformat(
            state.memory["at"]
        ):
            return None
        return seen if seen["events"] == _events_digest(self._registers.events(datastream.station)) else None

    def new_samples(
        self, tasks: Sequence[tuple[Rule, Datastream, RuleState | None, datetime]], now: datetime
    ) -> Mapping[int, SeriesData]:
        """Read together what is newer than what rules remember, where it is of late: what may be long is read one after the other."""
        starts: dict[int, datetime] = {}
        for rule, datastream, state, changed_from in tasks:
            at = _remembered(state, rule, changed_from)
            if at is None or datastream.datastream_id is None or "findings" in RULES[rule.kind].needs:
                continue
            if now - changed_from > READ_TOGETHER:
                continue
            earliest = starts.get(datastream.datastream_id)
            starts[datastream.datastream_id] = at + _MICROSECOND if earliest is None else min(earliest, at + _MICROSECOND)
        return self._observations.series_since(starts) if len(starts) > 1 else {}

    def whole(
        self, rule: Rule, datastream: Datastream, station: Station, now: datetime, read_seq: int, *, confirmed: bool | None = None,
        licences: Sequence[Licence] | None = None, limits: Sequence[Limit] | None = None,
    ) -> Found:  # fmt: skip
        """Replay the whole record as known at `read_seq`.

        `confirmed`, `licences` and `limits` stand for what the registers said when that was recorded.
        """
        context = self._context(rule, datastream, station, now, start=rule.effective_from, as_of=read_seq)
        if licences is not None:
            context = replace(context, licences=licences)
        if limits is not None:
            context = replace(context, limits=limits)
        if confirmed is not None:
            context = _confirmed(context, confirmed)
        definition = definition_of(rule)
        ladder = RULES[rule.kind].ladder(definition, context)
        trace = _trace(rule, definition, context)
        evaluation, stale = evaluation_of(trace, context, ladder, definition.unit), _is_stale(trace, definition, context)
        if stale:
            evaluation = outdated(evaluation)
        folded, seen = fold(trace, definition.policy), None if stale else _seen_whole(trace, context, read_seq)
        return Found(context, definition, ladder, evaluation, read_seq, trace, folded, stale=stale, seen=seen)

    def since(self, rule: Rule, datastream: Datastream, station: Station, start: datetime, now: datetime) -> tuple[Trace, Ladder]:
        """Return what a traced rule says of everything from `start` on as it is stored now, and its limits; nothing is folded."""
        begin = None if "findings" in RULES[rule.kind].needs else start
        context = self._context(rule, datastream, station, now, start=begin, as_of=None)
        definition = definition_of(rule)
        return _trace(rule, definition, context), RULES[rule.kind].ladder(definition, context)

    def newest_run(self, rule: Rule, datastream: Datastream, station: Station, now: datetime, read_seq: int) -> Found:
        """Judge a rule that looks at the newest run of an analytic."""
        source = self.source_of(datastream) or datastream
        runs = {} if self._runs is None or source.datastream_id is None else self._runs.latest_runs(source.datastream_id)
        results = {name: run.result for name, run in runs.items()}
        context = Context(
            rule, now, station, datastream, source=source, runs=results, limits=self._registers.limits(source, station)
        )
        found = self.judged(context, read_seq)
        heard = self._registers.datastream_statuses([source.datastream_id]) if source.datastream_id is not None else {}
        last = next((status.last_time for status in heard.values()), None)
        if last is not None and now - last > patience(found.definition, datastream, source):
            return replace(found, evaluation=outdated(found.evaluation), stale=True)
        if not is_confirmed(context) and found.evaluation.verdict is Verdict.BREACH:
            doubtful = replace(found.evaluation, verdict=Verdict.CANNOT_TELL, level=Level.NONE, reason="unconfirmed")
            return replace(found, evaluation=doubtful)
        return found

    def arrivals(self, rule: Rule, station: Station, arrivals: Sequence[Arrival], now: datetime, read_seq: int) -> Found:
        """Judge a rule that looks at the clock."""
        return self.judged(Context(rule, now, station, arrivals=arrivals), read_seq)

    def judged(self, context: Context, read_seq: int) -> Found:
        """Judge a rule without a trace."""
        definition = definition_of(context.rule)
        return Found(context, definition, definition.ladder, RULES[context.rule.kind].evaluate(definition, context), read_seq)

    def judged_exercise(
        self, rule: Rule, station: Station, datastream: Datastream, level: Level, now: datetime, read_seq: int
    ) -> Found:
        """Return what a rule would say in an exercise at a level, without looking at any observation."""
        definition = definition_of(rule)
        limit = definition.ladder.levels.get(level)
        evaluation = Evaluation(Verdict.BREACH, level, now, unit=definition.unit, limit=limit, reason="exercise")
        return Found(Context(rule, now, station, datastream), definition, definition.ladder, evaluation, read_seq)

    def datastream(self, code: str) -> Datastream:
        """Return a datastream; NotFoundError."""
        found = self._registers.datastream(code)
        if found is None:
            raise NotFoundError(f"there is no datastream {code}.", remedy="list the datastreams")
        return found

    def source_of(self, datastream: Datastream | None) -> Datastream | None:
        """Return what a derived datastream is derived from, None for an observed one."""
        derivation = datastream.derivation if datastream is not None else None
        if derivation is None or derivation.source_datastream_id is None:
            return None
        return self._registers.datastream_by_id(derivation.source_datastream_id)

    def _context(
        self, rule: Rule, datastream: Datastream, station: Station, now: datetime, *, start: datetime | None, as_of: int | None,
        samples: SeriesData | None = None,
    ) -> Context:  # fmt: skip
        if datastream.datastream_id is None:
            raise ValueError("a datastream that is not stored has no observations")
        return Context(
            rule=rule,
            now=now,
            station=station,
            datastream=datastream,
            samples=samples or self._observations.series(datastream.datastream_id, start, None, as_of=as_of),
            source=self.source_of(datastream),
            series=lambda identity, begin, end: self._observations.series(identity, begin, end, as_of=as_of),
            limits=self._registers.dated_limits(datastream, station),
            events=[event for event in self._registers.events(station.code) if event.datastream in (None, datastream.code)],
            start=start,
            zone=self._zone,
            lookup=self._registers.datastream,
            cause=lambda: self._cause(station, as_of),
            **self._needed(RULES[rule.kind].needs, datastream.datastream_id, station, as_of),
        )

    def _cause(self, station: Station, as_of: int | None) -> Mapping[str, Any] | None:
        """Return to what the layers of a group attribute its motion, and whose that is by the configured duties; None = unsaid."""
        if self._runs is None or station.kind is not StationKind.EXTENSOMETER_GROUP:
            return None
        for datastream in self._registers.list_datastreams(station=station.code, limit=MOST_LAYERS):
            for run in self._runs.runs_as_of(datastream.datastream_id or 0, as_of):
                found = run.result.get("attribution")
                if isinstance(found, Mapping):
                    return {name: found.get(name) for name in CAUSE_FIELDS}
        return None

    def _needed(self, needs: Collection[str], datastream_id: int, station: Station, as_of: int | None) -> dict[str, Any]:
        """Read what only some kinds look at."""
        found: dict[str, Any] = {}
        if "licences" in needs:
            found["licences"] = self._registers.licences(station.code)
        if "findings" in needs and self._runs is not None:
            found["analyses"] = self._runs.runs_as_of(datastream_id, as_of)
            found["findings"] = self._runs.findings_as_of(datastream_id, as_of)
        return found


def seen_since(memory: Mapping[str, Any], first: datetime, events: Sequence[StationEvent], seq: int) -> Mapping[str, Any]:
    """Return from when on, and up to which ledger sequence, everything has been judged by carrying forward from `first`."""
    before = memory.get("seen") or {}
    since = datetime.fromisoformat(before["since"]) if before else first
    recent = first - since < RECENT
    return {"since": (since if recent else first).isoformat(), "seq": seq, "events": _events_digest(events)}


def _seen_whole(trace: Trace, context: Context, seq: int) -> Mapping[str, Any] | None:
    """Return the same for a record that was read whole: of late, and without its first observation.

    Whoever asks for the whole record again, because something else than observations changed, names its beginning and is not put off.
    """
    if len(trace) == 0:
        return None
    since = max(moment_of(trace.time[0]) + _MICROSECOND, moment_of(trace.time[-1]) - RECENT)
    return {"since": since.isoformat(), "seq": seq, "events": _events_digest(context.events)}


def _events_digest(events: Sequence[StationEvent]) -> str:
    said = sorted((event.event_id or 0, event.effect.value, event.start, event.end or event.start) for event in events)
    return hashlib.sha256(repr(said).encode()).hexdigest()[:16] if said else ""


def _from(new: Mapping[int, SeriesData] | None, datastream: Datastream, start: datetime) -> SeriesData | None:
    """Return the part from `start` on of what was read together, or None where it was not."""
    series = None if new is None or datastream.datastream_id is None else new.get(datastream.datastream_id)
    if series is None:
        return None
    return rows_of(series, slice(int(np.searchsorted(series.time, instant_of(start), side="left")), None))


def _trace(rule: Rule, definition: Any, context: Context) -> Trace:
    make = RULES[rule.kind].trace
    if make is None:
        raise TypeError(f"a rule of kind {rule.kind} is not replayed")
    trace = make(definition, context)
    return trace if is_confirmed(context) else unconfirmed_trace(trace)


def outdated(evaluation: Evaluation) -> Evaluation:
    """Return the verdict on an observation that is too old to speak of the present."""
    return replace(evaluation, verdict=Verdict.CANNOT_TELL, level=Level.NONE, limit=None, reason="stale")


def _is_stale(trace: Trace, definition: Any, context: Context) -> bool:
    told = newest_told(trace)
    if told is None or context.datastream is None:
        return False
    return context.now - told > patience(definition, context.datastream, context.source)


def _confirmed(context: Context, confirmed: bool) -> Context:
    source = context.source and replace(context.source, confirmed=True)
    datastream = context.datastream and replace(context.datastream, confirmed=confirmed)
    return replace(context, station=replace(context.station, confirmed=True), source=source, datastream=datastream)


def _remembered(state: RuleState | None, rule: Rule, changed_from: datetime) -> datetime | None:
    """Return up to when the memory has seen everything, or None where it is of no use.

    A memory that saw no observation has seen everything before the rule was in force.
    """
    if state is None or state.rule_version != rule.version or "fold" not in state.memory:
        return None
    at = datetime.fromisoformat(state.memory["at"]) if "at" in state.memory else (rule.effective_from or _FIRST) - _MICROSECOND
    return at if changed_from > at else None


def _unchanged(before: Episode | None, folded: Folded) -> bool:
    if any(episode.was_issued for episode in folded.closed):
        return False
    if before is None or folded.open is None:
        return before is None and folded.open is None
    return folded.open.same_as(before)

"""Which alerts a rule would have made over history: replayed over the stored record with the very code that judges live.

Silence is counted from gaps between phenomenon times, a time to a limit from the newest forecast alone. This file finishes with `replayed`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, tzinfo

import numpy as np

from alerts.alarm_quality import Targets
from alerts.lifecycle import Episode
from alerts.policy import Policy
from alerts.ports import AlertRegisters
from alerts.replay import Found, Replay
from alerts.rules import RULES, definition_of, is_traced
from alerts.rules.context import moment_of
from alerts.rules.finding_trace import members_of, relevant
from domain.alert import Level, Verdict
from domain.alerting import Receiver, Rule, Silence
from domain.model import Datastream, Station
from domain.ports import ObservationReader

PAGE = 1000
_RISES = frozenset({"fired", "raised"})


@dataclass(frozen=True, slots=True)
class WouldFire:
    """One episode that the rule would have made an alert of.

    `fired` is when it had held for long enough; `changes` are the times at which people would have been told of another level, `members` the
    stations that share the finding it is about.
    """

    scope: str
    station: str
    datastream: str | None
    onset: datetime
    fired: datetime
    ended: datetime | None
    level: Level
    waits_for_person: bool
    changes: tuple[tuple[datetime, Level], ...] = ()
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bench:
    """What a dry run reads.

    `others` are the rules that are switched on, `policy` what would hold messages back, and `silences` every silence, maintenance window
    and stretch out of service that there was, each with when it ended.
    """

    observations: ObservationReader
    registers: AlertRegisters
    replay: Replay
    receivers: Sequence[Receiver]
    targets: Targets
    zone: tzinfo
    read_seq: int
    policy: Policy
    others: Sequence[Rule] = ()
    silences: Sequence[Silence] = ()


@dataclass(slots=True)
class Seen:
    """What a rule would have said: episodes whose onset lies in the span, scopes that cannot be told, and what each scope is."""

    rule: Rule
    scopes: int = 0
    episodes: list[WouldFire] = field(default_factory=list)
    unknown: list[tuple[str, str]] = field(default_factory=list)
    places: dict[str, tuple[Station, Datastream | None]] = field(default_factory=dict)


def replayed(rules: Iterable[Rule], bench: Bench, start: datetime, end: datetime, now: datetime) -> list[Seen]:
    """Replay rules over every scope that they are about; episodes begin in [start, end)."""
    seen = [Seen(rule) for rule in rules]
    for datastream, station in _scopes(bench.registers):
        for one in seen:
            if not definition_of(one.rule).scope.admits(datastream, station):
                continue
            one.scopes += 1
            for item in _judge(one.rule, datastream, station, bench, now, one):
                if start <= item.onset < end:
                    one.episodes.append(item)
                    one.places[item.scope] = (station, None if RULES[one.rule.kind].by_clock else datastream)
    for one in seen:
        one.episodes = _joined(one.episodes) if RULES[one.rule.kind].by_clock else one.episodes
        one.episodes.sort(key=lambda item: (item.onset, item.scope))
    return seen


def _joined(episodes: Sequence[WouldFire]) -> list[WouldFire]:
    """Return gaps of several datastreams of one station that overlap as one: it is one alert."""
    joined: list[WouldFire] = []
    for item in sorted(episodes, key=lambda each: (each.scope, each.onset)):
        last = joined[-1] if joined else None
        if last is None or last.scope != item.scope or (last.ended is not None and last.ended < item.onset):
            joined.append(item)
            continue
        ended = None if last.ended is None or item.ended is None else max(last.ended, item.ended)
        joined[-1] = replace(last, ended=ended, level=max(last.level, item.level), changes=_merged(last.changes, item.changes))
    return joined


def _merged(
    one: tuple[tuple[datetime, Level], ...], other: tuple[tuple[datetime, Level], ...]
) -> tuple[tuple[datetime, Level], ...]:
    """Return the changes that make it worse, in order."""
    worst, kept = Level.NONE, []
    for at, level in sorted((*one, *other)):
        if level > worst:
            worst = level
            kept.append((at, level))
    return tuple(kept)


def _scopes(registers: AlertRegisters) -> Iterator[tuple[Datastream, Station]]:
    after: str | None = None
    while page := registers.list_datastreams(after=after, limit=PAGE):
        for datastream in page:
            station = registers.station(datastream.station)
            if station is not None and datastream.datastream_id is not None:
                yield datastream, station
        after = page[-1].code


def _judge(rule: Rule, datastream: Datastream, station: Station, bench: Bench, now: datetime, seen: Seen) -> Iterator[WouldFire]:
    if RULES[rule.kind].by_clock:
        yield from _gaps(rule, datastream, station, bench, now, seen)
        return
    if not is_traced(rule):
        judged = bench.replay.newest_run(rule, datastream, station, now, bench.read_seq).evaluation
        if judged.verdict is Verdict.CANNOT_TELL:
            seen.unknown.append((datastream.code, judged.reason))
        if judged.verdict is Verdict.BREACH:
            told = ((judged.at, judged.level),)
            yield WouldFire(datastream.code, station.code, datastream.code, judged.at, judged.at, None, judged.level, False, told)
        return
    found = bench.replay.whole(rule, datastream, station, now, bench.read_seq)
    if found.evaluation.verdict is Verdict.CANNOT_TELL:
        seen.unknown.append((datastream.code, found.evaluation.reason))
    for episode in found.folded.episodes if found.folded is not None else ():
        if episode.was_issued:
            yield _would(datastream, episode, _members(found, episode))


def _members(found: Found, episode: Episode) -> tuple[str, ...]:
    """Return the stations that share a finding which stood while the episode lasted."""
    if not found.context.findings:
        return ()
    standing = [
        item
        for item in relevant(found.definition, found.context)
        if item.start <= (episode.ended or found.context.now)
        and (item.end or item.start) + found.definition.lasts >= episode.onset
    ]
    return tuple(sorted({code.partition(":")[0] for item in standing for code in members_of(item)}))


def _would(datastream: Datastream, episode: Episode, members: tuple[str, ...]) -> WouldFire:
    fired = next((step.at for step in episode.steps if step.kind == "fired"), episode.onset)
    worst = max(episode.peak, episode.peak_held)
    changes = tuple((step.at, step.level) for step in episode.steps if step.kind in _RISES or step.kind == "lowered")
    return WouldFire(
        datastream.code, datastream.station, datastream.code, episode.onset, fired, episode.ended, worst, episode.peak < worst,
        changes or ((fired, worst),), members,
    )  # fmt: skip


def _gaps(rule: Rule, datastream: Datastream, station: Station, bench: Bench, now: datetime, seen: Seen) -> Iterator[WouldFire]:
    """Give the gaps of a datastream that the rule would have called silence."""
    definition = definition_of(rule)
    interval = definition.expected or (timedelta(seconds=datastream.interval_s) if datastream.interval_s else None)
    times = bench.observations.series(datastream.datastream_id or 0, None, now, as_of=bench.read_seq).time
    if interval is None or not len(times) or not (station.confirmed and datastream.confirmed):
        seen.unknown.append((datastream.code, "no_interval_or_no_observation" if station.confirmed else "unconfirmed"))
        return
    moments = np.append(times, np.datetime64(round(now.timestamp() * 1e6), "us"))
    mildest = min(definition.ladder.levels.values())
    least = definition.grace + mildest * interval
    wide = np.flatnonzero(np.diff(moments) >= np.timedelta64(round(least.total_seconds() * 1e6), "us"))
    for row in wide:
        last, came = moment_of(moments[row]), moment_of(moments[row + 1])
        factor = (came - last - definition.grace) / interval
        passed = sorted((limit, level) for level, limit in definition.ladder.levels.items() if factor >= limit)
        changes = tuple((last + definition.grace + limit * interval, level) for limit, level in passed)
        onset, ended = last + least, came if row + 1 < len(times) else None
        yield WouldFire(station.code, station.code, None, onset, onset, ended, passed[-1][1], False, changes)

"""What a rule would have done over history, before it is switched on: where, when, how often, and for whom that would be too much.

The rule is replayed over the stored record with the very code that judges live; silence is counted from gaps between phenomenon times, and
a time to a limit from the newest forecast alone, which the answer says. This file finishes with `as_json`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from typing import Any

import numpy as np

from alerts.alarm_quality import Targets
from alerts.lifecycle import Episode
from alerts.matching import labels_for, wants
from alerts.ports import AlertRegisters
from alerts.replay import Replay
from alerts.rules import RULES, definition_of, is_traced
from alerts.rules.context import moment_of
from domain.alert import Level, MessageStatus, Verdict
from domain.alerting import Receiver, Rule
from domain.errors import InputError
from domain.model import Datastream, Station
from domain.ports import ObservationReader

PAGE = 1000
MOST_SHOWN = 1000
TEN_MINUTES = np.timedelta64(10, "m")


@dataclass(frozen=True, slots=True)
class WouldFire:
    """One episode that the rule would have made an alert of; `fired` is when it had held for long enough."""

    scope: str
    station: str
    datastream: str | None
    onset: datetime
    fired: datetime
    ended: datetime | None
    level: Level
    waits_for_person: bool


@dataclass(frozen=True, slots=True)
class Load:
    """What one receiver would have been told; `over` names each target that would have been missed."""

    receiver: str
    alerts: int
    mean_per_day: float
    worst_day: str | None
    worst_day_alerts: int
    worst_10_min: int
    over: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Compared:
    """How the episodes differ from those of another version."""

    version: int
    added: tuple[WouldFire, ...]
    removed: tuple[WouldFire, ...]
    changed: tuple[tuple[WouldFire, WouldFire], ...]
    kept: int


@dataclass(frozen=True, slots=True)
class DryRun:
    """The answer of a dry run over [start, end); `cannot_tell` are scopes that could not be judged at the end, with the reason."""

    rule: Rule
    start: datetime
    end: datetime
    scopes: int
    episodes: tuple[WouldFire, ...]
    cannot_tell: tuple[tuple[str, str], ...]
    loads: tuple[Load, ...]
    note: str = ""
    compared: Compared | None = None

    @property
    def is_over_budget(self) -> bool:
        """Would any receiver have been told more than the targets allow?"""
        return any(load.over for load in self.loads)


@dataclass(frozen=True, slots=True)
class Bench:
    """What a dry run reads."""

    observations: ObservationReader
    registers: AlertRegisters
    replay: Replay
    receivers: Sequence[Receiver]
    targets: Targets
    zone: tzinfo
    read_seq: int


@dataclass(slots=True)
class _Seen:
    scopes: int = 0
    episodes: list[WouldFire] = field(default_factory=list)
    unknown: list[tuple[str, str]] = field(default_factory=list)
    places: dict[str, tuple[Station, Datastream | None]] = field(default_factory=dict)


def dry_run(rule: Rule, bench: Bench, start: datetime, end: datetime, now: datetime, *, against: Rule | None = None) -> DryRun:
    """Replay a rule over the stored record.

    Parameters
    ----------
    rule
        A rule that `parse_rule` has read; it need not be stored.
    start, end
        Onsets counted, inclusive and exclusive; `end` may not lie after `now`.
    against
        Another version, whose episodes are compared.

    Raises
    ------
    InputError
        Where the span is empty.
    """
    if not start < end:
        raise InputError("the span is empty.", where="from", remedy="choose a beginning before the end")
    seen = _replayed(rule, bench, start, end, now)
    episodes = tuple(sorted(seen.episodes, key=lambda item: (item.onset, item.scope)))
    return DryRun(
        rule=rule,
        start=start,
        end=end,
        scopes=seen.scopes,
        episodes=episodes,
        cannot_tell=tuple(sorted(seen.unknown)),
        loads=_loads(rule, episodes, seen.places, bench, start, end),
        note=_note(rule),
        compared=None
        if against is None
        else _compare(episodes, _replayed(against, bench, start, end, now).episodes, against.version),
    )


def _note(rule: Rule) -> str:
    if RULES[rule.kind].by_clock:
        return "counted from gaps between phenomenon times"
    return "" if is_traced(rule) else "the newest forecast alone"


def _replayed(rule: Rule, bench: Bench, start: datetime, end: datetime, now: datetime) -> _Seen:
    seen, definition = _Seen(), definition_of(rule)
    for datastream, station in _scopes(bench.registers):
        if not definition.scope.admits(datastream, station):
            continue
        seen.scopes += 1
        found = list(_judge(rule, datastream, station, bench, now, seen))
        for item in found:
            if start <= item.onset < end:
                seen.episodes.append(item)
                seen.places[item.scope] = (station, None if RULES[rule.kind].by_clock else datastream)
    return seen


def _scopes(registers: AlertRegisters) -> Iterator[tuple[Datastream, Station]]:
    after: str | None = None
    while page := registers.list_datastreams(after=after, limit=PAGE):
        for datastream in page:
            station = registers.station(datastream.station)
            if station is not None and datastream.datastream_id is not None:
                yield datastream, station
        after = page[-1].code


def _judge(rule: Rule, datastream: Datastream, station: Station, bench: Bench, now: datetime, seen: _Seen) -> Iterator[WouldFire]:
    if RULES[rule.kind].by_clock:
        yield from _gaps(rule, datastream, station, bench, now, seen)
        return
    if not is_traced(rule):
        judged = bench.replay.newest_run(rule, datastream, station, now, bench.read_seq).evaluation
        if judged.verdict is Verdict.CANNOT_TELL:
            seen.unknown.append((datastream.code, judged.reason))
        if judged.verdict is Verdict.BREACH:
            yield WouldFire(datastream.code, station.code, datastream.code, judged.at, judged.at, None, judged.level, False)
        return
    found = bench.replay.whole(rule, datastream, station, now, bench.read_seq)
    if found.evaluation.verdict is Verdict.CANNOT_TELL:
        seen.unknown.append((datastream.code, found.evaluation.reason))
    for episode in found.folded.episodes if found.folded is not None else ():
        if episode.was_issued:
            yield _would(datastream.code, station.code, datastream.code, episode)


def _would(scope: str, station: str, datastream: str | None, episode: Episode) -> WouldFire:
    fired = next((step.at for step in episode.steps if step.kind == "fired"), episode.onset)
    worst = max(episode.peak, episode.peak_held)
    return WouldFire(scope, station, datastream, episode.onset, fired, episode.ended, worst, episode.peak < worst)


def _gaps(rule: Rule, datastream: Datastream, station: Station, bench: Bench, now: datetime, seen: _Seen) -> Iterator[WouldFire]:
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
        level = max(level for level, limit in definition.ladder.levels.items() if factor >= limit)
        onset = last + least
        yield WouldFire(station.code, station.code, None, onset, onset, came if row + 1 < len(times) else None, level, False)


def _loads(
    rule: Rule,
    episodes: Sequence[WouldFire],
    places: Mapping[str, tuple[Station, Datastream | None]],
    bench: Bench,
    start: datetime,
    end: datetime,
) -> tuple[Load, ...]:
    status = MessageStatus(definition_of(rule).status)
    instrument = RULES[rule.kind].instrument
    loads = []
    for receiver in bench.receivers:
        if receiver.outside and instrument:
            continue
        mine = [
            item
            for item in episodes
            if item.level >= receiver.min_level
            and wants(receiver, labels_for(rule, item.scope, item.level, status, *places[item.scope]), status)
        ]
        loads.append(_load(receiver.code, mine, bench, (end - start) / timedelta(days=1)))
    return tuple(loads)


def _load(receiver: str, episodes: Sequence[WouldFire], bench: Bench, days: float) -> Load:
    by_day = Counter(item.fired.astimezone(bench.zone).date().isoformat() for item in episodes)
    day, most = max(by_day.items(), key=lambda pair: (pair[1], pair[0]), default=(None, 0))
    times = np.sort(np.array([round(item.fired.timestamp() * 1e6) for item in episodes], dtype="datetime64[us]"))
    burst = int((np.searchsorted(times, times + TEN_MINUTES, side="left") - np.arange(len(times))).max()) if len(times) else 0
    mean, targets = len(episodes) / max(days, 1.0), bench.targets
    over = []
    if mean > targets.per_day_acceptable:
        over.append(f"{mean:.1f} a day, acceptable are {targets.per_day_acceptable:g}")
    if most > targets.per_day_maximum:
        over.append(f"{most} on {day}, at most {targets.per_day_maximum:g}")
    return Load(receiver, len(episodes), mean, day, most, burst, tuple(over))


def _compare(new: Sequence[WouldFire], old: Sequence[WouldFire], version: int) -> Compared:
    """Match episodes of one scope that overlap; what is left on either side was added or removed."""
    left = list(old)
    added, changed, kept = [], [], 0
    for item in new:
        same = next((other for other in left if other.scope == item.scope and _overlap(item, other)), None)
        if same is None:
            added.append(item)
            continue
        left.remove(same)
        if (same.onset, same.ended, same.level) == (item.onset, item.ended, item.level):
            kept += 1
        else:
            changed.append((same, item))
    return Compared(version, tuple(added), tuple(left), tuple(changed), kept)


def _overlap(one: WouldFire, other: WouldFire) -> bool:
    return (one.ended is None or other.onset <= one.ended) and (other.ended is None or one.onset <= other.ended)


def as_json(answer: DryRun, targets: Targets) -> dict[str, Any]:
    """Return the answer as plain JSON, with one sentence that says it in Chinese and English."""
    levels = Counter(item.level.word for item in answer.episodes)
    places = len({item.scope for item in answer.episodes})
    n, start, end = len(answer.episodes), answer.start.date().isoformat(), answer.end.date().isoformat()
    body: dict[str, Any] = {
        "ok": not answer.is_over_budget,
        "rule": answer.rule.code,
        "from": answer.start.isoformat(),
        "to": answer.end.isoformat(),
        "scopes": answer.scopes,
        "alerts": n,
        "by_level": dict(levels),
        "summary": {
            "zh": f"{start} 至 {end}：{answer.scopes} 个数据流中 {places} 处共触发 {n} 次",
            "en": f"{start} to {end}: would have fired {n} times at {places} of {answer.scopes} datastreams",
        },
        "note": answer.note,
        "episodes": [_episode_json(item) for item in answer.episodes[:MOST_SHOWN]],
        "cannot_tell": [{"scope": scope, "reason": reason} for scope, reason in answer.cannot_tell[:MOST_SHOWN]],
        "cannot_tell_total": len(answer.cannot_tell),
        "receivers": [
            {
                "receiver": load.receiver,
                "alerts": load.alerts,
                "mean_per_day": round(load.mean_per_day, 4),
                "worst_day": load.worst_day,
                "worst_day_alerts": load.worst_day_alerts,
                "worst_10_min": load.worst_10_min,
                "over": list(load.over),
            }
            for load in answer.loads
        ],
        "budget": {
            "source": targets.source,
            "per_day_acceptable": targets.per_day_acceptable,
            "per_day_maximum": targets.per_day_maximum,
            "over": answer.is_over_budget,
        },
    }
    if answer.compared is not None:
        body["compared"] = {
            "version": answer.compared.version,
            "kept": answer.compared.kept,
            "added": [_episode_json(item) for item in answer.compared.added[:MOST_SHOWN]],
            "removed": [_episode_json(item) for item in answer.compared.removed[:MOST_SHOWN]],
            "changed": [
                {"before": _episode_json(old), "after": _episode_json(new)} for old, new in answer.compared.changed[:MOST_SHOWN]
            ],
        }
    return body


def _episode_json(item: WouldFire) -> dict[str, Any]:
    return {
        "scope": item.scope,
        "station": item.station,
        "datastream": item.datastream,
        "onset": item.onset.isoformat(),
        "fired": item.fired.isoformat(),
        "ended": item.ended.isoformat() if item.ended else None,
        "level": item.level.word,
        "waits_for_person": item.waits_for_person,
    }

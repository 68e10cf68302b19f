"""What a rule would have done over history, before it is switched on: where, when, how often, and for whom that would be too much.

What people would be told is judged of the whole set: the rules that are switched on and the tried one together, with routes, grouping,
inhibition and flapping as they would be. This file finishes with `as_json`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from alerts.alarm_quality import Targets
from alerts.announcing import Tally, announced
from alerts.rules import RULES, is_traced
from alerts.would_fire import Bench, Seen, WouldFire, replayed
from domain.alerting import Receiver, Rule
from domain.errors import InputError

MOST_SHOWN = 1000
TEN_MINUTES = np.timedelta64(10, "m")


@dataclass(frozen=True, slots=True)
class Load:
    """What one receiver would have been told by all rules that are on, the tried one among them.

    `alerts` are announcements, `of_rule` those that tell of the tried rule, `before` those without it; `held` counts what routes and
    policy held back, by reason; `over` names each target that would be missed by more than without the rule.
    """

    receiver: str
    alerts: int
    of_rule: int
    before: int
    mean_per_day: float
    worst_day: str | None
    worst_day_alerts: int
    worst_10_min: int
    held: Mapping[str, int]
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
    rules: int = 1

    @property
    def is_over_budget(self) -> bool:
        """Would any receiver have been told more than the targets allow?"""
        return any(load.over for load in self.loads)


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
    mine, old = replayed([rule, *([] if against is None else [against])], bench, start, end, now), None
    seen = mine[0]
    if against is not None:
        old = _compare(seen.episodes, mine[1].episodes, against.version)
    return DryRun(
        rule=rule,
        start=start,
        end=end,
        scopes=seen.scopes,
        episodes=tuple(seen.episodes),
        cannot_tell=tuple(sorted(seen.unknown)),
        loads=_loads(seen, bench, start, end, now),
        note=_note(rule),
        compared=old,
        rules=1 + len(_others(rule, bench)),
    )


def _note(rule: Rule) -> str:
    if RULES[rule.kind].by_clock:
        return "counted from gaps between phenomenon times"
    return "" if is_traced(rule) else "the newest forecast alone"


def _others(rule: Rule, bench: Bench) -> list[Rule]:
    return [other for other in bench.others if other.code != rule.code and other.kind in RULES]


def _loads(seen: Seen, bench: Bench, start: datetime, end: datetime, now: datetime) -> tuple[Load, ...]:
    """Return what each receiver would be told; the other rules are replayed only where the tried one tells anybody anything."""
    others = replayed(_others(seen.rule, bench), bench, start, end, now) if seen.episodes else []
    before = announced(others, bench.receivers, bench.policy, bench.zone, bench.silences)
    after = announced([seen, *others], bench.receivers, bench.policy, bench.zone, bench.silences)
    days = (end - start) / timedelta(days=1)
    return tuple(_load(item, before[item.code], after[item.code], seen.rule.code, bench, days) for item in bench.receivers)


def _load(receiver: Receiver, before: Tally, after: Tally, code: str, bench: Bench, days: float) -> Load:
    old, new = _Days.of(before, bench, days), _Days.of(after, bench, days)
    mine = sum(code in rules for _, rules in after.told)
    over = []
    if new.mean > bench.targets.per_day_acceptable and new.mean > old.mean:
        over.append(f"{new.mean:.1f} a day, acceptable are {bench.targets.per_day_acceptable:g}")
    if new.most > bench.targets.per_day_maximum and new.most > old.most:
        over.append(f"{new.most} on {new.day}, at most {bench.targets.per_day_maximum:g}")
    return Load(
        receiver.code,
        len(after.told),
        mine,
        len(before.told),
        new.mean,
        new.day,
        new.most,
        _burst(after),
        dict(after.held),
        tuple(over),
    )


@dataclass(frozen=True, slots=True)
class _Days:
    """Announcements a day: the mean, and the worst day with its number."""

    mean: float
    day: str | None
    most: int

    @classmethod
    def of(cls, tally: Tally, bench: Bench, days: float) -> _Days:
        by_day = Counter(at.astimezone(bench.zone).date().isoformat() for at, _ in tally.told)
        day, most = max(by_day.items(), key=lambda pair: (pair[1], pair[0]), default=(None, 0))
        return cls(len(tally.told) / max(days, 1.0), day, most)


def _burst(tally: Tally) -> int:
    """Return the most announcements within ten minutes."""
    times = np.sort(np.array([round(at.timestamp() * 1e6) for at, _ in tally.told], dtype="datetime64[us]"))
    if not len(times):
        return 0
    return int((np.searchsorted(times, times + TEN_MINUTES, side="left") - np.arange(len(times))).max())


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
                "of_rule": load.of_rule,
                "before": load.before,
                "held": dict(load.held),
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
            "rules": answer.rules,
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

"""What people would have been told of alerts that never were: routes, hours, silences, inhibition, flapping and grouping as they would be.

The same policy and the same matchers as live, over event time. A person is taken to confirm at once what waits for one. What is counted is an
announcement: an alert, one that gets worse, one notice of a group or of flapping, one digest a day; an end rings no bell. This file finishes
with `announced`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo

from alerts.holds import grouping_of
from alerts.matching import Labels, labels_for, matches, silence_for, wants
from alerts.policy import Grouping, Policy, group_key
from alerts.routing import Duty, next_open, read_duty
from alerts.rules import RULES, definition_of
from alerts.would_fire import Seen, WouldFire
from domain.alert import Level, MessageStatus
from domain.alerting import OUT_OF_SERVICE, Receiver, Rule, Silence
from domain.errors import InputError

_SILENCED = frozenset({"silence", OUT_OF_SERVICE})


@dataclass(slots=True)
class Tally:
    """What one receiver would have been told: each time with the rules that it told of; and what was held back, by reason."""

    told: list[tuple[datetime, frozenset[str]]] = field(default_factory=list)
    held: dict[str, int] = field(default_factory=dict)
    digests: dict[datetime, set[str]] = field(default_factory=dict)


@dataclass(eq=False, slots=True)
class _Life:
    """One alert on its way; `told` is the worst level that was announced."""

    rule: Rule
    item: WouldFire
    labels: Labels
    status: MessageStatus
    level: Level = Level.NONE
    worst: Level = Level.NONE
    firing: bool = False
    told: Level = Level.NONE
    held: str = ""
    group: tuple[Grouping, str] | None = None


@dataclass(order=True, slots=True)
class _Event:
    at: datetime
    order: int
    number: int
    life: _Life = field(compare=False)
    level: Level | None = field(compare=False, default=None)


def announced(
    seen: Sequence[Seen], receivers: Sequence[Receiver], policy: Policy, zone: tzinfo, silences: Sequence[Silence] = ()
) -> dict[str, Tally]:
    """Return what each receiver would have been told; `silences` are all that there were, each with when it ended."""
    stage = _Stage(policy, receivers, zone, silences)
    for event in _events(seen):
        stage.advance(event.at)
        stage.take(event)
    stage.advance(None)
    for receiver in receivers:
        tally = stage.tallies[receiver.code]
        tally.told += [(moment, frozenset(rules)) for moment, rules in tally.digests.items()]
        tally.told.sort(key=lambda pair: pair[0])
    return stage.tallies


def _events(seen: Sequence[Seen]) -> list[_Event]:
    events: list[_Event] = []
    for one in seen:
        status = MessageStatus(definition_of(one.rule).status)
        for item in one.episodes:
            labels = {**labels_for(one.rule, item.scope, item.level, status, *one.places[item.scope]), "member": item.members}
            life = _Life(one.rule, item, labels, status)
            events += [_Event(at, 1, len(events) + n, life, level) for n, (at, level) in enumerate(item.changes)]
            if item.ended is not None:
                events.append(_Event(item.ended, 0, len(events), life))
    return sorted(events)


class _Stage:
    """The state of all alerts at one moment of history."""

    def __init__(self, policy: Policy, receivers: Sequence[Receiver], zone: tzinfo, silences: Sequence[Silence]) -> None:
        self.policy = policy
        self.silences = silences
        self.ends = sorted({silence.ends_at for silence in silences})
        self.receivers = receivers
        self.zone = zone
        self.tallies = {receiver.code: Tally() for receiver in receivers}
        self.duties = {receiver.code: _duty(receiver) for receiver in receivers}
        self.firing: dict[_Life, None] = {}
        self.hiding: dict[_Life, None] = {}
        self.held: dict[_Life, None] = {}
        self.groups: dict[str, dict[_Life, None]] = {}
        self.due: dict[str, datetime] = {}
        self.noticed: dict[str, datetime] = {}
        self.changes: dict[tuple[str, str], list[datetime]] = {}
        self.flapping: dict[tuple[str, str], datetime] = {}

    def advance(self, to: datetime | None) -> None:
        """Let run out what runs out until `to` (None = everything): waits of groups, calm after flapping, silences."""
        while True:
            soonest = min(
                [(at, "group", key) for key, at in self.due.items()]
                + [(at, "calm", key) for key, at in self.flapping.items()]
                + [(at, "silence", "") for at in self.ends[:1]],
                key=lambda entry: entry[0],
                default=None,
            )
            if soonest is None or (to is not None and soonest[0] > to):
                return
            at, what, key = soonest
            if what == "group":
                self._tell_group(str(key), at)
            elif what == "silence":
                self._speak_again(self.ends.pop(0))
            else:
                self._calm_down(key, at)  # type: ignore[arg-type]

    def _speak_again(self, at: datetime) -> None:
        """Tell of what a silence held back and still stands."""
        for life in [item for item in self.held if item.held in _SILENCED]:
            if silence_for(self.silences, life.labels, at) is None:
                self.held.pop(life, None)
                self._message(life, at, again=True)

    def take(self, event: _Event) -> None:
        """Let an alert fire, change or end."""
        life = event.life
        if event.level is None:
            self._end(life, event.at)
            return
        life.level, life.worst = event.level, max(life.worst, event.level)
        life.firing = True
        self.firing[life] = None
        life.labels = {**life.labels, "level": (life.level.word,)}
        self._enter_group(life)
        if any(matches(rule.by, life.labels) for rule in self.policy.inhibition):
            self.hiding[life] = None
        self._message(life, event.at)

    def _end(self, life: _Life, at: datetime) -> None:
        life.firing = False
        self.firing.pop(life, None)
        self.held.pop(life, None)
        self._count_change(life, at)
        if life.group is not None:
            self.groups[life.group[1]].pop(life, None)
        if life not in self.hiding:
            return
        del self.hiding[life]
        for other in [item for item in self.held if item.held == "inhibited"]:
            self.held.pop(other, None)
            self._message(other, at, again=True)

    def _message(self, life: _Life, at: datetime, *, again: bool = False) -> None:
        changes = 0 if again else self._count_change(life, at)
        silence = silence_for(self.silences, life.labels, at)
        if silence is not None:
            self._hold(life, silence.kind)
        elif self._is_hidden(life):
            self._hold(life, "inhibited")
        elif changes > self.policy.changes or _family(life) in self.flapping:
            self._flap(life, at)
        elif (grouped := self._group_to_wait_for(life)) is not None:
            self._hold(life, "grouped")
            self.due.setdefault(grouped[1], self._group_time(grouped, at))
            self._announce([life], at, outside=True)
        else:
            self._announce([life], at)

    def _count_change(self, life: _Life, at: datetime) -> int:
        times = self.changes.setdefault(_family(life), [])
        times.append(at)
        times[:] = [time for time in times if time >= at - self.policy.window]
        return len(times)

    def _is_hidden(self, life: _Life) -> bool:
        for rule in self.policy.inhibition:
            if not matches(rule.hides, life.labels):
                continue
            for other in self.hiding:
                agrees = all(set(life.labels.get(mine, ())) & set(other.labels.get(its, ())) for mine, its in rule.equal.items())
                if agrees and _family(other) != _family(life) and matches(rule.by, other.labels):
                    return True
        return False

    def _hold(self, life: _Life, why: str) -> None:
        if life.held != why:
            for receiver in self._receivers_of(life, outside=why != "grouped"):
                held = self.tallies[receiver.code].held
                held[why] = held.get(why, 0) + 1
        life.held = why
        self.held[life] = None

    def _flap(self, life: _Life, at: datetime) -> None:
        first = _family(life) not in self.flapping
        self.flapping[_family(life)] = at + self.policy.window
        self._hold(life, "flapping")
        if first:
            self._announce([life], at, inside=True, again=True)

    def _calm_down(self, family: tuple[str, str], at: datetime) -> None:
        del self.flapping[family]
        for life in [item for item in self.held if item.held == "flapping" and _family(item) == family]:
            self.held.pop(life, None)
            life.held = ""
            self._announce([life], at)

    def _enter_group(self, life: _Life) -> None:
        grouping = grouping_of(self.policy, life.labels)
        if grouping is not None:
            life.group = (grouping, group_key(grouping, life.labels))
            self.groups.setdefault(life.group[1], {})[life] = None

    def _group_to_wait_for(self, life: _Life) -> tuple[Grouping, str] | None:
        if life.group is None or life.level > life.group[0].up_to:
            return None
        members = self.groups[life.group[1]]
        others = [item for item in members if item is not life and (item.firing or item.held == "grouped")]
        return life.group if len(others) + 1 >= life.group[0].after else None

    def _group_time(self, grouped: tuple[Grouping, str], at: datetime) -> datetime:
        grouping, key = grouped
        last = self.noticed.get(key)
        return at + grouping.wait if last is None else max(at + grouping.wait, last + grouping.interval)

    def _tell_group(self, key: str, at: datetime) -> None:
        del self.due[key]
        waiting = [life for life in self.groups[key] if life.held == "grouped" and life in self.held]
        self.groups[key] = {life: None for life in self.groups[key] if life.firing}
        for life in waiting:
            self.held.pop(life, None)
            life.held = ""
        if waiting:
            self.noticed[key] = at
            self._announce(waiting, at, inside=True)

    def _receivers_of(self, life: _Life, *, outside: bool = True, inside: bool = True) -> Iterator[Receiver]:
        instrument = RULES[life.rule.kind].instrument
        for receiver in self.receivers:
            if receiver.outside and (instrument or not outside):
                continue
            if (receiver.outside or inside) and life.worst >= receiver.min_level and wants(receiver, life.labels, life.status):
                yield receiver

    def _announce(
        self, lives: Sequence[_Life], at: datetime, *, inside: bool = False, outside: bool = False, again: bool = False
    ) -> None:
        """Tell receivers at once of alerts that are new or worse; `inside` and `outside` alone leave the others out."""
        reached: dict[str, set[str]] = {}
        mildest: dict[str, Level] = {}
        for life in lives:
            if not again and life.level <= life.told:
                continue
            for receiver in self._receivers_of(life, outside=not inside, inside=not outside):
                reached.setdefault(receiver.code, set()).add(life.rule.code)
                mildest[receiver.code] = max(mildest.get(receiver.code, Level.NONE), life.worst)
        for code, rules in reached.items():
            self._tell(code, at, rules, mildest[code])
        for life in lives if not outside else ():
            life.told = max(life.told, life.level)

    def _tell(self, code: str, at: datetime, rules: set[str], level: Level) -> None:
        duty, tally = self.duties[code], self.tallies[code]
        if duty.digest_at is not None and level <= duty.digest_up_to:
            tally.digests.setdefault(_next_digest(duty, at, self.zone), set()).update(rules)
        else:
            opens = next_open(duty, level, at, self.zone)
            if opens > at:
                tally.held["hours"] = tally.held.get("hours", 0) + 1
            tally.told.append((opens, frozenset(rules)))


def _next_digest(duty: Duty, at: datetime, zone: tzinfo) -> datetime:
    local = at.astimezone(zone)
    assert duty.digest_at is not None
    moment = local.replace(hour=duty.digest_at.hour, minute=duty.digest_at.minute, second=0, microsecond=0)
    return moment if moment > local else moment + timedelta(days=1)


def _duty(receiver: Receiver) -> Duty:
    """Return the hours; what cannot be read holds nothing back, as with the dispatcher."""
    try:
        return read_duty(receiver.settings, receiver.code)
    except InputError:
        return Duty()


def _family(life: _Life) -> tuple[str, str]:
    return life.rule.code, life.item.scope

"""The life of an episode as a fold over verdicts in event time: the same observations give the same episodes, however they arrived.

One latch a colour. A latch arms when its limit is passed, is on when it has been so for the hold time, stays while its clear limit is
passed (hysteresis), and goes off when it was not for the clear time. An episode lasts while any latch is armed or on. A sample that
cannot tell moves nothing: a gap resolves no alert and holds none back. This file finishes with `episode_from_json`.

References: ISA-18.2-2016 (on-delay, off-delay, deadband); OPC UA part 9.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from domain.alert import Level, Verdict
from domain.observation import FloatArray, TimeArray

LevelArray = npt.NDArray[np.int8]
MAX_STEPS = 60
_LEVELS = (Level.BLUE, Level.YELLOW, Level.ORANGE, Level.RED)
_MICROSECOND = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Trace:
    """What a rule says at each event time, as columns of one length n.

    Attributes
    ----------
    time : datetime64[us] (n,)
        Event times, ascending, UTC.
    up : int8 (n,)
        Worst level whose limit is passed with the confidence that the rule asks for.
    keep : int8 (n,)
        Worst level whose clear limit (limit less deadband) is still passed.
    unsure : int8 (n,)
        Worst level that the estimate passes where its confidence is unknown (interim, no sigma): a person must confirm it.
    blind : bool (n,)
        True where nothing can be told: the sample moves no latch.
    value, sigma : float64 (n,)
        In the rule's unit and direction; NaN = missing or unknown.
    reason : object (n,)
        Stable code for a verdict that is not plainly ok or breach, else ''.
    details : float64 (n,) each
        Further figures that the verdict rests on, by name, in the rule's unit.
    """

    time: TimeArray
    up: LevelArray
    keep: LevelArray
    unsure: LevelArray
    blind: npt.NDArray[np.bool_]
    value: FloatArray
    sigma: FloatArray
    reason: npt.NDArray[np.object_]
    details: Mapping[str, FloatArray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.time)

    def verdict(self, row: int) -> Verdict:
        """Return what row `row` says by itself."""
        if self.blind[row]:
            return Verdict.CANNOT_TELL
        if self.up[row] > 0:
            return Verdict.BREACH
        return Verdict.CANNOT_TELL if self.reason[row] else Verdict.OK


@dataclass(frozen=True, slots=True)
class Policy:
    """How long a breach must hold before it fires, and how long it must be gone before it is resolved (event time)."""

    hold: timedelta = timedelta()
    clear_hold: timedelta = timedelta()


@dataclass(frozen=True, slots=True)
class Step:
    """One change of an episode: `kind` is armed, fired, raised, lowered or ended."""

    at: datetime
    kind: str
    level: Level


@dataclass(frozen=True, slots=True)
class Episode:
    """One stretch of breach.

    Attributes
    ----------
    onset, ended
        First sample of the breach, and first sample that ended it (None = it goes on).
    level
        Level that is held and sure now (NONE while it is pending).
    held
        Level that is held, sure or not; above `level` it waits for a person.
    armed
        Level that is passed now, held or not.
    peak, peak_held
        Worst `level` and `held` so far.
    steps
        The first steps, at most `MAX_STEPS`.
    """

    onset: datetime
    ended: datetime | None = None
    level: Level = Level.NONE
    held: Level = Level.NONE
    armed: Level = Level.NONE
    peak: Level = Level.NONE
    peak_held: Level = Level.NONE
    steps: tuple[Step, ...] = ()

    @property
    def was_issued(self) -> bool:
        """Did it ever hold, sure or not? One that did not was never an alert."""
        return self.peak_held > Level.NONE

    def same_as(self, other: Episode | None) -> bool:
        """Would an alert on this episode look the same as on the other?"""
        return other is not None and (
            (self.onset, self.ended, self.level, self.held, self.armed)
            == (other.onset, other.ended, other.level, other.held, other.armed)
        )


@dataclass(slots=True)
class _Latch:
    since: int | None = None
    on: bool = False
    sure: bool = False
    clearing: int | None = None


@dataclass(frozen=True, slots=True)
class Folded:
    """Episodes that a fold closed, the one that goes on (None = quiet), and the memory from which a later fold carries on."""

    closed: tuple[Episode, ...]
    open: Episode | None
    memory: Mapping[str, Any] = field(default_factory=dict)

    @property
    def episodes(self) -> tuple[Episode, ...]:
        """Every episode that ever held, and the open one."""
        lasting = tuple(episode for episode in self.closed if episode.was_issued)
        return lasting if self.open is None else (*lasting, self.open)


def fold(trace: Trace, policy: Policy, memory: Mapping[str, Any] | None = None) -> Folded:
    """Fold a trace into episodes.

    Parameters
    ----------
    trace
        Verdicts in event-time order, all later than what `memory` has seen.
    policy
        Hold and clear times.
    memory
        Of an earlier fold; None starts with nothing.

    Returns
    -------
    Folded
        `fold(a + b)` equals `fold(b, memory of fold(a))` in the open episode, and in what they closed together.
    """
    machine = _Machine(policy, memory or {})
    if len(trace):
        _run(trace, machine)
    return Folded(tuple(machine.closed), machine.episode, machine.memory())


def _run(trace: Trace, machine: _Machine) -> None:
    times = trace.time.astype("datetime64[us]").astype(np.int64).tolist()
    up, keep, unsure, blind = trace.up.tolist(), trace.keep.tolist(), trace.unsure.tolist(), trace.blind.tolist()
    code = trace.up.astype(np.int64) * 1000 + trace.keep * 100 + trace.unsure * 10 + trace.blind
    changes = (np.flatnonzero(np.diff(code)) + 1).tolist()
    row, after, n = 0, 0, len(trace)
    while row < n:
        if not blind[row]:
            machine.see(times[row], up[row], keep[row], unsure[row])
        while after < len(changes) and changes[after] <= row:
            after += 1
        following = changes[after] if after < len(changes) else n
        due = machine.due()
        if due is not None:  # a timer runs: the sample at which it has run out matters too
            following = min(following, bisect_left(times, due, row + 1))
        row = following


class _Machine:
    """Four latches and the episode that they make."""

    def __init__(self, policy: Policy, memory: Mapping[str, Any]) -> None:
        self.hold = policy.hold // _MICROSECOND
        self.clear = policy.clear_hold // _MICROSECOND
        self.latches = [_Latch(**stored) for stored in memory.get("latches", ())] or [_Latch() for _ in _LEVELS]
        self.episode = episode_from_json(memory["episode"]) if memory.get("episode") else None
        self.closed: list[Episode] = []

    def see(self, now: int, up: int, keep: int, unsure: int) -> None:
        passed, kept = max(up, unsure), max(keep, up, unsure)
        armed = held = level = 0
        for number, latch in enumerate(self.latches, start=1):
            if latch.since is None and passed < number:
                continue
            self._move(latch, now, sure=up >= number, on=passed >= number, kept=kept >= number)
            if latch.since is not None:
                armed = number
                if latch.on:
                    held = number
                    level = number if latch.sure else level
        self._track(now, armed, held, level)

    def _move(self, latch: _Latch, now: int, *, sure: bool, on: bool, kept: bool) -> None:
        if latch.since is None:
            if not on:
                return
            latch.since = now
        if kept:
            latch.clearing = None
            latch.sure = latch.sure or sure
            latch.on = latch.on or now - latch.since >= self.hold
            return
        if latch.clearing is None:
            latch.clearing = now
        if not latch.on or now - latch.clearing >= self.clear:
            latch.since, latch.on, latch.sure = None, False, False

    def _track(self, now: int, armed: int, held: int, level: int) -> None:
        before = self.episode
        if before is not None and (before.armed, before.held, before.level) == (armed, held, level):
            return
        if not armed:
            self._end(now)
            return
        if before is None:
            before = Episode(onset=_time(now), steps=(Step(_time(now), "armed", Level(armed)),))
        after = replace(
            before,
            level=Level(level),
            held=Level(held),
            armed=Level(armed),
            peak=max(before.peak, Level(level)),
            peak_held=max(before.peak_held, Level(held)),
        )
        self.episode = _noted(after, before.level, now)

    def _end(self, now: int) -> None:
        lowest = self.latches[0]
        at = _time(now if lowest.clearing is None else lowest.clearing)
        for latch in self.latches:
            latch.clearing = None
        if self.episode is not None:
            step = Step(at, "ended", self.episode.level)
            self.closed.append(replace(self.episode, ended=at, steps=(*self.episode.steps, step)[-MAX_STEPS:]))
            self.episode = None

    def due(self) -> int | None:
        """Return when the next running timer has run out, None when none runs."""
        soonest: int | None = None
        for latch in self.latches:
            if latch.since is None:
                continue
            for timer in (
                None if latch.on else latch.since + self.hold,
                None if latch.clearing is None else latch.clearing + self.clear,
            ):
                if timer is not None and (soonest is None or timer < soonest):
                    soonest = timer
        return soonest

    def memory(self) -> dict[str, Any]:
        latches = [{"since": item.since, "on": item.on, "sure": item.sure, "clearing": item.clearing} for item in self.latches]
        return {"latches": latches, "episode": None if self.episode is None else episode_to_json(self.episode)}


def _noted(episode: Episode, level_before: Level, now: int) -> Episode:
    if episode.level == level_before or len(episode.steps) >= MAX_STEPS:
        return episode
    kind = "fired" if level_before is Level.NONE else "raised" if episode.level > level_before else "lowered"
    return replace(episode, steps=(*episode.steps, Step(_time(now), kind, episode.level)))


def _time(microseconds: int) -> datetime:
    return _EPOCH + microseconds * _MICROSECOND


def episode_to_json(episode: Episode) -> dict[str, Any]:
    """Return plain JSON of an episode."""
    return {
        "onset": episode.onset.isoformat(),
        "ended": episode.ended.isoformat() if episode.ended else None,
        "level": int(episode.level),
        "held": int(episode.held),
        "armed": int(episode.armed),
        "peak": int(episode.peak),
        "peak_held": int(episode.peak_held),
        "steps": [[step.at.isoformat(), step.kind, int(step.level)] for step in episode.steps],
    }


def episode_from_json(stored: Mapping[str, Any]) -> Episode:
    """Return the episode that `episode_to_json` wrote."""
    return Episode(
        onset=datetime.fromisoformat(stored["onset"]),
        ended=datetime.fromisoformat(stored["ended"]) if stored["ended"] else None,
        level=Level(stored["level"]),
        held=Level(stored["held"]),
        armed=Level(stored["armed"]),
        peak=Level(stored["peak"]),
        peak_held=Level(stored["peak_held"]),
        steps=tuple(Step(datetime.fromisoformat(at), kind, Level(level)) for at, kind, level in stored["steps"]),
    )

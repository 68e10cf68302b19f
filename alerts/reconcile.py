"""Holds the episodes that stored history says were there against the alerts that were recorded, and says what must be done.

An alert is never opened for an episode that already has one; it is cancelled when corrected data say that there was no breach at all,
and resolved when the breach ended. What began and ended before anybody could be told becomes one silent record for the rule and scope,
so that a late backfill is no storm. This file finishes with `message_due`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from alerts.lifecycle import Episode
from domain.alert import AlertState, Confirmation, Level, MessageType
from domain.alerting import AlertRecord

_FOREVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do for one rule and scope.

    Attributes
    ----------
    carried
        Alerts with the episode that each of them is about now.
    opened
        The episode that needs a new alert, if any.
    vanished
        Alerts whose breach never was, as the data stand now.
    past
        Closed episodes without an alert: recorded silently.
    """

    carried: tuple[tuple[AlertRecord, Episode], ...] = ()
    opened: Episode | None = None
    vanished: tuple[AlertRecord, ...] = ()
    past: tuple[Episode, ...] = ()


def reconcile(episodes: Sequence[Episode], alerts: Sequence[AlertRecord]) -> Plan:
    """Match episodes (oldest first, at most the last is open) to the recorded alerts of the same rule and scope."""
    live = [alert for alert in alerts if not is_history(alert)]
    carried: dict[int, tuple[AlertRecord, Episode]] = {}
    vanished: list[AlertRecord] = []
    taken: set[datetime] = set()
    for alert in sorted(live, key=lambda item: (item.state is AlertState.RESOLVED, item.onset)):
        mine = [episode for episode in episodes if _overlaps(alert, episode)]
        if not mine:
            vanished.append(alert)
            continue
        taken.update(episode.onset for episode in mine)
        last = mine[-1]
        if last.onset not in carried_onsets(carried):
            carried[_id(alert)] = (alert, last)
    opened = next((episode for episode in episodes if episode.onset not in taken and episode.ended is None), None)
    mine_too = carried_onsets(carried)  # of a breach that corrected data cut in two, the alert carries the newer part
    past = tuple(episode for episode in episodes if episode.onset not in mine_too and episode.ended is not None)
    return Plan(tuple(carried.values()), opened, tuple(vanished), past)


def carried_onsets(carried: Mapping[int, tuple[AlertRecord, Episode]]) -> set[datetime]:
    """Return the onsets of the episodes that an alert carries already: two alerts never carry one episode."""
    return {episode.onset for _, episode in carried.values()}


def _id(alert: AlertRecord) -> int:
    if alert.alert_id is None:
        raise ValueError("an alert that is not stored cannot be matched")
    return alert.alert_id


def _overlaps(alert: AlertRecord, episode: Episode) -> bool:
    return episode.onset <= (alert.ended or _FOREVER) and alert.onset <= (episode.ended or _FOREVER)


def is_history(alert: AlertRecord) -> bool:
    """Is this the silent record of what was over before anybody could be told?"""
    return bool(alert.memory.get("history"))


@dataclass(frozen=True, slots=True)
class Aim:
    """How an alert should stand: the machine's state and level, and whether it waits for a person (up to `worst`)."""

    state: AlertState
    level: Level
    confirmation: Confirmation
    worst: Level


def aim(episode: Episode, memory: Mapping[str, Any], *, instrument: bool, outside: bool) -> Aim:
    """Say how the alert on an episode should stand.

    Parameters
    ----------
    memory
        The alert's: up to which level a person confirmed or rejected it.
    instrument
        Instrument alarms need no person.
    outside
        Is there a receiver outside the house for it? Then even blue and yellow wait for a person, for that receiver.
    """
    confirmed, rejected = Level(memory.get("confirmed_level", 0)), Level(memory.get("rejected_level", 0))
    level = max(episode.level, min(confirmed, episode.held))
    worst = max(level, episode.held)
    confirmation = _confirmation(
        episode, worst, confirmed, rejected, waits=not instrument and (outside or _needs(episode, worst))
    )
    if episode.ended is not None or confirmation is Confirmation.REJECTED:
        return Aim(AlertState.RESOLVED, level or worst or episode.armed, confirmation, worst)
    if level is Level.NONE:
        return Aim(AlertState.PENDING, episode.armed, confirmation, worst)
    return Aim(AlertState.FIRING, level, confirmation, worst)


def _needs(episode: Episode, worst: Level) -> bool:
    return worst >= Level.ORANGE or episode.held > episode.level


def _confirmation(episode: Episode, worst: Level, confirmed: Level, rejected: Level, *, waits: bool) -> Confirmation:
    if worst > Level.NONE and rejected >= worst:
        return Confirmation.REJECTED
    if worst > Level.NONE and confirmed >= worst:
        return Confirmation.CONFIRMED
    if waits and worst > Level.NONE and episode.ended is None:
        return Confirmation.AWAITED
    return Confirmation.NOT_NEEDED


def message_due(target: Aim, memory: Mapping[str, Any], *, instrument: bool, vanished: bool = False) -> MessageType | None:
    """Return the CAP message that is due, given what was issued before.

    Orange and red wait until a person confirmed that level; an end or a cancellation of what was issued waits for nobody.
    """
    issued = memory.get("issued")
    if memory.get("history"):
        return None
    if vanished or target.confirmation is Confirmation.REJECTED or (issued and target.state is AlertState.PENDING):
        return MessageType.CANCEL if issued and issued["type"] != MessageType.CANCEL else None
    if target.state is AlertState.RESOLVED:
        ongoing = issued and issued["state"] == AlertState.FIRING and issued["type"] != MessageType.CANCEL
        return MessageType.UPDATE if ongoing else None
    if target.state is AlertState.PENDING or not _may_go(target.level, memory, instrument=instrument):
        return None
    if not issued:
        return MessageType.ALERT
    same = issued["type"] != MessageType.CANCEL and issued["state"] == AlertState.FIRING and issued["level"] == int(target.level)
    return None if same else MessageType.UPDATE


def _may_go(level: Level, memory: Mapping[str, Any], *, instrument: bool) -> bool:
    return instrument or level <= Level.YELLOW or memory.get("confirmed_level", 0) >= level

"""When a receiver may be told: hours of duty by person, levels that always pass, and a digest for what can wait.

Settings of a receiver, all optional:

```yaml
hours: {windows: [{days: [mon, tue, wed, thu, fri], from: "08:30", to: "17:30"}], always_from: orange}
digest: {at: "08:00", up_to: yellow}
```

Messages of one alert never overtake each other: when a red one passes, what was held of the same alert goes ahead of it. This file finishes
with `plan`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import Any

from domain.alert import Level, MessageType, level_of
from domain.alerting import Notification, Receiver
from domain.errors import InputError

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d|24:00")
_MINUTES_A_DAY = 24 * 60


@dataclass(frozen=True, slots=True)
class Window:
    """Minutes of the day on some days of the week; `until` is exclusive and may lie beyond midnight."""

    days: frozenset[int]
    since: int
    until: int

    def holds(self, at: datetime) -> bool:
        """Is that local time inside?"""
        minute = at.hour * 60 + at.minute
        today = at.weekday() in self.days and self.since <= minute < self.until
        return today or ((at.weekday() - 1) % 7 in self.days and minute + _MINUTES_A_DAY < self.until)


@dataclass(frozen=True, slots=True)
class Duty:
    """When a receiver may be told, read from its settings."""

    windows: tuple[Window, ...] = ()
    always_from: Level | None = None
    digest_at: time | None = None
    digest_up_to: Level = Level.YELLOW

    @property
    def holds_back(self) -> bool:
        """Can anything be held back at all?"""
        return bool(self.windows) or self.digest_at is not None

    def is_open(self, level: Level, at: datetime) -> bool:
        """May a message of that level go at that local time?"""
        if not self.windows or (self.always_from is not None and level >= self.always_from):
            return True
        return any(window.holds(at) for window in self.windows)


@dataclass(frozen=True, slots=True)
class Plan:
    """What goes now, in order; and what goes into one digest, in order, with the moment that it belongs to."""

    send: tuple[Notification, ...]
    bundle: tuple[Notification, ...] = ()
    moment: datetime | None = None


def read_duty(settings: Mapping[str, Any], where: str) -> Duty:
    """Return the duty that a receiver's settings state; `InputError` names what cannot be read."""
    hours, digest = settings.get("hours"), settings.get("digest")
    windows: tuple[Window, ...] = ()
    always: Level | None = None
    if hours is not None:
        _only(hours, ("windows", "always_from"), f"{where} hours")
        windows = tuple(_window(entry, f"{where} hours") for entry in hours.get("windows") or ())
        always = _level(hours["always_from"], f"{where} hours") if "always_from" in hours else None
        if not windows:
            raise InputError("hours without windows let nothing through.", where=f"{where} hours", remedy="list windows")
    if digest is None:
        return Duty(windows, always)
    _only(digest, ("at", "up_to"), f"{where} digest")
    at = _minutes(digest.get("at"), f"{where} digest") % _MINUTES_A_DAY
    up_to = _level(digest.get("up_to", "yellow"), f"{where} digest")
    return Duty(windows, always, time(at // 60, at % 60), up_to)


def _only(entry: Any, known: Sequence[str], where: str) -> None:
    if not isinstance(entry, Mapping) or set(entry) - set(known):
        raise InputError(f"{entry!r} cannot be read.", where=where, remedy=f"give a mapping of {', '.join(known)}")


def _window(entry: Any, where: str) -> Window:
    _only(entry, ("days", "from", "to"), where)
    days = entry.get("days", list(DAYS))
    if not isinstance(days, list) or not days or set(days) - set(DAYS):
        raise InputError(f"days {days!r} are unknown.", where=where, remedy=f"list some of {', '.join(DAYS)}")
    since, until = _minutes(entry.get("from"), where), _minutes(entry.get("to"), where)
    return Window(frozenset(DAYS.index(day) for day in days), since, until if until > since else until + _MINUTES_A_DAY)


def _minutes(text: Any, where: str) -> int:
    if not isinstance(text, str) or not _CLOCK.fullmatch(text):
        raise InputError(f"{text!r} is no time of day.", where=where, remedy='write "08:30", in quotes')
    return int(text[:2]) * 60 + int(text[3:])


def _level(word: Any, where: str) -> Level:
    try:
        return level_of(str(word))
    except KeyError:
        raise InputError(f"{word!r} is no level.", where=where, remedy="use blue, yellow, orange or red") from None


def open_time(duty: Duty, level: Level, start: datetime, end: datetime, zone: tzinfo) -> timedelta:
    """Return how much of the time from `start` to `end` lies in the hours of duty; all of it for a level that goes at any hour.

    Examples
    --------
    >>> day = Duty((Window(frozenset(range(5)), 9 * 60, 17 * 60),))
    >>> friday = datetime(2026, 1, 2, 16, tzinfo=UTC)
    >>> open_time(day, Level.BLUE, friday, friday + timedelta(days=3), UTC)
    datetime.timedelta(seconds=28800)
    """
    if end <= start or not duty.windows or (duty.always_from is not None and level >= duty.always_from):
        return end - start
    first = start.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
    total, reached = timedelta(), start
    for day in (first + timedelta(days=n) for n in range((end - start).days + 4)):
        windows = sorted((item.since, item.until) for item in duty.windows if day.weekday() in item.days)
        for since, until in windows:
            begins, ends = max(day + timedelta(minutes=since), reached), min(day + timedelta(minutes=until), end)
            if begins < ends:
                total, reached = total + (ends - begins), ends
    return total


def next_open(duty: Duty, level: Level, at: datetime, zone: tzinfo) -> datetime:
    """Return the first time from `at` on at which a message of that level may go.

    Examples
    --------
    >>> day = Duty((Window(frozenset(range(5)), 9 * 60, 17 * 60),))
    >>> next_open(day, Level.BLUE, datetime(2026, 1, 2, 18, tzinfo=UTC), UTC)
    datetime.datetime(2026, 1, 5, 9, 0, tzinfo=datetime.timezone.utc)
    """
    local = at.astimezone(zone)
    if duty.is_open(level, local):
        return at
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    days = [midnight + timedelta(days=n) for n in range(len(DAYS) + 1)]
    begins = (
        (day + timedelta(minutes=window.since)).astimezone(UTC)
        for day in days
        for window in duty.windows
        if day.weekday() in window.days
    )
    return min(begin for begin in begins if begin > at)


def level_of_message(notification: Notification) -> Level:
    """Return the worst level that a message speaks of; NONE for one that speaks of no alert."""
    alert = notification.payload.get("alert")
    return Level.NONE if not alert else max(level_of(alert["level"]), level_of(alert.get("peak_level", alert["level"])))


def plan(duty: Duty, waiting: Sequence[Notification], now: datetime, zone: tzinfo) -> Plan:
    """Decide for waiting messages (in the order of their creation) what goes now and what is bundled.

    A test message goes at any hour: somebody pressed the button and waits for it.
    """
    if not duty.holds_back:
        return Plan(tuple(waiting))
    local = now.astimezone(zone)
    moment = _latest(duty.digest_at, local)
    send, bundle = [], []
    urgent = {item.alert_id for item in waiting if item.alert_id is not None and _passes(duty, item, local)}
    for item in waiting:
        kind = item.payload.get("kind")
        if kind in ("test", "digest") or _passes(duty, item, local) or item.alert_id in urgent:
            send.append(item)
        elif moment is not None and _waits_for_digest(duty, item) and item.created_at < moment:
            bundle.append(item)
    return Plan(tuple(send), tuple(bundle), moment if bundle else None)


def _passes(duty: Duty, item: Notification, local: datetime) -> bool:
    return not _waits_for_digest(duty, item) and duty.is_open(level_of_message(item), local)


def _waits_for_digest(duty: Duty, item: Notification) -> bool:
    return duty.digest_at is not None and item.payload.get("kind") != "digest" and level_of_message(item) <= duty.digest_up_to


def _latest(at: time | None, local: datetime) -> datetime | None:
    """Return the last time that the clock showed the digest's hour."""
    if at is None:
        return None
    today = local.replace(hour=at.hour, minute=at.minute, second=0, microsecond=0)
    return today if today <= local else today - timedelta(days=1)


def digest_of(receiver: Receiver, bundled: Sequence[Notification], moment: datetime, now: datetime) -> Notification:
    """Return the one message that stands for the bundled ones; its key names the moment and the first of them."""
    lines = [_line(item) for item in bundled]
    node = bundled[0].payload.get("node")
    title = {
        "zh": f"{moment:%Y-%m-%d %H:%M} 汇总：{len(bundled)} 条",
        "en": f"Digest of {moment:%Y-%m-%d %H:%M}: {len(bundled)} messages",
    }
    payload = {
        "version": 1,
        "kind": "digest",
        "node": node,
        "message_type": MessageType.ALERT.value,
        "identifier": f"digest-{receiver.code}-{moment:%Y%m%d%H%M}-{bundled[0].notification_id}",
        "sent": now.isoformat(),
        "status": "Actual",
        "headline": title,
        "explanation": {language: "\n".join(line[language] for line in lines) for language in ("zh", "en")},
        "items": [dict(item.payload) for item in bundled],
    }
    return Notification(str(payload["identifier"]), receiver.code, MessageType.ALERT, payload, now, now)


def _line(item: Notification) -> dict[str, str]:
    headline: Mapping[str, str] = item.payload["headline"]
    return {
        language: f"{item.message_type.value} · {headline[language]} · {item.payload['identifier']}" for language in ("zh", "en")
    }

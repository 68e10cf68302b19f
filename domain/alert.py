"""Words of alerting: Alertmanager's for the machinery, CAP's for the message, the four colours for people.

References: OASIS CAP 1.2; GB/T 35965.1-2018; 突发事件应对法 (four levels 红橙黄蓝). This file finishes with `level_of_severity`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any


class Level(IntEnum):
    """The four colours, ordered: a greater number is worse; NONE = no breach."""

    NONE = 0
    BLUE = 1
    YELLOW = 2
    ORANGE = 3
    RED = 4

    @property
    def word(self) -> str:
        """Lower-case name for files, URLs and topics."""
        return self.name.lower()

    @property
    def word_zh(self) -> str:
        """蓝, 黄, 橙 or 红."""
        return {0: "无", 1: "蓝", 2: "黄", 3: "橙", 4: "红"}[int(self)]


def level_of(word: str) -> Level:
    """Return the level named `word` (blue, yellow, orange, red; any case)."""
    return Level[word.strip().upper()]


class Verdict(StrEnum):
    """Three answers, not two: unknown is never ok."""

    BREACH = "breach"
    OK = "ok"
    CANNOT_TELL = "cannot_tell"


class AlertState(StrEnum):
    """The machine's part of the life of an alert."""

    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"


class Confirmation(StrEnum):
    """The person's part: orange, red and everything that leaves the house waits for one."""

    NOT_NEEDED = "not_needed"
    AWAITED = "awaited"
    CONFIRMED = "confirmed"
    REJECTED = "rejected"


class MessageType(StrEnum):
    """CAP msgType."""

    ALERT = "Alert"
    UPDATE = "Update"
    CANCEL = "Cancel"
    ACK = "Ack"
    ERROR = "Error"


class MessageStatus(StrEnum):
    """CAP status: an exercise never pages staff and never enters statistics."""

    ACTUAL = "Actual"
    EXERCISE = "Exercise"
    SYSTEM = "System"
    TEST = "Test"
    DRAFT = "Draft"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What one rule says about one scope at one event time, with the evidence for it."""

    verdict: Verdict
    level: Level
    at: datetime
    value: float | None = None
    sigma: float | None = None
    unit: str | None = None
    limit: float | None = None
    reason: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)


_SEVERITY = {Level.BLUE: "Minor", Level.YELLOW: "Moderate", Level.ORANGE: "Severe", Level.RED: "Extreme"}


def severity_of(level: Level) -> str:
    """Return CAP's severity for a colour (red Extreme, orange Severe, yellow Moderate, blue Minor)."""
    return _SEVERITY.get(level, "Unknown")


def level_of_severity(severity: str) -> Level:
    """Return the colour of CAP's severity, NONE for Unknown: the inverse of `severity_of`."""
    return next((level for level, word in _SEVERITY.items() if word == severity), Level.NONE)

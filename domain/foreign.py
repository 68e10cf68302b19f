"""Alerts of partners: what was received, never what we issue.

A foreign alert is what the messages of one sender that refer to each other say together; it is shown with its sender and never sent on.
This file finishes with `OwedAnswer`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from domain.alert import Level, MessageStatus, MessageType


class ForeignState(StrEnum):
    """Where a partner's alert stands by its messages; an active one past its expiry is shown as expired."""

    ACTIVE = "active"
    ENDED = "ended"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Reference:
    """`sender,identifier,sent`: an earlier message."""

    sender: str
    identifier: str
    sent: datetime


@dataclass(frozen=True, slots=True)
class ForeignMessage:
    """One CAP message as received. `said` is what its infos tell, as plain JSON; `body` is the XML, byte for byte."""

    partner: str
    sender: str
    identifier: str
    sent: datetime
    status: MessageStatus
    message_type: MessageType
    level: Level
    references: tuple[Reference, ...]
    said: Mapping[str, Any]
    body: str
    received_at: datetime

    @property
    def key(self) -> tuple[str, str]:
        """Sender and identifier, which no two messages share."""
        return self.sender, self.identifier


@dataclass(frozen=True, slots=True)
class ForeignAcknowledgement:
    """A named person took notice of a partner's alert: the CAP Ack that says so, and the identifiers that it refers to."""

    identifier: str
    actor: str
    note: str
    recorded_at: datetime
    acknowledged: tuple[str, ...]
    body: str


@dataclass(frozen=True, slots=True)
class ForeignAlert:
    """What the messages of one chain say together.

    `incomplete` is True where a message refers to one that never came.
    """

    partner: str
    sender: str
    state: ForeignState
    status: MessageStatus
    level: Level
    peak_level: Level
    newest: ForeignMessage
    messages: tuple[ForeignMessage, ...]
    incomplete: bool
    acknowledgements: tuple[ForeignAcknowledgement, ...] = field(default=())
    foreign_id: int | None = None

    @property
    def is_acknowledged(self) -> bool:
        """Did somebody take notice of the newest message?"""
        return any(self.newest.identifier in item.acknowledged for item in self.acknowledgements)


@dataclass(frozen=True, slots=True)
class OwedAnswer:
    """An alert of ours that a partner has not answered as it stands.

    `identifier` is the first message that no CAP Ack of the partner covers (one that names a later message covers it), `since` when it
    was put on its way and `delivered_at` when the partner's end took it over, None = not yet.
    """

    partner: str
    receiver: str
    alert_id: int
    alert: str
    identifier: str
    since: datetime
    delivered_at: datetime | None = None

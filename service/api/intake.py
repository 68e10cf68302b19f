"""Observations over HTTP: the native JSON body of MQTT, through the same pipeline, answered after the commit.

This file finishes with `take_in`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from domain.errors import InputError
from ingest.messages import Message
from ingest.report import MessageReceipt

PATH = "/api/v1/observations"


@dataclass(frozen=True, slots=True)
class Intake:
    """One request's body, whose it is and when it came."""

    station: str
    body: dict[str, Any]
    actor: str
    received_at: datetime

    def payload(self) -> bytes:
        """Return the body as a device would have sent it over MQTT: without the station, which is its topic."""
        inner = {name: value for name, value in self.body.items() if name != "station"}
        inner = inner["observations"] if set(inner) == {"observations"} else inner
        try:
            return json.dumps(inner, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise InputError("the body holds half of a surrogate pair.", remedy="send text that is valid Unicode") from error


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the commit did with the body."""

    receipt: MessageReceipt

    @property
    def nothing_fits(self) -> bool:
        """Was there nothing that could be stored?"""
        counts = self.receipt.counts
        return counts.accepted + counts.duplicate + counts.corrected == 0

    def answer(self) -> dict[str, Any]:
        """Return the JSON answer."""
        counts = self.receipt.counts
        return {
            "accepted": counts.accepted,
            "duplicate": counts.duplicate,
            "corrected": counts.corrected,
            "rejected": counts.rejected,
            "rejects": [{"line": item.line, "code": item.code, "reason": item.reason} for item in self.receipt.rejects],
            "batch_id": counts.batch_id,
            "ledger_seq": counts.ledger_seq,
        }


def take_in(container: Any, intake: Intake) -> Outcome:
    """Put the body through the pipeline; returns after the commit. `UnavailableError` when nothing could be stored."""
    message = Message(intake.station, intake.payload(), intake.received_at, PATH, intake.actor)
    receipts = container.pipeline.ingest_messages([message], intake.received_at, source_kind="http", actor=intake.actor)
    return Outcome(receipts[0])

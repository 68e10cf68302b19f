"""Message formats: payloads of devices, parsed into elements whose stations, datastreams and units are looked up afterwards.

A format that comes in files and in messages has both entries: `FORMATS` and `MESSAGE_FORMATS`. This file finishes with `MessageFormat`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from ingest.formats.native_json import Elements


@dataclass(frozen=True, slots=True)
class MessageContext:
    """What is known of a message beside its bytes.

    Attributes
    ----------
    where
        Topic or path, for messages.
    received_at
        When it arrived (aware): what relative times count from.
    station
        Station of the topic, of the credentials or of the registered device.
    model
        Model of the registered device's sensor, which names its codec; None when nothing states one.
    """

    where: str
    received_at: datetime
    station: str
    model: str | None = None


@dataclass(frozen=True, slots=True)
class MessageFormat:
    """How one kind of message is read: `(raw, context) -> Elements`; raises `InputError` when the bytes are not of the kind at all."""

    name: str
    elements: Callable[[bytes, MessageContext], Elements]
    media_type: str = "application/json"

"""Message formats: payloads of devices, parsed into elements whose stations, datastreams and units are looked up afterwards.

A format that comes in files and in messages has both entries: `FORMATS` and `MESSAGE_FORMATS`. This file finishes with `MessageFormat`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple

from ingest.formats.native_json import Elements


class MessageContext(NamedTuple):
    """What is known of a message beside its bytes; a named tuple, because each message has one.

    Attributes
    ----------
    where
        Topic or path, for messages.
    received_at
        When it arrived (aware): what relative times count from.
    station
        Station of the topic, of the credentials or of the registered device.
    attributes
        What is registered of the device: its `codec`, the codec's `parameters`, its `channel`.
    """

    where: str
    received_at: datetime
    station: str
    attributes: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class MessageFormat:
    """How one kind of message is read: `(raw, context) -> Elements`; raises `InputError` when the bytes are not of the kind at all.

    `identity` reads the sender out of the bytes (None = they do not say, or are damaged), where the protocol has such a field,
    `password` what the sender proves itself with.
    """

    name: str
    elements: Callable[[bytes, MessageContext], Elements]
    media_type: str = "application/json"
    identity: Callable[[bytes], str | None] | None = None
    password: Callable[[bytes], str | None] | None = None

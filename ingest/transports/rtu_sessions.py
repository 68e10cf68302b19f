"""What a server of RTUs does with the frames of one connection: which bytes are one message, and what the device is told once it is stored.

Stateless parsing stays in the formats; here is only what spans frames of one connection: packets of long messages. This file finishes
with `message_of_source`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from ingest.formats import hj212_packet, sl651_frame
from ingest.formats.element_table import load_table
from ingest.formats.frames import Framing
from ingest.messages import Message

MOST_HELD_BYTES = 1 << 20
"""Where the packets of a connection that wait for others are longer, they are stored as they are."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """Bytes that are stored as one message, and the answer that its sender gets afterwards (None = none)."""

    payload: bytes
    answer: bytes | None = None


class Session(Protocol):
    """The frames of one connection."""

    def take(self, frame: bytes) -> Sequence[Delivery]:
        """Return what a sound frame completes: nothing for a sign of life or a packet whose others are missing."""

    def end(self) -> Sequence[Delivery]:
        """Return what is held when the connection ends."""


@dataclass(slots=True)
class _Packets:
    """The packets of one message by number, and those of a message before it that never became whole."""

    held: dict[int, bytes] = field(default_factory=dict)
    left: list[bytes] = field(default_factory=list)

    def add(self, number: int, frame: bytes) -> int:
        """Take a packet and return its bytes, 0 where it is held already.

        One that begins a message, or says another thing than its namesake, is of another message than those held: a device sends its
        packets in order and, unconfirmed, all of them again, and only the first one names its message by serial number and time.
        """
        if self.held.get(number) == frame:
            return 0
        if number == 1 or number in self.held:
            self.left += self.held.values()
            self.held.clear()
        self.held[number] = frame
        return len(frame)

    def abandoned(self) -> Sequence[Delivery]:
        """Return those that were left over and did not come again: refused as incomplete, and kept."""
        lost = [frame for frame in self.left if frame not in self.held.values()]
        return [Delivery(b"".join(lost))] if lost else []

    @property
    def size(self) -> int:
        """Return the bytes of all of them."""
        return sum(map(len, (*self.held.values(), *self.left)))


@dataclass(slots=True)
class Sl651Session:
    """SL 651: reports are confirmed, links kept alive without answer, packets of a long message joined before they are confirmed."""

    _held: dict[tuple[str, int, int], _Packets] = field(default_factory=dict)
    _bytes: int = 0

    def take(self, frame: bytes) -> Sequence[Delivery]:
        """Return the report that a frame is or completes."""
        functions = load_table("sl651")["functions"]
        read = sl651_frame.read_frame(frame)
        if not read.is_from_station:
            return [Delivery(frame)]
        if read.function in functions["idle"]:
            return []
        if read.packet is None:
            return [Delivery(frame, sl651_frame.confirmation(read) if read.function in functions["confirmed"] else None)]
        return self._packet(frame, read, is_confirmed=read.function in functions["confirmed"])

    def _packet(self, frame: bytes, read: sl651_frame.Frame, *, is_confirmed: bool) -> Sequence[Delivery]:
        number, count = read.packet or (0, 0)
        key = (read.station, read.function, count)
        packets = self._held.setdefault(key, _Packets())
        self._bytes += packets.add(number, frame)
        if not 1 <= number <= count:
            return self._give_up(key)
        if self._bytes > MOST_HELD_BYTES:
            return self.end()
        if len(packets.held) < count:
            return []
        self._bytes -= packets.size
        del self._held[key]
        first = sl651_frame.read_frame(packets.held[1])
        whole = b"".join(packets.held[number] for number in range(1, count + 1))
        return [*packets.abandoned(), Delivery(whole, sl651_frame.confirmation(read, first=first) if is_confirmed else None)]

    def _give_up(self, key: tuple[str, int, int]) -> Sequence[Delivery]:
        packets = self._held.pop(key)
        self._bytes -= packets.size
        return [*packets.abandoned(), Delivery(b"".join(packets.held.values()))]

    def end(self) -> Sequence[Delivery]:
        """Return the packets of messages that never became whole: refused as such, and kept."""
        return [delivery for key in list(self._held) for delivery in self._give_up(key)]


@dataclass(slots=True)
class Hj212Session:
    """HJ 212: data get 9014 and notifications 9013 where Flag asks for it; a later packet without time is stored with the first."""

    _dated: tuple[tuple[str, str, str], bytes] | None = None

    def take(self, frame: bytes) -> Sequence[Delivery]:
        """Return the packet, with the one before it that holds its time where it has none."""
        packet = hj212_packet.read_packet(frame)
        key = (packet.device, packet.request, packet.command)
        payload = frame
        if packet.fields.get("DataTime"):
            self._dated = (key, frame)
        elif packet.parts > 1 and self._dated is not None and self._dated[0] == key:
            payload = self._dated[1] + frame
        return [Delivery(payload, self._answer(packet))]

    def _answer(self, packet: hj212_packet.Packet) -> bytes | None:
        answers = load_table("hj212")["answers"]
        if not packet.wants_answer:
            return None
        if packet.command in answers["data"]:
            return hj212_packet.answer(packet, "9014")
        return hj212_packet.answer(packet, "9013") if packet.command in answers["notification"] else None

    def end(self) -> Sequence[Delivery]:
        """Return nothing: every packet was stored when it came."""
        return []


@dataclass(frozen=True, slots=True)
class RtuProtocol:
    """How a protocol is framed and what its connections remember."""

    framing: Framing
    session: Callable[[], Session]


PROTOCOLS: Mapping[str, RtuProtocol] = {
    "sl651": RtuProtocol(sl651_frame.FRAMING, Sl651Session),
    "hj212": RtuProtocol(hj212_packet.FRAMING, Hj212Session),
}
"""By the name of the message format."""
_SOURCE = re.compile(r"tcp://[^/]+/(?P<format>[a-z0-9_]+)")


def message_of_source(source: str, payload: bytes, received_at: datetime) -> Message | None:
    """Return the message that a stored payload of a TCP connection was; None for other sources.

    Examples
    --------
    >>> from datetime import UTC
    >>> message_of_source("tcp://10.0.0.7/sl651", b"", datetime(2026, 1, 1, tzinfo=UTC)).format
    'sl651'
    """
    match = _SOURCE.fullmatch(source)
    if match is None or match["format"] not in PROTOCOLS:
        return None
    return Message("", payload, received_at, source, format=match["format"])

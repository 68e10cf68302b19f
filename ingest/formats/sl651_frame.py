"""Frames of SL 651-2014 in HEX/BCD encoding: header, checksum, packets of long messages, and the confirmation of the centre.

```
7E7E | centre 1 | station 5 BCD | password 2 | function 1 | direction and length 2 | STX 02 or SYN 16 | body | ETX ... | CRC 2
```

The length counts the bytes between STX and ETX; its first half byte is 0 from the station and 8 from the centre, in whose frames station
and centre change places. This file finishes with `confirmation`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ingest.formats.crc import crc16_modbus
from ingest.formats.frames import Framing

MARK = b"\x7e\x7e"
STX, SYN = 0x02, 0x16
ETX, ETB, ENQ, EOT, ACK, NAK, ESC = 0x03, 0x17, 0x05, 0x04, 0x06, 0x15, 0x1B
_UP_ENDS = frozenset({ETX, ETB})
_DOWN_ENDS = frozenset({ENQ, EOT, ACK, NAK, ESC, ETX, ETB})
_HEAD = 14
_TAIL = 3
LONGEST = _HEAD + 0xFFF + _TAIL
PACKET_HEAD = 3


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame whose checksum is right.

    Attributes
    ----------
    centre, station, password
        As hexadecimal digits; the station is the RTU's address.
    function
        E.g. 0x32 timed report.
    is_from_station
        False for frames that the centre sends.
    packet
        `(number, of how many)` of a message in several packets (SYN), else None.
    body
        Between STX (or the packet's number) and the end.
    has_more
        True when another packet follows (ETB).
    """

    centre: str
    station: str
    password: str
    function: int
    is_from_station: bool
    packet: tuple[int, int] | None
    body: bytes
    has_more: bool

    @property
    def serial(self) -> bytes:
        """Serial number (2 bytes) of a first packet or of a single frame."""
        return self.body[:2]

    @property
    def sent(self) -> bytes:
        """Time of sending (6 bytes BCD) of a first packet or of a single frame."""
        return self.body[2:8]


def frame_length(data: bytes, start: int) -> int | None:
    """Return the length of the frame at `start`; 0 = none begins there, None = too few bytes to tell."""
    head = data[start : start + _HEAD]
    if len(head) < _HEAD:
        return None
    if head[11] >> 4 not in {0, 8} or head[13] not in {STX, SYN}:
        return 0
    return _HEAD + _body_length(head) + _TAIL


def _body_length(head: bytes) -> int:
    return (head[11] & 0x0F) << 8 | head[12]


def frame_fault(frame: bytes) -> str | None:
    """Return what is wrong with a frame of the right length, or None."""
    ends = _DOWN_ENDS if frame[11] >> 4 else _UP_ENDS
    if frame[-_TAIL] not in ends:
        return f"the frame ends with {frame[-_TAIL]:02X}, so its length is wrong"
    stated, computed = int.from_bytes(frame[-2:], "big"), crc16_modbus(frame[:-2])
    if stated != computed:
        return f"the CRC is {stated:04X}, that of the bytes is {computed:04X}; the frame is damaged, or the device computes another CRC"
    return None


FRAMING = Framing(MARK, frame_length, frame_fault, LONGEST)


def read_frame(data: bytes) -> Frame:
    """Return the parts of a sound frame."""
    is_from_station = data[11] >> 4 == 0
    first, second = (slice(2, 3), slice(3, 8)) if is_from_station else (slice(7, 8), slice(2, 7))
    body = data[_HEAD : _HEAD + _body_length(data)]
    packet: tuple[int, int] | None = None
    if data[13] == SYN:
        counts = int.from_bytes(body[:PACKET_HEAD], "big")
        packet, body = (counts & 0xFFF, counts >> 12), body[PACKET_HEAD:]
    return Frame(
        centre=data[first].hex().upper(),
        station=data[second].hex().upper(),
        password=data[8:10].hex().upper(),
        function=data[10],
        is_from_station=is_from_station,
        packet=packet,
        body=body,
        has_more=data[-_TAIL] == ETB,
    )


def as_bytes(raw: bytes) -> bytes:
    """Return frames that a modem or a log wrote as hexadecimal text as the bytes that they are; others as they came."""
    if b"".join(raw[:16].split())[:4].upper() != b"7E7E":
        return raw
    try:
        return bytes.fromhex(raw.decode("ascii"))
    except ValueError:
        return raw


def assemble(frames: Iterable[Frame]) -> list[Frame]:
    """Join the packets of long messages; a message of which a packet is missing stays in its packets, in order.

    The first packet holds serial number and times, the others go on where it ended. A packet that says another thing than its namesake
    is of another message.
    """
    whole: list[Frame] = []
    open_packets: dict[tuple[str, int, int], dict[int, Frame]] = {}
    for frame in frames:
        if frame.packet is None:
            whole.append(frame)
            continue
        number, count = frame.packet
        key = (frame.station, frame.function, count)
        packets = open_packets.setdefault(key, {})
        if packets.get(number, frame) != frame:
            whole += packets.values()
            packets.clear()
        packets[number] = frame
        if len(packets) == count and all(number in packets for number in range(1, count + 1)):
            whole.append(_joined([packets[number] for number in range(1, count + 1)]))
            del open_packets[key]
    for packets in open_packets.values():
        whole += packets.values()
    return whole


def _joined(packets: list[Frame]) -> Frame:
    first = packets[0]
    return Frame(
        centre=first.centre,
        station=first.station,
        password=first.password,
        function=first.function,
        is_from_station=first.is_from_station,
        packet=None,
        body=b"".join(packet.body for packet in packets),
        has_more=False,
    )


def confirmation(frame: Frame, *, first: Frame | None = None, end: int = ESC) -> bytes:
    """Return the centre's confirmation of a report: serial number and time of sending echoed, station and centre exchanged.

    Parameters
    ----------
    frame
        What is confirmed.
    first
        The first packet of a message in several, which holds serial number and time.
    end
        ESC keeps the device on line, EOT lets it sleep.
    """
    echoed = first or frame
    body = echoed.serial + echoed.sent
    head = bytes.fromhex(f"7E7E{frame.station}{frame.centre}{frame.password}{frame.function:02X}")
    content = head + (0x8000 | len(body)).to_bytes(2, "big") + bytes((STX,)) + body + bytes((end,))
    return content + crc16_modbus(content).to_bytes(2, "big")

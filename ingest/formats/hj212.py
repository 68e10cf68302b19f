"""HJ 212-2017, the protocol of environmental monitoring: packets of data loggers into observations.

`CP=&&DataTime=20260101080000;w01010-Rtd=21.4,w01010-Flag=N&&` is one group a factor; which factor is which property, which field of which
command is stored and what the marks mean stands in `elements/hj212.yaml`. What has no place there is refused by factor, and kept. A
later packet of a split message may leave DataTime out and has that of the packet before. This file finishes with `parse`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from domain.errors import FormatError, InputError
from domain.observation import ParsedPayload, Rejected
from domain.quality import Quality
from ingest.formats.decoding import head
from ingest.formats.element_table import Place, TableReader, Unplaced, is_duration, microseconds, unplaced_reason
from ingest.formats.format import ImportContext
from ingest.formats.frames import Piece, cut
from ingest.formats.hj212_packet import FRAMING, Packet, packet_fault, packet_length, read_packet
from ingest.formats.message import MessageContext
from ingest.formats.native_json import NO_END, Element, Elements
from ingest.formats.payloads import payload_of
from ingest.profile import Profile

PROTOCOL = "hj212"
_DATA_TIME = "DataTime"
_TIME_DIGITS = 14


def sniff(raw: bytes, filename: str) -> float:
    """Return how sure we are that these are HJ 212 packets."""
    del filename
    beginning = head(raw, 4096).lstrip()
    if not beginning.startswith("##") or not beginning[2:6].isdigit():
        return 0.0
    return 0.95 if "CN=" in beginning and "CP=&&" in beginning else 0.2


def identity(raw: bytes) -> str | None:
    """Return the MN of the first sound packet, or None."""
    first = _first(raw)
    return (first.device or None) if first is not None else None


def password(raw: bytes) -> str | None:
    """Return PW of the first sound packet, or None."""
    first = _first(raw)
    return None if first is None else first.password


def _first(raw: bytes) -> Packet | None:
    sound = (read_packet(piece) for kind, piece in cut(raw, FRAMING, is_final=True) if kind is Piece.FRAME)
    return next(sound, None)


def message_elements(raw: bytes, context: MessageContext) -> Elements:
    """Parse the packets of one message, all of one device.

    Raises
    ------
    FormatError
        No packet begins anywhere in the bytes.
    """
    reader = TableReader(PROTOCOL, context.attributes, context.where)
    return _parsed(raw, reader, stated_periods(context.attributes, context.where), context.where)


def stated_periods(attributes: Mapping[str, Any], where: str) -> Mapping[str, float]:
    """Return the seconds that a device's means cover, by command.

    Raises
    ------
    InputError
        They are no mapping of numbers.
    """
    content = attributes.get("periods") or {}
    if not isinstance(content, Mapping) or not all(is_duration(value) for value in content.values()):
        raise InputError("the device's periods are no seconds by command.", where=where, remedy='e.g. periods={"2051": 300}')
    return {str(command): float(value) for command, value in content.items()}


def _parsed(raw: bytes, reader: TableReader, periods: Mapping[str, float], where: str) -> Elements:
    found = Elements()
    times: dict[tuple[str, str, str], str] = {}
    is_any = False
    for line, (kind, piece) in enumerate(cut(raw, FRAMING, is_final=True), start=1):
        if kind is Piece.FRAME:
            is_any = True
            packet = read_packet(piece)
            stated = times.setdefault((packet.device, packet.request, packet.command), packet.fields.get(_DATA_TIME, ""))
            time = packet.fields.get(_DATA_TIME) or stated
            _Message(packet, reader, periods, time, line, piece, found).read()
        elif kind is Piece.DAMAGED:
            found.rejected.append(Rejected(line, "crc", damage(piece), piece))
    if not is_any and not found.rejected:
        raise FormatError("no HJ 212 packet begins here.", where=where, remedy="send ##LLLL...CP=&&...&&CCCC and CR LF")
    return found


def damage(piece: bytes) -> str:
    """Return what is wrong with a stretch that begins like a packet."""
    length = packet_length(piece, 0)
    if length is None or length > len(piece):
        return f"the packet ends after {len(piece)} of {'6 or more' if length is None else length} bytes; it will be sent again"
    fault = packet_fault(piece[:length]) if length else None
    return fault or "the bytes are no packet"


@dataclass(slots=True)
class _Message:
    """One packet on its way into elements."""

    packet: Packet
    reader: TableReader
    periods: Mapping[str, float]
    time: str
    line: int
    raw: bytes
    found: Elements

    def read(self) -> None:
        """Add what the packet says to the elements found."""
        packet, table = self.packet, self.reader.table
        command: Mapping[str, Any] | None = table["commands"].get(packet.command)
        if command is None:
            self._refuse("function", f"CN={packet.command} holds no observations", self.raw)
            return
        at_us = self._moment(self.time)
        if at_us is None:
            self._refuse("time", f"DataTime={self.time!r} is no time (YYYYMMDDhhmmss)", self.raw)
            return
        period_s = float(self.periods.get(packet.command, command.get("period_s") or 0))
        end_us = at_us + round(period_s * 1_000_000) if period_s > 0 else NO_END
        for group in packet.groups:
            self._group(group, command, at_us, end_us)

    def _refuse(self, code: str, reason: str, raw: bytes) -> None:
        self.found.rejected.append(Rejected(self.line, code, f"MN={self.packet.device}: {reason}", raw))

    def _moment(self, text: str) -> int | None:
        if len(text) != _TIME_DIGITS or not (text.isascii() and text.isdigit()):
            return None
        is_24 = text.endswith("240000")  # midnight as the end of a day
        try:
            moment = datetime.strptime(f"{text[:8]}000000" if is_24 else text, "%Y%m%d%H%M%S").replace(tzinfo=self.reader.zone)
            return microseconds(moment + timedelta(days=is_24))
        except (ValueError, OverflowError):
            return None

    def _group(self, group: Mapping[str, str], command: Mapping[str, Any], at_us: int, end_us: int) -> None:
        plain = self.reader.table["plain"]["suffixes"]
        for name, text in group.items():
            code, separator, suffix = name.partition("-")
            if not separator or suffix == "Flag" or suffix in plain:
                continue
            place = self._placed(code, suffix, command)
            if isinstance(place, Unplaced):
                if place.is_wanted:
                    self._refuse("element", unplaced_reason(name, place, PROTOCOL), self._field(group, code))
                continue
            self._element(place, name, text, group.get(f"{code}-Flag", ""), at_us, end_us)

    def _placed(self, code: str, suffix: str, command: Mapping[str, Any]) -> Place | Unplaced:
        entry = self.reader.entry(code) or {}
        place = self.reader.place(code, field=suffix)
        if isinstance(place, Unplaced) or suffix in entry.get("fields", {}):
            return place
        if suffix != command["field"]:
            return Unplaced(entry.get("name"), is_wanted=True)
        channel = command.get("channel")
        key = f"{place.key}{'_' if ':' in place.key else ':'}{channel}" if channel else place.key
        return Place(key, place.unit, place.extent_us)

    def _field(self, group: Mapping[str, str], code: str) -> bytes:
        """Return a factor's fields as a packet has them."""
        return ",".join(f"{name}={value}" for name, value in group.items() if name.partition("-")[0] == code).encode()

    def _element(self, place: Place, name: str, text: str, mark: str, at_us: int, end_us: int) -> None:
        if place.unit is None:
            reason = f"nothing states the unit of {name}. Remedy: name it in the device's attributes (elements), then replay"
            self._refuse("unit", reason, f"{name}={text}".encode())
            return
        number = _number(text)
        if number is None:
            self._refuse("value", f"{name}={text!r} is no number", f"{name}={text}".encode())
            return
        quality, reasons = self._quality(mark)
        if math.isnan(number):
            quality = int(Quality.MISSING)
        self.found.units[place.key] = place.unit
        self.found.values.append(Element(place.key, at_us, end_us, number, math.nan, quality, reasons, self.line))

    def _quality(self, mark: str) -> tuple[int, tuple[str, ...] | None]:
        if not mark:
            return int(Quality.UNKNOWN), None
        flags = self.reader.table["flags"]
        said = flags.get(mark, flags["unknown"])
        reason = said.get("reason")
        return int(said["quality"]), (str(reason),) if reason else None


def _number(text: str) -> float | None:
    """Return a finite number, NaN for a value that is left out, None for what is no number."""
    if text in {"", "-", "--"}:
        return math.nan
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and "_" not in text else None


def devices(raw: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the bytes of each device's packets in a file; what is damaged comes with an empty MN."""
    own: dict[str, list[bytes]] = {}
    for kind, piece in cut(raw, FRAMING, is_final=True):
        if kind in {Piece.FRAME, Piece.DAMAGED}:
            own.setdefault(read_packet(piece).device if kind is Piece.FRAME else "", []).append(piece)
    for device, pieces in own.items():
        yield device, b"".join(pieces)


def parse(raw: bytes, profile: Profile | None, context: ImportContext) -> ParsedPayload:
    """Parse a file of packets; a station without `--station` is named by the device's MN.

    Raises
    ------
    FormatError
        No packet begins anywhere in the file.
    """
    del profile
    reader = TableReader(PROTOCOL, {"zone": context.zone} if context.zone else {}, context.filename)
    parts = [(device, _parsed(packets, reader, {}, context.filename)) for device, packets in devices(raw)]
    if not parts:
        raise FormatError("no HJ 212 packet begins here.", where=context.filename, remedy="give a file of ##LLLL packets")
    return payload_of(parts, context)

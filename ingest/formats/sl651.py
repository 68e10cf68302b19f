"""SL 651-2014, the protocol of Chinese hydrological RTUs: reports of stations into observations.

A report is `serial 2 | sent 6 | F1F1 address 5 class 1 | F0F0 observed 5 | elements`; an element is `code 1 (FF code for a maker's own) |
attribute 1 | value`, where the attribute is the value's length in its upper five bits and the number of decimals in the others. Which code
is which property stands in `elements/sl651.yaml`. What has no place there is refused by element, and kept. This file finishes with `parse`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from domain.errors import FormatError
from domain.observation import ParsedPayload, Rejected
from domain.quality import Quality
from ingest.formats.decoding import head
from ingest.formats.element_table import Place, TableReader, Unplaced, microseconds, unplaced_reason
from ingest.formats.format import ImportContext
from ingest.formats.frames import Piece, cut
from ingest.formats.message import MessageContext
from ingest.formats.native_json import NO_END, Element, Elements
from ingest.formats.payloads import payload_of
from ingest.formats.sl651_frame import FRAMING, Frame, as_bytes, assemble, frame_fault, frame_length, read_frame
from ingest.profile import Profile

PROTOCOL = "sl651"
_STATION, _TIME, _STEP, _CUSTOM = 0xF1, 0xF0, 0x04, 0xFF
_MANUAL, _PICTURE = 0xF2, 0xF3
_HEAD = 8
_STEP_BYTES = 3


def sniff(raw: bytes, filename: str) -> float:
    """Return how sure we are that these are SL 651 frames."""
    del filename
    beginning = head(raw, 64).lstrip().upper()
    if raw.startswith(b"\x7e\x7e"):
        return 0.95 if frame_length(raw, 0) else 0.3
    return 0.95 if beginning.startswith("7E7E") else 0.0


def identity(raw: bytes) -> str | None:
    """Return the address of the RTU whose first sound frame this is, or None."""
    first = _first(raw)
    return None if first is None else first.station


def password(raw: bytes) -> str | None:
    """Return the password of the first sound frame as four hexadecimal digits, or None."""
    first = _first(raw)
    return None if first is None else first.password


def _first(raw: bytes) -> Frame | None:
    sound = (read_frame(piece) for kind, piece in cut(as_bytes(raw), FRAMING, is_final=True) if kind is Piece.FRAME)
    return next(sound, None)


def message_elements(raw: bytes, context: MessageContext) -> Elements:
    """Parse the frames of one message, all of one RTU.

    Raises
    ------
    FormatError
        No frame begins anywhere in the bytes.
    """
    reader = TableReader(PROTOCOL, context.attributes, context.where)
    return _parsed(raw, reader, context.where)


def _parsed(raw: bytes, reader: TableReader, where: str) -> Elements:
    found = Elements()
    frames: list[Frame] = []
    for line, (kind, piece) in enumerate(cut(as_bytes(raw), FRAMING, is_final=True), start=1):
        if kind is Piece.FRAME:
            frames.append(read_frame(piece))
        elif kind is Piece.DAMAGED:
            found.rejected.append(Rejected(line, "crc", damage(piece), piece))
    if not frames and not found.rejected:
        raise FormatError("no SL 651 frame begins here.", where=where, remedy="send 7E7E ... in HEX/BCD encoding")
    reports = assemble(frames)
    for line, frame in enumerate(reports, start=1):
        _Report(frame, reader, line, found).read()
    found.is_sign_of_life = not found.values and all(frame.function in reader.table["functions"]["idle"] for frame in reports)
    return found


def damage(piece: bytes) -> str:
    """Return what is wrong with a stretch that begins like a frame."""
    length = frame_length(piece, 0)
    if length is None or length > len(piece):
        return f"the frame ends after {len(piece)} of {'14 or more' if length is None else length} bytes; it will be sent again"
    fault = frame_fault(piece[:length]) if length else None
    return fault or "the bytes are no frame"


@dataclass(slots=True)
class _Cursor:
    """A place in the body of a report."""

    body: bytes
    position: int = 0

    @property
    def left(self) -> int:
        return len(self.body) - self.position

    def take(self, count: int) -> bytes | None:
        """Return the next bytes and pass them, or None when there are too few."""
        if count > self.left:
            return None
        taken = self.body[self.position : self.position + count]
        self.position += count
        return taken


@dataclass(slots=True)
class _Report:
    """One report on its way into elements; `observed_us` and `step_us` are what the latest F0F0 and 04 said."""

    frame: Frame
    reader: TableReader
    line: int
    found: Elements
    station_class: str | None = None
    observed_us: int | None = None
    step_us: int = 0
    cursor: _Cursor = field(init=False)

    def __post_init__(self) -> None:
        self.cursor = _Cursor(self.frame.body, _HEAD)

    def read(self) -> None:
        """Add what the report says to the elements found."""
        functions = self.reader.table["functions"]
        if self.frame.function in functions["idle"]:
            return
        if not self.frame.is_from_station:
            self._refuse("direction", "the frame is one of the centre, not of a station", self.frame.body)
        elif self.frame.packet is not None:
            number, count = self.frame.packet
            self._refuse(
                "packet", f"packet {number} of {count} without the others; have the device send all again", self.frame.body
            )
        elif self.frame.function not in functions["report"]:
            self._refuse("function", f"function {self.frame.function:02X} holds no observations", self.frame.body)
        elif len(self.frame.body) < _HEAD:
            self._refuse("value", "the report has no serial number and time", self.frame.body)
        else:
            while self.cursor.left:
                if not self._next():
                    return

    def _refuse(self, code: str, reason: str, raw: bytes) -> None:
        self.found.rejected.append(Rejected(self.line, code, f"station {self.frame.station}: {reason}", raw))

    def _next(self) -> bool:
        """Read one element; False when what follows cannot be told apart."""
        begin = self.cursor.position
        code = self.cursor.body[begin]
        width = 3 if code == _CUSTOM else 2
        name = self.cursor.take(width)
        if name is None:
            return self._cut_off(begin)
        if code == _STATION:
            return self._station(begin)
        if code == _TIME:
            return self._observed(begin)
        if code in {_MANUAL, _PICTURE}:
            self._refuse("element", "entries by hand and pictures are kept as they are, not read", self.cursor.body[begin:])
            return False
        length, decimals = name[-1] >> 3, name[-1] & 0x07
        element = name[:-1].hex().upper()
        if code == _STEP:
            return self._step(begin, length)
        entry = self.reader.entry(element) or {}
        if "step_s" in entry:
            return self._series(begin, element, length, entry)
        if self.step_us and self.frame.function in self.reader.table["functions"]["stepped"]:
            return self._stepped(begin, element, length, decimals)
        value = self.cursor.take(length)
        if value is None or length == 0:
            return self._cut_off(begin)
        self._value(element, value, decimals, self.observed_us, name + value)
        return True

    def _cut_off(self, begin: int) -> bool:
        self._refuse("value", "the element is longer than the frame, or has no length", self.cursor.body[begin:])
        return False

    def _station(self, begin: int) -> bool:
        address = self.cursor.take(5)
        if address is None:
            return self._cut_off(begin)
        if address.hex().upper() != self.frame.station:
            self._refuse("station", f"the report is of station {address.hex().upper()}", self.cursor.body[begin:])
            return False
        if not self.cursor.body.startswith(bytes((_TIME, _TIME)), self.cursor.position):
            kind = self.cursor.take(1)
            self.station_class = None if kind is None else self.reader.table["classes"].get(kind[0])
        return True

    def _observed(self, begin: int) -> bool:
        digits = self.cursor.take(5)
        if digits is None:
            return self._cut_off(begin)
        self.observed_us = self._moment(digits)
        if self.observed_us is None:
            self._refuse("time", f"{digits.hex().upper()} is no time of observation (YYMMDDhhmm)", self.cursor.body[begin:])
            return False
        return True

    def _moment(self, digits: bytes) -> int | None:
        text = digits.hex()
        if not text.isdecimal():
            return None
        year, month, day, hour, minute = (int(text[i : i + 2]) for i in range(0, 10, 2))
        extra = timedelta(0)
        if (hour, minute) == (24, 0):  # midnight as the end of a day
            hour, extra = 0, timedelta(days=1)
        try:
            return microseconds(datetime(2000 + year, month, day, hour, minute, tzinfo=self.reader.zone) + extra)
        except ValueError:
            return None

    def _step(self, begin: int, length: int) -> bool:
        digits = self.cursor.take(length)
        if digits is None or length != _STEP_BYTES or not digits.hex().isdecimal():
            return self._cut_off(begin)
        days, hours, minutes = (int(digits.hex()[i : i + 2]) for i in range(0, 6, 2))
        self.step_us = ((days * 24 + hours) * 60 + minutes) * 60_000_000
        return True

    def _stepped(self, begin: int, element: str, length: int, decimals: int) -> bool:
        """Read values at a fixed step, the first at the time of observation, to the end of the report."""
        if length == 0 or self.cursor.left % length:
            return self._cut_off(begin)
        number = 0
        while (value := self.cursor.take(length)) is not None and value:
            at = None if self.observed_us is None else self.observed_us + number * self.step_us
            self._value(element, value, decimals, at, value)
            number += 1
        return True

    def _series(self, begin: int, element: str, length: int, entry: Mapping[str, Any]) -> bool:
        """Read binary values at a fixed step, the last at the time of observation."""
        width, step_us = int(entry["bytes"]), round(float(entry["step_s"]) * 1_000_000)
        values = self.cursor.take(length)
        if values is None or length == 0 or length % width:
            return self._cut_off(begin)
        numbers = [int.from_bytes(values[i : i + width], "big") for i in range(0, length, width)]
        none = (1 << 8 * width) - 1
        for before, number in zip(range(len(numbers) - 1, -1, -1), numbers, strict=True):
            result = None if number == none else round(number * float(entry["scale"]), 6)
            at = None if self.observed_us is None else self.observed_us - before * step_us
            self._place(element, result, at, values)
        return True

    def _value(self, element: str, value: bytes, decimals: int, at_us: int | None, raw: bytes) -> None:
        entry = self.reader.entry(element) or {}
        rules = self.reader.table["encoding"]
        if entry.get("encoding") == "hex":
            result: float | None = int.from_bytes(value, "big") / 10**decimals
        else:
            try:
                result = decimal_of(value, decimals, int(rules["missing_byte"]), int(rules["negative_first_byte"]))
            except ValueError:
                if isinstance(self._placed(element), Place):
                    self._refuse("value", f"element {element}: {value.hex().upper()} is no BCD number", raw)
                else:
                    self._place(element, None, at_us, raw)
                return
        self._place(element, result, at_us, raw)

    def _placed(self, element: str) -> Place | Unplaced:
        return self.reader.place(element, station_class=self.station_class)

    def _place(self, element: str, result: float | None, at_us: int | None, raw: bytes) -> None:
        place = self._placed(element)
        if isinstance(place, Unplaced):
            if place.is_wanted:
                self._refuse("element", unplaced_reason(element, place, PROTOCOL), raw)
            return
        if at_us is None:
            self._refuse("time", f"element {element} comes before any time of observation (F0F0)", raw)
            return
        if place.unit is not None:
            self.found.units[place.key] = place.unit
        quality = Quality.MISSING if result is None else Quality.GOOD
        number = math.nan if result is None else result
        start, end = (at_us - place.extent_us, at_us) if place.extent_us else (at_us, NO_END)
        self.found.values.append(Element(place.key, start, end, number, math.nan, int(quality), None, self.line))


def decimal_of(value: bytes, decimals: int, missing_byte: int, negative_first_byte: int) -> float | None:
    """Return the number of BCD digits; None for a value that the device marks as missing.

    Parameters
    ----------
    value
        The digits, two a byte; a first byte `negative_first_byte` is the minus sign.
    decimals
        How many of the digits stand behind the point.
    missing_byte
        A value of nothing but these bytes is missing; so is one of nothing but the sign.

    Raises
    ------
    ValueError
        A half byte is no digit.

    Examples
    --------
    >>> decimal_of(bytes.fromhex("000523"), 2, 0xAA, 0xFF), decimal_of(bytes.fromhex("FF0182"), 1, 0xAA, 0xFF)
    (5.23, -18.2)
    >>> decimal_of(bytes.fromhex("AAAAAA"), 2, 0xAA, 0xFF) is None
    True
    """
    if value in {bytes((missing_byte,)) * len(value), bytes((negative_first_byte,)) * len(value)}:
        return None
    is_negative = value[0] == negative_first_byte and len(value) > 1
    digits = (value[1:] if is_negative else value).hex()
    if not digits.isdecimal():
        raise ValueError(digits)
    number = float(int(digits) / 10**decimals)
    return -number if is_negative else number


def stations(raw: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the bytes of each station's frames in a file; what is damaged comes with an empty address."""
    own: dict[str, list[bytes]] = {}
    for kind, piece in cut(as_bytes(raw), FRAMING, is_final=True):
        if kind in {Piece.FRAME, Piece.DAMAGED}:
            own.setdefault(read_frame(piece).station if kind is Piece.FRAME else "", []).append(piece)
    for address, pieces in own.items():
        yield address, b"".join(pieces)


def parse(raw: bytes, profile: Profile | None, context: ImportContext) -> ParsedPayload:
    """Parse a file of frames, binary or as hexadecimal text; a station without `--station` is named by the RTU's address.

    Raises
    ------
    FormatError
        No frame begins anywhere in the file.
    """
    del profile
    attributes = {"zone": context.zone} if context.zone else {}
    reader = TableReader(PROTOCOL, attributes, context.filename)
    parts = [(address, _parsed(frames, reader, context.filename)) for address, frames in stations(raw)]
    if not parts:
        raise FormatError("no SL 651 frame begins here.", where=context.filename, remedy="give a file of 7E7E ... frames")
    return payload_of(parts, context)

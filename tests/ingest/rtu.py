"""What an RTU would send: encoders of SL 651 frames and HJ 212 packets, written from the standards and sharing no code with the product."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

NO_VALUE = "AA"
SL651_WELL = bytes.fromhex(
    "7E7E0133040200011234320024020001250601080000F1F1330402000147F0F025060108000E1A000523031101823812124503024E"
)
"""Station 3304020001, 2025-06-01 08:00 +08:00: depth 5.23 m, water 18.2 degrees, battery 12.45 V."""


def modbus(data: bytes) -> int:
    register = 0xFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = (register >> 1) ^ 0xA001 if register & 1 else register >> 1
    return register


def hj212_crc(data: bytes) -> int:
    register = 0xFFFF
    for byte in data:
        register = (register >> 8) ^ byte
        for _ in range(8):
            register = (register >> 1) ^ 0xA001 if register & 1 else register >> 1
    return register


def element(code: str, value: Decimal | str | None, length: int, decimals: int) -> bytes:
    """Encode one element; None = AA..., a negative number begins with FF."""
    head = bytes.fromhex(code) + bytes([length << 3 | decimals])
    if value is None:
        return head + bytes.fromhex(NO_VALUE * length)
    number = Decimal(value)
    digits = f"{abs(int(number.scaleb(decimals))):d}"
    if number < 0:
        return head + b"\xff" + bytes.fromhex(digits.zfill(2 * (length - 1)))
    return head + bytes.fromhex(digits.zfill(2 * length))


def report(
    *elements: bytes,
    station: str = "3304020001",
    observed: str = "2506010800",
    function: int = 0x32,
    serial: int = 1,
    kind: str = "47",
    centre: str = "01",
    password: str = "1234",
) -> bytes:
    """Encode a report of one packet."""
    body = bytes.fromhex(f"{serial:04X}{observed}00F1F1{station}{kind}F0F0{observed}") + b"".join(elements)
    return framed(body, station=station, function=function, centre=centre, password=password)


def framed(
    body: bytes,
    *,
    station: str = "3304020001",
    function: int = 0x32,
    centre: str = "01",
    password: str = "1234",
    packet: tuple[int, int] | None = None,
    end: int = 0x03,
) -> bytes:
    """Put a body into a frame of the station; `packet` = (number, of how many)."""
    mark = b"\x02" if packet is None else b"\x16"
    if packet is not None:
        body = (packet[1] << 12 | packet[0]).to_bytes(3, "big") + body
    content = bytes.fromhex(f"7E7E{centre}{station}{password}{function:02X}{len(body):04X}") + mark + body + bytes([end])
    return content + modbus(content).to_bytes(2, "big")


def keep_alive(station: str = "3304020001", serial: int = 9) -> bytes:
    return framed(bytes.fromhex(f"{serial:04X}250601080000"), station=station, function=0x2F)


def packet(
    groups: Iterable[str],
    *,
    time: str | None = "20250601080000",
    device: str = "JX0000TAIL01",
    command: str = "2011",
    flag: int | None = 5,
    request: str = "20250601080000123",
    split: tuple[int, int] | None = None,
) -> bytes:
    """Encode an HJ 212 packet; `split` = (PNUM, PNO)."""
    content = ";".join([*([f"DataTime={time}"] if time else []), *groups])
    parts = f"PNUM={split[0]};PNO={split[1]};" if split else ""
    flags = "" if flag is None else f"Flag={flag};"
    return wrapped(f"QN={request};ST=32;CN={command};PW=123456;MN={device};{flags}{parts}CP=&&{content}&&")


def wrapped(body: str) -> bytes:
    content = body.encode()
    return b"##%04d" % len(content) + content + b"%04X\r\n" % hj212_crc(content)

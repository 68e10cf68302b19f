"""What an edge node would publish: protobuf written byte by byte from the Sparkplug B schema, sharing no code with the product."""

from __future__ import annotations

import struct
from collections.abc import Sequence

INT32, INT64, FLOAT, DOUBLE, BOOLEAN, STRING = 3, 4, 9, 10, 11, 12


def varint(value: int) -> bytes:
    """Encode an unsigned number, seven bits a byte."""
    value &= (1 << 64) - 1
    encoded = b""
    while value > 0x7F:
        encoded += bytes([value & 0x7F | 0x80])
        value >>= 7
    return encoded + bytes([value])


def tagged(number: int, wire: int, body: bytes) -> bytes:
    """Encode a field; wire type 2 gets its length."""
    return varint(number << 3 | wire) + (varint(len(body)) if wire == 2 else b"") + body


def metric(
    name: str | None = None,
    value: float | str | bool | None = None,
    *,
    alias: int | None = None,
    datatype: int | None = DOUBLE,
    at_ms: int | None = None,
    is_historical: bool = False,
    kind: int | None = None,
) -> bytes:
    """Encode a metric; `kind` is the datatype that decides how the value is written where none is stated."""
    body = b""
    if name is not None:
        body += tagged(1, 2, name.encode())
    if alias is not None:
        body += tagged(2, 0, varint(alias))
    if at_ms is not None:
        body += tagged(3, 0, varint(at_ms))
    if datatype is not None:
        body += tagged(4, 0, varint(datatype))
    if is_historical:
        body += tagged(5, 0, varint(1))
    if value is None:
        return body + tagged(7, 0, varint(1))
    body += tagged(9, 2, tagged(1, 2, b"engUnit") + tagged(2, 2, b"\x08\x0c\x42\x01m"))  # properties, which nobody reads here
    return body + _value(kind or datatype or DOUBLE, value)


def _value(kind: int, value: float | str | bool) -> bytes:
    if kind == INT32:
        return tagged(10, 0, varint(int(value) & 0xFFFFFFFF))
    if kind == INT64:
        return tagged(11, 0, varint(int(value)))
    if kind == FLOAT:
        return tagged(12, 5, struct.pack("<f", value))
    if kind == BOOLEAN:
        return tagged(14, 0, varint(int(value)))
    if kind == STRING:
        return tagged(15, 2, str(value).encode())
    return tagged(13, 1, struct.pack("<d", value))


def payload(metrics: Sequence[bytes], *, at_ms: int | None = None, seq: int | None = None) -> bytes:
    """Encode a payload."""
    body = tagged(1, 0, varint(at_ms)) if at_ms is not None else b""
    body += b"".join(tagged(2, 2, one) for one in metrics)
    return body + (tagged(3, 0, varint(seq)) if seq is not None else b"")

r"""Packets of HJ 212-2017: length, checksum, fields, and the answer of the centre.

```
##LLLL QN=...;ST=..;CN=....;PW=...;MN=...;Flag=.;[PNUM=..;PNO=..;]CP=&&name=value,name=value;name=value&&CCCC\r\n
```

`LLLL` counts the bytes between itself and the checksum. Bit 0 of `Flag` asks for an answer, bit 1 says that the message is split into
packets, the others hold the version of the standard. This file finishes with `answer`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ingest.formats.crc import crc16_hj212
from ingest.formats.frames import Framing

MARK = b"##"
END = b"\r\n"
_HEAD = 6
_TAIL = 6
LONGEST = _HEAD + 9999 + _TAIL
ANSWER_WANTED, IS_SPLIT = 1, 2
VERSION_2017 = 4


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet whose checksum is right; a field that it does not have is empty.

    Attributes
    ----------
    request
        QN, the request's number: time of the request to the millisecond.
    system, command, password, device
        ST, CN, PW, MN.
    flag
        Flag as a number; 0 where it is absent or no number.
    parts
        PNUM, how many packets the message has.
    number
        PNO, which of them this is, from 1.
    groups
        CP: the groups between semicolons, each with its fields between commas.
    """

    request: str
    system: str
    command: str
    password: str
    device: str
    flag: int
    parts: int
    number: int
    groups: tuple[Mapping[str, str], ...]

    @property
    def wants_answer(self) -> bool:
        """Does bit 0 of Flag ask for an answer?"""
        return bool(self.flag & ANSWER_WANTED)

    @property
    def fields(self) -> Mapping[str, str]:
        """Return every field of CP by its name."""
        return {name: value for group in self.groups for name, value in group.items()}


def packet_length(data: bytes, start: int) -> int | None:
    """Return the length of the packet at `start`; 0 = none begins there, None = too few bytes to tell."""
    digits = data[start + len(MARK) : start + _HEAD]
    if digits and not digits.isdigit():
        return 0
    if len(digits) < _HEAD - len(MARK):
        return None
    return _HEAD + int(digits) + _TAIL


def packet_fault(packet: bytes) -> str | None:
    """Return what is wrong with a packet of the right length, or None."""
    if not packet.endswith(END):
        return "the packet does not end with CR LF, so its length is wrong"
    stated = packet[-_TAIL : -len(END)]
    computed = crc16_hj212(packet[_HEAD:-_TAIL])
    try:
        matches = len(stated.strip()) == 4 and int(stated, 16) == computed
    except ValueError:
        matches = False
    if not matches:
        said = stated.decode("ascii", "replace")
        return (
            f"the CRC is {said}, that of the bytes by HJ 212-2017 appendix A is {computed:04X}; "
            "the packet is damaged, or the device computes the CRC of Modbus: correct its setting"
        )
    return None


FRAMING = Framing(MARK, packet_length, packet_fault, LONGEST)


def read_packet(data: bytes) -> Packet:
    """Return the parts of a sound packet; text that is no UTF-8 is read as GB 18030."""
    body = _decoded(data[_HEAD:-_TAIL])
    head, _, content = body.partition("CP=&&")
    content = content.rpartition("&&")[0] if "&&" in content else content
    fields = _fields(head.replace(";", ","))
    return Packet(
        request=fields.get("QN", ""),
        system=fields.get("ST", ""),
        command=fields.get("CN", ""),
        password=fields.get("PW", ""),
        device=fields.get("MN", ""),
        flag=_number(fields.get("Flag", "")),
        parts=max(_number(fields.get("PNUM", "")), 1),
        number=max(_number(fields.get("PNO", "")), 1),
        groups=tuple(group for text in content.split(";") if (group := _fields(text))),
    )


def _decoded(body: bytes) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        return body.decode("gb18030", "replace")


def _fields(text: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in text.split(","))
    return {name.strip(): value.strip() for name, separator, value in pairs if separator and name.strip()}


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def packet_of(body: str) -> bytes:
    """Return a body as a packet: its length before it, its checksum behind it."""
    content = body.encode("utf-8")
    return MARK + f"{len(content):04d}".encode() + content + f"{crc16_hj212(content):04X}".encode() + END


def answer(packet: Packet, command: str) -> bytes:
    """Return the centre's answer to a packet: 9014 to data, 9013 to a notification; the request's number echoed."""
    request = f"QN={packet.request};" if packet.request else ""
    return packet_of(f"{request}ST=91;CN={command};PW={packet.password};MN={packet.device};Flag={VERSION_2017};CP=&&&&")

"""CAP 1.2 in and out: written with every element in order, checked by rules of our own, and read without trusting the sender.

Foreign messages are parsed with no DTD, no entity and no network: a document that declares one is refused before anything is expanded.
References: OASIS CAP 1.2 (namespace `urn:oasis:names:tc:emergency:cap:1.2`); GB/T 35965.1-2018 for the identifier. This file finishes
with `parse`; `cap_problems` has the rules.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from lxml import etree

from alerts.cap_problems import NAMESPACE, problems
from domain.alert import Level, MessageStatus, MessageType, severity_of
from domain.errors import FormatError, InputError

BEIJING = ZoneInfo("Asia/Shanghai")
IDENTIFIER = re.compile(r"^[0-9]{6}[0-9A-Z]{8}_[0-9]{14}_[0-9]$")
MAX_BYTES = 2_000_000
_Q = f"{{{NAMESPACE}}}"


@dataclass(frozen=True, slots=True)
class Pair:
    """A `valueName` with its `value`."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Area:
    """Where. `polygon` is closed, (latitude, longitude) in degrees; `circle` is (latitude, longitude, radius in km)."""

    description: str
    geocodes: tuple[Pair, ...] = ()
    polygon: tuple[tuple[float, float], ...] = ()
    circle: tuple[float, float, float] | None = None


@dataclass(frozen=True, slots=True)
class Info:
    """One language's account of an alert."""

    language: str
    event: str
    level: Level
    urgency: str
    certainty: str
    headline: str
    description: str
    instruction: str
    sender_name: str
    area: Area
    response_types: tuple[str, ...] = ("Monitor", "Assess")
    categories: tuple[str, ...] = ("Geo",)
    event_codes: tuple[Pair, ...] = ()
    onset: datetime | None = None
    expires: datetime | None = None
    parameters: tuple[Pair, ...] = ()


@dataclass(frozen=True, slots=True)
class Message:
    """One CAP message. `references` names the messages that it follows."""

    identifier: str
    sender: str
    sent: datetime
    status: MessageStatus
    message_type: MessageType
    infos: tuple[Info, ...]
    restriction: str
    references: tuple[str, ...] = ()
    note: str | None = None


def time_text(moment: datetime) -> str:
    """Return a time as CAP wants it: whole seconds and a numeric offset (+08:00), never `Z`."""
    return moment.astimezone(BEIJING).isoformat(timespec="seconds")


def reference(sender: str, identifier: str, sent: datetime) -> str:
    """Return `sender,identifier,sent`, by which a later message names this one."""
    return f"{sender},{identifier},{time_text(sent)}"


def to_xml(message: Message) -> bytes:
    """Return the message as UTF-8 XML, scope Restricted.

    Raises
    ------
    InputError
        When it breaks a rule of CAP or of the identifier.
    """
    if not IDENTIFIER.match(message.identifier):
        raise InputError(
            f"{message.identifier!r} is no identifier of GB/T 35965.1.", remedy="use ZZZZZZDDDUUUXX_YYYYMMDDhhmmss_N"
        )
    root = etree.Element(f"{_Q}alert", nsmap={None: NAMESPACE})
    texts = [
        ("identifier", message.identifier),
        ("sender", message.sender),
        ("sent", time_text(message.sent)),
        ("status", message.status.value),
        ("msgType", message.message_type.value),
        ("scope", "Restricted"),
        ("restriction", message.restriction),
        ("note", message.note or ""),
        ("references", " ".join(message.references)),
    ]
    _write(root, texts)
    for info in message.infos:
        _write_info(root, info)
    found = problems(root)
    if found:
        raise InputError(f"the message breaks CAP 1.2: {found[0]}", where=message.identifier)
    return bytes(etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True))


def _write(parent: etree._Element, texts: Sequence[tuple[str, str]]) -> None:
    for name, text in texts:
        if text:
            etree.SubElement(parent, f"{_Q}{name}").text = _clean(text)


def _clean(text: str) -> str:
    """Leave out control characters, which XML cannot hold."""
    return "".join(letter for letter in text if letter in "\t\n\r" or ord(letter) >= 32)


def _write_pairs(parent: etree._Element, name: str, pairs: Sequence[Pair]) -> None:
    for pair in pairs:
        _write(etree.SubElement(parent, f"{_Q}{name}"), [("valueName", pair.name), ("value", pair.value)])


def _write_info(root: etree._Element, info: Info) -> None:
    element = etree.SubElement(root, f"{_Q}info")
    _write(element, [("language", info.language)])
    _write(element, [("category", category) for category in info.categories])
    _write(element, [("event", info.event)])
    _write(element, [("responseType", response) for response in info.response_types])
    _write(element, [("urgency", info.urgency), ("severity", severity_of(info.level)), ("certainty", info.certainty)])
    _write_pairs(element, "eventCode", info.event_codes)
    if info.onset is not None:
        _write(element, [("onset", time_text(info.onset))])
    if info.expires is not None:
        _write(element, [("expires", time_text(info.expires))])
    _write(
        element,
        [
            ("senderName", info.sender_name),
            ("headline", info.headline),
            ("description", info.description),
            ("instruction", info.instruction),
        ],
    )
    _write_pairs(element, "parameter", info.parameters)
    _write_area(element, info.area)


def _write_area(parent: etree._Element, area: Area) -> None:
    element = etree.SubElement(parent, f"{_Q}area")
    _write(element, [("areaDesc", area.description)])
    if area.polygon:
        _write(element, [("polygon", " ".join(f"{latitude:.4f},{longitude:.4f}" for latitude, longitude in area.polygon))])
    if area.circle is not None:
        latitude, longitude, radius = area.circle
        _write(element, [("circle", f"{latitude:.4f},{longitude:.4f} {radius:g}")])
    _write_pairs(element, "geocode", area.geocodes)


# --- reading --------------------------------------------------------------------------------------------------------


def parse(raw: bytes) -> etree._Element:
    """Parse a foreign CAP message and refuse it unless it is one.

    Raises
    ------
    FormatError
        When it declares a DTD or an entity, is no XML, is too large, or breaks a rule of CAP 1.2.
    """
    if len(raw) > MAX_BYTES:
        raise FormatError(f"the message has {len(raw)} bytes.", remedy=f"send at most {MAX_BYTES}")
    if b"<!DOCTYPE" in raw or b"<!ENTITY" in raw or raw[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        raise FormatError("the message declares a document type or an entity.", remedy="send CAP as plain UTF-8 XML without DTD")
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError("the message is not UTF-8.", remedy="send CAP as plain UTF-8 XML") from error
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False, huge_tree=False)
    try:
        root = etree.fromstring(raw, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise FormatError(f"the message is no XML: {error}", remedy="send well-formed XML") from error
    if root.getroottree().docinfo.doctype:
        raise FormatError("the message declares a document type.", remedy="send CAP without DTD")
    found = problems(root)
    if found:
        raise FormatError(f"the message is no valid CAP 1.2: {'; '.join(found[:5])}", remedy="correct it and send it again")
    return root

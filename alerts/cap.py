"""CAP 1.2 in and out: written with every element in order, checked by rules of our own, and read without trusting the sender.

Foreign messages are parsed with no DTD, no entity and no network: a document that declares one is refused before anything is expanded.
References: OASIS CAP 1.2 (namespace `urn:oasis:names:tc:emergency:cap:1.2`); GB/T 35965.1-2018 for the identifier. This file finishes
with `problems`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from lxml import etree

from domain.alert import Level, MessageStatus, MessageType, severity_of
from domain.errors import FormatError, InputError

NAMESPACE = "urn:oasis:names:tc:emergency:cap:1.2"
BEIJING = ZoneInfo("Asia/Shanghai")
TIME = re.compile(r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}[-+]\d{2}:\d{2}$")
IDENTIFIER = re.compile(r"^[0-9]{6}[0-9A-Z]{8}_[0-9]{14}_[0-9]$")
MAX_BYTES = 2_000_000
_Q = f"{{{NAMESPACE}}}"

ALERT_ORDER = (
    "identifier", "sender", "sent", "status", "msgType", "source", "scope", "restriction", "addresses", "code", "note", "references",
    "incidents", "info",
)  # fmt: skip
INFO_ORDER = (
    "language", "category", "event", "responseType", "urgency", "severity", "certainty", "audience", "eventCode", "effective", "onset",
    "expires", "senderName", "headline", "description", "instruction", "web", "contact", "parameter", "resource", "area",
)  # fmt: skip
AREA_ORDER = ("areaDesc", "polygon", "circle", "geocode", "altitude", "ceiling")
RESOURCE_ORDER = ("resourceDesc", "mimeType", "size", "uri", "derefUri", "digest")
PAIR_ORDER = ("valueName", "value")
REPEATED = {
    "code",
    "info",
    "category",
    "responseType",
    "eventCode",
    "parameter",
    "resource",
    "area",
    "polygon",
    "circle",
    "geocode",
}
REQUIRED = {
    "alert": ("identifier", "sender", "sent", "status", "msgType", "scope"),
    "info": ("category", "event", "urgency", "severity", "certainty"),
    "area": ("areaDesc",),
    "resource": ("resourceDesc", "mimeType"),
    "pair": PAIR_ORDER,
}
WORDS = {
    "status": {"Actual", "Exercise", "System", "Test", "Draft"},
    "msgType": {"Alert", "Update", "Cancel", "Ack", "Error"},
    "scope": {"Public", "Restricted", "Private"},
    "category": {"Geo", "Met", "Safety", "Security", "Rescue", "Fire", "Health", "Env", "Transport", "Infra", "CBRNE", "Other"},
    "responseType": {"Shelter", "Evacuate", "Prepare", "Execute", "Avoid", "Monitor", "Assess", "AllClear", "None"},
    "urgency": {"Immediate", "Expected", "Future", "Past", "Unknown"},
    "severity": {"Extreme", "Severe", "Moderate", "Minor", "Unknown"},
    "certainty": {"Observed", "Likely", "Possible", "Unlikely", "Unknown"},
}
TIMES = {"sent", "effective", "onset", "expires"}


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


def problems(root: etree._Element) -> list[str]:
    """Return every rule of CAP 1.2 that a message breaks: elements, order, words, times, geometry, references.

    Beyond the schema: an Update or Cancel must name what it follows, Restricted needs a restriction, Private needs addresses.
    """
    if root.tag != f"{_Q}alert":
        return [f"the root is {root.tag}, not a CAP 1.2 alert"]
    found = list(_check(root, ALERT_ORDER, REQUIRED["alert"], "alert"))
    if not found:
        found += _check_header(root)
    for info in root.iterfind(f"{_Q}info"):
        found += _check(info, INFO_ORDER, REQUIRED["info"], "info")
        for name in ("eventCode", "parameter"):
            for pair in info.iterfind(f"{_Q}{name}"):
                found += _check(pair, PAIR_ORDER, REQUIRED["pair"], name)
        for resource in info.iterfind(f"{_Q}resource"):
            found += _check(resource, RESOURCE_ORDER, REQUIRED["resource"], "resource")
        for area in info.iterfind(f"{_Q}area"):
            found += _check_area(area)
    return found


def _check(parent: etree._Element, order: Sequence[str], required: Sequence[str], where: str) -> Iterator[str]:
    children = [child for child in parent if isinstance(child.tag, str) and child.tag.startswith(_Q)]
    names = [str(child.tag).removeprefix(_Q) for child in children]
    for name in required:
        if name not in names:
            yield f"{where}: {name} is missing"
    unknown = [name for name in names if name not in order]
    if unknown:
        yield f"{where}: {unknown[0]} does not belong here"
        return
    places = [order.index(name) for name in names]
    if places != sorted(places):
        yield f"{where}: the elements are out of order"
    for name in set(names):
        if names.count(name) > 1 and name not in REPEATED:
            yield f"{where}: {name} is given {names.count(name)} times"
    for child, name in zip(children, names, strict=True):
        text = (child.text or "").strip()
        if name in WORDS and text not in WORDS[name]:
            yield f"{where}: {name} is {text!r}"
        if name in TIMES and not _is_time(text):
            yield f"{where}: {name} is {text!r}, not a time with a numeric offset"


def _is_time(text: str) -> bool:
    if not TIME.match(text):
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _text(root: etree._Element, name: str) -> str:
    return (root.findtext(f"{_Q}{name}") or "").strip()


def _check_header(root: etree._Element) -> Iterator[str]:
    for name in ("identifier", "sender"):
        if not _text(root, name) or re.search(r"[\s,<&]", _text(root, name)):
            yield f"alert: {name} is {_text(root, name)!r}; it must not be empty or hold spaces, commas, < or &"
    scope, kind, references = _text(root, "scope"), _text(root, "msgType"), _text(root, "references")
    if scope == "Restricted" and not _text(root, "restriction"):
        yield "alert: scope Restricted needs a restriction"
    if scope == "Private" and not _text(root, "addresses"):
        yield "alert: scope Private needs addresses"
    if kind in {"Update", "Cancel", "Ack", "Error"} and not references:
        yield f"alert: {kind} needs references"
    for entry in references.split():
        parts = entry.split(",")
        if len(parts) != 3 or not all(parts) or not _is_time(parts[2]):
            yield f"alert: the reference {entry!r} is not sender,identifier,sent"


def _check_area(area: etree._Element) -> Iterator[str]:
    yield from _check(area, AREA_ORDER, REQUIRED["area"], "area")
    for geocode in area.iterfind(f"{_Q}geocode"):
        yield from _check(geocode, PAIR_ORDER, REQUIRED["pair"], "geocode")
    for polygon in area.iterfind(f"{_Q}polygon"):
        points = (polygon.text or "").split()
        if len(points) < 4 or points[0] != points[-1] or not all(_is_point(point) for point in points):
            yield "area: a polygon needs four points or more, lat,lon, the last equal to the first"
    for circle in area.iterfind(f"{_Q}circle"):
        parts = (circle.text or "").split()
        if len(parts) != 2 or not _is_point(parts[0]) or not _is_number(parts[1], 0.0, 20_100.0):
            yield "area: a circle is lat,lon radius"


def _is_point(text: str) -> bool:
    latitude, comma, longitude = text.partition(",")
    return bool(comma) and _is_number(latitude, -90.0, 90.0) and _is_number(longitude, -180.0, 180.0)


def _is_number(text: str, lowest: float, highest: float) -> bool:
    try:
        return lowest <= float(text) <= highest
    except ValueError:
        return False

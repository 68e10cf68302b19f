"""Every rule of CAP 1.2 that a message breaks: the schema's (elements, order, words, types) and those that only its text states.

What the OASIS schema refuses is refused here too, which a test shows on mutated messages; the schema itself is not needed at run time.
References: OASIS CAP 1.2, sections 3.2 and 3.3. This file finishes with `problems`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from lxml import etree

NAMESPACE = "urn:oasis:names:tc:emergency:cap:1.2"
SIGNATURE_NAMESPACE = "http://www.w3.org/2000/09/xmldsig#"
INSTANCE_NAMESPACE = "http://www.w3.org/2001/XMLSchema-instance"
_Q = f"{{{NAMESPACE}}}"
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}[-+]\d{2}:\d{2}")
_WIDEST_OFFSET = timedelta(hours=14)
_LANGUAGE = re.compile(r"([a-zA-Z]{1,8}(-[a-zA-Z0-9]{1,8})*)?")
_INTEGER = re.compile(r"[-+]?[0-9]+")
_DECIMAL = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)")
TYPES = {"language": _LANGUAGE, "size": _INTEGER, "altitude": _DECIMAL, "ceiling": _DECIMAL}
HOLDERS = {"alert", "info", "eventCode", "parameter", "resource", "area", "geocode"}
"""Elements that hold elements; all others hold text alone."""

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


def problems(root: etree._Element) -> list[str]:
    """Return every rule of CAP 1.2 that a message breaks: elements, order, words, types, times, geometry, references.

    Beyond the schema: an Update, Cancel, Ack or Error must name what it follows, Restricted needs a restriction, Private needs addresses,
    nothing expires before it begins or is sent, and no message follows itself or a later one.
    """
    if root.tag != f"{_Q}alert":
        return [f"the root is {root.tag}, not a CAP 1.2 alert"]
    found = [*_check_shape(root), *_check(root, ALERT_ORDER, REQUIRED["alert"], "alert")]
    if not found:
        found += [*_check_header(root), *_check_references(root)]
    for info in root.iterfind(f"{_Q}info"):
        found += _check_info(info)
    if not found:
        found += _check_periods(root)
    return found


def _check_info(info: etree._Element) -> Iterator[str]:
    yield from _check(info, INFO_ORDER, REQUIRED["info"], "info")
    for name in ("eventCode", "parameter"):
        for pair in info.iterfind(f"{_Q}{name}"):
            yield from _check(pair, PAIR_ORDER, REQUIRED["pair"], name)
    for resource in info.iterfind(f"{_Q}resource"):
        yield from _check(resource, RESOURCE_ORDER, REQUIRED["resource"], "resource")
    for area in info.iterfind(f"{_Q}area"):
        yield from _check_area(area)


def _check_shape(root: etree._Element) -> Iterator[str]:
    """Yield what no element of CAP may have: attributes, elements of other namespaces, text beside elements, elements within text."""
    for element in root.iter(f"{_Q}*"):
        name = str(element.tag).removeprefix(_Q)
        if any(not key.startswith(f"{{{INSTANCE_NAMESPACE}}}") for key in element.attrib):
            yield f"{name}: it has an attribute"
        children = [child for child in element if isinstance(child.tag, str)]
        if name not in HOLDERS:
            if children:
                yield f"{name}: it holds elements"
            continue
        if (element.text or "").strip() or any((child.tail or "").strip() for child in element):
            yield f"{name}: text stands beside its elements"
        yield from _check_strangers(root, element, children, name)


def _check_strangers(
    root: etree._Element, element: etree._Element, children: Sequence[etree._Element], name: str
) -> Iterator[str]:
    """Only a signature may come from elsewhere, and only at the end of the alert."""
    strange = [child for child in children if not str(child.tag).startswith(_Q)]
    at_the_end = not strange or children[-len(strange) :] == strange
    signed = all(str(child.tag).startswith(f"{{{SIGNATURE_NAMESPACE}}}") for child in strange)
    if strange and not (element is root and at_the_end and signed):
        yield f"{name}: {strange[0].tag} does not belong here"


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
    for name in sorted(set(names)):
        if names.count(name) > 1 and name not in REPEATED:
            yield f"{where}: {name} is given {names.count(name)} times"
    for child, name in zip(children, names, strict=True):
        yield from _check_text(child.text or "", name, where)


def _check_text(text: str, name: str, where: str) -> Iterator[str]:
    if name in WORDS and text not in WORDS[name]:
        yield f"{where}: {name} is {text!r}"
    if name in TIMES and _time_of(text) is None:
        yield f"{where}: {name} is {text!r}, not a time with a numeric offset"
    if name in TYPES and not TYPES[name].fullmatch(text.strip()):
        yield f"{where}: {name} is {text!r}"


def _time_of(text: str) -> datetime | None:
    if not _TIME.fullmatch(text):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    offset = moment.utcoffset()
    return moment if offset is not None and abs(offset) <= _WIDEST_OFFSET else None


def _text(root: etree._Element, name: str) -> str:
    return (root.findtext(f"{_Q}{name}") or "").strip()


def _check_header(root: etree._Element) -> Iterator[str]:
    for name in ("identifier", "sender"):
        if not _text(root, name) or re.search(r"[\s,<&]", _text(root, name)):
            yield f"alert: {name} is {_text(root, name)!r}; it must not be empty or hold spaces, commas, < or &"
    scope, kind = _text(root, "scope"), _text(root, "msgType")
    if scope == "Restricted" and not _text(root, "restriction"):
        yield "alert: scope Restricted needs a restriction"
    if scope == "Private" and not _text(root, "addresses"):
        yield "alert: scope Private needs addresses"
    if kind in {"Update", "Cancel", "Ack", "Error"} and not _text(root, "references"):
        yield f"alert: {kind} needs references"


def _check_references(root: etree._Element) -> Iterator[str]:
    """A message follows others that are older, each once, and never itself."""
    sent = _time_of(_text(root, "sent"))
    itself = (_text(root, "sender"), _text(root, "identifier"))
    seen: set[tuple[str, str]] = set()
    for entry in _text(root, "references").split():
        parts = entry.split(",")
        moment = _time_of(parts[2]) if len(parts) == 3 and all(parts) else None
        if moment is None:
            yield f"alert: the reference {entry!r} is not sender,identifier,sent"
            continue
        named = (parts[0], parts[1])
        if named == itself:
            yield "alert: the message refers to itself"
        if named in seen:
            yield f"alert: the reference {entry!r} is given twice"
        if sent is not None and moment > sent:
            yield f"alert: the reference {entry!r} was sent after this message"
        seen.add(named)


def _check_periods(root: etree._Element) -> Iterator[str]:
    """What expires does so after it was sent, takes effect and begins."""
    for info in root.iterfind(f"{_Q}info"):
        times = {name: _time_of(_text(info, name)) for name in ("effective", "onset", "expires")}
        begins = {"sent": _time_of(_text(root, "sent")), "effective": times["effective"], "onset": times["onset"]}
        for name, moment in begins.items():
            if times["expires"] is not None and moment is not None and times["expires"] < moment:
                yield f"info: expires lies before {name}"


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

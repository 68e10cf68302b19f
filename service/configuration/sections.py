"""One function a file of the folder: entries become typed values, problems are collected.

This file finishes with `parse_partners` and its check of agreements.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from alerts.cases import read_escalation
from alerts.notifiers.webhook import check_format
from alerts.routing import read_duty
from alerts.templates import check_templates
from domain.alert import Level
from domain.alerting import Receiver
from domain.datum import DatumOffset
from domain.errors import ConfigurationError, InputError
from domain.licence import Licence, Limit, Region
from domain.model import ObservedProperty, ValueKind, station_code
from domain.units import parse_unit
from service.configuration.city import Aquifer, NamedDatum, Node, Partner
from service.configuration.reading import Entry, Problems, list_entries
from service.sharing.agreement import Agreement

REGION = r"[1-9][0-9]{5}"
REGION_WORDS = 'a GB/T 2260 code of six digits in quotes, e.g. "330400"'
COLOURS = ("blue", "yellow", "orange", "red")
AGREEMENT_KEYS = (
    "datasets", "regions", "stations", "properties", "disclosure", "cadence", "acknowledge_within_h", "senders", "signature", "reply_to",
)  # fmt: skip
NODE_MAPPINGS = ("map", "cap", "contact", "escalation", "duties")
ESCALATIONS = ("cases", "acknowledgement", "partners")
DUTY_FIELDS = frozenset({"cause", "owner_zh", "owner_en", "top_m", "bottom_m", "head", "source", "effective_from"})
RECEIVER_KINDS = ("webhook", "smtp", "mqtt", "apprise")


def entries_of(file: str, content: dict[str, Any], name: str, problems: Problems, *, key: str = "code") -> list[Entry]:
    """Return the entries of one list at the top of a file."""
    return list_entries(file, content.get(name), name, problems, key=key)


def refuse_unknown_tops(file: str, content: dict[str, Any], known: tuple[str, ...], problems: Problems) -> None:
    """Report keys at the top of a file that have no meaning there."""
    for key in content:
        if key not in known:
            problems.add(file, "", str(key), "is an unknown key.", "known here: " + ", ".join(known))


def known_unit(entry: Entry, unit: str, field: str = "unit") -> str:
    """Return the unit, recording a problem when it is no UCUM code that GroundWatch knows."""
    if unit:
        try:
            parse_unit(unit)
        except InputError as error:
            entry.problem(field, error.what, error.remedy or "write a UCUM code")
    return unit


def parse_node(content: dict[str, Any], problems: Problems) -> Node:
    """Read node.yaml."""
    refuse_unknown_tops("node.yaml", content, ("node",), problems)
    data = content.get("node")
    if not isinstance(data, dict):
        problems.add("node.yaml", "", "node", "is missing.", "add node: with code, name_zh, name_en, region_code and zone")
        data = {}
    entry = Entry("node.yaml", "node", data, problems)
    node = Node(
        code=entry.text(
            "code", pattern=r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", meaning="a node code of letters, digits, '.', '_' or '-'"
        ),
        name_zh=entry.text("name_zh"),
        name_en=entry.text("name_en"),
        region_code=entry.text("region_code", pattern=REGION, meaning=REGION_WORDS),
        zone=_zone(entry),
        simulated=entry.flag("simulated"),
        attributes={name: entry.mapping(name) for name in NODE_MAPPINGS if entry.raw(name) is not None},
    )
    _check_escalation(entry, node.attributes.get("escalation") or {})
    _check_duties(entry, node.attributes.get("duties") or {})
    entry.finish()
    return node


def _check_duties(entry: Entry, duties: Mapping[str, Any]) -> None:
    remedy = (
        "write rows: [{cause, owner_zh, owner_en, top_m, bottom_m, head: falling | not_falling | any, source, effective_from}]"
    )
    rows = duties.get("rows") or []
    if not isinstance(rows, list):
        entry.problem("duties", "has rows that are no list.", remedy)
        return
    otherwise = duties.get("otherwise")
    for row in [*rows, *([otherwise] if otherwise is not None else [])]:
        if not isinstance(row, Mapping) or not {"cause", "owner_zh", "owner_en"} <= set(row) or not set(row) <= DUTY_FIELDS:
            entry.problem("duties", f"has a row that cannot be read: {row!r}.", remedy)
        elif str(row.get("head", "any")) not in {"falling", "not_falling", "any"}:
            entry.problem("duties", f"has the head {row['head']!r}.", remedy)


def _check_escalation(entry: Entry, escalation: Mapping[str, Any]) -> None:
    for name, steps in escalation.items():
        if name == "source":
            continue
        if name not in (*ESCALATIONS, "working"):
            entry.problem("escalation", f"{name!r} is not escalated.", "known: " + ", ".join((*ESCALATIONS, "working", "source")))
            continue
        try:
            if name == "working":
                read_duty({"hours": steps}, "escalation.working")
            else:
                read_escalation(steps if isinstance(steps, list) else [{}], f"escalation.{name}")
        except InputError as error:
            entry.problem("escalation", f"{name}: {error.what}", error.remedy or "")


def _zone(entry: Entry) -> str:
    zone = entry.text("zone")
    try:
        ZoneInfo(zone or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        entry.problem("zone", f"{zone!r} is no time zone.", "write an IANA name such as Asia/Shanghai")
    return zone


def parse_regions(content: dict[str, Any], problems: Problems) -> list[Region]:
    """Read regions.yaml, parents before children."""
    refuse_unknown_tops("regions.yaml", content, ("regions",), problems)
    regions = []
    for entry in entries_of("regions.yaml", content, "regions", problems):
        regions.append(
            Region(
                code=entry.text("code", pattern=REGION, meaning=REGION_WORDS),
                name_zh=entry.text("name_zh"),
                name_en=entry.text("name_en"),
                parent_code=entry.optional_text("parent", pattern=REGION, meaning=REGION_WORDS),
            )
        )
        entry.finish()
    return _parents_first(regions, problems)


def _parents_first(regions: list[Region], problems: Problems) -> list[Region]:
    ordered: list[Region] = []
    placed: set[str] = set()
    waiting = list(regions)
    while waiting:
        ready = [region for region in waiting if region.parent_code is None or region.parent_code in placed]
        if not ready:
            for region in waiting:
                problems.add(
                    "regions.yaml",
                    f"regions {region.code}",
                    "parent",
                    f"{region.parent_code!r} is no region above it.",
                    "add that region",
                )
            return regions
        ordered += ready
        placed |= {region.code for region in ready}
        waiting = [region for region in waiting if region.code not in placed]
    return ordered


def parse_datums(file: str, content: dict[str, Any], problems: Problems) -> tuple[list[NamedDatum], list[DatumOffset]]:
    """Read datums and the offsets between them; every offset states its source."""
    refuse_unknown_tops(file, content, ("datums", "offsets"), problems)
    datums = []
    for entry in entries_of(file, content, "datums", problems):
        datums.append(NamedDatum(entry.text("code"), entry.text("name_zh"), entry.text("name_en"), entry.text("source")))
        entry.finish()
    offsets = []
    for entry in entries_of(file, content, "offsets", problems, key="from"):
        offset = DatumOffset(
            source_datum=entry.text("from"),
            target_datum=entry.text("to"),
            region_prefix=entry.optional_text("region", pattern=r"[0-9]{1,6}", meaning="the beginning of a GB/T 2260 code") or "",
            offset_m=entry.number("offset_m"),
            source=entry.text("source"),
            effective_from=entry.optional_day("effective_from"),
            effective_to=entry.optional_day("effective_to"),
        )
        entry.finish()
        if offset.source_datum == offset.target_datum:
            entry.problem("to", "is the same datum as from.", "name two different datums")
        offsets.append(offset)
    return datums, offsets


def parse_properties(file: str, content: dict[str, Any], problems: Problems) -> list[ObservedProperty]:
    """Read observed properties (shipped vocabulary, and those that a city adds)."""
    refuse_unknown_tops(file, content, ("observed_properties",), problems)
    found = []
    for entry in entries_of(file, content, "observed_properties", problems):
        found.append(
            ObservedProperty(
                code=entry.text("code", pattern=r"[a-z][a-z0-9_]{0,63}", meaning="lower-case letters, digits and '_'"),
                name_zh=entry.text("name_zh"),
                name_en=entry.text("name_en"),
                unit=known_unit(entry, entry.text("unit")),
                direction=entry.text("direction"),
                value_kind=entry.choice("value_kind", ValueKind, default=ValueKind.INSTANT),
                needs_datum=entry.flag("needs_datum"),
                lowest=entry.optional_number("lowest"),
                highest=entry.optional_number("highest"),
            )
        )
        entry.finish()
    return found


def parse_aquifers(content: dict[str, Any], problems: Problems) -> list[Aquifer]:
    """Read aquifers.yaml: this city's numbering and what the neighbours call the same aquifer."""
    refuse_unknown_tops("aquifers.yaml", content, ("aquifers",), problems)
    found = []
    for entry in entries_of("aquifers.yaml", content, "aquifers", problems):
        found.append(
            Aquifer(
                code=entry.text("code"),
                name_zh=entry.text("name_zh"),
                name_en=entry.text("name_en"),
                confined=entry.flag("confined", default=True),
                depth_top_m=entry.optional_number("depth_top_m"),
                depth_bottom_m=entry.optional_number("depth_bottom_m"),
                neighbours=entry.mapping("neighbours"),
                source=entry.text("source"),
            )
        )
        entry.finish()
    return found


def parse_limits(content: dict[str, Any], problems: Problems) -> list[Limit]:
    """Read limits.yaml: (zone, aquifer or station) x property x kind -> value, with source and validity."""
    refuse_unknown_tops("limits.yaml", content, ("limits",), problems)
    found = []
    for entry in entries_of("limits.yaml", content, "limits", problems):
        found.append(
            Limit(
                code=entry.text("code"),
                property_code=entry.text("property"),
                unit=known_unit(entry, entry.text("unit")),
                value=entry.number("value"),
                kind=entry.text("kind"),
                level=_colour(entry, "level"),
                zone_code=entry.optional_text("zone"),
                aquifer=entry.optional_text("aquifer"),
                station=entry.optional_text("station"),
                source=entry.text("source"),
                effective_from=entry.optional_day("effective_from"),
                effective_to=entry.optional_day("effective_to"),
            )
        )
        entry.finish()
    return found


def _colour(entry: Entry, field: str) -> str | None:
    word = entry.optional_text(field)
    if word is not None and word not in COLOURS:
        entry.problem(field, f"{word!r} is no colour.", "use one of " + ", ".join(COLOURS))
        return None
    return word


def parse_licences(content: dict[str, Any], problems: Problems) -> list[Licence]:
    """Read licences.yaml: rights with their quota and duties; a duty that is absent does not exist for that holder."""
    refuse_unknown_tops("licences.yaml", content, ("licences",), problems)
    found = []
    for entry in entries_of("licences.yaml", content, "licences", problems):
        start = entry.optional_text(
            "licence_year_start", pattern=r"(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])", meaning='"MM-DD" in quotes'
        )
        licence = Licence(
            code=entry.text("code"),
            station=named_station(entry, "station"),
            holder=entry.text("holder"),
            valid_from=entry.day("valid_from"),
            valid_to=entry.day("valid_to"),
            quota_m3_per_a=_positive(entry, "quota_m3_per_a"),
            quota_m3_per_d=_positive(entry, "quota_m3_per_d"),
            licence_year_start=start or "01-01",
            reinjection_ratio=entry.optional_number("reinjection_ratio"),
            drawdown_limit_m=_positive(entry, "drawdown_limit_m"),
            source=entry.text("source"),
            attributes=entry.mapping("attributes"),
            effective_from=entry.optional_day("effective_from"),
        )
        if licence.effective_from is not None and not licence.valid_from <= licence.effective_from <= licence.valid_to:
            entry.problem("effective_from", "lies outside the licence's period.", "write the first day of this version")
        if licence.valid_to <= licence.valid_from:
            entry.problem("valid_to", "is not after valid_from.", "correct the period of the licence")
        if licence.reinjection_ratio is not None and not 0 <= licence.reinjection_ratio <= 1:
            entry.problem(
                "reinjection_ratio", "is not between 0 and 1.", "write 0.8 for 80 %, or leave it out where no duty exists"
            )
        entry.finish()
        found.append(licence)
    return found


def _positive(entry: Entry, field: str) -> float | None:
    value = entry.optional_number(field)
    if value is not None and value <= 0:
        entry.problem(field, f"{value:g} is not greater than 0.", "leave the field out where there is no such limit")
        return None
    return value


def named_station(entry: Entry, field: str) -> str:
    """Return a station code in NFC form, recording a problem when it is none."""
    text = entry.text(field)
    if not text:
        return ""
    try:
        return station_code(text)
    except InputError as error:
        entry.problem(field, error.what, error.remedy or "correct the code")
        return ""


def parse_receivers(content: dict[str, Any], problems: Problems) -> list[Receiver]:
    """Read receivers.yaml: where alerts are sent and from which colour on."""
    refuse_unknown_tops("receivers.yaml", content, ("receivers",), problems)
    found = []
    for entry in entries_of("receivers.yaml", content, "receivers", problems):
        kind = entry.text("kind")
        if kind and kind not in RECEIVER_KINDS:
            entry.problem("kind", f"{kind!r} is unknown.", "use one of " + ", ".join(RECEIVER_KINDS))
        level = _colour(entry, "min_level")
        settings = entry.mapping("settings")
        _check_receiver(entry, settings)
        found.append(
            Receiver(
                code=entry.text("code"),
                kind=kind,
                settings=settings,
                min_level=Level[level.upper()] if level else Level.BLUE,
                matchers=entry.mapping("matchers"),
                outside=entry.flag("outside"),
                enabled=entry.flag("enabled", default=True),
            )
        )
        entry.finish()
    return found


def _check_receiver(entry: Entry, settings: Mapping[str, Any]) -> None:
    """Hours, digest and templates that cannot be read must be found before the night in which they matter."""
    for check in (check_templates, read_duty, check_format):
        try:
            check(settings, "settings")
        except InputError as error:
            entry.problem("settings", error.what, error.remedy or "")


def parse_partners(content: dict[str, Any], problems: Problems) -> list[Partner]:
    """Read partners.yaml: who takes part in the joint control and what its agreement lets it see."""
    refuse_unknown_tops("partners.yaml", content, ("partners",), problems)
    found = []
    for entry in entries_of("partners.yaml", content, "partners", problems):
        _check_agreement(entry)
        found.append(
            Partner(
                code=entry.text("code"),
                name_zh=entry.text("name_zh"),
                name_en=entry.text("name_en"),
                agreement=entry.mapping("agreement", required=True),
                source=entry.text("source"),
                enabled=entry.flag("enabled", default=True),
            )
        )
        entry.finish()
    return found


def _check_agreement(entry: Entry) -> None:
    """A typing error in an agreement must not share more than was meant."""
    agreement = entry.data.get("agreement")
    if not isinstance(agreement, dict):
        return
    for key in agreement:
        if key not in AGREEMENT_KEYS:
            entry.problem(f"agreement {key}", "is an unknown key.", "known: " + ", ".join(AGREEMENT_KEYS))
    try:
        Agreement.read(agreement, entry.label)
    except ConfigurationError as error:
        entry.problem("agreement", error.what, error.remedy or "compare with deploy/examples")

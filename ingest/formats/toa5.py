"""Campbell Scientific TOA5 tables: four header lines (environment, names, units, processing), quoted, comma-separated.

The file states no zone, so one must be declared; the timestamp is the end of the interval. Which fields are stored, as what, is
the profile's; a unit comes from the third line when it is one that GroundWatch knows, else from the profile. Reference: Campbell
Scientific, LoggerNet manual, appendix "Table formats" (TOA5). This file finishes with `parse`.
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from domain.errors import FormatError, UnitError
from domain.model import PROPERTY_CODE
from domain.observation import ParsedPayload, Rejected
from domain.units import canonical, parse_unit
from ingest.formats.decoding import decode, head, split_lines
from ingest.formats.delimited import table_payload
from ingest.formats.format import ImportContext, require_zone
from ingest.formats.header import fold
from ingest.formats.table import Table, split_row
from ingest.profile import ColumnRule, Profile

HEADER_LINES = 4
MISSING = ("NAN", "INF", "-INF")
_UNITS = {
    "degc": "Cel",
    "deg c": "Cel",
    "c": "Cel",
    "celsius": "Cel",
    "volts": "V",
    "volt": "V",
    "vdc": "V",
    "meters": "m",
    "meter": "m",
    "metres": "m",
    "millimeters": "mm",
    "mbar": "mbar",
    "hz": "Hz",
    "kpa": "kPa",
    "hpa": "hPa",
    "psi": "[psi]",
    "digits": "",
}
_FORMATS = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%d %H:%M")


def sniff(raw: bytes, filename: str) -> float:
    """Return how sure we are that this is TOA5."""
    del filename
    return 1.0 if head(raw, 64).lstrip().startswith(('"TOA5"', "TOA5,")) else 0.0


def parse(raw: bytes, profile: Profile | None, context: ImportContext) -> ParsedPayload:
    """Parse a TOA5 file.

    Rows after a change of the table inside the file are refused with the reason; gaps and resets of RECORD are listed in
    `notes["record_gaps"]` and `notes["record_resets"]`.

    Raises
    ------
    FormatError
        When the header is not TOA5's, no zone is declared, or no field is mapped.
    """
    lines = split_lines(decode(raw, profile.encoding if profile else None, where=context.filename))
    if len(lines) < HEADER_LINES or split_row(lines[0], ",")[0] != "TOA5":
        raise FormatError(
            'the first line does not begin with "TOA5".', where=context.filename, remedy="give the right --format, or a --profile"
        )
    require_zone(profile, context)
    environment, names, units = (split_row(line, ",") for line in lines[:3])
    if not names or fold(names[0]) != "timestamp":
        raise FormatError(
            "the second line does not name TIMESTAMP first.", where=context.filename, remedy="export the table again as TOA5"
        )
    kept, rejected, change = _rows(lines, len(names))
    table = Table(tuple(names), _cells(lines, kept, len(names)), np.array(kept, dtype=np.int32) + 1)
    effective = _profile(profile, environment, names, units, context)
    payload = table_payload(table, effective, context)
    notes: dict[str, Any] = {**payload.notes, "logger": _logger(environment)}
    notes |= _record_notes(table)
    if change is not None:
        notes["table_change_line"] = change
    all_rejected = sorted([*payload.rejected, *rejected], key=lambda item: item.line)
    return ParsedPayload(payload.streams, payload.columns, tuple(all_rejected), notes)


def _rows(lines: list[str], width: int) -> tuple[list[int], list[Rejected], int | None]:
    """Return the indices of sound data lines, what is refused, and the line at which the table changed."""
    kept: list[int] = []
    rejected: list[Rejected] = []
    change: int | None = None
    for index in range(HEADER_LINES, len(lines)):
        line = lines[index]
        if not line.strip():
            continue
        if change is None and line.lstrip().startswith(('"TOA5"', "TOA5,")):
            change = index + 1
        if change is not None:
            reason = f"the table changes at line {change}; import the part from there as a file of its own"
            rejected.append(Rejected(index + 1, "columns", reason, line.encode("utf-8")))
            continue
        if line.count(",") + 1 != width and len(split_row(line, ",")) != width:
            reason = (
                f"the row does not have the {width} fields of the header (cut off while written?); send the complete file again"
            )
            rejected.append(Rejected(index + 1, "columns", reason, line.encode("utf-8")))
            continue
        kept.append(index)
    return kept, rejected, change


def _cells(lines: list[str], kept: list[int], width: int) -> npt.NDArray[np.object_]:
    cells = np.empty((len(kept), width), dtype=object)
    for row, index in enumerate(kept):
        cells[row] = (split_row(lines[index], ",") + [""] * width)[:width]
    return cells


def _profile(
    profile: Profile | None, environment: list[str], names: list[str], units: list[str], context: ImportContext
) -> Profile:
    """Complete the profile with what the header states: unit, station name, missing marker."""
    stated = {fold(name): known_unit(units[i]) for i, name in enumerate(names) if i < len(units)}
    rules = profile.columns if profile else _rules_by_name(names)
    if not rules:
        raise FormatError(
            "no field of the table is a property that GroundWatch knows.",
            where=context.filename,
            remedy=f"map {', '.join(names[2:8])} to properties in a profile (format: toa5, columns:)",
        )
    completed = tuple(_complete(rule, stated) for rule in rules)
    found = profile or Profile(name="toa5", format="toa5")
    station = found.station
    says_station = station.constant or station.filename or station.template
    if not says_station and len(environment) > 1 and environment[1].strip():
        code = station.codes.get(environment[1].strip(), environment[1].strip())
        station = replace(station, constant=code)
    time = found.time
    timed = replace(time, columns=time.columns or (("TIMESTAMP",),), formats=time.formats or _FORMATS)
    return replace(found, delimiter=",", columns=completed, missing=(*MISSING, *found.missing), station=station, time=timed)


def _rules_by_name(names: list[str]) -> tuple[ColumnRule, ...]:
    """Without a profile, fields whose names are property codes (or property:channel) map themselves."""
    rules = []
    for name in names[1:]:
        code, _, channel = name.partition(":")
        if fold(name) != "record" and PROPERTY_CODE.match(code):
            rules.append(ColumnRule(match=(name,), property_code=code, channel=channel or None))
    return tuple(rules)


def _complete(rule: ColumnRule, stated: dict[str, str | None]) -> ColumnRule:
    if rule.unit:
        return rule
    unit = next((stated.get(fold(name)) for name in rule.match if isinstance(name, str) and stated.get(fold(name))), None)
    return replace(rule, unit=unit)


def known_unit(text: str) -> str | None:
    """Return the UCUM code for a unit as loggers write it, or None when it is none that GroundWatch knows."""
    stripped = text.strip()
    code = _UNITS.get(stripped.casefold(), canonical(stripped) if stripped else "")
    if not code:
        return None
    try:
        parse_unit(code)
    except UnitError:
        return None
    return code


def _logger(environment: list[str]) -> dict[str, str]:
    keys = ("format", "station", "model", "serial", "os", "program", "signature", "table")
    return {key: value for key, value in zip(keys[1:], environment[1:], strict=False) if value}


def _record_notes(table: Table) -> dict[str, Any]:
    """List gaps and resets of RECORD; a repeated row (the same record twice) is neither."""
    index = table.find(["RECORD"])
    if index is None:
        return {}
    texts = table.column(index)
    numbers = [
        (int(line), int(text)) for line, text in zip(table.lines, texts, strict=True) if re.fullmatch(r"\d{1,18}", str(text))
    ]
    gaps, resets = [], []
    for (_, before), (line, record) in pairwise(numbers):
        if record > before + 1:
            gaps.append({"line": line, "after": before, "before": record, "missing": record - before - 1})
        elif record < before:
            resets.append({"line": line, "from": before, "to": record})
    notes: dict[str, Any] = {"record_gaps": gaps[:1000]} if gaps else {}
    return notes | ({"record_resets": resets[:1000]} if resets else {})

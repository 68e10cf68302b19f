"""USGS RDB: tab-separated NWIS tables with `#` comments, a line of names and a line of widths (`5s 15s 20d 14n`).

Value columns are named by time-series id, parameter code and statistic (`01_00060_00003`), with a code column `..._cd` beside. The
profile maps parameter codes to properties and units. Reference: https://waterdata.usgs.gov/nwis/?tab_delimited_format_info. This
file finishes with `parse`.
"""

from __future__ import annotations

import re
from dataclasses import replace

from domain.errors import FormatError
from domain.model import ValueKind
from domain.observation import ParsedPayload
from ingest.formats.decoding import decode, head, split_lines
from ingest.formats.delimited import table_payload
from ingest.formats.format import ImportContext
from ingest.formats.table import read_tables
from ingest.profile import HeaderRule, Profile

_VALUE_COLUMN = re.compile(r"^(?:(?P<series>\d+)_)?(?P<parameter>\d{5})(?:_(?P<statistic>\d{5}))?$")
_WIDTHS = re.compile(r"^\d+[sdn](\t\d+[sdn])*\s*$")
_MEAN = "00003"
_DAY_S = 86400.0


def sniff(raw: bytes, filename: str) -> float:
    """Return how sure we are that this is RDB."""
    del filename
    lines = [line for line in split_lines(head(raw, 65536)) if line.strip() and not line.startswith("#")]
    return 0.95 if len(lines) >= 2 and lines[0].startswith("agency_cd\t") and _WIDTHS.match(lines[1]) else 0.0


def parse(raw: bytes, profile: Profile | None, context: ImportContext) -> ParsedPayload:
    """Parse an RDB table with the parameter codes of the profile.

    Daily means (statistic 00003) cover the local day that they are dated with; other values are instants.

    Raises
    ------
    FormatError
        When the table is no RDB, or no parameter code of it is in the profile.
    """
    if profile is None:
        raise FormatError(
            "RDB needs the meaning of its parameter codes.", where=context.filename, remedy="give --profile usgs_rdb"
        )
    text = decode(raw, where=context.filename)
    lines = split_lines(text)
    first = next((i for i, line in enumerate(lines) if line.strip() and not line.startswith("#")), None)
    if first is None or first + 1 >= len(lines) or not _WIDTHS.match(lines[first + 1]):
        raise FormatError(
            "there is no line of names followed by a line of widths (5s 15s 20d).",
            where=context.filename,
            remedy="give the right --format",
        )
    names = lines[first].split("\t")
    rules, unknown = [], []
    for name in names:
        match = _VALUE_COLUMN.match(name.strip())
        if not match:
            continue
        rule = profile.parameters.get(match["parameter"])
        if rule is None:
            unknown.append(match["parameter"])
            continue
        is_daily_mean = match["statistic"] == _MEAN
        several = (
            sum(
                1 for other in names if (found := _VALUE_COLUMN.match(other.strip())) and found["parameter"] == match["parameter"]
            )
            > 1
        )
        rules.append(
            replace(
                rule,
                match=(name.strip(),),
                quality=(f"{name.strip()}_cd",),
                channel=name.strip() if several else rule.channel,
                value_kind=ValueKind.MEAN if is_daily_mean else rule.value_kind,
                interval_s=_DAY_S if is_daily_mean else rule.interval_s,
            )
        )
    if not rules:
        raise FormatError(
            f"no parameter code of the file ({', '.join(unknown) or 'none found'}) is in the profile.",
            where=context.filename,
            remedy="add it under parameters: of a copy of profile usgs_rdb",
        )
    site = profile.station.template or "{site_no}"
    time = profile.time
    effective = replace(
        profile,
        delimiter="\t",
        comment="#",
        header=HeaderRule(row=1, skip_after=1),
        columns=tuple(rules),
        station=replace(profile.station, template=site),
        time=replace(
            time,
            columns=time.columns or (("datetime",),),
            zone_column=time.zone_column or ("tz_cd",),
            stamp="start",
            dates_are_days=True,
        ),
    )
    payload = table_payload(next(read_tables(raw, effective, where=context.filename)), effective, context)
    notes = {**payload.notes} | ({"parameters_not_stored": sorted(set(unknown))} if unknown else {})
    return ParsedPayload(payload.streams, payload.columns, payload.rejected, notes)

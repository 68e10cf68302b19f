"""Generic tables by profile: delimited text and workbooks of any shape, described in YAML.

This file finishes with `parse`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import tzinfo
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from domain.errors import FormatError
from domain.model import ValueKind
from domain.observation import (
    NO_TIME,
    Columns,
    FloatArray,
    IntArray,
    ParsedPayload,
    Rejected,
    SourceStream,
    TimeArray,
    columns,
    concatenate,
)
from domain.quality import Quality
from domain.units import convert_spread
from ingest.formats.decoding import ByteSource, number_columns
from ingest.formats.format import ImportContext
from ingest.formats.row_stations import RowStations, row_stations
from ingest.formats.table import Table, read_tables, read_text_tables
from ingest.formats.timestamps import ISO_FORMATS, elapsed, parse_times, parse_zone
from ingest.profile import ColumnRule, Profile

if TYPE_CHECKING:
    from ingest.formats.columnar import ColumnarTable

    AnyTable = Table | ColumnarTable

BoolArray = npt.NDArray[np.bool_]
DATASTREAM_NAMES = "datastream_names"
"""Attribute of a `SourceStream` with the names of the datastream (its own names are the station's)."""


def sniff(raw: bytes, filename: str) -> float:
    """Return 0: without a profile a table does not say what its columns are."""
    del raw, filename
    return 0.0


def parse_chunks(raw: bytes, profile: Profile | None, context: ImportContext) -> Iterator[ParsedPayload]:
    """Yield the payload in parts of about 16 MiB of text.

    Raises
    ------
    FormatError
        When there is no profile, or the file is not of the kind that it describes.
    """
    known = _required(profile, context)
    for table in read_tables(raw, known, where=context.filename):
        yield table_payload(table, known, context)


def parse(raw: bytes, profile: Profile | None, context: ImportContext) -> ParsedPayload:
    """Parse a whole table; see `parse_chunks`."""
    parts = list(parse_chunks(raw, profile, context))
    if len(parts) == 1:
        return parts[0]
    streams: dict[str, int] = {}
    described: list[SourceStream] = []
    built: list[Columns] = []
    for part in parts:
        for stream in part.streams:
            if repr(stream) not in streams:
                streams[repr(stream)] = len(described)
                described.append(stream)
        index = np.array([streams[repr(stream)] for stream in part.streams], dtype=np.int32)
        rows = part.columns
        built.append(replace(rows, stream=index[rows.stream]) if len(rows) else rows)
    rejected = tuple(reject for part in parts for reject in part.rejected)
    return ParsedPayload(tuple(described), concatenate(built), rejected, parts[0].notes if parts else {})


def parse_stream(source: ByteSource, encoding: str, profile: Profile | None, context: ImportContext) -> Iterator[ParsedPayload]:
    """Yield the payload of a text of any size in parts, reading it once from its beginning to its end; see `parse_chunks`."""
    known = _required(profile, context)
    for table in read_text_tables(source, encoding, known, where=context.filename):
        yield table_payload(table, known, context)


def _required(profile: Profile | None, context: ImportContext) -> Profile:
    if profile is None:
        raise FormatError(
            "a table does not say what its columns are.",
            where=context.filename,
            remedy="give --profile NAME (docs/formats.md lists the shipped ones)",
        )
    return profile


def table_payload(table: AnyTable, profile: Profile, context: ImportContext) -> ParsedPayload:
    """Turn a table into observations as the profile says."""
    found = [(rule, index) for rule in profile.columns if (index := table.find(rule.match)) is not None]
    _check_columns(table, profile, found, context)
    time, end, time_fault = _times(table, profile, context)
    places = row_stations(table, profile, context)
    rejected = _row_rejects(table, time_fault, places, profile.delimiter)
    usable = places.is_known[places.of_row] & ~time_fault
    if not profile.empty_is_missing:
        rejected += _cut_rows(table, usable & table.ends_before(min((index for _, index in found), default=0)), profile.delimiter)
    parts: list[Columns] = []
    for number, (rule, index) in enumerate(found):
        values, rejects, kept = _values(table, rule, index, profile, usable)
        rejected.extend(rejects)
        rows = np.flatnonzero(usable & kept)
        sigma = _sigmas(table, rule, profile)
        quality, reasons = _qualities(table, rule, profile, values)
        station = places.of_row[rows]
        begins, ends = _extent(time[rows], end[rows], station, rule, profile)
        parts.append(
            columns(
                number * len(places.codes) + station,
                begins,
                values[rows],
                sigma=sigma[rows],
                quality=quality[rows],
                line=table.lines[rows],
                end=ends,
                reasons=None if reasons is None else reasons[rows],
            )
        )
    built = concatenate(parts)
    is_used = np.bincount(built.stream, minlength=1) > 0
    used, stream = np.flatnonzero(is_used), (np.cumsum(is_used) - 1)[built.stream]
    streams = [
        source_stream(places.codes[place], found[number][0], profile, context)
        for number, place in (divmod(int(value), max(len(places.codes), 1)) for value in used)
    ]
    return ParsedPayload(
        tuple(streams),
        replace(built, stream=stream.astype(np.int32)),
        tuple(sorted(rejected, key=lambda item: item.line)),
        {"profile": profile.name},
        row_bytes=lambda line: table.row_bytes(int(np.searchsorted(table.lines, line)), profile.delimiter),
    )


def _check_columns(table: AnyTable, profile: Profile, found: list[tuple[ColumnRule, int]], context: ImportContext) -> None:
    missing = [rule for rule in profile.columns if rule.required and table.find(rule.match) is None]
    if missing or not found:
        wanted = missing[0].match if missing else [name for rule in profile.columns for name in rule.match]
        raise FormatError(
            f"no column is named {' or '.join(repr(name) for name in wanted)}.",
            where=context.filename,
            remedy=f"the file has {', '.join(repr(name) for name in table.header[:12]) or 'no header'}; correct the profile {profile.name}",
        )


def _times(table: AnyTable, profile: Profile, context: ImportContext) -> tuple[TimeArray, TimeArray, BoolArray]:
    rule = profile.time
    indices = [table.find(names) for names in rule.columns]
    if not indices or any(index is None for index in indices):
        raise FormatError(
            "the column of the time was not found.",
            where=context.filename,
            remedy=f"name it under time: column: in the profile {profile.name}; the file has {', '.join(table.header[:12]) or 'no header'}",
        )
    found = [index for index in indices if index is not None]
    zone_name = context.zone or rule.zone
    zone = parse_zone(zone_name, where=context.filename) if zone_name else None
    if rule.origin and rule.elapsed_unit:
        counts, _, _ = number_columns(table.joined(found), decimal=profile.decimal)
        time = elapsed(counts, rule.origin, rule.elapsed_unit, zone, where=context.filename)
        return time, np.full(len(time), NO_TIME), np.isnat(time)
    formats = rule.formats or ISO_FORMATS
    zone_index = table.find(rule.zone_column) if rule.zone_column else None
    if zone_index is None:
        time, is_date = table.times(found, formats, zone, where=context.filename)
    else:
        time, is_date = _times_by_zone(table.joined(found), table.column(zone_index), profile, zone, context)
    end: TimeArray = np.full(len(time), NO_TIME)
    end_index = table.find(rule.end_column) if rule.end_column else None
    if end_index is not None:
        end, _ = table.times([end_index], formats, zone, where=context.filename)
    elif rule.dates_are_days and is_date.any():
        # The next local midnight, not 24 hours later: a day may have 23 or 25 hours.
        shifted, _ = parse_times(_next_day(table.joined(found), formats), formats, zone, where=context.filename)
        end[is_date] = shifted[is_date]
    return time, end, np.isnat(time)


def _next_day(texts: npt.NDArray[np.object_], formats: tuple[str, ...]) -> npt.NDArray[np.object_]:
    import pandas as pd

    naive, _ = parse_times(texts, formats, parse_zone("UTC"))
    pattern = (
        next((pattern for pattern in formats if pattern.startswith("%")), "%Y-%m-%d") if "iso" not in formats else "%Y-%m-%d"
    )
    following = pd.Series(naive + np.timedelta64(1, "D")).dt.strftime(pattern).fillna("")
    return np.asarray(following.to_numpy(dtype=object))


def _times_by_zone(
    texts: npt.NDArray[np.object_],
    zones: npt.NDArray[np.object_],
    profile: Profile,
    default: tzinfo | None,
    context: ImportContext,
) -> tuple[TimeArray, BoolArray]:
    import pandas as pd

    time = np.full(len(texts), NO_TIME)
    is_date = np.zeros(len(texts), dtype=bool)
    for name in pd.unique(pd.Series(zones, dtype=object)):
        rows = zones == name
        stated = profile.time.zones.get(str(name), str(name))
        zone = parse_zone(stated, where=context.filename) if stated else default
        time[rows], is_date[rows] = parse_times(texts[rows], profile.time.formats or ISO_FORMATS, zone, where=context.filename)
    return time, is_date


def _row_rejects(table: AnyTable, time_fault: BoolArray, places: RowStations, delimiter: str) -> list[Rejected]:
    rejected: list[Rejected] = []
    for row in np.flatnonzero(time_fault | ~places.is_known[places.of_row]).tolist():
        code, reason = "station", places.faults[places.of_row[row]] or ""
        if time_fault[row]:
            code = "time"
            reason = (
                "the time cannot be read, or does not exist or occurs twice in its zone; write it as the profile's formats say"
            )
        rejected.append(Rejected(int(table.lines[row]), code, reason, table.row_bytes(row, delimiter)))
    return rejected


def _cut_rows(table: AnyTable, is_cut: BoolArray, delimiter: str) -> list[Rejected]:
    """Refuse rows that end before all of their values: an empty cell is no observation, but these have no such cells."""
    reason = "the row ends before any column of values (cut off while written?); send the complete file again"
    rows = np.flatnonzero(is_cut).tolist()
    return [Rejected(int(table.lines[row]), "columns", reason, table.row_bytes(row, delimiter)) for row in rows]


def _values(
    table: AnyTable, rule: ColumnRule, index: int, profile: Profile, usable: BoolArray
) -> tuple[FloatArray, list[Rejected], BoolArray]:
    values, is_missing, is_bad = table.numbers(
        index, decimal=profile.decimal, thousands=profile.thousands, missing=profile.missing
    )
    if rule.scale != 1.0:
        values = values * rule.scale
    rejected = [
        Rejected(
            int(table.lines[row]),
            "value",
            f"{table.cell(int(row), index)!r} in column {rule.match[0]!r} is no number; correct it or add it to missing: in the profile",
            table.row_bytes(int(row), profile.delimiter),
        )
        for row in np.flatnonzero(is_bad & usable)
    ]
    kept = np.isfinite(values) | is_missing
    if profile.empty_is_missing:
        kept |= np.isnan(values) & ~is_bad
    return values, rejected, kept


def _sigmas(table: AnyTable, rule: ColumnRule, profile: Profile) -> FloatArray:
    index = table.find(rule.sigma) if rule.sigma else None
    if index is None:
        return np.full(len(table), np.nan)
    sigma, _, _ = table.numbers(index, decimal=profile.decimal, thousands=profile.thousands, missing=profile.missing)
    sigma = np.where(sigma < 0, np.nan, sigma)
    if rule.sigma_unit and rule.unit and rule.sigma_unit != rule.unit:
        sigma = convert_spread(sigma, rule.sigma_unit, rule.unit)
    elif not rule.sigma_unit and rule.scale != 1.0:
        sigma = sigma * abs(rule.scale)
    return sigma


def _qualities(
    table: AnyTable, rule: ColumnRule, profile: Profile, values: FloatArray
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.object_] | None]:
    quality = np.full(len(table), int(Quality.GOOD), dtype=np.int16)
    reasons: npt.NDArray[np.object_] | None = None
    index = table.find(rule.quality) if rule.quality else None
    if rule.reasons:
        reasons = np.empty(len(table), dtype=object)
        reasons[:] = [rule.reasons] * len(table)
    if index is not None:
        reasons = np.full(len(table), None, dtype=object) if reasons is None else reasons
        of_row, texts = table.categories(index)
        for number, text in enumerate(texts):
            meaning = profile.quality.get(text)
            # A code that the profile does not explain is kept as doubtful knowledge, not dropped.
            flag = int(meaning.quality) if meaning else int(Quality.UNKNOWN) if text else int(Quality.GOOD)
            codes = meaning.reasons if meaning else ("source_flag",) if text else ()
            rows = np.flatnonzero(of_row == number)
            quality[rows] = flag
            if codes:
                alike = np.empty(len(rows), dtype=object)
                alike[:] = [(*rule.reasons, *codes)] * len(rows)
                reasons[rows] = alike
    quality[np.isnan(values)] = int(Quality.MISSING)
    return quality, reasons


def _extent(
    time: TimeArray, end: TimeArray, station: IntArray, rule: ColumnRule, profile: Profile
) -> tuple[TimeArray, TimeArray]:
    """Means and totals cover their interval; an instant has no extent unless the file states one (for its station at all)."""
    if rule.value_kind not in {ValueKind.MEAN, ValueKind.TOTAL} or not rule.interval_s:
        return time, end
    is_stated = np.zeros(int(station.max(initial=0)) + 1, dtype=bool)
    is_stated[station[~np.isnat(end)]] = True
    bare = ~is_stated[station]
    width = np.timedelta64(round(rule.interval_s * 1_000_000), "us")
    if profile.time.stamp == "end":
        return np.where(bare, time - width, time), np.where(bare, time, end)
    return time, np.where(bare, time + width, end)


def source_stream(station: str, rule: ColumnRule, profile: Profile, context: ImportContext) -> SourceStream:
    """Return what profile and flags say about one column of one station."""
    place = profile.station
    return SourceStream(
        station=station,
        property_code=rule.property_code,
        channel=rule.channel,
        unit=rule.unit,
        datum=rule.datum or profile.datum,
        frame=context.frame or rule.frame or profile.frame,
        kind=place.kind,
        name_zh=place.name_zh,
        name_en=place.name_en,
        longitude_deg=place.longitude_deg,
        latitude_deg=place.latitude_deg,
        region_code=place.region_code,
        depth_top_m=rule.depth_top_m,
        depth_bottom_m=rule.depth_bottom_m,
        aquifer=rule.aquifer,
        sensor=rule.sensor,
        interval_s=rule.interval_s,
        disclosure=place.disclosure,
        attributes={
            **profile.attributes,
            **({DATASTREAM_NAMES: (rule.name_zh, rule.name_en)} if rule.name_zh or rule.name_en else {}),
        },
    )

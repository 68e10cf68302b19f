"""Levelling result tables (水准测量成果表): one row per mark and survey epoch, as CSV or XLSX with Chinese headers.

Stored is `height` in its datum; a table that has cumulative subsidence (累计沉降量, down positive) but no heights is stored as
`displacement_up`. A survey epoch is a span of days: `phenomenon_time` is the local midnight that begins it, `phenomenon_end` the
midnight after its last day. References: GB/T 12897-2006, DZ/T 0283-2015. This file finishes with `parse`.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np

from domain.errors import FormatError, InputError, UnitError
from domain.model import StationKind, station_code
from domain.observation import ParsedPayload, Rejected, SourceStream, columns
from domain.quality import Quality
from domain.units import canonical, convert, convert_spread, parse_unit
from ingest.formats.decoding import head, is_number
from ingest.formats.format import ImportContext, require_zone
from ingest.formats.header import fold
from ingest.formats.table import is_workbook, read_rows
from ingest.formats.timestamps import localise, parse_zone
from ingest.profile import Profile

_HEADER_WINDOW = 40
_ROLES: Mapping[str, tuple[str, ...]] = {
    "code": ("点号", "测点编号", "水准点号", "水准点编号", "监测点号", "监测点编号", "编号", "point", "mark", "station"),
    "name": ("点名", "水准点名", "水准点", "测点", "测点名称", "监测点", "name"),
    "height": ("高程", "本次高程", "本期高程", "平差高程", "高程值", "正常高", "height", "elevation"),
    "cumulative": ("累计沉降量", "累计沉降", "累积沉降量", "总沉降量", "cumulativesubsidence"),
    "period": ("本期沉降量", "本次沉降量", "本期沉降", "本次沉降"),
    "date": ("观测日期", "观测时间", "测量日期", "施测日期", "日期", "date"),
    "sigma": ("中误差", "高程中误差", "点位中误差", "sigma"),
    "per_km": ("每公里中误差", "每千米中误差", "每公里高差中误差", "每千米高差中误差", "每公里偶然中误差", "每千米偶然中误差"),
    "distance": ("距起算点距离", "距起点距离", "累计距离", "路线长度", "水准路线长度", "距离", "distance"),
    "datum": ("高程基准", "高程系统", "高程系", "基准", "datum"),
    "class": ("等级", "水准等级", "class"),
    "region": ("行政区划代码", "行政区代码", "region"),
}
_DATUMS: Mapping[str, str] = {
    "1985国家高程基准": "CN-H85",
    "1985年国家高程基准": "CN-H85",
    "国家85高程基准": "CN-H85",
    "85高程": "CN-H85",
    "85国家高程基准": "CN-H85",
    "85高程基准": "CN-H85",
    "85基准": "CN-H85",
    "1985": "CN-H85",
    "85": "CN-H85",
    "1956年黄海高程系": "CN-H56",
    "1956黄海高程系": "CN-H56",
    "1956年黄海高程系统": "CN-H56",
    "1956黄海高程": "CN-H56",
    "56黄海高程": "CN-H56",
    "黄海高程系": "CN-H56",
    "黄海高程": "CN-H56",
    "1956": "CN-H56",
    "吴淞高程系": "CN-WUSONG",
    "吴淞高程系统": "CN-WUSONG",
    "吴淞高程": "CN-WUSONG",
    "吴淞": "CN-WUSONG",
}
_SUFFIX = re.compile(r"^(?P<name>.*?)[(\[/](?P<unit>mm|cm|km|m|毫米|厘米|公里|千米|米)[)\]]?$", re.IGNORECASE)
_KILOMETRES = {"公里": "km", "千米": "km"}
_DATE = re.compile(r"(?:(?P<y>\d{4})[-/.年])?(?P<m>\d{1,2})[-/.月](?P<d>\d{1,2})日?")
_COMPACT_DATE = re.compile(r"(?<!\d)(\d{4})(\d{2})(\d{2})(?!\d)")
_RANGE_MARK = re.compile(r"\s*(?:~|～|至|到|—+|–|―|--| - |\bto\b)\s*")
_PREAMBLE_PAIR = re.compile(r"(高程基准|高程系统|高程系|观测日期|观测时间|施测日期)\s*[::]?\s*(.*)")


@dataclass(frozen=True, slots=True)
class _Header:
    row: int
    columns: Mapping[str, int]
    units: Mapping[str, str]
    ignored: tuple[str, ...]
    names: tuple[str, ...]


def sniff(raw: bytes, filename: str) -> float:
    """Return how sure we are that this is a levelling result table."""
    try:
        rows = read_rows(raw, where=filename)[:_HEADER_WINDOW] if is_workbook(raw) else _text_rows(raw)
    except FormatError:
        return 0.0
    return 0.95 if _find_header(rows) is not None else 0.0


def _text_rows(raw: bytes) -> list[list[str]]:
    return [re.split(r"[,\t;，]", line.replace('"', "")) for line in head(raw).splitlines()[:_HEADER_WINDOW]]


def parse(raw: bytes, profile: Profile | None, context: ImportContext) -> ParsedPayload:
    """Parse a levelling table.

    The unit of a column comes from its header (`高程(m)`), else from the profile's column of the same name, else from the flag; the
    datum from a column, a line above the table (`高程系统:1985国家高程基准`), else profile or flag.

    Raises
    ------
    FormatError
        When no row is a header with a mark, a date and a height or cumulative subsidence.
    """
    rows = read_rows(
        raw, encoding=profile.encoding if profile else None, sheet=profile.sheet if profile else None, where=context.filename
    )
    header = _find_header(rows)
    if header is None:
        raise FormatError(
            "no row is a header with 点名 or 点号 and 高程 or 累计沉降量.",
            where=context.filename,
            remedy="keep the header row of the result table, or describe the columns in a csv profile",
        )
    stated = _preamble(rows[: header.row])
    if "date" not in header.columns and "date" not in stated:
        raise FormatError("the table has no date of observation.", where=context.filename, remedy="add a column 观测日期")
    role, value_unit = _value_column(header, profile, context)
    reader = _RowReader(header, role, value_unit, stated, profile, context)
    for number, row in enumerate(rows[header.row + 1 :], start=header.row + 2):
        reader.read(number, row)
    return reader.payload()


def _find_header(rows: Sequence[Sequence[str]]) -> _Header | None:
    for index, row in enumerate(rows[:_HEADER_WINDOW]):
        found: dict[str, int] = {}
        units: dict[str, str] = {}
        ignored: list[str] = []
        for column, text in enumerate(row):
            name, unit = _split_unit(text)
            role = next((role for role, names in _ROLES.items() if name in names), None)
            if role is None or role in found:
                ignored += [text.strip()] if text.strip() else []
                continue
            found[role] = column
            if unit:
                units[role] = unit
        if ("code" in found or "name" in found) and ("height" in found or "cumulative" in found or "period" in found):
            return _Header(index, found, units, tuple(ignored), tuple(cell.strip() for cell in row))
    return None


def _split_unit(text: str) -> tuple[str, str | None]:
    name = fold(text)
    match = _SUFFIX.match(name)
    return (match["name"], _KILOMETRES.get(match["unit"]) or canonical(match["unit"])) if match else (name, None)


def _preamble(rows: Sequence[Sequence[str]]) -> dict[str, str]:
    """Return datum and date stated above the header, as `key: value` in one cell or key and value in neighbouring cells."""
    stated: dict[str, str] = {}
    for row in rows:
        cells = [unicodedata.normalize("NFKC", cell).strip() for cell in row]
        for i, cell in enumerate(cells):
            match = _PREAMBLE_PAIR.search(cell)
            if not match:
                continue
            value = match.group(2).strip() or next((after for after in cells[i + 1 :] if after), "")
            stated.setdefault("datum" if match.group(1).startswith("高程") else "date", value)
    return {key: value for key, value in stated.items() if value}


def _value_column(header: _Header, profile: Profile | None, context: ImportContext) -> tuple[str, str | None]:
    """Return which column is stored and its unit, None where nothing states one (the pipeline then asks for it)."""
    role = next((role for role in ("height", "cumulative") if role in header.columns), None)
    if role is None:
        raise FormatError(
            "the table has the subsidence of the period (本期沉降量) alone, which has no zero to be counted from.",
            where=context.filename,
            remedy="add 高程 or 累计沉降量",
        )
    return role, header.units.get(role) or _unit_by_profile(header, role, profile)


def _unit_by_profile(header: _Header, role: str, profile: Profile | None) -> str | None:
    name = fold(header.names[header.columns[role]])
    for rule in profile.columns if profile else ():
        if any(isinstance(wanted, str) and fold(wanted) == name for wanted in rule.match):
            return rule.unit
    return None


class _RowReader:
    """Collects the rows of one table as columns; one stream per mark and datum."""

    def __init__(
        self,
        header: _Header,
        role: str,
        unit: str | None,
        stated: Mapping[str, str],
        profile: Profile | None,
        context: ImportContext,
    ) -> None:
        self.header, self.role, self.unit, self.stated = header, role, unit, stated
        self.profile, self.context = profile, context
        self.datums = dict(_DATUMS) | {fold(key): value for key, value in (profile.datums if profile else {}).items()}
        self.zone_name = require_zone(profile, context)
        self.zone = parse_zone(self.zone_name, where=context.filename)
        self.missing = {"", "-", "--", "—", "/", "\\"} | set(profile.missing if profile else ())
        self.streams: dict[tuple[str, str | None], int] = {}
        self.described: list[SourceStream] = []
        self.index: list[int] = []
        self.start: list[date] = []
        self.end: list[date] = []
        self.value: list[float] = []
        self.sigma: list[float] = []
        self.line: list[int] = []
        self.rejected: list[Rejected] = []
        self.sigma_unknown_unit = False
        self.sigma_from_distance = False

    def cell(self, row: Sequence[str], role: str) -> str:
        column = self.header.columns.get(role)
        return row[column].strip() if column is not None and column < len(row) else ""

    def read(self, number: int, row: Sequence[str]) -> None:
        """Read one row; what cannot be stored is kept with its reason."""
        if not any(cell.strip() for cell in row):
            return
        mark = self.cell(row, "code") or self.cell(row, "name")
        text = self.cell(row, self.role)
        filled = sum(1 for cell in row if cell.strip())
        is_remark = not is_number(text) and (not mark or filled == 1 or mark.endswith((":", "：")))
        if is_remark and not self._holds_data(row):
            return  # a remark or signature below the table
        fault = self._append(number, row, mark, text)
        if fault is not None:
            self.rejected.append(Rejected(number, fault[0], fault[1], ",".join(row).encode("utf-8")))

    def _holds_data(self, row: Sequence[str]) -> bool:
        """Does any column of the table hold a number or a date? Then it is a row of marks, however damaged."""
        is_dated = parse_span(self.cell(row, "date")) is not None
        return is_dated or any(is_number(self.cell(row, role)) for role in self.header.columns if role not in {"code", "name"})

    def _append(self, number: int, row: Sequence[str], mark: str, text: str) -> tuple[str, str] | None:
        try:
            station = station_code(self.context.station or mark)
        except InputError as fault:
            return "station", str(fault)
        if self.cell(row, "code") == "" and "code" in self.header.columns and not self.context.station:
            return "station", "the row has no 点号; complete it"
        span = parse_span(self.cell(row, "date") or self.stated.get("date", ""))
        if span is None:
            return "time", f"{self.cell(row, 'date')!r} is no date or span of dates; write 2023-05-10 or 2023-05-10~2023-05-28"
        value = float("nan") if text in self.missing else float(text) if is_number(text) else None
        if value is None:
            return "value", f"{text!r} is no number; correct it"
        datum_text = self.cell(row, "datum") or self.stated.get("datum", "")
        datum = self._datum(datum_text)
        if datum_text and datum is None and self.role == "height":
            return (
                "datum",
                f"the height datum {datum_text!r} is not known; map it under datums: in a profile, e.g. {{{datum_text}: CN-H85}}",
            )
        self.index.append(self._stream(station, datum, row))
        self.start.append(span[0])
        self.end.append(span[1])
        self.value.append(-value if self.role == "cumulative" else value)
        self.sigma.append(self._sigma(row))
        self.line.append(number)
        return None

    def _datum(self, text: str) -> str | None:
        folded = fold(unicodedata.normalize("NFKC", text))
        return self.datums.get(folded) or (text.strip() if re.fullmatch(r"[A-Z]{2}-[A-Z0-9]+", text.strip()) else None)

    def _sigma(self, row: Sequence[str]) -> float:
        stated = self._length(row, "sigma")
        if stated is None and (per_km := self._length(row, "per_km")) is not None:
            stated = self._accumulated(per_km, row)
        return math.nan if stated is None else stated

    def _length(self, row: Sequence[str], role: str) -> float | None:
        """Return a mean error in the unit of the heights; None where it is empty, or its or their unit is not known."""
        text = self.cell(row, role)
        if not is_number(text) or float(text) < 0:
            return None
        stated = self.header.units.get(role)
        unit = self.unit or self.context.unit
        if stated is None or unit is None:
            self.sigma_unknown_unit = True
            return None
        try:
            parse_unit(unit)
            return float(convert_spread(float(text), stated, unit))
        except UnitError:
            return None

    def _accumulated(self, per_km: float, row: Sequence[str]) -> float | None:
        """Return the mean error that levelling of the stated distance gathers: it grows with the root of the distance in km."""
        text, unit = self.cell(row, "distance"), self.header.units.get("distance")
        if unit is None or not is_number(text) or float(text) < 0:
            return None
        self.sigma_from_distance = True
        return per_km * math.sqrt(convert(float(text), unit, "km"))

    def _stream(self, station: str, datum: str | None, row: Sequence[str]) -> int:
        key = (station, datum)
        if key not in self.streams:
            self.streams[key] = len(self.streams)
            name = self.cell(row, "name") or station
            place = self.profile.station if self.profile else None
            region = self.cell(row, "region")
            attributes: dict[str, Any] = {"levelling_class": self.cell(row, "class")} if self.cell(row, "class") else {}
            if self.cell(row, "distance") and "distance" in self.header.units:
                attributes["levelling_distance"] = f"{self.cell(row, 'distance')} {self.header.units['distance']}"
            is_height = self.role == "height"
            self.described.append(
                SourceStream(
                    station=station,
                    property_code="height" if is_height else "displacement_up",
                    unit=self.unit,
                    datum=(datum or (self.profile.datum if self.profile else None)) if is_height else None,
                    kind=(place.kind if place else None) or StationKind.BENCHMARK,
                    name_zh=name,
                    name_en=name,
                    region_code=region if re.fullmatch(r"\d{6}", region) else place.region_code if place else None,
                    attributes=attributes,
                )
            )
        return self.streams[key]

    def payload(self) -> ParsedPayload:
        """Return what was read."""
        time = localise(np.array(self.start, dtype="datetime64[D]").astype("datetime64[us]"), self.zone, whole_days=True)
        after = [day + timedelta(days=1) for day in self.end]
        end = localise(np.array(after, dtype="datetime64[D]").astype("datetime64[us]"), self.zone, whole_days=True)
        value = np.array(self.value, dtype=np.float64)
        quality = np.where(np.isnan(value), int(Quality.MISSING), int(Quality.GOOD)).astype(np.int16)
        built = columns(self.index, time, value, sigma=self.sigma, quality=quality, line=self.line, end=end)
        notes: dict[str, Any] = {"zone": self.zone_name}
        derived = [name for role, name in (("cumulative", "累计沉降量"), ("period", "本期沉降量")) if role in self.header.columns]
        if self.role == "height" and derived:
            notes["columns_not_stored"] = [f"{name}: follows from the heights" for name in derived]
        elif "period" in self.header.columns:
            notes["columns_not_stored"] = ["本期沉降量: follows from 累计沉降量"]
        if self.sigma_from_distance:
            notes["sigma_from_distance"] = "中误差 follows from the mean error of one kilometre and the distance: m·√L"
        if self.sigma_unknown_unit:
            notes["sigma"] = "中误差 has no unit in its header and was left out; write 中误差(mm)"
        return ParsedPayload(tuple(self.described), built, tuple(self.rejected), notes)


def parse_span(text: str) -> tuple[date, date] | None:
    """Return first and last day of `2023-05-10`, `2023-05-10~2023-05-28`, `2023年5月10日至28日`, `20230510-20230528` ...

    Examples
    --------
    >>> parse_span("2023.05.10-05.28")
    (datetime.date(2023, 5, 10), datetime.date(2023, 5, 28))
    """
    cleaned = unicodedata.normalize("NFKC", text).strip()
    cleaned = re.sub(r"[T ]\d{1,2}:\d{2}(:\d{2})?$", "", cleaned)
    cleaned = _COMPACT_DATE.sub(r"\1-\2-\3", cleaned)
    parts = [part for part in _RANGE_MARK.split(cleaned) if part]
    if len(parts) == 1:
        parts = _split_at_second_date(parts[0])
    if len(parts) not in {1, 2}:
        return None
    first = _day(parts[0], None)
    if first is None:
        return None
    last = first if len(parts) == 1 else _day(parts[1], first)
    return (first, last) if last is not None and last >= first else None


def _split_at_second_date(text: str) -> list[str]:
    """Split `2023.5.10-2023.5.28` and `2023.05.10-05.28`, whose range mark is a plain hyphen."""
    match = re.fullmatch(r"(\d{4}[./年]\d{1,2}[./月]\d{1,2}日?)-(.+)|(\d{4}-\d{1,2}-\d{1,2})-(\d{4}-\d{1,2}-\d{1,2})", text)
    return [part for part in match.groups() if part] if match else [text]


def _day(text: str, earlier: date | None) -> date | None:
    only_day = re.fullmatch(r"(\d{1,2})日?", text)
    match = _DATE.fullmatch(text)
    try:
        if only_day and earlier is not None:
            return earlier.replace(day=int(only_day.group(1)))
        if match is None or (match["y"] is None and earlier is None):
            return None
        year = int(match["y"]) if match["y"] else earlier.year if earlier else 0
        return date(year, int(match["m"]), int(match["d"]))
    except ValueError:
        return None

"""Proposes a profile for a table that nobody has described: delimiter, header, time, station, values, and what a person must fill in.

What the file shows is proposed; what it does not show (the zone of its times, a unit without a word for it, a datum, the order of day and
month where both fit) is left blank and listed, never guessed. This file finishes with `guess_profile`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from domain.errors import FormatError, UnitError
from domain.units import canonical, parse_unit
from ingest.formats.decoding import detect_encoding, head, is_number, split_lines
from ingest.formats.header import fold
from ingest.formats.json_table import find_records, record_table
from ingest.formats.table import is_workbook, read_workbook, split_row

_NAMES_FILE = Path(__file__).parent / "profile_names.yaml"
_SAMPLE_ROWS = 400
_DELIMITERS = {",": '","', ";": '";"', "\t": "tab", "|": '"|"', " ": "space"}
_PATTERNS = (
    "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%Y/%m/%d", "%Y年%m月%d日 %H:%M:%S",
    "%Y年%m月%d日 %H:%M", "%Y年%m月%d日", "%d-%m-%Y %H:%M:%S", "%d-%m-%Y %H:%M", "%d-%m-%Y", "%m-%d-%Y", "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M",
    "%d.%m.%Y", "%m/%d/%Y %H:%M:%S", "%m/%d/%Y %H:%M", "%m/%d/%Y", "%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M", "%d/%m/%Y", "%Y%m%d%H%M%S",
    "%Y%m%d%H%M", "%Y%m%d",
)  # fmt: skip
_ISO = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ]\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?)?(?P<offset>Z|[+-]\d{2}:?\d{2})?")
_CLOCK = re.compile(r"\d{1,2}:\d{2}(:\d{2})?")
_UNIT_SUFFIX = re.compile(
    r"[(\[（【]\s*(?P<unit>[^)\]）】]+?)\s*[)\]）】]\s*$|_(?P<tail>[A-Za-z0-9]+)$|[/、,]\s*(?P<after>[A-Za-zμµ℃%°³0-9/]+)$"
)
_MISSING = frozenset(
    {
        "nan",
        "na",
        "n/a",
        "null",
        "none",
        "-",
        "--",
        "---",
        "—",
        "/",
        "缺测",
        "无",
        "-9999",
        "-9999.0",
        "-999",
        "-999.0",
        "-99.99",
        "9999",
    }
)
_PLAUSIBLE_YEARS = range(1850, 2100)


@dataclass(frozen=True, slots=True)
class Guess:
    """A proposal: the YAML of a profile, what a person must fill in, and what was passed over."""

    text: str
    blanks: tuple[str, ...]
    ignored: tuple[str, ...]


@dataclass(slots=True)
class _Sheet:
    """A sample of the file as rows of text."""

    format: str
    header: list[str]
    rows: list[list[str]]
    settings: dict[str, str] = field(default_factory=dict)
    units: list[str | None] = field(default_factory=list)

    def unit(self, index: int) -> str | None:
        """Return the unit that a column's name or the row of units below it states."""
        stated = self.units[index] if index < len(self.units) else None
        return stated or _unit(self.header[index])

    def column(self, index: int) -> list[str]:
        return [row[index].strip() for row in self.rows if index < len(row) and row[index].strip()]


@lru_cache
def _names() -> Mapping[str, Any]:
    return dict(yaml.safe_load(_NAMES_FILE.read_text(encoding="utf-8")))


def guess_profile(raw: bytes, filename: str) -> Guess:
    """Return a proposal for a file: CSV and its kin, XLSX, JSON or JSON lines, unpacked.

    Raises
    ------
    FormatError
        When no table with a time and a column of numbers can be seen.
    """
    sheet = _sheet(raw, filename)
    blanks: list[str] = []
    time_columns, time_text = _time(sheet, filename, blanks)
    station = _station(sheet, time_columns)
    taken = {*time_columns, *([station] if station is not None else [])}
    values, passed, markers = _values(sheet, taken, blanks)
    if not values:
        values, passed = [line for i in passed for line in _unnamed(sheet.header[i], sheet.unit(i), blanks)], []
    ignored = [sheet.header[i] for i in passed]
    if not values:
        raise FormatError(
            "no column holds numbers.", where=filename, remedy="describe the file in a profile by hand (docs/formats.md)"
        )
    lines = [
        "# A proposal made from the file itself: check every line, fill in what is marked FILL IN, then import with --profile.",
        f"title: {_quoted(filename)}",
        "source: null   # FILL IN: who made the file, and how units and zone are known",
        f"format: {sheet.format}",
        *(f"{key}: {value}" for key, value in sheet.settings.items()),
    ]
    if markers:
        lines.append(f"missing: [{', '.join(_quoted(marker) for marker in markers)}]")
    lines += ["time:", *time_text, "station:"]
    if station is None:
        lines.append("  constant: null   # FILL IN: the code of the station, or give --station")
        blanks.append("station: constant: the code of the station (or --station)")
    else:
        lines.append(f"  template: {_quoted('{' + sheet.header[station] + '}')}")
    lines += ["columns:", *values]
    lines += [f"# not taken: {_quoted(name)}, whose meaning is not known" for name in ignored]
    lines += [f"# not read: {_quoted(sheet.header[i])}, which holds words" for i in _texts(sheet, taken)]
    return Guess("\n".join(lines) + "\n", ("source: who made the file", *blanks), tuple(ignored))


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ").replace("\t", "\\t") + '"'


def _sheet(raw: bytes, filename: str) -> _Sheet:
    if is_workbook(raw):
        rows = read_workbook(raw, where=filename)[:_SAMPLE_ROWS]
        return _with_header("csv", rows, {}, filename)
    if head(raw).lstrip().startswith(("{", "[")):
        path, records = find_records(raw, None, where=filename)
        table = record_table(records[:_SAMPLE_ROWS])
        settings = {"records": _quoted(path)} if path else {}
        return _Sheet("json", list(table.header), [[str(cell) for cell in row] for row in table.cells], settings)
    encoding = detect_encoding(raw, where=filename)
    lines = split_lines(raw[: 1 << 20].decode(encoding, errors="replace"))[:_SAMPLE_ROWS]
    comment = next((mark for mark in ("#", "%") if sum(line.startswith(mark) for line in lines) > 0), None)
    kept = [line for line in lines if line.strip() and not (comment and line.startswith(comment))]
    delimiter = _delimiter(kept)
    settings = {"delimiter": _DELIMITERS[delimiter]}
    if encoding == "gb18030":
        settings["encoding"] = encoding
    if comment:
        settings["comment"] = _quoted(comment)
    sheet = _with_header("csv", [split_row(line, delimiter) for line in kept], settings, filename)
    cells = [cell for row in sheet.rows for cell in row]
    if delimiter != "," and sum(bool(re.fullmatch(r"-?\d+,\d+", cell)) for cell in cells) > sum(
        "." in c and is_number(c) for c in cells
    ):
        sheet.settings["decimal"] = '","'
    return sheet


def _delimiter(lines: Sequence[str]) -> str:
    """Return the delimiter that gives most rows the same number of cells, at least two."""
    best, best_score = ",", 0.0
    for delimiter in _DELIMITERS:
        widths = Counter(len(split_row(line, delimiter)) for line in lines)
        wide = {width: n for width, n in widths.items() if width > 1}
        if wide:
            width, count = max(wide.items(), key=lambda item: (item[1], item[0]))
            # Blanks also stand inside dates and names: they are the delimiter only where nothing else is.
            score = count / len(lines) * min(width, 20) * (0.3 if delimiter == " " else 1.0)
            if score > best_score:
                best, best_score = delimiter, score
    return best


def _with_header(format_name: str, rows: list[list[str]], settings: dict[str, str], filename: str) -> _Sheet:
    """Find the header: the first full row of words above rows that hold numbers."""
    width = Counter(sum(1 for cell in row if cell.strip()) for row in rows if any(cell.strip() for cell in row)).most_common(1)
    common = width[0][0] if width else 0
    for index, row in enumerate(rows[:60]):
        below = rows[index + 1 : index + 6]
        words = [cell for cell in row if cell.strip()]
        is_header = len(words) >= max(2, common - 1) and not any(is_number(cell) or _ISO.fullmatch(cell) for cell in words)
        if is_header and any(sum(is_number(cell.replace(",", ".")) for cell in other) for other in below):
            names = [cell.strip() for cell in row]
            units = _units_below(below[0])
            if index > 0 or units:
                wanted = [name for name in names if name][:3]
                skip = ", skip_after: 1" if units else ""
                settings["header"] = "{match: [" + ", ".join(_quoted(name) for name in wanted) + f"]{skip}}}"
            return _Sheet(format_name, names, rows[index + (2 if units else 1) :], settings, units)
    raise FormatError(
        "no row is a header above rows of numbers.",
        where=filename,
        remedy="describe the columns by position in a profile (header: none)",
    )


def _units_below(row: Sequence[str]) -> list[str | None]:
    """Return the units of a second header row, which holds nothing else and one at least; none where it is no such row."""
    cells = [cell.strip().strip("[]()（）【】").strip() for cell in row]
    if not any(cells) or any(is_number(cell) or (cell and not _is_unit(cell)) for cell in cells):
        return []
    return [canonical(cell) if cell else None for cell in cells]


def _is_unit(text: str) -> bool:
    try:
        parse_unit(text)
    except UnitError:
        return False
    return True


def _is_named(name: str, words: Sequence[str]) -> bool:
    folded = fold(name)
    return any(fold(word) in folded if len(word) > 2 or not word.isascii() else fold(word) == folded for word in words)


def _time(sheet: _Sheet, filename: str, blanks: list[str]) -> tuple[list[int], list[str]]:
    """Return the columns of the time and its lines of the profile."""
    names = _names()
    called = [i for i, name in enumerate(sheet.header) if _is_named(name, [*names["time"], *names["date"]])]
    dated = [i for i in [*called, *(i for i in range(len(sheet.header)) if i not in called)] if _formats(sheet.column(i))]
    if not dated:
        raise FormatError(
            "no column holds times of a known form.",
            where=filename,
            remedy="state the column and its format under time: in a profile",
        )
    first = dated[0]
    texts = sheet.column(first)
    clock = next((i for i in range(len(sheet.header)) if i != first and texts and _all(sheet.column(i), _CLOCK)), None)
    formats = _formats(texts)
    lines: list[str] = []
    columns = [first]
    if clock is not None and not any(":" in text for text in texts[:20]):
        columns.append(clock)
        lines.append(f"  columns: [{_quoted(sheet.header[first])}, {_quoted(sheet.header[clock])}]")
        seconds = ":%S" if sheet.column(clock)[0].count(":") == 2 else ""
        formats = [f"{'%Y-%m-%d' if form == 'iso' else form} %H:%M{seconds}" for form in formats]
    else:
        lines.append(f"  column: {_quoted(sheet.header[first])}")
    if len(formats) > 1:
        lines.append(
            f"  formats: []   # FILL IN: day and month may be either way round: {' or '.join(_quoted(form) for form in formats)}"
        )
        blanks.append(f"time: formats: one of {', '.join(formats)}")
    else:
        lines.append(f"  formats: [{_quoted(formats[0])}]")
    if not (formats[0].startswith("epoch") or _states_offset(texts)):
        lines.append("  zone: null   # FILL IN: the zone of the times, e.g. Asia/Shanghai, +08:00 or UTC (or give --zone)")
        blanks.append("time: zone: the file does not state it (or --zone)")
    return columns, lines


def _all(texts: Sequence[str], pattern: re.Pattern[str]) -> bool:
    return bool(texts) and all(pattern.fullmatch(text) for text in texts)


def _states_offset(texts: Sequence[str]) -> bool:
    matches = [_ISO.fullmatch(text) for text in texts]
    return bool(matches) and all(match is not None and match["offset"] for match in matches)


def _formats(texts: Sequence[str]) -> list[str]:
    """Return every form in which all of the texts are times; several where day and month may be either way round."""
    if not texts:
        return []
    if _all(texts, _ISO):
        return ["iso"]
    if all(re.fullmatch(r"1\d{9}(\.\d+)?", text) for text in texts):
        return ["epoch_s"]
    if all(re.fullmatch(r"1\d{12}", text) for text in texts):
        return ["epoch_ms"]
    return [pattern for pattern in _PATTERNS if all(_fits(text, pattern) for text in texts)]


def _fits(text: str, pattern: str) -> bool:
    try:
        return datetime.strptime(text, pattern).year in _PLAUSIBLE_YEARS  # noqa: DTZ007 - only the form is asked for
    except ValueError:
        return False


def _station(sheet: _Sheet, taken: Sequence[int]) -> int | None:
    """Return the column that names stations: called so, and full in every row."""
    for i, name in enumerate(sheet.header):
        if i not in taken and name and _is_named(name, _names()["station"]) and len(sheet.column(i)) == len(sheet.rows):
            return i
    return None


def _texts(sheet: _Sheet, taken: set[int]) -> list[int]:
    """Return the columns of words: none of them is an observation, but one may name the station or a doubt."""
    return [
        i
        for i, name in enumerate(sheet.header)
        if name and i not in taken and (texts := sheet.column(i)) and not _is_of_numbers(sheet, texts)
    ]


def _is_of_numbers(sheet: _Sheet, texts: Sequence[str]) -> bool:
    rest = [_plain(sheet, text) for text in texts if text.casefold() not in _MISSING]
    return bool(rest) and sum(is_number(text) for text in rest) >= 0.5 * len(rest)


def _plain(sheet: _Sheet, text: str) -> str:
    return text.replace(",", ".") if "decimal" in sheet.settings else text


def _values(sheet: _Sheet, taken: set[int], blanks: list[str]) -> tuple[list[str], list[int], list[str]]:
    """Return the lines of the columns of values, the columns of numbers not taken, and the markers of missing values."""
    lines: list[str] = []
    ignored: list[int] = []
    markers: dict[str, None] = {}
    used: Counter[str] = Counter()
    for i, name in enumerate(sheet.header):
        texts = sheet.column(i)
        if i in taken or not name or not _is_of_numbers(sheet, texts):
            continue
        code = _property(name)
        if code is None:
            ignored.append(i)
            continue
        markers.update(dict.fromkeys(text for text in texts if text.casefold() in _MISSING))
        used[code] += 1
        lines += _column(name, sheet.unit(i), code, used[code], blanks)
    return lines, ignored, list(markers)


def _property(name: str) -> str | None:
    for code, words in _names()["properties"]:
        if _is_named(name, words) or fold(name).startswith(code):
            return str(code)
    return None


def _column(name: str, unit: str | None, code: str, number: int, blanks: list[str]) -> list[str]:
    lines = [f"  - match: {_quoted(name)}", f"    property: {code}"]
    if unit is None:
        lines.append("    unit: null   # FILL IN: the unit of the values (UCUM: m, cm, kPa, Cel, m3/h ...), or give --unit")
        blanks.append(f"columns: {name}: unit")
    else:
        lines.append(f"    unit: {_quoted(unit)}")
    if number > 1:
        lines.append(f"    channel: c{number}   # another column has this property already: name it, e.g. upper")
    if code in _names()["needs_datum"]:
        lines.append("    datum: null   # FILL IN: the vertical datum, e.g. CN-H85 (or give --datum)")
        blanks.append(f"columns: {name}: datum")
    if _is_named(name, _names()["down_positive"]):
        lines.append("    scale: -1   # counted down in the file, up here")
    return lines


def _unnamed(name: str, unit: str | None, blanks: list[str]) -> list[str]:
    """Return the lines of a column of numbers whose name says nothing, where no other says more."""
    blanks.append(f"columns: {name}: property")
    if unit is None:
        blanks.append(f"columns: {name}: unit")
    return [
        f"  - match: {_quoted(name)}",
        "    property: null   # FILL IN: what it is (depth_to_water, head, water_temperature ...), or take the column away",
        f"    unit: {_quoted(unit)}"
        if unit is not None
        else "    unit: null   # FILL IN: the unit of the values, or give --unit",
    ]


def _unit(name: str) -> str | None:
    match = _UNIT_SUFFIX.search(name.strip())
    if match is None:
        return None
    stated = next(group for group in match.groups() if group)
    return canonical(stated) if _is_unit(stated) else None

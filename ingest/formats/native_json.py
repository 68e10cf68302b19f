"""Native JSON of devices and of `POST /observations`: an object, a list of objects, or columns.

```
{"t": "2026-01-02T03:04:05+08:00", "depth_to_water": 5.23, "water_temperature": 18.2}
[{"t": 1767294245, "depth_to_water:upper": 5.23}, ...]
{"t": ["...", "..."], "depth_to_water": [5.23, 5.24]}
```

`t` is RFC 3339 with an offset, epoch seconds, or epoch milliseconds (numbers of 10^11 and more). Keys are `property` or
`property:channel`. A value is a number, null (missing), or an object `{"value", "sigma", "quality", "reasons"}`; beside them may stand
`t_end` (exclusive end of an extent), `id` (echoed in the receipt), `station`, and `unit`, `sigma`, `quality`: objects keyed like the
values. This file finishes with `parse`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import orjson

from domain.errors import FormatError, InputError
from domain.model import station_code
from domain.observation import ParsedPayload, Rejected, SourceStream, columns
from domain.quality import REASONS, Quality
from ingest.formats.decoding import head
from ingest.formats.format import ImportContext
from ingest.formats.json_runs import MILLISECONDS_FROM, MOST_EPOCH, Run, is_key, plain_runs
from ingest.profile import Profile

if TYPE_CHECKING:
    from ingest.formats.message import MessageContext

NO_END = -(2**63)
MAX_ELEMENTS = 1_000_000
_RESERVED = frozenset({"t", "t_end", "id", "station", "unit", "sigma", "quality"})
_FLAGS = frozenset(int(flag) for flag in Quality)
_NAN = math.nan
_NUMBERS = (int, float)  # and no bool
_GOOD, _MISSING = int(Quality.GOOD), int(Quality.MISSING)


class Element(NamedTuple):
    """One observation of a payload, times in microseconds since 1970 UTC, `end_us` = `NO_END` for an instant."""

    key: str
    time_us: int
    end_us: int
    result: float
    sigma: float
    quality: int
    reasons: tuple[str, ...] | None
    line: int


@dataclass(slots=True)
class Elements:
    """What one payload holds.

    `runs` are columns of plain values, where the caller takes them whole. `optional` are keys of the device's health that are
    kept where somebody configured a datastream for them; `uplink` identifies a radio frame, copies of which may arrive by several
    ways; `is_sign_of_life` is true of a payload that holds no observation by design.
    """

    values: list[Element] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    message_id: str | None = None
    station: str | None = None
    units: dict[str, str] = field(default_factory=dict)
    optional: frozenset[str] = frozenset()
    uplink: tuple[str, ...] | None = None
    is_sign_of_life: bool = False


def sniff(raw: bytes, filename: str) -> float:
    """Return how sure we are that this is native JSON."""
    del filename
    beginning = head(raw, 4096).lstrip()
    if not beginning.startswith(("{", "[")):
        return 0.0
    return 0.9 if '"t"' in beginning else 0.0


def parse_elements(raw: bytes, *, where: str, as_runs: bool = False) -> Elements:
    """Parse a payload into observations, element by element, or plain columns of them `as_runs`; nothing is looked up.

    Raises
    ------
    FormatError
        When the bytes are not JSON of one of the three shapes.
    """
    content = _decoded(raw, where)
    found = Elements()
    if isinstance(content, dict):
        _identify(content, found)
        if isinstance(content.get("t"), list):
            _columns(content, found, as_runs=as_runs)
        else:
            _object(content, 1, found)
    elif isinstance(content, list):
        for line, item in enumerate(content, start=1):
            if isinstance(item, dict):
                _object(item, line, found)
            else:
                found.rejected.append(
                    Rejected(line, "columns", "the element is no object; send {t, property: value}", _raw(item))
                )
    else:
        raise FormatError("the payload is neither an object nor a list.", where=where, remedy='send {"t": ..., "property": 1.5}')
    return found


def message_elements(raw: bytes, context: MessageContext) -> Elements:
    """Parse the payload of a message; its times are absolute."""
    return parse_elements(raw, where=context.where, as_runs=True)


def elements_of(run: Run) -> Iterator[Element]:
    """Yield the values of a run one by one."""
    for line, (time_us, result) in enumerate(zip(run.time_us.tolist(), run.result.tolist(), strict=True), start=1):
        yield Element(run.key, time_us, NO_END, result, _NAN, int(Quality.GOOD), None, line)


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _decoded(raw: bytes, where: str) -> Any:
    """Return what the bytes say, read the fast way where that reads the same."""
    with suppress(orjson.JSONDecodeError):
        content = orjson.loads(raw)
        # An integer of more than 64 bits becomes a float there, which is all the same for a value but not for an identity.
        if not isinstance(content, dict) or type(content.get("id")) is not float:
            return content
    try:  # UTF-16, a byte order mark, a lone surrogate, a number beyond a double, or no JSON at all
        return _DECODER.decode(raw.decode(json.detect_encoding(raw), "surrogatepass"))
    except (ValueError, RecursionError) as fault:
        raise FormatError(
            "the payload is not JSON.", where=where, remedy='send {"t": "2026-01-02T03:04:05+08:00", "property": 1.5}'
        ) from fault


def _identify(content: Mapping[str, Any], found: Elements) -> None:
    identity, station = content.get("id"), content.get("station")
    if isinstance(identity, str | int) and not isinstance(identity, bool):
        # Half a surrogate pair, which JSON can say, cannot be echoed in UTF-8.
        found.message_id = str(identity)[:128].encode("utf-8", "replace").decode("utf-8")
    if isinstance(station, str):
        found.station = station


def _raw(item: object) -> bytes:
    return json.dumps(item, ensure_ascii=False).encode("utf-8", errors="replace")


def _object(item: Mapping[str, Any], line: int, found: Elements) -> None:
    time_us = epoch_us(item.get("t"))
    end_us = NO_END if item.get("t_end") is None else epoch_us(item["t_end"])
    if time_us is None or end_us is None or (end_us != NO_END and end_us <= time_us):
        reason = "t is no time with an offset; write RFC 3339 (2026-01-02T03:04:05+08:00) or epoch seconds or milliseconds"
        if time_us is not None:
            reason = "t_end is no time after t"
        found.rejected.append(Rejected(line, "time", reason, _raw(item)))
        return
    _units(item, found)
    sigmas, flags = item.get("sigma"), item.get("quality")
    for key, value in item.items():
        if key in _RESERVED:
            continue
        element = _element(key, time_us, end_us, value, _beside(sigmas, key), _beside(flags, key), line)
        if isinstance(element, Element):
            found.values.append(element)
        else:
            found.rejected.append(Rejected(line, "value", element, _raw({"t": item.get("t"), key: value})))


def _beside(table: object, key: str) -> object:
    return table.get(key) if isinstance(table, dict) else None


def _units(item: Mapping[str, Any], found: Elements) -> None:
    units = item.get("unit")
    if isinstance(units, dict):
        found.units.update({str(key): str(unit) for key, unit in units.items()})


def _columns(content: Mapping[str, Any], found: Elements, *, as_runs: bool) -> None:
    times: Sequence[Any] = content["t"]
    ends = content.get("t_end")
    _units(content, found)
    n = len(times)
    keys = [key for key in content if key not in _RESERVED]
    for key in list(keys):
        if not isinstance(content[key], list) or len(content[key]) != n:
            keys.remove(key)
            reason = f"column {key!r} must be a list as long as t ({n})"
            found.rejected.append(Rejected(0, "columns", reason, _raw({key: content[key]})))
    ends = ends if isinstance(ends, list) and len(ends) == n else None
    are_bare = ends is None and not isinstance(content.get("sigma"), dict) and not isinstance(content.get("quality"), dict)
    if as_runs and are_bare and (runs := plain_runs(content, keys, epoch_us)) is not None:
        found.runs = runs
        return
    for i in range(n):
        row: dict[str, Any] = {"t": times[i]} | {key: content[key][i] for key in keys if content[key][i] is not None}
        row |= {key: None for key in keys if content[key][i] is None}
        if ends is not None:
            row["t_end"] = ends[i]
        for name in ("sigma", "quality"):
            table = content.get(name)
            if isinstance(table, dict):
                row[name] = {key: column[i] for key, column in table.items() if isinstance(column, list) and i < len(column)}
        _object(row, i + 1, found)


def epoch_us(value: object) -> int | None:
    """Return microseconds since 1970, or None."""
    if isinstance(value, str):
        text = value[:-1] + "+00:00" if value.endswith(("Z", "z")) else value
        extra = 0
        if "T24:" in text:
            text, extra = _MIDNIGHT_24.sub("T00:00", text, count=1), 86_400_000_000
        try:
            moment = datetime.fromisoformat(text)
            offset = moment.utcoffset()
        except ValueError:
            return None
        if offset is None:
            return None
        return _since_1970(moment.replace(tzinfo=None)) - int(offset.total_seconds() * 1_000_000) + extra
    if type(value) in _NUMBERS and 0 <= value < MOST_EPOCH:  # type: ignore[operator]  # false of a NaN
        return round(value * 1000) if value >= MILLISECONDS_FROM else round(value * 1_000_000)  # type: ignore[operator]
    return None


_MIDNIGHT_24 = re.compile(r"T24:00(?=(?::00(?:\.0+)?)?[+-])")
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00")


def _since_1970(naive: datetime) -> int:
    gap = naive - _EPOCH
    return (gap.days * 86400 + gap.seconds) * 1_000_000 + gap.microseconds


def _element(key: str, time_us: int, end_us: int, value: object, sigma: object, flag: object, line: int) -> Element | str:
    if not is_key(key):
        return f"{key!r} is no key; write property or property:channel"
    reasons: tuple[str, ...] | None = None
    if isinstance(value, dict):
        sigma, flag = value.get("sigma", sigma), value.get("quality", flag)
        stated = value.get("reasons")
        if stated is not None:
            if not isinstance(stated, list) or not all(isinstance(code, str) and code in REASONS for code in stated):
                return f"reasons of {key!r} must be codes of docs/formats.md"
            reasons = tuple(stated) or None
        value = value.get("value")
    number = _number(value)
    if number is None and value is not None:
        return f"the value of {key!r} is no finite number"
    spread = _NAN if sigma is None else _number(sigma)
    if spread is None or spread < 0:
        return f"the sigma of {key!r} is no number of at least 0"
    quality = _GOOD if flag is None else flag
    if type(quality) is not int or quality not in _FLAGS:
        return f"the quality of {key!r} is not 1, 2, 3, 4 or 9"
    if number is None:
        return Element(key, time_us, end_us, _NAN, _NAN, _MISSING, reasons, line)
    return Element(key, time_us, end_us, number, spread, quality, reasons, line)


def _number(value: object) -> float | None:
    if type(value) not in _NUMBERS:
        return None
    try:
        number = float(value)  # type: ignore[arg-type]
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def parse(raw: bytes, profile: Profile | None, context: ImportContext) -> ParsedPayload:
    """Parse a payload or a file of native JSON (also JSON lines) for the station of the flag, the profile or the payload."""
    parts = list(_documents(raw, context.filename))
    names = {part.station for _, part in parts if part.station}
    stated = context.station or (profile.station.constant if profile else None)
    if len(names) > 1 and not stated:
        raise FormatError("the payload names several stations.", where=context.filename, remedy="split it by station")
    name = stated or next(iter(names), None)
    if name is None:
        raise FormatError("nothing says which station this is.", where=context.filename, remedy="give --station CODE")
    station = station_code(name, where=context.filename)
    streams: dict[str, int] = {}
    units: dict[str, str] = {}
    rows: list[Element] = []
    rejected: list[Rejected] = []
    for offset, part in parts:
        units.update(part.units)
        rows.extend(part.values if offset == 0 else (element._replace(line=offset) for element in part.values))
        rejected.extend(
            part.rejected if offset == 0 else (Rejected(offset, item.code, item.reason, item.raw) for item in part.rejected)
        )
    index = [streams.setdefault(element.key, len(streams)) for element in rows]
    reasons = np.empty(len(rows), dtype=object)
    reasons[:] = [element.reasons for element in rows]
    built = columns(
        index,
        np.array([element.time_us for element in rows], dtype="datetime64[us]"),
        [element.result for element in rows],
        sigma=[element.sigma for element in rows],
        quality=[element.quality for element in rows],
        line=[element.line for element in rows],
        end=np.array([element.end_us for element in rows], dtype=np.int64).astype("datetime64[us]"),
        reasons=reasons if any(reasons) else None,
    )
    return ParsedPayload(tuple(_stream(station, key, units.get(key)) for key in streams), built, tuple(rejected), {})


def _stream(station: str, key: str, unit: str | None) -> SourceStream:
    name, _, channel = key.partition(":")
    return SourceStream(station, name, channel=channel or None, unit=unit)


def _documents(raw: bytes, where: str) -> Iterator[tuple[int, Elements]]:
    """Yield `(0, payload)` for one document, or `(line, payload)` for each of JSON lines."""
    try:
        yield 0, parse_elements(raw, where=where)
    except InputError:
        lines = [(number, line) for number, line in enumerate(raw.split(b"\n"), start=1) if line.strip()]
        if len(lines) < 2:
            raise
        first = parse_elements(lines[0][1], where=where)
        yield lines[0][0], first
        for number, line in lines[1:]:
            try:
                yield number, parse_elements(line, where=where)
            except FormatError as fault:
                yield number, Elements(rejected=[Rejected(number, "json", str(fault), line)])

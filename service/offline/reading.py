"""Series of a bare file: a known format, or UTF-8 CSV with one header line, optionally gzip.

Value = the column named `value`, else the last numeric one. Time = `time`, `timestamp`, `date` or `datetime`, else the first other column;
a column `index` is ignored. A naive time is UTC. A numeric time is a plain ordinate (year or counter), never an epoch. Only the samples
count, never the file's name. This file finishes with `read_series`.
"""

from __future__ import annotations

import gzip
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from analytics.sampling import from_decimal_years
from domain.errors import FormatError, InputError
from domain.units import convert
from service.commands.files import read_file
from service.offline.plain_csv import read_columns, read_times

if TYPE_CHECKING:
    import pandas as pd

    from service.offline.plain_csv import Column

TIME_NAMES = ("time", "timestamp", "date", "datetime")
COMPONENTS = {"displacement_east": "east", "displacement_north": "north", "displacement_up": "up"}
SURE_ENOUGH = 0.5
ORIGIN_A = 2000.0


@dataclass(frozen=True)
class FileSeries:
    """One series of a file.

    Attributes
    ----------
    component
        east, north, up, or value.
    unit
        UCUM unit of the values; "1" where the file states none.
    time : datetime64[us] (n,)
        UTC; for a plain ordinate a stand-in on which one unit of it is a year.
    ordinate : float64 (n,) or None
        The numeric ordinate, None where the file has times.
    """

    file: str
    station: str
    component: str
    unit: str
    time: npt.NDArray[np.datetime64]
    value: npt.NDArray[np.float64]
    sigma: npt.NDArray[np.float64] | None = None
    ordinate: npt.NDArray[np.float64] | None = None

    def label(self, row: int) -> str | float:
        """Return the time of a row as the file would have it: RFC 3339 with Z, or the ordinate's number."""
        if self.ordinate is not None:
            return float(self.ordinate[row])
        return format_time(self.time[row])


def format_time(time: np.datetime64) -> str:
    """Return a UTC time as RFC 3339, with a fraction only where there is one."""
    text = np.datetime_as_string(time.astype("datetime64[us]"))
    return str(text.rstrip("0").rstrip(".") if "." in text else text) + "Z"


def read_series(path: Path, *, format_name: str | None = None) -> list[FileSeries]:
    """Return the series of a file, one a component.

    Raises
    ------
    FormatError
        When the file is no known format and no CSV with a header.
    """
    raw = read_file(path)
    body = _unzipped(raw, path)
    if format_name is None and _is_documented_shape(body):
        return [_read_csv(body, path)]
    chosen = format_name or _known_format(body, path.name)
    if chosen is None or chosen == "csv":
        return [_read_csv(body, path)]
    return _read_known(body, path, chosen)


def _unzipped(raw: bytes, path: Path) -> bytes:
    if raw[:2] != b"\x1f\x8b":
        return raw
    try:
        return gzip.decompress(raw)
    except (OSError, EOFError) as error:
        raise FormatError(f"broken gzip: {error}.", where=str(path), remedy="fetch the file again") from error


def _is_documented_shape(body: bytes) -> bool:
    """Whether the header is the documented one (a time and `value`, perhaps `index`), so that no format need be looked for."""
    names = [name.strip().lower() for name in body.partition(b"\n")[0].decode("utf-8-sig", errors="replace").split(",")]
    return "value" in names and any(name in names for name in TIME_NAMES) and set(names) <= {"index", "value", *TIME_NAMES}


def _known_format(body: bytes, name: str) -> str | None:
    from ingest.formats import FORMATS

    candidates = [(entry.sniff(body, name), known) for known, entry in FORMATS.items() if known != "csv"]
    best = max(candidates)
    return best[1] if best[0] >= SURE_ENOUGH else None


def _read_known(body: bytes, path: Path, name: str) -> list[FileSeries]:
    from ingest.formats import FORMATS, ImportContext
    from ingest.profile import load_profile

    if name not in FORMATS:
        raise FormatError(f"there is no format {name!r}.", where=str(path), remedy=f"known are {', '.join(FORMATS)}")
    entry = FORMATS[name]
    profile = load_profile(entry.default_profile) if entry.default_profile else None
    parsed = entry.parse(body, profile, ImportContext(path.name))
    found = []
    for index, stream in enumerate(parsed.streams):
        rows = parsed.columns.take(np.flatnonzero(parsed.columns.stream == index))
        order = np.argsort(rows.time, kind="stable")
        unit, result, sigma = stream.unit or "1", rows.result[order], rows.sigma[order]
        component = COMPONENTS.get(stream.property_code, "value")
        if component != "value":
            unit, result, sigma = "mm", convert(result, unit, "mm"), convert(sigma, unit, "mm")
        found.append(FileSeries(str(path), stream.station, component, unit, rows.time[order], result, sigma))
    if not found:
        raise FormatError("the file has no observations.", where=str(path), remedy="check that it is whole")
    return found


def _read_csv(body: bytes, path: Path) -> FileSeries:
    return _read_plainly(body, path) or _read_carefully(body, path)


def _read_plainly(body: bytes, path: Path) -> FileSeries | None:
    """The file by the quick way, None where anything about it is in doubt."""
    columns = [(name, column) for name, column in read_columns(body) or [] if name.lower() != "index"]
    named = [i for i, (name, _) in enumerate(columns) if name.lower() == "value"]
    numeric = [i for i, (_, column) in enumerate(columns) if isinstance(column, np.ndarray)]
    if len(columns) < 2 or not numeric or (named and named[0] not in numeric):
        return None
    chosen = named[0] if named else numeric[-1]
    others = [i for i in range(len(columns)) if i != chosen]
    wanted = [i for word in TIME_NAMES for i in others if columns[i][0].lower() == word]
    times = _quick_times(columns[(wanted or others)[0]][1], path)
    values = columns[chosen][1]
    if times is None or not isinstance(values, np.ndarray):
        return None
    return FileSeries(str(path), path.name.split(".")[0], "value", "1", times[0], values, ordinate=times[1])


def _quick_times(column: Column, path: Path) -> tuple[npt.NDArray[np.datetime64], npt.NDArray[np.float64] | None] | None:
    if isinstance(column, np.ndarray):
        return _stand_in(_checked(column, path)), column
    parsed = read_times(column)
    return None if parsed is None else (parsed, None)


def _checked(ordinate: npt.NDArray[np.float64], path: Path) -> npt.NDArray[np.float64]:
    if not np.isfinite(ordinate).all() or (ordinate.size and np.ptp(ordinate) > 7000.0 * 365.25):
        raise InputError("the ordinate is not finite, or spans too much.", where=str(path), remedy="write times as ISO 8601")
    return ordinate


def _read_carefully(body: bytes, path: Path) -> FileSeries:
    import pandas as pd

    try:
        frame = pd.read_csv(io.BytesIO(body), encoding="utf-8-sig", skipinitialspace=True)
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError, ValueError) as error:
        raise FormatError(
            f"not a UTF-8 CSV: {error}.", where=str(path), remedy="give --format, or write CSV with one header line"
        ) from error
    frame.columns = [str(name).strip() for name in frame.columns]
    frame = frame.drop(columns=[name for name in frame.columns if name.lower() == "index"])
    value_name = _value_column(frame, path)
    time_name = _time_column(frame, value_name, path)
    values = pd.to_numeric(frame[value_name], errors="coerce").to_numpy(dtype=np.float64)
    times, ordinate = _times(frame[time_name], path)
    return FileSeries(str(path), path.name.split(".")[0], "value", "1", times, values, ordinate=ordinate)


def _value_column(frame: pd.DataFrame, path: Path) -> Any:
    import pandas as pd

    for name in frame.columns:
        if name.lower() == "value":
            return name
    numeric = [name for name in frame.columns if pd.api.types.is_numeric_dtype(frame[name])]
    if not numeric:
        raise FormatError("no column has numbers.", where=str(path), remedy="name the column of values `value`")
    return numeric[-1]


def _time_column(frame: pd.DataFrame, value_name: Any, path: Path) -> Any:
    others = [name for name in frame.columns if name != value_name]
    for wanted in TIME_NAMES:
        for name in others:
            if name.lower() == wanted:
                return name
    if not others:
        raise FormatError("there is no column of times.", where=str(path), remedy="name the column of times `time`")
    return others[0]


def _times(column: pd.Series[Any], path: Path) -> tuple[npt.NDArray[np.datetime64], npt.NDArray[np.float64] | None]:
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column):
        ordinate = _checked(column.to_numpy(dtype=np.float64), path)
        return _stand_in(ordinate), ordinate
    try:
        parsed = pd.to_datetime(column, utc=True, format="ISO8601")
    except (ValueError, pd.errors.OutOfBoundsDatetime) as error:
        raise FormatError(f"a time cannot be read: {error}.", where=str(path), remedy="write times as ISO 8601") from error
    if parsed.isna().any():
        raise FormatError(
            f"row {int(np.argmax(parsed.isna().to_numpy()))} has no time.", where=str(path), remedy="fill or remove it"
        )
    return parsed.dt.tz_localize(None).to_numpy().astype("datetime64[us]"), None


def _stand_in(ordinate: npt.NDArray[np.float64]) -> npt.NDArray[np.datetime64]:
    """Return times on which one unit of the ordinate is a year of 365.25 days; only differences matter."""
    if ordinate.size and ordinate.min() >= 1000.0 and ordinate.max() <= 3000.0:
        return from_decimal_years(ordinate)
    return from_decimal_years(ORIGIN_A + ordinate - (ordinate[0] if ordinate.size else 0.0))

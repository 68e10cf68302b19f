"""The columns of a plain CSV without pandas, whose import takes longer than most of these commands.

Only what leaves no doubt is read here: one header line, as many cells in every row, no quotes, no words for missing values. Anything else
is left to the careful reader. This file finishes with `read_times`.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

_DOUBTFUL = re.compile(
    r"(?:^|,)\s*(?:#?N/?A|#NA|NULL|None|<NA>|-?(?:nan|1\.#(?:IND|QNAN))|true|false|-?inf(?:inity)?)\s*(?:,|$)",
    re.IGNORECASE | re.MULTILINE,
)
_ISO = r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?)?"
_NAIVE_COLUMN = re.compile(f"{_ISO}(?:\n{_ISO})*", re.ASCII)
_ZULU_COLUMN = re.compile(f"{_ISO}Z(?:\n{_ISO}Z)*", re.ASCII)

Column = npt.NDArray[np.float64] | list[str]


def read_columns(body: bytes) -> list[tuple[str, Column]] | None:
    r"""Return the named columns of a plain CSV, floats where every cell is a number or empty; None where it is not plain.

    Examples
    --------
    >>> read_columns(b"time,value\n2020-01-01,1.5\n")
    [('time', ['2020-01-01']), ('value', array([1.5]))]
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    if '"' in text or "'" in text or "_" in text.partition("\n")[2] or _DOUBTFUL.search(text):
        return None
    rows = [line.split(",") for line in text.splitlines() if line.strip()]
    if len(rows) < 2 or any(len(row) != len(rows[0]) for row in rows):
        return None
    names = [name.strip() for name in rows[0]]
    if len(set(names)) != len(names) or not all(names):
        return None
    return [(name, _column(cells)) for name, cells in zip(names, zip(*rows[1:], strict=True), strict=True)]


def _column(cells: tuple[str, ...]) -> Column:
    try:
        return np.array([cell if cell.strip() else "nan" for cell in cells], dtype=np.float64)
    except ValueError:
        return [cell.strip() for cell in cells]


def read_times(cells: list[str]) -> npt.NDArray[np.datetime64] | None:
    """Return ISO 8601 times in UTC, a naive one read as UTC; None where a cell is anything else.

    Examples
    --------
    >>> str(read_times(["2020-01-01T08:00:00+08:00"])[0])
    '2020-01-01T00:00:00.000000'
    """
    joined = "\n".join(cells)
    try:
        if _NAIVE_COLUMN.fullmatch(joined):
            return np.array(cells, dtype="datetime64[us]")
        if _ZULU_COLUMN.fullmatch(joined):
            return np.array([cell[:-1] for cell in cells], dtype="datetime64[us]")
        moments = [datetime.fromisoformat(cell) for cell in cells]
    except ValueError:
        return None
    utc = [(m.replace(tzinfo=UTC) if m.tzinfo is None else m).astimezone(UTC).replace(tzinfo=None) for m in moments]
    return np.array(utc, dtype="datetime64[us]")

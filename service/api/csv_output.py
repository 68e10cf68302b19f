"""CSV out: RFC 4180, UTF-8, a header that names unit and zone, numbers as the shortest decimals that read back exactly.

This file finishes with `observations_csv`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

_IN_UNIT = {"result", "sigma", "mean", "min", "max", "sum", "first", "last"}
_TIMES = {"phenomenon_time", "phenomenon_end", "result_time", "start"}
RAW = ("phenomenon_time", "phenomenon_end", "result", "sigma", "quality", "quality_reasons", "result_time")
BUCKETS = ("start", "n", "n_good", "mean", "min", "max", "sum", "first", "last")


def observations_csv(rows: Sequence[Mapping[str, Any]], unit: str, names: Sequence[str]) -> str:
    """Return rows as CSV text with the columns `names`."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([_heading(name, unit) for name in names])
    writer.writerows([_cell(row[name]) for name in names] for row in rows)
    return out.getvalue()


def _heading(name: str, unit: str) -> str:
    if name in _IN_UNIT:
        return f"{name} [{unit}]"
    return f"{name} [UTC]" if name in _TIMES else name


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, list | tuple):
        return ";".join(str(item) for item in value)
    return str(value)

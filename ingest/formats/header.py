"""Names of columns: compared folded, found by name or by position. This file finishes with `find_column`."""

from __future__ import annotations

import re
from collections.abc import Sequence

Names = Sequence[str | int]


def fold(name: str) -> str:
    """Return a header name for comparison: full-width brackets and spaces folded, case ignored."""
    return re.sub(r"\s+", "", name.replace("（", "(").replace("）", ")").replace("：", ":")).casefold()


def find_column(header: Sequence[str], width: int, names: Names) -> int | None:
    """Return the column (from 0) that one of the names or 1-based positions picks, or None."""
    folded = [fold(name) for name in header]
    for name in names:
        if isinstance(name, int):
            if 1 <= name <= width:
                return name - 1
        elif fold(name) in folded:
            return folded.index(fold(name))
    return None

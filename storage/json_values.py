"""What goes into jsonb: evidence, parameters and results as plain JSON, whatever numpy or the standard library made of them.

JSON has no NaN: a number that is not finite is null (absent means not estimated). This file finishes with `jsonb`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from datetime import date, datetime
from enum import Enum
from typing import Any

import numpy as np
from psycopg.types.json import Jsonb


def plain(value: Any) -> Any:
    """Return `value` as JSON has it: objects, arrays, strings, numbers, true, false and null.

    Examples
    --------
    >>> plain({"rate": np.float64("nan"), "window": (np.int64(1), 2.5)})
    {'rate': None, 'window': [1, 2.5]}
    """
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else f"{np.datetime_as_string(value, unit='us')}Z"
    if isinstance(value, np.generic | np.ndarray):
        return plain(value.tolist())
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence | Set) and not isinstance(value, str | bytes):
        return [plain(item) for item in value]
    return value


def jsonb(value: Any) -> Jsonb:
    """Return a parameter for a jsonb column."""
    return Jsonb(plain(value))

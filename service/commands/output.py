"""What commands print: answers, as JSON or in words, on stdout; what went wrong on stderr. This file finishes with `complain`."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from datetime import UTC, date, datetime
from enum import Enum
from typing import Any


def jsonable(value: Any) -> Any:
    """Return a value as JSON holds it: times in UTC with Z, NaN and infinity as null, dataclasses as objects."""
    if is_dataclass(value) and not isinstance(value, type):
        return jsonable(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, list | tuple | set | frozenset):
        return [jsonable(item) for item in value]
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def emit(value: Any) -> None:
    """Print one JSON object on a line of stdout."""
    sys.stdout.write(json.dumps(jsonable(value), ensure_ascii=False) + "\n")


def say(text: str) -> None:
    """Print a line of the answer for people on stdout, so that it can be piped like the JSON."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def complain(text: str) -> None:
    """Print a line about what went wrong on stderr."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()

"""Golden files: what each sample of each format says, value by value, as text that a person can read and a change shows up in.

`python -m tests.ingest.golden` writes them anew; look at the difference before it is committed. This file finishes with `write_all`.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from domain.observation import ParsedPayload
from ingest.formats import FORMATS, ImportContext
from ingest.profile import Profile, load_profile

DATA = Path(__file__).resolve().parents[1] / "data"
GOLDEN = DATA / "golden"


def samples() -> list[Path]:
    """Return every sample of every format."""
    return [path for name in FORMATS for path in sorted((DATA / name).iterdir()) if path.suffix != ".yaml"]


def profile_of(path: Path) -> Profile | None:
    """Return the profile beside a sample, else the one that its format has of its own."""
    own = sorted(path.parent.glob("*.yaml"))
    default = FORMATS[path.parent.name].default_profile
    return load_profile(own[0]) if own else load_profile(default) if default else None


def golden_of(path: Path) -> Path:
    """Return where the golden file of a sample lies."""
    return GOLDEN / f"{path.parent.name}.{path.name}.json"


def said_by(path: Path) -> str:
    """Return what a sample says."""
    context = ImportContext(path.name, station="S1", zone="Asia/Shanghai")
    payload = FORMATS[path.parent.name].parse(path.read_bytes(), profile_of(path), context)
    rows = [json.dumps(row, ensure_ascii=False) for row in _rows(payload)]
    head = {
        "streams": [_stream(payload, number) for number in range(len(payload.streams))],
        "rejected": [[item.line, item.code, item.reason] for item in payload.rejected],
        "notes": dict(payload.notes),
    }
    text = json.dumps(head, ensure_ascii=False, indent=1, default=str)
    return text[:-2] + ',\n "observations": [\n  ' + ",\n  ".join(rows) + "\n ]\n}\n"


def _stream(payload: ParsedPayload, number: int) -> dict[str, Any]:
    stream = payload.streams[number]
    named = {name: getattr(stream, name) for name in stream.__dataclass_fields__}
    return {name: value for name, value in named.items() if value not in (None, {})}


def _rows(payload: ParsedPayload) -> list[list[Any]]:
    columns = payload.columns
    found = []
    for row in range(len(columns)):
        reasons = None if columns.reasons is None else columns.reasons[row]
        end = None if np.isnat(columns.end[row]) else str(columns.end[row])
        found.append(
            [
                int(columns.stream[row]),
                str(columns.time[row]),
                end,
                _number(columns.result[row]),
                _number(columns.sigma[row]),
                int(columns.quality[row]),
                list(reasons or ()),
                int(columns.line[row]),
            ]
        )
    return found


def _number(value: float) -> str | None:
    """Return twelve digits: what a file says, and not the last bits of a computer."""
    return None if math.isnan(value) else f"{value:.12g}"


def write_all() -> None:
    """Write every golden file anew."""
    GOLDEN.mkdir(exist_ok=True)
    for path in samples():
        golden_of(path).write_text(said_by(path), encoding="utf-8")


if __name__ == "__main__":
    write_all()

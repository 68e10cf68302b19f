"""Generic JSON by profile: a list of records, wherever it stands in the document, read as a table.

`records: data.items` in the profile says where the list is (default: the document itself, else its only list of objects); the columns of
nested objects are dotted (`values.level`). JSON lines are a list as well. This file finishes with `parse`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from domain.errors import FormatError
from domain.observation import ParsedPayload
from ingest.formats.decoding import decode, split_lines
from ingest.formats.delimited import table_payload
from ingest.formats.format import ImportContext
from ingest.formats.table import Table
from ingest.profile import Profile

_DEEPEST = 20


def sniff(raw: bytes, filename: str) -> float:
    """Return 0: what the records of a JSON file mean, only a profile can say."""
    del raw, filename
    return 0.0


def parse(raw: bytes, profile: Profile | None, context: ImportContext) -> ParsedPayload:
    """Parse the records of a JSON document as the profile says; `line` of a row counts records from 1.

    Raises
    ------
    FormatError
        When there is no profile, the bytes are not JSON, or no list of records is where the profile says.
    """
    if profile is None:
        raise FormatError(
            "nothing says what the records hold.",
            where=context.filename,
            remedy="give --profile, or let groundwatch profile guess FILE propose one",
        )
    _, records = find_records(raw, profile.records, where=context.filename)
    return table_payload(record_table(records), profile, context)


def find_records(raw: bytes, path: str | None, *, where: str) -> tuple[str | None, list[Mapping[str, Any]]]:
    """Return the path of the list of records (None = the document itself) and its objects; other entries become empty records."""
    text = decode(raw, where=where)
    try:
        content: Any = json.loads(text)
    except (ValueError, RecursionError):
        content = _lines(text, where)
    if path is not None:
        for part in path.split("."):
            content = content.get(part) if isinstance(content, Mapping) else None
    elif isinstance(content, Mapping):
        path, content = _only_list(content, "", 0) or (None, [content])
    if not isinstance(content, list) or not any(isinstance(item, Mapping) for item in content):
        raise FormatError(
            f"there is no list of records{f' at {path}' if path else ''}.",
            where=where,
            remedy="state where it is with records: in the profile, e.g. records: data.items",
        )
    return path, [item if isinstance(item, Mapping) else {} for item in content]


def _lines(text: str, where: str) -> list[Any]:
    try:
        return [json.loads(line) for line in split_lines(text) if line.strip()]
    except (ValueError, RecursionError) as fault:
        raise FormatError("the file is neither JSON nor JSON lines.", where=where, remedy="give the right --format") from fault


def _only_list(content: Mapping[str, Any], before: str, depth: int) -> tuple[str, list[Any]] | None:
    """Return path and content of the first list of objects, the nearest to the root first."""
    for key, value in content.items():
        if isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
            return f"{before}{key}", value
    for key, value in content.items():
        if isinstance(value, Mapping) and depth < _DEEPEST:
            found = _only_list(value, f"{before}{key}.", depth + 1)
            if found is not None:
                return found
    return None


def record_table(records: Sequence[Mapping[str, Any]]) -> Table:
    """Return records as a table of text, its columns in the order in which they first occur."""
    rows = [dict(_flat(record, "", 0)) for record in records]
    header = tuple(dict.fromkeys(name for row in rows for name in row))
    cells = np.full((len(rows), max(len(header), 1)), "", dtype=object)
    position = {name: i for i, name in enumerate(header)}
    for i, row in enumerate(rows):
        for name, text in row.items():
            cells[i, position[name]] = text
    return Table(header, cells, np.arange(1, len(rows) + 1, dtype=np.int32))


def _flat(record: Mapping[str, Any], before: str, depth: int) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for key, value in record.items():
        if isinstance(value, Mapping) and depth < _DEEPEST:
            found.extend(_flat(value, f"{before}{key}.", depth + 1))
        elif value is not None:
            found.append((f"{before}{key}", value.strip() if isinstance(value, str) else json.dumps(value, ensure_ascii=False)))
    return found

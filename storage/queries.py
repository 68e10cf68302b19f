"""Named SQL statements: `storage/sql/<noun>.sql` holds `-- name: verb_noun`, a sentence and the statement.

No SQL string lives in Python, so that a statement can be read, planned and reviewed as SQL. This file finishes with
`load_statements`.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent / "sql"
_NAME = re.compile(r"^-- name: (?P<name>[a-z][a-z0-9_]*)\s*$", re.MULTILINE)


class Statements:
    """The statements of one file as attributes, ready for psycopg."""

    def __init__(self, source: str, statements: dict[str, bytes]) -> None:
        self._source = source
        self._statements = statements

    def __getattr__(self, name: str) -> bytes:
        try:
            return self._statements[name]
        except KeyError:
            raise AttributeError(f"{self._source} has no statement named {name!r}") from None

    def names(self) -> tuple[str, ...]:
        """Return the names, in the order of the file."""
        return tuple(self._statements)


def parse_statements(source: str, text: str) -> Statements:
    r"""Split a file at its `-- name:` lines.

    Examples
    --------
    >>> parse_statements("demo.sql", "-- name: one\n-- The number one.\nSELECT 1;").one
    b'-- The number one.\\nSELECT 1'
    """
    found: dict[str, bytes] = {}
    matches = list(_NAME.finditer(text))
    for match, following in zip(matches, [*matches[1:], None], strict=True):
        body = text[match.end() : following.start() if following else len(text)].strip().rstrip(";")
        if match["name"] in found:
            raise ValueError(f"{source} names {match['name']!r} twice")
        found[match["name"]] = body.encode()
    return Statements(source, found)


@cache
def load_statements(noun: str) -> Statements:
    """Return the statements of `storage/sql/<noun>.sql`."""
    text = (FOLDER / f"{noun}.sql").read_text(encoding="utf-8")
    return parse_statements(f"{noun}.sql", text)

"""Parameters of requests: times with an offset, opaque cursors, `next` links.

This file finishes with `refuse_unknown`.
"""

from __future__ import annotations

import re
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote, urlencode

from fastapi import Query, Request

from domain.errors import RequestError

MAXIMUM = 10_000
DEFAULT = 100
_RFC3339 = re.compile(r"^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?([Zz]|[+-]\d{2}:\d{2})$")

Limit = Annotated[int, Query(ge=1, le=MAXIMUM, description="Most items to return; at most 10,000.")]
After = Annotated[str | None, Query(description="Opaque place to go on from; follow `next` instead of making one.")]
From = Annotated[str | None, Query(alias="from", description="Inclusive; RFC 3339 with an offset, e.g. 2026-01-01T00:00:00Z.")]
To = Annotated[str | None, Query(description="Exclusive; RFC 3339 with an offset.")]


def parse_time(text: str, name: str) -> datetime:
    """Return an RFC 3339 time in UTC; `RequestError` (400) without an offset. A space counts as the `+` that a URL lost."""
    head, tail = text[:16], text[16:].replace(" ", "+")
    joined = head + tail
    if not _RFC3339.match(joined):
        raise RequestError(
            f"{text!r} is not a time with an offset.",
            where=name,
            remedy="write RFC 3339 with Z or an offset, e.g. 2026-01-02T03:04:05Z or 2026-01-02T11:04:05%2B08:00",
        )
    try:
        return datetime.fromisoformat(joined.upper()).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise RequestError(f"{text!r} is no time: {error}.", where=name, remedy="correct the date or the hour") from error


def parse_span(start: str | None, end: str | None) -> tuple[datetime | None, datetime | None]:
    """Return `from` (inclusive) and `to` (exclusive), each None where not given."""
    first = None if start is None else parse_time(start, "from")
    last = None if end is None else parse_time(end, "to")
    if first is not None and last is not None and last < first:
        raise RequestError("`to` lies before `from`.", where="to", remedy="swap the two times")
    return first, last


def encode_cursor(value: str) -> str:
    """Return an opaque, URL-safe cursor."""
    return urlsafe_b64encode(value.encode()).decode().rstrip("=")


def decode_cursor(text: str, name: str = "after") -> str:
    """Return what `encode_cursor` was given; `RequestError` for anything else."""
    try:
        return b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode()
    except ValueError as error:
        raise RequestError(f"{text!r} is no cursor.", where=name, remedy="follow `next` of the page before") from error


def decode_number(text: str | None, name: str = "after") -> int | None:
    """Return a cursor that holds an integer key."""
    if text is None:
        return None
    value = decode_cursor(text, name)
    if not value.isdecimal():
        raise RequestError(f"{text!r} is no cursor.", where=name, remedy="follow `next` of the page before")
    return int(value)


def next_url(request: Request, **changed: str) -> str:
    """Return the path and query of this request with some parameters replaced."""
    query = [(name, value) for name, value in request.query_params.multi_items() if name not in changed]
    return f"{quote(request.url.path)}?{urlencode([*query, *changed.items()])}"


def listing(items: list[Any], following: str | None, **extra: Any) -> dict[str, Any]:
    """Return the shape of every list."""
    return {**extra, "items": items, "next": following}


def _query_names(dependant: Any) -> Iterator[str]:
    for field in dependant.query_params:
        yield str(field.alias)
    for inner in dependant.dependencies:
        yield from _query_names(inner)


async def refuse_unknown(request: Request) -> None:
    """Refuse query parameters that the endpoint does not know: a misspelt `form=` must not return everything."""
    dependant = getattr(request.scope.get("route"), "dependant", None)
    if dependant is None:
        return
    known = set(_query_names(dependant))
    unknown = sorted(set(request.query_params) - known)
    if unknown:
        raise RequestError(
            f"unknown parameter {', '.join(unknown)}.",
            where=unknown[0],
            remedy=f"this endpoint takes {', '.join(sorted(known)) or 'no parameters'}",
        )

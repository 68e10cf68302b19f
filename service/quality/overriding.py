"""What a person says of the quality of observations: recorded with name and reason, applied at once, taken back on the record.

This file finishes with `withdraw`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from domain.errors import RequestError
from domain.quality import Quality

if TYPE_CHECKING:
    from service.bootstrap import Container

WORDS = {"good": Quality.GOOD, "unknown": Quality.UNKNOWN, "suspect": Quality.SUSPECT, "fail": Quality.FAIL}
INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True)
class Applied:
    """An override as it was recorded, and how many flags it changed."""

    override_id: int
    changed: int


def override(
    container: Container, datastream_id: int, start: datetime, end: datetime | None, quality: str, reason: str, actor: str
) -> Applied:
    """Set the quality of [start, end) of a datastream; without an end, of the one observation at `start`.

    Raises
    ------
    RequestError
        An empty reason, an unknown word, or an end that is not after the start.
    """
    if quality not in WORDS:
        raise RequestError(f"{quality!r} is no quality.", where="quality", remedy=f"use one of {', '.join(WORDS)}")
    if not reason.strip():
        raise RequestError("the reason is empty.", where="reason", remedy="say why, e.g. seen on site, probe cleaned")
    stop = start + INSTANT if end is None else end
    if stop <= start:
        raise RequestError(
            "`to` is not after `from`.", where="to", remedy="swap the two times, or leave `to` out for one observation"
        )
    key = container.quality.add_override(datastream_id, start, stop, WORDS[quality], reason.strip(), actor)
    changed = container.inspector.inspect(datastream_id, start, stop, source_kind="override", actor=actor)
    return Applied(key, changed)


def withdraw(container: Container, override_id: int, actor: str) -> Applied:
    """Take an override back; the tests say again what they say."""
    datastream_id, start, end = container.quality.withdraw_override(override_id, actor)
    changed = container.inspector.inspect(datastream_id, start, end, source_kind="override", actor=actor)
    return Applied(override_id, changed)

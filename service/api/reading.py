"""Reading observations for people and scripts: unit, resolution, as-of, and heights relative to the first where disclosure says so.

This file finishes with `read_buckets`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from domain.errors import RequestError
from domain.units import canonical, convert, convert_spread, parse_unit
from service.api.lookup import Readable
from service.api.parameters import parse_time
from service.sharing.disclosure import HeightView

STEPS = {"1h": timedelta(hours=1), "1d": timedelta(days=1)}


@dataclass(frozen=True, slots=True)
class Scale:
    """From the stored unit to the one asked for, with a shift (in the stored unit) for relative heights."""

    source: str
    target: str
    shift: float = 0.0

    def value(self, result: float | None) -> float | None:
        """Convert a result; the very same number where nothing is to be done."""
        if result is None:
            return None
        return convert(result - self.shift if self.shift else result, self.source, self.target)

    def spread(self, sigma: float | None) -> float | None:
        """Convert a sigma or a difference: the factor alone."""
        return None if sigma is None else convert_spread(sigma, self.source, self.target)

    def total(self, total: float | None) -> float | None:
        """Convert a sum of results; unknown for scales with an offset or a shift, where a sum has no meaning."""
        moved = self.shift or parse_unit(self.source).offset != parse_unit(self.target).offset
        return None if total is None or moved else convert(total, self.source, self.target)


def scale_for(container: Any, readable: Readable, unit: str | None) -> Scale:
    """Return the scale for a datastream as this caller may read it, in `unit` (None = as stored)."""
    stored = readable.datastream.unit
    shift = first_result(container, readable.key) if readable.heights is HeightView.RELATIVE else 0.0
    return Scale(stored, canonical(unit) if unit else stored, shift)


def first_result(container: Any, datastream_id: int) -> float:
    """Return the first stored result of a datastream, the zero of relative heights; 0 when there is none."""
    rows = container.observations.page(datastream_id, None, None, after=None, limit=100)
    return next((row.result for row in rows if row.result is not None), 0.0)


def parse_as_of(container: Any, text: str | None) -> int | None:
    """Return the ledger sequence for `as_of`: a sequence itself, or the greatest one recorded by a time."""
    if text is None:
        return None
    if text.isdecimal():
        return int(text)
    return int(container.observations.seq_at(parse_time(text, "as_of")))


def choose_rollup(status: Any | None, start: datetime | None, end: datetime | None, points: int) -> str:
    """Return the finest roll-up that gives at most `points` buckets in the part of the span that has observations."""
    if status is None or status.first_time is None or status.last_time is None:
        return "1h"
    left, right = max(status.first_time, start or status.first_time), min(status.last_time, end or status.last_time)
    span_s = (right - left).total_seconds()
    return next((name for name in ("1h", "1d") if span_s / STEPS[name].total_seconds() <= points), "1mo")


@dataclass(frozen=True, slots=True)
class Page:
    """Rows of one answer and the time to go on from (None = that was all)."""

    rows: list[dict[str, Any]]
    after: datetime | None


def read_raw(
    container: Any,
    readable: Readable,
    scale: Scale,
    span: tuple[datetime | None, datetime | None],
    *,
    after: datetime | None,
    limit: int,
    as_of: int | None,
) -> Page:
    """Read observations as they are, `limit` at most."""
    rows = container.observations.page(readable.key, span[0], span[1], after=after, limit=limit + 1, as_of=as_of)
    page = [observation_row(row, scale) for row in rows[:limit]]
    return Page(page, rows[limit - 1].phenomenon_time if len(rows) > limit else None)


def observation_row(row: Any, scale: Scale) -> dict[str, Any]:
    """Return one observation with times as they are and values in the unit asked for."""
    return {
        "phenomenon_time": row.phenomenon_time,
        "phenomenon_end": row.phenomenon_end,
        "result": scale.value(row.result),
        "sigma": scale.spread(row.sigma),
        "quality": row.quality,
        "quality_reasons": list(row.quality_reasons or ()),
        "result_time": row.result_time,
    }


def read_buckets(
    container: Any,
    readable: Readable,
    scale: Scale,
    span: tuple[datetime | None, datetime | None],
    resolution: str,
    *,
    after: datetime | None,
    limit: int,
) -> Page:
    """Read a roll-up, `limit` buckets at most."""
    start = span[0] if after is None else after + timedelta(microseconds=1)
    rows: Sequence[Any] = container.observations.buckets(readable.key, start, span[1], resolution)
    page = [bucket_row(row, scale) for row in rows[:limit]]
    return Page(page, rows[limit - 1].bucket if len(rows) > limit else None)


def bucket_row(row: Any, scale: Scale) -> dict[str, Any]:
    """Return one bucket by its UTC start."""
    return {
        "start": row.bucket,
        "n": row.n,
        "n_good": row.n_good,
        "mean": scale.value(row.mean),
        "min": scale.value(row.min),
        "max": scale.value(row.max),
        "sum": scale.total(row.sum),
        "first": scale.value(row.first),
        "last": scale.value(row.last),
    }


def refuse_as_of_rollup(resolution: str, as_of: int | None) -> None:
    """Roll-ups know the present alone."""
    if as_of is not None and resolution not in {"raw", "auto"}:
        raise RequestError("a roll-up cannot be read as of the past.", where="as_of", remedy="use resolution=raw with as_of")

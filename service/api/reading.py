"""Reading observations for people and scripts: unit, resolution, as-of, and heights relative to the first where disclosure says so.

This file finishes with `read_buckets`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from domain.errors import RequestError
from domain.observation import FloatArray
from domain.units import canonical, convert, convert_spread, parse_unit
from service.api.lookup import Readable
from service.api.parameters import parse_time
from service.api.times import number, stamp
from service.sharing.disclosure import HeightView

Values = list[float | None]
STEPS = {"1h": timedelta(hours=1), "1d": timedelta(days=1)}


@dataclass(frozen=True, slots=True)
class Scale:
    """From the stored unit to the one asked for, with a shift (in the stored unit) for relative heights."""

    source: str
    target: str
    shift: float = 0.0

    def values(self, results: Sequence[float | None]) -> Values:
        """Convert results; the very same numbers where nothing is to be done."""
        if self.source == self.target and not self.shift:
            return [number(result) for result in results]
        stored = _array(results)
        return _listed(convert(stored - self.shift if self.shift else stored, self.source, self.target))

    def spreads(self, sigmas: Sequence[float | None]) -> Values:
        """Convert sigmas or differences: the factor alone."""
        if self.source == self.target:
            return [number(sigma) for sigma in sigmas]
        return _listed(convert_spread(_array(sigmas), self.source, self.target))

    def totals(self, totals: Sequence[float | None]) -> Values:
        """Convert sums of results; unknown for scales with an offset or a shift, where a sum has no meaning."""
        if self.shift or parse_unit(self.source).offset != parse_unit(self.target).offset:
            return [None] * len(totals)
        return self.values(totals)


def _array(values: Sequence[float | None]) -> FloatArray:
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)


def _listed(values: FloatArray) -> Values:
    return [value if math.isfinite(value) else None for value in values.tolist()]


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
    return Page(observation_rows(rows[:limit], scale), rows[limit - 1].phenomenon_time if len(rows) > limit else None)


def observation_rows(rows: Sequence[Any], scale: Scale) -> list[dict[str, Any]]:
    """Return observations as JSON values, in the unit asked for."""
    results = scale.values([row.result for row in rows])
    sigmas = scale.spreads([row.sigma for row in rows])
    return [
        {
            "phenomenon_time": stamp(row.phenomenon_time),
            "phenomenon_end": stamp(row.phenomenon_end),
            "result": result,
            "sigma": sigma,
            "quality": row.quality,
            "quality_reasons": list(row.quality_reasons or ()),
            "result_time": stamp(row.result_time),
        }
        for row, result, sigma in zip(rows, results, sigmas, strict=True)
    ]


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
    rows: Sequence[Any] = container.observations.buckets(readable.key, start, span[1], resolution, limit=limit + 1)
    return Page(bucket_rows(rows[:limit], scale), rows[limit - 1].bucket if len(rows) > limit else None)


def bucket_rows(rows: Sequence[Any], scale: Scale) -> list[dict[str, Any]]:
    """Return buckets as JSON values, by their UTC start."""
    converted = {name: scale.values([getattr(row, name) for row in rows]) for name in ("mean", "min", "max", "first", "last")}
    totals = scale.totals([row.sum for row in rows])
    return [
        {
            "start": stamp(row.bucket),
            "n": row.n,
            "n_good": row.n_good,
            "mean": converted["mean"][i],
            "min": converted["min"][i],
            "max": converted["max"][i],
            "sum": totals[i],
            "first": converted["first"][i],
            "last": converted["last"][i],
        }
        for i, row in enumerate(rows)
    ]


def refuse_as_of_rollup(resolution: str, as_of: int | None) -> None:
    """Roll-ups know the present alone."""
    if as_of is not None and resolution not in {"raw", "auto"}:
        raise RequestError("a roll-up cannot be read as of the past.", where="as_of", remedy="use resolution=raw with as_of")

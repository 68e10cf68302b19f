"""Elements and runs of many messages as the rows of one batch, flagged. This file finishes with `rows_of`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import numpy.typing as npt

from domain.observation import Columns, columns, concatenate
from ingest.formats.json_runs import Run
from ingest.formats.native_json import Element
from ingest.mapping import Target
from ingest.quality import CLOCK_PAST, flagged_rows


def rows_of(pairs: Sequence[tuple[Target, Element]], runs: Sequence[tuple[Target, Run]], now: datetime) -> Columns:
    """Return the rows of elements, then of runs, under their datastreams' ids and in their units, with range and clock flags.

    Parameters
    ----------
    pairs, runs
        Each with the datastream that it goes to.
    now
        When they were received.
    """
    parts = [_of_elements(pairs)] if pairs else []
    parts += [_of_runs(runs)] if runs else []
    targets = [target for target, _ in pairs] + [target for target, _ in runs]
    spans = _spans(targets, [1] * len(pairs) + [len(run) for _, run in runs])
    return flagged_rows(concatenate(parts), spans, now, since=now - CLOCK_PAST)


def _spans(targets: Sequence[Target], rows: Sequence[int]) -> npt.NDArray[np.float64]:
    """Return the plausible ranges of each row (4, n); thousands of messages have few targets, so each is asked once."""
    numbers: dict[int, int] = {}
    distinct: list[Target] = []
    index = []
    for target in targets:
        number = numbers.setdefault(id(target), len(distinct))
        if number == len(distinct):
            distinct.append(target)
        index.append(number)
    table = np.array([target.bounds.as_row() for target in distinct], dtype=np.float64).reshape(-1, 4).T
    return table[:, np.repeat(np.array(index, dtype=np.intp), rows)]


def _of_elements(pairs: Sequence[tuple[Target, Element]]) -> Columns:
    _, time_us, end_us, _, _, quality, stated, line = zip(*(element for _, element in pairs), strict=True)
    reasons = np.empty(len(pairs), dtype=object)
    reasons[:] = stated
    return columns(
        [target.datastream_id for target, _ in pairs],
        np.array(time_us, dtype=np.int64).astype("datetime64[us]"),
        [target.convert_one(element.result) for target, element in pairs],
        sigma=[target.convert_sigma(element.sigma) for target, element in pairs],
        quality=quality,
        line=line,
        end=np.array(end_us, dtype=np.int64).astype("datetime64[us]"),
        reasons=reasons if any(stated) else None,
    )


def _of_runs(runs: Sequence[tuple[Target, Run]]) -> Columns:
    return columns(
        np.repeat([target.datastream_id for target, _ in runs], [len(run) for _, run in runs]),
        np.concatenate([run.time_us for _, run in runs]).astype("datetime64[us]"),
        np.concatenate([target.convert_one(run.result) for target, run in runs]),
        line=np.concatenate([run.line for _, run in runs]),
    )

"""Which of many datastreams need more than a short look at what is newest in them. This file finishes with `in_doubt`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from analytics.quality_newest import Rows, Screen, doubtful
from analytics.sampling import Floats
from domain.observation import TimeArray
from storage.quality_looks import Newest, QualityLooks
from storage.work import WorkItem

DEPTHS = (3, 26)
"""Samples before the changed ones that are shown: the neighbours first, and where the value stood, all steps that make a stand."""
MOST_FRESH = 64
"""Samples from the changed one on that are looked at shortly: what lies deeper in the record is judged by its whole window."""


def in_doubt(looks: QualityLooks, items: Sequence[WorkItem], screens: Mapping[int, Screen]) -> set[int]:
    """Return the datastreams of whose flags the newest samples do not prove that they stand.

    Parameters
    ----------
    looks
        Where samples are read.
    items
        What changed, a datastream at most once.
    screens
        By datastream, what its samples must keep to.
    """
    for depth in DEPTHS:
        if not items:
            break
        newest = looks.newest([(identity, start) for identity, start, _ in items], depth, MOST_FRESH)
        doubt = _doubtful(newest, [screens[identity] for identity, *_ in items])
        items = [item for item, is_doubtful in zip(items, doubt.tolist(), strict=True) if is_doubtful]
    return {identity for identity, *_ in items}


def _doubtful(newest: Newest, screens: Sequence[Screen]) -> npt.NDArray[np.bool_]:
    count = len(screens)
    fresh = newest.time >= newest.since[newest.place]
    fresh_rows = np.bincount(newest.place[fresh], minlength=count)
    earlier_rows = np.bincount(newest.place[~fresh], minlength=count)
    rows = Rows(
        newest.place,
        seconds_of(newest.time),
        seconds_of(newest.received),
        newest.result,
        months_of(newest.time, np.array([screen.zone_s for screen in screens])[newest.place]),
        fresh,
        earlier_rows < newest.before,
    )
    doubt = doubtful(rows, screens) | newest.overridden | (fresh_rows >= newest.most)
    doubt[newest.place[rows.judged & newest.flagged]] = True
    return doubt


def months_of(time: TimeArray, zone_s: float | Floats) -> npt.NDArray[np.intp]:
    """Return the local month, 1 to 12, of UTC instants; `zone_s` is the zone's offset in seconds, one for all or one each."""
    local = time + np.rint(np.asarray(zone_s) * 1e6).astype("timedelta64[us]")
    month: npt.NDArray[np.intp] = local.astype("datetime64[M]").astype(np.int64).astype(np.intp) % 12 + 1
    return month


def seconds_of(time: TimeArray) -> Floats:
    """Return seconds since 1970 of UTC instants."""
    return np.asarray(time.astype("datetime64[us]").astype(np.int64) * 1e-6)

"""Payloads that come a second time: what they say was said before, and a correction that came in between is the newer word.

This file finishes with `superseded_repeats`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from domain.observation import Batch
from storage.database import Connection
from storage.queries import load_statements

SQL = load_statements("observations")
REPEATING = frozenset({"mqtt", "tcp", "inbox", "replay"})
"""Sources that bring the same payload again without anybody's will: brokers and devices send again, gateways pack what they wrote, a replay
runs all of a file. Who imports or posts one again means what it says."""
_OF_ONE_PAYLOAD = frozenset({"inbox", "replay"})


def superseded_repeats(connection: Connection, batch: Batch, corrected: npt.NDArray[np.intp]) -> list[int]:
    """Return which of the staged rows say only what a payload of the batch said when it came first, before others corrected it."""
    if batch.source_kind not in REPEATING or not len(corrected) or not batch.raws:
        return []
    digests = sorted({raw.sha256 for raw in batch.raws})
    said = {"ordinals": corrected.tolist(), "digests": digests, "is_one": batch.source_kind in _OF_ONE_PAYLOAD}
    return [ordinal for (ordinal,) in connection.execute(SQL.superseded_repeats, said)]

"""Small batches for the tests of the store."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np

from domain.model import Datastream
from domain.observation import Batch, columns

EPOCH = np.datetime64("2024-01-01", "us")
BEGIN = datetime(2024, 1, 1, tzinfo=UTC)


def id_of(datastream: Datastream) -> int:
    assert datastream.datastream_id is not None
    return datastream.datastream_id


def hours(numbers: Any) -> Any:
    return EPOCH + np.asarray(numbers) * np.timedelta64(1, "h")


def batch_of(datastream: Datastream, numbers: Any, values: Any, source_kind: str = "file", **more: Any) -> Batch:
    """Hourly observations of one datastream, `numbers` hours after the beginning of 2024."""
    return Batch(source_kind, "test", columns(id_of(datastream), hours(numbers), values, **more))

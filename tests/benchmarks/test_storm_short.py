"""A short reconnect storm: all that the devices buffered is stored once, in memory that does not grow with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.bench_storm import BUFFERED, LOGIN, storm
from benchmarks.own_stack import BenchStack
from service.embedded import EmbeddedStack

pytestmark = [pytest.mark.stack, pytest.mark.slow]

DEVICES = 40
MOST_GROWTH_MB = 100.0


@pytest.mark.timeout(240)
@pytest.mark.parametrize("processes", [1, 2])
def test_what_devices_buffered_is_stored_once_in_bounded_memory(stack: EmbeddedStack, tmp_path: Path, processes: int) -> None:
    stack.add_gateway(*LOGIN, topics=("gw/v1/stations/+/obs",))
    found = storm(BenchStack(stack, tmp_path), DEVICES, processes)
    assert found.observations == DEVICES * BUFFERED
    assert found.peak_mb - found.early_mb < MOST_GROWTH_MB
    assert found.peak_mb < 400.0
    assert len(found.curve_mb) == 10
    assert max(found.curve_mb) <= found.peak_mb

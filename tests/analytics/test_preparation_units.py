"""Offsets of the log are stated in the datastream's unit, whatever unit the analysis works in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from analytics import AnalysisSettings, Samples, analyse_datastream
from analytics.anomaly import detect_in_values
from analytics.method import aware
from domain.model import EventEffect, EventKind, StationEvent
from tests.analytics.simulation import days


def test_a_stated_offset_of_a_height_in_metres_is_taken_off_in_metres() -> None:
    times = days(1)[0] + np.arange(8) * np.timedelta64(365, "D")
    heights = 3.0 - 0.010 * np.arange(8) + np.where(np.arange(8) >= 4, 0.412, 0.0)
    moved = StationEvent("S1", EventKind.RESET, aware(times[4]) - timedelta(days=9), effect=EventEffect.OFFSET, size=0.412)
    samples = Samples(times, heights, np.full(8, 0.001))
    outcome = analyse_datastream(
        samples, [moved], AnalysisSettings("m", property_code="height"), datetime(2040, 1, 1, tzinfo=UTC)
    )[0]
    assert outcome.run.result["rate"] == pytest.approx(-10.0, rel=0.01)


def test_a_meter_that_stands_at_two_values_overflows_nothing() -> None:
    values = np.where(np.arange(1440) % 240 < 144, 60.0, 0.0)
    detect_in_values(np.arange(1440) * 3600.0, values, True)

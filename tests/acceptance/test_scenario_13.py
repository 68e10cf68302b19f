"""Scenario 13: a tidal well near Haiyan: 0.2 m every 12.4 h give a stable daily mean and no daily false alarms."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from analytics import AnalysisSettings, Samples, analyse_datastream
from analytics.anomaly import detect_anomalies
from analytics.sampling import M2_PERIOD_H, daily
from domain.finding import FindingKind

HOURS = 24 * 120
TRUE_M = 6.0


def tidal_well(seed: int) -> Samples:
    t = np.arange(HOURS)
    rng = np.random.default_rng(seed)
    tide = (
        0.2 * np.cos(2 * np.pi * t / M2_PERIOD_H + seed)
        + 0.06 * np.cos(2 * np.pi * t / 12.0)
        + 0.03 * np.cos(2 * np.pi * t / 25.82)
    )
    times = np.datetime64("2026-01-01T00:00:00", "us") + t * np.timedelta64(1, "h")
    return Samples(times, np.round(TRUE_M + tide + 0.003 * rng.normal(size=HOURS), 3))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_daily_mean_is_stable(seed: int) -> None:
    samples = tidal_well(seed)
    days = daily(samples, "mean", 8.0)
    inside = days.value[2:-2]
    plain = samples.value[: HOURS // 24 * 24].reshape(-1, 24).mean(axis=1)
    assert np.abs(inside - TRUE_M).max() < 0.01
    assert np.ptp(inside) < 0.5 * np.ptp(plain), "a plain mean of 24 samples beats with the tide"


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_tide_raises_no_alarm(seed: int) -> None:
    samples = tidal_well(seed)
    seconds = np.arange(HOURS) * 3600.0
    assert detect_anomalies(seconds, samples.value) == []
    now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=HOURS)
    outcomes = analyse_datastream(samples, [], AnalysisSettings("m", "depth_to_water", interval_s=3600.0), now)
    kinds = {FindingKind.SPIKE, FindingKind.LEVEL_SHIFT, FindingKind.DRIFT, FindingKind.VARIANCE, FindingKind.STEP}
    assert [item for outcome in outcomes for item in outcome.findings if item.kind in kinds] == []


def test_a_shift_of_the_well_is_seen_through_the_tide_with_its_size() -> None:
    samples = tidal_well(4)
    values = samples.value.copy()
    values[2000:] += 0.5
    found = detect_anomalies(np.arange(HOURS) * 3600.0, values)
    assert {item.kind for item in found} == {"level_shift"}
    assert len(found) <= 2, "the new level becomes a habit within a week"
    assert 2000 <= found[0].start_index <= 2003
    assert found[0].size == pytest.approx(0.5, abs=0.25)

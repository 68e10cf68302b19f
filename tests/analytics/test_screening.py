"""One event, one finding: gaps by the local interval, steps told once, counters judged by what they gain."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from analytics import AnalysisSettings, Samples, analyse_datastream
from analytics.sampling import Times
from domain.finding import Finding
from domain.model import EventEffect, EventKind, StationEvent, ValueKind
from tests.analytics.simulation import coloured_noise, days, well_level

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def findings(samples: Samples, settings: AnalysisSettings, events: tuple[StationEvent, ...] = ()) -> list[Finding]:
    return [finding for outcome in analyse_datastream(samples, events, settings, NOW) for finding in outcome.findings]


def mixed_times() -> Times:
    """Daily for three years, hourly for sixty days, then every minute and a half for a few hours."""
    history = days(1096)
    dense = history[-1] + np.arange(1, 24 * 60) * np.timedelta64(1, "h")
    live = dense[-1] + np.arange(1, 300) * np.timedelta64(100, "s")
    return np.concatenate((history, dense, live))


@pytest.mark.parametrize("interval_s", [None, 3600.0])
def test_a_change_of_interval_is_no_gap(interval_s: float | None) -> None:
    times = mixed_times()
    level = np.interp(times.astype(np.float64), days(1400).astype(np.float64), well_level(3, 1400))
    level += np.random.default_rng(1).normal(0.0, 0.004, times.size)
    assert findings(Samples(times, level), AnalysisSettings("m", "depth_to_water", interval_s=interval_s)) == []


def test_silences_within_a_mixed_record_are_gaps_each_by_the_interval_around_it() -> None:
    times = mixed_times()
    level = np.interp(times.astype(np.float64), days(1400).astype(np.float64), well_level(3, 1400))
    level += np.random.default_rng(1).normal(0.0, 0.004, times.size)
    keep = np.ones(times.size, dtype=bool)
    keep[500:530] = False
    keep[1500:1530] = False
    found = findings(Samples(times[keep], level[keep]), AnalysisSettings("m", "depth_to_water", interval_s=3600.0))
    assert [finding.kind.value for finding in found] == ["gap", "gap"]
    assert [np.datetime64(finding.start.replace(tzinfo=None)) for finding in found] == [times[499], times[1499]]


def test_live_rounds_that_stop_for_less_than_the_declared_interval_are_no_gap() -> None:
    start = days(1, "2026-01-01")[0]
    times = start + np.concatenate((np.arange(200), 200 + 3600 / 5 + np.arange(200))).astype(np.int64) * np.timedelta64(5, "s")
    values = np.random.default_rng(0).normal(size=times.size)
    assert findings(Samples(times, values), AnalysisSettings("m", interval_s=3600.0)) == []
    undeclared = findings(Samples(times, values), AnalysisSettings("m"))
    assert [finding.kind.value for finding in undeclared] == ["gap"]


@pytest.mark.parametrize("seed", range(4))
def test_a_lone_step_in_a_smooth_well_is_told_once_and_dated(seed: int) -> None:
    """2.0 to 3.5 m in a level that moves by centimetres a day."""
    rng = np.random.default_rng(4000 + seed)
    level = well_level(seed, 3652) + rng.normal(0.0, 0.004, 3652)
    at, size = int(rng.integers(720, 3100)), float(rng.uniform(2.0, 3.5)) * float(rng.choice([-1.0, 1.0]))
    level[at:] += size
    found = findings(Samples(days(3652), level), AnalysisSettings("m", "depth_to_water"))
    assert [finding.kind.value for finding in found] == ["step"]
    assert found[0].end is not None
    assert abs(np.datetime64(found[0].start.replace(tzinfo=None)) - days(3652)[at]) <= np.timedelta64(2, "D")
    assert found[0].size == pytest.approx(size, rel=0.05)


def test_a_logged_step_in_hourly_samples_is_not_told_again() -> None:
    times = np.datetime64("2026-01-01", "us") + np.arange(24 * 90) * np.timedelta64(1, "h")
    level = 5.0 + np.random.default_rng(5).normal(0.0, 0.005, times.size)
    level[1000:] += 1.5
    settings = AnalysisSettings("m", "depth_to_water")
    swap = StationEvent("W1", EventKind.SENSOR_SWAP, datetime(2026, 2, 11, 16, tzinfo=UTC), effect=EventEffect.OFFSET)
    assert findings(Samples(times, level), settings, (swap,)) == []
    shifts = [finding for finding in findings(Samples(times, level), settings) if finding.kind.value in {"step", "level_shift"}]
    assert len(shifts) == 1


def test_a_spike_larger_than_the_step_beside_it_is_still_told() -> None:
    values = 0.3 * coloured_noise(np.random.default_rng(6), 1500)
    values[800:] += 20.0
    values[802] += 150.0
    found = findings(Samples(days(1500), values), AnalysisSettings("mm", "displacement_up"))
    assert sorted(finding.kind.value for finding in found) == ["spike", "step"]


def test_a_counter_at_a_new_interval_has_no_shift() -> None:
    times = mixed_times()
    flow = 25.0 + np.random.default_rng(7).normal(0.0, 0.5, times.size)
    gained = np.concatenate(([0.0], np.cumsum(flow[1:] * np.diff(times).astype(np.float64) / 3600e6)))
    settings = AnalysisSettings("m3", "abstraction_total", value_kind=ValueKind.TOTALISER)
    assert findings(Samples(times, np.round(1e5 + gained, 1)), settings) == []


def test_a_counter_that_jumps_is_told() -> None:
    times = mixed_times()[:2400]
    counter = 1e5 + 25.0 * (times - times[0]).astype(np.float64) / 3600e6
    counter += np.cumsum(np.random.default_rng(8).normal(0.0, 0.5, times.size))
    counter[2000:] += 5000.0
    settings = AnalysisSettings("m3", "abstraction_total", value_kind=ValueKind.TOTALISER)
    near = [
        f
        for f in findings(Samples(times, counter), settings)
        if abs(np.datetime64(f.start.replace(tzinfo=None)) - times[2000]) <= np.timedelta64(2, "D")
    ]
    assert len(near) == 1

"""Anomalies: found where planted, silent on clean series, causal."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.anomaly import detect_anomalies, find_frozen, find_gaps_in, hampel
from analytics.sampling import M2_PERIOD_H

HOUR_S = 3600.0


def tidal_well(seed: int, n: int = 24 * 365) -> np.ndarray:
    """Depth to water with seasons, tide, barometric wander and noise, m."""
    rng = np.random.default_rng(seed)
    t = np.arange(n)
    tide = 0.2 * np.cos(2 * np.pi * t / M2_PERIOD_H) + 0.08 * np.cos(2 * np.pi * t / 24.0)
    wander = 0.002 * np.cumsum(rng.normal(size=n)) * np.exp(-0.0)
    season = 0.6 * np.cos(2 * np.pi * t / 8766.0)
    return np.round(5.0 + season + tide + wander + 0.004 * rng.normal(size=n), 3)


@pytest.mark.parametrize("seed", range(6))
def test_a_clean_tidal_well_raises_no_alarm(seed: int) -> None:
    values = tidal_well(seed)
    assert detect_anomalies(np.arange(values.size) * HOUR_S, values) == []


def test_a_spike_a_shift_and_a_frozen_run_are_told_apart() -> None:
    values = tidal_well(1)
    values[3000] += 1.5
    values[5000:] += 0.9
    values[7000:7040] = values[7000]
    found = detect_anomalies(np.arange(values.size) * HOUR_S, values)
    kinds = {anomaly.kind: anomaly.start_index for anomaly in found}
    assert kinds["spike"] == 3000
    assert kinds["level_shift"] == 5000
    assert 7000 < kinds["frozen"] < 7040
    assert len(found) <= 4


def test_a_silence_is_a_gap_and_a_regular_pause_is_not() -> None:
    seconds = np.arange(2000) * HOUR_S
    keep = np.ones(2000, dtype=bool)
    keep[1200:1260] = False
    values = np.random.default_rng(0).normal(size=2000)
    found = detect_anomalies(seconds[keep], values[keep])
    assert [(anomaly.kind, anomaly.start_index) for anomaly in found if anomaly.kind == "gap"] == [("gap", 1200)]
    assert len(found) <= 2
    workdays = np.arange(2000) % 24 < 10
    assert [a for a in detect_anomalies(seconds[workdays], values[workdays]) if a.kind == "gap"] == []


def test_a_shorter_second_gap_is_told_too() -> None:
    keep = np.ones(3000, dtype=bool)
    keep[1000:1100] = False
    keep[2000:2040] = False
    seconds = (np.arange(3000) * HOUR_S)[keep]
    found = find_gaps_in(seconds)
    assert [round((seconds[gap.start_index] - seconds[gap.start_index - 1]) / HOUR_S) for gap in found] == [101, 41]


@pytest.mark.parametrize("cut", [600, 1001, 1500, 1999])
def test_alarms_do_not_depend_on_what_comes_later(cut: int) -> None:
    values = tidal_well(2, 2000)
    values[[400, 1000, 1700]] += 2.0
    seconds = np.arange(2000) * HOUR_S
    whole = [a.start_index for a in detect_anomalies(seconds, values) if a.start_index < cut]
    # The season's lag needs a fixed past; both runs know the same samples before the cut.
    part = [a.start_index for a in detect_anomalies(seconds[:cut], values[:cut])]
    assert part == whole


@settings(max_examples=20, deadline=None)
@given(st.floats(1e-3, 1e3), st.floats(-1e3, 1e3), st.integers(0, 50))
def test_scale_and_shift_change_no_alarm(scale: float, shift: float, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=600)
    values[400] += 30.0
    ordinate = np.arange(600.0)
    plain = [(a.start_index, a.kind) for a in detect_anomalies(ordinate, values, is_time=False)]
    moved = [(a.start_index, a.kind) for a in detect_anomalies(ordinate, scale * values + shift, is_time=False)]
    assert moved == plain
    assert (400, "spike") in plain


def test_heavy_tails_ring_rarely() -> None:
    alarms = 0
    for seed in range(10):
        values = np.random.default_rng(seed).standard_t(4, size=3000)
        alarms += len(detect_anomalies(np.arange(3000.0), values, is_time=False))
    assert alarms <= 16  # of 30,000 samples; docs/methods/anomaly.md states the rates


def test_a_series_that_repeats_itself_is_not_frozen() -> None:
    rain = np.where(np.random.default_rng(0).random(3000) < 0.02, 1.0, 0.0)
    assert len(find_frozen(rain)) <= 1
    assert find_frozen(np.zeros(3000)) == []


def test_hampel_leaves_a_slope_alone_and_flags_an_outlier() -> None:
    values = np.linspace(0.0, 50.0, 300) + 0.1 * np.random.default_rng(0).normal(size=300)
    values[150] -= 8.0
    assert np.flatnonzero(hampel(values)[0]).tolist() == [150]


@pytest.mark.parametrize("n", [0, 1, 59])
def test_short_series_are_silent(n: int) -> None:
    assert detect_anomalies(np.arange(float(n)), np.zeros(n)) == []

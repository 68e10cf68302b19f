"""Suspects: nearer limits for whoever asks for one file, beside the alarms and never instead of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.anomaly import Anomaly, detect_anomalies
from analytics.detection import TOLD
from analytics.sampling import Floats
from tests.analytics.test_anomaly import HOUR_S, eventful, tidal_well


def told(ordinate: Floats, values: Floats, is_time: bool = True) -> list[Anomaly]:
    return detect_anomalies(ordinate, values, is_time, TOLD)


def nights(seed: int) -> tuple[Floats, Floats]:
    """Half-hourly counts of a city's traffic over ten weeks: much by day, little at night, less at weekends."""
    rng, t = np.random.default_rng(seed), np.arange(48 * 70)
    hour, weekend = t % 48 / 2.0, t // 48 % 7 > 4
    usual = 40.0 + 600.0 * np.exp(-(((hour - 14.0) / 4.0) ** 2)) * np.where(weekend, 0.5, 1.0)
    return np.asarray(t * 1800.0, dtype=np.float64), rng.poisson(usual).astype(np.float64)


@pytest.mark.parametrize("seed", range(6))
def test_a_clean_tidal_well_has_no_suspect(seed: int) -> None:
    values = tidal_well(seed)
    assert told(np.arange(values.size) * HOUR_S, values) == []


@pytest.mark.parametrize("kind", ["hourly", "quarter-hourly"])
def test_every_alarm_is_an_alarm_among_suspects_too(kind: str) -> None:
    ordinate, values = eventful(kind)
    both = told(ordinate, values)
    for alarm in detect_anomalies(ordinate, values):
        around = [item for item in both if item.start_index <= alarm.start_index <= item.end_index]
        assert [item.grade for item in around] == ["alarm"]
    assert {item.grade for item in detect_anomalies(ordinate, values)} == {"alarm"}


@settings(max_examples=25, deadline=None)
@given(cut=st.integers(0, 2400), kind=st.sampled_from(["hourly", "quarter-hourly"]))
def test_a_record_cut_short_anywhere_has_the_suspects_of_the_whole_up_to_there(cut: int, kind: str) -> None:
    ordinate, values = eventful(kind)
    whole = [item.start_index for item in told(ordinate, values)]
    assert [item.start_index for item in told(ordinate[:cut], values[:cut])] == [start for start in whole if start < cut]


@settings(max_examples=6, deadline=None)
@given(st.floats(1e-3, 1e3), st.floats(-1e3, 1e3))
def test_scale_and_shift_change_no_suspect(scale: float, shift: float) -> None:
    ordinate, values = eventful("quarter-hourly")
    plain = [(item.start_index, item.kind, item.grade) for item in told(ordinate, values)]
    moved = [(item.start_index, item.kind, item.grade) for item in told(ordinate, scale * values + shift)]
    assert moved == plain


def test_a_night_that_is_busy_for_a_night_is_suspect_though_every_day_is_busier() -> None:
    seconds, values = nights(0)
    before = [item.start_index for item in told(seconds, values)]
    busy = slice(48 * 50 + 4, 48 * 50 + 12)
    values[busy] += 60.0
    added = [item for item in told(seconds, values) if item.start_index not in before]
    assert [item.grade for item in added] == ["suspect"]
    assert busy.start <= added[0].start_index < busy.stop


def test_a_weekday_like_a_sunday_is_told() -> None:
    seconds, values = nights(1)
    values[48 * 51 : 48 * 52] = nights(2)[1][48 * 48 : 48 * 49]
    assert any(48 * 51 <= item.start_index < 48 * 52 for item in told(seconds, values))


def test_heavy_tails_have_a_suspect_in_a_thousand_samples_at_most() -> None:
    found = 0
    for seed in range(10):
        values = np.random.default_rng(seed).standard_t(4, size=3000)
        found += len(told(np.arange(3000.0), values, is_time=False))
    assert found <= 30  # of 30,000 samples, alarms included, of which `test_heavy_tails_ring_rarely` allows ten

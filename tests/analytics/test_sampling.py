"""Time axes, daily values and the tide."""

from __future__ import annotations

import numpy as np
import pytest

from analytics.sampling import (
    M2_PERIOD_H,
    Samples,
    daily,
    decimal_years,
    from_decimal_years,
    regimes,
    resample_daily,
)
from tests.analytics.simulation import days, hours


def test_a_year_has_365_and_a_quarter_days() -> None:
    years = decimal_years(np.array(["2000-01-01", "2004-01-01"], "datetime64[us]"))
    assert years[1] - years[0] == pytest.approx(4.0)
    assert from_decimal_years(years).astype("datetime64[s]").tolist() == [
        np.datetime64("2000-01-01", "s").item(),
        np.datetime64("2004-01-01", "s").item(),
    ]


def test_samples_are_sorted_and_refuse_unlike_lengths() -> None:
    samples = Samples(days(3)[::-1], np.array([3.0, 2.0, 1.0]), np.array([0.3, 0.2, 0.1]))
    assert samples.value.tolist() == [1.0, 2.0, 3.0]
    assert samples.sigma is not None
    assert samples.sigma.tolist() == [0.1, 0.2, 0.3]
    with pytest.raises(ValueError, match="length"):
        Samples(days(3), np.zeros(2))


def test_refused_missing_and_repeated_samples_are_left_out() -> None:
    times = days(5)
    times[4] = times[3]
    values = np.array([1.0, np.nan, 3.0, 4.0, 5.0])
    quality = np.array([1, 1, 4, 2, 1], dtype=np.uint8)
    assert Samples(times, values, None, quality).usable().value.tolist() == [1.0, 5.0]


def test_a_tide_of_twenty_centimetres_gives_a_steady_daily_mean() -> None:
    """A well near the bay: 0.2 m at 12.42 h; plain daily means alias it, filtered ones do not."""
    n = 24 * 90
    tide = 0.2 * np.cos(2 * np.pi * np.arange(n) / M2_PERIOD_H)
    samples = Samples(hours(n), 5.0 + tide)
    filtered = daily(samples, zone_offset_h=8.0)
    assert len(filtered) >= 84
    assert np.abs(filtered.value - 5.0).max() < 0.001
    plain = resample_daily(samples, "mean")
    assert np.abs(plain.value - 5.0).max() > 0.004


def test_thin_days_are_left_out_and_local_days_begin_in_the_evening() -> None:
    samples = Samples(hours(72), np.arange(72.0))
    keep = np.ones(72, dtype=bool)
    keep[26:46] = False
    result = resample_daily(samples.where(keep), "mean", zone_offset_h=8.0)
    assert all(str(stamp)[11:13] == "16" for stamp in result.time)
    assert len(result) < len(resample_daily(samples, "mean", zone_offset_h=8.0))


def test_sums_and_counters_are_not_averaged() -> None:
    samples = Samples(hours(48), np.ones(48))
    assert resample_daily(samples, "sum").value.tolist() == [24.0, 24.0]
    counter = Samples(hours(48), np.arange(48.0))
    assert resample_daily(counter, "last").value.tolist() == [23.0, 47.0]
    with pytest.raises(ValueError, match="statistic"):
        resample_daily(counter, "mode")


def test_a_daily_history_survives_dense_samples_after_it() -> None:
    """Hourly samples outnumber the days before them, and a live burst outnumbers both: every day is still one value."""
    history = days(400)
    dense = history[-1] + np.timedelta64(1, "D") + np.arange(24 * 40) * np.timedelta64(1, "h")
    live = dense[-1] + np.timedelta64(1, "h") + np.arange(3000) * np.timedelta64(5, "s")
    times = np.concatenate((history, dense, live))
    level = 5.0 + 0.01 * (times - times[0]).astype(np.float64) / 86400e6
    result = daily(Samples(times, level))
    separations_d = np.diff(result.time).astype(np.float64) / 86400e6
    assert 430 <= len(result) <= 440
    assert separations_d.max() <= 3.0
    assert separations_d.min() >= 0.5
    assert np.all(result.time[:400] == history)


def test_a_burst_of_minutes_makes_no_day() -> None:
    times = np.concatenate((hours(72), hours(72)[-1] + np.timedelta64(2, "h") + np.arange(200) * np.timedelta64(3, "s")))
    result = resample_daily(Samples(times, np.ones(times.size)), "last")
    assert result.time[-1] < times[72]


def test_a_counter_keeps_the_time_of_its_reading() -> None:
    """From daily to hourly readings a steady counter stays a straight line."""
    times = np.concatenate((days(60), days(60)[-1] + np.arange(1, 24 * 30) * np.timedelta64(1, "h")))
    counter = (times - times[0]).astype(np.float64) / 3600e6
    result = daily(Samples(times, counter), "last")
    rate = np.diff(result.value) / (np.diff(result.time).astype(np.float64) / 3600e6)
    np.testing.assert_allclose(rate, 1.0, rtol=1e-9)


def test_parts_of_one_interval_are_told_apart() -> None:
    times = np.concatenate((days(100), days(100)[-1] + np.arange(1, 200) * np.timedelta64(1, "h")))
    assert regimes(times) == [slice(0, 99), slice(99, 299)]
    keep = np.random.default_rng(0).random(100) > 0.3
    assert len(regimes(days(100)[keep])) == 1
    assert regimes(times[:1]) == [slice(0, 1)]
    assert regimes(times[:0]) == []

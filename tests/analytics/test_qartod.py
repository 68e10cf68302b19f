"""The QARTOD kernels against recorded flags of a reference implementation, and their laws."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics import qartod

FLAGS = {1, 2, 3, 4, 9}


def numbers(values: list[float | None]) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def seconds(times: Any) -> np.ndarray:
    if isinstance(times, dict):
        times = times["time"]
    if times and isinstance(times[0], str):
        return pd.to_datetime(times).to_numpy().astype("datetime64[ms]").astype(np.float64) / 1000.0
    return np.asarray(times, dtype=np.float64)


def attenuated(call: Mapping[str, Any]) -> np.ndarray:
    return qartod.attenuated_signal(
        numbers(call["inp"]),
        seconds(call["tinp"]),
        call["suspect_threshold"],
        call["fail_threshold"],
        test_period_s=call["test_period"],
        min_samples=call["min_obs"],
        min_period_s=call["min_period"],
        statistic=call["check_type"],
    )


CALLS: Mapping[str, Callable[[Mapping[str, Any]], np.ndarray]] = {
    "location_test": lambda call: qartod.location(numbers(call["lon"]), numbers(call["lat"])),
    "gross_range_test": lambda call: qartod.gross_range(numbers(call["inp"]), call["fail_span"], call["suspect_span"]),
    "spike_test": lambda call: qartod.spike(
        numbers(call["inp"]), call["suspect_threshold"], call.get("fail_threshold"), call.get("method", "average")
    ),
    "rate_of_change_test": lambda call: qartod.rate_of_change(
        numbers(call["inp"]), seconds(call["tinp"]), call["threshold"], call.get("fail_threshold")
    ),
    "flat_line_test": lambda call: qartod.flat_line(
        numbers(call["inp"]), seconds(call["tinp"]), call["suspect_threshold"], call["fail_threshold"], call["tolerance"]
    ),
    "attenuated_signal_test": attenuated,
    "density_inversion_test": lambda call: qartod.density_inversion(
        numbers(call["inp"]), numbers(call["zinp"]), call["suspect_threshold"], call["fail_threshold"]
    ),
}


def test_every_recorded_vector_comes_out_flag_for_flag(shared_data: Path) -> None:
    vectors = json.loads((shared_data / "qartod/ioos_qc_vectors.json").read_text())["vectors"]
    assert len(vectors) == 50
    unlike = []
    for vector in vectors:
        found = CALLS[vector["function"]](vector["kwargs"]).tolist()
        if found != vector["flags"]["masked"]:
            unlike.append((vector["test"], found, vector["flags"]["masked"]))
    assert unlike == []


def test_a_threshold_of_zero_is_a_threshold() -> None:
    assert qartod.spike([1.0, 1.0, 1.1, 1.0, 1.0], 0.0).tolist() == [2, 3, 3, 3, 2]
    assert qartod.gross_range([-1.0, 0.0, 1.0], (0, None)).tolist() == [4, 1, 1]


def test_a_spike_by_steps_leaves_a_slope_alone() -> None:
    values = [0.0, 5.0, 10.0, 30.0, 15.0, 20.0, np.nan, 20.0]
    assert qartod.spike(values, 8.0, method="differential").tolist() == [2, 1, 1, 3, 1, 2, 9, 2]


def test_months_have_their_own_range() -> None:
    suspect = np.full((12, 2), np.nan)
    suspect[0], suspect[6] = (0.0, 10.0), (20.0, 30.0)
    flags = qartod.climatology([5.0, 5.0, 25.0, 99.0, np.nan], [0, 6, 6, 3, 0], suspect)
    assert flags.tolist() == [1, 3, 1, 2, 9]
    fail = np.full((12, 2), np.nan)
    fail[6] = (0.0, 40.0)
    assert qartod.climatology([-3.0, 15.0], [6, 6], suspect, fail).tolist() == [4, 3]
    assert qartod.climatology([5.0], [-1], suspect).tolist() == [2]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.none(), st.floats(-5, 5)), min_size=1, max_size=40), st.integers(1, 9))
def test_flat_windows_equal_a_plain_loop(values: list[float | None], count: int) -> None:
    data, tolerance = numbers(values), 0.5
    found = qartod.flat_line(data, np.arange(data.size), float(count), None, tolerance)
    for i in range(data.size):
        window = data[max(0, i - count) : i + 1]
        kept = window[~np.isnan(window)]
        expected = 9 if np.isnan(data[i]) else 3 if i >= count and data.size > 1 and kept.size and np.ptp(kept) < tolerance else 1
        assert found[i] == expected


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(st.none(), st.floats(-5, 5)), min_size=2, max_size=40), st.integers(1, 12), st.integers(0, 99))
def test_moving_spreads_equal_a_plain_loop(values: list[float | None], period: int, seed: int) -> None:
    data = numbers(values)
    at = np.cumsum(np.random.default_rng(seed).integers(1, 4, data.size)).astype(float)
    for statistic in ("std", "range"):
        found = qartod.attenuated_signal(data, at, 1.0, None, test_period_s=period, min_samples=2, statistic=statistic)
        for i in np.flatnonzero(~np.isnan(data)):
            window = data[(at > at[i] - period) & (at <= at[i])]
            kept = window[~np.isnan(window)]
            spread = np.ptp(kept) if statistic == "range" else np.std(kept, ddof=1) if kept.size > 1 else np.nan
            if kept.size < 2:
                assert found[i] == 2
            elif abs(spread - 1.0) > 1e-6:
                assert found[i] == (3 if spread < 1.0 else 1)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False, width=32)), max_size=30))
def test_every_test_answers_every_series_with_a_flag_a_sample(values: list[float | None]) -> None:
    data, at = numbers(values), np.arange(len(values), dtype=float)
    every = [
        qartod.gross_range(data, (-1, 1)),
        qartod.spike(data, 1.0, 2.0),
        qartod.rate_of_change(data, at, 1.0),
        qartod.flat_line(data, at, 3.0),
        qartod.attenuated_signal(data, at, 1.0, 0.5),
    ]
    for flags in [*every, qartod.combine(every)]:
        assert flags.shape == data.shape
        assert set(flags.tolist()) <= FLAGS
        assert np.array_equal(flags == 9, np.isnan(data))


def test_the_newest_observation_is_in_time_late_or_never_came() -> None:
    assert [qartod.timing_gap(last, 100.0, 50.0) for last in (60.0, 10.0, None)] == [1, 4, 9]


def test_two_hundred_thousand_samples_pass_four_tests_quickly() -> None:
    values = np.random.default_rng(0).normal(size=200_000)
    at = np.arange(values.size) * 60.0
    began = time.process_time()
    qartod.combine(
        [
            qartod.gross_range(values, (-6, 6), (-4, 4)),
            qartod.spike(values, 5.0, 7.0),
            qartod.rate_of_change(values, at, 0.1, 0.2),
            qartod.flat_line(values, at, 3600.0, 7200.0, 0.01),
        ]
    )
    assert time.process_time() - began < 1.0

"""Counters and clocks: what they gained, where nobody can tell, and whose clock is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.barometry import AIR_IN_VALUE, compensate
from analytics.clock import ahead_of_receipt, clock_offset, shifted_by_zone
from analytics.totaliser import TotaliserSettings, Turn, daily_volumes, judge

HOUR_S = 3600.0


def readings(*values: float) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(len(values)) * HOUR_S, np.array(values, dtype=np.float64)


def test_a_rollover_gains_across_the_last_digit() -> None:
    assert judge(*readings(999_998.0, 12.0)).gain[1] == 14.0
    own = judge(*readings(9_990.0, 5.0), settings=TotaliserSettings(capacity=10_000.0))
    assert (own.gain[1], own.turn[1]) == (15.0, Turn.ROLLOVER)


def test_a_fall_from_the_middle_is_suspected_and_a_logged_swap_is_not() -> None:
    at, values = readings(48_200.0, 48_211.0, 0.0, 10.0)
    fallen = judge(at, values)
    assert fallen.turn.tolist() == [Turn.FIRST, Turn.NORMAL, Turn.DECREASE, Turn.NORMAL]
    assert np.isnan(fallen.gain[2])
    swapped = judge(at, values, swaps=[(1.5 * HOUR_S, None)])
    assert (swapped.turn[2], swapped.gain[2]) == (Turn.SWAP, 0.0)
    used = judge(at, np.array([48_200.0, 48_211.0, 205.0, 215.0]), swaps=[(1.5 * HOUR_S, 200.0)])
    assert used.gain[2] == 5.0


def test_one_zero_in_transmission_loses_no_volume() -> None:
    found = judge(*readings(500.0, 510.0, 0.0, 530.0, 540.0))
    assert found.turn[2] == Turn.GLITCH
    assert np.nansum(found.gain) == 40.0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 50), min_size=60, max_size=120), st.floats(0, 9.9e5))
def test_daily_volumes_add_up_to_what_the_counter_gained(gains: list[float], start: float) -> None:
    true = start + np.concatenate(([0.0], np.cumsum(gains)))
    at = np.arange(true.size) * HOUR_S
    found = judge(at, np.mod(true, 1e6), settings=TotaliserSettings(capacity=1e6, plausible_factor=np.inf))
    assert np.nansum(found.gain) == pytest.approx(sum(gains), abs=1e-5)
    days = daily_volumes(at, found, np.arange(0.0, at[-1] + 1.0, 86400.0))
    assert len(days) == int(at[-1] // 86400)
    for day in days:
        low, high = int(day.start_s // HOUR_S), int(day.end_s // HOUR_S)
        assert day.value == pytest.approx(true[high] - true[low], abs=1e-5)


def test_a_stand_is_unknown_only_while_a_companion_moves() -> None:
    at = np.arange(80) * HOUR_S
    stood = np.full(80, 700.0)
    moving = judge(at, stood, moving=np.ones(80, dtype=bool))
    assert np.isnan(moving.gain[1:]).all()
    still = judge(at, stood, moving=np.zeros(80, dtype=bool))
    assert still.gain[1:].tolist() == [0.0] * 79


def test_a_zone_taken_for_another_is_a_steady_delay_and_a_buffer_is_not() -> None:
    sent = np.arange(48) * HOUR_S
    wrong = np.where((sent >= 10 * HOUR_S) & (sent < 20 * HOUR_S), sent + 8 * HOUR_S, sent)
    assert np.flatnonzero(shifted_by_zone(wrong, sent + 20.0)).tolist() == list(range(10, 20))
    assert shifted_by_zone(sent - 8 * HOUR_S, sent + 20.0).all()
    assert not shifted_by_zone(sent, np.full(48, sent[-1] + 5.0)).any(), "a day's buffer sent at once"
    minutes = np.arange(24 * 60) * 60.0
    assert not shifted_by_zone(minutes, minutes[-1] + minutes / 1000.0).any(), "a day's buffer sent one by one within minutes"
    assert ahead_of_receipt(np.array([0.0, 1000.0]), np.array([0.0, 0.0])).tolist() == [False, True]


@pytest.mark.parametrize("a_receipt", [1, 12, 24])
def test_a_zone_taken_for_another_is_told_of_whole_messages(a_receipt: int) -> None:
    made = np.arange(10 * a_receipt) * 300.0
    received = np.repeat(made[a_receipt - 1 :: a_receipt], a_receipt) + 15.0
    assert shifted_by_zone(made - 8 * HOUR_S, received).all()
    assert not shifted_by_zone(made, received).any()
    assert not shifted_by_zone(made - 7 * HOUR_S, received).any()
    assert clock_offset(made - 8 * HOUR_S, received).offset_s == pytest.approx(-8 * HOUR_S - 15.0)


def test_a_clock_that_drifts_is_measured_and_a_backlog_is_not_taken_for_it() -> None:
    true = np.arange(24 * 10) * HOUR_S
    device = true + 5.0 + 4.0 * true / 86400.0
    found = clock_offset(device, true + 2.0)
    assert found.drift_s_per_d == pytest.approx(4.0, abs=0.01)
    assert found.offset_s == pytest.approx(3.0 + 4.0 * 8.7, abs=2.0)
    backlog = clock_offset(true, np.full(true.size, true[-1]))
    assert (backlog.offset_s, backlog.drift_s_per_d) == (None, None)


def test_air_is_not_taken_off_where_no_barometer_can_tell() -> None:
    at, per_hpa = np.arange(10) * HOUR_S, AIR_IN_VALUE["depth_to_water"][1]
    air_at, air = np.array([2.0, 3.0, 9.0]) * HOUR_S, np.array([1000.0, 1000.0, 1030.0])
    told = np.isfinite(compensate(at, np.full(10, 5.0), air_at, air, per_hpa))
    assert np.flatnonzero(told).tolist() == [2, 3, 9]
    assert not np.isfinite(compensate(at, np.full(10, 5.0), air_at[:0], air[:0], per_hpa)).any()

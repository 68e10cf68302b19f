"""The short look at newest samples says nothing that the whole record would not, and a stand asks each sample for its own past alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.quality_control import Checks, Verdict, Window, examine, stands
from analytics.quality_newest import Rows, Screen, doubtful, screen_of

HOUR, ZONE_S = 3600.0, 8 * 3600.0
KINDS = (
    Checks(),
    Checks(zone_offset_h=None),
    Checks(spike=(2.0, 5.0), flat_h=(5.0, None), flat_samples=4),
    Checks(spike=(None, 3.0), flat_h=(6.0, 12.0), flat_samples=3, flat_tolerance=1.5),
    Checks(fail_span=(-4.0, 9.0), suspect_span=(None, 6.0), rate_per_h=(3.0, 6.0)),
    Checks(months={1: (0.0, 4.0), 2: (None, 5.0)}, flat_h=(None, 8.0), flat_samples=2),
    Checks(flat_h=(4.0, None), flat_samples=5, rate_per_h=(None, 4.0)),
)


@dataclass
class Record:
    """All samples of one datastream, and from which row on they have changed."""

    seconds: np.ndarray
    received: np.ndarray
    values: np.ndarray
    changed: int
    checks: Checks

    def window(self, rows: slice | np.ndarray) -> Window:
        local = (self.seconds[rows] + ZONE_S).astype("datetime64[s]").astype("datetime64[M]").astype(np.intp) % 12 + 1
        return Window(self.seconds[rows], self.received[rows], self.values[rows], local)

    def verdict(self, rows: slice | np.ndarray = slice(None)) -> Verdict:
        return examine(self.window(rows), self.checks)


@st.composite
def records(draw: st.DrawFn) -> Record:
    n = draw(st.integers(1, 24))
    steps = draw(st.lists(st.sampled_from([600.0, HOUR, HOUR, HOUR, 5 * HOUR, 300 * HOUR]), min_size=n, max_size=n))
    values = draw(st.lists(st.sampled_from([1.0, 1.0, 1.0, 1.0, 2.0, 3.0, 5.0, 8.0, 12.0, np.nan]), min_size=n, max_size=n))
    delays = draw(st.lists(st.sampled_from([20.0] * 6 + [ZONE_S, ZONE_S + 300.0, -ZONE_S]), min_size=n, max_size=n))
    seconds = np.cumsum(steps)
    changed = draw(st.integers(max(0, n - 4), n - 1))
    received = seconds + np.array(delays)
    received[changed:] = np.maximum.accumulate(np.maximum(received[changed:], received[:changed].max(initial=-np.inf) + 1.0))
    return Record(seconds, received, np.array(values), changed, draw(st.sampled_from(KINDS)))


def shown(group: list[Record], before: int) -> tuple[Rows, list[Screen]]:
    """What a short look shows of many records, with so many samples before the changed ones."""
    firsts = [max(0, record.changed - before) for record in group]
    windows = [record.window(slice(first, None)) for record, first in zip(group, firsts, strict=True)]

    def joined(name: str) -> np.ndarray:
        return np.concatenate([getattr(window, name) for window in windows])

    rows = Rows(
        np.repeat(np.arange(len(group)), [window.values.size for window in windows]),
        joined("seconds"),
        joined("received_s"),
        joined("values"),
        joined("month"),
        np.concatenate(
            [np.arange(first, record.values.size) >= record.changed for record, first in zip(group, firsts, strict=True)]
        ),
        np.array([record.changed < before for record in group]),
    )
    screens = [screen_of(record.checks) for record in group]
    assert all(screen is not None for screen in screens)
    return rows, [screen for screen in screens if screen is not None]


@settings(max_examples=400, deadline=None)
@given(st.lists(records(), min_size=1, max_size=5), st.sampled_from([2, 3, 8, 30]))
def test_where_the_short_look_finds_no_doubt_the_whole_record_holds_no_flag_of_the_changed_samples(
    group: list[Record], before: int
) -> None:
    doubt = doubtful(*shown(group, before))
    for record, is_doubtful in zip(group, doubt.tolist(), strict=True):
        if is_doubtful:
            continue
        whole = record.verdict()
        assert not whole.reasons[record.changed :].any()
        assert set(whole.flags[record.changed :].tolist()) <= {1, 9}
        earlier = record.verdict(np.arange(record.changed))  # the record without what changed
        assert whole.reasons[: record.changed].tolist() == earlier.reasons.tolist()
        assert whole.flags[: record.changed].tolist() == earlier.flags.tolist()


@settings(max_examples=200, deadline=None)
@given(records())
def test_a_datastream_is_judged_the_same_alone_and_among_others(record: Record) -> None:
    quiet = Record(np.arange(9) * HOUR, np.arange(9) * HOUR, np.arange(9.0) % 3, 6, KINDS[2])
    alone = doubtful(*shown([record], 3))
    assert doubtful(*shown([quiet, record, quiet], 3)).tolist() == [False, *alone.tolist(), False]


def test_most_samples_of_a_moving_record_are_told_to_be_well_by_two_neighbours() -> None:
    rng, at = np.random.default_rng(5), np.arange(50) * HOUR
    group = [Record(at, at + 20.0, np.round(5 + rng.normal(0, 0.1, 50), 3), 49, KINDS[2]) for _ in range(100)]
    assert doubtful(*shown(group, 3)).mean() < 0.05


def test_a_value_that_stands_is_in_doubt_until_it_is_seen_to_move_within_the_steps_of_a_stand() -> None:
    at = np.arange(10) * HOUR
    standing = Record(at, at, np.array([1.0, 2.0, *[3.0] * 8]), 9, Checks(flat_h=(2.0, None), flat_samples=8))
    assert doubtful(*shown([standing], 3)).tolist() == [True]
    assert doubtful(*shown([standing], 8)).tolist() == [False]


def test_a_sample_that_came_in_before_its_predecessor_is_in_doubt_because_clocks_are_judged_by_receipts() -> None:
    at = np.arange(10) * HOUR
    orderly = Record(at, at + 20.0, np.arange(10.0) % 3, 7, Checks())
    late = Record(at, np.where(np.arange(10) == 8, at - 2 * HOUR, at + 20.0), np.arange(10.0) % 3, 7, Checks())
    assert doubtful(*shown([orderly, late], 3)).tolist() == [False, True]


def test_tests_that_see_further_than_neighbours_have_no_screen() -> None:
    assert screen_of(Checks(attenuated=(0.1, None))) is None
    assert screen_of(Checks(uncompensated=True)) is None


@settings(max_examples=200, deadline=None)
@given(records(), st.integers(0, 5), st.sampled_from([2 * HOUR, 6 * HOUR]), st.sampled_from([0.0, 1.5]))
def test_a_stand_equals_a_plain_loop_and_is_not_changed_by_what_comes_later(
    record: Record, samples: int, threshold_s: float, tolerance: float
) -> None:
    found = stands(record.window(slice(None)), threshold_s, samples, tolerance)
    for row in range(record.values.size):
        reach = np.flatnonzero(record.seconds <= record.seconds[row] - threshold_s)
        first = min(int(reach[-1]) if reach.size else -1, row - samples)
        values = record.values[first : row + 1] if first >= 0 else np.array([])
        finite = values[~np.isnan(values)]
        if np.isnan(record.values[row]):
            continue
        flat = finite.size > 0 and (np.ptp(finite) < tolerance if tolerance > 0 else np.ptp(finite) == 0)
        assert found[row] == (first >= 0 and flat)
    cut = record.values.size // 2
    assert found[:cut].tolist() == stands(record.window(slice(0, cut)), threshold_s, samples, tolerance).tolist()

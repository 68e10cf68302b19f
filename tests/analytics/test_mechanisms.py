"""Layers, storage, network and space: laws that hold whatever the numbers, and simulated truths recovered."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.compaction import layer_closure, stick_slips, values_at
from analytics.groups import GROUP_METHODS, Duties, Member, Owner, group_digest
from analytics.groups.layers import owner_of
from analytics.kriging import Variogram, fit_variogram, krige, local_metres
from analytics.network import campaigns, common_steps, epoch_matrix, tie_by_neighbours, tie_by_overlap
from analytics.recorded import group_inputs_as_json, member_from_json
from analytics.sampling import Samples
from analytics.skeletal_storage import find_lag, inelastic_spells, pair_up, storage_at_best_lag
from analytics.spatial import angular_distortions, border_pairs, class_areas, distance_to_line
from domain.model import EventEffect, EventKind, StationEvent
from tests.analytics.simulation import coloured_noise, days

NOW = datetime(2040, 1, 1, tzinfo=UTC)
amounts = st.floats(-50.0, 50.0)


# --- layers ----------------------------------------------------------------------------------------------------------


@given(st.lists(amounts, min_size=1, max_size=6), amounts)
def test_a_closure_is_the_sum_less_the_surface(layers: list[float], surface: float) -> None:
    found = layer_closure(layers, surface)
    assert found.residual_mm == pytest.approx(sum(layers) - surface, abs=1e-9)
    assert found.closes is (abs(found.residual_mm) <= 2.0)


@given(st.lists(amounts, min_size=1, max_size=6), amounts, st.integers(0, 5))
def test_an_unknown_layer_is_never_zero(layers: list[float], surface: float, place: int) -> None:
    layers[place % len(layers)] = float("nan")
    assert layer_closure(layers, surface).closes is None


def test_known_errors_widen_what_closes() -> None:
    assert layer_closure([5.0, 2.7], 5.0).closes is False
    assert layer_closure([5.0, 2.7], 5.0, [0.5, 0.5, 0.7]).closes is True


@pytest.mark.parametrize("seed", range(5))
def test_a_record_without_sticking_has_no_slips(seed: int) -> None:
    rng = np.random.default_rng(seed)
    times = days(1000)
    smooth = np.asarray(0.02 * np.arange(1000) + 2.0 * np.sin(np.arange(1000) / 58.0) + coloured_noise(rng, 1000, 0.02, 0.05))
    assert stick_slips(times, smooth.astype(np.float64)) == []


def test_a_settlement_step_that_nothing_held_back_is_no_slip() -> None:
    values = 0.02 * np.arange(1000) + np.where(np.arange(1000) > 500, 8.0, 0.0)
    assert stick_slips(days(1000), values) == []


def test_the_houston_extensometers_are_read_by_hand_and_do_not_stick(shared_data: Path) -> None:
    """Monthly readings of fifty years: the marking of slips must not eat real compaction."""
    for path in sorted((shared_data / "extensometer/usgs_houston").glob("TABLE[2-9]_*.txt")):
        rows = [line.split("\t") for line in path.read_text().splitlines()[1:] if line.strip()]
        known = [row for row in rows if len(row) >= 2 and row[1].strip()]
        times = np.array([f"{y}-{int(m):02d}-{int(d):02d}" for m, d, y in (row[0].split("/") for row in known)], "datetime64[us]")
        order = np.argsort(times, kind="stable")
        values = np.array([float(row[1]) for row in known])[order] * 304.8
        assert len(values) > 300, path.name
        assert len(stick_slips(times[order], values)) <= 0.02 * len(values), path.name


# --- head against compaction -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ske", "skv", "lag"), [(1.5e-3, 1.5e-2, 0), (4e-4, 8e-3, 30), (5e-3, 2.5e-2, 75)])
def test_storage_and_lag_of_a_simulated_column_are_recovered(ske: float, skv: float, lag: int) -> None:
    rng = np.random.default_rng(round(1e6 * ske))
    n = 12 * 365
    t = np.arange(n)
    head = 2.0 * np.sin(2 * np.pi * t / 365.25) - np.clip((t - 6 * 365) / 365.0, 0.0, 3.0) * 2.0
    low = np.minimum(np.minimum.accumulate(head), head[:730].min())
    virgin = low[0] - low
    column = (-ske * (head - low) + skv * virgin) * 1000.0
    measured = np.concatenate((np.full(lag, column[0]), column))[:n] + coloured_noise(rng, n, 0.05, 0.05)
    times = days(n)
    found = storage_at_best_lag((times, head), (times, measured), longest_lag_d=120.0)
    assert found is not None
    assert found[0] == pytest.approx(lag, abs=3.0)
    storage = found[1]
    assert storage.ske == pytest.approx(ske, rel=0.1)
    assert storage.skv == pytest.approx(skv, rel=0.1)
    spells = inelastic_spells(times, head)
    assert spells
    assert min(spell.low_m for spell in spells) == pytest.approx(head.min())


def test_two_trends_alone_are_no_relation() -> None:
    rng = np.random.default_rng(4)
    times = days(1500)[::10]
    head = (times, 0.01 * np.arange(150) + rng.normal(0, 0.3, 150))
    compaction = (times, 0.2 * np.arange(150) + rng.normal(0, 0.3, 150))
    significant = []
    for _ in range(40):
        lag = find_lag((times, head[1] + rng.normal(0, 0.3, 150)), (times, compaction[1] + rng.normal(0, 0.3, 150)), 10.0, 10.0)
        significant.append(lag is not None and lag.significant)
    assert np.mean(significant) <= 0.2


def test_a_gap_of_the_head_is_not_bridged() -> None:
    times = days(1000)
    keep = (np.arange(1000) < 300) | (np.arange(1000) > 600)
    pairs = pair_up((times[keep], np.zeros(keep.sum())), (times, np.zeros(1000)))
    assert pairs.days.size == keep.sum()


# --- network ---------------------------------------------------------------------------------------------------------


def campaign_heights(rng: np.random.Generator, marks: int, epochs: int, rates: float) -> tuple[np.ndarray, np.ndarray]:
    at = np.tile(np.arange(epochs) * 365.25, (marks, 1)) + rng.uniform(0, 14, (marks, epochs))
    values = -rng.uniform(0, rates, (marks, 1)) * at / 365.25 + rng.normal(0.0, 1.0, (marks, epochs))
    values[rng.random((marks, epochs)) < 0.1] = np.nan
    return values, at


def test_common_steps_are_found_and_uneven_ground_is_none() -> None:
    rng = np.random.default_rng(8)
    false = missed = 0
    for _ in range(50):
        values, at = campaign_heights(rng, 60, 7, 25.0)
        false += len(common_steps(values, at))
        values[:, 3:] += 7.0 + rng.normal(0.0, 1.0, (60, 1))
        found = common_steps(values, at)
        missed += [step.campaign for step in found] != [3]
        assert not found or abs(found[0].size - 7.0) < 5.0 * max(found[0].sigma, 0.3)
    assert false == 0
    assert missed <= 1


def test_half_the_network_is_not_the_whole() -> None:
    values, at = campaign_heights(np.random.default_rng(5), 60, 6, 3.0)
    values[:30, 3:] -= 9.0
    assert common_steps(values, at) == []


def test_campaigns_of_nobody_are_none() -> None:
    assert campaigns([]).size == 0
    values, _ = epoch_matrix([(days(0), np.zeros(0))], days(3))
    assert np.isnan(values).all()


def test_the_sigma_of_a_tie_is_honest() -> None:
    rng = np.random.default_rng(3)
    scores = []
    for _ in range(400):
        tie = tie_by_neighbours(
            100.0 + rng.normal(0, 1.5) + rng.normal(0, 0.5) - rng.normal(0, 0.5), rng.normal(0.0, 1.5, 8), 0.5
        )
        assert tie is not None
        scores.append((tie.offset - 100.0) / tie.sigma)
    assert 0.8 <= np.std(scores) <= 1.25
    assert tie_by_overlap([np.nan], [1.0], 1.0, 1.0) is None
    assert tie_by_neighbours(1.0, [2.0], 1.0) is None


# --- space -----------------------------------------------------------------------------------------------------------


def test_a_kriged_funnel_is_recovered_within_its_sigmas() -> None:
    rng = np.random.default_rng(22)
    points = rng.uniform(-5000, 5000, (250, 2))

    def funnel(at: np.ndarray) -> np.ndarray:
        return np.asarray(30.0 * np.exp(-((at**2).sum(axis=1)) / 2 / 2000.0**2))

    sigma = np.full(250, 1.0)
    seen = funnel(points) + rng.normal(0, 1.0, 250)
    variogram = fit_variogram(points, seen, sigma)
    targets = rng.uniform(-4500, 4500, (1500, 2))
    found = krige(points, seen, targets, variogram, sigma)
    error = found.value - funnel(targets)
    assert np.sqrt(np.mean(error**2)) < 1.0
    assert 0.90 <= np.mean(np.abs(error) <= 1.96 * found.sigma) <= 1.0
    area = {item.beyond: item for item in class_areas(found.value, found.sigma, 9000.0**2 / 1500, [10.0, 20.0])}
    for beyond, item in area.items():
        truth = 2.0 * np.pi * 2000.0**2 * np.log(30.0 / beyond)
        assert item.area_m2 == pytest.approx(truth, rel=0.12)
        assert item.low_m2 <= item.area_m2 <= item.high_m2


@settings(max_examples=30, deadline=None)
@given(st.floats(-1e5, 1e5), st.floats(-1e5, 1e5), st.floats(-100, 100))
def test_moving_and_lifting_the_data_moves_and_lifts_the_surface(east: float, north: float, lift: float) -> None:
    rng = np.random.default_rng(1)
    points, values = rng.uniform(0, 1000, (20, 2)), rng.normal(0, 5, 20)
    variogram = Variogram(1.0, 20.0, 600.0)
    before = krige(points, values, points[:3] + 50.0, variogram)
    moved = krige(points + np.array([east, north]), values + lift, points[:3] + 50.0 + np.array([east, north]), variogram)
    np.testing.assert_allclose(moved.value, before.value + lift, atol=1e-6)
    np.testing.assert_allclose(moved.sigma, before.sigma, atol=1e-6)


def test_a_single_datum_and_equal_data_are_kriged_too() -> None:
    points = np.zeros((1, 2))
    found = krige(points, np.array([3.0]), np.array([[10.0, 0.0]]), fit_variogram(points, np.array([3.0])))
    assert found.value.tolist() == pytest.approx([3.0])
    with pytest.raises(ValueError, match="at least one"):
        krige(np.zeros((0, 2)), np.zeros(0), points, Variogram(0.0, 1.0, 1.0))


def test_an_unknown_settlement_hides_its_spans_and_no_other() -> None:
    spans = angular_distortions([0.0, 20.0, 40.0, 60.0, 80.0], [0.0, 22.0, np.nan, 0.0, 1.0])
    assert [span.start_m for span in spans] == [0.0, 60.0]


def test_distances_on_the_ellipsoid() -> None:
    places = local_metres([120.76, 120.75], [30.66, 30.67], (120.75, 30.66))
    np.testing.assert_allclose(np.hypot(*places.T), [958.3, 1108.6], atol=0.5)
    line = np.array([[0.0, 0.0], [0.0, 1000.0]])
    assert distance_to_line(np.array([[3.0, 1004.0]]), line).tolist() == pytest.approx([5.0])
    assert border_pairs(places, np.array([1.0, np.nan]), np.ones(2), ["330411", "320509"]) == []


# --- group methods ---------------------------------------------------------------------------------------------------

EMPTY = Samples(days(0), np.zeros(0))
PROPERTIES = (
    "compaction", "head", "depth_to_water", "height", "displacement_up", "displacement_up_rate_12mo", "abstraction_rate",
    "wellhead_temperature", "liquid_surface_temperature",
)  # fmt: skip
CONTENTS = {
    "empty": EMPTY,
    "one": Samples(days(1), np.ones(1)),
    "constant": Samples(days(400), np.full(400, 3.0)),
    "missing": Samples(days(400), np.full(400, np.nan)),
    "rising": Samples(days(800), np.arange(800.0)),
    "surveys": Samples(days(2000)[::200], np.linspace(0.0, -40.0, 10), np.full(10, 2.0)),
}


@pytest.mark.parametrize("name", GROUP_METHODS)
@pytest.mark.parametrize("content", CONTENTS)
def test_every_group_method_answers_on_anything_and_never_raises(name: str, content: str) -> None:
    method = GROUP_METHODS[name]
    members = [
        Member(
            f"S{n}:{code}", f"S{n}", code, "m", CONTENTS[content], (), 0.0, 40.0 + n, 120.7 + n / 100, 30.7, None, f"33040{n % 2}"
        )
        for n, code in enumerate([*PROPERTIES, *PROPERTIES])
    ]
    for given_members in (members, members[:1], []):
        for outcome in method.run(given_members, method.parameters(), NOW).values():
            assert outcome.run.status in {"ok", "interim", "cannot_tell"}
            assert outcome.run.method == name
            for scalar in outcome.scalars:
                assert scalar.value is None or np.isfinite(scalar.value)
                assert scalar.sigma is None or np.isfinite(scalar.sigma)


@pytest.mark.parametrize("name", GROUP_METHODS)
def test_every_group_method_has_its_page(name: str) -> None:
    page = Path(__file__).resolve().parents[2] / "docs/methods" / GROUP_METHODS[name].document
    assert "## References" in page.read_text()


def test_the_order_of_members_does_not_change_the_digest_and_a_digit_does() -> None:
    members = [Member(f"S{n}:height", f"S{n}", "height", "m", CONTENTS["rising"]) for n in range(3)]
    digest = group_digest(members, Duties())
    assert digest == group_digest(members[::-1], Duties())
    other = Member("S1:height", "S1", "height", "m", Samples(days(800), np.arange(800.0) + 1e-9))
    assert digest != group_digest([members[0], other, members[2]], Duties())


def test_the_first_duty_that_fits_decides() -> None:
    rows = (Owner("a", "甲", "a", 0.0, 40.0, "not_falling"), Owner("b", "乙", "b"))
    assert [owner_of(Duties(rows), 20.0, head).cause for head in ("steady", "falling", "unknown")] == ["a", "b", "b"]


def test_values_in_a_gap_are_unknown() -> None:
    assert np.isnan(values_at(days(0), np.zeros(0), days(2), 5.0)).all()


def test_a_member_comes_back_from_its_record_as_it_was() -> None:
    samples = Samples(np.array(["2024-01-01"], dtype="datetime64[us]"), np.array([1.0]))
    event = StationEvent(
        "EX", EventKind.RESET, datetime(2024, 1, 1, tzinfo=UTC), effect=EventEffect.OFFSET, size=0.3, note="new rod"
    )
    full = Member(
        "EX:compaction:F1", "EX", "compaction", "mm", samples, (event,), 0.0, 60.0, 120.7, 30.8, "extensometer_group", "330411"
    )
    for member in (full, Member("EX:head", "EX", "head", "m", samples)):
        stored = json.loads(json.dumps(group_inputs_as_json([member], "", datetime(2024, 2, 1, tzinfo=UTC))))["members"][0]
        assert member_from_json(stored, samples) == member

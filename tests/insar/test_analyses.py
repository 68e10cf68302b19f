"""Whole deliveries: analyses stored beside the points, here and on a cluster of processes, comparisons and decomposition."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psycopg
import pytest

from analytics.insar import PointSettings, fit_points
from analytics.insar_geometry import decompose, look_vector, vertical_from_los
from analytics.insar_marks import compare_with_marks
from analytics.sampling import decimal_years
from domain.errors import ConfigurationError, NotFoundError, UnavailableError
from service.bootstrap import Container
from service.insar import analyse_delivery, compare_deliveries, decompose_deliveries, delivery_of, epochs_of
from service.insar_explaining import explain_insar_run
from tests.insar.conftest import ImportOne
from tests.insar.samples import Made, make, write_egms

stack = pytest.mark.stack
POINTS, EPOCHS = 9000, 60


@pytest.fixture(scope="module")
def made() -> Made:
    return make(POINTS, EPOCHS, seed=21, gaps=0.02)


@pytest.fixture(scope="module")
def loaded(import_one: ImportOne, container: Container, made: Made, tmp_path_factory: pytest.TempPathFactory) -> Container:
    import_one(write_egms(tmp_path_factory.mktemp("files") / "a.csv", made), "a")
    return container


@stack
def test_results_stand_beside_every_point(loaded: Container, made: Made) -> None:
    delivery = delivery_of(loaded, "a")
    run = analyse_delivery(loaded, delivery, PointSettings("ar1", trend_test=True), "test")
    assert (run.method, run.summary["points"], run.summary["cannot_tell"]) == ("insar_points", POINTS, 0)
    assert run.summary["interim"] is True
    years = decimal_years(epochs_of(delivery))
    chosen = made.displacement[:50].T.astype(np.float32)
    expected = fit_points(years, chosen, PointSettings("ar1", trend_test=True))
    for row in (0, 7, 49):
        point = loaded.insar.point(delivery.delivery_id, made.pid[row])
        assert point is not None
        stored = dict(zip(run.columns, loaded.insar.results(run.run_id, point.point_no).tolist(), strict=True))
        for name in run.columns:
            assert stored[name] == pytest.approx(expected[name][row], rel=1e-5, abs=1e-30)
    rates = loaded.insar.map_of_result(delivery.delivery_id, run.run_id, run.columns.index("rate"))
    assert len(rates) == POINTS
    assert np.median(rates.value) == pytest.approx(run.summary["rate_median"], abs=1e-3)
    again = analyse_delivery(loaded, delivery, PointSettings("ar1", trend_test=True), "test")
    assert again.input_digest == run.input_digest
    assert [entry.run_id for entry in loaded.insar.runs(delivery.delivery_id)] == [again.run_id, run.run_id]


@stack
@pytest.mark.parametrize(
    "settings",
    [PointSettings("ar1", trend_test=True), PointSettings("robust"), PointSettings("ols", acceleration=True, steps=(2020.1,))],
)
def test_an_analysis_is_recomputed_to_the_bit_and_a_tampered_one_is_told(loaded: Container, settings: PointSettings) -> None:
    run = analyse_delivery(loaded, delivery_of(loaded, "a"), settings, "test")
    answer = explain_insar_run(loaded, run.run_id)
    assert (answer["same"], answer["points"], answer["differences"]) == (True, POINTS, {})
    with psycopg.connect(loaded.database_url) as connection:
        connection.execute(
            "UPDATE insar_run_tile SET results = set_byte(results, 0, (get_byte(results, 0) + 1) %% 256) WHERE run_id = %s AND tile_no = 0",
            [run.run_id],
        )
    assert explain_insar_run(loaded, run.run_id)["differences"] == {"rate": {"points": 1}}
    with pytest.raises(NotFoundError):
        explain_insar_run(loaded, 987654)


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    distributed = pytest.importorskip("distributed", reason="the extra `cluster` is not installed")
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None, worker_dashboard_address=None
    )
    try:
        yield cluster.scheduler_address
    finally:
        cluster.close()


@stack
@pytest.mark.filterwarnings("default::ResourceWarning", "default::pytest.PytestUnraisableExceptionWarning")
def test_two_worker_processes_give_the_same_to_the_bit(loaded: Container, scheduler: str) -> None:
    import distributed

    delivery = delivery_of(loaded, "a")
    settings = PointSettings("ols", steps=(2020.1,))
    here = analyse_delivery(loaded, delivery, settings, "test")
    there = analyse_delivery(loaded, delivery, settings, "test", scheduler=scheduler)
    assert (there.input_digest, there.summary) == (here.input_digest, here.summary)
    for number in range(len(here.columns)):
        one, two = (loaded.insar.map_of_result(delivery.delivery_id, run.run_id, number) for run in (here, there))
        np.testing.assert_array_equal(one.value, two.value)
    with distributed.Client(scheduler, set_as_default=False) as client:
        processes = set(client.run(os.getpid).values())
    assert len(processes) == 2
    assert os.getpid() not in processes


@stack
def test_an_address_where_nobody_answers_is_unavailable(loaded: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    import distributed

    def refuse(*arguments: object, **more: object) -> None:
        raise OSError("refused")

    monkeypatch.setattr(distributed, "Client", refuse)
    with pytest.raises(UnavailableError, match="refused"):
        analyse_delivery(loaded, delivery_of(loaded, "a"), PointSettings(), "test", scheduler="tcp://127.0.0.1:1")
    with pytest.raises(NotFoundError):
        delivery_of(loaded, "none")


@stack
def test_an_analysis_that_breaks_off_leaves_nothing(loaded: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    delivery = delivery_of(loaded, "a")
    before = len(loaded.insar.runs(delivery.delivery_id))
    tiles = loaded.insar.tiles

    def broken(*arguments: int) -> Iterator[object]:
        yield next(tiles(*arguments))
        raise KeyboardInterrupt

    monkeypatch.setattr(loaded.insar, "tiles", broken)
    with pytest.raises(KeyboardInterrupt):
        analyse_delivery(loaded, delivery, PointSettings("ols"), "test")
    assert len(loaded.insar.runs(delivery.delivery_id)) == before


@stack
def test_a_new_delivery_in_another_frame_agrees_once_the_plane_is_off(
    loaded: Container, import_one: ImportOne, made: Made, tmp_path: Path
) -> None:
    tilted = make(POINTS, EPOCHS, seed=21, plane=(3.0, 6.0, -4.0))
    import_one(write_egms(tmp_path / "tilted.csv", tilted), "tilted", track="asc-70")
    analyse_delivery(loaded, delivery_of(loaded, "a"), PointSettings("ols"), "test")
    answer = compare_deliveries(loaded, delivery_of(loaded, "tilted"), delivery_of(loaded, "a"))
    assert answer["reason"] is None
    assert answer["r"] > 0.95
    assert answer["frame"]["constant"] == pytest.approx(3.0, abs=0.3)
    assert answer["frame"]["per_km_east"] == pytest.approx(6.0 / (111.195 * np.cos(np.radians(30.72))), abs=0.01)


@stack
def test_two_tracks_give_up_and_east(loaded: Container, import_one: ImportOne, tmp_path: Path) -> None:
    base = make(4000, 4, seed=5)
    up, east = -6.0, 2.0
    files = {}
    for name, heading in (("up", 348.5), ("down", 191.5)):
        look = look_vector(39.0, heading)
        rate = np.full(4000, look[0] * east + look[2] * up)
        path = write_egms(tmp_path / f"{name}.csv", replace(base, rate=rate))
        path.write_text(path.read_text(encoding="utf-8").replace("348.5", str(heading)), encoding="utf-8")
        files[name] = path
    import_one(files["up"], "asc", track="asc-1")
    import_one(files["down"], "desc", track="desc-1")
    ascending, descending = delivery_of(loaded, "asc"), delivery_of(loaded, "desc")
    with pytest.raises(ConfigurationError, match="same side"):
        decompose_deliveries(loaded, ascending, descending)  # both were imported with one heading
    turned = replace(descending, heading_deg=191.5)
    cells, found = decompose_deliveries(loaded, ascending, turned, 500.0)
    assert len(cells.mean) > 500
    np.testing.assert_allclose(found.up, up, atol=2e-3)
    np.testing.assert_allclose(found.east, east, atol=2e-3)
    assert np.abs(found.north_in_up).max() < 0.2


def test_scenario_2_line_of_sight_alone_would_miss_it() -> None:
    found = vertical_from_los(-8.0, 39.0, 0.5)
    assert float(found.subsidence) == pytest.approx(10.3, abs=0.05)
    assert float(found.up) == pytest.approx(-10.3, abs=0.05)
    assert float(found.sigma) == pytest.approx(0.64, abs=0.01)
    assert "horizontal motion is taken as zero" in found.assumption
    assert float(vertical_from_los(8.0, 39.0).up) > 0
    with pytest.raises(ValueError, match="incidence"):
        vertical_from_los(-8.0, 120.0)


def test_tracks_from_one_side_tell_nothing() -> None:
    one, two = look_vector(39.0, 348.5), look_vector(37.0, 348.5)
    found = decompose(np.array([-8.0]), one, np.array([-8.1]), two, (np.ones(1), np.ones(1)))
    assert np.isnan(found.up).all()
    assert np.isnan(found.east_sigma).all()


def test_the_sigma_of_up_is_the_one_that_simulation_shows() -> None:
    rng = np.random.default_rng(2)
    one, two = look_vector(39.0, 348.5), look_vector(34.0, 191.5)
    a, b = rng.normal(0, 1.0, 20_000), rng.normal(0, 2.0, 20_000)
    found = decompose(a, one, b, two, (np.array(1.0), np.array(2.0)))
    assert np.std(found.up) == pytest.approx(float(found.up_sigma), rel=0.02)
    assert np.std(found.east) == pytest.approx(float(found.east_sigma), rel=0.02)


def near(marks: int, points: int, seed: int, noise: float) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(120.6, 120.9, marks), rng.uniform(30.6, 30.85, marks)
    truth = rng.uniform(-20, 1, marks)
    px, py = (
        np.repeat(x, points) + rng.normal(0, 3e-4, marks * points),
        np.repeat(y, points) + rng.normal(0, 3e-4, marks * points),
    )
    value = np.repeat(truth, points) + rng.normal(0, noise, marks * points) + 4.0 + 20.0 * (px - 120.75) - 9.0 * (py - 30.72)
    return (px, py, value), (x, y, truth)


def test_the_plane_of_the_reference_is_taken_off_before_marks_are_compared() -> None:
    points, marks = near(56, 12, 1, 1.5)
    answer = compare_with_marks(points, marks)
    assert answer.marks_used == 56
    assert answer.r is not None
    assert answer.rmse is not None
    assert answer.rmse_left_out is not None
    assert answer.largest is not None
    assert answer.r > 0.99
    assert 0.2 < answer.rmse < 0.9
    assert answer.rmse_left_out > answer.rmse
    assert answer.largest == pytest.approx(np.nanmax(np.abs(answer.difference)))
    assert answer.frame[1] == pytest.approx(20.0 / (111.195 * np.cos(np.radians(30.72))), abs=0.03)
    assert answer.frame[2] == pytest.approx(-9.0 / 111.195, abs=0.03)


def test_a_mark_that_moves_against_the_points_is_the_largest_difference() -> None:
    points, marks = near(30, 10, 4, 0.5)
    marks[2][17] += 15.0
    answer = compare_with_marks(points, marks)
    assert answer.largest_at == 17
    assert answer.largest == pytest.approx(15.0, abs=4.0)  # the plane leans a little towards it


def test_too_few_marks_cannot_tell() -> None:
    points, marks = near(2, 10, 4, 0.5)
    answer = compare_with_marks(points, marks)
    assert answer.reason is not None
    assert answer.r is answer.rmse is answer.largest is None
    far = (points[0] + 1.0, points[1], points[2])
    assert compare_with_marks(far, near(8, 1, 1, 1.0)[1]).marks_used == 0

"""Deliveries in the real database: every value back, versions side by side, whole or not at all, once."""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psycopg
import pytest

from domain.errors import ConflictError, RequestError
from domain.insar import TILE_POINTS, NewDelivery, PointBlock
from domain.observation import KeptFile
from ingest.insar import importing
from ingest.insar.importing import InsarImporter
from service.bootstrap import Container
from service.replaying import replay_since
from storage.hilbert import hilbert
from tests.insar.conftest import NOW, ImportOne
from tests.insar.samples import Made, make, write_egms

pytestmark = pytest.mark.stack
POINTS, EPOCHS = 9000, 15


@pytest.fixture(scope="module")
def made() -> Made:
    return make(POINTS, EPOCHS, gaps=0.03)


@pytest.fixture(scope="module")
def file(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_egms(tmp_path_factory.mktemp("files") / "first.csv", made)


@pytest.fixture(scope="module")
def first(import_one: ImportOne, file: Path, container: Container) -> int:
    report = import_one(file, "first", block_bytes=600_000)
    assert (report.accepted, report.rejected, report.duplicate) == (POINTS, 0, 0)
    found = container.insar.delivery("FIRST")
    assert found is not None
    return found.delivery_id


def count(container: Container, statement: str) -> int:
    with psycopg.connect(container.database_url) as connection:
        row = connection.execute(statement.encode()).fetchone()
    assert row is not None
    return int(row[0])


def test_every_point_comes_back_to_the_last_bit(container: Container, first: int, made: Made) -> None:
    truth = made.displacement.astype(np.float32)
    for row in (0, 17, POINTS - 1):
        point = container.insar.point(first, made.pid[row])
        assert point is not None
        np.testing.assert_array_equal(container.insar.series(first, point.point_no), truth[row])
        assert (point.longitude_deg, point.latitude_deg) == (made.longitude[row], made.latitude[row])
        assert point.rate == pytest.approx(made.rate[row], abs=6e-4)
        assert (point.height, point.coherence) == (pytest.approx(3.1), pytest.approx(0.91))
    assert container.insar.point(first, "none") is None


def test_a_map_has_every_point_once_and_the_same_values(container: Container, first: int, made: Made) -> None:
    found = container.insar.map_of_epoch(first, 4)
    assert len(found) == POINTS == len(set(found.point_no.tolist()))
    by_place = {
        (round(x, 7), round(y, 7)): value
        for x, y, value in zip(made.longitude, made.latitude, made.displacement[:, 4], strict=True)
    }
    for x, y, value in zip(found.longitude_deg, found.latitude_deg, found.value, strict=True):
        np.testing.assert_equal(value, np.float32(by_place[round(x, 7), round(y, 7)]))


def test_tiles_hold_all_series(container: Container, first: int, made: Made) -> None:
    tiles = list(container.insar.tiles(first, EPOCHS))
    assert sum(tile.displacement_mm.shape[1] for tile in tiles) == POINTS
    assert max(tile.displacement_mm.shape[1] for tile in tiles) <= TILE_POINTS
    total = np.nansum([np.nansum(tile.displacement_mm, dtype=np.float64) for tile in tiles])
    assert total == pytest.approx(np.nansum(made.displacement.astype(np.float32), dtype=np.float64), rel=1e-9)


def test_a_box_gives_the_points_in_it_page_by_page(container: Container, first: int, made: Made) -> None:
    box = (120.70, 30.70, 120.74, 30.76)
    inside = (made.longitude >= box[0]) & (made.longitude <= box[2]) & (made.latitude >= box[1]) & (made.latitude <= box[3])
    wanted = {made.pid[row] for row in np.flatnonzero(inside)}
    assert len(wanted) > 100
    pids, after = [], -1
    while page := container.insar.points(first, box, after=after, limit=37):
        assert len(page) <= 37
        pids += [row.pid for row in page]
        after = page[-1].point_no
    assert len(pids) == len(set(pids))
    assert set(pids) == wanted
    assert len(container.insar.map_of_epoch(first, 0, box)) == len(wanted)
    with pytest.raises(RequestError):
        container.insar.points(first, (121.0, 30.0, 120.0, 31.0))


def test_the_same_bytes_again_change_nothing(container: Container, first: int, import_one: ImportOne, file: Path) -> None:
    before = count(container, "SELECT sum(points) FROM insar_tile"), count(container, "SELECT max(seq) FROM ledger")
    again = import_one(file, "another-name")
    assert (again.accepted, again.duplicate, again.notes["delivery"], again.exit_code) == (0, POINTS, "first", 0)
    assert before == (count(container, "SELECT sum(points) FROM insar_tile"), count(container, "SELECT max(seq) FROM ledger"))


def test_no_observation_row_is_made_and_the_raw_file_is_kept(container: Container, first: int, file: Path) -> None:
    assert count(container, "SELECT count(*) FROM observation") == 0
    row = container.insar.delivery("first")
    assert row is not None
    assert container.raw_files.read(f"sha256:{row.sha256}") == file.read_bytes()


def test_a_new_delivery_stands_beside_the_old_one(
    container: Container, first: int, import_one: ImportOne, made: Made, tmp_path: Path
) -> None:
    shifted = replace(made, displacement=made.displacement + 7.0)
    report = import_one(write_egms(tmp_path / "second.csv", shifted), "second")
    assert report.notes["version"] == 2
    old, new = container.insar.delivery("first"), container.insar.delivery("second")
    assert old is not None
    assert new is not None
    assert (old.superseded_by, new.superseded_by, new.datastream) == ("second", None, old.datastream)
    point = container.insar.point(old.delivery_id, made.pid[3])
    twin = container.insar.point(new.delivery_id, made.pid[3])
    assert point is not None
    assert twin is not None
    difference = container.insar.series(new.delivery_id, twin.point_no) - container.insar.series(old.delivery_id, point.point_no)
    np.testing.assert_allclose(difference[~np.isnan(difference)], 7.0, atol=1e-4)


def test_a_name_is_given_once(import_one: ImportOne, first: int, made: Made, tmp_path: Path) -> None:
    other = write_egms(tmp_path / "other.csv", replace(made, rate=made.rate + 1))
    with pytest.raises(ConflictError, match="First"):
        import_one(other, "First")


def test_rejects_are_quarantined_with_line_and_bytes(container: Container, import_one: ImportOne, tmp_path: Path) -> None:
    lines = write_egms(tmp_path / "bad.csv", make(50, 5, seed=9)).read_bytes().split(b"\n")
    lines[8] = b"broken"
    lines[20] = lines[20].replace(b"120.", b"abc.", 1)
    (tmp_path / "bad.csv").write_bytes(b"\n".join(lines))
    report = import_one(tmp_path / "bad.csv", "bad", track="asc-70")
    assert (report.accepted, report.rejected, report.exit_code) == (48, 2, 3)
    assert [item.line for item in report.rejects] == [9, 21]
    open_ones = [row for row in container.observations.quarantined(0, 100) if row.source == "bad.csv"]
    assert [(row.line, bytes(row.raw)) for row in open_ones] == [(9, b"broken"), (21, lines[20])]
    replayed = replay_since(container, NOW)
    assert (replayed.failed, replayed.remaining) == (1, 2)  # a delivery is whole as it is: the corrected file is the next one


def test_a_delivery_that_breaks_off_leaves_nothing_and_the_next_run_does_it(
    container: Container, import_one: ImportOne, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_egms(tmp_path / "killed.csv", make(9000, 4, seed=5))
    load = container.insar.load

    def broken(delivery: NewDelivery, blocks: Iterator[PointBlock], kept: Callable[[], KeptFile]) -> object:
        def some() -> Iterator[PointBlock]:
            yield next(blocks)
            raise KeyboardInterrupt

        return load(delivery, some(), kept)

    monkeypatch.setattr(container.insar, "load", broken)
    tables = "SELECT count(*) FROM pg_class WHERE relname LIKE 'insar%'"
    before = count(container, tables), count(container, "SELECT max(seq) FROM ledger")
    with pytest.raises(KeyboardInterrupt):
        import_one(path, "killed", track="asc-71", block_bytes=300_000)
    assert container.insar.delivery("killed") is None
    assert before[0] == count(container, tables)
    monkeypatch.undo()
    gc.collect()  # the reader's thread ended with its generator
    assert import_one(path, "killed", track="asc-71").accepted == 9000


def test_a_file_that_changes_while_it_is_read_is_refused_whole(
    container: Container, import_one: ImportOne, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_egms(tmp_path / "changing.csv", make(3000, 4, seed=15))
    load = container.insar.load

    def beside_a_writer(delivery: NewDelivery, blocks: Iterator[PointBlock], kept: Callable[[], KeptFile]) -> object:
        kept()
        with path.open("ab") as file:
            file.write(b"\n")
        return load(delivery, blocks, kept)

    monkeypatch.setattr(container.insar, "load", beside_a_writer)
    before = count(container, "SELECT count(*) FROM ingest_batch")
    with pytest.raises(ConflictError, match="changed while it was read"):
        import_one(path, "changing", track="asc-72")
    assert container.insar.delivery("changing") is None
    assert count(container, "SELECT count(*) FROM ingest_batch") == before


def test_only_a_file_of_a_known_size_is_digested_beforehand(
    container: Container, import_one: ImportOne, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digested: list[Path] = []
    digest = importing._digest
    monkeypatch.setattr(importing, "_digest", lambda path: digested.append(path) or digest(path))
    path = write_egms(tmp_path / "one.csv", make(60, 4, seed=16))
    twin = tmp_path / "twin.csv"
    body = path.read_bytes()
    twin.write_bytes(body[:-2] + (b"1" if body[-2:-1] != b"1" else b"2") + body[-1:])
    assert import_one(path, "sized", track="asc-73").notes["version"] == 1
    assert digested == []
    assert import_one(path, "sized-again", track="asc-73").notes["delivery"] == "sized"
    assert import_one(twin, "sized-twin", track="asc-73").notes["version"] == 2
    assert digested == [path, twin]
    row = container.insar.delivery("sized-twin")
    assert row is not None
    assert row.sha256 == hashlib.sha256(twin.read_bytes()).hexdigest()
    assert container.raw_files.read(f"sha256:{row.sha256}") == twin.read_bytes()


def test_a_rehearsal_stores_nothing(container: Container, import_one: ImportOne, tmp_path: Path) -> None:
    path = write_egms(tmp_path / "dry.csv", make(20, 4, seed=6))
    report = import_one(path, "dry", station="NEW-AREA", dry_run=True)
    assert (report.accepted, report.dry_run) == (20, True)
    assert report.created["stations"] == ("NEW-AREA",)
    assert container.insar.delivery("dry") is None
    assert container.registers.station("NEW-AREA") is None


def test_what_an_import_makes_waits_for_a_person(container: Container, first: int) -> None:
    station = container.registers.station("JX-AREA")
    assert station is not None
    assert (station.kind, station.confirmed, station.disclosure) == ("insar_area", False, "restricted")
    datastream = container.registers.datastream("JX-AREA:los_displacement:asc-69")
    assert datastream is not None
    assert (datastream.unit, datastream.confirmed, datastream.attributes["incidence_deg"]) == ("mm", False, 39.0)


def test_real_stamps_exports_come_in_whole(container: Container, import_one: ImportOne, shared_data: Path) -> None:
    path = shared_data / "insar" / "maoxian_ps.csv"
    assert import_one(path, "maoxian-ps", station="MAOXIAN", track="desc", profile="stamps").accepted == 97
    found = container.insar.delivery("maoxian-ps")
    assert found is not None
    rows = [line.split(",") for line in path.read_text(encoding="utf-8").splitlines()[2:]]
    for number in (1, 50, 97):
        point = container.insar.point(found.delivery_id, str(number))
        assert point is not None
        series = container.insar.series(found.delivery_id, point.point_no)
        np.testing.assert_array_equal(series, np.array(rows[number - 1][3:], dtype=np.float32))
        assert point.rate == pytest.approx(float(rows[number - 1][2]), rel=1e-6)


def test_neighbours_on_the_curve_are_neighbours_on_the_ground() -> None:
    x, y = (grid.ravel().astype(float) for grid in np.meshgrid(np.arange(64), np.arange(64)))
    order = np.argsort(hilbert(x, y), kind="stable")
    steps = np.abs(np.diff(x[order])) + np.abs(np.diff(y[order]))
    assert (steps == 1).all()


def test_the_importer_asks_for_what_is_not_said(container: Container, file: Path) -> None:
    from domain.errors import FormatError, InputError
    from ingest.insar.importing import InsarFlags

    importer = InsarImporter(container.registers, container.insar, container.raw_files)
    for flags, error, word in (
        (InsarFlags("x", None, "asc"), FormatError, "area"),
        (InsarFlags("x", "A", None), FormatError, "track"),
        (InsarFlags("x/y", "A", "asc"), InputError, "name"),
        (InsarFlags("x", "A", "asc", incidence_deg=120.0), InputError, "incidence"),
    ):
        with pytest.raises(error, match=word):
            importer.import_file(file, "egms", flags, actor="test", now=NOW)

"""Deliveries that were stored with a row a point are the same after their points went into the tiles."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import numpy as np
import psycopg
import pytest

from domain.insar import TILE_POINTS, identifier_keys
from service.bootstrap import Container
from service.settings import Settings
from storage import migrate as module
from storage.migrate import migrate

pytestmark = pytest.mark.stack
MOVING = "20261129-86-insar-points-in-tiles"
ATTRIBUTES = ("rate", "coherence")


def before_the_move(folder: Path) -> Path:
    """Return a folder of the migrations that were there before the points moved."""
    for path in module.FOLDER.glob("*.sql"):
        if path.stem < MOVING:
            shutil.copy(path, folder)
    return folder


def identifiers(points: int, rng: np.random.Generator) -> list[str]:
    """Return identifiers of 1 to 20 bytes, some of them not ASCII, each once."""
    letters = list("abcdefghijklmnopqrstuvwxyz0123456789-_沉降é")
    made = {"".join(rng.choice(letters, rng.integers(1, 12))) + str(number) for number in range(points - 1)}
    return [*sorted(made), "x"]


def fill(connection: psycopg.Connection, delivery_id: int, pids: list[str], place: np.ndarray, values: np.ndarray) -> None:
    """Store a delivery as it was stored before: rows of points, and tiles of 4,096, the first one not full."""
    starts = [0, 100, *range(100 + TILE_POINTS, len(pids), TILE_POINTS)]
    for tile_no, (start, end) in enumerate(zip(starts, [*starts[1:], len(pids)], strict=True)):
        rows = slice(start, end)
        west, south = place[:, rows].min(axis=1)
        east, north = place[:, rows].max(axis=1)
        blocks = [np.rint(side * 1e7).astype("<i4").tobytes() for side in place[:, rows]]
        blocks += [values[:, rows].astype("<f4").tobytes()] * 2
        connection.execute(
            f"INSERT INTO insar_tile_{delivery_id} VALUES (%s, %s, %s, %s::text::box, %s, %s, %s, %s)",  # type: ignore[arg-type]
            [delivery_id, tile_no, end - start, f"({east},{north}),({west},{south})", *blocks],
        )
        with connection.cursor().copy(f"COPY insar_point_{delivery_id} FROM STDIN") as copy:  # type: ignore[arg-type]
            for number, row in enumerate(range(start, end)):
                at = f"({place[0, row]:.17g},{place[1, row]:.17g})"
                copy.write_row(
                    (delivery_id, tile_no * TILE_POINTS + number, pids[row], at, None, values[0, row], None, None, None)
                )


def test_points_keep_identifier_place_and_number(
    empty_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(5)
    (tmp_path / "migrations").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(module, "FOLDER", before_the_move(tmp_path / "migrations"))
        migrate(empty_database_url)
    made = {}
    with psycopg.connect(empty_database_url) as connection:
        connection.execute("SET session_replication_role = replica")  # only the deliveries matter here, not what they refer to
        for delivery_id, points in ((1, 9000), (2, 150)):
            pids = identifiers(points, rng)
            place = rng.uniform([[120.0], [30.0]], [[121.0], [31.0]], (2, points))
            values = rng.normal(0, 5, (2, points)).astype(np.float32)
            for noun in ("insar_point", "insar_tile"):
                connection.execute(f"CREATE TABLE {noun}_{delivery_id} PARTITION OF {noun} FOR VALUES IN ({delivery_id})")  # type: ignore[arg-type]
            fill(connection, delivery_id, pids, place, values)
            connection.execute(
                "INSERT INTO insar_delivery (id, code, datastream_id, version, track, source_positive, epochs, attributes, points, tiles,"
                " source, sha256, profile, parameters, actor, batch_id, ledger_seq) OVERRIDING SYSTEM VALUE VALUES (%s, %s, 1, %s, 'a',"
                " 'toward_satellite', '{2020-01-01,2021-01-01}', %s, %s, 1, 's', repeat('0', 64), 'p', '{}', 'me', 1, %s)",
                [delivery_id, f"d{delivery_id}", delivery_id, list(ATTRIBUTES), points, delivery_id],
            )
            made[delivery_id] = (pids, place, values)
    assert migrate(empty_database_url)[0] == MOVING
    with Container(Settings(home=tmp_path, database_url=empty_database_url)) as container:
        for delivery_id, (pids, place, values) in made.items():
            for row in {0, 99, 100, len(pids) - 1, *rng.integers(0, len(pids), 60).tolist()}:
                point = container.insar.point(delivery_id, pids[row])
                assert point is not None, pids[row]
                number = row if row < 100 else TILE_POINTS + row - 100
                assert (point.point_no, point.longitude_deg, point.latitude_deg) == (number, place[0, row], place[1, row])
                assert np.float32(point.rate) == values[0, row]
                assert np.float32(point.coherence) == values[1, row]
                assert point.height is None
            numbers = container.insar.pids(delivery_id, 50, TILE_POINTS + 50)
            assert numbers == {row if row < 100 else TILE_POINTS + row - 100: pids[row] for row in range(50, 150)}
            assert container.insar.point(delivery_id, "nobody") is None


def test_the_key_of_an_identifier_never_changes() -> None:
    """Stored directories are sorted by it; the numbers are of an independent calculation with Python's integers."""
    whole = (1 << 64) - 1

    def key(identifier: bytes) -> int:
        found = 0x9E3779B97F4A7C15
        for start in range(0, len(identifier), 8):
            found ^= int.from_bytes(identifier[start : start + 8], "little")
            for factor, shift in ((0xBF58476D1CE4E5B9, 29), (0x94D049BB133111EB, 32)):
                found = found * factor & whole
                found ^= found >> shift
        return int(struct.unpack(">q", found.to_bytes(8, "big"))[0])

    names = [b"a", b"10a0000001", b"12345678", b"123456789", "沉降点-7".encode(), b"x" * 40]
    for width in (40, 48, 64):
        assert identifier_keys(np.array(names, dtype=f"S{width}")).tolist() == [key(name) for name in names]
    assert [identifier_keys(np.array([name]))[0] for name in names] == [key(name) for name in names]
    assert key(b"10a0000001") == 6_090_737_855_049_513_333

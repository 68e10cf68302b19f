"""InSAR deliveries in PostgreSQL: loading, points, one point's series, one epoch's map, whole tiles and the results of analyses.

A tile holds up to 4,096 neighbouring points as blocks; with STORAGE EXTERNAL the server cuts a slice out of a block, so that a map
reads one epoch of every tile and a series one value of every epoch. This file finishes with `InsarRepository`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
from psycopg.rows import class_row, dict_row

from domain.errors import NotFoundError, RequestError
from domain.insar import TILE_POINTS, DeliveryReceipt, Float32Array, Float64Array, NewDelivery, PointBlock
from domain.observation import KeptFile
from storage.database import Connection, Database, refusals_are_conflicts
from storage.insar_loading import load_delivery
from storage.insar_points import PointRow, find_point, read_identifiers, read_points
from storage.insar_tiles import POSITION_SCALE
from storage.json_values import jsonb
from storage.queries import load_statements

SQL = load_statements("insar")
Box = tuple[float, float, float, float]
"""West, south, east, north in degrees."""

Finish = Callable[[], tuple[str, Mapping[str, Any]]]
"""Digest of the inputs and summary of a run, known after its last tile."""

EVERYWHERE: Box = (-180.0, -90.0, 180.0, 90.0)
_TILES_A_READ = 16
_MARGIN_DEG = 2 / POSITION_SCALE
"""Tiles round positions: a box is widened by this when tiles are chosen, and compared with rounded positions after that."""


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """A delivery as it is registered. `epochs` are UTC; bounds in degrees; `superseded_by` names the next version."""

    delivery_id: int
    code: str
    datastream: str
    station: str
    version: int
    superseded_by: str | None
    track: str
    heading_deg: float | None
    incidence_deg: float | None
    source_positive: str
    epochs: list[datetime]
    attributes: list[str]
    reference: dict[str, Any]
    points: int
    tiles: int
    west: float | None
    south: float | None
    east: float | None
    north: float | None
    source: str
    sha256: str
    profile: str
    parameters: dict[str, Any]
    actor: str
    imported_at: datetime
    batch_id: int
    ledger_seq: int


@dataclass(frozen=True, slots=True)
class PointMap:
    """One value of every point of a box: an epoch's displacement, an attribute or a result. NaN = unknown."""

    point_no: npt.NDArray[np.int32]
    longitude_deg: Float64Array
    latitude_deg: Float64Array
    value: Float32Array

    def __len__(self) -> int:
        return len(self.value)


@dataclass(frozen=True, slots=True)
class TileSeries:
    """The points of a tile with all their epochs; `displacement_mm` is of shape (epochs, points)."""

    tile_no: int
    displacement_mm: Float32Array


@dataclass(frozen=True, slots=True)
class RunRow:
    """A stored analysis of a delivery."""

    run_id: int
    delivery_id: int
    method: str
    version: str
    parameters: dict[str, Any]
    columns: list[str]
    units: list[str]
    input_digest: str
    summary: dict[str, Any]
    actor: str
    created_at: datetime
    ledger_seq: int


@dataclass(frozen=True, slots=True)
class NewRun:
    """An analysis on its way into the store: what it is, before its tiles are known."""

    method: str
    version: str
    parameters: Mapping[str, Any]
    columns: tuple[str, ...]
    units: tuple[str, ...]
    actor: str


class InsarRepository:
    """Implements `domain.insar.DeliveryStore`, and reads what was loaded."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find_same(self, datastream_id: int, sha256: str, parameters: Mapping[str, Any]) -> DeliveryReceipt | None:
        """Return the delivery that the same bytes read in the same way made before, or None."""
        wanted = {"datastream_id": datastream_id, "sha256": sha256, "parameters": jsonb(dict(parameters))}
        with self._database.transaction() as connection:
            row = connection.execute(SQL.same_delivery, wanted).fetchone()
        return None if row is None else DeliveryReceipt(row[0], row[1], row[2], True, batch_id=row[3], ledger_seq=row[4])

    def may_be_known(self, datastream_id: int, size: int, parameters: Mapping[str, Any]) -> bool:
        """Did a file of as many bytes, read in the same way, make a delivery before? Only then is it worth a digest beforehand."""
        wanted = {"datastream_id": datastream_id, "size": size, "parameters": jsonb(dict(parameters))}
        with self._database.transaction() as connection:
            return connection.execute(SQL.known_size, wanted).fetchone() is not None

    def code_is_taken(self, code: str) -> bool:
        """Is there a delivery of this name, whatever its case?"""
        with self._database.transaction() as connection:
            return connection.execute(SQL.taken_code, [code]).fetchone() is not None

    def load(self, delivery: NewDelivery, blocks: Iterator[PointBlock], kept: Callable[[], KeptFile]) -> DeliveryReceipt:
        """Store a delivery in one transaction: it becomes visible whole, with its ledger sequence, or nothing of it stays.

        Parameters
        ----------
        kept
            Waits until the file is kept. Called after the last block and before anything says where the file is.

        Raises
        ------
        ConflictError
            The name is taken, an identifier occurs twice, or no row is a point.
        UnavailableError
            The server is out of reach or went away: nothing was stored, run it again.
        """
        with self._database.transaction() as connection:
            return load_delivery(connection, delivery, blocks, kept)

    def deliveries(self, after: int = 0, limit: int = 100) -> list[DeliveryRow]:
        """Return deliveries in the order in which they came, from the one after the id `after`."""
        return self._deliveries(None, after, limit)

    def delivery(self, code: str) -> DeliveryRow | None:
        """Return the delivery of this name, whatever its case, or None."""
        found = self._deliveries(code, 0, 1)
        return found[0] if found else None

    def _deliveries(self, code: str | None, after: int, limit: int) -> list[DeliveryRow]:
        with self._database.transaction() as connection, connection.cursor(row_factory=class_row(DeliveryRow)) as cursor:
            return cursor.execute(SQL.deliveries, {"code": code, "after": after, "limit": limit}).fetchall()

    def points(self, delivery_id: int, box: Box = EVERYWHERE, *, after: int = -1, limit: int = 100) -> list[PointRow]:
        """Return points of a box in the order of their numbers, from the one after `after`.

        The tiles that the box touches say which points are in it, so a page costs the same whether the box is small or large.
        """
        with self._database.transaction() as connection:
            return read_points(connection, delivery_id, _numbers_in(connection, delivery_id, box, after, limit))

    def point(self, delivery_id: int, pid: str) -> PointRow | None:
        """Return the point of this identifier, or None."""
        with self._database.transaction() as connection:
            return find_point(connection, delivery_id, pid)

    def series(self, delivery_id: int, point_no: int) -> Float32Array:
        """Return one point's displacement at each epoch, shape (epochs,), mm toward the satellite positive; NaN = no value."""
        return self._slice(SQL.series, {"delivery_id": delivery_id}, point_no)

    def attributes(self, delivery_id: int, point_no: int) -> Float32Array:
        """Return one point's attributes, in the order of the delivery's `attributes`."""
        return self._slice(SQL.attributes_of_point, {"delivery_id": delivery_id}, point_no)

    def results(self, run_id: int, point_no: int) -> Float32Array:
        """Return one point's results of a run, in the order of the run's `columns`."""
        return self._slice(SQL.results_of_point, {"run_id": run_id}, point_no)

    def _slice(self, statement: bytes, key: Mapping[str, int], point_no: int) -> Float32Array:
        tile_no, place = divmod(point_no, TILE_POINTS)
        with self._database.transaction() as connection, connection.cursor(binary=True) as cursor:
            row = cursor.execute(statement, {**key, "tile_no": tile_no, "place": place}).fetchone()
        return _floats(row[0]) if row and row[0] is not None else np.empty(0, dtype=np.float32)

    def pids(self, delivery_id: int, first: int, last: int) -> dict[int, str]:
        """Return the identifiers of the points with first <= number < last."""
        with self._database.transaction() as connection:
            return read_identifiers(connection, delivery_id, first, last)

    def map_of_epoch(self, delivery_id: int, number: int, box: Box = EVERYWHERE) -> PointMap:
        """Return the displacement at epoch `number` (from 0) of every point in the box, mm toward the satellite positive."""
        return self._map(SQL.map_of_epoch, {"delivery_id": delivery_id, "number": number}, box)

    def map_of_attribute(self, delivery_id: int, number: int, box: Box = EVERYWHERE) -> PointMap:
        """Return an attribute (by its place in the delivery's `attributes`) of every point in the box."""
        return self._map(SQL.map_of_attribute, {"delivery_id": delivery_id, "number": number}, box)

    def map_of_result(self, delivery_id: int, run_id: int, number: int, box: Box = EVERYWHERE) -> PointMap:
        """Return a result (by its place in the run's `columns`) of every point in the box."""
        return self._map(SQL.map_of_result, {"delivery_id": delivery_id, "run_id": run_id, "number": number}, box)

    def _map(self, statement: bytes, parameters: Mapping[str, int], box: Box) -> PointMap:
        with self._database.transaction() as connection, connection.cursor(binary=True) as cursor:
            rows = cursor.execute(statement, {**parameters, "box": _box_text(box)}).fetchall()
        return _join_map(rows, box)

    def tiles(self, delivery_id: int, epochs: int) -> Iterator[TileSeries]:
        """Yield every tile whole, a few at a time, so that memory does not grow with the delivery."""
        first = 0
        while True:
            with self._database.transaction() as connection, connection.cursor(binary=True) as cursor:
                wanted = {"delivery_id": delivery_id, "first": first, "limit": _TILES_A_READ}
                rows = cursor.execute(SQL.tile_series, wanted).fetchall()
            for tile_no, _, packed in rows:
                yield TileSeries(tile_no, _floats(packed).reshape(epochs, -1))
            if len(rows) < _TILES_A_READ:
                return
            first = rows[-1][0] + 1

    def save_run(self, delivery: DeliveryRow, run: NewRun, tiles: Iterable[tuple[int, Float32Array]], finish: Finish) -> RunRow:
        """Store the results of an analysis, tile by tile as they come, in one transaction.

        Parameters
        ----------
        tiles
            Tile number and results of shape (columns, points), in any order.
        finish
            Called after the last tile; returns digest of the inputs and summary.
        """
        with self._database.transaction() as connection, refusals_are_conflicts("the run"):
            (run_id,) = _row(connection, SQL.next_run_id)
            for tile_no, results in tiles:
                packed = results.astype("<f4").tobytes()
                connection.execute(
                    SQL.insert_run_tile,
                    {"run_id": run_id, "tile_no": tile_no, "points": results.shape[1], "results": packed},
                    binary=True,
                )
            digest, summary = finish()
            values = {
                "id": run_id,
                "delivery_id": delivery.delivery_id,
                "method": run.method,
                "version": run.version,
                "parameters": jsonb(dict(run.parameters)),
                "columns": list(run.columns),
                "units": list(run.units),
                "input_digest": digest,
                "summary": jsonb(dict(summary)),
                "actor": run.actor,
                "reference": f"insar:{delivery.code}:{run_id}",
            }
            connection.execute(SQL.insert_run, values)
        return self.runs(delivery.delivery_id, limit=1)[0]

    def runs(self, delivery_id: int, limit: int = 100) -> list[RunRow]:
        """Return the analyses of a delivery, newest first."""
        with self._database.transaction() as connection, connection.cursor(row_factory=class_row(RunRow)) as cursor:
            return cursor.execute(SQL.runs, {"delivery_id": delivery_id, "limit": limit}).fetchall()

    def run(self, run_id: int) -> tuple[RunRow, str] | None:
        """Return an analysis and the name of its delivery, or None."""
        with self._database.transaction() as connection, connection.cursor(row_factory=dict_row) as cursor:
            found = cursor.execute(SQL.run_by_id, [run_id]).fetchone()
        if found is None:
            return None
        code = str(found.pop("code"))
        return RunRow(**found), code

    def run_tile(self, run_id: int, tile_no: int) -> Float32Array:
        """Return the results of one tile, the columns of the analysis one after the other; empty where there are none."""
        with self._database.transaction() as connection, connection.cursor(binary=True) as cursor:
            found = cursor.execute(SQL.run_tile, {"run_id": run_id, "tile_no": tile_no}).fetchone()
        return _floats(b"" if found is None else found[0])


def _row(connection: Connection, statement: bytes) -> tuple[Any, ...]:
    row = connection.execute(statement).fetchone()
    assert row is not None
    return tuple(row)


def _floats(packed: bytes) -> Float32Array:
    return np.frombuffer(packed, dtype="<f4").astype(np.float32, copy=False)


def _degrees(packed: bytes) -> npt.NDArray[np.int32]:
    return np.frombuffer(packed, dtype="<i4")


def _box_text(box: Box) -> str:
    west, south, east, north = map(float, box)
    if not all(np.isfinite(box)) or west > east or south > north:
        raise RequestError("the box is not west,south,east,north in degrees.", where="bbox", remedy="e.g. 120.5,30.4,121.0,31.0")
    return f"({west - _MARGIN_DEG!r},{south - _MARGIN_DEG!r}),({east + _MARGIN_DEG!r},{north + _MARGIN_DEG!r})"


def _inside(longitude: npt.NDArray[np.int32], latitude: npt.NDArray[np.int32], box: Box) -> npt.NDArray[np.bool_]:
    west, south, east, north = (round(side * POSITION_SCALE) for side in box)
    return (longitude >= west) & (longitude <= east) & (latitude >= south) & (latitude <= north)


def _numbers_in(connection: Connection, delivery_id: int, box: Box, after: int, limit: int) -> list[int]:
    """Return the numbers of the first `limit` points in the box after a number, reading a few tiles at a time."""
    found: list[int] = []
    first = max(0, after + 1) // TILE_POINTS
    while len(found) < limit:
        wanted = {"delivery_id": delivery_id, "first": first, "box": _box_text(box), "limit": _TILES_A_READ}
        with connection.cursor(binary=True) as cursor:
            rows = cursor.execute(SQL.tile_positions, wanted).fetchall()
        for tile_no, _, longitude, latitude in rows:
            numbers = tile_no * TILE_POINTS + np.flatnonzero(_inside(_degrees(longitude), _degrees(latitude), box))
            found += numbers[numbers > after].tolist()
        if len(rows) < _TILES_A_READ:
            break
        first = rows[-1][0] + 1
    return found[:limit]


def _join_map(rows: Sequence[tuple[int, int, bytes, bytes, bytes]], box: Box) -> PointMap:
    if not rows:
        nothing = np.empty(0)
        return PointMap(nothing.astype(np.int32), nothing, nothing, nothing.astype(np.float32))
    if not rows[0][4]:
        raise NotFoundError("the delivery has no such column.")
    longitude = _degrees(b"".join(row[2] for row in rows))
    latitude = _degrees(b"".join(row[3] for row in rows))
    value = _floats(b"".join(row[4] for row in rows))
    counts = np.array([row[1] for row in rows])
    starts = np.array([row[0] for row in rows], dtype=np.int32) * TILE_POINTS - (np.cumsum(counts) - counts).astype(np.int32)
    number = np.repeat(starts, counts) + np.arange(len(value), dtype=np.int32)
    if box != EVERYWHERE:
        inside = _inside(longitude, latitude, box)
        longitude, latitude, value, number = longitude[inside], latitude[inside], value[inside], number[inside]
    return PointMap(number, longitude / POSITION_SCALE, latitude / POSITION_SCALE, value)

"""What is said of single points of an InSAR delivery beside their series, read out of the tiles that they stand in.

A directory of sorted keys says in which tile the point of an identifier is. This file finishes with `find_point`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from domain.insar import POINT_ATTRIBUTES, TILE_POINTS, identifier_keys
from storage.database import Connection
from storage.queries import load_statements

SQL = load_statements("insar")


@dataclass(frozen=True, slots=True)
class PointRow:
    """A point: degrees, mm and mm/a toward the satellite positive; None = not delivered."""

    point_no: int
    pid: str
    longitude_deg: float
    latitude_deg: float
    height: float | None
    rate: float | None
    sigma: float | None
    cumulative: float | None
    coherence: float | None


def read_points(connection: Connection, delivery_id: int, numbers: Sequence[int]) -> list[PointRow]:
    """Return the points of these numbers, in the order of their numbers."""
    wanted = np.unique(np.asarray(numbers, dtype=np.int64))
    tile_of = wanted // TILE_POINTS
    names = connection.execute(SQL.attribute_names, [delivery_id]).fetchone()
    with connection.cursor(binary=True) as cursor:
        tiles = {"delivery_id": delivery_id, "tiles": np.unique(tile_of).tolist()}
        rows = cursor.execute(SQL.tiles_of_points, tiles).fetchall()
    found: list[PointRow] = []
    for tile_no, points, positions, identifiers, attributes in rows:
        places = wanted[tile_of == tile_no] % TILE_POINTS
        places = places[places < points]
        assert names is not None
        columns = dict(zip(names[0], np.frombuffer(attributes, dtype="<f4").reshape(-1, points)[:, places], strict=True))
        found += map(
            PointRow,
            (tile_no * TILE_POINTS + places).tolist(),
            _texts(_identifiers(identifiers, points)[places]),
            *np.frombuffer(positions, dtype=">f8").reshape(2, points)[:, places].tolist(),
            *(_told(columns.get(name), len(places)) for name in POINT_ATTRIBUTES),
        )
    return found


def _identifiers(packed: bytes, points: int) -> npt.NDArray[np.bytes_]:
    return np.frombuffer(packed, dtype=f"S{len(packed) // points}")


def _texts(identifiers: npt.NDArray[np.bytes_]) -> Iterator[str]:
    return (identifier.decode() for identifier in identifiers.tolist())


def _told(values: npt.NDArray[np.float32] | None, points: int) -> list[float | None]:
    """Return numbers with the digits that tell one float32 from the next; None where nothing was delivered."""
    if values is None:
        return [None] * points
    told = values.astype(str).astype(float)
    return [None if unknown else value for value, unknown in zip(told.tolist(), np.isnan(told).tolist(), strict=True)]


def read_identifiers(connection: Connection, delivery_id: int, first: int, last: int) -> dict[int, str]:
    """Return the identifiers of the points with first <= number < last."""
    found: dict[int, str] = {}
    with connection.cursor(binary=True) as cursor:
        wanted = {"delivery_id": delivery_id, "first": first // TILE_POINTS, "last": (last - 1) // TILE_POINTS}
        for tile_no, points, packed in cursor.execute(SQL.identifiers, wanted):
            start = tile_no * TILE_POINTS
            chosen = range(max(first, start), min(last, start + points))
            found |= zip(chosen, _texts(_identifiers(packed, points)[chosen.start - start : chosen.stop - start]), strict=True)
    return found


def find_point(connection: Connection, delivery_id: int, pid: str) -> PointRow | None:
    """Return the point of this identifier, or None."""
    key = int(identifier_keys(np.array([pid.encode(errors="replace")], dtype=np.bytes_))[0])
    with connection.cursor(binary=True) as cursor:
        row = cursor.execute(SQL.directory, {"delivery_id": delivery_id, "key": key}).fetchone()
    if row is None:
        return None
    numbers = np.frombuffer(row[1], dtype=">i4")[np.frombuffer(row[0], dtype=">i8") == key]
    return next((point for point in read_points(connection, delivery_id, numbers.tolist()) if point.pid == pid), None)

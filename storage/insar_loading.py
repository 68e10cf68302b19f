"""Loading one InSAR delivery: blocks of points become tiles by binary COPY, and a directory of identifiers, in one transaction.

Each block is put into the order of a Hilbert curve and cut into tiles, so that memory is bounded by a block whatever the size of the
delivery; a file in the order of its raster lines, as processors write them, gives compact tiles. This file finishes with
`load_delivery`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from domain.errors import ConflictError
from domain.insar import TILE_POINTS, DeliveryReceipt, NewDelivery, PointBlock, identifier_keys
from domain.observation import Batch, KeptFile, QuarantineEntry, RawPayload, Rejected, columns
from storage.commit import commit_batch, moments
from storage.copy_format import HEADER, TRAILER
from storage.database import Connection, refusals_are_conflicts
from storage.json_values import jsonb
from storage.queries import load_statements

SQL = load_statements("insar")
POSITION_SCALE = 1e7
"""Positions in tiles are counted in 1e-7 degree, about a centimetre."""

HILBERT_BITS = 16
DIRECTORY_KEYS = 4096
"""Identifiers a row of the directory: finding one reads 48 kilobytes."""


@dataclass(slots=True)
class _Loaded:
    """What has gone into the tables so far."""

    points: int = 0
    tiles: int = 0
    rejected: list[Rejected] = field(default_factory=list)
    keys: list[npt.NDArray[np.int64]] = field(default_factory=list)
    numbers: list[npt.NDArray[np.int32]] = field(default_factory=list)
    west: float = np.inf
    south: float = np.inf
    east: float = -np.inf
    north: float = -np.inf

    def add(self, block: PointBlock) -> None:
        self.points += len(block)
        self.tiles += -(-len(block) // TILE_POINTS)
        if len(block):
            self.west = min(self.west, float(block.longitude_deg.min()))
            self.east = max(self.east, float(block.longitude_deg.max()))
            self.south = min(self.south, float(block.latitude_deg.min()))
            self.north = max(self.north, float(block.latitude_deg.max()))

    @property
    def bounds(self) -> str | None:
        return None if not self.points else f"({self.west!r},{self.south!r}),({self.east!r},{self.north!r})"


def load_delivery(
    connection: Connection, delivery: NewDelivery, blocks: Iterator[PointBlock], kept: Callable[[], KeptFile]
) -> DeliveryReceipt:
    """Store a delivery inside the caller's transaction; see `InsarRepository.load`."""
    with refusals_are_conflicts(f"the delivery {delivery.code}"):
        connection.execute(SQL.begin_loading)
        delivery_id = _one(connection, SQL.next_delivery_id)
        loaded = _Loaded()
        for block in blocks:
            loaded.rejected += block.rejected
            if len(block):
                _load_block(connection, delivery, delivery_id, block, loaded)
        if not loaded.points:
            raise ConflictError(
                f"no row of {delivery.source} is a point.",
                where=delivery.source,
                remedy=loaded.rejected[0].reason if loaded.rejected else "the file has no rows",
            )
        _load_directory(connection, delivery_id, np.concatenate(loaded.keys), np.concatenate(loaded.numbers))
        connection.execute(SQL.finish_loading, [delivery_id])
        return _register(connection, delivery, delivery_id, loaded, kept())


def _one(connection: Connection, statement: bytes, parameters: Any = None) -> Any:
    row = connection.execute(statement, parameters).fetchone()
    assert row is not None
    return row[0]


def _load_block(connection: Connection, delivery: NewDelivery, delivery_id: int, block: PointBlock, loaded: _Loaded) -> None:
    order = np.argsort(hilbert(block.longitude_deg, block.latitude_deg), kind="stable")
    place = np.arange(len(order))
    numbers = (loaded.tiles + place // TILE_POINTS) * TILE_POINTS + place % TILE_POINTS
    if numbers[-1] > np.iinfo(np.int32).max:
        raise ConflictError("the delivery has more points than can be numbered.", remedy="split it into several areas")
    with connection.cursor() as cursor, cursor.copy(SQL.copy_tiles) as copy:
        copy.write(HEADER)
        for tile, start in enumerate(range(0, len(order), TILE_POINTS)):
            rows = order[start : start + TILE_POINTS]
            for part in encode_tile(delivery_id, loaded.tiles + tile, block, rows, delivery.header.attributes):
                copy.write(part)
        copy.write(TRAILER)
    loaded.keys.append(identifier_keys(block.pid[order]))
    loaded.numbers.append(numbers.astype(np.int32))
    loaded.add(block)


def _load_directory(
    connection: Connection, delivery_id: int, keys: npt.NDArray[np.int64], numbers: npt.NDArray[np.int32]
) -> None:
    order = np.argsort(keys)
    if (keys[order[1:]] == keys[order[:-1]]).any():
        raise ConflictError("an identifier occurs twice.", remedy="make the identifiers of the delivery unique")
    with connection.cursor() as cursor, cursor.copy(SQL.copy_directory) as copy:
        copy.write(HEADER)
        for start in range(0, len(order), DIRECTORY_KEYS):
            rows = order[start : start + DIRECTORY_KEYS]
            packed = keys[rows].astype(">i8")
            fields = (
                struct.pack(">i", delivery_id),
                packed[:1].tobytes(),
                packed.tobytes(),
                numbers[rows].astype(">i4").tobytes(),
            )
            copy.write(_row_head(fields))
        copy.write(TRAILER)


def hilbert(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Return the place of each point on a Hilbert curve over their common square: near on the curve is near on the ground.

    Reference: Hilbert 1891, doi:10.1007/BF01199431; the loop is the usual one over bits, from the highest.
    """
    side = 1 << HILBERT_BITS
    span = max(float(np.ptp(x)), float(np.ptp(y)), 1e-9)
    i = np.minimum(((x - x.min()) / span * side).astype(np.int64), side - 1)
    j = np.minimum(((y - y.min()) / span * side).astype(np.int64), side - 1)
    place = np.zeros(len(x), dtype=np.int64)
    bit = side >> 1
    while bit:
        right, upper = (i & bit) > 0, (j & bit) > 0
        place += bit * bit * ((3 * right) ^ upper)
        turned, mirrored = ~upper, ~upper & right
        i, j = np.where(mirrored, side - 1 - i, i), np.where(mirrored, side - 1 - j, j)
        i, j = np.where(turned, j, i), np.where(turned, i, j)
        bit >>= 1
    return place


def encode_tile(
    delivery_id: int, tile_no: int, block: PointBlock, rows: npt.NDArray[np.intp], names: Sequence[str]
) -> Iterator[bytes | memoryview]:
    """Yield a tile as one row of binary COPY: what stands before the displacement, and the displacement without a further copy."""
    longitude, latitude = block.longitude_deg[rows], block.latitude_deg[rows]
    corners = struct.pack(">dddd", longitude.max(), latitude.max(), longitude.min(), latitude.min())
    attributes = np.stack([block.attributes[name][rows] for name in names]) if names else np.empty((0, len(rows)), np.float32)
    # Points are gathered first, whole rows at a time, and turned into epochs after that.
    displacement = np.ascontiguousarray(block.displacement_mm.T[rows].T, dtype="<f4")
    fields = (
        struct.pack(">i", delivery_id),
        struct.pack(">i", tile_no),
        struct.pack(">i", len(rows)),
        corners,
        np.rint(longitude * POSITION_SCALE).astype("<i4").tobytes(),
        np.rint(latitude * POSITION_SCALE).astype("<i4").tobytes(),
        np.stack([longitude, latitude]).astype(">f8").tobytes(),
        block.pid[rows].tobytes(),
        attributes.astype("<f4", copy=False).tobytes(),
    )
    yield _row_head(fields, 1) + struct.pack(">i", displacement.nbytes)
    yield displacement.data.cast("B")


def _row_head(fields: Sequence[bytes], more: int = 0) -> bytes:
    """Return the beginning of a row of binary COPY, to which some more fields follow."""
    return struct.pack(">h", len(fields) + more) + b"".join(struct.pack(">i", len(part)) + part for part in fields)


def _register(
    connection: Connection, delivery: NewDelivery, delivery_id: int, loaded: _Loaded, kept: KeptFile
) -> DeliveryReceipt:
    raw = RawPayload(delivery.source, kept.sha256, kept.size, delivery.received_at, location=kept.location)
    counts = commit_batch(
        connection,
        Batch(
            source_kind=delivery.source_kind,
            source=delivery.source,
            columns=columns([], [], []),
            raws=(raw,),
            quarantine=tuple(QuarantineEntry(item, 0) for item in loaded.rejected),
            actor=delivery.actor,
            format="insar",
            profile=delivery.profile,
            sha256=kept.sha256,
            received_at=delivery.received_at,
            parameters={"delivery": delivery.code},
        ),
    )
    version = _one(connection, SQL.next_version, [delivery.datastream_id])
    seq = _one(connection, SQL.close_batch, {"points": loaded.points, "batch_id": counts.batch_id})
    header = delivery.header
    values = {
        "id": delivery_id,
        "code": delivery.code,
        "datastream_id": delivery.datastream_id,
        "version": version,
        "track": delivery.track,
        "heading_deg": header.heading_deg,
        "incidence_deg": header.incidence_deg,
        "source_positive": delivery.source_positive,
        "epochs": moments(header.epochs),
        "attributes": list(header.attributes),
        "reference": jsonb(dict(header.reference)),
        "points": loaded.points,
        "tiles": loaded.tiles,
        "bounds": loaded.bounds,
        "source": delivery.source,
        "sha256": kept.sha256,
        "profile": delivery.profile,
        "parameters": jsonb(dict(delivery.parameters)),
        "actor": delivery.actor,
        "batch_id": counts.batch_id,
        "ledger_seq": seq,
    }
    connection.execute(SQL.insert_delivery, values)
    connection.execute(SQL.supersede, values)
    return DeliveryReceipt(
        delivery.code,
        int(version),
        loaded.points,
        False,
        tuple(loaded.rejected),
        counts.batch_id,
        int(seq),
        len(loaded.rejected),
    )

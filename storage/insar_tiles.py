"""Blocks of points as rows of binary COPY: tiles of neighbours, and the directory of their identifiers.

Each block is put into the order of a Hilbert curve and cut into tiles, so that memory is bounded by a block whatever the size of the
delivery; a file in the order of its raster lines, as processors write them, gives compact tiles. This file finishes with
`encode_directory`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from domain.errors import ConflictError
from domain.insar import TILE_POINTS, Float32Array, PointBlock, identifier_keys
from domain.observation import Rejected
from storage.hilbert import hilbert

POSITION_SCALE = 1e7
"""Positions in tiles are counted in 1e-7 degree, about a centimetre, for maps."""

DIRECTORY_KEYS = 4096
"""Identifiers a row of the directory: finding one reads 48 kilobytes."""

_ROWS_IN_CACHE = 256
"""Series that are gathered and turned into epochs at once."""


@dataclass(slots=True)
class Loaded:
    """What has been put into tiles so far."""

    points: int = 0
    tiles: int = 0
    rejected: list[Rejected] = field(default_factory=list)
    keys: list[npt.NDArray[np.int64]] = field(default_factory=list)
    numbers: list[npt.NDArray[np.int32]] = field(default_factory=list)
    west: float = np.inf
    south: float = np.inf
    east: float = -np.inf
    north: float = -np.inf

    def add(self, block: PointBlock, order: npt.NDArray[np.intp]) -> None:
        """Count a block that goes into tiles in this order, and note where its points stand."""
        place = np.arange(len(order))
        numbers = (self.tiles + place // TILE_POINTS) * TILE_POINTS + place % TILE_POINTS
        if numbers[-1] > np.iinfo(np.int32).max:
            raise ConflictError("the delivery has more points than can be numbered.", remedy="split it into several areas")
        self.keys.append(identifier_keys(block.pid[order]))
        self.numbers.append(numbers.astype(np.int32))
        self.points += len(block)
        self.tiles += -(-len(block) // TILE_POINTS)
        self.west = min(self.west, float(block.longitude_deg.min()))
        self.east = max(self.east, float(block.longitude_deg.max()))
        self.south = min(self.south, float(block.latitude_deg.min()))
        self.north = max(self.north, float(block.latitude_deg.max()))

    @property
    def bounds(self) -> str | None:
        """Corners as PostgreSQL writes a box; None without points."""
        return None if not self.points else f"({self.west!r},{self.south!r}),({self.east!r},{self.north!r})"


def encode_blocks(
    delivery_id: int, names: Sequence[str], blocks: Iterator[PointBlock], loaded: Loaded
) -> Iterator[list[bytes | memoryview]]:
    """Yield the tiles of each block as rows of binary COPY, and count them in `loaded`.

    Parameters
    ----------
    names
        Attributes of the delivery, in the order in which tiles hold them.
    """
    for block in blocks:
        loaded.rejected += block.rejected
        if not len(block):
            continue
        order = np.argsort(hilbert(block.longitude_deg, block.latitude_deg), kind="stable")
        first = loaded.tiles
        loaded.add(block, order)
        yield [
            part
            for tile, start in enumerate(range(0, len(order), TILE_POINTS))
            for part in encode_tile(delivery_id, first + tile, block, order[start : start + TILE_POINTS], names)
        ]


def encode_tile(
    delivery_id: int, tile_no: int, block: PointBlock, rows: npt.NDArray[np.intp], names: Sequence[str]
) -> Iterator[bytes | memoryview]:
    """Yield a tile as one row of binary COPY: what stands before the displacement, and the displacement without a further copy."""
    longitude, latitude = block.longitude_deg[rows], block.latitude_deg[rows]
    corners = struct.pack(">dddd", longitude.max(), latitude.max(), longitude.min(), latitude.min())
    attributes = np.stack([block.attributes[name][rows] for name in names]) if names else np.empty((0, len(rows)), np.float32)
    displacement = _by_epoch(block.displacement_mm.T, rows)
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


def _by_epoch(series: Float32Array, rows: npt.NDArray[np.intp]) -> Float32Array:
    """Return some of the series epoch by epoch: gathered whole, a few at a time, and turned while they are in the processor's cache."""
    turned = np.empty((series.shape[1], len(rows)), dtype="<f4")
    for start in range(0, len(rows), _ROWS_IN_CACHE):
        turned[:, start : start + _ROWS_IN_CACHE] = series[rows[start : start + _ROWS_IN_CACHE]].T
    return turned


def _row_head(fields: Sequence[bytes], more: int = 0) -> bytes:
    """Return the beginning of a row of binary COPY, to which some more fields follow."""
    return struct.pack(">h", len(fields) + more) + b"".join(struct.pack(">i", len(part)) + part for part in fields)


def encode_directory(delivery_id: int, loaded: Loaded) -> Iterator[bytes]:
    """Yield the directory of all identifiers as rows of binary COPY.

    Raises
    ------
    ConflictError
        Two points have one key.
    """
    keys, numbers = np.concatenate(loaded.keys), np.concatenate(loaded.numbers)
    order = np.argsort(keys)
    if (keys[order[1:]] == keys[order[:-1]]).any():
        raise ConflictError("an identifier occurs twice.", remedy="make the identifiers of the delivery unique")
    for start in range(0, len(order), DIRECTORY_KEYS):
        rows = order[start : start + DIRECTORY_KEYS]
        packed = keys[rows].astype(">i8")
        yield _row_head(
            (struct.pack(">i", delivery_id), packed[:1].tobytes(), packed.tobytes(), numbers[rows].astype(">i4").tobytes())
        )

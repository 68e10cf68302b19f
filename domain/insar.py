"""InSAR deliveries: what a processor hands over for an area and a track, and the blocks in which its points travel.

A delivery re-references the whole stack, so deliveries are versions that stand side by side and are never appended to one another.
Line-of-sight displacement is stored toward the satellite positive, in mm. This file finishes with `DeliveryReceipt`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from domain.observation import KeptFile, Rejected, TimeArray

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
TILE_POINTS = 4096
"""Most points of a tile; a point's number is its tile's number times this plus its place in the tile."""

TOWARD_SATELLITE = "toward_satellite"
AWAY_FROM_SATELLITE = "away_from_satellite"
POINT_ATTRIBUTES = ("height", "rate", "sigma", "cumulative", "coherence")
"""Attributes that are told with a point wherever it is named; a delivery may have others beside them."""

_KEY_SEED, _KEY_FACTORS, _KEY_SHIFTS = 0x9E3779B97F4A7C15, (0xBF58476D1CE4E5B9, 0x94D049BB133111EB), (29, 32)


def identifier_keys(identifiers: npt.NDArray[np.bytes_]) -> npt.NDArray[np.int64]:
    """Return a 64-bit key of each identifier: two of ten million agree by chance once in about 370,000 deliveries.

    Stored directories are sorted by these keys, so the function never changes. It does not depend on the width of the array.

    Parameters
    ----------
    identifiers
        Shape (points,), `S` dtype without NUL.

    Reference: Steele, Lea & Flood 2014 (SplitMix64), doi:10.1145/2660193.2660195; words of eight bytes are mixed in one after the other.
    """
    width = -(-identifiers.dtype.itemsize // 8)
    words = np.ascontiguousarray(identifiers.astype(f"S{width * 8}")).view("<u8").reshape(len(identifiers), width)
    key = np.full(len(identifiers), _KEY_SEED, dtype=np.uint64)
    for number in range(width):
        word = words[:, number]
        mixed = key ^ word
        for factor, shift in zip(_KEY_FACTORS, _KEY_SHIFTS, strict=True):
            mixed *= np.uint64(factor)
            mixed ^= mixed >> np.uint64(shift)
        key = np.where(word != 0, mixed, key)  # an identifier ends where its first word without a byte begins
    return key.view(np.int64)


@dataclass(frozen=True, slots=True)
class PointBlock:
    """Points of one delivery in columns, in the order of the file.

    Attributes
    ----------
    pid
        Bytes (`S` dtype) of each point's identifier, UTF-8, without NUL.
    longitude_deg, latitude_deg
        Shape (points,).
    attributes
        By name, each of shape (points,); NaN = unknown.
    displacement_mm
        Shape (epochs, points), best stored point by point: toward the satellite positive; NaN = no value at this epoch.
    line
        Line of the file on which each point stands, from 1.
    rejected
        Rows of this part of the file that are no points.
    """

    pid: npt.NDArray[np.bytes_]
    longitude_deg: Float64Array
    latitude_deg: Float64Array
    attributes: Mapping[str, Float32Array]
    displacement_mm: Float32Array
    line: npt.NDArray[np.int64]
    rejected: tuple[Rejected, ...] = ()

    def __len__(self) -> int:
        return len(self.longitude_deg)

    def take(self, rows: npt.NDArray[Any]) -> PointBlock:
        """Return some of the points, in the order given."""
        return PointBlock(
            self.pid[rows],
            self.longitude_deg[rows],
            self.latitude_deg[rows],
            {name: values[rows] for name, values in self.attributes.items()},
            self.displacement_mm.T[rows].T,
            self.line[rows],
            self.rejected,
        )


@dataclass(frozen=True, slots=True)
class DeliveryHeader:
    """What holds for every point of a delivery.

    `heading_deg` is the direction of flight, clockwise from north; `incidence_deg` is from the vertical, None where only the points
    state it. `reference` says what displacements are relative to. `attributes` names the columns beside the displacement.
    """

    epochs: TimeArray
    attributes: tuple[str, ...]
    reference: Mapping[str, Any] = field(default_factory=dict)
    heading_deg: float | None = None
    incidence_deg: float | None = None


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """A delivery on its way into the store, before its bytes are all read."""

    code: str
    datastream_id: int
    track: str
    header: DeliveryHeader
    source: str
    source_positive: str
    profile: str
    parameters: Mapping[str, Any]
    actor: str
    received_at: datetime
    source_kind: str = "file"


@dataclass(frozen=True, slots=True)
class DeliveryReceipt:
    """What became of a file: `code` and `version` name the delivery, `repeated` says that it was there before."""

    code: str
    version: int
    points: int
    repeated: bool
    rejects: tuple[Rejected, ...] = ()
    batch_id: int | None = None
    ledger_seq: int | None = None
    rejected: int = 0


class DeliveryStore(Protocol):
    """Keeps deliveries: a delivery becomes visible whole, with its ledger sequence, or not at all."""

    def find_same(self, datastream_id: int, sha256: str, parameters: Mapping[str, Any]) -> DeliveryReceipt | None:
        """Return the delivery that the same bytes read in the same way made before, or None."""

    def may_be_known(self, datastream_id: int, size: int, parameters: Mapping[str, Any]) -> bool:
        """Did a file of as many bytes, read in the same way, make a delivery before? Only then is it worth a digest beforehand."""

    def code_is_taken(self, code: str) -> bool:
        """Is there a delivery of this name, whatever its case?"""

    def load(self, delivery: NewDelivery, blocks: Iterator[PointBlock], kept: Callable[[], KeptFile]) -> DeliveryReceipt:
        """Store a delivery in one transaction; `kept` waits until its file is kept, and is called after the last block."""


class LargeFiles(Protocol):
    """Keeps files that are too large for memory."""

    def keep_new(self, path: Path) -> KeptFile:
        """Store the file if it is new, in one reading that also finds its digest."""


Progress = Callable[[int, int], None]
"""Called with bytes done and bytes in all."""

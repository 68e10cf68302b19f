"""Ports: what one room needs of another, said in the words of the domain.

`ingest` resolves streams and commits batches, `alerts` reads observations, findings and registers, both through these protocols;
`storage` implements them and `service` wires them. This file finishes with `RawFiles`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from domain.datum import DatumOffset
from domain.licence import Licence, Limit
from domain.model import Datastream, Device, ObservedProperty, Sensor, Station, StationEvent
from domain.observation import Batch, CommitCounts, FloatArray, StoredFile, TimeArray


@dataclass(frozen=True, slots=True)
class SeriesData:
    """Stored observations of one datastream as arrays, in time order, in the datastream's unit; NaN = missing/unknown."""

    time: TimeArray
    result: FloatArray
    sigma: FloatArray
    quality: Any
    end: TimeArray


@dataclass(frozen=True, slots=True)
class Extents:
    """What many datastreams have from a time of each on, a row each, in the order that was asked for.

    Attributes
    ----------
    low, high : float64
        Least and greatest result in the datastream's unit; NaN where there is none.
    last : float64
        Result of the newest observation.
    first_us, newest_us : int64
        Microseconds since 1970 of the first and the newest observation.
    count, unusable : int64
        Observations, and those of them without a result or of a quality that rules do not look at.
    """

    low: FloatArray
    high: FloatArray
    last: FloatArray
    first_us: Any
    newest_us: Any
    count: Any
    unusable: Any


class Registry(Protocol):
    """The registers of stations, sensors, properties and datastreams."""

    def observed_property(self, code: str) -> ObservedProperty | None:
        """Return the property, or None."""

    def station(self, code: str) -> Station | None:
        """Return the station whatever the case of `code`, or None."""

    def datastream(self, code: str) -> Datastream | None:
        """Return the datastream, or None."""

    def add_station(self, station: Station, *, actor: str) -> Station:
        """Create a station and return it with its id."""

    def add_sensor(self, sensor: Sensor, *, actor: str) -> Sensor:
        """Create a sensor and return it with its id."""

    def add_datastream(self, datastream: Datastream, *, actor: str) -> Datastream:
        """Create a datastream and return it with its id; ConflictError when the schema refuses it."""

    def datum_codes(self) -> Sequence[str]:
        """Return the codes of every vertical datum that heights can be in, sorted."""

    def datum_offsets(self) -> Sequence[DatumOffset]:
        """Return every configured offset between vertical datums."""

    def device(self, protocol: str, identity: str) -> Device | None:
        """Return the device whose frames carry an identity, admitted or rejected, or None when nobody knows it."""

    def prepare_stations(self, codes: Sequence[str]) -> None:
        """Make ready to look up these stations and what is observed there, soon and all together."""

    def node_region(self) -> str | None:
        """Return the GB/T 2260 code of the node's own region, used where a station states none."""


class ObservationStore(Protocol):
    """Commits batches: everything in a batch becomes visible together with its ledger sequence, or nothing does."""

    def commit(self, batch: Batch) -> CommitCounts:
        """Store a batch in one transaction; recognise duplicates, keep corrections as revisions, quarantine rejects."""

    def register_mark(self) -> int:
        """Return the newest change of a station, sensor, datastream, event or setting: rows may be read otherwise after it."""

    def remember_file(self, key_sha256: str, file: StoredFile) -> None:
        """Remember a file, unless a register has changed since its mark or a part of it is not known as stored whole."""

    def recall_file(self, key_sha256: str) -> StoredFile | None:
        """Return a remembered file while no register has changed and each of its rows still stands as it was stored."""


class ObservationReader(Protocol):
    """Reads current observations for rules and analytics."""

    def series(
        self,
        datastream_id: int,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        as_of: int | None = None,
    ) -> SeriesData:
        """Return observations with start <= phenomenon_time < end, as known at ledger sequence `as_of` (None = now)."""

    def last_time(self, datastream_id: int) -> datetime | None:
        """Return the phenomenon time of the newest observation, or None."""


class Registers(Protocol):
    """What rules read beside observations."""

    def licences(self, station: str) -> Sequence[Licence]:
        """Return the licences of a station."""

    def limits(self, datastream: Datastream, station: Station) -> Sequence[Limit]:
        """Return the limits that apply to a datastream today."""

    def events(self, station: str) -> Sequence[StationEvent]:
        """Return the event log of a station, oldest first."""


class RawFiles(Protocol):
    """Keeps raw files once, compressed, under their sha256."""

    def keep(self, body: bytes, sha256: str) -> str:
        """Store the bytes if they are new and return their location."""

    def keep_file(self, path: Path, sha256: str) -> str:
        """Store the bytes of a file if they are new, without holding them, and return their location."""

    def read(self, location: str) -> bytes:
        """Return the bytes stored at a location."""


JsonObject = Mapping[str, Any]

"""Ports in memory for the tests of ingest: the registers and a store with the documented meaning of a commit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import yaml

from domain.datum import DatumOffset
from domain.errors import ConflictError, UnavailableError
from domain.model import Datastream, Device, ObservedProperty, Sensor, Station, ValueKind
from domain.observation import Batch, CommitCounts, StoredFile

CONFIG = Path(__file__).resolve().parents[2] / "service" / "config"


def shipped_properties() -> dict[str, ObservedProperty]:
    rows = yaml.safe_load((CONFIG / "observed_properties.yaml").read_text(encoding="utf-8"))["observed_properties"]
    return {row["code"]: ObservedProperty(**{**row, "value_kind": ValueKind(row.get("value_kind", "instant"))}) for row in rows}


def shipped_datums() -> set[str]:
    return {row["code"] for row in yaml.safe_load((CONFIG / "datums.yaml").read_text(encoding="utf-8"))["datums"]}


class MemoryRegistry:
    """Registers as the schema keeps them."""

    def __init__(self, offsets: Sequence[DatumOffset] = (), region: str | None = "330400") -> None:
        self.properties = shipped_properties()
        self.datums = shipped_datums()
        self.stations: dict[str, Station] = {}
        self.sensors: set[tuple[str, str]] = set()
        self.datastreams: dict[str, Datastream] = {}
        self.devices: dict[tuple[str, str], Device] = {}
        self.offsets, self.region = offsets, region

    def device(self, protocol: str, identity: str) -> Device | None:
        return self.devices.get((protocol, identity))

    def observed_property(self, code: str) -> ObservedProperty | None:
        return self.properties.get(code)

    def station(self, code: str) -> Station | None:
        return self.stations.get(code.casefold())

    def datastream(self, code: str) -> Datastream | None:
        return self.datastreams.get(code.casefold())

    def add_station(self, station: Station, *, actor: str) -> Station:
        if station.code.casefold() in self.stations:
            raise ConflictError("the station exists.")
        made = replace(station, station_id=len(self.stations) + 1)
        self.stations[station.code.casefold()] = made
        return made

    def add_sensor(self, sensor: Sensor, *, actor: str) -> Sensor:
        if (sensor.station, sensor.code) in self.sensors:
            raise ConflictError("the sensor exists.")
        self.sensors.add((sensor.station, sensor.code))
        return sensor

    def add_datastream(self, datastream: Datastream, *, actor: str) -> Datastream:
        if self.station(datastream.station) is None or datastream.code.casefold() in self.datastreams:
            raise ConflictError("no station, or the datastream exists.")
        needs_datum = self.properties[datastream.property_code].needs_datum
        if (needs_datum and not datastream.datum_code) or (datastream.datum_code and datastream.datum_code not in self.datums):
            raise ConflictError("a height has a datum.")
        made = replace(datastream, datastream_id=len(self.datastreams) + 1)
        self.datastreams[datastream.code.casefold()] = made
        return made

    def confirm_all(self) -> None:
        """A person has looked at everything that imports made."""
        self.stations = {code: replace(item, confirmed=True) for code, item in self.stations.items()}
        self.datastreams = {code: replace(item, confirmed=True) for code, item in self.datastreams.items()}

    def datum_codes(self) -> Sequence[str]:
        return sorted(self.datums)

    def datum_offsets(self) -> Sequence[DatumOffset]:
        return self.offsets

    def prepare_stations(self, codes: Sequence[str]) -> None:
        """Everything is in memory already."""

    def node_region(self) -> str | None:
        return self.region


class MemoryStore:
    """Observations by (datastream, time); superseded ones in `revisions`."""

    def __init__(self) -> None:
        self.rows: dict[tuple[int, np.datetime64], tuple[object, ...]] = {}
        self.revisions: list[tuple[object, ...]] = []
        self.batches: list[Batch] = []
        self.quarantine: list[object] = []
        self.files: dict[str, tuple[StoredFile, dict[tuple[int, np.datetime64], tuple[object, ...]]]] = {}
        self.mark = 0
        self.is_out_of_reach = False
        self.fails_on: object = None

    def commit(self, batch: Batch) -> CommitCounts:
        if self.is_out_of_reach:
            raise UnavailableError("the database is out of reach.")
        if self.fails_on is not None and self.fails_on in batch.columns.result:
            raise ConflictError("the store does not like this number.")
        accepted = duplicate = corrected = 0
        c = batch.columns
        assert set(c.stream.tolist()) <= set(range(1, 10_000))
        for i in range(len(c)):
            key = (int(c.stream[i]), c.time[i])
            reasons = None if c.reasons is None else c.reasons[i]
            row = (c.result[i].hex(), c.sigma[i].hex(), str(c.end[i]), int(c.quality[i]), reasons)
            before = self.rows.get(key)
            if before is None:
                accepted += 1
            elif before == row:
                duplicate += 1
                continue
            else:
                corrected += 1
                self.revisions.append((*key, *before))
            self.rows[key] = row
        self.batches.append(batch)
        self.quarantine.extend(batch.quarantine)
        changed = len(self.batches) if accepted + corrected else None
        return CommitCounts(accepted, duplicate, corrected, len(batch.quarantine), len(self.batches), changed)

    def register_mark(self) -> int:
        return self.mark

    def remember_file(self, key_sha256: str, file: StoredFile) -> None:
        known = {batch.content_sha256 for batch in self.batches}
        if file.register_mark == self.mark and known >= set(file.contents):
            self.files[key_sha256] = (file, dict(self.rows))

    def recall_file(self, key_sha256: str) -> StoredFile | None:
        file, rows = self.files.get(key_sha256, (None, {}))
        stands = file is not None and file.register_mark == self.mark and rows.items() <= self.rows.items()
        return file if stands else None

    def values(self, datastream: Datastream | None) -> dict[str, float]:
        assert datastream is not None
        return {
            str(time.astype("datetime64[s]")): float.fromhex(str(row[0]))
            for (stream, time), row in sorted(self.rows.items())
            if stream == datastream.datastream_id
        }

    def row(self, datastream: Datastream | None, time: str) -> tuple[object, ...]:
        assert datastream is not None
        return self.rows[datastream.datastream_id or 0, np.datetime64(time, "us")]


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)

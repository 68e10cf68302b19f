"""Observations with every revision and registers, in memory: what the engine reads beside its own store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np

from domain.licence import Licence, Limit
from domain.model import Datastream, Station, StationEvent
from domain.observation import NO_TIME
from domain.ports import Extents, SeriesData
from domain.quality import USABLE


class Observations:
    """Observations with every revision, by sequence."""

    def __init__(self) -> None:
        self.seq = 1
        self.rows: dict[tuple[int, datetime], list[tuple[int, float, float, int]]] = {}
        self.received: dict[int, datetime] = {}
        self.ends: dict[int, timedelta] = {}

    def put(self, datastream_id: int, rows: Sequence[tuple[datetime, float, float, int]]) -> tuple[int, datetime, datetime]:
        self.seq += 1
        for time, result, sigma, quality in rows:
            self.rows.setdefault((datastream_id, time), []).append((self.seq, result, sigma, quality))
        return datastream_id, min(row[0] for row in rows), max(row[0] for row in rows)

    def series(
        self, datastream_id: int, start: datetime | None = None, end: datetime | None = None, *, as_of: int | None = None
    ) -> SeriesData:
        found = []
        for (identity, time), versions in self.rows.items():
            known = [version for version in versions if as_of is None or version[0] <= as_of]
            if identity == datastream_id and known and (start is None or time >= start) and (end is None or time < end):
                found.append((time, *known[-1][1:]))
        found.sort()
        time = np.array([row[0].replace(tzinfo=None) for row in found], dtype="datetime64[us]")
        return SeriesData(
            time=time,
            result=np.array([row[1] for row in found], dtype=np.float64),
            sigma=np.array([row[2] for row in found], dtype=np.float64),
            quality=np.array([row[3] for row in found], dtype=np.int16),
            end=time + np.timedelta64(self.ends[datastream_id]) if datastream_id in self.ends else np.full(len(found), NO_TIME),
        )

    def series_since(self, starts: Mapping[int, datetime]) -> Mapping[int, SeriesData]:
        return {identity: self.series(identity, start) for identity, start in starts.items()}

    def extents_since(self, starts: Mapping[int, datetime]) -> Extents:
        found = []
        for identity, start in starts.items():
            series = self.series(identity, start)
            well = np.isfinite(series.result)
            values, times = series.result[well], series.time.astype("datetime64[us]").astype(np.int64)
            unusable = int((~(well & np.isin(series.quality, list(USABLE)))).sum())
            low, high = (values.min(), values.max()) if len(values) else (np.nan, np.nan)
            last, first_us, newest_us = (series.result[-1], times[0], times[-1]) if len(times) else (np.nan, 0, 0)
            found.append((low, high, last, first_us, newest_us, len(times), unusable))
        return Extents(*(np.array(column) for column in zip(*found, strict=True)))

    def changed_after(self, seqs: Mapping[int, int]) -> dict[int, datetime]:
        changed: dict[int, datetime] = {}
        for (identity, time), rows in self.rows.items():
            if identity in seqs and rows[-1][0] > seqs[identity]:
                changed[identity] = min(time, changed.get(identity, time))
        return changed

    def last_time(self, datastream_id: int) -> datetime | None:
        return max((time for identity, time in self.rows if identity == datastream_id), default=None)


@dataclass(frozen=True)
class Status:
    last_time: datetime | None
    last_received_at: datetime | None = None


class Registers:
    def __init__(self, observations: Observations) -> None:
        self._observations = observations
        self.stations: dict[str, Station] = {}
        self.datastreams: dict[str, Datastream] = {}
        self.all_limits: list[Limit] = []
        self.all_events: list[StationEvent] = []
        self.all_licences: list[Licence] = []

    def add(self, station: Station, *datastreams: Datastream) -> None:
        self.stations[station.code] = replace(station, station_id=len(self.stations) + 1)
        for datastream in datastreams:
            self.datastreams[datastream.code] = replace(datastream, datastream_id=len(self.datastreams) + 1)

    def prepare(self, datastream_ids: Sequence[int]) -> None:
        """Nothing is read ahead here."""

    def station(self, code: str) -> Station | None:
        return self.stations.get(code)

    def datastream(self, code: str) -> Datastream | None:
        return self.datastreams.get(code)

    def datastream_by_id(self, datastream_id: int) -> Datastream | None:
        return next((item for item in self.datastreams.values() if item.datastream_id == datastream_id), None)

    def list_datastreams(self, *, station: str | None = None, after: str | None = None, limit: int = 100) -> Sequence[Datastream]:
        codes = [code for code in sorted(self.datastreams) if after is None or code > after]
        return [self.datastreams[code] for code in codes if station in (None, self.datastreams[code].station)][:limit]

    def datastream_statuses(self, datastream_ids: Sequence[int]) -> Mapping[int, Status]:
        return {
            identity: Status(self._observations.last_time(identity), self._observations.received.get(identity))
            for identity in datastream_ids
        }

    def heard(self, datastream_ids: Sequence[int]) -> tuple[int, Mapping[int, Status]]:
        return self._observations.seq, self.datastream_statuses(datastream_ids)

    def limits(self, datastream: Datastream, station: Station) -> Sequence[Limit]:
        def applies(limit: Limit) -> bool:
            here = limit.aquifer in (None, datastream.aquifer) and limit.zone_code in (None, station.zone_code)
            return here and limit.property_code == datastream.property_code

        return [limit for limit in self.all_limits if applies(limit)]

    def dated_limits(self, datastream: Datastream, station: Station) -> Sequence[Limit]:
        return self.limits(datastream, station)

    def look(self) -> None:
        """Nothing is remembered."""

    def events(self, station: str) -> Sequence[StationEvent]:
        return [event for event in self.all_events if event.station == station]

    def licences(self, station: str) -> Sequence[Licence]:
        return [licence for licence in self.all_licences if licence.station == station]

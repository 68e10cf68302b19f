"""What the engine reads beside alerts: registers, arrivals and the newest runs. This file finishes with `RunReader`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from alerts.rules.context import Analysed, DatedFinding
from domain.licence import Licence, Limit
from domain.model import Datastream, Station, StationEvent
from domain.ports import Extents, ObservationReader, SeriesData


class Arrived(Protocol):
    """When a datastream was last heard of."""

    @property
    def last_time(self) -> datetime | None:
        """Phenomenon time of its newest observation."""

    @property
    def last_received_at(self) -> datetime | None:
        """When an observation of it was last received."""


class AlertObservations(ObservationReader, Protocol):
    """Observations, one datastream at a time or many together."""

    def series_since(self, starts: Mapping[int, datetime]) -> Mapping[int, SeriesData]:
        """Return what each datastream has from its own time on, empty where it has nothing."""

    def extents_since(self, starts: Mapping[int, datetime]) -> Extents:
        """Return what each datastream has from its own time on in a few figures, in the order of `starts`."""

    def changed_after(self, seqs: Mapping[int, int]) -> Mapping[int, datetime]:
        """Return from when on batches after the ledger sequence given for each changed the datastreams that any did."""


class AlertRegisters(Protocol):
    """Stations, datastreams, limits and events, as the engine needs them."""

    def look(self) -> None:
        """Forget what is remembered of the registers where any has changed: work that a change left is done by what it says."""

    def prepare(self, datastream_ids: Sequence[int]) -> None:
        """Read many datastreams with their stations and events together, for lookups that follow."""

    def station(self, code: str) -> Station | None:
        """Return the station, or None."""

    def datastream(self, code: str) -> Datastream | None:
        """Return the datastream, or None."""

    def datastream_by_id(self, datastream_id: int) -> Datastream | None:
        """Return the datastream, or None."""

    def list_datastreams(self, *, station: str | None = None, after: str | None = None, limit: int = 100) -> Sequence[Datastream]:
        """Return datastreams by code, those of a station where one is named, those after a code."""

    def datastream_statuses(self, datastream_ids: Sequence[int]) -> Mapping[int, Arrived]:
        """Return when each datastream was last heard of; one without observations may be left out."""

    def heard(self, datastream_ids: Sequence[int]) -> tuple[int, Mapping[int, Arrived]]:
        """Return the same with the ledger sequence that it is of, exactly: nothing was committed between the one and the other."""

    def limits(self, datastream: Datastream, station: Station) -> Sequence[Limit]:
        """Return the limits that apply to a datastream today."""

    def dated_limits(self, datastream: Datastream, station: Station) -> Sequence[Limit]:
        """Return every version of the limits that apply to a datastream, past and future ones too, most general first."""

    def events(self, station: str) -> Sequence[StationEvent]:
        """Return the event log of a station."""

    def licences(self, station: str) -> Sequence[Licence]:
        """Return the licences of a station, by the day from which they are valid."""


class RunResult(Protocol):
    """A stored run."""

    @property
    def result(self) -> Mapping[str, Any]:
        """What the method said."""


class RunReader(Protocol):
    """Runs and findings of analytics."""

    def latest_runs(self, datastream_id: int) -> Mapping[str, RunResult]:
        """Return the newest run of each method on a datastream."""

    def runs_as_of(self, datastream_id: int, as_of: int | None) -> Sequence[Analysed]:
        """Return the newest run of each method on a datastream, as known at a ledger sequence (None = now)."""

    def findings_as_of(self, datastream_id: int, as_of: int | None) -> Sequence[DatedFinding]:
        """Return the findings on a datastream that were current at a ledger sequence (None = now), by their beginning."""

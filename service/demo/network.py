"""Builds the demonstration network of Jiaxing: ten years of simulated history with planted truths, drawn from a seed.

The stations are those of the city's configuration folder; every number about the ground is drawn. docs/demo.md has the equations.
This file finishes with `build`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from domain.errors import ConfigurationError
from domain.model import Station, StationEvent, StationKind
from service.configuration.city import City
from service.configuration.folder import read_folder
from service.demo.instruments import build_station
from service.demo.noise import Array
from service.demo.planting import plant
from service.demo.signals import Series, Signal, moment
from service.demo.sites import Site, draw_site
from service.demo.truths import Truths

HISTORY_D = 3652
AHEAD_D = 1100
"""The simulation runs three years past the record, so that a gateway started later continues the same curves."""
FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "examples" / "jiaxing"
TELEMETERED = frozenset(
    {
        StationKind.OBSERVATION_WELL,
        StationKind.EXTENSOMETER_GROUP,
        StationKind.GEOTHERMAL_WELL,
        StationKind.BAROMETER,
        StationKind.GNSS_MARK,
    }
)


@dataclass(slots=True)
class Demonstration:
    """The simulated network.

    Attributes
    ----------
    seed, now, first
        What it was drawn from, the end of its record, and its first day (00:00 UTC).
    city
        The configuration that it belongs to.
    series
        Recorded history by datastream code.
    signals
        What each instrument would report at any time, for live observations.
    events
        The public event log: logged steps only.
    truths
        What was planted. For tests; nothing else may read it.
    """

    seed: int
    now: datetime
    first: datetime
    city: City
    series: dict[str, Series] = field(default_factory=dict)
    signals: dict[str, Signal] = field(default_factory=dict)
    events: list[StationEvent] = field(default_factory=list)
    truths: Truths = field(default_factory=Truths)

    def observations(self) -> int:
        """Return the number of observations in the history."""
        return sum(len(item.days) for item in self.series.values())

    def live_stations(self) -> list[Station]:
        """Return the stations that send by telemetry."""
        return [station for station in self.city.stations if station.kind in TELEMETERED]

    def live_values(self, station: str, times: Sequence[datetime], rng: np.random.Generator) -> Mapping[str, list[float]]:
        """Return what a station reports at `times`: values by key (`property` or `property:channel`), silent meters left out."""
        days = np.array([(time - self.first).total_seconds() / 86_400.0 for time in times])
        sending = [s for s in self.signals.values() if s.station == station and s.silent_from is None]
        return {signal.key: [float(value) for value in signal.values(days, rng)] for signal in sending}


def demo_folder() -> Path:
    """Return the configuration folder of the demonstration.

    Raises
    ------
    ConfigurationError
        When the installation does not hold it.
    """
    if not FOLDER.is_dir():
        raise ConfigurationError(
            "the demonstration's configuration folder is missing.",
            where=str(FOLDER),
            remedy="install from the source tree with deploy/examples",
        )
    return FOLDER


def build(seed: int, now: datetime, city: City | None = None) -> Demonstration:
    """Draw the network.

    Parameters
    ----------
    seed
        Seed of numpy's default generator; the same seed and `now` give the same network to the last digit.
    now
        End of the record, aware.
    city
        Configuration to simulate; the shipped demonstration when None.

    Returns
    -------
    Demonstration
    """
    rng = np.random.default_rng(seed)
    end = now.astimezone(UTC).replace(microsecond=0)
    first = end.replace(hour=0, minute=0, second=0) - timedelta(days=HISTORY_D)
    network = Demonstration(seed, end, first, city if city is not None else read_folder(demo_folder()))
    grid = np.arange(HISTORY_D + AHEAD_D, dtype=np.float64)
    last_day = (end - first).total_seconds() / 86_400.0
    sites: dict[str, Site] = {}
    for station in network.city.stations:
        site = _site_of(station, sites, grid, first, rng)
        streams = [item for item in network.city.datastreams if item.station == station.code]
        build_station(network, station, streams, site, last_day, rng)
    plant(network, last_day, rng)
    network.events.sort(key=lambda event: event.start)
    return network


def _site_of(station: Station, sites: dict[str, Site], grid: Array, first: datetime, rng: np.random.Generator) -> Site:
    zone = station.zone_code or ""
    place = zone if zone and zone != "coast" else f"{station.longitude_deg}/{station.latitude_deg}"
    if place not in sites:
        sites[place] = draw_site(zone, grid, HISTORY_D, float(first.timetuple().tm_yday), rng)
    return sites[place]


__all__ = ["AHEAD_D", "HISTORY_D", "Demonstration", "build", "demo_folder", "moment"]

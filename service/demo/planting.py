"""Plants the truths that the acceptance test looks for: steps, spikes, gaps and a silent meter, all drawn.

This file finishes with `plant`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from domain.model import EventEffect, EventKind, StationEvent, StationKind
from service.demo.signals import Series, moment
from service.demo.truths import GapTruth, SilentTruth, SpikeTruth, StepTruth

if TYPE_CHECKING:
    from service.demo.network import Demonstration

LAST_STEP_BEFORE_END_D = 540.0
FIRST_STEP_AFTER_START_D = 720.0
APART_D = 250.0
DECIMALS = {"height": 5}
"""Digits that the files print, where it is not three."""
UNITS = {"displacement_up": "mm", "displacement_east": "mm", "displacement_north": "mm", "depth_to_water": "m", "height": "m"}


class _Planter:
    """Draws times that keep apart from what is already planted in the same station."""

    def __init__(self, network: Demonstration, last_day: float, rng: np.random.Generator) -> None:
        self.network, self.last_day, self.rng = network, last_day, rng
        self._taken: dict[str, list[float]] = {}

    def stations(self, kind: StationKind, count: int) -> list[str]:
        """Return `count` stations of a kind in random order."""
        codes = [station.code for station in self.network.city.stations if station.kind is kind]
        return [codes[i] for i in self.rng.permutation(len(codes))[:count]]

    def day(self, station: str) -> float:
        """Draw a day for an event of a station, far from its other events and from the ends of the record."""
        taken = self._taken.setdefault(station, [])
        for _ in range(1000):
            day = float(np.floor(self.rng.uniform(FIRST_STEP_AFTER_START_D, self.last_day - LAST_STEP_BEFORE_END_D)))
            if all(abs(day - other) >= APART_D for other in taken):
                taken.append(day)
                return day
        raise RuntimeError(f"no room for another event at {station}")

    def sign(self) -> float:
        """Return 1 or -1."""
        return float(self.rng.choice([-1.0, 1.0]))

    def step(self, code: str, day: float, size: float, *, logged: bool) -> None:
        """Shift a datastream from `day` on."""
        series = self.network.series[code]
        series.result = np.round(
            series.result + np.where(series.days >= day, size, 0.0), DECIMALS.get(code.split(":", maxsplit=2)[1], 3)
        )
        if code in self.network.signals:
            self.network.signals[code].steps.append((day, size))
        unit = UNITS[code.split(":")[1]]
        self.network.truths.steps.append(StepTruth(code, moment(self.network.first, day), size, unit, logged))

    def log(self, station: str, kind: EventKind, day: float, note: str) -> None:
        """Write an offset of unstated size into the public event log."""
        start = moment(self.network.first, day)
        self.network.events.append(
            StationEvent(station, kind, start, effect=EventEffect.OFFSET, note=note, author="demonstration")
        )

    def spikes(self, code: str, count: int, low: float, high: float) -> None:
        """Make single daily values wrong by `low`..`high`, at days apart from all else."""
        series = self.network.series[code]
        for _ in range(count):
            i = int(np.searchsorted(series.days, self.day(code.split(":", maxsplit=1)[0])))
            size = self.sign() * float(self.rng.uniform(low, high))
            series.result[i] = np.round(series.result[i] + size, 3)
            self.network.truths.spikes.append(SpikeTruth(code, moment(self.network.first, float(series.days[i])), size))

    def gap(self, codes: list[str], length_d: float) -> None:
        """Remove all samples of a station's datastreams for a while."""
        start = self.day(codes[0].split(":")[0])
        for code in codes:
            series = self.network.series[code]
            series.drop((series.days < start) | (series.days >= start + length_d))
            first = self.network.first
            self.network.truths.gaps.append(GapTruth(code, moment(first, start), moment(first, start + length_d)))


def plant(network: Demonstration, last_day: float, rng: np.random.Generator) -> None:
    """Plant everything; the logged steps also go into the network's event log."""
    planter = _Planter(network, last_day, rng)
    _plant_gnss(planter)
    _plant_wells(planter)
    _plant_benchmark(planter)
    _silence_a_meter(planter)


def _components(station: str) -> list[str]:
    return [f"{station}:displacement_{name}" for name in ("east", "north", "up")]


def _shift_antenna(planter: _Planter, station: str, day: float, up_mm: tuple[float, float], *, logged: bool) -> None:
    east, north, up = _components(station)
    planter.step(up, day, planter.sign() * float(planter.rng.uniform(*up_mm)), logged=logged)
    for code in (east, north):
        planter.step(code, day, planter.sign() * float(planter.rng.uniform(10.0, 16.0)), logged=logged)


def _plant_gnss(planter: _Planter) -> None:
    stations = planter.stations(StationKind.GNSS_MARK, 7)
    for station in stations[:2]:
        _shift_antenna(planter, station, planter.day(station), (28.0, 45.0), logged=False)
    logged = stations[2]
    day = planter.day(logged)
    _shift_antenna(planter, logged, day, (10.0, 20.0), logged=True)
    planter.log(logged, EventKind.ANTENNA_CHANGE, day, "更换天线 antenna changed")
    for station in stations[3:5]:
        planter.gap(_components(station), float(planter.rng.integers(40, 80)))
    for station in stations[4:7]:
        planter.spikes(_components(station)[2], 3, 80.0, 130.0)


def _plant_wells(planter: _Planter) -> None:
    stations = [code for code in planter.stations(StationKind.OBSERVATION_WELL, 11) if not _is_tidal(planter, code)]
    for station in stations[:2]:
        size = planter.sign() * float(planter.rng.uniform(2.0, 3.5))
        planter.step(f"{station}:depth_to_water", planter.day(station), size, logged=False)
    logged = stations[2]
    day = planter.day(logged)
    planter.step(f"{logged}:depth_to_water", day, planter.sign() * float(planter.rng.uniform(0.6, 1.2)), logged=True)
    planter.log(logged, EventKind.SENSOR_SWAP, day, "更换水位计，重新校深 probe changed, cable length re-measured")
    for station in stations[3:6]:
        planter.gap([f"{station}:depth_to_water", f"{station}:water_temperature"], float(planter.rng.integers(25, 60)))
    for station in stations[6:9]:
        planter.spikes(f"{station}:depth_to_water", 3, 3.0, 6.0)


def _is_tidal(planter: _Planter, station: str) -> bool:
    return any(item.code == station and item.zone_code == "coast" for item in planter.network.city.stations)


def _plant_benchmark(planter: _Planter) -> None:
    station = planter.stations(StationKind.BENCHMARK, 1)[0]
    code = f"{station}:height"
    epochs: Series = planter.network.series[code]
    day = float(epochs.days[len(epochs.days) // 2] - 40.0)
    planter.step(code, day, planter.sign() * float(planter.rng.uniform(0.03, 0.08)), logged=True)
    planter.log(station, EventKind.RESET, day, "标石被毁后重埋 mark destroyed and re-set nearby")


def _silence_a_meter(planter: _Planter) -> None:
    station = planter.stations(StationKind.GEOTHERMAL_WELL, 1)[0]
    since = float(np.floor(planter.last_day - planter.rng.uniform(6.0, 12.0)))
    for name in ("abstraction_rate", "abstraction_total"):
        code = f"{station}:{name}"
        series = planter.network.series[code]
        series.drop(series.days < since)
        planter.network.signals[code].silent_from = since
        planter.network.truths.silent.append(SilentTruth(code, moment(planter.network.first, since)))

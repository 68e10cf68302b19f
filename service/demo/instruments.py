"""How each kind of station observes its site: schedules, instrument noise and the history that results.

This file finishes with `build_station`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from domain.model import Datastream, Station, StationKind
from service.demo.geothermal import well_curves
from service.demo.ground import YEAR_D, tide_m
from service.demo.noise import Array, autoregressive, flicker
from service.demo.signals import Curve, Series, Signal, on_grid, schedule, stick_slip
from service.demo.sites import Site, slope_per_a
from service.demo.truths import VelocityTruth

if TYPE_CHECKING:
    from service.demo.network import Demonstration

DENSE_D = {StationKind.OBSERVATION_WELL: 365.0, StationKind.EXTENSOMETER_GROUP: 90.0, StationKind.BAROMETER: 120.0}
HOURLY_WELL_DENSE_D = 120.0
GEOTHERMAL_HISTORY_D, GEOTHERMAL_DENSE_D = 1826.0, 60.0
UP_WHITE_MM, UP_FLICKER = 3.0, 12.0
HORIZONTAL_WHITE_MM, HORIZONTAL_FLICKER = 1.0, 3.0
LEVEL_NOISE_M = 0.004
"""Submersible pressure probes: 4 mm."""
STICK_SLIP_MM = 0.03
ACCIDENTAL_MM_PER_ROOT_KM = 1.0
"""Class II levelling, accidental error (GB/T 12897)."""

Builder = Callable[["Demonstration", Station, Sequence[Datastream], Site, float, np.random.Generator], None]


def build_station(
    network: Demonstration, station: Station, streams: Sequence[Datastream], site: Site, last_day: float, rng: np.random.Generator
) -> None:
    """Add a station's history, signals and true rates to the network; a kind without instruments (a quarry) adds nothing."""
    builder = _BUILDERS.get(station.kind)
    if builder is not None:
        builder(network, station, streams, site, last_day, rng)


def _levelling(
    network: Demonstration, station: Station, streams: Sequence[Datastream], site: Site, last_day: float, rng: np.random.Generator
) -> None:
    bedrock = station.kind is StationKind.BEDROCK_MARK
    share = 0.0 if bedrock else float(rng.uniform(0.9, 1.05))
    height_m = float(rng.uniform(2.2, 4.6))
    distance_km = float(station.attributes.get("distance_to_bedrock_km", 1.0))
    for stream in streams:
        days = _epochs(network, stream.interval_s or YEAR_D * 86_400, last_day, rng)
        sigma_m = (0.3 if bedrock else max(0.5, ACCIDENTAL_MM_PER_ROOT_KM * distance_km**0.5)) / 1000.0
        motion_m = -share * np.interp(days, np.arange(len(site.surface_mm)), site.surface_mm) / 1000.0
        result = np.round(height_m + motion_m + rng.normal(0.0, sigma_m, len(days)), 5)
        network.series[stream.code] = Series(stream.code, days, result, np.full(len(days), sigma_m))
        clean = -share * np.interp(days, np.arange(len(site.surface_mm)), site.clean_surface_mm)
        network.truths.velocities.append(VelocityTruth(stream.code, slope_per_a(days, clean), "mm/a"))


def _epochs(network: Demonstration, interval_s: float, last_day: float, rng: np.random.Generator) -> Array:
    """Return survey days: every March, and every September where surveyed half-yearly, within a fortnight."""
    months = (3, 9) if interval_s < 300 * 86_400 else (3,)
    start = np.datetime64(network.first.replace(tzinfo=None), "D")
    years = range(network.first.year, network.now.year + 1)
    planned = [float((np.datetime64(f"{year}-{month:02d}-15") - start).astype(int)) for year in years for month in months]
    days = np.array(planned) + rng.integers(-7, 8, len(planned))
    return np.asarray(days[(days >= 0) & (days < last_day - 30)], dtype=np.float64)


def _gnss(
    network: Demonstration, station: Station, streams: Sequence[Datastream], site: Site, last_day: float, rng: np.random.Generator
) -> None:
    grid = np.arange(len(site.surface_mm), dtype=np.float64)
    days = np.arange(np.floor(last_day), dtype=np.float64)
    for stream in streams:
        up = stream.property_code == "displacement_up"
        clean = -site.clean_surface_mm if up else float(rng.uniform(-1.5, 1.5)) * grid / YEAR_D
        moved = -site.surface_mm if up else clean
        white, coloured = (UP_WHITE_MM, UP_FLICKER) if up else (HORIZONTAL_WHITE_MM, HORIZONTAL_FLICKER)
        annual = float(rng.uniform(1.0, 3.0)) * (1.0 if up else 0.4)
        season = annual * np.cos(2.0 * np.pi * (grid - float(rng.uniform(0.0, YEAR_D))) / YEAR_D)
        sigma = white * rng.uniform(0.8, 1.25, len(days))
        # Displacement counts from the first solution of the file, as tenv3 is stored, so that live solutions continue it.
        curve = moved + season + flicker(len(grid), coloured, 1.0 / YEAR_D, rng)
        result = np.round(curve[: len(days)] + rng.normal(0.0, sigma), 3)
        network.signals[stream.code] = Signal(stream.code, on_grid(curve - result[0]), white, 3)
        network.series[stream.code] = Series(stream.code, days, result - result[0], sigma)
        network.truths.velocities.append(VelocityTruth(stream.code, slope_per_a(days, clean[: len(days)]), "mm/a"))


def _layers(
    network: Demonstration, station: Station, streams: Sequence[Datastream], site: Site, last_day: float, rng: np.random.Generator
) -> None:
    for stream in streams:
        channel = stream.channel or "total"
        moved = site.surface_mm if channel == "total" else site.layers[channel]
        clean = site.clean_surface_mm if channel == "total" else site.clean_layers[channel]
        signal = Signal(stream.code, on_grid(moved), 0.02, 3)
        days = _days_of(stream, station.kind, last_day)
        _record(network, signal, days, rng)
        whole = np.arange(np.floor(last_day), dtype=np.float64)
        held = stick_slip(signal.curve(days), STICK_SLIP_MM)
        network.series[stream.code].result = np.round(held + rng.normal(0.0, signal.noise, len(days)), 3)
        network.truths.velocities.append(VelocityTruth(stream.code, slope_per_a(whole, clean[: len(whole)]), "mm/a"))


def _days_of(stream: Datastream, kind: StationKind, last_day: float) -> Array:
    interval_d = (stream.interval_s or 86_400.0) / 86_400.0
    hourly_well = kind is StationKind.OBSERVATION_WELL and interval_d < 1.0 / 12.0
    return schedule(0.0, last_day - (HOURLY_WELL_DENSE_D if hourly_well else DENSE_D[kind]), last_day, interval_d)


def _record(network: Demonstration, signal: Signal, days: Array, rng: np.random.Generator) -> None:
    network.signals[signal.datastream] = signal
    network.series[signal.datastream] = Series(signal.datastream, days, signal.values(days, rng))


def _well(
    network: Demonstration, station: Station, streams: Sequence[Datastream], site: Site, last_day: float, rng: np.random.Generator
) -> None:
    for stream in streams:
        days = _days_of(stream, station.kind, last_day)
        if stream.property_code == "depth_to_water":
            aquifer = stream.aquifer or "II"
            curve = _with_tide(on_grid(site.heads[aquifer]), site.head_models[aquifer].tide_m)
            _record(network, Signal(stream.code, curve, LEVEL_NOISE_M, 3), days, rng)
        else:
            mean = 15.5 + 0.028 * (stream.depth_bottom_m or 50.0) + float(rng.normal(0.0, 0.2))
            slow = autoregressive(len(site.surface_mm), 0.05, 90.0, rng)
            _record(network, Signal(stream.code, on_grid(mean + slow), 0.02, 2), days, rng)


def _with_tide(curve: Curve, amplitude_m: float) -> Curve:
    if amplitude_m == 0.0:
        return curve

    def tidal(days: Array) -> Array:
        return np.asarray(curve(days) + tide_m(amplitude_m, days * 24.0))

    return tidal


def _barometer(
    network: Demonstration, station: Station, streams: Sequence[Datastream], site: Site, last_day: float, rng: np.random.Generator
) -> None:
    grid = np.arange(len(site.surface_mm), dtype=np.float64)
    day_of_year = grid + network.first.timetuple().tm_yday
    pressure = 1016.5 + 9.0 * np.cos(2.0 * np.pi * (day_of_year - 15.0) / YEAR_D) + autoregressive(len(grid), 4.0, 3.0, rng)
    slow = on_grid(pressure)

    def curve(days: Array) -> Array:
        return np.asarray(slow(days) + 1.0 * np.cos(4.0 * np.pi * (days - 0.08)))

    for stream in streams:
        _record(network, Signal(stream.code, curve, 0.1, 1), _days_of(stream, station.kind, last_day), rng)


def _geothermal(
    network: Demonstration, station: Station, streams: Sequence[Datastream], site: Site, last_day: float, rng: np.random.Generator
) -> None:
    curves = well_curves(len(site.surface_mm), network.first, hot=station.code.endswith("01"), rng=rng)
    days = schedule(last_day - GEOTHERMAL_HISTORY_D, last_day - GEOTHERMAL_DENSE_D, last_day, 1.0 / 24.0)
    for stream in streams:
        curve, noise, decimals = curves[stream.property_code]
        _record(network, Signal(stream.code, curve, noise, decimals), days, rng)


_BUILDERS: dict[StationKind, Builder] = {
    StationKind.BENCHMARK: _levelling,
    StationKind.BEDROCK_MARK: _levelling,
    StationKind.GNSS_MARK: _gnss,
    StationKind.EXTENSOMETER_GROUP: _layers,
    StationKind.OBSERVATION_WELL: _well,
    StationKind.BAROMETER: _barometer,
    StationKind.GEOTHERMAL_WELL: _geothermal,
}

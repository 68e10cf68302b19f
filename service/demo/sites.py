"""Draws the ground of each site of the demonstration: its head, its layers and the rate at which its surface moves.

Stations of one zone share one ground, so that benchmark, GNSS mark and layered marks tell the same story. This file finishes with
`draw_site`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from service.demo.ground import YEAR_D, HeadModel, LayerModel, compaction_mm, depth_to_water_m, noise_free_depth_m
from service.demo.noise import Array

FUNNELS = {"wangjiangjing": (8.0, 12.0), "wuyuan": (7.0, 11.0), "danghu": (5.0, 8.0), "yuanhua": (5.0, 8.0), "wuzhen": (5.0, 7.5)}
"""Zones with a funnel of the pumping years: range of their mean subsidence rate today, mm/a."""
COAST = (4.0, 8.0)
RECLAIMED = "reclaimed"
"""Zone of a tidal flat filled up a few years ago, where the thick soft clay still consolidates under its own new load."""
RECLAIMED_RATE = (25.0, 26.5)
"""Its mean rate, mm/a: some 22 to 26 in the last twelve months, beyond the 20 mm/a of an orange alert and below the 30 of a red one."""
RECLAIMED_CONSTANT_A = (60.0, 90.0)
BACKGROUND = (0.5, 4.0)
REBOUND = (-3.0, -1.0)
LAYERS = ("L1", "L2", "L3", "L4")
ELASTIC_MM_PER_M = (0.05, 0.25, 0.9, 0.3)


@dataclass(slots=True)
class Site:
    """The ground under the stations of one zone.

    Attributes
    ----------
    rate_mm_per_a
        Mean subsidence rate over the record, down positive, that the layers were given.
    heads
        Daily depth to water by aquifer, m, shape (grid,).
    head_models
        Their constants.
    layers, clean_layers
        Daily compaction by layer, mm, with and without season and weather, shape (grid,).
    """

    zone: str
    rate_mm_per_a: float
    heads: dict[str, Array] = field(default_factory=dict)
    head_models: dict[str, HeadModel] = field(default_factory=dict)
    layers: dict[str, Array] = field(default_factory=dict)
    clean_layers: dict[str, Array] = field(default_factory=dict)

    @property
    def surface_mm(self) -> Array:
        """Subsidence of the surface, the sum of the layers, mm, down positive."""
        return np.asarray(sum(self.layers.values()))

    @property
    def clean_surface_mm(self) -> Array:
        """The same without season and weather: its slope is the true rate."""
        return np.asarray(sum(self.clean_layers.values()))


def slope_per_a(days: Array, values: Array) -> float:
    """Return the least-squares slope of values over days, per year of 365.25 d."""
    centred = days - days.mean()
    return float(centred @ values / (centred @ centred) * YEAR_D)


def draw_site(zone: str, grid: Array, record_days: int, first_day_of_year: float, rng: np.random.Generator) -> Site:
    """Draw one site.

    Parameters
    ----------
    zone
        Zone code, `coast`, or `` for the background.
    grid
        Days of the simulation, shape (n,), reaching past the record so that live observations follow from it.
    record_days
        Length of the record over which the mean rate is defined.
    first_day_of_year
        Day of the year of the first day.
    rng
        Source of randomness.
    """
    rebounds = zone == "" and rng.random() < 0.25
    site = Site(zone, float(rng.uniform(*_rates_of(zone, rebounds))))
    for aquifer in ("I", "II", "III"):
        model = _draw_head(aquifer, zone, rebounds, rng)
        site.head_models[aquifer] = model
        site.heads[aquifer] = depth_to_water_m(model, grid, first_day_of_year, rng)
    drivers = {"L1": "I", "L2": "I", "L3": "II", "L4": "III"}
    clean = {aquifer: noise_free_depth_m(model, grid) for aquifer, model in site.head_models.items()}
    layers = _balanced_layers(site, grid, record_days, {name: clean[drivers[name]] for name in LAYERS}, rng)
    for layer in layers:
        site.layers[layer.name] = compaction_mm(layer, grid, site.heads[drivers[layer.name]])
        site.clean_layers[layer.name] = compaction_mm(layer, grid, clean[drivers[layer.name]])
    return site


def _rates_of(zone: str, rebounds: bool) -> tuple[float, float]:
    if rebounds:
        return REBOUND
    return {**FUNNELS, "coast": COAST, RECLAIMED: RECLAIMED_RATE}.get(zone, BACKGROUND)


def _draw_head(aquifer: str, zone: str, rebounds: bool, rng: np.random.Generator) -> HeadModel:
    depth = {"I": (4.0, 9.0), "II": (14.0, 24.0), "III": (16.0, 26.0)}[aquifer]
    deficit = (14.0, 20.0) if rebounds else (4.0, 9.0)
    shallow = 0.4 if aquifer == "I" else 1.0
    return HeadModel(
        final_m=float(rng.uniform(*depth)),
        deficit_m=float(rng.uniform(*deficit)) * shallow,
        recovery_a=float(rng.uniform(15.0, 20.0) if rebounds else rng.uniform(25.0, 40.0)),
        seasonal_m=float(rng.uniform(0.3, 0.8)),
        peak_d=float(rng.uniform(200.0, 240.0)),
        weather_m=float(rng.uniform(0.06, 0.12)),
        tide_m=float(rng.uniform(0.15, 0.25)) if zone == "coast" and aquifer == "I" else 0.0,
    )


def _balanced_layers(
    site: Site, grid: Array, record_days: int, clean: dict[str, Array], rng: np.random.Generator
) -> list[LayerModel]:
    """Share the residual consolidation among the layers so that the surface has the drawn mean rate over the record."""
    days = grid[:record_days]
    shares = rng.dirichlet([9.0, 4.0, 6.0, 3.0])
    constants = rng.uniform(*(RECLAIMED_CONSTANT_A if site.zone == RECLAIMED else (10.0, 40.0)), len(LAYERS))
    lags = rng.uniform(10.0, 60.0, len(LAYERS))
    elastic = np.array(ELASTIC_MM_PER_M) * rng.uniform(0.8, 1.25, len(LAYERS))
    rebound = sum(
        slope_per_a(days, compaction_mm(LayerModel(name, 0.0, 1.0, float(storage), float(lag)), grid, clean[name])[:record_days])
        for name, storage, lag in zip(LAYERS, elastic, lags, strict=True)
    )
    if site.rate_mm_per_a < 0:
        elastic, residual = elastic * site.rate_mm_per_a / rebound, 0.0
    else:
        per_mm = sum(
            share * slope_per_a(days, 1.0 - np.exp(-days / (tau * YEAR_D))) for share, tau in zip(shares, constants, strict=True)
        )
        residual = (site.rate_mm_per_a - rebound) / per_mm
    return [
        LayerModel(name, float(residual * share), float(tau), float(storage), float(lag))
        for name, share, tau, storage, lag in zip(LAYERS, shares, constants, elastic, lags, strict=True)
    ]

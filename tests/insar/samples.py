"""Deliveries in EGMS shape with a known truth, made of a seed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt

ATTRIBUTES = (
    "pid,mp_type,latitude,longitude,easting,northing,height,height_wgs84,line,pixel,rmse,temporal_coherence,amplitude_dispersion,"
    "incidence_angle,track_angle,los_east,los_north,los_up,mean_velocity,mean_velocity_std,acceleration,acceleration_std,"
    "seasonality,seasonality_std"
)


@dataclass(frozen=True)
class Made:
    """What a file was made from: mm and mm/a toward the satellite; displacement of shape (points, epochs)."""

    pid: list[str]
    longitude: npt.NDArray[np.float64]
    latitude: npt.NDArray[np.float64]
    rate: npt.NDArray[np.float64]
    displacement: npt.NDArray[np.float64]
    epochs: list[date]


def make(points: int, epochs: int, seed: int = 1, *, gaps: float = 0.0, plane: tuple[float, float, float] = (0, 0, 0)) -> Made:
    """Return a bowl of subsidence near Jiaxing; `plane` (mm/a, mm/a per degree east and north) is its reference frame."""
    rng = np.random.default_rng(seed)
    longitude = np.round(rng.uniform(120.6, 120.9, points), 7)
    latitude = np.round(rng.uniform(30.6, 30.85, points), 7)
    depth = np.exp(-((longitude - 120.75) ** 2 + (latitude - 30.72) ** 2) / 0.004)
    rate = -1.0 - 11.0 * depth + plane[0] + plane[1] * (longitude - 120.75) + plane[2] * (latitude - 30.72)
    days = [date(2019, 1, 5) + timedelta(days=12 * index) for index in range(epochs)]
    years = np.array([(day - days[0]).days / 365.25 for day in days])
    values = rate[:, None] * years + 2.0 * np.sin(2 * np.pi * years) + rng.normal(0, 2.0, (points, epochs))
    values = np.round(values - values[:, :1], 1)
    if gaps:
        values[rng.random(values.shape) < gaps] = np.nan
    return Made([f"10a{index:07d}" for index in range(points)], longitude, latitude, rate, values, days)


def write_egms(path: Path, made: Made, *, sign: float = 1.0) -> Path:
    """Write the file as EGMS would."""
    head = f"{ATTRIBUTES}," + ",".join(day.strftime("%Y%m%d") for day in made.epochs)
    lines = [head]
    for row, pid in enumerate(made.pid):
        cells = [
            pid,
            "0",
            f"{made.latitude[row]:.7f}",
            f"{made.longitude[row]:.7f}",
            "3450000.5",
            "4210000.5",
            "3.1",
            "14.2",
            "11",
            "12",
        ]
        cells += [
            "2.1",
            "0.91",
            "0.17",
            "39.0",
            "348.5",
            "-0.61",
            "-0.12",
            "0.777",
            f"{sign * made.rate[row]:.3f}",
            "0.3",
            "0.1",
            "0.2",
        ]
        cells += ["2.0", "0.2"]
        cells += ["" if np.isnan(value) else f"{sign * value:.1f}" for value in made.displacement[row]]
        lines.append(",".join(cells))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path

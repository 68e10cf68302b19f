"""Writes the simulated history as the files that the field hands in, so that the demonstration goes through the real import path.

Levelling tables with Chinese headers in GB18030, tenv3 of the GNSS marks, TOA5 of the layered marks, CSV exports of wells, geothermal
wells and the barometer. This file finishes with `write_files`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from domain.model import Station, StationKind
from service.demo.network import Demonstration
from service.demo.signals import Series

PROFILES = Path(__file__).resolve().parent / "profiles"
ZONE = "Asia/Shanghai"
SURVEY_DAYS = 6
_WELL = (("depth_to_water", "埋深(m)", 3), ("water_temperature", "水温(℃)", 2))
_GEOTHERMAL = (
    ("abstraction_rate", "瞬时流量(m3/h)", 2),
    ("abstraction_total", "累计流量(m3)", 1),
    ("wellhead_temperature", "井口水温(℃)", 2),
    ("wellhead_pressure", "井口压力(MPa)", 4),
    ("dynamic_depth_to_water", "动水位埋深(m)", 2),
)
_BAROMETER = (("air_pressure", "气压(hPa)", 1),)


@dataclass(frozen=True, slots=True)
class FieldFile:
    """One file as handed in, and how it is to be read: `profile` is a path of a profile or a shipped name, None = by its format."""

    name: str
    body: bytes
    format: str
    profile: str | None = None
    zone: str | None = None
    frame: str | None = None


def write_files(network: Demonstration) -> Iterator[FieldFile]:
    """Yield the network's history as files, levelling campaigns first."""
    yield from _levelling_tables(network)
    for station in network.city.stations:
        if station.kind is StationKind.GNSS_MARK:
            yield _tenv3(network, station)
        elif station.kind is StationKind.EXTENSOMETER_GROUP:
            yield _toa5(network, station)
        elif station.kind is StationKind.OBSERVATION_WELL:
            yield _export(network, station, _WELL, "well", "gb18030")
        elif station.kind is StationKind.GEOTHERMAL_WELL:
            yield _export(network, station, _GEOTHERMAL, "geothermal", "utf-8")
        elif station.kind is StationKind.BAROMETER:
            yield _export(network, station, _BAROMETER, "barometer", "utf-8")


def _levelling_tables(network: Demonstration) -> Iterator[FieldFile]:
    rows: dict[tuple[int, str], list[str]] = {}
    for station in network.city.stations:
        series = network.series.get(f"{station.code}:height")
        if series is None or series.sigma is None:
            continue
        for i, day in enumerate(series.days):
            begin = (network.first + timedelta(days=float(day))).date()
            campaign = (begin.year, "春季" if begin.month < 7 else "秋季")
            rows.setdefault(campaign, []).append(
                _levelling_row(station, series, i, f"{begin}～{begin + timedelta(days=SURVEY_DAYS - 1)}")
            )
    header = "点号,点名,等级,高程(m),本期沉降量(mm),累计沉降量(mm),观测日期,中误差(mm),高程基准"
    for (year, season), lines in sorted(rows.items()):
        text = "\r\n".join([f"嘉兴市{year}年{season}水准测量成果表（模拟数据）", header, *lines]) + "\r\n"
        yield FieldFile(f"水准成果_{year}_{season}.csv", text.encode("gb18030"), "levelling", zone=ZONE)


def _levelling_row(station: Station, series: Series, i: int, dates: str) -> str:
    assert series.sigma is not None
    height = series.result[i]
    period_mm = (series.result[i - 1] - height) * 1000.0 if i else 0.0
    total_mm = (series.result[0] - height) * 1000.0
    grade = str(station.attributes.get("levelling_class", "二等"))
    sigma_mm = series.sigma[i] * 1000.0
    return f"{station.code},{station.name_zh},{grade},{height:.5f},{period_mm:.2f},{total_mm:.2f},{dates},{sigma_mm:.2f},1985国家高程基准"


def _tenv3(network: Demonstration, station: Station) -> FieldFile:
    east, north, up = (network.series[f"{station.code}:displacement_{name}"] for name in ("east", "north", "up"))
    mjd0 = (network.first - datetime(1858, 11, 17, tzinfo=UTC)).days
    lines = [
        "site YYMMMDD yyyy.yyyy __MJD week d reflon _e0(m) __east(m) ____n0(m) _north(m) u0(m) ____up(m) "
        "_ant(m) sig_e(m) sig_n(m) sig_u(m) __corr_en __corr_eu __corr_nu"
    ]
    assert east.sigma is not None and north.sigma is not None and up.sigma is not None
    for i, day in enumerate(up.days):
        date = network.first + timedelta(days=float(day))
        mjd = mjd0 + int(day)
        week, weekday = divmod(mjd - 44244, 7)
        year = 2000.0 + (mjd - 51544) / 365.25
        metres = " ".join(
            f"{whole:7d} {0.5 + series.result[i] / 1000.0:.6f}" for whole, series in ((0, east), (3_396_000, north), (12, up))
        )
        sigmas = " ".join(f"{series.sigma[i] / 1000.0:.6f}" for series in (east, north, up) if series.sigma is not None)
        stamp = f"{date:%y}{_MONTHS[date.month - 1]}{date:%d}"
        lines.append(f"{station.code} {stamp} {year:.4f} {mjd} {week} {weekday} 120.8 {metres} 0.0000 {sigmas} 0.0 0.0 0.0")
    body = ("\n".join(lines) + "\n").encode("ascii")
    return FieldFile(f"{station.code}.tenv3", body, "tenv3", frame="CGCS2000")


_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")


def _toa5(network: Demonstration, station: Station) -> FieldFile:
    streams = [item for item in network.city.datastreams if item.station == station.code]
    series = [network.series[stream.code] for stream in streams]
    names = [f"{stream.property_code}:{stream.channel}" for stream in streams]
    lines = [
        _quoted(["TOA5", station.code, "SIM1000", "0001", "simulated", "CPU:layers.CR1", "0", "Layers"]),
        _quoted(["TIMESTAMP", "RECORD", *names]),
        _quoted(["TS", "RN", *("mm" for _ in names)]),
        _quoted(["", "", *("Smp" for _ in names)]),
    ]
    for i, stamp in enumerate(_local_stamps(network, series[0])):
        lines.append(f'"{stamp}",{i},' + ",".join(f"{item.result[i]:.3f}" for item in series))
    return FieldFile(f"{station.code}_Layers.dat", ("\r\n".join(lines) + "\r\n").encode("utf-8"), "toa5", zone=ZONE)


def _quoted(cells: Sequence[str]) -> str:
    return ",".join(f'"{cell}"' for cell in cells)


def _local_stamps(network: Demonstration, series: Series) -> list[str]:
    zone = ZoneInfo(ZONE)
    return [
        (network.first + timedelta(seconds=round(float(day) * 86_400))).astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")
        for day in series.days
    ]


def _export(
    network: Demonstration, station: Station, layout: tuple[tuple[str, str, int], ...], profile: str, encoding: str
) -> FieldFile:
    """Write one table of a station; a property that was not recorded at a time leaves its cell empty."""
    series = {name: network.series[f"{station.code}:{name}"] for name, _, _ in layout}
    longest = max(series.values(), key=lambda item: len(item.days))
    days = np.unique(np.concatenate([item.days for item in series.values()]))
    stamps = _local_stamps(network, Series(longest.datastream, days, days))
    cells = []
    for name, _, decimals in layout:
        column = np.full(len(days), "", dtype=object)
        places = np.searchsorted(days, series[name].days)
        column[places] = [f"{value:.{decimals}f}" for value in series[name].result]
        cells.append(column)
    lines = [",".join(["时间", *(title for _, title, _ in layout)])]
    lines += [",".join([stamp, *values]) for stamp, *values in zip(stamps, *cells, strict=True)]
    body = ("\r\n".join(lines) + "\r\n").encode(encoding)
    return FieldFile(f"{station.code}_{profile}.csv", body, "csv", profile=str(PROFILES / f"{profile}.yaml"))

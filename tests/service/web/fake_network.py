"""A small deterministic network in the shapes of /api/v1: what the page is held to in tests.

Every count that a test expects is planted here by name. This file finishes with `Network`.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

NOW = datetime(2026, 6, 30, 1, 0, tzinfo=UTC)
XSS_NAME = "<script>document.title='xss'</script><img src=x onerror=\"document.title='xss'\">"
LEVELS = {"none": 0, "blue": 1, "yellow": 2, "orange": 3, "red": 4}
WELL = "JX-OW-01:head"
GNSS = "JX-GN-01:displacement_up"
SUSPECT_DAYS = (100, 300, 301, 640, 905)
FAIL_DAYS = (410, 777, 1010)
ACTION = {"text_zh": "复测核实，查明成因", "owner_zh": "地质环境监测机构"}
FORECAST = {
    "horizon_a": 5.0,
    "limits": {
        "head-control": {"status": "reached", "time": None, "earliest": None, "latest": None, "level": 0.8},
        "head-floor": {
            "status": "within",
            "time": "2027-05-01T00:00:00Z",
            "earliest": "2026-12-01T00:00:00Z",
            "latest": None,
            "level": 0.8,
        },
    },
    "tested": {
        "status": "ok",
        "model": "combined",
        "time": ["2026-06-01T00:00:00Z", "2027-06-01T00:00:00Z"],
        "value": [-29.5, -30.25],
        "lower_95": [-30.1, -31.5],
        "upper_95": [-28.9, -29.0],
        "backtest": {
            "origins": 32,
            "judged": 200,
            "coverage_80": 0.815,
            "coverage_95": 0.942,
            "horizons": [{"horizon_a": 1.0, "rmse": 0.62, "persistence_rmse": 0.75}],
        },
    },
}
GAP_DAYS = (*range(200, 240), *range(850, 870))

_PROPERTIES = [
    ("displacement_up", "垂向位移", "vertical displacement", "mm", "up positive (subsidence is negative)", "instant"),
    ("head", "水位标高", "groundwater head", "m", "up positive", "instant"),
    ("height", "高程", "height", "m", "up positive", "instant"),
    ("compaction", "土层压缩量", "compaction", "mm", "shortening positive", "instant"),
    ("wellhead_temperature", "井口水温", "wellhead temperature", "Cel", "warmer positive", "instant"),
    ("abstraction_volume", "开采量", "abstraction volume", "m3", "out of the ground positive", "total"),
]
_STATIONS = [
    # code, kind, zh, en, lon, lat, region, level, silent, has data
    ("JX-GN-01", "gnss_mark", "王江泾 GNSS 站", "Wangjiangjing GNSS", 120.705, 30.895, "330411", "red", False, True),
    (
        "JX-OW-01",
        "observation_well",
        "武原第Ⅱ承压观测井",
        "Wuyuan well, aquifer II",
        120.945,
        30.530,
        "330424",
        "orange",
        False,
        True,
    ),
    ("JX-BM-07", "benchmark", "当湖Ⅰ等水准点 07", "Danghu benchmark 07", 121.020, 30.690, "330482", "yellow", False, True),
    (
        "JX-EX-02",
        "extensometer_group",
        "南湖分层标组",
        "Nanhu extensometer group",
        120.790,
        30.745,
        "330402",
        "yellow",
        True,
        True,
    ),
    (
        "JX-GT-01",
        "geothermal_well",
        "运河一号地热井",
        "Yunhe No. 1 geothermal well",
        120.735,
        30.800,
        "330411",
        "blue",
        False,
        True,
    ),
    ("JX-GN-02", "gnss_mark", "海盐 GNSS 站", "Haiyan GNSS", 120.915, 30.450, "330424", "none", False, True),
    ("JX-BM-11", "benchmark", "桐乡水准点 11", "Tongxiang benchmark 11", 120.560, 30.640, "330483", "none", False, True),
    ("JX-GT-02", "geothermal_well", "云澜湾地热井", "Yunlanwan geothermal well", 120.905, 30.905, "330421", "none", True, True),
    ("JX-OW-09", "observation_well", "袁花观测井", "Yuanhua well", 120.790, 30.440, "330481", "none", False, False),
    ("JX-XSS-1", "other", XSS_NAME, XSS_NAME, 120.620, 30.500, "330481", "none", False, True),
    ("JX-BR-01", "bedrock_mark", "屠甸基岩标", "Tudian bedrock mark", None, None, "330483", "none", False, True),
]
_ALERTS = [
    # id, station, datastream, level, rule, value, sigma, unit, limit, confirmation, acknowledged
    (101, "JX-GN-01", GNSS, "red", "subsidence_rate", 33.4, 1.6, "mm/a", 30.0, "awaited", False),
    (102, "JX-OW-01", WELL, "orange", "head_low", -31.62, 0.01, "m", -30.0, "awaited", False),
    (103, "JX-BM-07", "JX-BM-07:height", "yellow", "subsidence_rate", 12.1, 0.9, "mm/a", 10.0, "not_needed", False),
    (104, "JX-EX-02", "JX-EX-02:compaction:L2", "yellow", "subsidence_rate", 10.8, 0.3, "mm/a", 10.0, "not_needed", True),
    (105, "JX-GT-01", "JX-GT-01:abstraction_volume", "blue", "quota", 246000.0, None, "m3", 240000.0, "not_needed", False),
]
_RULE_NAMES = {
    "subsidence_rate": (
        "近12个月沉降速率超限",
        "Subsidence rate over 12 months",
        "嘉兴控沉分级（2026 试行）",
        "Jiaxing grading (2026 trial)",
    ),
    "head_low": ("承压水位低于控制水位", "Confined head under the control head", "地下水管控指标", "Groundwater control figures"),
    "quota": ("年度取水量逼近许可量", "Yearly quota nearly used", "采矿许可证", "Mining licence"),
}


def stamp(time: datetime | None) -> str | None:
    """RFC 3339 in UTC with Z."""
    return time.isoformat().replace("+00:00", "Z") if time else None


def judged(onset: datetime, value: float) -> list[list[Any]]:
    """Ten values a month apart that grow to what alarmed, one of them missing."""
    return [
        [stamp(onset - timedelta(days=30 * (9 - n))), None if n == 4 else value * (0.4 + 0.6 * n / 9), None, 9 if n == 4 else 1]
        for n in range(10)
    ]


class Network:
    """Registers, observations and alerts; only the alerts change."""

    def __init__(self) -> None:
        self.stations = {row[0]: self._station(row) for row in _STATIONS}
        self.datastreams = {item["code"]: item for item in self._datastreams()}
        self.alerts = {row[0]: self._alert(row) for row in _ALERTS}
        self.rules = [self._rule(code) for code in _RULE_NAMES]
        self.node = {
            "code": "jiaxing", "name_zh": "嘉兴地面沉降监测节点", "name_en": "Jiaxing subsidence node", "region_code": "330400",
            "zone": "Asia/Shanghai", "simulated": True, "demo": True, "version": "0.1.0", "now": stamp(NOW),
            "map": {"center": None, "zoom": None, "tile_url": None, "tile_attribution": None, "boundary": None},
            "attributes": {"aquifers": [{"code": "II", "name_zh": "第Ⅱ承压", "name_en": "aquifer II"}]},
        }  # fmt: skip

    @staticmethod
    def _station(row: tuple[Any, ...]) -> dict[str, Any]:
        code, kind, zh, en, lon, lat, region, level, silent, has_data = row
        return {
            "code": code, "urn": f"urn:groundwatch:jiaxing:{code}", "kind": kind, "name_zh": zh, "name_en": en, "region_code": region,
            "longitude_deg": lon, "latitude_deg": lat, "height_m": None, "disclosure": "open", "zone_code": None, "tags": [],
            "confirmed": True, "simulated": True, "attributes": {}, "level": LEVELS[level], "level_word": level, "acknowledged": None,
            "silent": silent, "last_time": stamp(NOW - timedelta(hours=3)) if has_data else None,
        }  # fmt: skip

    def _datastreams(self) -> list[dict[str, Any]]:
        return [
            self._stream(GNSS, 86400.0, -128.3, observations=6000),
            self._stream("JX-GN-01:displacement_up_rate_12mo", None, -33.4, derived=True, unit="mm/a"),
            self._stream(WELL, 86400.0, -31.62, quality=3, datum="CN1985", observations=1200),
            self._stream("JX-BM-07:height", None, 2.8641, datum="CN1985"),
            self._stream("JX-EX-02:compaction:L1", 3600.0, 42.6, depth=(0.0, 42.0)),
            self._stream("JX-EX-02:compaction:L2", 3600.0, 88.31, depth=(42.0, 118.0), silent=True),
            self._stream("JX-GT-01:wellhead_temperature", 3600.0, 64.2),
            self._stream("JX-GT-01:abstraction_volume", 86400.0, 812.0),
            self._stream("JX-GT-02:wellhead_temperature", 3600.0, 61.0, silent=True),
            self._stream("JX-XSS-1:head", 86400.0, 1.0, datum="CN1985"),
        ]

    def _stream(
        self,
        code: str,
        interval: float | None,
        last: float,
        *,
        unit: str | None = None,
        quality: int = 1,
        datum: str | None = None,
        depth: tuple[float, float] | None = None,
        silent: bool = False,
        derived: bool = False,
        observations: int = 500,
    ) -> dict[str, Any]:
        station, observed, *channel = code.split(":")
        known = next(row for row in _PROPERTIES if observed.startswith(row[0]))
        return {
            "code": code, "station": station, "property": observed, "property_name_zh": known[1] + ("近12月速率" if derived else ""),
            "property_name_en": known[2] + (" rate, 12 months" if derived else ""), "direction": known[4], "value_kind": known[5],
            "name_zh": None, "name_en": None, "unit": unit or known[3], "channel": channel[0] if channel else None, "sensor": None,
            "interval_s": interval, "depth_top_m": depth[0] if depth else None, "depth_bottom_m": depth[1] if depth else None,
            "aquifer": "II" if code == WELL else None, "datum": datum, "datum_epoch": "2023-01-01" if observed == "height" else None,
            "frame": None, "derived": derived, "disclosure": None, "confirmed": True, "lowest": None, "highest": None, "attributes": {},
            "derivation": {"method": "rate_12mo", "version": "1", "parameters": {}, "input_digest": "0", "source": GNSS} if derived else None,
            "status": {
                "first_time": stamp(NOW - timedelta(days=observations)), "last_time": stamp(NOW - timedelta(hours=3)), "last_result": last,
                "last_quality": quality, "last_received_at": stamp(NOW - timedelta(hours=3)), "observations": observations,
            },
            "silent": silent,
        }  # fmt: skip

    def _alert(self, row: tuple[Any, ...]) -> dict[str, Any]:
        number, station, datastream, level, rule, value, sigma, unit, limit, confirmation, acknowledged = row
        names, onset = _RULE_NAMES[rule], NOW - timedelta(days=number - 99, hours=2)
        place = self.stations[station]
        shown = f"{value:g} {unit}"
        return {
            "id": number, "identifier": f"gw-{number}", "rule": rule, "rule_version": 1, "rule_name_zh": names[0], "rule_name_en": names[1],
            "scope": datastream, "station": station, "station_name_zh": place["name_zh"], "station_name_en": place["name_en"],
            "datastream": datastream, "state": "firing", "level": LEVELS[level], "level_word": level, "peak_level": LEVELS[level],
            "peak_level_word": level, "onset": stamp(onset), "ended": None, "verdict": "breach", "confirmation": confirmation,
            "confirmed_by": None, "confirmed_at": None, "acknowledged_by": "wang" if acknowledged else None,
            "acknowledged_at": stamp(NOW) if acknowledged else None, "acknowledged_note": None, "status": "Actual",
            "value": value, "sigma": sigma,
            "unit": unit, "limit": limit, "opened_at": stamp(onset), "updated_at": stamp(onset),
            "headline": {"zh": f"{place['name_zh']}：{names[0]}（{shown}）", "en": f"{place['name_en']}: {names[1]} ({shown})"},
            "evidence": {
                "sigma": sigma, "interim": False, "values": judged(onset, value), "limits": {level: limit},
                "window": {"from": stamp(onset - timedelta(days=365)), "to": stamp(onset)},
            },
            "explanation": {
                "zh": f"{place['name_zh']} {names[0]}：{shown}，限值 {limit:g} {unit}，依据 {names[2]}。",
                "en": f"{place['name_en']}, {names[1]}: {shown} against {limit:g} {unit}, by {names[3]}.",
            },
            "transitions": [
                {"id": 1, "from_state": None, "to_state": "firing", "from_level": 0, "to_level": LEVELS[level], "kind": "opened",
                 "occurred_at": stamp(onset), "recorded_at": stamp(onset), "actor": "rule", "reason": shown},
            ],
            "cap": f"/api/v1/alerts/{number}.cap",
        }  # fmt: skip

    @staticmethod
    def _rule(code: str) -> dict[str, Any]:
        names = _RULE_NAMES[code]
        return {"code": code, "version": 1, "kind": "threshold", "name_zh": names[0], "name_en": names[1], "definition": {"action": ACTION},
                "source": names[2], "effective_from": None, "enabled": True, "author": "admin"}  # fmt: skip

    @property
    def properties(self) -> list[dict[str, Any]]:
        keys = ("code", "name_zh", "name_en", "unit", "direction", "value_kind")
        return [
            {**dict(zip(keys, row, strict=True)), "needs_datum": False, "lowest": None, "highest": None} for row in _PROPERTIES
        ]

    def summary(self) -> dict[str, Any]:
        """Counts of what fires now."""
        counts = {word: 0 for word in LEVELS if word != "none"}
        firing = [alert for alert in self.alerts.values() if alert["state"] == "firing"]
        for alert in firing:
            counts[alert["level_word"]] += 1
        waiting = sum(1 for alert in firing if alert["acknowledged_at"] is None)
        return {"now": stamp(NOW), "stations": len(self.stations), "datastreams": len(self.datastreams), "silent": len(self.silent()["items"]),
                "alerts": {**counts, "unacknowledged": waiting}, "quarantine": 4}  # fmt: skip

    def silent(self) -> dict[str, Any]:
        """Datastreams whose next observation is overdue."""
        items = []
        for rank, item in enumerate(one for one in self.datastreams.values() if one["silent"]):
            place = self.stations[item["station"]]
            silence = 9 * 86400 - rank * 4 * 86400
            items.append({"datastream": item["code"], "station": item["station"], "station_name_zh": place["name_zh"],
                          "station_name_en": place["name_en"], "property": item["property"], "interval_s": item["interval_s"],
                          "last_time": stamp(NOW - timedelta(seconds=silence)), "expected_by": stamp(NOW - timedelta(seconds=silence - 7200)),
                          "silent_for_s": silence})  # fmt: skip
        return {"items": items, "next": None, "unknown": 1}

    def samples(self, code: str) -> list[tuple[datetime, float, int, list[str]]]:
        """All observations of a datastream: (time, result, quality, reasons)."""
        if code.startswith("JX-BM-07"):
            return [(NOW - timedelta(days=365 * (12 - i)), 2.9841 - 0.011 * i, 1, []) for i in range(12)]
        count = self.datastreams[code]["status"]["observations"]
        return [self._sample(code, day, count) for day in range(count) if not (code == WELL and day in GAP_DAYS)]

    @staticmethod
    def _sample(code: str, day: int, count: int) -> tuple[datetime, float, int, list[str]]:
        wiggle = math.sin(day * 12.9898) * 0.5 + math.sin(day * 78.233) * 0.5
        season = math.sin(2 * math.pi * day / 365.25)
        scale = 4.0 if code == GNSS else 0.15
        value = (
            -35 * day / count * (3.6 if code == GNSS else 0.1)
            + season * scale
            + wiggle * scale * 0.6
            + (-28 if code == WELL else 0)
        )
        quality, reasons = 1, []
        if code == WELL and day in SUSPECT_DAYS:
            value, quality, reasons = value + 1.2, 3, ["spike"]
        if code == WELL and day in FAIL_DAYS:
            value, quality, reasons = value + 40, 4, ["out_of_range"]
        return NOW - timedelta(days=count - day), round(value, 4), quality, reasons

    def events(self, station: str) -> list[dict[str, Any]]:
        """The event log of a station."""
        planted = {
            "JX-OW-01": [("sensor_swap", 700, None, "offset", "更换压力计"), ("pump_state", 300, 260, "exclude", "邻井抽水试验")],
            "JX-GN-01": [("antenna_change", 1500, None, "offset", "天线更换 TRM59800")],
        }
        return [{"id": index, "station": station, "datastream": None, "kind": kind, "start": stamp(NOW - timedelta(days=start)),
                 "end": stamp(NOW - timedelta(days=end)) if end else None, "effect": effect, "size": None, "note": note, "author": "li"}
                for index, (kind, start, end, effect, note) in enumerate(planted.get(station, []))]  # fmt: skip

    def findings(self, code: str) -> list[dict[str, Any]]:
        """What the analytics found."""
        planted = {WELL: [("step", 702, -0.22), ("spike", 560, 1.2)], GNSS: [("step", 1501, 11.8)]}
        return [{"id": index, "datastream": code, "kind": kind, "start": stamp(NOW - timedelta(days=ago)), "end": None, "size": size,
                 "sigma": 0.1, "score": 9.0, "unit": self.datastreams[code]["unit"], "source": "detected", "parameters": {}}
                for index, (kind, ago, size) in enumerate(planted.get(code, []))]  # fmt: skip

    def findings_of(self, datastream: str | None, station: str | None, kind: str | None) -> list[dict[str, Any]]:
        """Findings by datastream or by station, of one kind or of all."""
        codes = [datastream] if datastream else [code for code, item in self.datastreams.items() if item["station"] == station]
        return [one for code in codes for one in self.findings(code) if kind in {None, one["kind"]}]

    def results(self, code: str, points: int) -> dict[str, Any]:
        """Velocity, curve and limits; null where nothing was estimated."""
        stream = self.datastreams[code]
        rates = {GNSS: (-12.61, 0.42, False), WELL: (-1.071, 0.05, False), "JX-EX-02:compaction:L1": (3.2, 0.8, True)}
        found = rates.get(code)
        unit = "mm/a" if stream["unit"] == "mm" else f"{stream['unit']}/a"
        velocity = (
            {"status": "ok", "unit": unit, "rate": found[0], "rate_sigma": found[1], "interim": found[2]} if found else None
        )
        run = {"method": "velocity", "version": "1", "parameters": {}, "window_start": None, "window_end": None, "status": "ok",
               "result": velocity, "input_digest": "0", "read_seq": 41, "recorded_at": stamp(NOW)}  # fmt: skip
        return {
            "datastream": code, "unit": stream["unit"], "rate_unit": unit, "velocity": velocity, "seasonal": None,
            "forecast": FORECAST if code == WELL else None,
            "runs": [run] if found else [], "derived": [],
            "limits": [{"code": "head-control", "value": -30.0, "unit": "m", "kind": "lowest", "level": "orange", "source": "控制水位"}]
            if code == WELL else [],
            "curve": self._curve(code, max(points, 8)) if found else None,
        }  # fmt: skip

    def _curve(self, code: str, points: int) -> dict[str, Any]:
        known = self.samples(code)
        start, end = known[0][0], known[-1][0]
        ahead = end + timedelta(days=365 * 2)
        times = [start + (ahead - start) * index / (points - 1) for index in range(points)]
        slope = (known[-1][1] - known[0][1]) / (end - start).total_seconds()
        fitted = [known[0][1] + slope * (time - start).total_seconds() for time in times]
        width = [(2.0 if code == GNSS else 0.2) * (1 + 3 * max(0.0, (time - end) / (ahead - end))) for time in times]
        return {"time": [stamp(time) for time in times], "fitted": fitted, "trend": fitted,
                "lower": [f - w for f, w in zip(fitted, width, strict=True)], "upper": [f + w for f, w in zip(fitted, width, strict=True)],
                "level": 0.95, "forecast_from": next(stamp(time) for time in times if time > end)}  # fmt: skip

"""Instruments and unknown devices for the tests of their page: a board of stations, and frames that wait until somebody decides."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tests.service.web.fake_network import NOW, stamp


def drift(station: str, state: str, rate: float, half: float) -> dict[str, Any]:
    found = {"state": state, "datastream": f"{station}:head", "unit": "m"}
    return {**found, "rate_per_30d": rate, "half_width_95": half, "neighbours": 3, "doubt": None}


NOTHING = dict.fromkeys(("last_seen", "completeness_percent", "battery_v", "signal", "clock_offset_s", "drift"))


def line(station: str, state: str, **said: Any) -> dict[str, Any]:
    usual = {
        "last_seen": stamp(NOW - timedelta(minutes=20)), "last_received_at": stamp(NOW), "completeness_percent": 99.0, "usable_percent": 99.0,
        "battery_v": 3.6, "signal": -87.0, "clock_offset_s": 2.0, "clock_drift_s_per_d": None, "quarantined": 0, "findings": 0, "doubtful": 0,
        "drift": drift(station, "steady", 0.002, 0.01),
    }  # fmt: skip
    return {"station": station, "state": state, **usual, **said}


class FakeDevices:
    """The board and the register, with the answers of the real service."""

    def __init__(self, problem: type[Exception]) -> None:
        self._problem = problem
        self.board = [
            line("JX-GN-01", "ok"),
            line("JX-OW-01", "doubtful", completeness_percent=61.5, clock_offset_s=-28800.0, doubtful=12, findings=1),
            line("JX-OW-02", "doubtful", drift=drift("JX-OW-02", "drifting", 0.31, 0.04), battery_v=3.1),
            line("JX-GT-02", "silent", **NOTHING, quarantined=3),
        ]  # fmt: skip
        self.unknown = [
            {"device": "sl651:3304020001", "first_seen": stamp(NOW - timedelta(days=2)), "last_seen": stamp(NOW), "frames": 48,
             "transport": "tcp", "source": "tcp/10.20.30.40"},
            {"device": "chirpstack:70b3d57ba0000001", "first_seen": stamp(NOW - timedelta(days=1)), "last_seen": stamp(NOW), "frames": 3,
             "transport": "mqtt", "source": "application/1/device/70b3d57ba0000001/event/up"},
        ]  # fmt: skip

        self.overrides: list[dict[str, Any]] = []

    def get(self, parts: list[str]) -> Any:
        if parts == ["observations", "overrides"]:
            return {"items": self.overrides, "next": None}
        if parts == ["health"]:
            return {"items": self.board, "next": None, "hours": 24}
        if parts == ["devices", "unknown"]:
            return {"items": self.unknown, "next": None}
        return None

    def withdraw(self, number: str) -> Any:
        self.overrides = [one for one in self.overrides if str(one["id"]) != number]
        return {"id": int(number), "changed": 1}

    def post(self, parts: list[str], body: dict[str, Any]) -> Any:
        if parts == ["observations", "overrides"]:
            end = body.get("to") or "2999-01-01T00:00:00Z"
            kept = {**body, "to": end, "id": len(self.overrides) + 1, "actor": "user:zhao", "recorded_at": stamp(NOW)}
            self.overrides.append({**kept, "quality": {"good": 1, "unknown": 2, "suspect": 3, "fail": 4}[body["quality"]]})
            return {"id": kept["id"], "datastream": body["datastream"], "changed": 1, "actor": "user:zhao"}
        if parts == ["devices", "admissions"]:
            if body["station"] == "JX-NEW" and not body["create"]:
                raise self._problem(404, "not-found", "there is no station JX-NEW.", "make it here")  # type: ignore[call-arg]
            self.unknown = [one for one in self.unknown if one["device"] != body["device"]]
            return {"device": body["device"], "station": body["station"], "created": [body["station"]] if body["create"] else [], "frames": 48,
                    "resolved": 47, "remaining": 1, "refused": [{"reason": "element: element 45 is in no table", "count": 1}]}  # fmt: skip
        if parts == ["devices", "rejections"]:
            self.unknown = [one for one in self.unknown if one["device"] != body["device"]]
            return {"device": body["device"], "set_aside": 3}
        return None

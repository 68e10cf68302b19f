"""A small network, the same in memory and in the database: five stations of every disclosure, observations, alerts, people, keys."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import numpy as np

from alerts.defaults import default_rules
from domain.alert import AlertState, Confirmation, Level, MessageStatus, MessageType, Verdict
from domain.alerting import AlertRecord, CapMessage, Transition
from domain.model import Datastream, Disclosure, ObservedProperty, Sensor, Station, StationKind
from domain.observation import Batch, columns
from service.api.passwords import digest_of, hash_password
from storage.register_rows import Datum, Node

START = datetime(2026, 1, 1, tzinfo=UTC)
PASSWORD = "correct horse 电池"
DEPTHS = [5.23, 0.1 + 0.2, 1 / 3, 5.229999999999999, -0.0]
TOKENS = {
    "viewer": "gw_viewer",
    "supervisor": "gw_supervisor",
    "analyst": "gw_analyst",
    "admin": "gw_admin",
    "operator": "gw_operator",
    "device": "gw_device",
    "partner": "gw_partner",
    "nameless": "gw_nameless",
}

PROPERTIES = (
    ObservedProperty("displacement_up", "垂直位移", "vertical displacement", "mm", "up positive"),
    ObservedProperty("height", "高程", "height", "m", "up positive", needs_datum=True),
    ObservedProperty("depth_to_water", "水位埋深", "depth to water", "m", "down positive"),
    ObservedProperty("water_temperature", "水温", "water temperature", "Cel", "warmer positive"),
)


def station(code: str, disclosure: Disclosure, *, simulated: bool = False) -> Station:
    return Station(
        code,
        StationKind.OBSERVATION_WELL,
        f"{code}站",
        f"Station {code}",
        region_code="330402",
        longitude_deg=120.754321,
        latitude_deg=30.746789,
        height_m=3.456,
        disclosure=disclosure,
        simulated=simulated,
        attributes={"contact": "inner"},
    )


STATIONS = (
    station("OPEN1", Disclosure.OPEN),
    station("REL1", Disclosure.RELATIVE),
    station("ROUND1", Disclosure.ROUNDED),
    station("SECRET1", Disclosure.RESTRICTED),
    station("SIM1", Disclosure.RESTRICTED, simulated=True),
)


def fill(container: Any) -> None:
    """Put the network into a container."""
    registers = container.registers
    registers.set_node(Node("330400", "嘉兴", "Jiaxing", "330400", attributes={"map": {"center": [30.7, 120.7], "zoom": 9}}))
    registers.upsert_datum(Datum("CN-H85", "1985国家高程基准", "National Vertical Datum 1985", "GB 22021"))
    for observed in PROPERTIES:
        registers.upsert_property(observed)
    for item in STATIONS:
        registers.add_station(item, actor="test")
        registers.add_datastream(Datastream(item.code, "depth_to_water", "m", interval_s=3600.0), actor="test")
        registers.add_datastream(Datastream(item.code, "height", "m", datum_code="CN-H85", confirmed=True), actor="test")
    registers.add_sensor(Sensor("OPEN1", "S1", model="vibrating wire", serial="42"), actor="test")
    registers.add_datastream(Datastream("OPEN1", "water_temperature", "Cel", interval_s=3600.0), actor="test")
    for item in STATIONS:
        commit(container, f"{item.code}:depth_to_water", DEPTHS)
        commit(container, f"{item.code}:height", [2.5, 2.49, 2.48], step=timedelta(days=10))


def commit(
    container: Any, code: str, results: list[float], *, step: timedelta = timedelta(hours=1), start: datetime = START
) -> None:
    """Commit results of one datastream, one every `step`."""
    datastream = container.registers.datastream(code)
    times = [np.datetime64((start + i * step).replace(tzinfo=None), "us") for i in range(len(results))]
    rows = columns(datastream.datastream_id, times, results, sigma=[0.001] * len(results))
    container.observations.commit(Batch("file", "seed.csv", rows, received_at=start))


@cache
def password_hash() -> str:
    return hash_password(PASSWORD)


def add_people(container: Any) -> None:
    """Add an account a role, a nameless supervisor's key, a device's and a partner's key."""
    access = container.access
    for role in ("viewer", "supervisor", "analyst", "admin"):
        access.add_account(role, role.capitalize(), role, password_hash() if role == "supervisor" else None)
        access.add_key(digest_of(TOKENS[role]), "gw_test", role, account=role)
    access.add_account("operator", "Operator", "operator", None, {"stations": ["SECRET1"]})
    access.add_key(digest_of(TOKENS["operator"]), "gw_test", "operator", account="operator")
    access.add_key(digest_of(TOKENS["device"]), "gw_test", "device", station="OPEN1")
    access.add_key(digest_of(TOKENS["nameless"]), "gw_test", "supervisor")
    agreement = {"datasets": ["stations", "datastreams", "observations", "alerts"], "regions": ["3304"], "disclosure": "rounded"}
    access.upsert_partner("310000", "上海市", "Shanghai", agreement, "test", True)
    access.add_key(digest_of(TOKENS["partner"]), "gw_test", "partner", partner="310000")


RULE = default_rules()[0]


def alert(container: Any, number: int, code: str, level: Level, **changed: Any) -> AlertRecord:
    """Return a firing alert on the depth of a station."""
    datastream = container.registers.datastream(f"{code}:depth_to_water")
    place = container.registers.station(code)
    values: dict[str, Any] = {
        "identifier": f"33040000000000_20260101000000_{number}",
        "rule_code": RULE.code,
        "rule_version": 1,
        "scope": datastream.code,
        "state": AlertState.FIRING,
        "level": level,
        "peak_level": level,
        "onset": START,
        "verdict": Verdict.BREACH,
        "confirmation": Confirmation.AWAITED,
        "evidence": {"value": 5.23, "limit": 5.0, "sigma": 0.01, "unit": "m", "reason": "deeper than the limit"},
        "opened_at": START,
        "updated_at": START + timedelta(minutes=number),
        "station": code,
        "station_id": place.station_id,
        "datastream": datastream.code,
        "datastream_id": datastream.datastream_id,
    }
    return AlertRecord(**{**values, **changed})


def add_alerts_to_fakes(container: Any) -> None:
    """Put three firing alerts, one transition and one CAP message into the fake store."""
    store = container.alerts
    store.rule_list.append(RULE)
    for number, (code, level) in enumerate((("OPEN1", Level.ORANGE), ("SECRET1", Level.RED), ("SIM1", Level.BLUE)), 1):
        record = alert(container, number, code, level, alert_id=number)
        store.records[number] = record
        store.steps.append(
            Transition(
                number, "fire", AlertState.FIRING, START, START, "engine", "breach held", to_level=level, transition_id=number
            )
        )
    store.caps.append(cap_message(1))
    store.records[4] = alert(container, 4, "OPEN1", Level.RED, alert_id=4, **EXERCISE)
    store.caps.append(replace(cap_message(4), identifier="33040000000000_20260101000000_8"))


EXERCISE = {"scope": "exercise/OPEN1:depth_to_water", "status": MessageStatus.EXERCISE, "confirmation": Confirmation.CONFIRMED}


def cap_message(alert_id: int) -> CapMessage:
    body = '<?xml version="1.0"?><alert xmlns="urn:oasis:names:tc:emergency:cap:1.2"/>'
    return CapMessage("33040000000000_20260101000000_9", alert_id, "jiaxing@example", START, MessageType.ALERT, body)


def add_alerts_to_database(container: Any) -> None:
    """Put the same alerts into the real store."""
    container.alerts.save_rule(RULE, now=START)
    for number, (code, level) in enumerate((("OPEN1", Level.ORANGE), ("SECRET1", Level.RED), ("SIM1", Level.BLUE)), 1):
        with container.alerts.transaction() as unit:
            stored = unit.add_alert(alert(container, number, code, level))
            unit.add_transition(
                Transition(stored.alert_id, "fire", AlertState.FIRING, START, START, "engine", "breach held", to_level=level)
            )
            if number == 1:
                unit.add_cap(cap_message(stored.alert_id))
    with container.alerts.transaction() as unit:
        drill = unit.add_alert(alert(container, 4, "OPEN1", Level.RED, **EXERCISE))
        unit.add_cap(replace(cap_message(drill.alert_id), identifier="33040000000000_20260101000000_8"))

"""Scenario 18: a quota that will be overdrawn is warned of ahead, by the licence's own year; an expired licence with flow is red."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from alerts.defaults import default_rules
from alerts.store import AlertFilter
from domain.alert import Level
from domain.alerting import AlertRecord, Receiver
from domain.licence import Licence
from domain.model import Datastream, ObservedProperty, Station, StationKind
from domain.observation import Batch, columns
from service.bootstrap import Container
from service.configuration import apply_vocabulary
from service.settings import Settings
from storage.register_rows import Node

pytestmark = pytest.mark.stack
ZONE = ZoneInfo("Asia/Shanghai")
QUOTA_M3 = 300_000.0


@pytest.fixture
def house(own_database_url: str, tmp_path: Path) -> Iterator[Container]:
    with Container(Settings(home=tmp_path, database_url=own_database_url, mqtt_url="mqtt://127.0.0.1:1")) as container:
        container.registers.set_node(Node("jiaxing", "嘉兴", "Jiaxing", "330400"))
        apply_vocabulary(container.registers)
        container.registers.upsert_property(ObservedProperty("abstraction_volume", "取水量", "abstraction", "m3", "abstracted +"))
        for rule in default_rules():
            container.alerts.save_rule(rule, now=container.clock())
        container.alerts.save_receiver(Receiver("duty", "webhook", {"url": "http://127.0.0.1:9/"}))
        yield container


def pumped(house: Container, code: str, begin: datetime, days: int, per_day: float, **licence: object) -> list[AlertRecord]:
    """A licensed well that takes so much a day, evaluated on the morning after the last day; return its alerts."""
    stated = {"valid_from": date(2020, 1, 1), "valid_to": date(2030, 12, 31), "quota_m3_per_a": QUOTA_M3, **licence}
    house.registers.add_station(Station(code, StationKind.GEOTHERMAL_WELL, code, code, region_code="330421"), actor="test")
    house.registers.upsert_licence(Licence(f"L-{code}", code, "持证人", source="test", **stated))  # type: ignore[arg-type]
    stream = house.registers.add_datastream(
        Datastream(code, "abstraction_volume", "m3", interval_s=86400.0, confirmed=True), actor="test"
    )
    starts = [(begin + timedelta(days=day)).astimezone(UTC).replace(tzinfo=None) for day in range(days)]
    times = np.array(starts, dtype="datetime64[us]")
    rows = columns(stream.datastream_id or 0, times, [per_day] * days, end=times + np.timedelta64(1, "D"))
    now = (begin + timedelta(days=days, hours=1)).astimezone(UTC)
    house.observations.commit(Batch("file", code, rows, received_at=now))
    with house.work.claim("evaluate", 100) as changes:
        house.engine.evaluate(changes, now)
    found, _ = house.alerts.list_alerts(AlertFilter(station=code), limit=100)
    return list(found)


def test_82_percent_by_the_end_of_september_will_be_109_6_and_is_told_ahead(house: Container) -> None:
    begin = datetime(2026, 1, 1, tzinfo=ZONE)
    (alert,) = pumped(house, "GT1", begin, 273, 246_000 / 273)
    said = dict(alert.evidence["details"])
    assert said["used_percent"] == pytest.approx(82.0, abs=0.01)
    assert said["projected_m3"] == pytest.approx(328_900, abs=2)
    assert alert.evidence["value"] == pytest.approx(109.6, abs=0.05)
    assert Level.NONE < alert.level < Level.RED
    (message,) = house.alerts.waiting("duty", 10)
    assert "246,000" in message.payload["explanation"]["zh"] and "328,90" in message.payload["explanation"]["en"]
    assert house.engine.explain(alert.identifier)["ok"]


def test_the_licence_year_is_the_licences_own(house: Container) -> None:
    """From July on 900 m3 a day: by the calendar 82,800 m3 of this year, by a licence year that began in July the same days count alone."""
    begin = datetime(2025, 10, 1, tzinfo=ZONE)
    (alert,) = pumped(house, "GT2", begin, 273 + 92, 901.0, licence_year_start="07-01")
    said = dict(alert.evidence["details"])
    assert said["used_m3"] == pytest.approx(92 * 901.0)
    assert said["projected_m3"] == pytest.approx(365 * 901.0, rel=0.001)


def test_an_expired_licence_with_flow_is_red_and_stays_in_the_house(house: Container) -> None:
    house.alerts.save_receiver(Receiver("neighbour", "webhook", {"url": "http://127.0.0.1:9/"}, outside=True))
    begin = datetime(2026, 1, 1, tzinfo=ZONE)
    (alert,) = pumped(house, "GT3", begin, 200, 300.0, valid_to=date(2026, 5, 31))
    assert alert.level is Level.RED
    assert house.alerts.waiting("duty", 10) and not house.alerts.waiting("neighbour", 10)


def test_within_the_quota_nobody_is_told(house: Container) -> None:
    assert pumped(house, "GT4", datetime(2026, 1, 1, tzinfo=ZONE), 273, 500.0) == []

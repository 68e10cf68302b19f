"""A changed limit or licence is a change of history: what is stored is judged anew by the running worker, without waiting for data."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from alerts.explanation import describe
from alerts.rules import parse_rule
from domain.alert import AlertState, Level
from domain.alerting import AlertRecord
from domain.licence import Licence, Limit
from domain.model import Datastream, ObservedProperty, Station, StationKind
from domain.observation import Batch, columns
from service.bootstrap import Container
from service.jobs import evaluate_until
from service.settings import Settings
from storage.register_rows import Node
from tests.waiting import wait_until

pytestmark = pytest.mark.stack
RULES = (
    {
        "code": "deep", "kind": "threshold", "name_zh": "埋深", "name_en": "Depth", "source": "test", "unit": "m",
        "scope": {"property": "depth_to_water"}, "limits": "register", "limit_kinds": ["control"], "deadband": 0.5,
    },
    {
        "code": "quota", "kind": "quota", "name_zh": "许可", "name_en": "Quota", "source": "test",
        "scope": {"property": "abstraction_volume"}, "levels": {"blue": 100, "yellow": 105, "orange": 120},
    },
)  # fmt: skip
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


@pytest.fixture
def house(own_database_url: str, tmp_path: object) -> Iterator[Container]:
    settings = Settings(home=tmp_path, database_url=own_database_url, mqtt_url="mqtt://127.0.0.1:1", database_pool=4)  # type: ignore[arg-type]
    stop = threading.Event()
    with Container(settings) as container:
        registers = container.registers
        registers.set_node(Node("jiaxing", "嘉兴", "Jiaxing", "330400", zone="UTC"))
        registers.upsert_property(ObservedProperty("depth_to_water", "埋深", "depth to water", "m", "down positive"))
        registers.upsert_property(ObservedProperty("abstraction_volume", "水量", "volume", "m3", "up"))
        registers.add_station(Station("W1", StationKind.OBSERVATION_WELL, "井", "well", region_code="330421"), actor="t")
        registers.add_datastream(Datastream("W1", "depth_to_water", "m", interval_s=86400.0), actor="t")
        registers.add_datastream(Datastream("W1", "abstraction_volume", "m3", interval_s=86400.0), actor="t")
        for rule in RULES:
            container.alerts.save_rule(parse_rule(rule), now=container.clock())
        worker = threading.Thread(target=evaluate_until, args=(container, stop), daemon=True)
        worker.start()
        yield container
        stop.set()
        worker.join(30)


def store(house: Container, code: str, days: int, value: float, *, volumes: bool = False) -> None:
    """One value a day up to yesterday, and wait until it is judged."""
    stream = house.registers.datastream(code)
    assert stream is not None
    time = np.array([(TODAY - timedelta(days=n)).replace(tzinfo=None) for n in range(days, 0, -1)], dtype="datetime64[us]")
    noise = np.resize([0.0, 0.01, -0.01, 0.02], days)
    end = time + np.timedelta64(1, "D") if volumes else None
    rows = columns(stream.datastream_id or 0, time, value + noise, end=end)
    house.observations.commit(Batch("file", "test", rows))
    settled(house)


def settled(house: Container) -> None:
    wait_until(lambda: all(house.work.pending(kind).count == 0 for kind in ("quality", "evaluate")), 60, "everything is judged")


def alerts(house: Container) -> list[AlertRecord]:
    return sorted((item for item in (house.alerts.find_alert(n) for n in range(1, 20)) if item), key=lambda item: item.onset)


def test_a_lower_limit_opens_an_alert_on_what_is_stored_and_only_from_its_day_on(house: Container) -> None:
    limit = Limit("L", "depth_to_water", "m", 60.0, "control", "yellow", source="bureau 2020")
    house.registers.upsert_limit(limit)
    store(house, "W1:depth_to_water", 30, 50.0)
    assert alerts(house) == []
    begins = (TODAY - timedelta(days=10)).date()
    house.registers.upsert_limit(replace(limit, value=45.0, effective_from=begins, source="bureau 2026"))
    wait_until(lambda: len(alerts(house)) == 1, 60, "what is stored is judged by the new limit")
    (alert,) = alerts(house)
    assert (alert.state, alert.level) == (AlertState.FIRING, Level.YELLOW)
    assert alert.onset == TODAY - timedelta(days=10), "what was observed before is judged by the limit of its day"
    assert alert.evidence["limit"] == 45.0 and alert.evidence["limits"] == {"yellow": 45.0}
    assert alert.evidence["limit_source"] == {"code": "L", "source": "bureau 2026", "effective_from": begins.isoformat()}
    rule, station = house.alerts.rule(alert.rule_code), house.registers.station("W1")
    assert rule is not None
    said = describe(alert, rule, station, house.registers.datastream("W1:depth_to_water"), zone=UTC)
    assert f"bureau 2026 (L, in force since {begins})" in said.text_en and "bureau 2026（L，" in said.text_zh
    (message,) = house.alerts.cap_messages(alert.alert_id or 0)
    assert "<value>bureau 2026</value>" in message.body
    assert house.engine.explain(alert.identifier)["ok"]

    house.registers.upsert_limit(replace(limit, value=70.0, effective_from=TODAY.date() - timedelta(days=3)))
    wait_until(lambda: alerts(house)[0].state is AlertState.RESOLVED, 60, "a milder limit ends it from its day on")
    (alert,) = alerts(house)
    assert alert.ended == TODAY - timedelta(days=3) and not alert.memory.get("cancelled")
    assert alert.evidence["limit"] == 45.0, "the limit that it passed stands in its evidence"
    assert house.engine.explain(alert.identifier)["ok"]
    house.registers.upsert_limit(replace(limit, code="M", value=80.0, effective_from=date(2020, 1, 1), level="red"))
    settled(house)
    assert house.engine.explain(alert.identifier)["ok"], "what the register says today does not change what was judged"

    house.registers.upsert_limit(replace(limit, value=60.0, effective_from=begins))
    wait_until(lambda: alerts(house)[0].memory.get("cancelled"), 60, "a corrected limit takes back what it had brought")


def test_a_changed_licence_is_judged_without_new_data(house: Container) -> None:
    begin = TODAY.date() - timedelta(days=120)
    licence = Licence("C", "W1", "holder", begin, date(TODAY.year + 5, 1, 1), quota_m3_per_a=365_000.0 * 1.2,
                      licence_year_start=begin.strftime("%m-%d"), source="2020")  # fmt: skip
    house.registers.upsert_licence(licence)
    store(house, "W1:abstraction_volume", 120, 1000.0, volumes=True)
    assert alerts(house) == []
    house.registers.upsert_licence(replace(licence, quota_m3_per_a=365_000.0 / 1.1, effective_from=begin + timedelta(days=60)))
    wait_until(lambda: len(alerts(house)) == 1, 60, "what was taken is judged by the new quota")
    (alert,) = alerts(house)
    assert alert.level is Level.YELLOW and alert.evidence["details"]["quota_m3"] == pytest.approx(365_000.0 / 1.1)
    assert (begin + timedelta(days=59)) <= alert.onset.date() <= (begin + timedelta(days=62))
    house.registers.upsert_licence(replace(licence, quota_m3_per_a=500_000.0, effective_from=begin + timedelta(days=60)))
    wait_until(lambda: alerts(house)[0].state is AlertState.RESOLVED, 60, "a corrected licence takes it back")
    assert alerts(house)[0].memory.get("cancelled")

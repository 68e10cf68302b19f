"""The engine on the real store: one transaction, no second alert under concurrency, explained from the ledger."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from alerts.engine import AlertEngine
from alerts.rules import parse_rule
from alerts.store import AlertFilter
from domain.alert import AlertState, Confirmation, Level
from domain.alerting import AlertRecord
from domain.model import Datastream, Derivation, ObservedProperty, Station, StationKind
from domain.observation import Batch, columns
from storage.alerts import AlertRepository
from storage.analyses import AnalysisRepository
from storage.database import Database
from storage.observations import ObservationRepository
from storage.register_rows import Node
from storage.registers import RegisterRepository
from tests.alerts.fakes import ISSUER, RATE, SILENT, STAFF, T0

pytestmark = pytest.mark.stack

SCOPE = {"property": "displacement_up_rate_12mo"}
RULE = {**RATE, "scope": SCOPE}


class Stack:
    """The engine with its stores on one database."""

    def __init__(self, database: Database) -> None:
        self.registers = RegisterRepository(database)
        self.observations = ObservationRepository(database)
        self.alerts = AlertRepository(database)
        self.engine = AlertEngine(self.alerts, self.observations, self.registers, ISSUER, runs=AnalysisRepository(database))
        self.number = 0

    def rate(self) -> Datastream:
        """A new mark with the datastream of its rate."""
        self.number += 1
        code = f"R{self.number}"
        station = Station(
            code, StationKind.GNSS_MARK, f"点{code}", code, region_code=None, longitude_deg=120.9, latitude_deg=30.5
        )
        self.registers.add_station(station, actor="test")
        source = self.registers.add_datastream(Datastream(code, "displacement_up", "mm"), actor="test")
        derivation = Derivation("rate_12mo", "1", {"window": "P12M"}, "0" * 64, source.datastream_id)
        return self.registers.add_datastream(
            Datastream(code, "displacement_up_rate_12mo", "mm/a", derivation=derivation), actor="test"
        )

    def put(self, datastream: Datastream, rows: list[tuple[float, float]], *, sigma: float = 0.1, quality: int = 1):
        identity = datastream.datastream_id or 0
        times = [T0 + timedelta(days=day) for day, _ in rows]
        time = np.array([moment.replace(tzinfo=None) for moment in times], dtype="datetime64[us]")
        n = len(rows)
        values = columns(identity, time, [value for _, value in rows], sigma=np.full(n, sigma), quality=np.full(n, quality))
        self.observations.commit(Batch("file", "test", values))
        return identity, min(times), max(times)

    def alerts_on(self, datastream: Datastream) -> list[AlertRecord]:
        return list(self.alerts.list_alerts(AlertFilter(datastream=datastream.code))[0])


@pytest.fixture(scope="module")
def on_stack(database_url: str) -> Iterator[Stack]:
    """A migrated database with one rule and one receiver."""
    with Database(database_url, max_size=12) as database:
        stack = Stack(database)
        stack.registers.set_node(Node("jiaxing", "嘉兴", "Jiaxing", "330400"))
        stack.registers.upsert_property(ObservedProperty("displacement_up", "垂直位移", "vertical displacement", "mm", "up"))
        stack.registers.upsert_property(ObservedProperty("displacement_up_rate_12mo", "速率", "rate", "mm/a", "up"))
        stack.alerts.save_rule(parse_rule(RULE), now=T0)
        stack.alerts.save_receiver(STAFF)
        yield stack


def now_at(day: float) -> datetime:
    return T0 + timedelta(days=day)


def test_an_alert_lives_through_its_states_in_the_database(on_stack: Stack):
    datastream = on_stack.rate()
    on_stack.engine.evaluate([on_stack.put(datastream, [(0, -11.0)])], now_at(0.1))
    (alert,) = on_stack.alerts_on(datastream)
    assert (alert.state, alert.level, alert.datastream) == (AlertState.FIRING, Level.YELLOW, datastream.code)
    on_stack.engine.acknowledge(alert.identifier, "王工", None, now_at(0.2))
    on_stack.engine.evaluate([on_stack.put(datastream, [(0, -7.0)])], now_at(1))
    on_stack.engine.evaluate([on_stack.put(datastream, [(0, -1.0)])], now_at(2))
    (alert,) = on_stack.alerts_on(datastream)
    assert alert.state is AlertState.RESOLVED
    assert alert.acknowledged_by == "王工"
    messages = on_stack.alerts.cap_messages(alert.alert_id or 0)
    assert [message.message_type.value for message in messages] == ["Alert", "Update", "Cancel"]
    assert [item.kind for item in on_stack.alerts.transitions(alert.alert_id or 0)] == [
        "fired",
        "acknowledged",
        "lowered",
        "cancelled",
    ]
    assert len(on_stack.alerts.notifications(alert_id=alert.alert_id)) == 3
    assert on_stack.engine.explain(alert.identifier)["ok"]


def test_an_alert_comes_out_the_same_from_the_ledger_after_its_data_were_corrected(on_stack: Stack):
    datastream = on_stack.rate()
    on_stack.engine.evaluate([on_stack.put(datastream, [(0, -6.0), (1, -12.0)])], now_at(1.1))
    on_stack.put(datastream, [(0, -2.0), (1, -2.0), (2, -2.0)])
    told = on_stack.engine.explain(on_stack.alerts_on(datastream)[0].identifier)
    assert told["ok"], told
    assert told["recomputed"]["value"] == 12.0


def test_two_workers_on_the_same_change_open_one_alert(on_stack: Stack):
    datastreams = [on_stack.rate() for _ in range(5)]
    changes = [on_stack.put(datastream, [(0, -11.0)]) for datastream in datastreams]
    failures: list[BaseException] = []
    start = threading.Barrier(3)

    def work() -> None:
        try:
            start.wait()
            on_stack.engine.evaluate(changes, now_at(0.5))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    for datastream in datastreams:
        (alert,) = on_stack.alerts_on(datastream)
        assert len(on_stack.alerts.cap_messages(alert.alert_id or 0)) == 1


def test_a_confirmation_sends_what_waited(on_stack: Stack):
    datastream = on_stack.rate()
    on_stack.alerts.save_receiver(replace(STAFF, code="partner", outside=True))
    on_stack.engine.evaluate([on_stack.put(datastream, [(0, -25.0)])], now_at(0.1))
    (alert,) = on_stack.alerts_on(datastream)
    assert alert.confirmation is Confirmation.AWAITED
    assert on_stack.alerts.notifications(alert_id=alert.alert_id) == []
    confirmed = on_stack.engine.confirm(alert.identifier, "王工", None, now_at(0.2))
    assert confirmed.confirmation is Confirmation.CONFIRMED
    assert {item.receiver_code for item in on_stack.alerts.notifications(alert_id=alert.alert_id)} == {"staff", "partner"}


def test_the_first_tick_evaluates_what_a_new_rule_has_not_seen(on_stack: Stack):
    datastream = on_stack.rate()
    on_stack.put(datastream, [(0, -11.0)])
    fresh = AlertEngine(on_stack.alerts, on_stack.observations, on_stack.registers, ISSUER)
    fresh.tick(datetime(2026, 1, 2, tzinfo=UTC))
    assert len(on_stack.alerts_on(datastream)) == 1


def test_forty_days_of_backfill_are_one_silent_record_and_no_storm(on_stack: Stack):
    datastream = on_stack.rate()
    on_stack.engine.evaluate([on_stack.put(datastream, [(60, -1.0)])], now_at(60.1))
    old = [(hour / 24, -14.0 if hour % 24 < 6 else -1.0) for hour in range(960)]
    for _ in range(2):
        on_stack.engine.evaluate([on_stack.put(datastream, old)], now_at(61))
    (alert,) = on_stack.alerts_on(datastream)
    assert (alert.state, alert.evidence["episodes_total"]) == (AlertState.RESOLVED, 40)
    assert on_stack.alerts.notifications(alert_id=alert.alert_id) == []
    assert on_stack.alerts.cap_messages(alert.alert_id or 0) == []
    assert on_stack.engine.explain(alert.identifier)["ok"]


def test_an_archive_is_told_by_when_it_was_received_and_a_stopped_station_is_silent(on_stack: Stack):
    rule = {**SILENT, "scope": {"datastream": "ARC-*", "derived": False}}
    on_stack.alerts.save_rule(parse_rule(rule), now=T0)
    received = datetime.now(UTC)  # by the store's own clock
    for code, age_d, confirmed in (("ARC-OLD", 3000, True), ("ARC-NEW", 3000, False), ("ARC-STOPPED", 30, True)):
        station = Station(code, StationKind.GNSS_MARK, f"点{code}", code, confirmed=confirmed)
        on_stack.registers.add_station(station, actor="test")
        stream = Datastream(code, "displacement_up", "mm", interval_s=86400.0, confirmed=confirmed)
        on_stack.put(
            on_stack.registers.add_datastream(stream, actor="test"), [((received - T0) / timedelta(days=1) - age_d, 1.0)]
        )
    on_stack.engine.tick(received)
    said = {state.scope: (state.verdict.value, state.reason) for state in on_stack.alerts.rule_states(rule_code="silent")}
    assert said == {
        "ARC-OLD": ("cannot_tell", "never_live"),
        "ARC-NEW": ("cannot_tell", "unconfirmed"),
        "ARC-STOPPED": ("breach", ""),
    }
    listed, _ = on_stack.alerts.list_alerts(AlertFilter(rule_code="silent"))
    assert [alert.scope for alert in listed] == ["ARC-STOPPED"]

"""The store of alerting: transactions, identifiers, versions, pages, outbox."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alerts.store import AlertFilter, AlertStore
from domain.alert import AlertState, Confirmation, Level, MessageType, Verdict
from domain.alerting import (
    AlertRecord,
    CapMessage,
    Notification,
    NotificationState,
    Receiver,
    Rule,
    RuleKey,
    RuleState,
    Silence,
    Transition,
)
from domain.errors import ConflictError, NotFoundError, RequestError
from domain.model import Datastream
from storage.alerts import AlertRepository
from storage.database import Database

pytestmark = pytest.mark.stack

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RULE = Rule("subsidence", "threshold", "沉降", "subsidence", {"levels": {"red": 30.0}}, "test", "somebody")


@pytest.fixture(scope="module")
def store(database: Database) -> AlertStore:
    repository: AlertStore = AlertRepository(database)
    repository.save_rule(RULE, now=NOW)
    repository.save_receiver(Receiver("desk", "webhook", {"url": "http://127.0.0.1:9/"}))
    return repository

    return iter(range(1_000_000))


def alert_of(datastream: Datastream, **more: Any) -> AlertRecord:
    alert = AlertRecord(
        f"id-{datastream.code}",
        "subsidence",
        1,
        datastream.code,
        AlertState.FIRING,
        Level.ORANGE,
        Level.ORANGE,
        NOW,
        Verdict.BREACH,
        Confirmation.AWAITED,
        {"value": 31.5, "nothing": float("nan")},
        NOW,
        NOW,
        station=datastream.station,
        datastream_id=datastream.datastream_id,
    )
    return replace(alert, **more)


def stored(store: AlertStore, datastream: Datastream, **more: Any) -> AlertRecord:
    with store.transaction() as unit:
        return unit.add_alert(alert_of(datastream, **more))


def test_an_alert_comes_back_with_its_codes(store: AlertStore, datastream: Datastream) -> None:
    added = stored(store, datastream)
    found = store.find_alert(added.alert_id or 0)
    assert found is not None
    assert found == store.find_alert(added.identifier)
    assert (found.station, found.datastream, found.level) == (datastream.station, datastream.code, Level.ORANGE)
    assert found.evidence == {"value": 31.5, "nothing": None}
    assert found.ledger_seq == added.ledger_seq == store.current_seq()


def test_all_of_a_transaction_or_nothing(store: AlertStore, datastream: Datastream) -> None:
    seq = store.current_seq()
    with pytest.raises(RuntimeError), store.transaction([RuleKey("subsidence", datastream.code)]) as unit:
        added = unit.add_alert(alert_of(datastream))
        unit.add_transition(Transition(added.alert_id or 0, "open", AlertState.FIRING, NOW, NOW, "engine", "breach"))
        unit.enqueue([Notification(f"k-{datastream.code}", "desk", MessageType.ALERT, {}, NOW, NOW, added.alert_id)])
        raise RuntimeError
    assert store.find_alert(f"id-{datastream.code}") is None
    assert store.current_seq() == seq
    with store.transaction() as unit:
        added = unit.add_alert(alert_of(datastream))
        unit.add_transition(Transition(added.alert_id or 0, "open", AlertState.FIRING, NOW, NOW, "engine", "breach"))
        unit.add_cap(CapMessage(f"cap-{datastream.code}", added.alert_id or 0, "s", NOW, MessageType.ALERT, "<alert/>"))
        assert [message.body for message in unit.cap_of(added.alert_id or 0)] == ["<alert/>"]
    assert store.current_seq() == added.ledger_seq
    assert [step.reason for step in store.transitions(added.alert_id or 0)] == ["breach"]
    assert store.recent_cap(1)[0].identifier == f"cap-{datastream.code}"


def test_a_key_has_one_open_alert(store: AlertStore, datastream: Datastream) -> None:
    first = stored(store, datastream)
    with pytest.raises(ConflictError):
        stored(store, datastream, identifier="another")
    with store.transaction() as unit:
        unit.update_alert(replace(unit.alert(first.alert_id or 0), state=AlertState.RESOLVED, ended=NOW))
    second = stored(store, datastream, identifier=f"second-{datastream.code}", onset=NOW + timedelta(days=1))
    key = RuleKey("subsidence", datastream.code)
    with store.transaction([key]) as unit:
        assert [alert.alert_id for alert in unit.alerts_of([key])[key]] == [first.alert_id, second.alert_id]
        with pytest.raises(NotFoundError):
            unit.alert(10**9)


def test_states_are_replaced_without_a_ledger_entry(store: AlertStore, datastream: Datastream) -> None:
    key, seq = RuleKey("subsidence", datastream.code), store.current_seq()
    state = RuleState(
        "subsidence", datastream.code, 1, Verdict.CANNOT_TELL, Level.NONE, NOW, reason="too little data", memory={"n": 1}
    )
    for value in (None, 2.5):
        with store.transaction([key]) as unit:
            unit.put_states([replace(state, value=value)])
            assert unit.states([key, RuleKey("subsidence", "nowhere")]) == {key: replace(state, value=value)}
    assert replace(state, value=2.5) in store.rule_states(verdict="cannot_tell")
    assert store.current_seq() == seq


def test_a_worker_that_remembers_states_reads_what_another_one_wrote_and_nothing_that_was_rolled_back(
    store: AlertStore, datastream: Datastream, database: Database
) -> None:
    key, other = RuleKey("subsidence", datastream.code), AlertRepository(database)
    state = RuleState("subsidence", datastream.code, 1, Verdict.OK, Level.NONE, NOW, value=1.0, memory={"at": NOW.isoformat()})

    def seen_by(repository: AlertStore) -> RuleState | None:
        with repository.transaction([key]) as unit:
            return unit.states([key]).get(key)

    assert seen_by(store) is None
    with store.transaction([key]) as unit:
        unit.put_states([state])
    assert seen_by(store) == seen_by(other) == state
    with other.transaction([key]) as unit:
        unit.put_states([replace(state, value=2.0)])
    assert seen_by(store) == seen_by(other) == replace(state, value=2.0)
    with pytest.raises(ZeroDivisionError), store.transaction([key]) as unit:
        unit.put_states([replace(state, value=3.0)])
        raise ZeroDivisionError
    assert seen_by(store) == replace(state, value=2.0)


def test_an_identifier_is_given_once(store: AlertStore, datastream: Datastream) -> None:
    at = datetime(2026, 1, 1, 15, 59, 59, 700_000, tzinfo=UTC)
    with store.transaction() as one, store.transaction() as other:
        given = [one.free_identifier("33040041600000", at) for _ in range(9)]
        given += [other.free_identifier("33040041600000", at) for _ in range(3)]
    assert given[0] == "33040041600000_20260101235959_0"
    assert given[-1] == "33040041600000_20260102000000_1"
    assert len(set(given)) == len(given)
    stored(store, datastream, identifier=given[0])
    with store.transaction() as unit:
        assert unit.free_identifier("33040041600000", at) == given[1]


def test_a_rule_that_says_the_same_is_no_new_version(store: AlertStore) -> None:
    rule = replace(RULE, code="rate")
    first = store.save_rule(rule, now=NOW)
    assert store.save_rule(replace(rule, author="somebody else"), now=NOW) == first
    second = store.save_rule(replace(rule, definition={"levels": {"red": 25.0}}), now=NOW)
    assert (first.version, second.version) == (1, 2)
    assert store.rule("rate") == second
    assert store.rule("rate", 1) == first
    off = store.save_rule(replace(second, enabled=False), now=NOW)
    assert off.version == 3
    assert "rate" not in {rule.code for rule in store.rules()}
    assert "rate" in {rule.code for rule in store.rules(enabled_only=False)}


def test_alerts_are_listed_newest_first_in_pages(store: AlertStore, datastream: Datastream) -> None:
    for number in range(5):
        stored(
            store,
            datastream,
            identifier=f"page-{number}",
            scope=f"page {number}",
            updated_at=NOW + timedelta(hours=number // 2),
            level=Level.RED if number else Level.BLUE,
        )
    wanted = AlertFilter(station=datastream.station.lower(), levels=(Level.RED,), since=NOW)
    seen, after = [], None
    while True:
        page, after = store.list_alerts(wanted, after=after, limit=2)
        seen += [alert.identifier for alert in page]
        if after is None:
            break
    assert seen == ["page-4", "page-3", "page-2", "page-1"]
    assert store.list_alerts(AlertFilter(station=datastream.station, acknowledged=True))[0] == []
    with pytest.raises(RequestError):
        store.list_alerts(wanted, after="nonsense")


def test_the_outbox_keeps_its_order_and_its_keys(store: AlertStore) -> None:
    items = [Notification(f"outbox-{n}", "desk", MessageType.ALERT, {"n": n}, NOW, NOW) for n in range(3)]
    with store.transaction() as unit:
        assert unit.enqueue(items) == 3
        assert unit.enqueue(items) == 0
    waiting = [item for item in store.waiting("desk", 1000) if item.idempotency_key.startswith("outbox")]
    assert [item.payload["n"] for item in waiting] == [0, 1, 2]
    ids = [item.notification_id or 0 for item in waiting]
    store.mark_sent(ids[0], NOW)
    store.mark_failed(ids[1], "refused", NOW + timedelta(minutes=1))
    store.mark_dead(ids[2], "gone")
    assert [item.attempts for item in store.waiting("desk", 1000) if item.notification_id == ids[1]] == [1]
    dead = store.notifications(state=NotificationState.DEAD)
    assert [(item.notification_id, item.last_error) for item in dead] == [(ids[2], "gone")]
    store.revive(ids[2], NOW)
    revived = [item for item in store.waiting("desk", 1000) if item.notification_id == ids[2]]
    assert [item.payload for item in revived] == [{"n": 2, "replay": True}]
    with pytest.raises(NotFoundError):
        store.revive(ids[2], NOW)


def test_a_silence_needs_a_reason_and_ends(store: AlertStore) -> None:
    silence = Silence({"station": "S*"}, NOW, NOW + timedelta(days=1), "somebody", "maintenance")
    with pytest.raises(ConflictError):
        store.add_silence(replace(silence, reason=""))
    added = store.add_silence(silence)
    assert added in store.silences(NOW)
    store.end_silence(added.silence_id or 0, "another", NOW + timedelta(hours=1))
    assert added.silence_id not in {item.silence_id for item in store.silences(NOW + timedelta(hours=2))}
    with pytest.raises(NotFoundError):
        store.end_silence(added.silence_id or 0, "another", NOW + timedelta(hours=3))

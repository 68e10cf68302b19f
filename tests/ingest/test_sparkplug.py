"""Sparkplug B: the schema's own bytes, births and aliases, gaps and deaths, and the whole way over a real broker."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.enums import CallbackAPIVersion

from domain.errors import InputError
from domain.model import Datastream, Device, Station, StationKind
from ingest.formats import MESSAGE_FORMATS, MessageContext
from ingest.formats.native_json import Elements
from ingest.formats.sparkplug import read_payload
from ingest.messages import Message
from ingest.pipeline import Pipeline
from ingest.transports.births import AliasError, BirthBook
from ingest.transports.mqtt import MqttIngest
from ingest.transports.mqtt_settings import MqttSettings
from ingest.transports.topics import message_of
from tests.conftest import BrokerLogin
from tests.ingest import sparkplug_wire as wire
from tests.ingest.conftest import NOW
from tests.ingest.memory import MemoryRegistry, MemoryStore
from tests.ingest.sparkplug_wire import metric, payload
from tests.ingest.test_mqtt import Running
from tests.waiting import wait_until

AT_MS = round((NOW - timedelta(minutes=1)).timestamp() * 1000)
DEVICE = "SPA/PLC1/W1"
BIRTH = payload(
    [
        metric("Well/Temperature", 52.5, alias=1, datatype=wire.FLOAT, at_ms=AT_MS),
        metric("Well/Level", -120, alias=2, datatype=wire.INT32, at_ms=AT_MS),
        metric("bdSeq", 3, datatype=wire.INT64),
        metric("Node Control/Rebirth", False, datatype=wire.BOOLEAN),
    ],
    at_ms=AT_MS,
    seq=1,
)
ELEMENTS = {
    "Well/Temperature": {"property": "wellhead_temperature", "unit": "Cel"},
    "Well/Level": {"property": "depth_to_water", "unit": "cm"},
}


def parsed(raw: bytes, attributes: Mapping[str, Any] | None = None, topic: str = "spBv1.0/SPA/DDATA/PLC1/W1") -> Elements:
    return MESSAGE_FORMATS["sparkplug"].elements(raw, MessageContext(topic, NOW, "S1", attributes or {"elements": ELEMENTS}))


def arriving(kind: str, raw: bytes, device: str = "/W1") -> Message:
    message = message_of(f"spBv1.0/SPA/{kind}/PLC1{device}", raw, NOW)
    assert message is not None
    return message


def test_a_topic_names_group_node_and_device() -> None:
    assert arriving("DDATA", b"").device == DEVICE
    assert arriving("NDATA", b"", "").device == "SPA/PLC1"
    assert message_of("spBv1.0/SPA/NCMD/PLC1", b"", NOW) is None
    assert message_of("spBv1.0/STATE/scada", b"", NOW) is None


def test_metrics_are_placed_by_the_device_and_controls_are_passed_over() -> None:
    found = parsed(BIRTH)
    assert [(one.key, one.result, one.quality) for one in found.values] == [
        ("wellhead_temperature", 52.5, 1),
        ("depth_to_water", -120.0, 1),
    ]
    assert {one.time_us for one in found.values} == {AT_MS * 1000}
    assert found.units == {"wellhead_temperature": "Cel", "depth_to_water": "cm"}
    assert found.rejected == []


def test_numbers_of_every_type_nulls_and_times() -> None:
    metrics = [
        metric("a/head:upper", 1.25),
        metric("b/water_temperature", -5, datatype=wire.INT64, at_ms=AT_MS - 1000, is_historical=True),
        metric("c/pump_state", True, datatype=wire.BOOLEAN),
        metric("d/air_pressure", None),
        metric("e/flow_velocity", math.nan),
        metric("Unknown Name", 4.0),
        metric("Maker", "Acme", datatype=wire.STRING),
        metric("f/battery_voltage", "3.6", datatype=wire.STRING),
        metric("g/rain", math.inf),
    ]
    found = parsed(payload(metrics, at_ms=AT_MS), {})
    values = {one.key: (one.result, one.quality) for one in found.values if not math.isnan(one.result)}
    assert values == {"head:upper": (1.25, 1), "water_temperature": (-5.0, 1), "pump_state": (1.0, 1)}
    assert {one.key for one in found.values if math.isnan(one.result) and one.quality == 9} == {"air_pressure", "flow_velocity"}
    assert found.values[1].time_us == (AT_MS - 1000) * 1000
    assert [(one.line, one.code) for one in found.rejected] == [(6, "element"), (8, "value"), (9, "value")]
    assert parsed(payload([metric("Unknown Name", 4.0)]), {"ignored": ["Unknown Name"]}).is_sign_of_life
    (undated,) = parsed(payload([metric("a/head", 1.0)]), {}).values
    assert (undated.quality, undated.reasons) == (2, ("clock",))
    (late,) = parsed(payload([metric("a/head", 1.0, at_ms=2**60)]), {}).rejected
    assert late.code == "time"


def test_a_death_ends_at_the_book_and_begins_the_sequence_anew() -> None:
    book = BirthBook(None)
    book.complete(arriving("DDATA", payload([metric("x/head", 1.0)], at_ms=AT_MS, seq=7)))
    assert book.complete(arriving("NDEATH", payload([metric("bdSeq", 3, datatype=wire.INT64)]), "")) == (None, None)
    assert book.complete(arriving("DDATA", payload([metric("x/head", 1.0)], at_ms=AT_MS, seq=3)))[1] is None


def test_data_by_alias_gets_names_and_types_from_the_birth_and_survives_a_restart(tmp_path: Path) -> None:
    book = BirthBook(tmp_path / "births")
    book.complete(arriving("DBIRTH", BIRTH))
    data = payload([metric(None, -121, alias=2, datatype=None, kind=wire.INT32)], at_ms=AT_MS, seq=2)
    for reader in (book, BirthBook(tmp_path / "births")):
        message, asks = reader.complete(arriving("DDATA", data))
        assert message is not None
        assert asks is None
        assert [(one.key, one.result) for one in parsed(message.payload).values] == [("depth_to_water", -121.0)]


def test_an_unknown_alias_is_kept_and_its_node_asked_for_its_births_once_a_minute() -> None:
    now = [0.0]
    book = BirthBook(None, monotonic=lambda: now[0])
    data = payload([metric(None, 1.0, alias=9)], at_ms=AT_MS, seq=4)
    message, asks = book.complete(arriving("DDATA", data))
    assert message is not None
    assert asks == "spBv1.0/SPA/NCMD/PLC1"
    assert [one.code for one in parsed(message.payload).rejected] == ["alias"]
    assert book.complete(arriving("DDATA", data))[1] is None
    now[0] = 61.0
    assert book.complete(arriving("DDATA", data))[1] == asks


def test_a_new_birth_of_the_node_forgets_the_aliases_of_the_old_one() -> None:
    book = BirthBook(None)
    book.complete(arriving("NBIRTH", payload([metric("x/head", 1.0, alias=1)], seq=0), ""))
    book.complete(arriving("NBIRTH", payload([metric("x/water_temperature", 1.0, alias=2)], seq=0), ""))
    message, _ = book.complete(arriving("NDATA", payload([metric(None, 2.0, alias=1)], at_ms=AT_MS, seq=1), ""))
    assert message is not None
    assert [one.code for one in parsed(message.payload).rejected] == ["alias"]


@pytest.mark.parametrize(
    ("sequence", "asks"), [([0, 1, 2], False), ([0, 1, 3], True), ([254, 255, 0, 1], False), ([5, 5, 6], False)]
)
def test_a_gap_in_the_sequence_asks_for_the_births(sequence: list[int], asks: bool) -> None:
    book = BirthBook(None)
    asked = [book.complete(arriving("DDATA", payload([metric("x/head", 1.0)], at_ms=AT_MS, seq=seq)))[1] for seq in sequence]
    assert any(asked) is asks
    shared = BirthBook(None, counts_sequence=False)
    assert not any(shared.complete(arriving("DDATA", payload([], seq=seq)))[1] for seq in sequence)


NAMELESS = {seq: payload([metric(None, 50.0 + seq, alias=1)], at_ms=AT_MS + seq * 1000, seq=seq) for seq in range(20)}


def node_birth(session: int | None, alias: int = 1) -> bytes:
    number = [] if session is None else [metric("bdSeq", session, datatype=wire.INT64)]
    return payload([metric("Well/Temperature", 52.5, alias=alias, at_ms=AT_MS), *number], at_ms=AT_MS, seq=0)


def death(session: int) -> bytes:
    return payload([metric("bdSeq", session, datatype=wire.INT64)])


class Node:
    """What an edge node publishes, a second after the other, and what its messages can be called afterwards."""

    def __init__(self, book: BirthBook) -> None:
        self.book, self.at, self.connection = book, NOW, 0
        self.waiting: list[Message] = []
        self.asked = 0

    def says(self, kind: str, raw: bytes) -> None:
        self.at += timedelta(seconds=1)
        message = message_of(f"spBv1.0/SPA/{kind}/PLC1{'/W1' if kind.startswith('D') else ''}", raw, self.at)
        assert message is not None
        done, ask = self.book.complete(message, self.connection)
        self.asked += ask is not None
        if done is not None and [one for one in parsed(done.payload).rejected if one.code == "alias"]:
            self.waiting.append(done)

    def recalled(self) -> list[float | str]:
        found: list[float | str] = []
        for message in self.waiting:
            try:
                (value,) = parsed(self.book.recalled(message).payload).values
                found.append(value.result)
            except AliasError as fault:
                found.append(str(fault))
        return found


def test_what_came_before_a_birth_that_was_asked_for_is_named_by_it() -> None:
    node = Node(BirthBook(None))
    for seq in (5, 6, 7):
        node.says("NDATA", NAMELESS[seq])
    assert node.asked == 1
    assert all("no birth certificate names" in str(said) for said in node.recalled())
    node.says("NBIRTH", node_birth(3))
    assert node.book.take_born() == ["SPA/PLC1"]
    assert node.book.take_born() == []
    assert node.recalled() == [55.0, 56.0, 57.0]


def test_only_what_no_gap_parts_from_the_birth_is_named() -> None:
    node = Node(BirthBook(None))
    for seq in (5, 6, 9, 10):
        node.says("NDATA", NAMELESS[seq])
    node.says("NBIRTH", node_birth(3))
    first, second, *others = node.recalled()
    assert others == [59.0, 60.0]
    assert "messages in between were lost" in str(first)
    assert "Remedy: have the edge node send it again" in str(second)


@pytest.mark.parametrize(
    ("happens", "why"),
    [
        (lambda node: node.says("NDEATH", death(2)), "the node died in between"),
        (lambda node: setattr(node, "connection", 1), "our connection to the broker was lost in between"),
        (lambda node: setattr(node.book, "counts_sequence", False), "the birth came unasked"),
    ],
    ids=["death", "connection", "shared"],
)
def test_what_another_session_may_have_sent_goes_on_waiting_with_its_reason(happens: Callable[[Node], None], why: str) -> None:
    node = Node(BirthBook(None))
    node.book.counts_sequence = why != "the birth came unasked"
    node.says("NDATA", NAMELESS[5])
    happens(node)
    node.says("NBIRTH", node_birth(3))
    (said,) = node.recalled()
    assert "nothing proves that it is of the session whose births are known" in str(said)
    assert why in str(said)


def test_a_birth_that_nobody_asked_for_proves_nothing() -> None:
    node = Node(BirthBook(None, may_ask=False))
    node.says("NDATA", NAMELESS[5])
    node.says("NBIRTH", node_birth(3))
    assert node.asked == 0
    assert "the birth came unasked, as after a restart" in str(node.recalled()[0])


def test_the_same_bd_seq_proves_the_session_across_gaps_and_restarts_of_ours(tmp_path: Path) -> None:
    first = Node(BirthBook(tmp_path))
    first.says("NBIRTH", node_birth(3, alias=7))
    first.says("NDATA", NAMELESS[1])  # of a metric that came later, and whose birth was lost
    second = Node(BirthBook(tmp_path))
    second.at, second.waiting = first.at, first.waiting
    second.says("NDATA", NAMELESS[9])
    second.says("NBIRTH", node_birth(3))
    assert second.recalled() == [51.0, 59.0]
    second.says("NBIRTH", node_birth(4))
    assert all("the session before had bdSeq 3, this one has 4" in str(said) for said in second.recalled())


def test_a_death_ends_the_aliases_of_its_session_and_a_late_will_of_an_earlier_one_does_not() -> None:
    node = Node(BirthBook(None))
    node.says("NBIRTH", node_birth(4))
    node.says("NDEATH", death(3))
    node.says("NDATA", NAMELESS[1])
    assert node.waiting == []
    node.says("NDEATH", death(4))
    node.says("NDATA", NAMELESS[2])
    assert len(node.waiting) == 1
    assert node.asked == 1


def test_a_death_that_cannot_be_read_ends_the_session_and_is_kept() -> None:
    book = BirthBook(None)
    book.complete(arriving("NBIRTH", node_birth(4), ""))
    damaged = arriving("NDEATH", b"\xff\xff", "")
    assert book.complete(damaged) == (damaged, None)
    with pytest.raises(InputError):
        parsed(damaged.payload)
    data, _ = book.complete(arriving("NDATA", NAMELESS[1], ""))
    assert data is not None
    assert [one.code for one in parsed(data.payload).rejected] == ["alias"]


def test_a_devices_birth_that_renames_an_alias_names_nothing_of_before() -> None:
    node = Node(BirthBook(None))
    node.says("NBIRTH", node_birth(4, alias=2))
    node.says("NDATA", NAMELESS[1])
    node.says("DBIRTH", payload([metric("Well/Level", 1.0, alias=2), metric("Well/Temperature", 1.0, alias=1)], seq=2))
    assert "gave the alias another name" in str(node.recalled()[0])


def test_without_the_brokers_session_no_alias_is_known(tmp_path: Path) -> None:
    node = Node(BirthBook(tmp_path))
    node.says("NBIRTH", node_birth(4))
    node.book.forget_sessions()
    node.says("NDATA", NAMELESS[1])
    assert (len(node.waiting), node.asked) == (1, 1)
    assert list(tmp_path.glob("*.json")) == []


def test_a_process_beside_reads_what_another_was_told(tmp_path: Path) -> None:
    here, there = Node(BirthBook(tmp_path, counts_sequence=False)), Node(BirthBook(tmp_path, counts_sequence=False))
    here.says("NDATA", NAMELESS[1])
    there.says("NBIRTH", node_birth(4))
    here.says("NDATA", NAMELESS[2])
    assert len(here.waiting) == 1


def test_births_kept_by_an_earlier_version_name_what_comes_and_nothing_that_waited(tmp_path: Path) -> None:
    (tmp_path / "SPA%2FPLC1.json").write_text('{"1": ["Well/Temperature", 10]}', encoding="utf-8")
    node = Node(BirthBook(tmp_path))
    node.says("NDATA", NAMELESS[1])
    assert node.waiting == []
    waited = message_of("spBv1.0/SPA/NDATA/PLC1", NAMELESS[2], NOW)
    assert waited is not None
    with pytest.raises(AliasError, match="no birth certificate of the edge node itself"):
        node.book.recalled(waited)


@given(
    st.lists(st.sampled_from(["data", "lost", "death", "birth", "restart", "cut"]), max_size=25),
    st.booleans(),
)
def test_nothing_is_ever_named_by_the_births_of_another_session(happens: list[str], may_ask: bool) -> None:
    """Each session gives its alias a name of its own; a device of the truth holds which message was sent in which."""
    book = BirthBook(None, may_ask=may_ask)
    at, session, sequence, connection = NOW, 0, 0, 0
    sent: list[tuple[Message, int]] = []

    def says(kind: str, raw: bytes) -> bool:
        nonlocal at
        at += timedelta(seconds=1)
        message = message_of(f"spBv1.0/SPA/{kind}/PLC1", raw, at)
        assert message is not None
        done, ask = book.complete(message, connection)
        if done is not None and kind == "NDATA":
            sent.append((done, session))
        return ask is not None

    def births() -> None:
        nonlocal sequence
        sequence = 0
        says("NBIRTH", payload([metric(f"s/{session}", 1.0, alias=1), metric("bdSeq", session, datatype=wire.INT64)], seq=0))

    for event in happens:
        if event == "data":
            sequence = (sequence + 1) % 256
            if says("NDATA", payload([metric(None, 1.0, alias=1)], at_ms=AT_MS, seq=sequence)):
                births()
        elif event == "lost":
            sequence = (sequence + 1) % 256
        elif event == "birth":
            births()
        elif event == "death":  # the will comes, and the birth of the next session is lost
            says("NDEATH", death(session))
            session, sequence = session + 1, 0
        elif event == "restart":  # an orderly one: death and birth both come
            says("NDEATH", death(session))
            session += 1
            births()
        else:  # the broker falls: the will is lost with it, and our connection breaks
            connection, session = connection + 1, session + 1
            births()
    for message, truth in sent:
        with suppress(AliasError):
            (named,) = read_payload(book.recalled(message).payload, where="test").metrics
            assert named.name == f"s/{truth}"


@given(st.binary(max_size=200))
def test_no_bytes_make_reader_or_book_fall(raw: bytes) -> None:
    for content in (raw, BIRTH[:20] + raw, BIRTH + raw):
        message, _ = BirthBook(None).complete(arriving("DBIRTH", content))
        assert message is not None
        try:
            parsed(message.payload)
        except InputError:
            continue


@given(value=st.integers(-(2**31), 2**31 - 1), at=st.integers(1, 2**41))
def test_what_a_node_encodes_is_what_is_read(value: int, at: int) -> None:
    (found,) = parsed(payload([metric("x/head", value, datatype=wire.INT32, at_ms=at)]), {}).values
    assert (found.result, found.time_us) == (float(value), at * 1000)


@pytest.mark.stack
def test_over_a_real_broker_births_data_and_a_rebirth(
    pipeline: Pipeline, registry: MemoryRegistry, store: MemoryStore, broker: BrokerLogin, tmp_path: Path
) -> None:
    registry.add_station(Station("SPA-1", StationKind.GEOTHERMAL_WELL, "温泉一号", "Spa 1"), actor="t")
    for name, unit in (("wellhead_temperature", "Cel"), ("depth_to_water", "m")):
        registry.add_datastream(Datastream("SPA-1", name, unit), actor="t")
    registry.devices["sparkplug", DEVICE] = Device("sparkplug", DEVICE, "SPA-1", attributes={"elements": ELEMENTS})
    settings = MqttSettings(broker.url, client_id=f"sparkplug-{uuid.uuid4().hex[:8]}")
    commands: list[tuple[str, bytes]] = []
    broker.stack.add_gateway("PLC1", "secret", topics=("spBv1.0/SPA/+/PLC1/#",))
    node = paho.Client(CallbackAPIVersion.VERSION2, client_id=f"plc-{uuid.uuid4().hex[:8]}")
    node.username_pw_set("PLC1", "secret")
    node.on_message = lambda _client, _data, message: commands.append((message.topic, message.payload))
    node.connect(broker.host, broker.port)
    node.loop_start()
    wait_until(node.is_connected, 10, "the node is connected")
    node.subscribe("spBv1.0/SPA/NCMD/PLC1", qos=1)
    running = Running(MqttIngest(settings, pipeline, lambda: datetime.now(UTC), births=BirthBook(tmp_path)))
    running.start()
    try:
        unnamed = payload([metric(None, 3.0, alias=1)], at_ms=AT_MS, seq=9)
        node.publish("spBv1.0/SPA/DDATA/PLC1/W1", unnamed, qos=1).wait_for_publish(10)
        wait_until(lambda: len(store.quarantine) == 1, 10, "what nobody can name is kept")
        wait_until(lambda: commands, 10, "the node is asked for its births")
        node.publish("spBv1.0/SPA/DBIRTH/PLC1/W1", BIRTH, qos=1).wait_for_publish(10)
        later = payload([metric(None, 53.0, alias=1, datatype=None, kind=wire.FLOAT)], at_ms=AT_MS + 1000, seq=2)
        node.publish("spBv1.0/SPA/DDATA/PLC1/W1", later, qos=1).wait_for_publish(10)
        node.publish("spBv1.0/SPA/NDEATH/PLC1", payload([metric("bdSeq", 3, datatype=wire.INT64)]), qos=1).wait_for_publish(10)
        wait_until(lambda: len(store.rows) == 3, 10, "births and data are stored")
    finally:
        running.stop()
        node.disconnect()
        node.loop_stop()
    assert commands[0][0] == "spBv1.0/SPA/NCMD/PLC1"
    assert b"Node Control/Rebirth" in commands[0][1]
    assert sorted(store.values(registry.datastream("SPA-1:wellhead_temperature")).values()) == [52.5, 53.0]
    assert list(store.values(registry.datastream("SPA-1:depth_to_water")).values()) == [-1.2]
    assert len(store.quarantine) == 1

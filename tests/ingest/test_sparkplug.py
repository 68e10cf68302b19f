"""Sparkplug B: the schema's own bytes, births and aliases, gaps and deaths, and the whole way over a real broker."""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping
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
from ingest.messages import Message
from ingest.pipeline import Pipeline
from ingest.transports.births import BirthBook
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

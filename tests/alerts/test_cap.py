"""CAP out is valid by the schema and by our own rules; CAP in is refused when it is hostile or wrong."""

from __future__ import annotations

import socket
from dataclasses import replace
from datetime import timedelta

import pytest
from lxml import etree

from alerts.cap import Area, Info, Message, Pair, parse, to_xml
from alerts.cap_problems import NAMESPACE, problems
from alerts.engine import AlertEngine
from domain.alert import Level, MessageStatus, MessageType
from domain.errors import FormatError, InputError
from domain.model import Disclosure
from tests.alerts.fakes import ISSUER, PARTNER, RATE, STAFF, T0, World

NS = {"c": NAMESPACE}
RATE_CODE = "WY01:displacement_up_rate_12mo"


@pytest.fixture
def messages():
    """An Alert, an Update and a Cancel as the engine issues them."""
    world = World(RATE)
    for rate in (-12.0, -7.0, -1.0):
        world.feed(RATE_CODE, [(0, rate)], now=T0 + timedelta(days=1))
    bodies = [message.body.encode() for message in world.store.tables.cap]
    assert world.messages == ["Alert", "Update", "Cancel"]
    return bodies


def test_issued_messages_are_valid_by_the_oasis_schema(messages, shared_data):
    schema = etree.XMLSchema(etree.parse(str(shared_data / "cap" / "cap12.xsd")))
    for body in messages:
        root = etree.fromstring(body)
        assert schema.validate(root), schema.error_log
        assert problems(root) == []


def test_an_issued_message_says_everything(messages):
    root = etree.fromstring(messages[0])
    text = lambda path: root.xpath(f"string({path})", namespaces=NS)  # noqa: E731
    assert len(text("c:identifier")) == 31
    assert text("c:sent") == "2026-01-02T08:00:00+08:00"
    assert text("c:scope") == "Restricted"
    assert [node.text for node in root.iterfind("c:info/c:language", NS)] == ["zh-CN", "en"]
    assert text("c:info/c:severity") == "Moderate"
    assert text("c:info/c:area/c:geocode/c:value") == "330424"
    parameters = {
        node.findtext("c:valueName", None, NS): node.findtext("c:value", None, NS)
        for node in root.iterfind("c:info[1]/c:parameter", NS)
    }
    assert parameters["value"] == "12.0"
    assert parameters["sigma"] == "0.1"
    assert parameters["method"] == "rate_12mo"
    assert parameters["methodVersion"] == "1"
    assert parameters["datum"] == "CN-H85"
    assert len(parameters["evidenceSha256"]) == 64
    assert "武原一号" in text("c:info/c:headline")
    assert b"Z<" not in messages[0]


def test_every_follow_up_references_all_before_it(messages):
    references = [etree.fromstring(body).findtext("c:references", "", NS).split() for body in messages]
    assert [len(entry) for entry in references] == [0, 1, 2]
    assert references[2][0] == references[1][0]


def test_positions_that_are_not_open_are_rounded(messages):
    assert etree.fromstring(messages[0]).findtext("c:info/c:area/c:circle", "", NS) == "30.5200,120.9500 2"
    world = World(RATE)
    world.registers.stations["WY01"] = replace(world.registers.stations["WY01"], disclosure=Disclosure.OPEN)
    world.feed(RATE_CODE, [(0, -12.0)])
    assert "<circle>30.5234,120.9456 1</circle>" in world.store.tables.cap[0].body


@pytest.mark.parametrize("what", ["station", "node"])
def test_simulated_ground_is_a_test_for_whoever_gets_the_message_and_an_alert_in_the_house(what, shared_data):
    world = World(RATE)
    world.store.save_receiver(STAFF)
    world.store.save_receiver(PARTNER)
    if what == "station":
        world.registers.stations["WY01"] = replace(world.registers.stations["WY01"], simulated=True)
    else:
        world.engine = AlertEngine(world.store, world.observations, world.registers, replace(ISSUER, simulated=True))
    world.feed(RATE_CODE, [(0, -12.0)])
    world.engine.confirm(1, "王工", None, T0 + timedelta(days=1))
    world.feed(RATE_CODE, [(0, -1.0)], now=T0 + timedelta(days=2))
    assert world.messages[-1] == "Cancel"
    schema = etree.XMLSchema(etree.parse(str(shared_data / "cap" / "cap12.xsd")))
    for message in world.store.tables.cap:
        root = parse(message.body.encode())
        assert schema.validate(root), schema.error_log
        assert (root.findtext("c:status", None, NS), root.findtext("c:note", None, NS)) == ("Test", "模拟数据 simulated data")
        assert [node.text[:5] for node in root.iterfind("c:info/c:headline", NS)] == ["【模拟】武", "[SIMU"]
    (alert,) = world.alerts
    assert alert.status is MessageStatus.ACTUAL
    sent = world.store.notifications()
    assert {item.receiver_code for item in sent} == {"staff", "partner"}
    assert {(item.payload["status"], item.payload["alert"]["simulated"]) for item in sent} == {("Test", True)}
    assert world.engine.explain(1)["ok"]


def test_an_exercise_on_simulated_ground_stays_an_exercise():
    world = World(RATE)
    world.registers.stations["WY01"] = replace(world.registers.stations["WY01"], simulated=True)
    world.engine.exercise("rate", RATE_CODE, Level.RED, "王工", T0)
    assert "<status>Exercise</status>" in world.store.tables.cap[0].body


def test_true_ground_is_actual(messages):
    assert [etree.fromstring(body).findtext("c:status", "", NS) for body in messages] == ["Actual"] * 3


def test_real_messages_are_accepted_and_refused_as_they_should(shared_data):
    folder = shared_data / "cap"
    assert parse((folder / "canada.cap").read_bytes()).tag == f"{{{NAMESPACE}}}alert"
    with pytest.raises(FormatError, match="scope is missing"):
        parse((folder / "invalid.cap").read_bytes())


def test_a_hostile_message_is_refused_without_touching_file_or_network(shared_data, monkeypatch):
    def forbidden(*_args, **_named):
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket, "socket", forbidden)
    with pytest.raises(FormatError, match="document type or an entity"):
        parse((shared_data / "cap" / "xee.cap").read_bytes())


@pytest.mark.parametrize("raw", [
    b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
    '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>'.encode("utf-16"),
    b"<alert", b"", b"<alert/>", b"x" * 3_000_000,
])  # fmt: skip
def test_what_is_no_plain_cap_is_refused(raw):
    with pytest.raises(FormatError):
        parse(raw)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("<status>Actual</status>", "<status>Real</status>", "status"),
        ("<msgType>Alert</msgType>", "<msgType>Update</msgType>", "references"),
        ("+08:00</sent>", "Z</sent>", "sent"),
        ("<sent>2026-01-02T", "<sent>2026-13-02T", "sent"),
        ("<scope>Restricted</scope>", "<scope>Private</scope>", "addresses"),
        ("<sender>groundwatch@jiaxing</sender>", "<sender>a, b</sender>", "sender"),
        ("<severity>Moderate</severity>", "", "severity"),
        ("<circle>30.5200,120.9500 2</circle>", "<circle>120.95,30.52 2</circle>", "circle"),
        ("<circle>30.5200,120.9500 2</circle>", "<polygon>30,120 31,120 31,121</polygon>", "polygon"),
        ("<sender>groundwatch@jiaxing</sender>", "<sender>groundwatch@jiaxing</sender><sender>x</sender>", "sender"),
        ("<scope>Restricted</scope>", "<scope>Restricted</scope><colour>red</colour>", "colour"),
    ],
)
def test_each_rule_of_cap_is_checked(messages, old, new, named):
    broken = messages[0].decode().replace(old, new)
    assert broken != messages[0].decode()
    with pytest.raises(FormatError, match=named):
        parse(broken.encode())


def test_elements_out_of_order_are_refused(messages):
    root = etree.fromstring(messages[0])
    root.insert(0, root.find("c:sender", NS))
    assert problems(root) == ["alert: the elements are out of order"]


def test_a_message_of_ours_that_breaks_a_rule_is_never_issued():
    info = Info(
        "en", "Subsidence", Level.RED, "Expected", "Likely", "h", "d", "i", "us", Area("here", (Pair("GB/T 2260", "330400"),))
    )
    message = Message("33040012300100_20260102080000_0", "us", T0, MessageStatus.ACTUAL, MessageType.UPDATE, (info,), "members")
    with pytest.raises(InputError, match="references"):
        to_xml(message)
    with pytest.raises(InputError, match="identifier"):
        to_xml(replace(message, identifier="1"))
    polygon = replace(
        info,
        area=replace(info.area, polygon=((30.0, 120.0), (31.0, 120.0), (31.0, 121.0), (30.0, 120.0)), circle=(30.0, 120.0, 5.0)),
    )
    body = to_xml(replace(message, message_type=MessageType.ALERT, infos=(polygon,)))
    assert b"<polygon>30.0000,120.0000 31.0000,120.0000" in body

"""What goes out in the terms of GB/T 35965.1 says what CAP says, in colours and Beijing time."""

from __future__ import annotations

import re
from collections import Counter
from datetime import timedelta

import pytest
from lxml import etree

from alerts.cap_problems import NAMESPACE
from alerts.gb35965 import gb_message
from domain.alert import Level
from tests.alerts.fakes import RATE, STAFF, T0, World

CODE = "WY01:displacement_up_rate_12mo"
IDENTIFIER = re.compile(r"[0-9]{6}[0-9A-Z]{3}[0-9A-Z]{3}[0-9A-Z]{2}_[0-9]{14}_[0-9]")


@pytest.mark.parametrize(
    ("rate", "severity", "word", "cap"),
    [
        (6.0, "BLUE", "蓝色", "Minor"),
        (12.0, "YELLOW", "黄色", "Moderate"),
        (22.0, "ORANGE", "橙色", "Severe"),
        (33.0, "RED", "红色", "Extreme"),
    ],
)
def test_each_level_has_its_colour_its_word_and_its_severity(rate, severity, word, cap):
    world = World(RATE)
    world.store.save_receiver(STAFF)
    world.feed(CODE, [(0, -rate)], now=T0 + timedelta(days=1))
    world.engine.confirm(1, "王工", None, T0 + timedelta(days=1))
    body = world.store.tables.cap[-1].body
    said = gb_message(body, event_code="11D06")
    assert (said["severity"], said["level"], said["msgType"], said["status"]) == (severity, word, "Alert", "Actual")
    assert f"<severity>{cap}</severity>" in body
    assert len(said["identifier"]) == 31 and IDENTIFIER.fullmatch(said["identifier"])
    assert said["sendTime"] == "2026-01-02 08:00:00+08:00" and said["startTime"] == "2026-01-01 08:00:00+08:00"
    assert said["eventCode"] == "11D06" and said["category"] == "自然灾害" and said["areaCodes"] == ["330424"]
    assert said["issuer"] == "嘉兴市" and said["measures"] and "武原一号" in said["headline"] and said["description"]
    payload = world.store.notifications()[-1].payload
    assert payload["gb35965"] == {**said, "eventCode": None}


def test_a_cancellation_names_what_it_follows():
    world = World(RATE)
    for rate in (-12.0, -7.0, -1.0):
        world.feed(CODE, [(0, rate)], now=T0 + timedelta(days=1))
    told = [gb_message(message.body) for message in world.store.tables.cap]
    assert [item["msgType"] for item in told] == ["Alert", "Update", "Cancel"]
    assert told[2]["references"] == [told[0]["identifier"], told[1]["identifier"]]


def test_no_unit_issues_more_than_ten_identifiers_a_second():
    world = World({**RATE, "scope": {"datastream": ["G*:displacement_up_rate_12mo"]}})
    from tests.alerts.test_holds import add_marks

    for code in add_marks(world, 25):
        world.feed(f"{code}:displacement_up_rate_12mo", [(0, -12.0)], now=T0 + timedelta(days=1))
    identifiers = [message.identifier for message in world.store.tables.cap]
    assert len(identifiers) == len(set(identifiers)) == 25
    assert all(IDENTIFIER.fullmatch(item) for item in identifiers)
    assert max(Counter(item.rpartition("_")[0] for item in identifiers).values()) == 10
    for message in world.store.tables.cap:
        root = etree.fromstring(message.body.encode())
        assert root.findtext(f"{{{NAMESPACE}}}identifier") == message.identifier
    assert {alert.level for alert in world.alerts} == {Level.YELLOW}

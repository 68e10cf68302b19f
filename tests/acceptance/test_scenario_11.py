"""Scenario 11: one uplink heard by three gateways is one observation, and a frame counter that begins anew loses nothing."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.rtu_world import RtuWorld, running_world
from tests.conftest import BrokerLogin
from tests.waiting import wait_until

pytestmark = pytest.mark.stack
SAMPLE = Path(__file__).resolve().parents[1] / "data" / "chirpstack" / "uplinks.jsonl"
EVENTS: list[dict[str, Any]] = [json.loads(line) for line in SAMPLE.read_text(encoding="utf-8").splitlines()]
EUI = "70b3d57ba0000001"
TOPIC = f"application/7/device/{EUI}/event/up"
SERVER = "CHIRPSTACK"


@pytest.fixture(scope="module")
def world(database_url: str, broker: BrokerLogin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RtuWorld]:
    with running_world(database_url, broker, tmp_path_factory.mktemp("home")) as running:
        broker.stack.add_gateway(SERVER, SERVER * 2, topics=("application/#",))
        yield running


def event(number: int, **changed: Any) -> bytes:
    """An uplink of the sample as a network server without our tags sends it."""
    made = copy.deepcopy(EVENTS[number]) | changed
    made["deviceInfo"].pop("tags", None)
    return json.dumps(made).encode()


def heard(world: RtuWorld) -> list[str]:
    return [item["phenomenon_time"] for item in world.observations("JX-L01:water_pressure")]


def test_copies_of_an_unknown_device_wait_and_become_one_observation_each(world: RtuWorld) -> None:
    assert len(EVENTS[0]["rxInfo"]) == 3
    world.publish(SERVER, TOPIC, event(0), event(1), event(2))  # the third is a late copy of the second by another gateway
    (unknown,) = wait_until(lambda: [item for item in world.get("/devices/unknown")["items"] if item["frames"] == 3])
    assert (unknown["device"], unknown["transport"], unknown["source"]) == (f"chirpstack:{EUI}", "mqtt", TOPIC)
    wanted = {"device": unknown["device"], "station": "JX-L01", "create": {}, "attributes": {"codec": "DL-PR26"}}
    done = world.post("/devices/admissions", wanted)
    assert (done["frames"], done["remaining"], done["refused"]) == (3, 0, [])
    assert [datetime.fromisoformat(time).hour for time in heard(world)] == [3, 4]


def test_a_counter_that_begins_anew_is_a_new_uplink_and_a_lost_one_is_no_reason_to_refuse(world: RtuWorld) -> None:
    before = len(heard(world))
    copies = [event(4, deduplicationId=f"0e1f2a3b-0000-4000-8000-00000000f00{gateway}") for gateway in range(3)]
    world.publish(SERVER, TOPIC, event(3), *copies)  # 120 and 121 were never heard; then a new battery, and the counter is 0
    wait_until(lambda: len(heard(world)) == before + 2)
    world.publish(SERVER, TOPIC, copies[0])
    batches = len(world.container.observations.batches(limit=1000))
    world.publish(SERVER, TOPIC, event(0))
    wait_until(lambda: len(world.container.observations.batches(limit=1000)) > batches)
    times = heard(world)
    assert len(times) == len(set(times)) == before + 2

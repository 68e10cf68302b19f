"""`groundwatch ingest` draining a session of the real broker beside a paho subscriber that only acknowledges.

Both take the same messages from a persistent QoS 1 session that was filled beforehand, with the same receive maximum. Measured is from
the first message received to the last one committed (ours: parsed, checked, stored, with its raw payload) or acknowledged (plain);
starting the process and connecting is in neither.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Iterator
from functools import partial

import psycopg

from benchmarks.mqtt_sessions import PATIENCE_S, acknowledge_all, drop_session, make_session, publish
from benchmarks.own_stack import BenchStack, bench_stack
from benchmarks.processes import running
from benchmarks.side_by_side import compare
from domain.model import Datastream, ObservedProperty, Station, StationKind
from service.settings import Settings

STATIONS = 20
MESSAGES = int(os.environ.get("GROUNDWATCH_BENCH_MESSAGES", "20000"))
IN_A_BATCH = 100
FIRST_SECOND = 1_767_225_600
PAIRS = int(os.environ.get("GROUNDWATCH_BENCH_PAIRS", "3"))
LOGIN = ("bench-gateway", "bench-gateway-password")
POLL_S = 0.01


def single(messages: int) -> Iterator[tuple[str, str]]:
    """Yield messages of one observation each."""
    for number in range(messages):
        yield f"B{number % STATIONS:02d}", json.dumps({"t": FIRST_SECOND + number, "depth_to_water": 5 + (number % 977) / 1000})


def batched(messages: int) -> Iterator[tuple[str, str]]:
    """Yield messages of `IN_A_BATCH` observations each, as columns."""
    for number in range(messages):
        first = FIRST_SECOND + number * IN_A_BATCH
        depths = [5 + ((first + row) % 977) / 1000 for row in range(IN_A_BATCH)]
        yield f"B{number % STATIONS:02d}", json.dumps({"t": list(range(first, first + IN_A_BATCH)), "depth_to_water": depths})


def prepare(stack: BenchStack, url: str) -> None:
    with stack.container(url) as container:
        container.registers.upsert_property(ObservedProperty("depth_to_water", "埋深", "depth to water", "m", "down"))
        for number in range(STATIONS):
            station = Station(f"B{number:02d}", StationKind.OBSERVATION_WELL, "井", "well")
            container.registers.add_station(station, actor="bench")
            container.registers.add_datastream(Datastream(station.code, "depth_to_water", "m"), actor="bench")


def ours(stack: BenchStack, messages: list[tuple[str, str]], observations: int) -> float:
    broker, client_id = stack.stack.addresses.mqtt_url_with_login, f"bench-{uuid.uuid4().hex[:8]}"
    with stack.database() as url:
        prepare(stack, url)
        make_session(broker, client_id)
        publish(broker, LOGIN, messages)
        environment = {
            "GROUNDWATCH_DATABASE_URL": url,
            "GROUNDWATCH_MQTT_URL": broker,
            "GROUNDWATCH_MQTT_CLIENT_ID": client_id,
            "GROUNDWATCH_HOME": str(stack.home),
        }
        with running(["ingest"], environment, stack.home / "ingest.log"):
            ended = all_committed(url, observations)
        drop_session(broker, client_id)
        return ended - first_received(url)


def all_committed(url: str, observations: int) -> float:
    """Wait until that many observations are visible to others, and return when that was (seconds since 1970)."""
    deadline = time.monotonic() + PATIENCE_S
    with psycopg.connect(url, autocommit=True) as connection:
        while time.monotonic() < deadline:
            row = connection.execute("SELECT coalesce(sum(accepted), 0), coalesce(sum(rejected), 0) FROM ingest_batch").fetchone()
            if row is not None and row[1]:
                raise RuntimeError(f"{row[1]} observations were rejected")
            if row is not None and row[0] == observations:
                return time.time()
            time.sleep(POLL_S)
    raise TimeoutError(f"{observations} observations were not committed within {PATIENCE_S:.0f} s")


def first_received(url: str) -> float:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT extract(epoch FROM min(received_at))::float8 FROM raw_payload").fetchone()
    if row is None or row[0] is None:
        raise RuntimeError("no raw payload is stored")
    return float(row[0])


def plain(stack: BenchStack, messages: list[tuple[str, str]]) -> float:
    broker, client_id = stack.stack.addresses.mqtt_url_with_login, f"bench-{uuid.uuid4().hex[:8]}"
    make_session(broker, client_id)
    publish(broker, LOGIN, messages)
    taken = acknowledge_all(broker, client_id, len(messages), Settings(stack.home).mqtt_receive_maximum)
    drop_session(broker, client_id)
    return taken


def main() -> None:
    with bench_stack() as stack:
        stack.stack.add_gateway(*LOGIN, topics=("gw/v1/stations/+/obs",))
        for name, messages, each in (
            (f"MQTT {MESSAGES:,} messages of one observation", list(single(MESSAGES)), 1),
            (f"MQTT {MESSAGES // 10:,} messages of {IN_A_BATCH} observations", list(batched(MESSAGES // 10)), IN_A_BATCH),
        ):
            compare(
                f"{name} beside a subscriber that only acknowledges",
                partial(ours, stack, messages, len(messages) * each),
                partial(plain, stack, messages),
                amount=len(messages) * each,
                unit="observations",
                pairs=PAIRS,
            )

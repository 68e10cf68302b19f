"""`groundwatch ingest` draining a session of the real broker beside a paho subscriber that only acknowledges.

Both take the same messages from a persistent QoS 1 session that was filled beforehand, with the same receive maximum. Measured is from
the first message received to the last one committed (ours: parsed, checked, stored, with its raw payload) or acknowledged (plain);
starting the process and connecting is in neither. Messages of many observations stand beside psql copying the same rows too, and what
was promised is told beside what was reached. This file finishes with `main`.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial

import psycopg

from benchmarks.mqtt_sessions import PATIENCE_S, acknowledge_all, drop_session, make_session, publish
from benchmarks.own_stack import BenchStack, bench_stack
from benchmarks.processes import running
from benchmarks.side_by_side import Comparison, compare, seconds, tell
from domain.model import Datastream, ObservedProperty, Station, StationKind
from service.settings import Settings

STATIONS = 20
MESSAGES = int(os.environ.get("GROUNDWATCH_BENCH_MESSAGES", "20000"))
IN_A_BATCH = 100
FIRST_SECOND = 1_767_225_600
PAIRS = int(os.environ.get("GROUNDWATCH_BENCH_PAIRS", "3"))
LOGIN = ("bench-gateway", "bench-gateway-password")
POLL_S = 0.01
SINGLE_RATIO = 0.7
"""Promised speed of messages of one observation, as a share of the subscriber's that only acknowledges."""
BATCHED_PER_S, COPY_SHARE = 150_000, 0.5
"""Promised observations a second of messages of many, or this share of `psql \\copy`, whichever is less."""


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


def prepare(stack: BenchStack, url: str) -> dict[str, int]:
    """Register the stations and datastreams; return their ids by station."""
    with stack.container(url) as container:
        container.registers.upsert_property(ObservedProperty("depth_to_water", "埋深", "depth to water", "m", "down"))
        ids: dict[str, int] = {}
        for number in range(STATIONS):
            station = Station(f"B{number:02d}", StationKind.OBSERVATION_WELL, "井", "well")
            container.registers.add_station(station, actor="bench")
            added = container.registers.add_datastream(Datastream(station.code, "depth_to_water", "m"), actor="bench")
            ids[station.code] = int(added.datastream_id or 0)
        return ids


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


def copied(stack: BenchStack, messages: list[tuple[str, str]]) -> float:
    """Return the seconds in which psql copies the observations of the messages into the table."""
    path = stack.home / "observations.tsv"
    with stack.database() as url:
        ids = prepare(stack, url)
        with path.open("w") as lines:
            for station, body in messages:
                content = json.loads(body)
                for time_s, depth in zip(content["t"], content["depth_to_water"], strict=True):
                    moment = datetime.fromtimestamp(time_s, UTC).isoformat()
                    lines.write(f"{ids[station]}\t{moment}\t{depth}\t1\t2026-01-01T00:00:00Z\t1\n")
        columns = "datastream_id, phenomenon_time, result, quality, received_at, batch_id"
        command = ["psql", url, "-q", "-c", f"\\copy observation ({columns}) FROM '{path}'"]
        return seconds(lambda: subprocess.run(command, check=True))


def judge(what: str, reached: float, asked: float) -> None:
    tell(f"{what}: {asked:,.2f} is promised, {reached:,.2f} {'reached' if reached >= asked else 'is MISSED'}")


def beside_acknowledging(stack: BenchStack, name: str, messages: list[tuple[str, str]], each: int) -> Comparison:
    return compare(
        f"{name} beside a subscriber that only acknowledges",
        partial(ours, stack, messages, len(messages) * each),
        partial(plain, stack, messages),
        amount=len(messages) * each,
        unit="observations",
        pairs=PAIRS,
    )


def main() -> None:
    with bench_stack() as stack:
        stack.stack.add_gateway(*LOGIN, topics=("gw/v1/stations/+/obs",))
        found = beside_acknowledging(stack, f"MQTT {MESSAGES:,} messages of one observation", list(single(MESSAGES)), 1)
        judge("share of the subscriber's speed", found.ratio, SINGLE_RATIO)
        messages = list(batched(MESSAGES // 10))
        name = f"MQTT {len(messages):,} messages of {IN_A_BATCH} observations"
        found = beside_acknowledging(stack, name, messages, IN_A_BATCH)
        asked = float(BATCHED_PER_S)
        if shutil.which("psql") is None:
            tell("psql is not installed; install postgresql-client to compare with it")
        else:
            copies = tuple(copied(stack, messages) for _ in range(PAIRS))
            beside = Comparison(f"{name} beside psql \\copy", found.ours, copies, found.amount, found.unit)
            tell(beside.report())
            asked = min(asked, COPY_SHARE * beside.amount / statistics.median(copies))
        judge("observations a second", found.amount / statistics.median(found.ours), asked)

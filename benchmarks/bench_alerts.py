"""From a published observation to a received notification, with 2,000 rules on 1,000 datastreams at 500 observations a second.

A publisher sends over MQTT at a steady rate; every `BREACH_EVERY`th observation passes a limit of a rule of its own and must reach a webhook
receiver. Measured is from the moment of publishing to the moment of receipt, on one clock. Beside it, the cost of an evaluation with 2,000
rules to that with 20, as a ratio in one run.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import paho.mqtt.client as mqtt
import psycopg
from paho.mqtt.enums import CallbackAPIVersion

from alerts.engine import AlertEngine
from alerts.rules import parse_rule
from benchmarks.own_stack import BenchStack, bench_stack
from benchmarks.processes import running
from benchmarks.side_by_side import compare, tell
from domain.alerting import Receiver
from domain.model import Datastream, ObservedProperty, Station, StationKind
from domain.observation import Batch, columns
from service.bootstrap import Container
from storage.register_rows import Node

STATIONS = int(os.environ.get("GROUNDWATCH_BENCH_DATASTREAMS", "1000"))
RULES = 2 * STATIONS
RATE = float(os.environ.get("GROUNDWATCH_BENCH_RATE", "500"))
SECONDS = float(os.environ.get("GROUNDWATCH_BENCH_SECONDS", "60"))
WARM_UP_S = float(os.environ.get("GROUNDWATCH_BENCH_WARM_UP", "6"))
"""Seconds of publishing before the first breach: what is measured is the day, not the start of the processes."""
BREACH_EVERY = int(os.environ.get("GROUNDWATCH_BENCH_BREACH_EVERY", "250"))
LOGIN = ("bench-gateway", "bench-gateway-password")
PATIENCE_S, SETTLE_S = 120.0, 5.0
FEW = 10


class _Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        now = time.time()
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.got.setdefault(body["alert"]["station"], now)  # type: ignore[attr-defined]
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_args: object) -> None:
        """Say nothing."""


@contextmanager
def receiver() -> Iterator[ThreadingHTTPServer]:
    """Listen on loopback and note when each station was first told of."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Receiver) as server:
        server.got = {}  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()


def rules(stations: int) -> Iterator[dict[str, object]]:
    """Two rules for each station: one that is passed in the benchmark, one that never is."""
    for number in range(stations):
        scope = {"datastream": f"B{number:04d}:depth_to_water"}
        base = {"kind": "threshold", "name_zh": "埋深", "name_en": "Depth", "source": "bench", "scope": scope, "unit": "m"}
        yield {**base, "code": f"deep-{number:04d}", "levels": {"blue": 10}, "deadband": 0.5}
        yield {**base, "code": f"dry-{number:04d}", "levels": {"blue": 500}}


def prepare(container: Container, port: int) -> None:
    """Register stations, rules, receiver; grouping and flapping are off, so that each breach is a message."""
    container.registers.set_node(Node("bench", "试验", "Bench", "330400"))
    container.registers.upsert_property(ObservedProperty("depth_to_water", "埋深", "depth to water", "m", "down"))
    for number in range(STATIONS):
        station = Station(f"B{number:04d}", StationKind.OBSERVATION_WELL, "井", "well")
        container.registers.add_station(station, actor="bench")
        container.registers.add_datastream(Datastream(station.code, "depth_to_water", "m"), actor="bench")
    now = datetime.now(UTC)
    for rule in rules(STATIONS):
        container.alerts.save_rule(parse_rule(rule), now=now)
    container.alerts.save_receiver(Receiver("bench", "webhook", {"url": f"http://127.0.0.1:{port}/"}))
    quiet = {"source": "bench", "changes": 1000, "window": "PT1H"}
    container.alerts.save_policy({"grouping": [], "flapping": quiet}, author="bench", reason="bench", now=now)


def publish(stack: BenchStack) -> dict[str, float]:
    """Publish at the steady rate and return when the first breach of each station was published."""
    addresses = stack.stack.addresses
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="bench-publisher")
    client.username_pw_set(*LOGIN)
    client.max_inflight_messages_set(10_000)
    client.connect("127.0.0.1", addresses.mqtt_port)
    client.loop_start()
    began, sent = time.time(), {}
    for number in range(int(RATE * (WARM_UP_S + SECONDS))):
        wait = began + number / RATE - time.time()
        if wait > 0:
            time.sleep(wait)
        station = f"B{number % STATIONS:04d}"
        is_due = number % BREACH_EVERY == number // STATIONS % BREACH_EVERY and number >= RATE * WARM_UP_S  # others in every pass
        breach = is_due and station not in sent
        value = (
            12.0 if breach or station in sent else 5.0
        ) + number * 7919 % 97 / 1000  # a value that stands still would be frozen
        if breach:
            sent[station] = time.time()
        body = json.dumps({"t": time.time(), "depth_to_water": value})
        client.publish(f"gw/v1/stations/{station}/obs", body, qos=1)
    took = time.time() - began
    client.loop_stop()
    client.disconnect()
    tell(f"published {number + 1} observations in {took:.1f} s ({(number + 1) / took:.0f}/s), {len(sent)} of them breaches")
    return sent


def settle(url: str) -> None:
    """Wait until the worker has looked at every scope once: what is measured is the day, not the start."""
    deadline = time.time() + PATIENCE_S
    with psycopg.connect(url, autocommit=True) as connection:
        while time.time() < deadline:
            row = connection.execute("SELECT count(*) FROM rule_state").fetchone()
            if row is not None and row[0] >= RULES:
                break
            time.sleep(0.2)
    time.sleep(SETTLE_S)


STAGES = (
    "broker, link, batch: published to the last message of its batch received",
    "parsing, commit: received to committed",
    "waiting for a round: committed to begun",
    "quality: begun to judged",
    "rules, episode: judged to opened",
    "writing, outbox, sending: opened to received by the webhook",
)
_ROUND = re.compile(rb"round begun (\S+), quality of \d+ judged (\S+), rules of \d+ evaluated (\S+)")


class Rounds:
    """The rounds that a worker's log tells of: when each began, had judged quality, and was done."""

    def __init__(self, log: bytes) -> None:
        self._rounds = sorted(tuple(datetime.fromisoformat(time.decode()) for time in found) for found in _ROUND.findall(log))

    def of(self, opened: datetime) -> tuple[datetime, datetime] | None:
        """Return when the round in which an alert was opened began and had judged quality; None where the log tells of none."""
        for begun, judged, done in self._rounds:
            if judged <= opened <= done:
                return begun, judged
        return None


def stages(url: str, sent: dict[str, float], got: dict[str, float], log: Path) -> Iterator[str]:
    """Say how long the breaches spent on each part of their way, from the first publishing to the receipt."""
    rounds = Rounds(log.read_bytes())
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT DISTINCT ON (station.code) station.code, extract(epoch FROM observation.received_at),"
            " extract(epoch FROM batch.committed_at), alert.opened_at"
            " FROM alert JOIN station ON station.id = alert.station_id"
            " JOIN observation ON observation.datastream_id = alert.datastream_id AND observation.phenomenon_time = alert.onset"
            " JOIN ingest_batch AS batch ON batch.id = observation.batch_id ORDER BY station.code, alert.id"
        ).fetchall()
    known = []
    for code, received, committed, opened in rows:
        found = rounds.of(opened)
        if code in sent and code in got and found is not None:
            at = (received, committed, *(time.timestamp() for time in (*found, opened)))
            known.append([sent[code], *map(float, at), got[code]])
    if known:
        parts = np.quantile(np.diff(np.array(known), axis=1), [0.5, 0.99], axis=0)
        for name, p50, p99 in zip(STAGES, *parts.tolist(), strict=True):
            yield f"  {name}: p50 {p50:.3f} s, p99 {p99:.3f} s"
    yield f"  {len(known)} of {len(sent)} breaches followed; the quantiles of parts do not add up to those of the whole"


def latency(stack: BenchStack) -> None:
    """Print the quantiles from publishing to receipt."""
    stack.stack.add_gateway(*LOGIN, topics=("gw/v1/stations/+/obs",))
    with stack.database() as url, receiver() as server:
        with stack.container(url) as container:
            prepare(container, server.server_port)
        environment = {
            "GROUNDWATCH_DATABASE_URL": url,
            "GROUNDWATCH_MQTT_URL": stack.stack.addresses.mqtt_url_with_login,
            "GROUNDWATCH_HOME": str(stack.home),
            "GROUNDWATCH_LOG_LEVEL": "DEBUG",  # the worker tells of each round
        }
        log = stack.home / "bench.log"
        with running(["ingest"], environment, log), running(["worker"], environment, log):
            settle(url)
            sent = publish(stack)
            deadline = time.time() + PATIENCE_S
            got: dict[str, float] = server.got  # type: ignore[attr-defined]
            while len(got) < len(sent) and time.time() < deadline:
                time.sleep(0.05)
            budget = list(stages(url, sent, got, log))
    delays = np.array([got[station] - at for station, at in sent.items() if station in got])
    p50, p95, p99 = np.quantile(delays, [0.5, 0.95, 0.99])
    tell(
        f"publish to notification, {RULES} rules on {STATIONS} datastreams at {RATE:.0f}/s: p50 {p50:.3f} s, p95 {p95:.3f} s, "
        f"p99 {p99:.3f} s, most {delays.max():.3f} s; {len(delays)} of {len(sent)} received"
    )
    for line in budget:
        tell(line)


def evaluation(container: Container, engine: AlertEngine, count: int) -> float:
    """Return the seconds that evaluating `count` new observations of one datastream takes, one at a time."""
    datastream = container.registers.datastream("B0000:depth_to_water")
    assert datastream is not None
    identity = datastream.datastream_id or 0
    spent = 0.0
    for _ in range(count):
        now = datetime.now(UTC)
        time_us = np.datetime64(now.replace(tzinfo=None), "us")
        container.observations.commit(Batch("mqtt", "bench", columns(identity, [time_us], [5.0])))
        began = time.perf_counter()
        engine.evaluate([(identity, now, now)], datetime.now(UTC))
        spent += time.perf_counter() - began
    return spent


def cost(stack: BenchStack) -> None:
    """Print how the cost of an evaluation changes when there are a hundred times as many unrelated rules."""
    with (
        stack.database() as many_url,
        stack.database() as few_url,
        stack.container(many_url) as many,
        stack.container(few_url) as few,
    ):
        prepare(many, 9)
        prepare(few, 9)
        now = datetime.now(UTC)
        for rule in list(rules(STATIONS))[2 * FEW :]:
            few.alerts.save_rule(parse_rule({**rule, "enabled": False}), now=now)
        for container in (many, few):
            evaluation(container, container.engine, 20)
        compare(
            f"evaluating an observation with {RULES} rules beside {2 * FEW}",
            lambda: evaluation(many, many.engine, 200),
            lambda: evaluation(few, few.engine, 200),
            amount=200,
            unit="observations",
            pairs=5,
        )


def main() -> None:
    """Run both measurements on a stack of their own."""
    with bench_stack() as stack:
        cost(stack)
        latency(stack)


if __name__ == "__main__":
    main()

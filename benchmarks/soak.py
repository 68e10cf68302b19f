"""`make soak`: steady MQTT load while ingest and PostgreSQL are killed and the broker is ended, at random; every observation counted.

A process of its own sends and keeps a ledger of what the broker has acknowledged. At the end the database must hold exactly that, by
datastream, time, value and sigma: nothing lost, nothing twice, nothing altered. Bounded by `--seconds` and `--rate`.
This file finishes with `main`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import secrets
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psycopg

from benchmarks.own_stack import ROOT, bench_stack
from benchmarks.processes import end_in_order, start, stop
from benchmarks.side_by_side import tell
from domain.model import Datastream, ObservedProperty, Station, StationKind
from service.bootstrap import Container
from service.embedded import EmbeddedStack
from service.settings import Settings

SENDER = ROOT / "tests" / "ingest" / "mqtt_sender.py"
STATIONS = 20
OBSERVATIONS_A_MESSAGE = 2
MOST_MESSAGES = 5_000_000
GATEWAY, GATEWAY_PASSWORD = "soak-sender", "soak-sender-password"
BROKER_AWAY_S = 1.0
STORED_SQL = """
SELECT s.code, p.code, extract(epoch FROM o.phenomenon_time)::float8, o.result, o.sigma
FROM observation o JOIN datastream d ON d.id = o.datastream_id
JOIN station s ON s.id = d.station_id JOIN observed_property p ON p.id = d.property_id
"""

Key = tuple[str, str, float]
Value = tuple[float, float | None]


@dataclass(frozen=True)
class Plan:
    """How long, how fast, how often something is killed, and how long the rest may take afterwards."""

    seconds: float = 1800.0
    rate: float = 200.0
    seed: int = 0
    quietest_s: float = 3.0
    longest_s: float = 15.0
    drain_s: float = 600.0

    @property
    def messages(self) -> int:
        """Return how many messages are sent."""
        return min(int(self.seconds * self.rate), MOST_MESSAGES)


@dataclass(frozen=True)
class Outcome:
    """What was sent and what the database holds of it."""

    sent: int
    stored: int
    missing: int
    unlike: int
    unasked: int
    quarantined: int
    revisions: int
    faults: Counter[str]

    @property
    def is_whole(self) -> bool:
        """Is every observation stored once and as it was sent?"""
        return self.sent == self.stored and not (
            self.missing or self.unlike or self.unasked or self.quarantined or self.revisions
        )

    def report(self) -> str:
        """Return one line for people."""
        faults = ", ".join(f"{count} x {name}" for name, count in sorted(self.faults.items())) or "none"
        return (
            f"sent {self.sent:,}, stored {self.stored:,}, missing {self.missing}, unlike {self.unlike}, unasked {self.unasked}, "
            f"quarantined {self.quarantined}, revisions {self.revisions}; faults: {faults}"
        )


class Soak:
    """One run on a stack that it may kill.

    Parameters
    ----------
    stack
        A running stack of this process.
    url
        A migrated database of that stack.
    home
        For logs, the ledger and the inbox.
    plan
        The bounds.
    """

    def __init__(self, stack: EmbeddedStack, url: str, home: Path, plan: Plan) -> None:
        self.stack, self.url, self.home, self.plan = stack, url, home, plan
        self.ledger = home / "ledger.jsonl"
        self.faults: Counter[str] = Counter()
        self._random = random.Random(plan.seed)
        self._ingest: subprocess.Popen[bytes] | None = None
        self._waiting: list[tuple[str, Callable[[], None]]] = []

    def run(self) -> Outcome:
        """Send, kill, wait for the rest, compare.

        Raises
        ------
        TimeoutError
            The rest was not stored within `drain_s`.
        RuntimeError
            The sender failed.
        """
        self.prepare()
        self._start_ingest()
        sender = None
        try:
            self._wait(lambda: "connected to the broker" in self._log.read_text(encoding="utf-8"), "ingest does not connect")
            sender = self._start_sender()
            self._disturb_until(sender)
            if sender.returncode != 0:
                raise RuntimeError(f"the sender failed with {sender.returncode}")
            self._wait(lambda: self.stored() >= self.plan.messages * OBSERVATIONS_A_MESSAGE, "the rest is not stored")
        except TimeoutError as error:
            tell(f"not whole: {error}")
        finally:
            for process in (sender, self._ingest):
                if process is not None:
                    stop(process)
        return self.outcome()

    def prepare(self) -> None:
        """Let the sender publish, and register the stations that it sends for."""
        self.stack.add_gateway(GATEWAY, GATEWAY_PASSWORD, topics=("gw/v1/stations/+/obs",))
        with Container(Settings(self.home, database_url=self.url)) as container:
            registers = container.registers
            registers.upsert_property(ObservedProperty("depth_to_water", "埋深", "depth to water", "m", "down positive"))
            registers.upsert_property(
                ObservedProperty("water_temperature", "水温", "water temperature", "Cel", "warmer positive")
            )
            for number in range(STATIONS):
                code = f"X{number:02d}"
                registers.add_station(Station(code, StationKind.OBSERVATION_WELL, code, code), actor="soak")
                for name, unit in (("depth_to_water", "m"), ("water_temperature", "Cel")):
                    registers.add_datastream(Datastream(code, name, unit), actor="soak")

    @property
    def _log(self) -> Path:
        return self.home / "ingest.log"

    def _start_ingest(self) -> None:
        environment = {
            "GROUNDWATCH_DATABASE_URL": self.url,
            "GROUNDWATCH_MQTT_URL": self.stack.addresses.mqtt_url_with_login,
            "GROUNDWATCH_MQTT_CLIENT_ID": "soak-ingest",
            "GROUNDWATCH_HOME": str(self.home),
        }
        self._ingest = start(["ingest"], environment, self._log)

    def _start_sender(self) -> subprocess.Popen[bytes]:
        address = ("127.0.0.1", str(self.stack.addresses.mqtt_port), GATEWAY, GATEWAY_PASSWORD)
        amount = (str(self.plan.messages), str(STATIONS), str(self.ledger), str(self.plan.rate))
        return subprocess.Popen([sys.executable, str(SENDER), *address, *amount])

    def _disturb_until(self, sender: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + self.plan.seconds + self.plan.drain_s
        pause_s = (self.plan.quietest_s, self.plan.longest_s)
        while sender.poll() is None and time.monotonic() < deadline:
            try:
                sender.wait(self._random.uniform(*pause_s))
            except subprocess.TimeoutExpired:
                name, fault = self._next_fault()
                fault()
                self.faults[name] += 1
        if sender.poll() is None:
            raise TimeoutError("the sender does not come to an end")

    def _next_fault(self) -> tuple[str, Callable[[], None]]:
        """Return the next fault: in random order, but each kind before any comes again."""
        if not self._waiting:
            self._waiting = [
                ("kill -9 ingest", self._kill_ingest),
                ("kill -9 PostgreSQL", self._kill_postgres),
                ("end the broker", self._end_broker),
            ]
            self._random.shuffle(self._waiting)
        return self._waiting.pop()

    def _kill_ingest(self) -> None:
        if self._ingest is not None:
            self._ingest.kill()
            self._ingest.wait()
        self._start_ingest()

    def _kill_postgres(self) -> None:
        os.kill(self.stack.postgres_pid, signal.SIGKILL)
        self.stack.restart_postgres()

    def _end_broker(self) -> None:
        self.stack.stop_broker()
        time.sleep(BROKER_AWAY_S)
        self.stack.start_broker()

    def _wait(self, condition: Callable[[], bool], complaint: str) -> None:
        deadline = time.monotonic() + self.plan.drain_s
        while not condition():
            if time.monotonic() >= deadline:
                raise TimeoutError(f"{complaint} within {self.plan.drain_s:.0f} s")
            time.sleep(0.2)

    def stored(self) -> int:
        """Return how many observations the database holds."""
        return self._count("observation")

    def _count(self, table: str) -> int:
        with psycopg.connect(self.url) as connection:
            row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        return 0 if row is None else int(row[0])

    def _sent(self) -> dict[Key, Value]:
        sent: dict[Key, Value] = {}
        with self.ledger.open(encoding="utf-8") as lines:
            for line in lines:
                body = json.loads(line)
                depth = body["depth_to_water"]
                sent[body["station"], "depth_to_water", float(body["t"])] = (depth["value"], depth["sigma"])
                sent[body["station"], "water_temperature", float(body["t"])] = (body["water_temperature"], None)
        return sent

    def outcome(self) -> Outcome:
        """Compare the ledger with the database, observation by observation."""
        sent = self._sent() if self.ledger.exists() else {}
        amount, stored, unlike, unasked = len(sent), 0, 0, 0
        with psycopg.connect(self.url) as connection, connection.cursor("stored") as cursor:
            for station, name, at, result, sigma in cursor.execute(STORED_SQL):
                stored += 1
                expected = sent.pop((station, name, at), None)
                unasked += expected is None
                unlike += expected not in (None, (result, sigma))
        quarantined, revisions = self._count("quarantine"), self._count("observation_revision")
        return Outcome(amount, stored, len(sent), unlike, unasked, quarantined, revisions, self.faults)


def main(arguments: list[str]) -> int:
    plan = Plan()
    parser = argparse.ArgumentParser(prog="make soak ARGS=...", description=__doc__)
    parser.add_argument("--seconds", type=float, default=plan.seconds)
    parser.add_argument("--rate", type=float, default=plan.rate, help="messages a second, of two observations each")
    parser.add_argument("--seed", type=int, default=secrets.randbits(31), help="of the order and the times of the faults")
    given = parser.parse_args(arguments)
    plan = Plan(given.seconds, given.rate, given.seed)
    tell(f"soak: {plan.messages:,} messages at {plan.rate:g}/s, --seed {plan.seed}")
    with bench_stack() as bench, bench.database() as url:
        outcome = Soak(bench.stack, url, bench.home, plan).run()
    tell(outcome.report())
    return 0 if outcome.is_whole else 1


if __name__ == "__main__":
    end_in_order()
    sys.exit(main(sys.argv[1:]))

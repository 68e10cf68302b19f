"""`make soak`: MQTT load while ingest and PostgreSQL are killed, the broker is ended and links are cut, at random; everything counted.

A process of its own sends and keeps a ledger of what the broker has acknowledged; that word must hold whatever happens to ingest, to the
database, to the links, and when the broker is ended in order. A second sender keeps each observation until its receipt; then the broker is
killed as well. At the end the database must hold exactly the ledgers, by datastream, time, value and sigma: nothing lost, nothing twice,
nothing altered. This file finishes with `main`.
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
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg

from benchmarks.links import Link
from benchmarks.own_stack import ROOT, bench_stack
from benchmarks.processes import end_in_order, start, stop
from benchmarks.side_by_side import tell
from domain.model import Datastream, ObservedProperty, Station, StationKind
from service.bootstrap import Container
from service.embedded import EmbeddedStack
from service.settings import Settings

SENDER = ROOT / "tests" / "ingest" / "mqtt_sender.py"
PATIENT_SENDER = "tests.ingest.patient_sender"
POLL_S = 0.05
STATIONS = 20
OBSERVATIONS_A_MESSAGE = 2
GATEWAY, GATEWAY_PASSWORD = "soak-sender", "soak-sender-password"
DEVICE_LINK, INGEST_LINK = "cut the devices' link", "cut ingest's link"
BROKER_AWAY_S, LINK_AWAY_S = 1.0, 0.5
STORED_SQL = """
SELECT s.code, p.code, extract(epoch FROM o.phenomenon_time)::float8, o.result, o.sigma
FROM observation o JOIN datastream d ON d.id = o.datastream_id
JOIN station s ON s.id = d.station_id JOIN observed_property p ON p.id = d.property_id
"""

Key = tuple[str, str, float]
Value = tuple[float, float | None]


@dataclass(frozen=True)
class Plan:
    """How much is sent and how fast, how often something is killed, and how long the rest may take afterwards.

    `messages` are sent on the broker's word and meet `faults`, `kept_messages` are kept by their sender until the receipt and meet
    `kept_faults`, the broker's SIGKILL among them.
    """

    messages: int = 160_000
    kept_messages: int = 40_000
    faults: int = 25
    kept_faults: int = 10
    rate: float = 500.0
    seed: int = 0
    drain_s: float = 600.0

    @property
    def total(self) -> int:
        """Return how many messages are sent in all."""
        return self.messages + self.kept_messages


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
        self._sender: subprocess.Popen[bytes] | None = None
        self._device_link = Link(lambda: stack.addresses.mqtt_port)
        self._ingest_link = Link(lambda: stack.addresses.mqtt_port)

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
        try:
            self._wait(lambda: "connected to the broker" in self._log.read_text(encoding="utf-8"), "ingest does not connect")
            self._disturb(self._start_sender, self.plan.messages, self.plan.faults, self._faults())
            self._wait(lambda: self.stored() >= self.plan.messages * OBSERVATIONS_A_MESSAGE, "the rest is not stored")
            if self.plan.kept_messages:
                kinds = {"kill -9 the broker": self._kill_broker, **self._faults()}
                self._disturb(self._start_patient_sender, self.plan.kept_messages, self.plan.kept_faults, kinds)
            self._wait(lambda: self.stored() >= self.plan.total * OBSERVATIONS_A_MESSAGE, "the rest is not stored")
        except TimeoutError as error:
            tell(f"not whole: {error}")
        finally:
            if self._ingest is not None:
                stop(self._ingest)
            self._device_link.close()
            self._ingest_link.close()
        return self.outcome()

    def prepare(self) -> None:
        """Let the sender publish, and register the stations that it sends for."""
        stations = tuple(f"X{number:02d}" for number in range(STATIONS))
        self.stack.add_gateway(GATEWAY, GATEWAY_PASSWORD, stations)  # publishes for them and reads their receipts
        with Container(Settings(self.home, database_url=self.url)) as container:
            registers = container.registers
            registers.upsert_property(ObservedProperty("depth_to_water", "埋深", "depth to water", "m", "down positive"))
            registers.upsert_property(
                ObservedProperty("water_temperature", "水温", "water temperature", "Cel", "warmer positive")
            )
            for code in stations:
                registers.add_station(Station(code, StationKind.OBSERVATION_WELL, code, code), actor="soak")
                for name, unit in (("depth_to_water", "m"), ("water_temperature", "Cel")):
                    registers.add_datastream(Datastream(code, name, unit), actor="soak")

    @property
    def _log(self) -> Path:
        return self.home / "ingest.log"

    def _start_ingest(self) -> None:
        environment = {
            "GROUNDWATCH_DATABASE_URL": self.url,
            "GROUNDWATCH_MQTT_URL": self._through(self._ingest_link),
            "GROUNDWATCH_MQTT_CLIENT_ID": "soak-ingest",
            "GROUNDWATCH_HOME": str(self.home),
        }
        self._ingest = start(["ingest"], environment, self._log)

    def _through(self, link: Link) -> str:
        return self.stack.addresses.mqtt_url_with_login.replace(f":{self.stack.addresses.mqtt_port}", f":{link.port}")

    @property
    def _login(self) -> tuple[str, ...]:
        return ("127.0.0.1", str(self._device_link.port), GATEWAY, GATEWAY_PASSWORD)

    def _start_sender(self) -> subprocess.Popen[bytes]:
        amount = (str(self.plan.messages), str(STATIONS), str(self.ledger), str(self.plan.rate))
        return subprocess.Popen([sys.executable, str(SENDER), *self._login, *amount])

    def _start_patient_sender(self) -> subprocess.Popen[bytes]:
        amount = (str(self.plan.messages), str(self.plan.kept_messages), str(STATIONS), str(self.ledger), str(self.plan.rate))
        return subprocess.Popen([sys.executable, "-m", PATIENT_SENDER, *self._login, *amount], cwd=ROOT)

    def _disturb(
        self,
        start_sender: Callable[[], subprocess.Popen[bytes]],
        messages: int,
        faults: int,
        kinds: dict[str, Callable[[], None]],
    ) -> None:
        """Let a sender send `messages`, and cause a fault whenever its ledger passes the next of as many random lengths."""
        before = self._noted()
        points = sorted(before + self._random.randrange(messages) for _ in range(faults))
        waiting: list[str] = []
        deadline = time.monotonic() + messages / self.plan.rate + self.plan.drain_s
        self._sender = sender = start_sender()
        try:
            while sender.poll() is None or points:
                if time.monotonic() >= deadline:
                    raise TimeoutError("the sender does not come to an end")
                if points and (sender.poll() is not None or self._noted() >= points[0]):
                    points.pop(0)
                    if sender.poll() is not None:  # it was done before a fault was over: nobody is left at its end of the link
                        waiting = [name for name in waiting or sorted(kinds) if name != DEVICE_LINK] or [INGEST_LINK]
                    waiting = waiting or self._random.sample(sorted(kinds), len(kinds))  # each kind before any comes again
                    name = waiting.pop()
                    kinds[name]()
                    self.faults[name] += 1
                    continue
                with suppress(subprocess.TimeoutExpired):
                    sender.wait(POLL_S)
        finally:
            stop(sender)
        if sender.returncode != 0:
            raise RuntimeError(f"the sender failed with {sender.returncode}")

    @property
    def _is_sent(self) -> bool:
        return self._sender is not None and self._sender.poll() is not None

    def _noted(self) -> int:
        """Return how many messages stand in the ledger."""
        if not self.ledger.exists():
            return 0
        with self.ledger.open("rb") as stream:
            return sum(block.count(b"\n") for block in iter(lambda: stream.read(1 << 20), b""))

    def _faults(self) -> dict[str, Callable[[], None]]:
        return {
            "kill -9 ingest": self._kill_ingest,
            "kill -9 PostgreSQL": self._kill_postgres,
            "end the broker": self._end_broker,
            DEVICE_LINK: lambda: self._cut(self._device_link),
            INGEST_LINK: lambda: self._cut(self._ingest_link),
        }

    def _cut(self, link: Link) -> None:
        """Cut a link, as soon as it is in use (a sender that is done does not come back)."""
        self._wait(lambda: link.is_used or self._is_sent, "nobody uses the link")
        link.cut(LINK_AWAY_S)

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

    def _kill_broker(self) -> None:
        os.kill(self.stack.mosquitto_pid, signal.SIGKILL)
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
    parser.add_argument("--messages", type=int, default=plan.messages, help="sent on the broker's word, of two observations each")
    parser.add_argument("--kept", type=int, default=plan.kept_messages, help="kept by their sender until the receipt")
    parser.add_argument("--faults", type=int, default=plan.faults)
    parser.add_argument("--kept-faults", type=int, default=plan.kept_faults)
    parser.add_argument("--rate", type=float, default=plan.rate, help="messages a second")
    parser.add_argument("--seed", type=int, default=secrets.randbits(31), help="of the order and the places of the faults")
    given = parser.parse_args(arguments)
    plan = Plan(given.messages, given.kept, given.faults, given.kept_faults, given.rate, given.seed)
    tell(f"soak: {plan.total:,} messages at {plan.rate:g}/s, --seed {plan.seed}")
    with bench_stack() as bench, bench.database() as url:
        outcome = Soak(bench.stack, url, bench.home, plan).run()
    tell(outcome.report())
    return 0 if outcome.is_whole else 1


if __name__ == "__main__":
    end_in_order()
    sys.exit(main(sys.argv[1:]))

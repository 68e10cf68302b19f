"""Several `groundwatch ingest` processes that share the devices' messages (`$share`), draining sessions that were filled beforehand.

Measured is from the first message received to the last one committed, and the processor time that the processes, the backends of the
database and the broker took meanwhile, starting included: it shows what is the limit. This file finishes with `main`.
"""

from __future__ import annotations

import os
import uuid
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psycopg

from benchmarks.bench_mqtt import LOGIN, all_committed, first_received, prepare, single
from benchmarks.mqtt_sessions import drop_session, make_session, publish
from benchmarks.own_stack import BenchStack, bench_stack
from benchmarks.processes import running
from benchmarks.side_by_side import tell

MESSAGES = int(os.environ.get("GROUNDWATCH_BENCH_MESSAGES", "60000"))
PROCESSES = (1, 2, 3)
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Shared:
    """What a drain by several processes took: seconds, and processor seconds of ingest and of the database's backends."""

    seconds: float
    ingest_cpu_s: float
    database_cpu_s: float


def cpu_s(pid: int) -> float:
    """Return the processor seconds that a process has taken so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def backends_cpu_s(url: str) -> float:
    with psycopg.connect(url, autocommit=True) as connection:
        rows = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return sum(cpu_s(pid) for (pid,) in rows.fetchall())


def drain(stack: BenchStack, messages: list[tuple[str, str]], processes: int) -> Shared:
    """Let so many processes drain a group's sessions, each with its part of the messages."""
    broker, group = stack.stack.addresses.mqtt_url_with_login, f"share-{uuid.uuid4().hex[:8]}"
    members = [f"{group}-{number}" for number in range(processes)]
    with stack.database() as url, ExitStack() as started:
        prepare(stack, url)
        for member in members:
            make_session(broker, member, group)
        publish(broker, LOGIN, messages)
        environment = {
            "GROUNDWATCH_DATABASE_URL": url,
            "GROUNDWATCH_MQTT_URL": broker,
            "GROUNDWATCH_MQTT_SHARED_GROUP": group,
            "GROUNDWATCH_HOME": str(stack.home),
        }
        pids = [
            started.enter_context(
                running(["ingest"], {**environment, "GROUNDWATCH_MQTT_CLIENT_ID": member}, stack.home / f"{member}.log")
            ).pid
            for member in members
        ]
        ended = all_committed(url, len(messages))
        found = Shared(ended - first_received(url), sum(map(cpu_s, pids)), backends_cpu_s(url))
    for member in members:
        drop_session(broker, member)
    return found


def main() -> None:
    with bench_stack() as stack:
        stack.stack.add_gateway(*LOGIN, topics=("gw/v1/stations/+/obs",))
        messages = list(single(MESSAGES))
        for processes in PROCESSES:
            found = drain(stack, messages, processes)
            tell(
                f"$share with {processes} ingest, {MESSAGES:,} messages of one observation: {MESSAGES / found.seconds:,.0f} messages/s "
                f"in {found.seconds:.1f} s; processor time: ingest {found.ingest_cpu_s:.1f} s, database {found.database_cpu_s:.1f} s, "
                f"{os.cpu_count()} processors"
            )

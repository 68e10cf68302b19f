"""A reconnect storm: many devices send at once what they buffered for a day, to one `groundwatch ingest` and to several that share it.

Measured are observations a second from the start of the processes to the last commit, the memory of the largest process at every tenth of
the observations, and the most that one took after a quarter and at the end, which shows whether it grows with what comes. This file
finishes with `main`.
"""

from __future__ import annotations

import json
import os
import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psycopg

from benchmarks.mqtt_sessions import PATIENCE_S, publish
from benchmarks.own_stack import BenchStack, bench_stack
from benchmarks.processes import running
from benchmarks.side_by_side import tell
from domain.model import Datastream, ObservedProperty, Station, StationKind

DEVICES = int(os.environ.get("GROUNDWATCH_BENCH_DEVICES", "1000"))
BUFFERED, IN_A_MESSAGE = 1440, 60
FIRST_SECOND = 1_767_225_600
LOGIN = ("storm-gateway", "storm-gateway-password")
PROCESSES = (1, 2)
POLL_S = 0.1


@dataclass(frozen=True)
class Storm:
    """What a storm took.

    Attributes
    ----------
    observations
        How many were sent, and stored once each.
    seconds
        From the start of the processes to the last commit.
    early_mb, peak_mb
        Most memory of the largest process after a quarter of the observations, and at the end, in MB.
    curve_mb
        Its memory when a tenth of the observations was stored, two tenths and so on, in MB.
    """

    observations: int
    seconds: float
    early_mb: float
    peak_mb: float
    curve_mb: tuple[float, ...]


def buffered(devices: int) -> Iterator[tuple[str, str]]:
    """Yield (station, payload): a day of minutes of every device, in messages of an hour, the devices in turn."""
    for start in range(0, BUFFERED, IN_A_MESSAGE):
        times = [FIRST_SECOND + 60 * minute for minute in range(start, start + IN_A_MESSAGE)]
        for device in range(devices):
            depths = [5 + ((device + minute) % 977) / 1000 for minute in range(start, start + IN_A_MESSAGE)]
            yield f"D{device:04d}", json.dumps({"t": times, "depth_to_water": depths})


def prepare(stack: BenchStack, url: str, devices: int) -> None:
    with stack.container(url) as container:
        container.registers.upsert_property(ObservedProperty("depth_to_water", "埋深", "depth to water", "m", "down"))
        for number in range(devices):
            station = Station(f"D{number:04d}", StationKind.OBSERVATION_WELL, "井", "well")
            container.registers.add_station(station, actor="bench")
            container.registers.add_datastream(Datastream(station.code, "depth_to_water", "m"), actor="bench")


def storm(stack: BenchStack, devices: int, processes: int) -> Storm:
    """Let so many devices send while so many processes ingest.

    Raises
    ------
    TimeoutError
        The observations were not stored in time.
    RuntimeError
        More is stored than was sent.
    """
    group, observations = f"storm-{uuid.uuid4().hex[:8]}", devices * BUFFERED
    broker = stack.stack.addresses.mqtt_url_with_login
    with stack.database() as url, ExitStack() as started, psycopg.connect(url, autocommit=True) as connection:
        prepare(stack, url, devices)
        ids, logs = [], []
        for number in range(processes):
            log = stack.home / f"{group}-{number}.log"
            environment = {
                "GROUNDWATCH_DATABASE_URL": url,
                "GROUNDWATCH_MQTT_URL": broker,
                "GROUNDWATCH_MQTT_CLIENT_ID": f"{group}-{number}",
                "GROUNDWATCH_MQTT_SHARED_GROUP": group,
                "GROUNDWATCH_HOME": str(stack.home),
            }
            ids.append(started.enter_context(running(["ingest"], environment, log)).pid)
            logs.append(log)
        _wait(lambda: all("connected to the broker" in log.read_text(encoding="utf-8") for log in logs))
        began = time.perf_counter()
        publish(broker, LOGIN, buffered(devices))
        early: list[float] = []
        curve: list[float] = []

        def all_stored() -> bool:
            row = connection.execute("SELECT coalesce(sum(accepted), 0) FROM ingest_batch").fetchone()
            stored = 0 if row is None else int(row[0])
            if not early and stored >= observations / 4:
                early.append(max(map(peak_mb, ids)))
            while len(curve) < stored * 10 // observations:
                curve.append(max(map(resident_mb, ids)))
            return stored >= observations

        _wait(all_stored)
        seconds = time.perf_counter() - began
        row = connection.execute("SELECT count(*) FROM observation").fetchone()
        if row is None or row[0] != observations:
            raise RuntimeError(f"{row} observations are stored of {observations}")
        return Storm(observations, seconds, early[0], max(map(peak_mb, ids)), tuple(curve))


def peak_mb(pid: int) -> float:
    """Return the most resident memory that a process has taken so far, in MB."""
    return _memory_mb(pid, "VmHWM")


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process, in MB."""
    return _memory_mb(pid, "VmRSS")


def _memory_mb(pid: int, kind: str) -> float:
    found = re.search(rf"{kind}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(encoding="ascii"))
    if found is None:
        raise RuntimeError(f"process {pid} has ended")
    return int(found[1]) / 1000


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() >= deadline:
            raise TimeoutError(f"the storm is not over within {PATIENCE_S:.0f} s")
        time.sleep(POLL_S)


def main() -> None:
    with bench_stack() as stack:
        stack.stack.add_gateway(*LOGIN, topics=("gw/v1/stations/+/obs",))
        for processes in PROCESSES:
            found = storm(stack, DEVICES, processes)
            tell(
                f"reconnect storm of {DEVICES:,} devices, {processes} ingest: {found.observations / found.seconds:,.0f} observations/s, "
                f"memory {found.early_mb:.0f} MB after a quarter, {found.peak_mb:.0f} MB at most; at every tenth "
                f"{' '.join(f'{memory:.0f}' for memory in found.curve_mb)} MB"
            )

"""What a round of the worker costs in CPU time: quality control, rules, roll-ups and their statements, a thousand datastreams at a time.

Wall time on a shared machine says little. Counted is the CPU time of this process and of PostgreSQL's processes, stage by stage, while
each datastream gets `NEW` observations a round upon a history of `HISTORY` observations. This file finishes with `main`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import psycopg

from benchmarks.bench_alerts import RULES, STATIONS, prepare
from benchmarks.own_stack import bench_stack
from benchmarks.side_by_side import tell
from domain.observation import Batch, Columns, columns
from service.bootstrap import Container
from service.jobs import CLAIM, ROLL_UP

HISTORY = int(os.environ.get("GROUNDWATCH_BENCH_HISTORY", "30"))
INTERVAL_S = float(os.environ.get("GROUNDWATCH_BENCH_INTERVAL_S", "2"))
NEW = int(os.environ.get("GROUNDWATCH_BENCH_NEW", "1"))
ROUNDS = int(os.environ.get("GROUNDWATCH_BENCH_ROUNDS", "8"))
TOGETHER = int(os.environ.get("GROUNDWATCH_BENCH_CLAIM", "1000"))
MESSAGES = 50
"""Datastreams of one batch of ingest."""

_TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")


@dataclass
class Spent:
    """CPU seconds of this process and of PostgreSQL's, by stage."""

    ours: dict[str, float] = field(default_factory=dict)
    servers: dict[str, float] = field(default_factory=dict)

    def during(self, stage: str, postmaster: int, action: Callable[[], object]) -> None:
        """Run an action and add what it took."""
        server, own = server_cpu_s(postmaster), time.process_time()
        action()
        self.ours[stage] = self.ours.get(stage, 0.0) + time.process_time() - own
        self.servers[stage] = self.servers.get(stage, 0.0) + server_cpu_s(postmaster) - server


def server_cpu_s(postmaster: int) -> float:
    """Return the CPU seconds of the postmaster, of its living children and of those that ended."""
    total = sum(_stat(postmaster)[11:15])
    for child in Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split():
        try:
            total += sum(_stat(int(child))[11:13])
        except FileNotFoundError:
            continue  # its time is the postmaster's by now
    return total * _TICK_S


def _stat(pid: int) -> list[int]:
    """Return the fields of /proc/PID/stat from the state on; the name before them may hold anything."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return [0, *map(int, fields[1:])]


def batches(ids: list[int], first: datetime, count: int, rng: np.random.Generator, together: int) -> Iterator[Columns]:
    """Give `count` observations of every datastream, `together` datastreams a batch."""
    step = np.timedelta64(round(INTERVAL_S * 1e6), "us")
    times = np.datetime64(first.replace(tzinfo=None), "us") + step * np.arange(count)
    for begin in range(0, len(ids), together):
        part = np.array(ids[begin : begin + together])
        yield columns(np.repeat(part, count), np.tile(times, len(part)), np.round(5.0 + rng.normal(0, 0.1, len(part) * count), 3))


def commit(container: Container, ids: list[int], first: datetime, count: int, rng: np.random.Generator, together: int) -> None:
    """Commit what `batches` gives."""
    for part in batches(ids, first, count, rng, together):
        container.observations.commit(Batch("mqtt", "bench", part))


def drain(container: Container) -> None:
    """Do everything that waits, so that the history costs the measured rounds nothing."""
    while container.inspector.run_once():
        pass
    while evaluated(container):
        pass
    container.engine.tick(container.clock())
    while container.rollups.refresh(ROLL_UP):
        pass


def evaluated(container: Container) -> int:
    """Evaluate what is judged; return how many datastreams that were."""
    with container.work.claim("evaluate", min(CLAIM, TOGETHER), after="quality") as changes:
        if changes:
            container.engine.evaluate(changes, container.clock())
        return len(changes)


def measure(container: Container, postmaster: int) -> Spent:
    """Run the rounds."""
    rng, spent = np.random.default_rng(1), Spent()
    ids = [item.datastream_id or 0 for item in container.registers.list_datastreams(limit=STATIONS)]
    past = timedelta(seconds=INTERVAL_S)
    begin = container.clock() - (HISTORY + ROUNDS * NEW) * past
    commit(container, ids, begin, HISTORY, rng, max(1, 200_000 // max(HISTORY, 1)))
    drain(container)
    for number in range(ROUNDS):
        first = begin + (HISTORY + number * NEW) * past
        spent.during("commit", postmaster, lambda first=first: commit(container, ids, first, NEW, rng, MESSAGES))  # type: ignore[misc]
        spent.during("quality", postmaster, lambda: until_idle(container.inspector.run_once))
        spent.during("rules", postmaster, lambda: until_idle(lambda: evaluated(container)))
        spent.during("rollups", postmaster, lambda: until_idle(lambda: container.rollups.refresh(ROLL_UP)))
    return spent


def until_idle(action: Callable[[], int]) -> None:
    """Repeat an action until it finds nothing to do."""
    while action():
        pass


def main() -> None:
    """Print CPU seconds a thousand observations, by stage."""
    with bench_stack() as stack, stack.database() as url, stack.container(url) as container:
        prepare(container, 9)
        postmaster = _postmaster(url)
        spent = measure(container, postmaster)
    thousands = ROUNDS * NEW * STATIONS / 1000.0
    tell(
        f"{ROUNDS} rounds over {STATIONS} datastreams, {RULES} rules, {NEW} new upon {HISTORY} observations at {INTERVAL_S:g} s; "
        f"CPU seconds a thousand observations ({datetime.now(UTC):%Y-%m-%d})"
    )
    for stage, own in spent.ours.items():
        tell(f"{stage:8s} worker {own / thousands:6.3f}  PostgreSQL {spent.servers[stage] / thousands:6.3f}")


def _postmaster(url: str) -> int:
    """Return the process that PostgreSQL's other processes are children of."""
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None
        return int(Path(f"/proc/{row[0]}/stat").read_text().rpartition(")")[2].split()[1])


if __name__ == "__main__":
    main()

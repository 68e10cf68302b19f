"""The dashboard's chart query through `groundwatch serve` beside its bare SQL by psycopg.

The server is a process of its own (uvicorn) and is asked over one kept connection, with the parameters that the page sends; the bare SQL is
the statement that answers it, rows fetched as Python tuples, on one kept connection. Neither includes starting or connecting.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import numpy as np
import psycopg

from benchmarks.own_stack import BenchStack, bench_stack
from benchmarks.processes import running
from benchmarks.side_by_side import compare, seconds
from domain.model import Datastream, ObservedProperty, Station, StationKind
from domain.observation import Batch, columns
from service.api.passwords import digest_of
from service.bootstrap import Container
from service.embedded.ports import choose
from storage.register_rows import Node

OBSERVATIONS = int(os.environ.get("GROUNDWATCH_BENCH_OBSERVATIONS", "1000000"))
PAIRS = int(os.environ.get("GROUNDWATCH_BENCH_PAIRS", "5"))
REQUESTS = 20
POINTS = 4000
"""What the page asks for at most (`POINTS` of chart_data.js)."""
RAW_POINTS = 2000
COMMIT = 100_000
START = datetime(2025, 1, 1, tzinfo=UTC)
YEAR = timedelta(days=365)
DAYS = 365
"""Days of the node's zone that begin within the year asked for."""
CODE = "C1:depth_to_water"
TOKEN = "gw_bench_chart"
PATIENCE_S = 60.0
RAW_SQL = (
    "SELECT phenomenon_time, phenomenon_end, result, sigma, quality, quality_reasons, result_time FROM observation"
    " WHERE datastream_id = %s AND phenomenon_time >= %s AND phenomenon_time < %s ORDER BY phenomenon_time"
)
DAYS_SQL = (
    "SELECT bucket, n, n_good, mean, min, max, sum, first, last FROM observation_1d"
    " WHERE datastream_id = %s AND bucket >= %s AND bucket < %s ORDER BY bucket"
)


def fill(container: Container) -> int:
    """Store one year of `OBSERVATIONS` observations with its roll-ups and return the datastream's id."""
    registers = container.registers
    registers.set_node(Node("bench", "测", "bench", "330400"))
    registers.upsert_property(ObservedProperty("depth_to_water", "埋深", "depth to water", "m", "down"))
    registers.add_station(Station("C1", StationKind.OBSERVATION_WELL, "井", "well"), actor="bench")
    key = int(registers.add_datastream(Datastream("C1", "depth_to_water", "m"), actor="bench").datastream_id or 0)
    container.access.add_key(digest_of(TOKEN), TOKEN[:8], "supervisor")
    rng = np.random.default_rng(1)
    times = np.datetime64(START.replace(tzinfo=None), "us") + np.arange(OBSERVATIONS) * (
        np.timedelta64(YEAR, "us") // OBSERVATIONS
    )
    results = np.round(20 + rng.normal(0, 0.5, OBSERVATIONS), 3)
    for first in range(0, OBSERVATIONS, COMMIT):
        span = slice(first, first + COMMIT)
        container.observations.commit(Batch("file", "bench", columns(key, times[span], results[span])))
    while container.rollups.refresh(1000):
        pass
    return key


def ours(client: httpx.Client, start: datetime, end: datetime, resolution: str, rows: int) -> float:
    """Ask as the page asks, `REQUESTS` times."""
    query: dict[str, str | int] = {
        "datastream": CODE,
        "resolution": "auto",
        "points": POINTS,
        "limit": 10000,
        "columns": "true",
        "from": start.isoformat(),
        "to": end.isoformat(),
    }

    def ask() -> None:
        answer = client.get("/api/v1/observations", params=query)
        answer.raise_for_status()
        body = answer.json()
        if body["resolution"] != resolution or {len(column) for column in body["columns"].values()} != {rows}:
            raise RuntimeError(f"the answer is not {rows} rows of {resolution}")

    return seconds(repeated(ask))


def plain(connection: psycopg.Connection, statement: str, key: int, span: tuple[datetime, datetime], rows: int) -> float:
    """Fetch the same rows, `REQUESTS` times."""

    def ask() -> None:
        found = connection.execute(statement, [key, *span]).fetchall()
        if len(found) != rows:
            raise RuntimeError(f"{len(found)} rows came, not {rows}")

    return seconds(repeated(ask))


def repeated(action: Callable[[], None]) -> Callable[[], None]:
    def run() -> None:
        for _ in range(REQUESTS):
            action()

    return run


def wait_until_served(client: httpx.Client, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            if client.get("/healthz").is_success:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise TimeoutError(f"the server does not answer: {log.read_text(encoding='utf-8')[-2000:]}")


def measure(stack: BenchStack, url: str) -> None:
    with stack.container(url) as container:
        key = fill(container)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
        port = choose(18_000)
        environment = {"GROUNDWATCH_DATABASE_URL": url, "GROUNDWATCH_HOME": str(stack.home)}
        environment["GROUNDWATCH_MQTT_URL"] = stack.stack.addresses.mqtt_url_with_login
        log = stack.home / "serve.log"
        headers = {"Authorization": f"Bearer {TOKEN}"}
        client = httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, trust_env=False, timeout=60.0)
        with client, running(["serve", "--port", str(port)], environment, log):
            wait_until_served(client, log)
            short = (START, START + RAW_POINTS * (YEAR / OBSERVATIONS))
            whole = (START, START + YEAR)
            compare(
                f"chart of {RAW_POINTS:,} raw values out of {OBSERVATIONS:,} beside its bare SQL",
                lambda: ours(client, *short, "raw", RAW_POINTS),
                lambda: plain(connection, RAW_SQL, key, short, RAW_POINTS),
                amount=REQUESTS,
                unit="charts",
                pairs=PAIRS,
            )
            compare(
                f"chart of a year of {OBSERVATIONS:,} values as fine as {POINTS:,} points allow beside its bare SQL",
                lambda: ours(client, *whole, "1d", DAYS),
                lambda: plain(connection, DAYS_SQL, key, whole, DAYS),
                amount=REQUESTS,
                unit="charts",
                pairs=PAIRS,
            )


def main() -> None:
    with bench_stack() as stack, stack.database() as url:
        measure(stack, url)

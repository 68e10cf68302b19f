"""The real ingest and worker loops give signs of life that readiness reads, and keep house."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from service.api.readiness import Readiness
from service.bootstrap import Container
from service.jobs import keep_house, run_worker
from service.receiving import run_ingest
from service.settings import Settings
from storage.heartbeats import HeartbeatRepository
from storage.register_rows import Node
from tests.waiting import wait_until

pytestmark = pytest.mark.stack
HOUR = timedelta(hours=1)


@pytest.fixture
def container(own_database_url: str, broker: Any, tmp_path: Path) -> Iterator[Container]:
    url = f"mqtt://{broker.username}:{broker.password}@{broker.host}:{broker.port}"
    settings = Settings(
        home=tmp_path, database_url=own_database_url, mqtt_url=url, mqtt_client_id="signs-of-life", minimum_free_bytes=1
    )
    with Container(settings) as container:
        container.registers.set_node(Node("330400", "嘉兴", "Jiaxing", "330400"))
        yield container


def reasons(container: Container) -> dict[str, str]:
    return {check.name: check.reason for check in Readiness(container, container.clock()).checks() if not check.ok}


def grow_old(container: Container, seconds: float) -> None:
    with container.db.transaction() as connection:
        connection.execute(
            "UPDATE process_status SET started_at = started_at - make_interval(secs => %(age)s),"
            " seen_at = seen_at - make_interval(secs => %(age)s)",
            {"age": seconds},
        )


def test_ingest_is_seen_connected_while_it_runs_and_is_not_missed_after_it_ended_in_order(container: Container) -> None:
    stop = threading.Event()
    thread = threading.Thread(target=run_ingest, args=(container, stop), daemon=True)
    thread.start()
    try:
        signs = HeartbeatRepository(container.db)
        wait_until(lambda: any(row.detail["connected"] for row in signs.recent(HOUR)), 10, "ingest says that it is connected")
        assert reasons(container) == {}
    finally:
        stop.set()
        thread.join(20)
    assert signs.recent(HOUR) == []
    assert reasons(container) == {}


def test_a_worker_tells_its_loops_and_who_leads(container: Container) -> None:
    stop = threading.Event()
    thread = threading.Thread(target=run_worker, args=(container, stop), daemon=True)
    thread.start()
    try:
        signs = HeartbeatRepository(container.db)
        wait_until(lambda: any(row.detail["leading"] for row in signs.recent(HOUR)), 15, "the worker says that it leads")
        (row,) = signs.recent(HOUR)
        assert {"evaluate", "rollups", "dispatch", "lead"} <= set(row.detail["loops"])
        assert reasons(container) == {}
    finally:
        stop.set()
        thread.join(20)


def test_a_process_that_vanished_is_missed_for_an_hour_and_its_row_removed_by_housekeeping(container: Container) -> None:
    from service.heartbeats import this_process

    signs = HeartbeatRepository(container.db)
    signs.beat(this_process("worker", container.clock()), {"leading": True, "loops": [], "faults": {}})
    assert reasons(container) == {}
    grow_old(container, 40)
    assert "silent" in reasons(container)["worker"]
    grow_old(container, 3600)
    assert reasons(container) == {}
    container.access.remember("key", "owner", "0" * 64, {})
    with container.db.transaction() as connection:
        connection.execute("UPDATE idempotency SET created_at = created_at - interval '8 days'")
    container.access.remember("fresh", "owner", "0" * 64, {})
    grow_old(container, 86_400)
    keep_house(container)
    assert signs.recent(timedelta(days=30)) == []
    assert container.access.idempotent("key", "owner") is None
    assert container.access.idempotent("fresh", "owner") is not None

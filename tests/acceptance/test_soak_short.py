"""A short soak: ingest and PostgreSQL killed, the broker ended and killed, links cut, every observation counted.

`make soak` is the long run.
"""

from __future__ import annotations

import os
import secrets
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.soak import Plan, Soak
from service.embedded import EmbeddedStack
from storage.migrate import migrate

pytestmark = [pytest.mark.stack, pytest.mark.slow]


@pytest.fixture
def own(stack_home: Path, stack_packages: Path) -> Iterator[EmbeddedStack]:
    """A stack of its own, which the soak may kill."""
    home = stack_home / "sessions" / f"{os.getpid()}-{uuid.uuid4().hex[:6]}"
    home.parent.mkdir(exist_ok=True)
    try:
        with EmbeddedStack(home, packages=stack_packages, durable=False) as running:
            yield running
    finally:
        shutil.rmtree(home, ignore_errors=True)


@pytest.mark.timeout(400)
def test_nothing_is_lost_repeated_or_altered_while_processes_are_killed(own: EmbeddedStack, tmp_path: Path) -> None:
    seed = int(os.environ.get("GROUNDWATCH_SOAK_SEED") or secrets.randbits(31))
    url = own.addresses.database_url
    migrate(url)
    plan = Plan(messages=2_400, kept_messages=800, faults=5, kept_faults=6, rate=300.0, seed=seed, drain_s=120.0)
    outcome = Soak(own, url, tmp_path, plan).run()
    assert outcome.is_whole, f"{outcome.report()} (GROUNDWATCH_SOAK_SEED={seed})"
    assert outcome.sent == 2 * plan.total
    assert sum(outcome.faults.values()) == plan.faults + plan.kept_faults, outcome.report()
    assert len(outcome.faults) >= 5, outcome.report()  # all six, but where the sender was done before its link's turn came

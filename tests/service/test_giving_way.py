"""Analytics give way to rules: results may be slow, alerts may not."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from service import jobs
from service.bootstrap import Container


def container_that_waited(*ages: float | None) -> tuple[Container, list[float | None]]:
    """A container whose oldest work waited so long at each look, the last age for ever."""
    looked: list[float | None] = []

    def oldest_age_s(*kinds: str) -> float | None:
        assert set(kinds) == {"quality", "evaluate"}
        looked.append(ages[min(len(looked), len(ages) - 1)])
        return looked[-1]

    return cast(Any, SimpleNamespace(work=SimpleNamespace(oldest_age_s=oldest_age_s))), looked


def test_nobody_rests_where_nothing_waits() -> None:
    container, looked = container_that_waited(None)
    began = time.monotonic()
    jobs.give_way(container, threading.Event(), worked_s=60.0)
    assert looked == [None]
    assert time.monotonic() - began < 30.0


def test_analytics_rest_as_long_as_they_worked_where_rules_have_work() -> None:
    container, looked = container_that_waited(0.0)
    began = time.monotonic()
    jobs.give_way(container, threading.Event(), worked_s=0.3)
    assert time.monotonic() - began >= 0.3
    assert looked == [0.0, 0.0]


def test_analytics_rest_until_rules_have_caught_up() -> None:
    container, looked = container_that_waited(9.0, 5.0, 2.0, jobs.PROMPT_S / 2)
    jobs.give_way(container, threading.Event(), worked_s=0.0)
    assert looked == [9.0, 5.0, 2.0, jobs.PROMPT_S / 2]


def test_rules_that_never_catch_up_do_not_stop_analytics_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "LONGEST_WAY_S", 0.5)
    container, looked = container_that_waited(60.0)
    began = time.monotonic()
    jobs.give_way(container, threading.Event(), worked_s=0.0)
    assert time.monotonic() - began >= 0.5
    assert len(looked) > 1


def test_a_worker_that_ends_waits_for_nobody() -> None:
    container, looked = container_that_waited(60.0)
    stop = threading.Event()
    stop.set()
    jobs.give_way(container, stop, worked_s=60.0)
    assert looked == [60.0]

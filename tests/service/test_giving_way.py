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


@pytest.mark.parametrize("age", [None, 0.0, jobs.PROMPT_S / 2])
def test_nobody_waits_where_rules_keep_up(age: float | None) -> None:
    container, looked = container_that_waited(age)
    jobs.give_way(container, threading.Event())
    assert looked == [age]


def test_analytics_rest_until_rules_have_caught_up() -> None:
    container, looked = container_that_waited(5.0, 2.0, 0.1)
    jobs.give_way(container, threading.Event())
    assert looked == [5.0, 2.0, 0.1]


def test_rules_that_never_catch_up_do_not_stop_analytics_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "LONGEST_WAY_S", 0.5)
    container, looked = container_that_waited(60.0)
    began = time.monotonic()
    jobs.give_way(container, threading.Event())
    assert time.monotonic() - began >= 0.5
    assert len(looked) > 1


def test_a_worker_that_ends_waits_for_nobody() -> None:
    container, looked = container_that_waited(60.0)
    stop = threading.Event()
    stop.set()
    jobs.give_way(container, stop)
    assert looked == []

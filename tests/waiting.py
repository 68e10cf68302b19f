"""Waiting for a condition instead of sleeping and hoping."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(condition: Callable[[], T], timeout: float = 10.0, message: str = "the condition", poll: float = 0.02) -> T:
    """Poll until `condition()` is truthy and return what it returned; fail with `message` after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() >= deadline:
            raise AssertionError(f"{message}: not within {timeout} s (last answer: {answer!r})")
        time.sleep(poll)

"""What is told on is judged as of a time from before it was read: an answer that came in time is never called late."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from alerts.partner_answers import Overdue
from domain.foreign import OwedAnswer
from service import escalating

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def test_an_answer_that_falls_due_while_answers_are_read_is_not_late_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    time = [BEGAN]

    def read(_container: Any) -> list[Overdue]:
        owed = OwedAnswer("310000", "bureau", 1, "A_1", "A_1", BEGAN)
        time[0] = BEGAN + 2 * MINUTE  # the answer came within the first minute, after this was read
        return [Overdue(owed, "上海", "Shanghai", BEGAN + MINUTE)]

    def found(_key: Any) -> Any:
        raise AssertionError("the alert is looked for: its answer was taken for late")

    monkeypatch.setattr(escalating, "owed_answers", read)
    node = SimpleNamespace(attributes={})
    container: Any = SimpleNamespace(
        clock=lambda: time[0], registers=SimpleNamespace(node=lambda: node), alerts=SimpleNamespace(find_alert=found)
    )
    assert escalating.escalate_answers(container) == []

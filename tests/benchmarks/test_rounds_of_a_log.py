"""What the benchmark of alerts reads in a worker's log: the round in which an alert was opened."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from benchmarks.bench_alerts import Rounds

BEGUN = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def line(begun: datetime, judged: datetime, done: datetime) -> bytes:
    told = f"round begun {begun.isoformat()}, quality of 3 judged {judged.isoformat()}, rules of 3 evaluated {done.isoformat()}"
    return f"2026-01-01 12:00:00,000 DEBUG groundwatch.worker: {told}\nsomething else\n".encode()


def test_the_round_of_an_alert_is_the_one_that_was_evaluating_when_it_opened() -> None:
    later = BEGUN + 10 * SECOND
    rounds = Rounds(line(later, later + SECOND, later + 2 * SECOND) + line(BEGUN, BEGUN + SECOND, BEGUN + 3 * SECOND))
    assert rounds.of(BEGUN + 2 * SECOND) == (BEGUN, BEGUN + SECOND)
    assert rounds.of(later + SECOND) == (later, later + SECOND)
    assert rounds.of(BEGUN) is None  # quality was being judged: no alert of this round can be that old
    assert rounds.of(BEGUN + 5 * SECOND) is None
    assert Rounds(b"").of(BEGUN) is None

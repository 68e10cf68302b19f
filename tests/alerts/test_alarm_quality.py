"""The metrics of ISA-18.2 over made-up periods whose answers can be counted by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.alarm_quality import Episode, Notice, grade_of, load_targets, measure, to_json
from domain.alert import Level
from domain.case import CaseVerdict

START = datetime(2025, 1, 1, tzinfo=UTC)
END = datetime(2025, 1, 11, tzinfo=UTC)
TARGETS = load_targets()


def at(days: float) -> datetime:
    return START + timedelta(days=days)


def episode(name: str, day: float, **changed: object) -> Episode:
    made = Episode(name, "rate-12mo", f"S{name}:displacement_up", Level.YELLOW, at(day), ended_at=at(day + 0.1))
    return replace(made, **changed)  # type: ignore[arg-type]


def test_the_shipped_targets_name_their_source() -> None:
    assert "ISA-18.2" in TARGETS.source and TARGETS.per_day_acceptable < TARGETS.per_day_maximum
    assert sum(TARGETS.priority_split.values()) == pytest.approx(1.0)


def test_new_standing_stale_and_unacknowledged_are_counted_apart() -> None:
    episodes = [
        episode("1", -3, ended_at=None),
        episode("2", 1, acknowledged_at=at(1) + timedelta(minutes=10)),
        episode("3", 2, acknowledged_at=at(2) + timedelta(minutes=30)),
        episode("4", 9.9, ended_at=None),
    ]
    found = measure(episodes, [], START, END, TARGETS)
    assert (found.alerts, found.per_day, found.standing, found.stale) == (3, 0.3, 2, ("1",))
    assert (found.acknowledge_median_s, found.acknowledge_p95_s, found.unacknowledged) == (1200.0, 1800.0, 1)


def test_the_false_share_of_a_rule_counts_what_people_said_and_nature_is_not_false() -> None:
    words = [CaseVerdict.REAL, CaseVerdict.INSTRUMENT, CaseVerdict.MAINTENANCE, CaseVerdict.NATURAL, None]
    found = measure([episode(str(n), n, verdict=word) for n, word in enumerate(words)], [], START, END, TARGETS)
    (rule,) = found.rules
    assert (rule.alerts, rule.judged, rule.false, rule.natural, rule.false_share) == (5, 4, 2, 1, 0.5)
    (unsaid,) = measure([episode("1", 1)], [], START, END, TARGETS).rules
    assert unsaid.false_share is None


def test_three_firings_in_a_minute_chatter_over_episodes_of_one_scope() -> None:
    seconds = [timedelta(seconds=second) for second in (0, 25, 50)]
    often = [episode("1", 1, scope="S1:head", opened_at=at(1) + wait) for wait in seconds]
    found = measure([*often, episode("9", 3)], [], START, END, TARGETS)
    assert found.chattering == ("rate-12mo S1:head",)
    slowly = [episode("1", 1, scope="S1:head", opened_at=at(1) + 3 * wait) for wait in seconds]
    assert measure(slowly, [], START, END, TARGETS).chattering == ()


def test_a_flood_is_seen_wherever_its_ten_minutes_begin() -> None:
    burst = [Notice("duty", at(1) + timedelta(minutes=5, seconds=30 * n)) for n in range(15)]
    (load,) = measure([], burst, START, END, TARGETS).receivers
    assert load.worst_10_min == 15
    assert load.per_day == pytest.approx(1.5) and load.grade == "acceptable"


@pytest.mark.parametrize(("per_day", "grade"), [(0, "acceptable"), (150, "acceptable"), (151, "manageable"), (301, "overloaded")])
def test_the_load_of_a_person_is_graded(per_day: float, grade: str) -> None:
    assert grade_of(per_day, TARGETS) == grade


def test_a_receiver_that_is_told_too_much_is_remarked() -> None:
    notices = [Notice("duty", START + timedelta(minutes=4 * n)) for n in range(3600)]
    found = measure([], notices, START, END, TARGETS)
    assert found.receivers[0].per_day == pytest.approx(360.0) and "overload:duty" in found.remarks
    assert found.receivers[0].worst_10_min == 3 and "flood:duty" not in found.remarks


def test_priorities_that_are_all_red_are_remarked() -> None:
    found = measure([episode(str(n), n / 4, peak=Level.RED) for n in range(30)], [], START, END, TARGETS)
    assert found.priorities["high"] == 1.0 and "priority:high" in found.remarks


def test_nothing_at_all_is_an_answer_too() -> None:
    found = measure([], [], START, END, TARGETS)
    assert (found.alerts, found.top_ten, found.top_ten_share, found.priorities, found.remarks) == (0, (), None, {}, ())
    assert to_json(found, TARGETS)["targets"]["source"] == TARGETS.source


@given(st.lists(st.floats(-5, 15), max_size=40), st.randoms())
def test_the_order_of_what_is_measured_changes_nothing(days: list[float], chance: object) -> None:
    episodes = [episode(str(n), day) for n, day in enumerate(days)]
    notices = [Notice("duty", at(day)) for day in days]
    mixed, noted = list(episodes), list(notices)
    chance.shuffle(mixed)  # type: ignore[attr-defined]
    chance.shuffle(noted)  # type: ignore[attr-defined]
    assert measure(episodes, notices, START, END, TARGETS) == measure(mixed, noted, START, END, TARGETS)

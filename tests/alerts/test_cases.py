"""Cases: what may follow what, who may close, what shows effect, and when an overdue one is told on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.case_desk import CaseDesk, Collected, FollowUp, escalation_notifications
from alerts.case_effect import effect_of
from alerts.cases import MAY_FOLLOW, EscalationStep, check, escalation_due, fold, read_escalation
from domain.alerting import Receiver
from domain.case import Case, CaseEvent, CaseState, CaseStep, CaseVerdict, Effect
from domain.errors import ConflictError, InputError, NotFoundError, PermissionDeniedError
from domain.model import Datastream
from domain.ports import SeriesData

NOW = datetime(2026, 3, 1, 8, tzinfo=UTC)
DUE = (NOW + timedelta(days=30)).isoformat()
DAY = 86_400.0


class MemoryCases:
    """A store in memory with the same promises."""

    def __init__(self) -> None:
        self.told: dict[str, list[CaseEvent]] = {}

    def open(self, prefix: str, first: Callable[[str], CaseEvent]) -> Case:
        number = sum(code.startswith(prefix) for code in self.told) + 1
        event = first(f"{prefix}{number:04d}")
        self.told[event.case_code] = [event]
        return fold([event])

    def append(self, code: str, make: Callable[[Case], CaseEvent]) -> Case:
        events = self.told.get(code)
        if events is None:
            raise NotFoundError(f"no case {code}")
        events.append(make(fold(events)))
        return fold(events)

    def case(self, code: str) -> Case | None:
        return fold(self.told[code]) if code in self.told else None


class OneStream:
    """A register with one station and datastream."""

    def station(self, code: str) -> Any:
        return None

    def datastream(self, code: str) -> Datastream | None:
        return Datastream("S1", "depth_to_water", "m", datastream_id=7) if code == "S1:depth_to_water" else None


class Levels:
    """Daily levels: 30 m until the measure, then 25 m, with a little noise."""

    def series(self, datastream_id: int, start: datetime | None = None, end: datetime | None = None, **_: Any) -> SeriesData:
        assert datastream_id == 7 and start is not None and end is not None
        days = np.arange(np.datetime64("2025-12-01"), np.datetime64("2026-03-01"))
        result = np.where(days < np.datetime64("2026-01-15"), 30.0, 25.0) + np.random.default_rng(1).normal(0, 0.2, days.size)
        keep = (days >= np.datetime64(start.replace(tzinfo=None))) & (days < np.datetime64(end.replace(tzinfo=None)))
        quality = np.ones(keep.sum(), dtype=np.int8)
        nothing = np.full(keep.sum(), np.nan)
        time = days[keep].astype("datetime64[us]")
        return SeriesData(time, result[keep], nothing, quality, np.full(keep.sum(), np.datetime64("NaT"), dtype="datetime64[us]"))

    def last_time(self, datastream_id: int) -> datetime | None:
        return None


@pytest.fixture
def desk() -> CaseDesk:
    return CaseDesk(MemoryCases(), Levels(), OneStream(), "330400", ZoneInfo("Asia/Shanghai"))


def assigned(desk: CaseDesk) -> Case:
    case = desk.collect(Collected("王江泾 funnel deepens"), "xu", NOW)
    desk.take(case.code, CaseStep.VERIFY, "xu", NOW, "levelled again, same result")
    return desk.take(case.code, CaseStep.ASSIGN, "director", NOW, "", {"owner": "秀洲区水利局", "leader": "chen", "due_at": DUE})


def test_a_case_goes_its_whole_way_and_is_closed_by_somebody_else(desk: CaseDesk) -> None:
    case = assigned(desk)
    assert case.code == "330400-2026-0001"
    desk.take(case.code, CaseStep.HANDLE, "lin", NOW, "", {"measure": "two wells sealed"})
    asked = FollowUp("S1:depth_to_water", datetime(2026, 1, 15, tzinfo=UTC), before_days=60)
    case, compared = desk.follow_up(case.code, asked, "lin", NOW)
    assert compared.effect is Effect.IMPROVED and case.state is CaseState.TRACKING
    assert compared.change == pytest.approx(-5.0, abs=0.2)
    for handler in ("lin", "chen"):
        with pytest.raises(PermissionDeniedError, match="cannot close"):
            desk.take(case.code, CaseStep.CLOSE, handler, NOW, "", {"verdict": "real"})
    case = desk.take(case.code, CaseStep.CLOSE, "director", NOW, "", {"verdict": "real"})
    assert (case.state, case.verdict, case.closed_by) == (CaseState.CLOSED, CaseVerdict.REAL, "director")


def test_reopening_keeps_the_history_and_still_bars_who_handled_it(desk: CaseDesk) -> None:
    case = assigned(desk)
    desk.take(case.code, CaseStep.HANDLE, "lin", NOW, "", {"measure": "two wells sealed"})
    desk.follow_up(case.code, FollowUp("S1:depth_to_water", datetime(2026, 1, 15, tzinfo=UTC)), "lin", NOW)
    desk.take(case.code, CaseStep.CLOSE, "director", NOW, "", {"verdict": "real"})
    with pytest.raises(InputError, match="with a reason"):
        desk.take(case.code, CaseStep.REOPEN, "xu", NOW)
    case = desk.take(case.code, CaseStep.REOPEN, "xu", NOW, "the level falls again")
    assert (case.state, case.reopened, case.measures, case.due_at) == (CaseState.VERIFIED, 1, ("two wells sealed",), None)
    assert {"lin", "chen"} <= case.handlers


def test_without_shown_effect_it_is_closed_only_with_a_stated_reason(desk: CaseDesk) -> None:
    case = assigned(desk)
    desk.take(case.code, CaseStep.HANDLE, "lin", NOW, "", {"measure": "asked the holder"})
    _, compared = desk.follow_up(case.code, FollowUp("S1:depth_to_water", datetime(2026, 2, 27, tzinfo=UTC)), "lin", NOW)
    assert compared.effect is Effect.CANNOT_TELL
    with pytest.raises(InputError, match="not an effect"):
        desk.take(case.code, CaseStep.CLOSE, "director", NOW, "", {"verdict": "real"})
    closed = desk.take(case.code, CaseStep.CLOSE, "director", NOW, "well abandoned for good", {"verdict": "real"})
    assert closed.state is CaseState.CLOSED


@pytest.mark.parametrize(
    ("step", "note", "detail", "error"),
    [
        (CaseStep.HANDLE, "", {"measure": "x"}, ConflictError),
        (CaseStep.CLOSE, "", {"verdict": "real"}, ConflictError),
        (CaseStep.VERIFY, "  ", {}, InputError),
        (CaseStep.DISMISS, "sensor wet", {"verdict": "real"}, InputError),
        (CaseStep.DISMISS, "sensor wet", {"verdict": "broken"}, InputError),
        (CaseStep.DISMISS, "", {"verdict": "instrument"}, InputError),
        (CaseStep.COMMENT, "", {}, InputError),
        (CaseStep.LINK, "", {}, InputError),
        (CaseStep.COLLECT, "", {}, InputError),
    ],
)
def test_a_step_that_may_not_follow_or_says_too_little_is_refused(
    desk: CaseDesk, step: CaseStep, note: str, detail: Mapping[str, Any], error: type[Exception]
) -> None:
    case = desk.collect(Collected("a"), "xu", NOW)
    with pytest.raises(error):
        desk.take(case.code, step, "xu", NOW, note, detail)


@pytest.mark.parametrize("missing", ["owner", "leader", "due_at"])
def test_an_assignment_names_body_leader_and_date(desk: CaseDesk, missing: str) -> None:
    case = desk.collect(Collected("a"), "xu", NOW)
    desk.take(case.code, CaseStep.VERIFY, "xu", NOW, "seen")
    detail = {"owner": "o", "leader": "l", "due_at": DUE}
    with pytest.raises(InputError, match="missing"):
        desk.take(case.code, CaseStep.ASSIGN, "d", NOW, "", {**detail, missing: ""})
    with pytest.raises(InputError, match="past"):
        desk.take(case.code, CaseStep.ASSIGN, "d", NOW, "", {**detail, "due_at": NOW.isoformat()})


def test_an_unknown_case_title_or_datastream_is_named(desk: CaseDesk) -> None:
    with pytest.raises(InputError, match="no title"):
        desk.collect(Collected("  "), "xu", NOW)
    with pytest.raises(NotFoundError):
        desk.take("330400-2026-0009", CaseStep.COMMENT, "xu", NOW, "hello")
    with pytest.raises(NotFoundError, match="no datastream"):
        desk.compare(FollowUp("S1:head", NOW), NOW)
    with pytest.raises(NotFoundError, match="no station"):
        desk.collect(Collected("a", stations=("S9",)), "xu", NOW)


@given(st.lists(st.sampled_from(sorted(set(CaseStep) - {CaseStep.COLLECT})), max_size=12))
def test_whatever_is_tried_the_case_stands_where_its_events_say(steps: list[CaseStep]) -> None:
    detail = {
        "owner": "o", "leader": "l", "due_at": DUE, "measure": "m", "verdict": "natural", "effect": "improved", "alert": "A",
        "to": "city", "filename": "f", "media_type": "t", "sha256": "0", "bytes": 1, "location": "x",
    }  # fmt: skip
    events = [CaseEvent("C", 1, CaseStep.COLLECT, "xu", NOW, "", {"title": "t"})]
    for wanted in steps:
        case = fold(events)
        event = CaseEvent("C", case.last_number + 1, wanted, "anybody", NOW, "said", detail)
        try:
            check(case, event, NOW)
        except (ConflictError, PermissionDeniedError):
            continue
        assert case.state in MAY_FOLLOW[wanted]
        events.append(event)
    case = fold(events)
    assert case.last_number == len(events)
    assert (case.state is CaseState.CLOSED) == (case.verdict is not None)
    assert not (case.closed_by and case.closed_by in case.handlers and events[-1].step is CaseStep.CLOSE)


STEPS = read_escalation([{"to": "province", "after_h": 336}, {"to": "county", "after_h": 0}, {"to": "city", "after_h": 168}], "x")


@pytest.mark.parametrize(
    ("hours", "told", "expected"),
    [
        (-1, None, None),
        (0, None, None),
        (1, None, "county"),
        (1, "county", None),
        (169, "county", "city"),
        (400, None, "province"),
        (400, "province", None),
        (169, "province", None),
    ],
)
def test_an_overdue_case_is_told_on_once_a_body(hours: float, told: str | None, expected: str | None) -> None:
    due = escalation_due(STEPS, NOW, told, NOW + timedelta(hours=hours))
    assert (due.to if due else None) == expected


@pytest.mark.parametrize("steps", [[{"to": "a"}], [{"after_h": 1}], [{"to": "a", "after_h": -1}], [{"to": "a", "after_h": True}]])
def test_an_escalation_step_without_body_or_time_is_refused(steps: list[dict[str, Any]]) -> None:
    with pytest.raises(InputError, match="no step"):
        read_escalation(steps, "node")


def test_only_receivers_that_hear_that_body_are_told_and_under_one_key(desk: CaseDesk) -> None:
    case = assigned(desk)
    receivers = [
        Receiver("county-mail", "smtp", {"escalations": ["county"]}),
        Receiver("city-mail", "smtp", {"escalations": ["city", "province"]}),
        Receiver("mqtt", "mqtt", {}),
    ]
    due = EscalationStep("city", timedelta(days=7))
    first = escalation_notifications(case, due, receivers, "jiaxing", NOW)
    again = escalation_notifications(case, due, receivers, "jiaxing", NOW + timedelta(hours=1))
    assert [item.receiver_code for item in first] == ["city-mail"]
    assert [item.idempotency_key for item in first] == [item.idempotency_key for item in again]
    told: list[str] = []
    late = NOW + timedelta(days=31)
    (case,) = desk.escalate([case], STEPS, late, lambda which, body: told.append(f"{which.code} {body.to}"))
    assert told == [f"{case.code} county"] and case.escalated_to == "county"
    assert desk.escalate([case], STEPS, late, lambda *_: told.append("again")) == [] and len(told) == 1


@given(
    shift=st.floats(-1e3, 1e3), scale=st.floats(0.01, 100.0), seed=st.integers(0, 50), quantity=st.sampled_from(["level", "rate"])
)
def test_a_shift_changes_nothing_and_a_scale_scales(shift: float, scale: float, seed: int, quantity: Any) -> None:
    rng = np.random.default_rng(seed)
    times = np.arange(40.0) * DAY
    values = rng.normal(0, 1, 40) + np.where(times < 20 * DAY, 0.0, -1.5)
    plain = effect_of(times, values, 20 * DAY, better="lower", quantity=quantity)
    moved = effect_of(times, values * scale + shift, 20 * DAY, better="lower", quantity=quantity)
    assert moved.change == pytest.approx(plain.change * scale, rel=1e-6, abs=1e-6)  # type: ignore[operator]
    assert moved.effect is plain.effect


def test_slow_noise_that_looks_like_an_effect_is_not_believed_as_readily_as_fast_noise() -> None:
    times = np.arange(400.0) * 3600.0
    believed = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        slow = np.empty(400)
        slow[0] = rng.normal()
        for place in range(1, 400):
            slow[place] = 0.9 * slow[place - 1] + np.sqrt(1 - 0.81) * rng.normal()
        believed += effect_of(times, slow, times[200], better="lower").effect is not Effect.UNCHANGED
    assert believed <= 24  # naive errors of the mean believe about 130 of 200


def test_disordered_times_are_refused() -> None:
    with pytest.raises(InputError, match="belong together"):
        effect_of(np.array([1.0, 0.0]), np.array([1.0, 2.0]), 0.5, better="lower")

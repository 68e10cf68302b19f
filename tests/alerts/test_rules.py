"""Rules as data: what is refused and how it is said, the shipped defaults, and what each kind says."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from alerts.defaults import default_rules, rules_from_yaml
from alerts.rules import RULES, Context, definition_of, parse_rule, rule_as_mapping
from alerts.rules.context import Arrival
from domain.alert import Level, Verdict
from domain.errors import InputError
from domain.licence import Limit
from domain.model import Datastream, Derivation, Station, StationKind
from domain.observation import NO_TIME
from domain.ports import SeriesData
from tests.alerts.fakes import DEPTH, RATE, SILENT, T0

TREND = {
    "code": "speed", "kind": "trend", "name_zh": "加速", "name_en": "Acceleration", "source": "[P]", "quantity": "acceleration",
    "scope": {"property": "*_rate_12mo"}, "unit": "mm/a", "levels": {"blue": 5, "yellow": 10, "orange": 20, "red": 30},
}  # fmt: skip
AHEAD = {**TREND, "code": "ahead", "quantity": "time_to_limit", "unit": "a", "levels": {"blue": 5, "yellow": 2}}
_NAMES = {"name_zh": "规则", "name_en": "Rule", "source": "test"}
_PLAIN = {**_NAMES, "scope": {"property": "x"}, "unit": "mm", "levels": {"blue": 1}}
_UNITLESS = {name: value for name, value in _PLAIN.items() if name != "unit"}
MINIMAL = {
    "threshold": _PLAIN, "trend": {**_PLAIN, "quantity": "acceleration", "levels": {"blue": 1, "red": 2}},
    "acceleration": {**_PLAIN, "levels": {"blue": 1, "red": 2}}, "time_to_limit": {**_PLAIN, "levels": {"blue": 5}}, "silence": _UNITLESS,
    **dict.fromkeys(("completeness", "quota", "reinjection", "anomaly", "tamper"), _UNITLESS),
    "finding": {**_UNITLESS, "findings": ["gap"], "methods": ["anomaly"]},
    "differential": {**_NAMES, "unit": "mm/m", "levels": {"blue": 1}, "line": [
        {"datastream": "A:displacement_up", "chainage_m": 0}, {"datastream": "B:displacement_up", "chainage_m": 20}]},
    "expression": {**_NAMES, "unit": "m", "levels": {"blue": 1}, "expression": "a", "inputs": {"a": {"datastream": "A:head", "unit": "m"}}},
}  # fmt: skip
MARK = Station("M", StationKind.GNSS_MARK, "点", "Mark")


def samples(rows, quality=1):
    time = np.array([(T0 + timedelta(days=day)).replace(tzinfo=None) for day, _, _ in rows], dtype="datetime64[us]")
    value = np.array([row[1] for row in rows], dtype=np.float64)
    sigma = np.array([row[2] for row in rows], dtype=np.float64)
    return SeriesData(time, value, sigma, np.full(len(rows), quality), np.full(len(rows), NO_TIME))


def judge(rule, datastream, rows, **context):
    parsed = parse_rule(rule)
    made = Context(parsed, T0, MARK, datastream, samples(rows, context.pop("quality", 1)), **context)
    return RULES[parsed.kind].evaluate(definition_of(parsed), made)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"code": ""}, "code"),
        ({"kind": "magic"}, "kind"),
        ({"name_zh": None}, "name_zh"),
        ({"source": ""}, "source"),
        ({"levels": {}}, "levels"),
        ({"levels": {"purple": 1}}, "levels.purple"),
        ({"levels": {"blue": "ten"}}, "levels.blue"),
        ({"levels": {"blue": 10, "yellow": 5}}, "levels.yellow"),
        ({"deadband": -1}, "deadband"),
        ({"deadband": float("nan")}, "deadband"),
        ({"unit": "furlong/fortnight"}, "unit"),
        ({"hold": "two hours"}, "hold"),
        ({"hold": "P"}, "hold"),
        ({"direction": "sideways"}, "direction"),
        ({"scope": {"propety": "x"}}, "scope.propety"),
        ({"scope": {"kind": "volcano"}}, "scope.kind"),
        ({"scope": {"derived": "yes"}}, "scope.derived"),
        ({"action": {"who": "me"}}, "action.who"),
        ({"effective_from": "2026-01-01"}, "effective_from"),
        ({"enabled": "yes"}, "enabled"),
        ({"treshold": 5}, "treshold"),
    ],
)
def test_a_faulty_rule_is_refused_and_its_field_named(change, named):
    with pytest.raises(InputError) as caught:
        parse_rule({**DEPTH, **change})
    assert named in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize("rule", [DEPTH, RATE, SILENT, TREND, AHEAD])
def test_each_kind_reads_what_it_writes(rule):
    parsed = parse_rule(rule)
    assert parse_rule(rule_as_mapping(parsed)) == parsed
    assert rule["kind"] in RULES


@pytest.mark.parametrize("kind", sorted(RULES))
def test_every_kind_is_documented_with_each_of_its_fields(kind):
    text = (Path(__file__).resolve().parents[2] / "docs" / "alerts.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("|") and f"`{kind}`" in line.split("|")[1]]
    assert len(rows) == 1, kind
    with pytest.raises(InputError) as caught:
        parse_rule({**MINIMAL.get(kind, MINIMAL["threshold"]), "code": "x", "kind": kind, "no_such_field": 1})
    known = {word.strip() for word in caught.value.remedy.removeprefix("use ").split(",")}
    undocumented = {field for field in known if f"`{field}`" not in text}
    assert not undocumented


def test_the_defaults_are_the_briefs_and_say_which_figures_are_proposals():
    rules = {rule.code: rule for rule in default_rules()}
    rate = definition_of(rules["subsidence-rate-12mo"])
    assert {level.word: limit for level, limit in rate.ladder.levels.items()} == {
        "blue": 5,
        "yellow": 10,
        "orange": 20,
        "red": 30,
    }
    assert definition_of(rules["groundwater-limit"]).register_limits == ("control",)
    total = definition_of(rules["subsidence-cumulative"])
    assert list(total.ladder.levels.values()) == [100, 300, 500, 800]
    assert {"threshold", "rate", "acceleration", "time_to_limit", "silence"} <= {rule.kind for rule in rules.values()}
    assert all("[P]" in rule.source for rule in rules.values())


@pytest.mark.parametrize("kind", list(StationKind))
def test_every_kind_of_station_that_observes_has_one_rule_for_its_silence(kind):
    station = Station("S", kind, "点", "Place")
    rules = [rule for rule in default_rules() if rule.kind == "silence"]
    found = [rule.code for rule in rules if definition_of(rule).scope.admits(Datastream("S", "height", "m"), station)]
    marks = {StationKind.BENCHMARK, StationKind.BEDROCK_MARK}
    without_observations = {StationKind.QUARRY, StationKind.INSAR_AREA}
    assert found == ([] if kind in without_observations else ["survey-overdue"] if kind in marks else ["silent"])


def test_a_yearly_survey_is_overdue_after_fifteen_months_and_not_before():
    rule = next(rule for rule in default_rules() if rule.code == "survey-overdue")
    mark = Station("B", StationKind.BENCHMARK, "点", "Mark")
    yearly = Datastream("B", "height", "m", interval_s=365.25 * 86400)
    for days, level in ((250, Level.NONE), (456, Level.NONE), (458, Level.BLUE), (740, Level.YELLOW)):
        context = Context(rule, T0, mark, arrivals=[Arrival(yearly, T0 - timedelta(days=days))])
        assert RULES["silence"].evaluate(definition_of(rule), context).level is level


def test_a_code_that_is_given_twice_is_refused():
    text = "rules:\n" + "  - {code: a, kind: silence, name_zh: x, name_en: x, source: x, levels: {blue: 3}}\n" * 2
    with pytest.raises(InputError, match="twice"):
        rules_from_yaml(text, author="test")


def test_a_line_of_sight_rate_is_judged_as_subsidence_through_its_incidence_angle():
    source = Datastream("M", "los_displacement", "mm", attributes={"incidence_deg": 39.0}, datastream_id=1)
    derived = Datastream("M", "los_displacement_rate_12mo", "mm/a", derivation=Derivation("rate_12mo", "1", {}, "0" * 64, 1))
    found = judge(RATE, derived, [(0, -8.0, 0.1)], source=source)
    assert found.value == pytest.approx(10.3, abs=0.05)
    assert found.level is Level.YELLOW
    blind = judge(RATE, derived, [(0, -8.0, 0.1)], source=replace(source, attributes={}))
    assert (blind.verdict, blind.reason) == (Verdict.CANNOT_TELL, "no_incidence_angle")


@pytest.mark.parametrize(("prop", "value", "level"), [
    ("displacement_up_rate_12mo", -12.0, Level.YELLOW), ("displacement_up_rate_12mo", 12.0, Level.NONE),
    ("height_rate_12mo", -12.0, Level.YELLOW), ("compaction_rate_12mo", 12.0, Level.YELLOW), ("compaction_rate_12mo", -12.0, Level.NONE),
])  # fmt: skip
def test_subsidence_is_down_positive_whatever_the_property(prop, value, level):
    assert judge(RATE, Datastream("M", prop, "mm/a"), [(0, value, 0.1)]).level is level


def test_units_are_converted_and_an_unlike_one_cannot_be_told():
    assert judge(RATE, Datastream("M", "height_rate_12mo", "m/a"), [(0, -0.012, 0.0001)]).value == pytest.approx(12.0)
    assert judge(RATE, Datastream("M", "height_rate_12mo", "Cel"), [(0, -12, 0.1)]).reason == "unlike_unit"


def test_eight_millimetres_far_from_bedrock_are_not_significant_and_near_it_they_are():
    rule = {**RATE, "kind": "threshold", "quantity": "subsidence", "sigmas": 1, "unit": "mm", "scope": {}}
    change = Datastream("M", "displacement_up", "mm")
    assert judge(rule, change, [(0, -8.0, 10.0)]).level is Level.NONE
    assert judge(rule, change, [(0, -8.0, 10.0)]).verdict is Verdict.CANNOT_TELL
    assert judge(rule, change, [(0, -8.0, 1.4)]).level is Level.BLUE


def test_a_limit_below_is_passed_from_above():
    rule = {**DEPTH, "direction": "below", "levels": {"blue": -5, "yellow": -8}}
    assert judge(rule, Datastream("M", "head", "m"), [(0, -6.0, 0.1)]).level is Level.BLUE
    assert judge(rule, Datastream("M", "head", "m"), [(0, -4.0, 0.1)]).verdict is Verdict.OK


def test_no_observation_cannot_be_told():
    assert judge(DEPTH, Datastream("M", "depth_to_water", "m"), []).verdict is Verdict.CANNOT_TELL


def _history(rate_before, rate_now):
    days = np.arange(-6 * 366, 1)
    return [(int(day), -(rate_before * min(day + 365.25, 0) + rate_now * max(day + 365.25, 0)) / 365.25, 1.0) for day in days]


@pytest.mark.parametrize(
    ("before", "recent", "level"),
    [
        (2.0, 7.0, Level.YELLOW),
        (6.8, 7.0, Level.NONE),
        (1.0, 3.0, Level.NONE),
        (4.0, 12.0, Level.ORANGE),
        (-1.0, 6.0, Level.YELLOW),
    ],
)
def test_acceleration_is_one_step_above_the_colour_of_the_rate(before, recent, level):
    source = Datastream("M", "displacement_up", "mm", datastream_id=7)
    derived = Datastream("M", "displacement_up_rate_12mo", "mm/a")
    history = samples(_history(before, recent))
    found = judge(TREND, derived, [(0, -recent, 0.1)], source=source, series=lambda *_: history)
    assert found.level is level


def _speeding_mark(before, recent, error, **changes):
    source = Datastream("M", "displacement_up", "mm", datastream_id=7)
    history = samples([(day, value, changes.get("source_error", 1.0)) for day, value, _ in _history(before, recent)])
    derived = Datastream("M", "displacement_up_rate_12mo", "mm/a")
    return judge({**TREND, **changes.get("rule", {})}, derived, [(0, -recent, error)], source=source, series=lambda *_: history)


@pytest.mark.parametrize(
    ("before", "recent", "error", "source_error", "verdict"),
    [
        (4.0, 12.0, 1.0, 1.0, Verdict.BREACH),
        (4.0, 12.0, 6.3, 1.0, Verdict.CANNOT_TELL),  # 12 - 6 is within the error of the year's rate
        (4.0, 12.0, 1.0, 20.0, Verdict.CANNOT_TELL),  # ... of the mean
        (0.0, 7.0, 2.5, 1.0, Verdict.CANNOT_TELL),  # not surely 5 mm/a or more
        (0.0, 7.0, 1.5, 1.0, Verdict.BREACH),
        (6.8, 7.0, 6.3, 1.0, Verdict.OK),
    ],
)
def test_acceleration_holds_beyond_the_errors_of_both_rates(before, recent, error, source_error, verdict):
    found = _speeding_mark(before, recent, error, source_error=source_error)
    assert found.verdict is verdict
    assert found.level is Level.NONE or verdict is Verdict.BREACH
    assert found.reason == ("not_significant" if verdict is Verdict.CANNOT_TELL else "")


@pytest.mark.parametrize(("excess_sigmas", "verdict"), [(1.5, Verdict.CANNOT_TELL), (2.5, Verdict.BREACH)])
def test_the_default_acceleration_asks_for_two_sigma(excess_sigmas, verdict):
    stated = definition_of(next(rule for rule in default_rules() if rule.code == "subsidence-acceleration"))
    assert (stated.sigmas, stated.ratio, stated.least) == (2.0, 1.5, 5.0)
    error = (12.0 - 1.5 * 4.0) / excess_sigmas  # of the year's rate; that of the mean is small beside it
    found = _speeding_mark(
        4.0, 12.0, error, source_error=0.01, rule={"sigmas": stated.sigmas, "levels": {"blue": 0.5, "yellow": 1}}
    )
    assert found.verdict is verdict


def test_the_limit_of_an_acceleration_is_the_one_that_the_rate_passed():
    found = _speeding_mark(2.0, 7.0, 0.1)
    assert (found.level, found.limit) == (Level.YELLOW, 5.0)


def test_an_acceleration_whose_mean_has_no_error_cannot_be_told():
    source = Datastream("M", "height", "mm", datastream_id=7)
    surveys = samples([(-6 * 365.25, 0.0, np.nan), (-365.25, -10.0, np.nan), (0, -30.0, np.nan)])
    derived = Datastream("M", "height_rate_12mo", "mm/a")
    found = judge(TREND, derived, [(0, -20.0, 0.1)], source=source, series=lambda *_: surveys)
    assert (found.verdict, found.reason) == (Verdict.CANNOT_TELL, "no_mean_sigma")


def test_an_acceleration_with_red_alone_is_refused():
    with pytest.raises(InputError, match=r"levels\.red"):
        parse_rule({**TREND, "levels": {"red": 30}})


def test_a_worse_colour_within_the_error_is_not_taken_for_doubt_of_the_milder_one():
    found = judge(RATE, Datastream("M", "displacement_up_rate_12mo", "mm/a"), [(0, -10.5, 1.0)])
    assert (found.verdict, found.level, found.reason) == (Verdict.BREACH, Level.BLUE, "worse_not_significant")


def test_acceleration_without_five_years_before_cannot_be_told():
    source = Datastream("M", "displacement_up", "mm", datastream_id=7)
    short = samples([(day, 0.0, 1.0) for day in range(-400, 1)])
    found = judge(
        TREND, Datastream("M", "displacement_up_rate_12mo", "mm/a"), [(0, -7.0, 0.1)], source=source, series=lambda *_: short
    )
    assert (found.verdict, found.reason) == (Verdict.CANNOT_TELL, "no_mean_rate")


@pytest.mark.parametrize(
    ("answer", "verdict", "level"),
    [
        ({"status": "reached", "time": None}, Verdict.BREACH, Level.YELLOW),
        ({"status": "within", "time": (T0 + timedelta(days=1200)).isoformat()}, Verdict.BREACH, Level.BLUE),
        ({"status": "within", "time": (T0 + timedelta(days=9000)).isoformat()}, Verdict.OK, Level.NONE),
        ({"status": "beyond_horizon", "time": None}, Verdict.OK, Level.NONE),
        ({"status": "cannot_tell", "time": None}, Verdict.CANNOT_TELL, Level.NONE),
    ],
)
def test_time_to_limit_has_its_statuses(answer, verdict, level):
    datastream = Datastream("M", "displacement_up_rate_12mo", "mm/a")
    found = judge(AHEAD, datastream, [], runs={"time_to_limit": {"limits": {"target": answer}}})
    assert (found.verdict, found.level) == (verdict, level)


def test_time_to_limit_without_a_forecast_cannot_be_told():
    datastream, limit = Datastream("M", "x_rate_12mo", "mm/a"), Limit("target", "x", "mm", 100.0, "control")
    assert judge(AHEAD, datastream, [], limits=[limit]).reason == "no_forecast"
    assert judge(AHEAD, datastream, []).reason == "no_limit"

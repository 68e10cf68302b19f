"""What people read: what, where, how much, which limit, how sure, since when, what to do, who does it; never the opposite of the truth."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from alerts.engine import AlertEngine
from alerts.explanation import REASONS, describe
from domain.model import Datastream
from tests.alerts.fakes import ISSUER, RATE, SILENT, T0, World

RATE_CODE = "WY01:displacement_up_rate_12mo"


def words(world):
    (alert,) = world.alerts
    rule = world.store.rule(alert.rule_code, alert.rule_version)
    return describe(alert, rule, world.registers.stations["WY01"], world.registers.datastreams[RATE_CODE])


def test_the_explanation_answers_every_question_in_both_languages():
    world = World({**RATE, "action": {"owner_zh": "水利局", "owner_en": "water bureau", "text_zh": "核查", "text_en": "inspect"}})
    world.feed(RATE_CODE, [(0, -12.0)], sigma=0.6)
    said = words(world)
    assert said.headline_zh == "武原一号：沉降速率 12.0 ± 0.6 mm/a，超过黄色限值 10 mm/a"
    assert said.headline_en == "Wuyuan 1: subsidence rate 12.0 ± 0.6 mm/a, above the yellow limit of 10 mm/a"
    for answer in (
        "黄色",
        "武原一号",
        "12.0 ± 0.6",
        "10 mm/a",
        "[P]",
        "中误差已知",
        "2026-01-01 08:00 UTC+08:00",
        "rate_12mo 1",
        "CN-H85",
        "核查",
        "水利局",
    ):
        assert answer in said.text_zh
    for answer in ("yellow", "Wuyuan 1", "Limit", "How sure", "Since: 2026-01-01", "inspect", "water bureau"):
        assert answer in said.text_en


def test_a_value_within_the_deadband_is_not_called_above_the_limit():
    world = World(RATE)
    world.feed(RATE_CODE, [(0, -10.2)])
    world.feed(RATE_CODE, [(1, -9.8)], quality=4)  # the evidence is written anew when the verdict can be told again
    world.feed(RATE_CODE, [(2, -9.8)])
    assert world.alerts[0].evidence["value"] == 9.8
    assert world.alerts[0].evidence["peak_value"] == 10.2
    assert words(world).headline_zh.endswith("9.8 ± 0.1 mm/a，黄色限值 10 mm/a（尚未回到 9.5 mm/a）")
    assert words(world).headline_en.endswith("the yellow limit of 10 mm/a (not yet back behind 9.5 mm/a)")


def test_a_resolved_alert_says_that_the_value_is_back_within_the_limit():
    world = World(RATE)
    for number, rate in enumerate((-10.2, -2.0)):
        world.feed(RATE_CODE, [(number, rate)])
    assert words(world).headline_zh.endswith("2 ± 0.1 mm/a，已回到黄色限值 10 mm/a以内（已解除）")
    assert "已解除" in world.store.tables.cap[-1].body


def test_a_cancelled_and_a_rejected_alert_say_so():
    world = World(RATE)
    world.feed(RATE_CODE, [(0, -12.0)])
    world.feed(RATE_CODE, [(0, -1.0)], now=T0 + timedelta(days=1))
    assert words(world).headline_en.endswith("(cancelled: the corrected data hold no breach)")
    world = World(RATE)
    world.feed(RATE_CODE, [(0, -12.0)])
    world.engine.reject(1, "王工", None, T0 + timedelta(days=1))
    assert words(world).headline_zh.endswith("（核实为误报）")


def test_simulated_data_and_exercises_are_marked():
    from domain.alert import Level

    world = World(RATE)
    world.registers.stations["WY01"] = replace(world.registers.stations["WY01"], simulated=True)
    world.feed(RATE_CODE, [(0, -12.0)])
    assert words(world).headline_zh.startswith("【模拟】")
    assert "模拟数据" in world.store.tables.cap[0].body
    world = World(RATE)
    world.engine.exercise("rate", RATE_CODE, Level.RED, "王工", T0)
    assert words(world).headline_zh.startswith("【演练】")


def test_every_reason_is_said_in_both_languages():
    assert all(zh and en for zh, en in REASONS.values())


def test_missing_data_are_named_and_those_that_come_are_not():
    world = World(SILENT)
    world.registers.add(world.registers.stations["W7"], Datastream("W7", "water_temperature", "Cel", interval_s=3600.0))
    world.feed("W7:depth_to_water", [(0, 5.0)])
    world.feed("W7:water_temperature", [(4, 16.0)])
    world.engine.tick(T0 + timedelta(days=4, minutes=1))
    (alert,) = [alert for alert in world.alerts if alert.scope == "W7"]
    rule = world.store.rule("silent")
    said = describe(alert, rule, world.registers.stations["W7"])
    assert "Missing (1/2 datastreams): W7:depth_to_water (last 2026-01-01 08:00 UTC+08:00)" in said.text_en
    assert "中断的数据流（1/2）：W7:depth_to_water（最后 2026-01-01 08:00 UTC+08:00）" in said.text_zh
    assert said.headline_en == "Well 7: silent 4 d, above the yellow limit of 1 d"


@pytest.mark.parametrize(
    ("interval_h", "silent_h", "said"),
    [
        (1, 264, "11 d, above the yellow limit of 1 d"),
        (1, 30.5, "30.5 h, above the yellow limit of 24 h"),
        (0.1, 264, "264 h, above the yellow limit of 2.4 h"),
        (24, 80.4, "3.4 d, above the blue limit of 3 d"),
    ],
)
def test_a_silence_and_its_limit_are_said_in_one_unit(interval_h, silent_h, said):
    world = World(SILENT)
    code = "W7:depth_to_water"
    world.registers.datastreams[code] = replace(world.registers.datastreams[code], interval_s=interval_h * 3600.0)
    world.feed(code, [(0, 5.0)])
    world.engine.tick(T0 + timedelta(hours=silent_h))
    (alert,) = world.alerts
    told = describe(alert, world.store.rule("silent"), world.registers.stations["W7"])
    assert told.headline_en == f"Well 7: silent {said}"
    assert f"Limit: {said.split(' of ')[1]};" in told.text_en


def test_a_limit_ahead_is_named_with_its_date():
    rule = {
        **RATE,
        "code": "ahead",
        "kind": "trend",
        "quantity": "time_to_limit",
        "unit": "a",
        "levels": {"blue": 5, "yellow": 2},
    }
    runs = Runs({"status": "within", "time": (T0 + timedelta(days=700)).isoformat()})
    world = World(rule)
    world.engine = AlertEngine(world.store, world.observations, world.registers, ISSUER, runs=runs)
    world.feed(RATE_CODE, [(0, -12.0)])
    assert "Limit ahead: target, by the trend reached on 2027-12-02" in words(world).text_en
    assert "将及限值：target，按趋势预计 2027-12-02 达到" in words(world).text_zh


def test_an_acceleration_says_what_it_is_measured_against():
    rule = {**RATE, "code": "speed", "kind": "trend", "quantity": "acceleration"}
    world = World(rule)
    past = [(T0 + timedelta(days=day), -3.0 * day / 365.25, 0.5, 1) for day in range(-2300, 1)]
    world.observations.put(world.identity("WY01:displacement_up"), past)
    world.feed(RATE_CODE, [(0, -9.0)])
    said = words(world)
    assert "How sure: standard error known, judged by its 1-sigma bound" in said.text_en
    assert "9 ± 0.1 mm/a (as of 2026-01-01 08:00 UTC+08:00)" in said.text_en
    assert (
        "Compared: mean rate of the 5 years before 3 ± 0.14 mm/a; this year's must be 1.5 times that beyond 1 sigma"
        in said.text_en
    )
    assert "比较：此前 5 年平均速率 3 ± 0.14 mm/a" in said.text_zh
    assert world.engine.explain(world.alerts[0].identifier)["ok"]


class Runs:
    def __init__(self, answer):
        self.result = {"limits": {"target": answer}}

    def latest_runs(self, _datastream_id):
        return {"time_to_limit": self}

"""What people read: what, where, how much, which limit, how sure, since when, what to do, who does it; never the opposite of the truth."""

from __future__ import annotations

from datetime import timedelta

from alerts.explanation import REASONS, describe
from tests.alerts.fakes import RATE, T0, World

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
    from dataclasses import replace

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

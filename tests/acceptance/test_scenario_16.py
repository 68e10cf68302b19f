"""Scenario 16: the head recovers but 0 to 40 m goes on subsiding: the cause is shallow, and so is its owner."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from alerts.store import AlertFilter
from domain.model import StationKind
from service.bootstrap import Container
from service.settings import Settings
from tests.acceptance.group_world import GroupWorld, after, every

pytestmark = pytest.mark.stack


DUTIES = {
    "rows": [
        {"cause": "pumping", "owner_zh": "水利局", "owner_en": "water bureau", "top_m": 40, "bottom_m": 1000, "head": "falling",
         "source": "the test"},
        {"cause": "excavation", "owner_zh": "住房和城乡建设局", "owner_en": "construction bureau", "bottom_m": 40, "head": "not_falling",
         "source": "the test"},
    ]
}  # fmt: skip
DAYS = every(365.25 / 24.0, 49)
YEARS = np.arange(DAYS.size) / 24.0
DEPTHS = ((0.0, 40.0), (40.0, 120.0), (120.0, 260.0))


@pytest.fixture(scope="module")
def world(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GroupWorld]:
    with Container(Settings(home=tmp_path_factory.mktemp("home"), database_url=database_url)) as container:
        yield GroupWorld(container).begin(duties=DUTIES)


def attribution(world: GroupWorld, code: str, rates: tuple[float, ...], head_m_per_a: float | None) -> dict[str, object] | None:
    world.station(code, StationKind.EXTENSOMETER_GROUP)
    for number, ((top, bottom), rate) in enumerate(zip(DEPTHS, rates, strict=True), start=1):
        stream = world.stream(code, "compaction", "mm", channel=f"F{number}", depth_top_m=top, depth_bottom_m=bottom)
        world.put(stream, DAYS, rate * YEARS)
    total = world.stream(code, "compaction", "mm", channel="total", depth_top_m=0.0, depth_bottom_m=260.0)
    world.put(total, DAYS, sum(rates) * YEARS)
    if head_m_per_a is not None:
        noise = np.random.default_rng(16).normal(0.0, 0.05, DAYS.size)
        world.put(world.stream(code, "depth_to_water", "m"), DAYS, 40.0 - head_m_per_a * YEARS + noise)
    world.analyse(after(DAYS))
    found = world.run_of(total.code, "layer_closure")["result"]["attribution"]
    assert found is None or isinstance(found, dict)
    return found


def test_shallow_compaction_under_a_recovering_head_belongs_to_the_construction_bureau(world: GroupWorld) -> None:
    found = attribution(world, "EX-H", (14.0, 0.6, 0.2), 1.5)
    assert found is not None
    assert (found["layer"], found["head"], found["cause"]) == ("EX-H:compaction:F1", "rising", "excavation")
    assert found["owner_en"] == "construction bureau"
    assert found["source"] == "the test"


def test_deep_compaction_under_a_falling_head_belongs_to_the_water_bureau(world: GroupWorld) -> None:
    found = attribution(world, "EX-I", (0.5, 9.0, 2.0), -1.2)
    assert found is not None
    assert (found["layer"], found["head"], found["owner_en"]) == ("EX-I:compaction:F2", "falling", "water bureau")


def test_without_a_head_the_cause_is_not_guessed(world: GroupWorld) -> None:
    found = attribution(world, "EX-J", (14.0, 0.6, 0.2), None)
    assert found is not None
    assert (found["head"], found["cause"]) == ("unknown", "unknown")
    assert "verify" in str(found["owner_en"])


def test_hardly_any_compaction_is_attributed_to_nobody(world: GroupWorld) -> None:
    assert attribution(world, "EX-K", (0.5, 0.2, 0.1), 1.0) is None


def test_the_alert_names_the_owner_that_the_cause_decides(world: GroupWorld) -> None:
    from alerts.explanation import describe
    from alerts.rules import parse_rule

    container = world.container
    rule = parse_rule({
        "code": "shallow", "kind": "threshold", "name_zh": "压缩量", "name_en": "Compaction", "source": "test", "unit": "mm",
        "scope": {"datastream": "EX-L:compaction:F1"}, "levels": {"yellow": 20}, "fresh_for": "P9999D",
        "action": {"owner_zh": "水利局", "owner_en": "water bureau", "text_zh": "核查", "text_en": "inspect"},
    })  # fmt: skip
    container.alerts.save_rule(rule, now=container.clock())
    attribution(world, "EX-L", (14.0, 0.6, 0.2), 1.5)
    stream = container.registers.datastream("EX-L:compaction:F1")
    container.engine.evaluate([(stream.datastream_id, after(DAYS), after(DAYS))], container.clock())
    (alert,) = container.alerts.list_alerts(AlertFilter(rule_code="shallow"))[0]
    told = describe(alert, container.alerts.rule("shallow"), container.registers.station("EX-L"), stream)
    assert "Who acts: construction bureau (cause: excavation" in told.text_en
    assert "责任单位：住房和城乡建设局" in told.text_zh
    assert container.engine.explain(alert.identifier)["ok"]

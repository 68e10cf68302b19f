"""Which tests a datastream asks for: shipped figures, its own, and what cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from analytics.barometry import METRES_OF_WATER_PER_HPA
from domain.errors import ConfigurationError
from domain.model import Datastream, ObservedProperty, Sensor, ValueKind
from service.configuration.vocabulary import shipped_properties
from service.quality.plan import SHIPPED, plan_for

PROPERTIES = {item.code: item for item in shipped_properties()}


def plan(property_code: str, unit: str, sensor: Sensor | None = None, **attributes: object):
    return plan_for(Datastream("S1", property_code, unit, attributes=attributes), PROPERTIES[property_code], sensor)


def test_every_shipped_figure_names_a_property_and_can_be_read() -> None:
    figures = yaml.safe_load(Path(SHIPPED).read_text(encoding="utf-8"))
    assert figures["source"]
    assert figures["effective_from"]
    for code in figures["properties"]:
        assert plan_for(Datastream("S1", code, PROPERTIES[code].unit), PROPERTIES[code]).source == figures["source"]


def test_a_datastream_replaces_a_figure_key_by_key_and_null_switches_it_off() -> None:
    own = plan("air_pressure", "hPa", quality={"spike": [2, None], "flat_h": None})
    assert own.checks.spike == (2.0, None)
    assert own.checks.flat_h == (None, None)
    assert own.checks.rate_per_h == plan("air_pressure", "hPa").checks.rate_per_h != (None, None)


def test_shipped_figures_follow_the_unit_of_the_datastream() -> None:
    assert plan("air_pressure", "kPa").checks.spike == pytest.approx((0.5, 2.0))
    assert plan("air_pressure", "kPa").checks.fail_span == pytest.approx((85.0, 109.0))
    # A difference of temperature has no zero that could shift.
    assert plan("water_temperature", "K").checks.spike == pytest.approx((10.0, 30.0))


@pytest.mark.parametrize(
    "wrong", [{"spyke": [1, 2]}, {"spike": 3}, {"spike": [1, "x"]}, {"months": {13: [0, 1]}}, {"flow": {}}, 7]
)
def test_what_cannot_be_read_is_named_with_its_datastream(wrong: object) -> None:
    with pytest.raises(ConfigurationError) as error:
        plan("depth_to_water", "m", quality=wrong)
    assert "S1:depth_to_water" in str(error.value)


def test_the_air_counts_only_where_a_sensor_is_known_to_be_unvented() -> None:
    assert plan("depth_to_water", "m").air is None
    assert plan("water_temperature", "Cel", vented=False).air is None
    bare = plan("depth_to_water", "m", vented=False)
    assert bare.checks.uncompensated
    assert bare.air is not None
    assert bare.air.barometer is None
    beside = plan(
        "head", "m", Sensor("S1", "logger", calibration={"vented": False}), barometer="B:air_pressure", reference_hpa=1000
    )
    assert beside.air is not None
    assert (beside.air.barometer, beside.air.reference_hpa) == ("B:air_pressure", 1000.0)
    assert beside.air.per_hpa == pytest.approx(METRES_OF_WATER_PER_HPA)


def test_counters_have_companions_flow_and_volumes() -> None:
    meter = plan("abstraction_total", "m3")
    assert meter.checks.totaliser is not None
    assert next(item.property_code for item in meter.companions) == "abstraction_rate"
    assert meter.volume == "abstraction_volume"
    assert meter.flow is not None
    custom = ObservedProperty("steam_total", "蒸汽", "steam", "t", "out", ValueKind.TOTALISER)
    own = Datastream("S1", "steam_total", "t", attributes={"quality": {"totaliser": {"capacity": 1000, "frozen_h": 2}}})
    made = plan_for(own, custom)
    assert made.checks.totaliser is not None
    assert (made.checks.totaliser.capacity, made.checks.totaliser.frozen_s) == (1000, 7200.0)
    assert made.volume is None

"""How a scalar that an analytic makes of a datastream becomes a datastream of its own.

Source `S:displacement_up[:channel]` and scalar `rate_12mo` make `S:displacement_up_rate_12mo[:channel]`. This file finishes with
`derived_datastream`.
"""

from __future__ import annotations

from domain.finding import Run, Scalar
from domain.model import Datastream, Derivation, ObservedProperty, ValueKind

NAMES = {
    "rate_12mo": ("近12个月速率", "rate over the last 12 months"),
    "velocity": ("平均速率", "velocity of the whole record"),
    "cumulative": ("累计量", "cumulative since the first epoch"),
    "cumulative_tied": ("累计量（接测归算）", "cumulative carried across re-set marks"),
    "closure": ("分层闭合差", "sum of the layers less the surface mark"),
    "ske": ("弹性骨架释水系数", "elastic skeletal storage"),
    "sske": ("弹性骨架释水率", "elastic skeletal specific storage"),
    "static": ("静水位（温度归算）", "static, reduced to one temperature"),
    "transmissivity": ("导水系数", "transmissivity by recovery"),
    "trend_equal_flow": ("等流量趋势", "trend at equal flow"),
    "angular_distortion": ("最大角变形", "largest angular distortion"),
}
"""Chinese and English names of the scalars that every node shows; another scalar goes by its own name."""


def derived_property(source: ObservedProperty, scalar: Scalar) -> ObservedProperty:
    """Return the observed property of a scalar: same sign as its source, the scalar's unit, no datum."""
    name_zh, name_en = NAMES.get(scalar.name, (scalar.name, scalar.name.replace("_", " ")))
    return ObservedProperty(
        code=f"{source.code}_{scalar.name}",
        name_zh=f"{source.name_zh}{name_zh}",
        name_en=f"{source.name_en}, {name_en}",
        unit=scalar.unit,
        direction=source.direction,
        value_kind=ValueKind.INSTANT,
    )


def derived_datastream(source: Datastream, scalar: Scalar, run: Run) -> Datastream:
    """Return the datastream of a scalar of `source` as `run` made it; it inherits depth, aquifer, frame and disclosure."""
    return Datastream(
        station=source.station,
        property_code=f"{source.property_code}_{scalar.name}",
        unit=scalar.unit,
        channel=source.channel,
        depth_top_m=source.depth_top_m,
        depth_bottom_m=source.depth_bottom_m,
        aquifer=source.aquifer,
        frame=source.frame,
        disclosure=source.disclosure,
        confirmed=source.confirmed,
        derivation=Derivation(run.method, run.version, run.parameters, run.input_digest, source.datastream_id),
    )

"""Group analytics: methods whose input is several datastreams together.

`GROUP_METHODS` is their registry; `service` says which datastreams belong together. The outcome of a method that speaks for an area or a
line, and for none of its members, is under the code "".
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from analytics.groups import area, layers, marks, wells
from analytics.groups.method import Duties, GroupMethod, Member, Owner, group_digest

__all__ = ["GROUP_METHODS", "Duties", "GroupMethod", "Member", "Owner", "group_digest"]

GROUP_METHODS: Mapping[str, GroupMethod] = MappingProxyType(
    {
        "layer_closure": GroupMethod(
            "layer_closure", layers.VERSION, layers.LayerParameters, layers.run_layer_closure, "layer_closure.md"
        ),
        "stick_slip": GroupMethod("stick_slip", layers.VERSION, layers.SlipParameters, layers.run_stick_slip, "stick_slip.md"),
        "compaction_head": GroupMethod(
            "compaction_head", layers.VERSION, layers.HeadParameters, layers.run_compaction_head, "compaction_head.md"
        ),
        "common_mode": GroupMethod(
            "common_mode", marks.VERSION, marks.CommonModeParameters, marks.run_common_mode, "common_mode.md"
        ),
        "tie": GroupMethod("tie", marks.VERSION, marks.TieParameters, marks.run_tie, "tie.md"),
        "recovery": GroupMethod("recovery", wells.VERSION, wells.RecoveryParameters, wells.run_recovery, "recovery.md"),
        "static_level": GroupMethod(
            "static_level", wells.VERSION, wells.StaticLevelParameters, wells.run_static_level, "static_level.md"
        ),
        "temperature_trend": GroupMethod(
            "temperature_trend",
            wells.VERSION,
            wells.TemperatureParameters,
            wells.run_temperature_trend,
            "temperature_trend.md",
        ),
        "funnel": GroupMethod("funnel", area.VERSION, area.FunnelParameters, area.run_funnel, "funnel.md"),
        "line": GroupMethod("line", area.VERSION, area.LineParameters, area.run_line, "line.md"),
    }
)

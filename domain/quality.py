"""Quality flags and the stable codes that explain them.

Flags are those of QARTOD (U.S. IOOS, Manual for Real-Time Quality Control; IOC 54:V3 primary level). The field's own words
map onto them: 正常 good = 1, 未检 unknown = 2, 可疑 suspect = 3, 错误 bad = 4, 缺测 missing = 9. This file finishes with the codes.
"""

from __future__ import annotations

from enum import IntEnum


class Quality(IntEnum):
    """QARTOD primary flag of one observation."""

    GOOD = 1
    UNKNOWN = 2
    SUSPECT = 3
    FAIL = 4
    MISSING = 9


USABLE: frozenset[int] = frozenset({Quality.GOOD, Quality.UNKNOWN})
"""Flags that analytics and rules use; suspect and failed values are kept, shown and left out."""

REASONS: dict[str, str] = {
    "uncompensated": "pressure of an unvented logger without barometric correction",
    "estimated": "estimated by the source",
    "manual": "entered or read by a person",
    "provisional": "the source calls it provisional",
    "source_flag": "flagged by the source",
    "out_of_range": "outside the property's or the datastream's plausible range",
    "rate": "changed faster than the instrument or the ground can",
    "spike": "isolated outlier (Hampel)",
    "frozen": "unchanged for longer than the instrument's noise allows",
    "clock": "device time in the future or otherwise impossible",
    "gap": "beside a gap",
    "closure": "layers do not sum to the surface",
    "common_mode": "shared by the whole network, so not the ground",
    "totaliser": "totaliser ran backwards, rolled over or was swapped",
    "climatology": "unusual for the month",
    "attenuated": "moves less than a live instrument does",
    "tamper": "a counter fell with no swap or rollover on record",
    "flow_mismatch": "the flow, summed, is not what the counter gained",
    "cut_off": "the file ends within the line, which may have lost digits",
    "override": "set by a person",
}
"""Stable codes for `quality_reasons` with their meaning."""

"""Units of SenML as UCUM codes: the IANA registry "SenML Units" (RFC 8428 section 12.1, RFC 8798) and its secondary units.

SenML's names are case-sensitive and partly its own (`%RH`, `/`, `beat/min`). A name that is not here is no SenML unit, and the record is
refused rather than guessed. This file finishes with `ucum_of`.
"""

from __future__ import annotations

from collections.abc import Mapping

PRIMARY: Mapping[str, str] = {
    **{
        name: name for name in ("m", "kg", "g", "s", "A", "K", "cd", "mol", "Hz", "rad", "sr", "N", "Pa", "J", "W", "C", "V", "F")
    },
    **{
        name: name
        for name in ("S", "Wb", "T", "H", "Cel", "lm", "lx", "Bq", "Gy", "Sv", "kat", "m2", "m3", "m/s", "m/s2", "m3/s")
    },
    **{name: name for name in ("W/m2", "cd/m2", "bit", "bit/s", "deg", "S/m", "J/m", "kg/m3", "%", "dB")},
    "Ohm": "Ohm",
    "l": "L",
    "l/s": "L/s",
    "lat": "deg",
    "lon": "deg",
    "pH": "[pH]",
    "dBW": "dB[W]",
    "Bspl": "B[SPL]",
    "count": "1",
    "/": "1",
    "%RH": "%",
    "%EL": "%",
    "EL": "s",
    "1/s": "1/s",
    "1/min": "1/min",
    "beat/min": "1/min",
    "beats": "1",
    "B": "By",
    "VA": "V.A",
    "VAs": "V.A.s",
    "var": "V.A",
    "vars": "V.A.s",
    "NTU": "[NTU]",
}
"""Primary units. `%RH` and `%EL` are percentages of something that the property names; `count` and ratios are of dimension one."""

SECONDARY: Mapping[str, str] = {
    **{
        name: name
        for name in ("ms", "min", "h", "MHz", "kW", "mV", "mA", "hPa", "mm", "cm", "km", "km/h", "mm/h", "m/h", "ug/m3")
    },
    "kVA": "kV.A",
    "kvar": "kV.A",
    "Ah": "A.h",
    "Wh": "W.h",
    "kWh": "kW.h",
    "varh": "V.A.h",
    "kvarh": "kV.A.h",
    "kVAh": "kV.A.h",
    "VAh": "V.A.h",
    "Wh/km": "W.h/km",
    "KiB": "KiBy",
    "GB": "GBy",
    "Mbit/s": "Mbit/s",
    "B/s": "By/s",
    "MB/s": "MBy/s",
    # A level relative to 1 mW; the register keeps signal strength in dB of that reference.
    "dBm": "dB",
    "ppm": "[ppm]",
    "ppb": "[ppb]",
    "ppt": "[pptr]",
    "/100": "%",
    "/1000": "[ppth]",
    "mg/l": "mg/L",
    "ug/l": "ug/L",
    "g/l": "g/L",
}
"""Secondary units (RFC 8798 section 3): linear transformations of primary ones, which UCUM expresses by a prefix or a code."""


def ucum_of(name: str) -> str | None:
    """Return the UCUM code of a SenML unit, or None where the registry has no such unit.

    Examples
    --------
    >>> ucum_of("%RH"), ucum_of("hPa"), ucum_of("degC")
    ('%', 'hPa', None)
    """
    return PRIMARY.get(name) or SECONDARY.get(name)

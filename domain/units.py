"""UCUM units: enough of the grammar for the field, with exact factors.

A unit is a factor and an offset to a product of base dimensions. Special units (Cel, [degF]) convert with an offset and stand
alone. Factors are exact rationals where the definition is exact (UCUM v2.1; NIST SP 811, appendix B for the customary ones), so
that a conversion there and back returns the number that the source gave. `a` is the mean Julian year of 365.25 d.
This file finishes with `convert`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from domain.errors import UnitError

Dimension = tuple[tuple[str, int], ...]
T = TypeVar("T", float, npt.NDArray[np.float64])


@dataclass(frozen=True, slots=True)
class Unit:
    """`value_in_base = (value + offset) * factor`, for a product of base dimensions."""

    code: str
    factor: Fraction
    dimension: Dimension
    offset: Fraction = Fraction(0)


def _dimension(**powers: int) -> Dimension:
    return tuple(sorted((name, power) for name, power in powers.items() if power))


_LENGTH = _dimension(m=1)
_VOLUME = _dimension(m=3)
_TIME = _dimension(s=1)
_PRESSURE = _dimension(m=-1, g=1, s=-2)
_ENERGY = _dimension(m=2, g=1, s=-2)
_POWER = _dimension(m=2, g=1, s=-3)
_VOLT = _dimension(m=2, g=1, s=-2, C=-1)
_SIEMENS = _dimension(m=-2, g=-1, s=1, C=2)
_FOOT = Fraction(3048, 10000)
_ATOMS: dict[str, Unit] = {
    unit.code: unit
    for unit in (
        Unit("m", Fraction(1), _LENGTH),
        Unit("s", Fraction(1), _TIME),
        Unit("g", Fraction(1), _dimension(g=1)),
        Unit("t", Fraction(1_000_000), _dimension(g=1)),
        Unit("min", Fraction(60), _TIME),
        Unit("h", Fraction(3600), _TIME),
        Unit("d", Fraction(86400), _TIME),
        Unit("wk", Fraction(604800), _TIME),
        Unit("mo", Fraction(36525 * 864, 12), _TIME),
        Unit("a", Fraction(36525 * 864), _TIME),
        Unit("L", Fraction(1, 1000), _VOLUME),
        Unit("l", Fraction(1, 1000), _VOLUME),
        Unit("Pa", Fraction(1000), _PRESSURE),
        Unit("bar", Fraction(100_000_000), _PRESSURE),
        Unit("atm", Fraction(101_325_000), _PRESSURE),
        Unit("m[H2O]", Fraction(9_806_650), _PRESSURE),
        Unit("[psi]", Fraction(6_894_757_293_168_361, 10**9), _PRESSURE),
        Unit("N", Fraction(1000), _dimension(m=1, g=1, s=-2)),
        Unit("J", Fraction(1000), _ENERGY),
        Unit("W", Fraction(1000), _POWER),
        Unit("V", Fraction(1000), _VOLT),
        Unit("A", Fraction(1), _dimension(C=1, s=-1)),
        Unit("S", Fraction(1, 1000), _SIEMENS),
        Unit("Hz", Fraction(1), _dimension(s=-1)),
        Unit("K", Fraction(1), _dimension(K=1)),
        Unit("Cel", Fraction(1), _dimension(K=1), Fraction(27315, 100)),
        Unit("[degF]", Fraction(5, 9), _dimension(K=1), Fraction(45967, 100)),
        Unit("deg", Fraction(1), _dimension(deg=1)),
        Unit("%", Fraction(1, 100), ()),
        Unit("[ppth]", Fraction(1, 1000), ()),
        Unit("[ppm]", Fraction(1, 1_000_000), ()),
        Unit("[pH]", Fraction(1), _dimension(pH=1)),
        Unit("dB", Fraction(1), _dimension(dB=1)),
        Unit("[ft_i]", _FOOT, _LENGTH),
        Unit("[ft_us]", Fraction(1200, 3937), _LENGTH),
        Unit("[in_i]", _FOOT / 12, _LENGTH),
        Unit("[cft_i]", _FOOT**3, _VOLUME),
        Unit("[gal_us]", (_FOOT / 12) ** 3 * 231, _VOLUME),
        Unit("[bbl_us]", (_FOOT / 12) ** 3 * 231 * 42, _VOLUME),
    )
}
_PREFIXES = {
    "k": Fraction(1000),
    "M": Fraction(10**6),
    "G": Fraction(10**9),
    "h": Fraction(100),
    "d": Fraction(1, 10),
    "c": Fraction(1, 100),
    "m": Fraction(1, 1000),
    "u": Fraction(1, 10**6),
    "n": Fraction(1, 10**9),
}
_PREFIXABLE = frozenset({"m", "s", "g", "L", "l", "Pa", "bar", "m[H2O]", "N", "J", "W", "V", "A", "S", "Hz", "a", "K"})
_TERM = re.compile(r"^(?P<atom>(?:m\[H2O\]|[a-zA-Z]*\[[^\]]+\]|[A-Za-z%]+))(?P<power>[+-]?\d+)?(?:\{[^}]*\})?$")
_NUMBER = re.compile(r"^\d+$")
_ALIASES = {
    "℃": "Cel",
    "°C": "Cel",
    "degC": "Cel",
    "µS/cm": "uS/cm",
    "μS/cm": "uS/cm",
    "m³": "m3",
    "m³/h": "m3/h",
    "m³/d": "m3/d",
    "m3/hr": "m3/h",
    "mm/yr": "mm/a",
    "mm/y": "mm/a",
    "毫米": "mm",
    "厘米": "cm",
    "米": "m",
    "mH2O": "m[H2O]",
    "psi": "[psi]",
    "bbl/min": "[bbl_us]/min",
    "ft": "[ft_i]",
    "ft3/s": "[cft_i]/s",
    "": "1",
}


def canonical(code: str) -> str:
    """Return the UCUM code for `code`, which may be one of the spellings that field files use (℃, m³/h, 毫米)."""
    stripped = code.strip()
    return _ALIASES.get(stripped, stripped)


@lru_cache(maxsize=512)
def parse_unit(code: str) -> Unit:
    """Parse a UCUM code, e.g. `mm/a`, `m3/h`, `[bbl_us]/min`, `uS/cm`.

    Raises
    ------
    UnitError
        When the code is not understood.
    """
    text = canonical(code)
    if text in _ATOMS:
        return _ATOMS[text]
    factor = Fraction(1)
    powers: dict[str, int] = {}
    sign = 1
    for token in re.split(r"([./])", text):
        if token == "/":
            sign = -1
            continue
        if token == ".":
            sign = 1
            continue
        if token == "":
            continue
        term_factor, term_powers = _parse_term(token, code)
        factor *= term_factor**sign
        for name, power in term_powers.items():
            powers[name] = powers.get(name, 0) + sign * power
        sign = 1
    return Unit(text, factor, _dimension(**powers))


def _parse_term(token: str, code: str) -> tuple[Fraction, dict[str, int]]:
    if _NUMBER.match(token):
        return Fraction(int(token)), {}
    match = _TERM.match(token)
    unit = _atom(match["atom"]) if match else None
    if match is None or unit is None:
        raise UnitError(
            f"{code!r} is not a unit that GroundWatch knows.",
            remedy="write a UCUM code such as mm, m, m3/h, Cel, kPa, mm/a, [ft_i]",
        )
    if unit.offset:
        raise UnitError(f"{token!r} in {code!r} has an offset and must stand alone.", remedy="use K in products")
    power = int(match["power"] or 1)
    return unit.factor**power, {name: exponent * power for name, exponent in unit.dimension}


def _atom(atom: str) -> Unit | None:
    if atom in _ATOMS:
        return _ATOMS[atom]
    prefix, rest = atom[0], atom[1:]
    if prefix in _PREFIXES and rest in _PREFIXABLE:
        unit = _ATOMS[rest]
        return Unit(atom, unit.factor * _PREFIXES[prefix], unit.dimension)
    return None


def compatible(source: str, target: str) -> bool:
    """Do both units measure the same kind of quantity?"""
    return parse_unit(source).dimension == parse_unit(target).dimension


def convert(value: T, source: str, target: str) -> T:
    """Convert a number or an array from one UCUM unit to another.

    Parameters
    ----------
    value
        Scalar or float64 array of any shape, in `source`.
    source, target
        UCUM codes of one dimension.

    Returns
    -------
    The value in `target`, same shape; the very same object when both units are equal.

    Raises
    ------
    UnitError
        When a unit is unknown or the dimensions differ.

    Notes
    -----
    The factor is an exact rational p/q; the value is multiplied by p and divided by q where both are exact in binary64, so
    `cm -> m` divides by 100 instead of multiplying by an inexact 0.01.

    Examples
    --------
    >>> convert(5.23, "m", "mm")
    5230.0
    >>> convert(64.0, "Cel", "K")
    337.15
    """
    here, there = parse_unit(source), parse_unit(target)
    if here.dimension != there.dimension:
        raise UnitError(
            f"{source!r} cannot be converted to {target!r}: they measure different things.",
            remedy=f"use a unit of the same quantity as {source!r}, or correct the unit that is wrong",
        )
    if here.factor == there.factor and here.offset == there.offset:
        return value
    factor = here.factor / there.factor
    shift = here.offset * factor - there.offset
    scaled = value * factor.numerator / factor.denominator if _is_small(factor) else value * float(factor)
    return scaled + float(shift) if shift else scaled


def convert_spread(value: T, source: str, target: str) -> T:
    """Convert a difference or a sigma: the factor alone, never the offset of a temperature scale."""
    here, there = parse_unit(source), parse_unit(target)
    if here.dimension != there.dimension:
        raise UnitError(f"{source!r} cannot be converted to {target!r}.", remedy="state the unit of the values")
    factor = here.factor / there.factor
    if factor == 1:
        return value
    return value * factor.numerator / factor.denominator if _is_small(factor) else value * float(factor)


def _is_small(factor: Fraction) -> bool:
    return factor.numerator < 2**53 and factor.denominator < 2**53

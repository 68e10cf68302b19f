"""What levelling can tell: the sigma of a height difference by class and distance, and whether two surveys differ by more than that.

Reference: GB/T 12897-2006 and GB/T 12898-2009 (levelling classes). This file finishes with `change_between_epochs`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

LEVELLING_MM_PER_SQRT_KM: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "accidental": MappingProxyType({"I": 0.45, "II": 1.0, "III": 3.0, "IV": 5.0}),
        "total": MappingProxyType({"I": 1.0, "II": 2.0, "III": 6.0, "IV": 10.0}),
    }
)
"""Standard deviation of one kilometre of double-run levelling, mm, by class (GB/T 12897-2006, GB/T 12898-2009)."""


def levelling_sigma_mm(
    levelling_class: str,
    distance_km: float,
    kind: str = "accidental",
    table: Mapping[str, Mapping[str, float]] = LEVELLING_MM_PER_SQRT_KM,
) -> float:
    """Standard deviation of a levelled height difference, m sqrt(L).

    Parameters
    ----------
    levelling_class : str
        "I" to "IV" (一等 to 四等).
    distance_km : float
        Levelled distance from the bedrock mark or datum point.
    kind : {"accidental", "total"}
        The accidental part alone, or accidental and systematic together.
    table : mapping
        Constants in mm / sqrt(km); give the local regulation's where they differ.

    Returns
    -------
    float
        Millimetres.

    Raises
    ------
    ValueError
        For an unknown class or a distance that is not positive.

    Examples
    --------
    >>> round(levelling_sigma_mm("II", 50.0), 2)
    7.07
    """
    try:
        constant = table[kind][levelling_class]
    except KeyError:
        raise ValueError(f"no levelling constant for class {levelling_class!r}, {kind!r}") from None
    if not distance_km > 0.0:
        raise ValueError(f"levelled distance must be positive, not {distance_km}")
    return float(constant * np.sqrt(distance_km))


@dataclass(frozen=True)
class Significance:
    """Whether a change between two epochs is more than their errors."""

    change: float
    sigma: float
    statistic: float
    factor: float
    is_significant: bool


def change_between_epochs(change: float, sigma_first: float, sigma_second: float, factor: float = 2.0) -> Significance:
    """Test |dh| > k sqrt(s1^2 + s2^2), with equal sigmas |dh| > k sqrt(2) m sqrt(L).

    Examples
    --------
    >>> change_between_epochs(8.0, *2 * [levelling_sigma_mm("II", 50.0)]).is_significant
    False
    >>> change_between_epochs(8.0, *2 * [levelling_sigma_mm("I", 5.0)]).is_significant
    True
    """
    sigma = float(np.hypot(sigma_first, sigma_second))
    statistic = abs(change) / sigma if sigma > 0.0 else float("inf") if change else 0.0
    return Significance(float(change), sigma, statistic, factor, statistic > factor)

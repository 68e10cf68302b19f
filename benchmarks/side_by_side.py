"""Two ways of doing the same, in turn, several times; what is printed is the ratio pair by pair.

This file finishes with `compare`.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Comparison:
    """Seconds of both ways, run by run."""

    name: str
    ours: tuple[float, ...]
    plain: tuple[float, ...]
    amount: int
    unit: str

    @property
    def ratios(self) -> list[float]:
        """Return how much faster ours is, pair by pair, from the least on."""
        return sorted(plain / ours for ours, plain in zip(self.ours, self.plain, strict=True))

    @property
    def ratio(self) -> float:
        """Return the median of the ratios."""
        return statistics.median(self.ratios)

    def report(self) -> str:
        """Return medians per second and the ratio of speeds (above 1: ours is faster), with its least and greatest."""
        ratios = self.ratios
        return (
            f"{self.name}: {self.amount / statistics.median(self.ours):,.0f} {self.unit}/s, "
            f"plain {self.amount / statistics.median(self.plain):,.0f} {self.unit}/s, "
            f"ratio {self.ratio:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}, {len(ratios)} pairs)"
        )


def seconds(action: Callable[[], object]) -> float:
    """Return how long an action took."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def compare(
    name: str,
    ours: Callable[[], float],
    plain: Callable[[], float],
    *,
    amount: int,
    unit: str,
    pairs: int = 3,
) -> Comparison:
    """Run both in turn `pairs` times (each returns its own seconds) and print the comparison."""
    taken = [(ours(), plain()) for _ in range(pairs)]
    comparison = Comparison(name, tuple(pair[0] for pair in taken), tuple(pair[1] for pair in taken), amount, unit)
    tell(comparison.report())
    return comparison


def tell(text: str) -> None:
    """Print a line of the report at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()

"""Minima of smooth functions of one or two numbers, in few evaluations.

One likelihood of a long record costs tens of milliseconds and is smooth near its maximum, so that parabolas find it in a dozen
evaluations; and importing a general optimiser takes longer than most commands of the service. This file finishes with
`minimise_surface`.

References: Brent (1973), Algorithms for Minimization without Derivatives, chapter 5; Box and Wilson (1951),
doi:10.1111/j.2517-6161.1951.tb00067.x (fitted quadratic surfaces).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from analytics.sampling import Floats

_GOLDEN = 0.5 * (3.0 - 5.0**0.5)


def minimise_bounded(cost: Callable[[float], float], low: float, high: float, tolerance: float, most: int = 40) -> float:
    """Brent's minimum of a function of one number within bounds.

    Parameters
    ----------
    cost : callable
        Finite everywhere within the bounds; the minimum is a local one where there are several.
    low, high : float
    tolerance : float
        Absolute, of the argument.
    most : int
        Evaluations at most.

    Examples
    --------
    >>> round(minimise_bounded(lambda x: (x - 2.0) ** 2, 0.0, 5.0, 1e-3), 2)
    2.0
    """
    best = second = third = low + _GOLDEN * (high - low)
    best_cost = second_cost = third_cost = cost(best)
    step = previous = 0.0
    for _ in range(most - 1):
        middle = 0.5 * (low + high)
        if abs(best - middle) <= 2.0 * tolerance - 0.5 * (high - low):
            break
        golden = True
        if abs(previous) > tolerance:
            r = (best - second) * (best_cost - third_cost)
            q = (best - third) * (best_cost - second_cost)
            p, q = (best - third) * q - (best - second) * r, 2.0 * (q - r)
            p, q = (-p if q > 0.0 else p), abs(q)
            if abs(p) < abs(0.5 * q * previous) and q * (low - best) < p < q * (high - best):
                previous, step, golden = step, p / q, False
                if best + step - low < 2.0 * tolerance or high - best - step < 2.0 * tolerance:
                    step = tolerance if middle >= best else -tolerance
        if golden:
            previous = (low if best >= middle else high) - best
            step = _GOLDEN * previous
        trial = best + (step if abs(step) >= tolerance else np.copysign(tolerance, step))
        value = cost(trial)
        if value <= best_cost:
            low, high = (best, high) if trial >= best else (low, best)
            third, third_cost, second, second_cost = second, second_cost, best, best_cost
            best, best_cost = trial, value
            continue
        low, high = (trial, high) if trial < best else (low, trial)
        if value <= second_cost or second == best:
            third, third_cost, second, second_cost = second, second_cost, trial, value
        elif value <= third_cost or third in (best, second):
            third, third_cost = trial, value
    return float(best)


@dataclass(frozen=True)
class Surface:
    """A minimum with the slope and curvature that the fitted quadratic has there.

    Attributes
    ----------
    at : ndarray, shape (k,)
    cost : float
    hessian : ndarray, shape (k, k)
        Of the last quadratic, around `at`.
    """

    at: Floats
    cost: float
    hessian: Floats


def differences(values: Callable[[Floats], float], at: Floats, steps: Floats, middle: float) -> tuple[Floats, Floats]:
    """Gradient and Hessian by central differences, the mixed terms from one corner each.

    Parameters
    ----------
    values : callable
    at, steps : ndarray, shape (k,)
    middle : float
        ``values(at)``, which is known already.

    Returns
    -------
    gradient, hessian : ndarray, shape (k,) and (k, k)
    """
    k = at.size
    ahead, behind = np.empty(k), np.empty(k)
    for i in range(k):
        move = np.zeros(k)
        move[i] = steps[i]
        ahead[i], behind[i] = values(at + move), values(at - move)
    gradient = (ahead - behind) / (2.0 * steps)
    hessian = np.diag((ahead + behind - 2.0 * middle) / steps**2)
    for i in range(k):
        for j in range(i):
            corner = np.zeros(k)
            corner[[i, j]] = steps[[i, j]]
            hessian[i, j] = hessian[j, i] = (values(at + corner) - ahead[i] - ahead[j] + middle) / (steps[i] * steps[j])
    return gradient, hessian


def minimise_surface(
    cost: Callable[[Floats], float],
    start: Floats,
    steps: Floats,
    reach: float = 4.0,
    tolerance: float = 0.02,
    most: int = 6,
) -> Surface:
    """Minimum by quadratic surfaces fitted again and again, each step within `reach` of the differences' steps.

    Parameters
    ----------
    cost : callable
        Of an array of shape (k,).
    start : ndarray, shape (k,)
    steps : ndarray, shape (k,)
        Differences that show the curvature; about half a standard deviation of a parameter.
    reach : float
        Longest move at once, in those steps.
    tolerance : float
        A quadratic that promises less than this is not followed any more.
    most : int
        Quadratics at most.

    Examples
    --------
    >>> found = minimise_surface(lambda x: (x[0] - 1.0) ** 2 + 2.0 * (x[1] + x[0]) ** 2, np.zeros(2), np.full(2, 0.3))
    >>> [round(float(value), 3) for value in found.at]
    [1.0, -1.0]
    """
    at, lowest = np.asarray(start, dtype=np.float64), cost(start)
    hessian = np.eye(at.size)
    for _ in range(most):
        gradient, hessian = differences(cost, at, steps, lowest)
        scaled = hessian * np.outer(steps, steps)
        roots, axes = np.linalg.eigh(scaled)
        slope = axes.T @ (gradient * steps)
        # A direction without curvature is followed downhill as far as allowed.
        move = -slope / np.maximum(np.abs(roots), 1e-3)
        length = float(np.linalg.norm(move))
        move *= min(1.0, reach / max(length, 1e-12))
        if float(np.abs(slope @ move)) < tolerance:
            break
        improved = False
        for _ in range(4):
            trial = at + (axes @ move) * steps
            value = cost(trial)
            if value < lowest:
                at, lowest, improved = trial, value, True
                break
            move *= 0.3
        if not improved:
            break
    return Surface(at, lowest, hessian)

"""Noise with the colours that instruments really have; randomness is a passed Generator.

This file finishes with `first_order`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.signal import fftconvolve, lfilter

Array = npt.NDArray[np.float64]


def flicker(n: int, sigma: float, step_a: float, rng: np.random.Generator) -> Array:
    """Return power-law noise of spectral index -1.

    Parameters
    ----------
    n
        Number of samples.
    sigma
        Amplitude in unit a^-0.25 (Williams 2003: innovation sd = sigma * step_a**0.25).
    step_a
        Sampling step in years.
    rng
        Source of randomness.

    Returns
    -------
    ndarray (n,)
        Fractionally integrated white noise, psi_k = psi_{k-1} (k - 1/2) / k.

    References
    ----------
    Kasdin (1995), doi:10.1109/5.381848; Williams (2003), doi:10.1007/s00190-002-0283-4.
    """
    k = np.arange(1, n, dtype=np.float64)
    psi = np.concatenate([[1.0], np.cumprod((k - 0.5) / k)])
    white = rng.normal(0.0, sigma * step_a**0.25, n)
    return np.asarray(fftconvolve(psi, white)[:n], dtype=np.float64)


def autoregressive(n: int, sigma: float, correlation_steps: float, rng: np.random.Generator) -> Array:
    """Return a stationary first-order autoregressive series of standard deviation `sigma`, shape (n,)."""
    phi = float(np.exp(-1.0 / correlation_steps))
    innovations = rng.normal(0.0, sigma * np.sqrt(1.0 - phi**2), n)
    innovations[0] = rng.normal(0.0, sigma)
    return np.asarray(lfilter([1.0], [1.0, -phi], innovations), dtype=np.float64)


def first_order(drive: Array, step: float, time_constant: float) -> Array:
    """Return the response of `tau dy/dt = drive - y` at equal steps, started at equilibrium with the first value, shape (n,).

    The exact discrete solution for a drive that is constant over each step: y_k = phi y_{k-1} + (1 - phi) u_k.
    """
    phi = float(np.exp(-step / time_constant))
    response, _ = lfilter([1.0 - phi], [1.0, -phi], drive, zi=[phi * drive[0]])
    return np.asarray(response, dtype=np.float64)

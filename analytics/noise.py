"""Coloured noise: what the residuals of a trend really know about its rate.

A noise model is a causal filter h driven by white innovations, begun at the first epoch: white, AR(1), or
power law plus white, whose spectrum

    S(w) = s_white^2 + s_pl^2 |1 - exp(-iw)|^(-k)

is factored into one minimum-phase filter (Kolmogorov's cepstral method), after Hosking's fractional
difference for the power-law part; or the sum of both filters driven by the same innovations (Langbein's
simple sum). The covariance of n regular epochs is then C = H H' with a lower
triangular Toeplitz H whose inverse is a filter as well. This file holds the models and their filters.

References: Hosking (1981), doi:10.1093/biomet/68.1.165; Langbein (2004), doi:10.1029/2003JB002819;
Langbein (2017), doi:10.1007/s00190-017-1002-5.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.fft import irfft, rfft
from numpy.typing import NDArray

from analytics.sampling import DAYS_PER_YEAR, Floats

MODEL_NAMES = ("white", "ar1", "flicker_white", "powerlaw_white", "powerlaw_sum")
_MIN_POWER_SHARE = 1e-7


@dataclass(frozen=True)
class NoiseModel:
    """A stationary-increment noise on a regular grid.

    Attributes
    ----------
    name : str
        One of `MODEL_NAMES`.
    scale : float
        Standard deviation of the innovations of the unit-power mixture; multiplies everything.
    white_share : float
        Share w of white power in the mixture w + (1 - w) |1 - exp(-iw)|^-k (1 for white noise); for
        "powerlaw_sum" the filters sqrt(w) and sqrt(1 - w) (1 - B)^(-k/2) are added before squaring.
    index : float
        Spectral index k of the power law (1 flicker, 2 random walk); 0 for white and AR(1).
    ar_coefficient : float
        Coefficient of the AR(1) model a grid step; 0 otherwise.
    step_a : float
        Grid step in years.
    """

    name: str
    scale: float
    white_share: float = 1.0
    index: float = 0.0
    ar_coefficient: float = 0.0
    step_a: float = 1.0 / DAYS_PER_YEAR
    log_likelihood: float = float("nan")
    bic: float = float("nan")
    n_parameters: int = 1

    @property
    def white_sigma(self) -> float:
        """Standard deviation of the white part, unit of the data."""
        if self.name == "ar1":
            return 0.0
        return float(self.scale * np.sqrt(self.white_share))

    @property
    def power_law_amplitude(self) -> float:
        """Amplitude of the power law, unit / a^(k/4); 0 for white and AR(1)."""
        if self.index == 0.0:
            return 0.0
        return float(self.scale * np.sqrt(1.0 - self.white_share) / self.step_a ** (self.index / 4.0))

    def filters(self, n: int) -> tuple[Floats, Floats, float]:
        """Impulse response, its inverse (both of length n, unit scale) and log of the first coefficient."""
        if self.name == "white":
            unit = np.zeros(n)
            unit[0] = 1.0
            return unit, unit.copy(), 0.0
        if self.name == "ar1":
            inverse = np.zeros(n)
            inverse[0] = 1.0
            if n > 1:
                inverse[1] = -self.ar_coefficient
            return self.ar_coefficient ** np.arange(n, dtype=np.float64), inverse, 0.0
        factor = _sum_phase if self.name == "powerlaw_sum" else _minimum_phase
        response, size, log_first = factor(self.white_share, self.index, n)
        half = self.index / 2.0
        return (
            _convolve(np.asarray(irfft(response, size)[:n]), fractional_filter(half, n)),
            _convolve(np.asarray(irfft(1.0 / response, size)[:n]), fractional_filter(-half, n)),
            log_first,
        )

    def inverse_filter(self, n: int) -> tuple[Floats, float]:
        """Inverse of the impulse response (length n, unit scale) and log of its first coefficient, at half the cost of both."""
        if self.name in {"white", "ar1"}:
            return self.filters(n)[1:]
        factor = _sum_phase if self.name == "powerlaw_sum" else _minimum_phase
        response, size, log_first = factor(self.white_share, self.index, n)
        return _convolve(np.asarray(irfft(1.0 / response, size)[:n]), fractional_filter(-self.index / 2.0, n)), log_first

    def inverse_spectrum_covariance(self, n: int) -> Floats:
        """First n lags of the inverse Fourier transform of 1 / S for unit scale."""
        size = next_fast_len(_spectrum_size(n))
        omega = 2.0 * np.pi * np.arange(size // 2 + 1) / size
        if self.name == "white":
            density = np.ones(omega.size)
        elif self.name == "ar1":
            density = 1.0 / np.abs(1.0 - self.ar_coefficient * np.exp(-1j * omega)) ** 2
        else:
            high_pass = (2.0 * np.sin(omega / 2.0)) ** self.index
            mixture = self.white_share * high_pass + (1.0 - self.white_share)
            if self.name == "powerlaw_sum":
                mixture = np.abs(_sum_response(self.white_share, self.index, omega)) ** 2
            return np.asarray(irfft(high_pass / mixture, size)[:n], dtype=np.float64)
        return np.asarray(irfft(1.0 / density, size)[:n], dtype=np.float64)


@lru_cache(maxsize=64)
def next_fast_len(n: int) -> int:
    """Smallest even length of at least n whose only factors are 2, 3 and 5: what transforms like best.

    Examples
    --------
    >>> next_fast_len(1021), next_fast_len(8193)
    (1024, 8640)
    """
    best = 2
    while best < n:
        best *= 2
    for fives in (1, 5, 25, 125, 625):
        for threes in (1, 3, 9, 27, 81):
            length = 2 * fives * threes
            while length < n:
                length *= 2
            best = min(best, length)
    return best


def _spectrum_size(n: int) -> int:
    """Points of the spectrum from which n coefficients are taken; more, so that little is aliased."""
    return max(3 * n, 8192)


def fractional_filter(order: float, n: int) -> Floats:
    """First n coefficients of (1 - B)^-order, B being the back-shift.

    Examples
    --------
    >>> fractional_filter(1.0, 4).tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    k = np.arange(1, n, dtype=np.float64)
    return np.concatenate(([1.0], np.cumprod((k - 1.0 + order) / k)))[:n]


def _minimum_phase(white_share: float, index: float, n: int) -> tuple[NDArray[np.complex128], int, float]:
    """Factor w |1-z|^k + (1-w) into g g*; return g's frequency response, the size of its transform and log g[0]."""
    size = next_fast_len(_spectrum_size(n))
    spectrum = white_share * _high_pass(size) ** index + (1.0 - white_share)
    cepstrum = irfft(np.log(np.maximum(spectrum, _MIN_POWER_SHARE)), size)
    causal = np.zeros(size)
    causal[0] = 0.5 * cepstrum[0]
    causal[1 : size // 2] = cepstrum[1 : size // 2]
    return np.exp(rfft(causal)), size, float(causal[0])


@lru_cache(maxsize=4)
def _high_pass(size: int) -> Floats:
    """Gain |1 - exp(-iw)| on the frequencies of a real transform."""
    gain = 2.0 * np.sin(np.pi * np.arange(size // 2 + 1) / size)
    gain.setflags(write=False)
    return np.asarray(gain, dtype=np.float64)


def _sum_response(white_share: float, index: float, omega: Floats) -> NDArray[np.complex128]:
    """Frequency response of sqrt(w) (1-z)^(k/2) + sqrt(1-w), which has no zero inside the unit circle for k < 4."""
    # 1 - exp(-iw) = 2 sin(w/2) exp(i (pi - w) / 2), so that its power needs no complex logarithm.
    half = index / 2.0
    difference = (2.0 * np.sin(omega / 2.0)) ** half * np.exp(0.5j * half * (np.pi - omega))
    return np.asarray(np.sqrt(white_share) * difference + np.sqrt(1.0 - white_share))


def _sum_phase(white_share: float, index: float, n: int) -> tuple[NDArray[np.complex128], int, float]:
    """As :func:`_minimum_phase` for filters that are added before squaring."""
    size = next_fast_len(_spectrum_size(n))
    omega = 2.0 * np.pi * np.arange(size // 2 + 1) / size
    response = _sum_response(white_share, index, omega)
    return response, size, float(np.log(np.sqrt(white_share) + np.sqrt(1.0 - white_share)))


def _convolve(a: Floats, b: Floats) -> Floats:
    """Causal convolution of equally long filters, cut to their length."""
    n = a.shape[0]
    size = next_fast_len(2 * n)
    return np.asarray(irfft(rfft(a, size) * rfft(b, size), size)[:n], dtype=np.float64)


def apply_filter(filter_: Floats, columns: Floats) -> Floats:
    """Causal filter of the columns of an array of shape (n, p)."""
    n = columns.shape[0]
    size = next_fast_len(2 * n)
    # Transforms run along contiguous rows: strided ones take twice the time.
    product = rfft(np.ascontiguousarray(columns.T), size) * rfft(filter_, size)
    return np.asarray(irfft(product, size)[:, :n].T, dtype=np.float64)


def apply_transposed(filter_: Floats, columns: Floats) -> Floats:
    """Transpose of :func:`apply_filter`: the same filter running backwards in time."""
    return apply_filter(filter_, columns[::-1])[::-1]


def whiten(columns: Floats, model: NoiseModel) -> Floats:
    """Apply the inverse filter of a noise model to gapless columns of shape (n, p); unit innovations."""
    return apply_filter(model.inverse_filter(columns.shape[0])[0], columns)

"""Coloured noise: what the residuals of a trend really know about its rate.

A noise model is a causal filter h driven by white innovations, begun at the first epoch: white, AR(1), or
power law plus white, whose spectrum

    S(w) = s_white^2 + s_pl^2 |1 - exp(-iw)|^(-k)

is factored into one minimum-phase filter (Kolmogorov's cepstral method), after Hosking's fractional
difference for the power-law part; or the sum of both filters driven by the same innovations (Langbein's
simple sum). The covariance of n regular epochs is then C = H H' with a lower
triangular Toeplitz H whose inverse is a filter as well, so that the likelihood costs a few FFTs. Epochs
that are missing stay missing: with E the columns of the missing epochs,

    y' C_oo^-1 y = |U y|^2 - (E'U'U y)' M^-1 (E'U'U y),   log|C_oo| = log|C| + log|M|,   M = E' C^-1 E,

where U = H^-1 and y is zero where missing (Bos et al. 2013). This file holds the models, their restricted
likelihood, the choice between them by BIC, generalised least squares and the forecast of the noise.

References: Hosking (1981), doi:10.1093/biomet/68.1.165; Langbein (2004), doi:10.1029/2003JB002819;
Bos, Fernandes, Williams and Bastos (2013), doi:10.1007/s00190-012-0605-0; Langbein (2017),
doi:10.1007/s00190-017-1002-5.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize, minimize_scalar

from analytics.sampling import DAYS_PER_YEAR, Floats

Cells = NDArray[np.int64]

MODEL_NAMES = ("white", "ar1", "flicker_white", "powerlaw_white", "powerlaw_sum")
MAX_MISSING_IN_SEARCH = 1200
MAX_EPOCHS_IN_SEARCH = 8192
MAX_INDEX = 2.9
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
        smooth, smooth_inverse, log_first = factor(self.white_share, self.index, n)
        half = self.index / 2.0
        return (
            _convolve(smooth, fractional_filter(half, n)),
            _convolve(smooth_inverse, fractional_filter(-half, n)),
            log_first,
        )

    def inverse_spectrum_covariance(self, n: int) -> Floats:
        """First n lags of the inverse Fourier transform of 1 / S for unit scale."""
        size = next_fast_len(4 * n, real=True)
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


def fractional_filter(order: float, n: int) -> Floats:
    """First n coefficients of (1 - B)^-order, B being the back-shift.

    Examples
    --------
    >>> fractional_filter(1.0, 4).tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    k = np.arange(1, n, dtype=np.float64)
    return np.concatenate(([1.0], np.cumprod((k - 1.0 + order) / k)))[:n]


def _minimum_phase(white_share: float, index: float, n: int) -> tuple[Floats, Floats, float]:
    """Factor w |1-z|^k + (1-w) into g g*, and return g, 1/g and log g[0]."""
    size = next_fast_len(4 * n, real=True)
    omega = 2.0 * np.pi * np.arange(size // 2 + 1) / size
    spectrum = white_share * (2.0 * np.sin(omega / 2.0)) ** index + (1.0 - white_share)
    cepstrum = irfft(np.log(np.maximum(spectrum, _MIN_POWER_SHARE)), size)
    causal = np.zeros(size)
    causal[0] = 0.5 * cepstrum[0]
    causal[1 : size // 2] = cepstrum[1 : size // 2]
    response = np.exp(rfft(causal))
    forward = irfft(response, size)[:n]
    backward = irfft(1.0 / response, size)[:n]
    return np.asarray(forward), np.asarray(backward), float(causal[0])


def _sum_response(white_share: float, index: float, omega: Floats) -> NDArray[np.complex128]:
    """Frequency response of sqrt(w) (1-z)^(k/2) + sqrt(1-w), which has no zero inside the unit circle for k < 4."""
    difference = (1.0 - np.exp(-1j * omega)) ** (index / 2.0)
    return np.asarray(np.sqrt(white_share) * difference + np.sqrt(1.0 - white_share))


def _sum_phase(white_share: float, index: float, n: int) -> tuple[Floats, Floats, float]:
    """As :func:`_minimum_phase` for filters that are added before squaring."""
    size = next_fast_len(4 * n, real=True)
    omega = 2.0 * np.pi * np.arange(size // 2 + 1) / size
    response = _sum_response(white_share, index, omega)
    forward = irfft(response, size)[:n]
    backward = irfft(1.0 / response, size)[:n]
    return np.asarray(forward), np.asarray(backward), float(np.log(np.sqrt(white_share) + np.sqrt(1.0 - white_share)))


def _convolve(a: Floats, b: Floats) -> Floats:
    """Causal convolution of equally long filters, cut to their length."""
    n = a.shape[0]
    size = next_fast_len(2 * n, real=True)
    return np.asarray(irfft(rfft(a, size) * rfft(b, size), size)[:n], dtype=np.float64)


def apply_filter(filter_: Floats, columns: Floats) -> Floats:
    """Causal filter of the columns of an array of shape (n, p)."""
    n = columns.shape[0]
    size = next_fast_len(2 * n, real=True)
    product = rfft(columns, size, axis=0) * rfft(filter_, size)[:, None]
    return np.asarray(irfft(product, size, axis=0)[:n], dtype=np.float64)


def _apply_transposed(filter_: Floats, columns: Floats) -> Floats:
    """Transpose of :func:`apply_filter`: the same filter running backwards in time."""
    return apply_filter(filter_, columns[::-1])[::-1]


@dataclass(frozen=True)
class Grid:
    """Samples laid on a regular grid for the noise (the mean model keeps the true times).

    Several samples in one cell are averaged together with their rows of the design matrix.
    """

    n: int
    step_a: float
    occupied: Cells
    missing: Cells
    design: Floats
    values: Floats

    @property
    def n_observed(self) -> int:
        """Number of cells with a value."""
        return int(self.occupied.size)


def lay_on_grid(years: Floats, design: Floats, values: Floats, step_a: float | None = None) -> Grid:
    """Assign samples to the cells of a regular grid with the typical interval.

    Parameters
    ----------
    years : ndarray, shape (n,)
        Ascending decimal years.
    design : ndarray, shape (n, p)
    values : ndarray, shape (n,)
    step_a : float, optional
        Cell width in years; the median separation if absent.
    """
    if step_a is None:
        step_a = float(np.median(np.diff(years))) if years.size > 1 else 1.0
    step_a = max(step_a, (years[-1] - years[0]) / 200_000.0, 1e-9)
    cell = np.rint((years - years[0]) / step_a).astype(np.int64)
    occupied, position, counts = np.unique(cell, return_inverse=True, return_counts=True)
    if occupied.size != cell.size:
        sums = np.zeros((occupied.size, design.shape[1] + 1))
        np.add.at(sums, position, np.column_stack((design, values)))
        sums /= counts[:, None]
        design, values = sums[:, :-1], sums[:, -1]
    n = int(occupied[-1]) + 1
    present = np.zeros(n, dtype=bool)
    present[occupied] = True
    return Grid(n, step_a, occupied, np.flatnonzero(~present), np.asarray(design), np.asarray(values))


def window_of(grid: Grid, max_epochs: int, max_missing: int) -> Grid:
    """The most recent part of a grid that keeps within the sizes; parameters are searched for on it."""
    if grid.n <= max_epochs and grid.missing.size <= max_missing:
        return grid
    start = max(grid.n - max_epochs, 0)
    if np.count_nonzero(grid.missing >= start) > max_missing:
        start = int(grid.missing[-max_missing]) + 1
    start = int(grid.occupied[min(np.searchsorted(grid.occupied, start), grid.n_observed - 1)])
    rows = grid.occupied >= start
    return Grid(
        grid.n - start,
        grid.step_a,
        grid.occupied[rows] - start,
        grid.missing[grid.missing >= start] - start,
        grid.design[rows],
        grid.values[rows],
    )


def _missing_matrix(model: NoiseModel, inverse: Floats, missing: Cells, n: int) -> Floats:
    """Inverse covariance at the missing epochs: M = E' U' U E for unit scale.

    The sum over all later rows is Toeplitz (lags of 1 / S); the rows past the end of the record are taken
    off again, the near ones exactly and the far ones by a quadrature with cells growing by a tenth.
    """
    lag = np.abs(missing[:, None] - missing[None, :])
    toeplitz = model.inverse_spectrum_covariance(n)[lag]
    edges = [64.0]
    while edges[-1] < inverse.size - n:
        edges.append(edges[-1] * 1.1 + 1.0)
    far = np.minimum(np.array(edges), inverse.size - n).astype(np.int64)
    middle = (far[1:] + far[:-1]) // 2
    nodes = np.concatenate((np.arange(64), middle))
    weights = np.concatenate((np.ones(64), np.diff(far).astype(np.float64)))
    nodes, weights = nodes[nodes < inverse.size - n], weights[: np.count_nonzero(nodes < inverse.size - n)]
    rows = inverse[n + nodes[:, None] - missing[None, :]] * np.sqrt(weights)[:, None]
    return np.asarray(toeplitz - rows.T @ rows)


@dataclass(frozen=True)
class GlsFit:
    """Generalised least squares under one noise model.

    `covariance` is that of the parameters, already scaled by the estimated innovation variance.
    """

    parameters: Floats
    covariance: Floats
    noise: NoiseModel
    n: int

    @property
    def sigmas(self) -> Floats:
        """Standard deviations of the parameters."""
        return np.asarray(np.sqrt(np.maximum(np.diag(self.covariance), 0.0)))


def generalised_least_squares(grid: Grid, model: NoiseModel) -> GlsFit:
    """Fit the mean model under a noise model whose scale is estimated (restricted maximum likelihood).

    Parameters
    ----------
    grid : Grid
    model : NoiseModel
        Shape of the noise; its `scale` is replaced by the estimate.

    Returns
    -------
    GlsFit
        With the restricted log likelihood and BIC in its noise model.
    """
    n, observed = grid.n, grid.n_observed
    p = grid.design.shape[1]
    columns = np.zeros((n, p + 1))
    columns[grid.occupied, :p] = grid.design
    columns[grid.occupied, p] = grid.values
    length = 3 * n if grid.missing.size else n
    _, inverse, log_first = model.filters(length)
    whitened = apply_filter(inverse[:n], columns)
    normal = whitened.T @ whitened
    log_det = 2.0 * n * log_first
    if grid.missing.size > 2 * MAX_MISSING_IN_SEARCH:
        # The determinant is out of reach, and not needed: the noise was chosen on a part of the record.
        whitened = apply_filter(inverse[:n], conditional_series(grid, model))
        normal = whitened.T @ whitened
    elif grid.missing.size:
        matrix = _missing_matrix(model, inverse, grid.missing, n)
        matrix[np.diag_indices_from(matrix)] *= 1.0 + 1e-10
        factor = cho_factor(matrix, lower=True, check_finite=False)
        cross = _apply_transposed(inverse[:n], whitened)[grid.missing]
        normal = normal - cross.T @ cho_solve(factor, cross, check_finite=False)
        log_det += 2.0 * float(np.log(np.diag(factor[0])).sum())
    gram, moment, power = normal[:p, :p], normal[:p, p], float(normal[p, p])
    scaling = np.sqrt(np.maximum(np.diag(gram), 1e-300))
    unit_gram = gram / np.outer(scaling, scaling)
    unit_inverse = np.linalg.pinv(unit_gram, hermitian=True)
    cofactor = unit_inverse / np.outer(scaling, scaling)
    parameters = cofactor @ moment
    chi2 = max(power - float(moment @ parameters), 1e-12 * power, 1e-300)
    freedom = max(observed - p, 1)
    variance = chi2 / freedom
    sign, log_gram = np.linalg.slogdet(unit_gram)
    log_gram = float(log_gram) + 2.0 * float(np.log(scaling).sum()) if sign > 0 else 0.0
    likelihood = -0.5 * (freedom * (np.log(2.0 * np.pi * variance) + 1.0) + log_det + log_gram)
    noise = replace(
        model,
        scale=float(np.sqrt(variance)),
        step_a=grid.step_a,
        log_likelihood=float(likelihood),
        bic=float(-2.0 * likelihood + model.n_parameters * np.log(observed)),
    )
    return GlsFit(np.asarray(parameters), np.asarray(variance * cofactor), noise, observed)


def whiten(columns: Floats, model: NoiseModel) -> Floats:
    """Apply the inverse filter of a noise model to gapless columns of shape (n, p); unit innovations."""
    return apply_filter(model.filters(columns.shape[0])[1], columns)


def conditional_series(grid: Grid, model: NoiseModel) -> Floats:
    """Design and values on the whole grid, missing cells set to what the noise model expects there.

    The expectation makes the whitened columns reproduce the exact likelihood of the observed cells; it is a
    step of the computation, never stored or shown as data.

    Returns
    -------
    ndarray, shape (grid.n, p + 1)
        The design matrix and, last, the values.
    """
    columns = np.zeros((grid.n, grid.design.shape[1] + 1))
    columns[grid.occupied, :-1] = grid.design
    columns[grid.occupied, -1] = grid.values
    if not grid.missing.size:
        return columns
    inverse = model.filters(3 * grid.n)[1]
    near = inverse[: grid.n]
    cross = _apply_transposed(near, apply_filter(near, columns))[grid.missing]
    if grid.missing.size <= 2 * MAX_MISSING_IN_SEARCH:
        matrix = _missing_matrix(model, inverse, grid.missing, grid.n)
        matrix[np.diag_indices_from(matrix)] *= 1.0 + 1e-10
        columns[grid.missing] = -cho_solve(cho_factor(matrix, lower=True), cross)
    else:
        columns[grid.missing] = -_solve_missing(near, grid, cross)
    return columns


def _solve_missing(near: Floats, grid: Grid, right: Floats) -> Floats:
    """Conjugate gradients for M X = right, when M is too large to be factored."""
    scale = float(near @ near)
    solution = np.zeros_like(right)
    residual = right.copy()
    direction = residual / scale
    power = (residual * direction).sum(axis=0)
    target = 1e-16 * np.maximum(power, 1e-300)
    full = np.zeros((grid.n, right.shape[1]))
    for _ in range(500):
        if np.all(power <= target):
            break
        full[grid.missing] = direction
        product = _apply_transposed(near, apply_filter(near, full))[grid.missing]
        curvature = (direction * product).sum(axis=0)
        step = np.where(curvature > 0.0, power / np.where(curvature > 0.0, curvature, 1.0), 0.0)
        solution += step * direction
        residual -= step * product
        preconditioned = residual / scale
        fresh = (residual * preconditioned).sum(axis=0)
        direction = preconditioned + np.where(power > 0.0, fresh / np.maximum(power, 1e-300), 0.0) * direction
        power = fresh
    return solution


def _share(logit: float) -> float:
    return float(1.0 / (1.0 + np.exp(-np.clip(logit, -16.0, 13.0))))


def _model_white(_: Floats) -> NoiseModel:
    return NoiseModel("white", 1.0)


def _model_ar1(x: Floats) -> NoiseModel:
    return NoiseModel("ar1", 1.0, 0.0, ar_coefficient=float(np.tanh(x[0])), n_parameters=2)


def _model_flicker(x: Floats) -> NoiseModel:
    return NoiseModel("flicker_white", 1.0, _share(float(x[0])), 1.0, n_parameters=2)


def _model_power_law(x: Floats) -> NoiseModel:
    index = MAX_INDEX * _share(float(x[1]))
    return NoiseModel("powerlaw_white", 1.0, _share(float(x[0])), index, n_parameters=3)


def _model_power_law_sum(x: Floats) -> NoiseModel:
    return replace(_model_power_law(x), name="powerlaw_sum")


def _index_to_logit(index: float) -> float:
    ratio = min(max(index / MAX_INDEX, 1e-3), 1.0 - 1e-3)
    return float(np.log(ratio / (1.0 - ratio)))


def _search_one(grid: Grid, build: Callable[[Floats], NoiseModel], low: float, high: float) -> NoiseModel:
    """Best model of one parameter."""

    def cost(x: float) -> float:
        return -generalised_least_squares(grid, build(np.array([x]))).noise.log_likelihood

    found = minimize_scalar(cost, bounds=(low, high), method="bounded", options={"xatol": 0.02})
    return build(np.array([found.x]))


def _search_power_law(grid: Grid, build: Callable[[Floats], NoiseModel], start: NoiseModel) -> NoiseModel:
    """Best mixture of white and power law, from the best mixture with flicker."""

    def cost(x: Floats) -> float:
        return -generalised_least_squares(grid, build(x)).noise.log_likelihood

    share = min(max(start.white_share, 0.02), 0.999)
    origin = np.array([np.log(share / (1.0 - share)), _index_to_logit(start.index)])
    simplex = np.vstack((origin, origin + (0.8, 0.0), origin + (0.4, 0.6)))
    options = {"initial_simplex": simplex, "xatol": 0.01, "fatol": 0.005, "maxfev": 90}
    found = minimize(cost, origin, method="Nelder-Mead", options=options)
    return build(found.x)


def estimate_noise(grid: Grid, candidates: tuple[str, ...] = MODEL_NAMES) -> list[NoiseModel]:
    """Fit each candidate by restricted maximum likelihood; best BIC first.

    Parameters
    ----------
    grid : Grid
        Long records are searched on their most recent `MAX_EPOCHS_IN_SEARCH` cells holding at most
        `MAX_MISSING_IN_SEARCH` missing ones; the fit itself always uses every sample.
    candidates : tuple of str
        Names out of `MODEL_NAMES`.

    Returns
    -------
    list of NoiseModel
        Never empty; with fewer than p + 4 samples only white noise is tried.
    """
    window = window_of(grid, MAX_EPOCHS_IN_SEARCH, MAX_MISSING_IN_SEARCH)
    used = _without_dead_columns(window)
    if used.n_observed < used.design.shape[1] + 4:
        return [generalised_least_squares(used, _model_white(np.empty(0))).noise]
    shapes: list[NoiseModel] = []
    if "white" in candidates:
        shapes.append(_model_white(np.empty(0)))
    if "ar1" in candidates:
        shapes.append(_search_one(used, _model_ar1, -1.0, 3.8))
    if set(candidates) & {"flicker_white", "powerlaw_white", "powerlaw_sum"}:
        start = _search_one(used, _model_flicker, -9.0, 12.0)
        if "flicker_white" in candidates:
            shapes.append(start)
        if "powerlaw_white" in candidates:
            start = _search_power_law(used, _model_power_law, start)
            shapes.append(start)
        if "powerlaw_sum" in candidates:
            shapes.append(_search_power_law(used, _model_power_law_sum, start))
    fitted = [generalised_least_squares(used, shape).noise for shape in shapes]
    return sorted(fitted, key=lambda model: model.bic)


def _without_dead_columns(grid: Grid) -> Grid:
    """Leave out columns that are constant zero or repeat another one within the window."""
    norms = np.linalg.norm(grid.design, axis=0)
    design = grid.design[:, norms > 0.0]
    if design.shape[1]:
        unit = design / np.linalg.norm(design, axis=0)
        keep: list[int] = []
        for column in range(unit.shape[1]):
            trial = [*keep, column]
            if np.linalg.matrix_rank(unit[:, trial], tol=1e-8) == len(trial):
                keep.append(column)
        design = design[:, keep]
    return replace(grid, design=design)

"""Generalised least squares under coloured noise, with gaps left as gaps.

Epochs that are missing stay missing: with E the columns of the missing epochs and U the whitening filter,

    y' C_oo^-1 y = |U y|^2 - (E'U'U y)' M^-1 (E'U'U y),   log|C_oo| = log|C| + log|M|,   M = E' C^-1 E,

y being zero where missing, so that one likelihood costs a few FFTs and a factorisation of the size of the
gaps. This file holds the grid, that fit with its restricted likelihood, and the series' conditional
expectation in the gaps (a step of the computation only).

References: Bos, Fernandes, Williams and Bastos (2013), doi:10.1007/s00190-012-0605-0.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
from numpy.fft import irfft, rfft
from numpy.typing import NDArray

from analytics.noise import NoiseModel, apply_filter, apply_transposed, next_fast_len
from analytics.sampling import Floats

Cells = NDArray[np.int64]
MAX_MISSING = 1200


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

    @cached_property
    def columns(self) -> Floats:
        """Design and, last, values on the whole grid, zero where missing, shape (n, p + 1)."""
        laid = np.zeros((self.n, self.design.shape[1] + 1))
        laid[self.occupied, :-1] = self.design
        laid[self.occupied, -1] = self.values
        return laid

    @cached_property
    def spectrum(self) -> NDArray[np.complex128]:
        """Transform of the columns, zero-padded to twice their length, shape (p + 1, ...): the same for every noise model."""
        return np.asarray(rfft(np.ascontiguousarray(self.columns.T), next_fast_len(2 * self.n)))

    def whitened(self, inverse: Floats) -> Floats:
        """Columns after the causal filter `inverse`, shape (n, p + 1)."""
        size = next_fast_len(2 * self.n)
        return np.asarray(irfft(self.spectrum * rfft(inverse[: self.n], size), size)[:, : self.n].T, dtype=np.float64)


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
    start = int(grid.occupied[min(int(np.searchsorted(grid.occupied, start)), grid.n_observed - 1)])
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


def _factor_missing(model: NoiseModel, missing: Cells, n: int) -> tuple[Floats, bool]:
    """Cholesky factor of M under a noise model whatever its scale; kept, for one noise serves many trajectories of a record."""
    return _kept_factor(_shape_of(model), np.ascontiguousarray(missing).tobytes(), n)


def _shape_of(model: NoiseModel) -> NoiseModel:
    """The noise without its scale and how well it fits: what its filters depend on."""
    return replace(model, scale=1.0, step_a=1.0, log_likelihood=0.0, bic=0.0)


@lru_cache(maxsize=4)
def _kept_inverse(shape: NoiseModel, length: int) -> tuple[Floats, float]:
    inverse, log_first = shape.inverse_filter(length)
    inverse.setflags(write=False)
    return inverse, log_first


@lru_cache(maxsize=2)
def _kept_factor(shape: NoiseModel, where: bytes, n: int) -> tuple[Floats, bool]:
    """As :func:`_factor_missing`, from all rows of the filter where the quadrature is not accurate enough."""
    missing = np.frombuffer(where, dtype=np.int64)
    model, inverse = shape, _kept_inverse(shape, 2 * n)[0]
    try:
        return _factor(_missing_matrix(model, inverse, missing, n), 1e-10)
    except np.linalg.LinAlgError:
        lag = np.arange(n)[:, None] - missing[None, :]
        columns = np.where(lag >= 0, inverse[np.maximum(lag, 0)], 0.0)
        return _factor(columns.T @ columns, 1e-8)


def _factor(matrix: Floats, ridge: float) -> tuple[Floats, bool]:
    from scipy.linalg import cho_factor  # takes longer to import than a short series without gaps to fit

    matrix[np.diag_indices_from(matrix)] *= 1.0 + ridge
    factor, lower = cho_factor(matrix, lower=True, check_finite=False)
    return np.asarray(factor), bool(lower)


def _solve(factor: tuple[Floats, bool], right: Floats) -> Floats:
    from scipy.linalg import cho_solve

    return np.asarray(cho_solve(factor, right, check_finite=False))


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
    length = 2 * n if grid.missing.size else n
    inverse, log_first = _kept_inverse(_shape_of(model), length)
    whitened = grid.whitened(inverse)
    normal = whitened.T @ whitened
    log_det = 2.0 * n * log_first
    if grid.missing.size > 2 * MAX_MISSING:
        # The determinant is out of reach, and not needed: the noise was chosen on a part of the record.
        whitened = apply_filter(inverse[:n], conditional_series(grid, model))
        normal = whitened.T @ whitened
    elif grid.missing.size:
        factor = _factor_missing(model, grid.missing, n)
        cross = apply_transposed(inverse[:n], whitened)[grid.missing]
        normal = normal - cross.T @ _solve(factor, cross)
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


def conditional_series(grid: Grid, model: NoiseModel) -> Floats:
    """Design and values on the whole grid, missing cells set to what the noise model expects there.

    The expectation makes the whitened columns reproduce the exact likelihood of the observed cells; it is a
    step of the computation, never stored or shown as data.

    Returns
    -------
    ndarray, shape (grid.n, p + 1)
        The design matrix and, last, the values.
    """
    columns = grid.columns.copy()
    if not grid.missing.size:
        return columns
    inverse, _ = _kept_inverse(_shape_of(model), 2 * grid.n)
    near = inverse[: grid.n]
    cross = apply_transposed(near, grid.whitened(near))[grid.missing]
    if grid.missing.size <= 2 * MAX_MISSING:
        columns[grid.missing] = -_solve(_factor_missing(model, grid.missing, grid.n), cross)
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
        product = apply_transposed(near, apply_filter(near, full))[grid.missing]
        curvature = (direction * product).sum(axis=0)
        step = np.where(curvature > 0.0, power / np.where(curvature > 0.0, curvature, 1.0), 0.0)
        solution += step * direction
        residual -= step * product
        preconditioned = residual / scale
        fresh = (residual * preconditioned).sum(axis=0)
        direction = preconditioned + np.where(power > 0.0, fresh / np.maximum(power, 1e-300), 0.0) * direction
        power = fresh
    return solution

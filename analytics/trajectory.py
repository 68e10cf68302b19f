"""The trajectory model: what a mark does, as a sum of a few short functions of time.

    x(t) = a + v (t - t0) + 1/2 q (t - t0)^2 + sum_k [s_k sin(2 pi k t) + c_k cos(2 pi k t)]
         + sum_j d_j H(t - t_j) + sum_m e_m f_m(t)

The rate v belongs to the reference epoch t0 (the middle of the record) and the acceleration q is twice the
quadratic coefficient. Steps and transients are given from outside, never searched for here. This file holds
the design matrix and its fit under a noise model.

Reference: Bevis and Brown (2014), doi:10.1007/s00190-013-0685-5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analytics.gls import GlsFit, generalised_least_squares, lay_on_grid
from analytics.noise import MODEL_NAMES, NoiseModel
from analytics.noise_doubt import degrees_of_freedom, widening
from analytics.noise_search import estimate_noise, search_grid
from analytics.sampling import Floats

SEASONAL_SPAN_A = 2.5
"""Below this span seasonal terms and rate cannot be told apart and a rate is interim (Blewitt and Lavallee 2002)."""


@dataclass(frozen=True)
class TrajectoryModel:
    """Which terms a trajectory has; times are decimal years.

    Attributes
    ----------
    harmonics : tuple of int
        Cycles per year: (1, 2) is annual and semi-annual.
    steps : tuple of float
        First instant after each step.
    hinges : tuple of float
        Times at which the rate may change.
    logarithms, exponentials : tuple of (float, float)
        Onset and time constant in years of log10(1 + dt / tau) and 1 - exp(-dt / tau).
    """

    reference_year: float
    acceleration: bool = False
    harmonics: tuple[int, ...] = (1, 2)
    steps: tuple[float, ...] = ()
    hinges: tuple[float, ...] = ()
    logarithms: tuple[tuple[float, float], ...] = ()
    exponentials: tuple[tuple[float, float], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters, in the order of the columns of :meth:`design`."""
        names = ["offset", "rate"] + (["acceleration"] if self.acceleration else [])
        names += [f"{part}_{k}" for k in self.harmonics for part in ("sin", "cos")]
        names += [f"step_{j}" for j in range(len(self.steps))]
        names += [f"hinge_{j}" for j in range(len(self.hinges))]
        names += [f"logarithm_{j}" for j in range(len(self.logarithms))]
        return tuple(names + [f"exponential_{j}" for j in range(len(self.exponentials))])

    def design(self, years: Floats) -> Floats:
        """Design matrix.

        Parameters
        ----------
        years : ndarray, shape (n,)
            Decimal years.

        Returns
        -------
        ndarray, shape (n, len(names))
        """
        t = np.asarray(years, dtype=np.float64)
        since = t - self.reference_year
        columns = [np.ones_like(t), since]
        if self.acceleration:
            columns.append(0.5 * since**2)
        for k in self.harmonics:
            columns += [np.sin(2.0 * np.pi * k * t), np.cos(2.0 * np.pi * k * t)]
        columns += [(t >= step).astype(np.float64) for step in self.steps]
        columns += [np.maximum(t - hinge, 0.0) for hinge in self.hinges]
        columns += [np.log10(1.0 + np.maximum(t - at, 0.0) / tau) for at, tau in self.logarithms]
        columns += [1.0 - np.exp(-np.maximum(t - at, 0.0) / tau) for at, tau in self.exponentials]
        return np.column_stack(columns)


@dataclass(frozen=True)
class TrajectoryFit:
    """A fitted trajectory.

    Attributes
    ----------
    parameters : ndarray, shape (p,)
    covariance : ndarray, shape (p, p)
    residual : ndarray, shape (n,)
        Observed minus fitted.
    noise : NoiseModel
        The model that the covariance stands on.
    candidates : tuple of NoiseModel
        All that were tried, best BIC first.
    freedom : float
        Degrees of freedom of the rate's variance where the noise was estimated. The covariance is wider than generalised least squares
        has it, by so much that 1.96 sigmas of the rate hold 95 %.
    """

    model: TrajectoryModel
    parameters: Floats
    covariance: Floats
    fitted: Floats
    residual: Floats
    noise: NoiseModel
    candidates: tuple[NoiseModel, ...]
    n: int
    freedom: float = float("inf")

    def value_of(self, name: str) -> float:
        """Estimate of a parameter by its name."""
        return float(self.parameters[self.model.names.index(name)])

    def sigma_of(self, name: str) -> float:
        """Standard deviation of a parameter by its name."""
        i = self.model.names.index(name)
        return float(np.sqrt(max(self.covariance[i, i], 0.0)))

    def amplitude_of(self, cycles_per_year: int) -> tuple[float, float, float]:
        """Amplitude, its standard deviation and the phase (radians, of a cosine from 1 January 2000) of a harmonic."""
        i = self.model.names.index(f"sin_{cycles_per_year}")
        s, c = self.parameters[i], self.parameters[i + 1]
        amplitude = float(np.hypot(s, c))
        gradient = np.array([s, c]) / amplitude if amplitude > 0.0 else np.array([1.0, 0.0])
        block = self.covariance[i : i + 2, i : i + 2]
        variance = float(gradient @ block @ gradient)
        return amplitude, float(np.sqrt(max(variance, 0.0))), float(np.arctan2(s, c))

    def evaluate(self, years: Floats) -> tuple[Floats, Floats]:
        """Mean curve and the standard deviation of the mean curve (noise not included).

        Returns
        -------
        value, sigma : ndarray, shape (n,)
        """
        design = self.model.design(years)
        variance = np.einsum("ij,jk,ik->i", design, self.covariance, design)
        return design @ self.parameters, np.sqrt(np.maximum(variance, 0.0))


def independent_steps(years: Floats, steps: Sequence[float], minimum_samples: int = 2) -> tuple[float, ...]:
    """Steps that the samples can tell apart: enough samples before the first, between any two and after the last."""
    kept: list[float] = []
    before = 0
    for step in sorted({float(at) for at in steps}):
        position = int(np.searchsorted(years, step, side="left"))
        if position - before >= minimum_samples and years.size - position >= minimum_samples:
            kept.append(step)
            before = position
    return tuple(kept)


def choose_model(
    years: Floats,
    steps: Sequence[float] = (),
    acceleration: bool = False,
    reference_year: float | None = None,
) -> TrajectoryModel:
    """Terms that a record can carry: harmonics only from `SEASONAL_SPAN_A` on and with four epochs a parameter."""
    middle = 0.5 * float(years[0] + years[-1]) if reference_year is None else reference_year
    span = float(years[-1] - years[0])
    kept = independent_steps(years, steps)
    free = years.size - 2 - len(kept) - int(acceleration)
    per_year = years.size / max(span, 1e-9)
    harmonics: tuple[int, ...] = ()
    if span >= SEASONAL_SPAN_A and per_year >= 4.0 and free >= 16:
        harmonics = (1, 2) if per_year >= 8.0 else (1,)
    elif span >= 1.0 and per_year >= 26.0 and free >= 40:
        harmonics = (1,)
    return TrajectoryModel(middle, acceleration, harmonics, kept)


def fit_trajectory(
    years: Floats,
    values: Floats,
    model: TrajectoryModel,
    candidates: tuple[str, ...] = MODEL_NAMES,
    noise: NoiseModel | None = None,
    known: Sequence[NoiseModel] = (),
) -> TrajectoryFit:
    """Fit a trajectory by generalised least squares under the noise model with the best BIC.

    Parameters
    ----------
    years : ndarray, shape (n,)
        Ascending decimal years; gaps are left as gaps.
    values : ndarray, shape (n,)
    model : TrajectoryModel
    candidates : tuple of str
        Noise models to choose from.
    noise : NoiseModel, optional
        A known noise shape instead of the search.
    known : sequence of NoiseModel
        Shapes already searched for on the same samples and model.

    Returns
    -------
    TrajectoryFit

    Examples
    --------
    >>> import numpy as np
    >>> t = 2015.0 + np.arange(1500) / 365.25
    >>> x = 5.0 - 4.0 * t + np.random.default_rng(1).normal(size=1500)
    >>> fit = fit_trajectory(t, x, choose_model(t), candidates=("white",))
    >>> abs(fit.value_of("rate") + 4.0) < 4.0 * fit.sigma_of("rate")
    True
    """
    level = float(np.median(values))
    grid = lay_on_grid(years, model.design(years), values - level)
    tried = [noise] if noise is not None else estimate_noise(grid, candidates, known)
    fit = generalised_least_squares(grid, tried[0])
    finished = _finish(years, values, model, fit, level, tuple(tried))
    if noise is not None:
        return finished
    freedom = degrees_of_freedom(search_grid(grid), tried[0], model.names.index("rate"))
    return replace(finished, covariance=finished.covariance * widening(freedom) ** 2, freedom=freedom)


def _finish(
    years: Floats,
    values: Floats,
    model: TrajectoryModel,
    fit: GlsFit,
    level: float,
    tried: tuple[NoiseModel, ...],
) -> TrajectoryFit:
    parameters = fit.parameters.copy()
    parameters[0] += level
    fitted = model.design(years) @ parameters
    return TrajectoryFit(model, parameters, fit.covariance, fitted, values - fitted, fit.noise, tried, int(years.size))


def fit_weighted(years: Floats, values: Floats, sigmas: Floats, model: TrajectoryModel) -> TrajectoryFit:
    """Weighted least squares with given sigmas, for few epochs (levelling).

    The covariance is that of the given sigmas, widened by chi-square per degree of freedom where the scatter
    is larger than they promise, never narrowed.
    """
    design = model.design(years)
    level = float(np.average(values, weights=1.0 / sigmas**2))
    rows = design / sigmas[:, None]
    cofactor = np.linalg.pinv(rows.T @ rows, hermitian=True)
    parameters = cofactor @ (rows.T @ ((values - level) / sigmas))
    parameters[0] += level
    fitted = design @ parameters
    freedom = years.size - design.shape[1]
    chi2 = float((((values - fitted) / sigmas) ** 2).sum())
    inflation = max(1.0, chi2 / freedom) if freedom > 0 else 1.0
    noise = NoiseModel("white", float(np.sqrt(inflation * np.mean(sigmas**2))))
    return TrajectoryFit(model, parameters, cofactor * inflation, fitted, values - fitted, noise, (noise,), int(years.size))


def model_as_json(model: TrajectoryModel) -> dict[str, Any]:
    """Plain JSON of a model; the inverse of :func:`model_from_json`."""
    return {
        "reference_year": model.reference_year,
        "acceleration": model.acceleration,
        "harmonics": list(model.harmonics),
        "steps": list(model.steps),
        "hinges": list(model.hinges),
        "logarithms": [list(pair) for pair in model.logarithms],
        "exponentials": [list(pair) for pair in model.exponentials],
    }


def model_from_json(stored: Mapping[str, Any]) -> TrajectoryModel:
    """Rebuild a model from its stored JSON."""
    return TrajectoryModel(
        float(stored["reference_year"]),
        bool(stored["acceleration"]),
        tuple(int(k) for k in stored["harmonics"]),
        tuple(float(t) for t in stored["steps"]),
        tuple(float(t) for t in stored.get("hinges", ())),
        tuple((float(a), float(b)) for a, b in stored.get("logarithms", ())),
        tuple((float(a), float(b)) for a, b in stored.get("exponentials", ())),
    )


def outliers(residual: Floats, factor: float = 6.0, window: int = 61, most: float = 0.03, beside: int = 5) -> NDArray[np.bool_]:
    """Residuals far from their neighbours: beyond `factor` robust sigmas of a running median's departures.

    A sample beside a step is far from the median around it, but not from the samples on its own side of the step;
    it is kept, for it dates the step.

    Parameters
    ----------
    residual : ndarray, shape (n,)
        Residuals of a first fit.
    factor : float
        In units of 1.4826 times the median absolute departure.
    window : int
        Samples of the running median, odd.
    most : float
        Largest share of samples that can be outliers; beyond it none is.
    beside : int
        Samples before, and samples after, whose medians an outlier must be far from as well.

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    n = residual.size
    if n < 12:
        return np.zeros(n, dtype=bool)
    half = min(window // 2, n // 4)
    departure = np.abs(residual - _running_median(residual, half))
    scale = 1.4826 * float(np.median(departure))
    far = departure > factor * scale if scale > 0.0 else np.zeros(n, dtype=bool)
    for i in np.flatnonzero(far):
        for side in (residual[max(i - beside, 0) : i], residual[i + 1 : i + 1 + beside]):
            if side.size >= beside // 2 and abs(residual[i] - float(np.median(side))) <= factor * scale:
                far[i] = False
    # What happens often is how the series is, not what is wrong with it.
    return far if far.mean() <= most else np.zeros(n, dtype=bool)


def _running_median(values: Floats, half: int) -> Floats:
    padded = np.pad(values, half, mode="reflect")
    return np.asarray(np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1), axis=1))

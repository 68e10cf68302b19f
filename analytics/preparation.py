"""From a stored datastream to a fit that the methods share.

Sub-daily series are brought to days first (tide removed), levelling and other sparse series take given
sigmas and no seasonal terms, spikes are left out, and unlogged steps are searched for. This file holds that
preparation and its parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from analytics.method import last_segment, numpy_time, offsets, refused, until, without_excluded, year_of
from analytics.midas import MidasResult, midas
from analytics.noise import MODEL_NAMES
from analytics.sampling import Floats, Samples, daily, day_epochs, decimal_years, span_years, typical_interval_d
from analytics.step_doubt import DoubtfulStep, average_over_steps, refitted
from analytics.steps import STEP_LIMIT, DetectedStep, StepSearch, search_steps
from analytics.trajectory import TrajectoryFit, TrajectoryModel, choose_model, fit_trajectory, fit_weighted, outliers
from analytics.transients import with_transients
from domain.model import EventKind, StationEvent, ValueKind

MINIMUM_SPAN_A = 0.2
NO_SCATTER = 1e-9
"""Scatter, as a share of the range, that is rounding alone: two surveys lie on their line whatever their errors were."""


@dataclass(frozen=True)
class VelocityParameters:
    """The one default setting, with what the datastream itself says.

    Attributes
    ----------
    unit : str
        UCUM unit in which the analysis works.
    scale : float
        Factor from the datastream's unit to `unit` (1000 for heights in m that are judged in mm).
    value_kind : ValueKind
        Totals are summed over days, totalisers keep the day's last value.
    zone_offset_h : float
        Hours by which local days begin before UTC days.
    interval_s : float or None
        Interval that the datastream declares, seconds; silences shorter than ten of them are no gaps.
    sparse : bool or None
        Whether the series consists of few surveys with their own sigmas; None decides by the interval.
    sparse_interval_d : float
        Typical interval in days from which a series is sparse.
    find_steps : bool
        Whether unlogged steps are searched for.
    step_limit : float
        Smallest chi-square of an unlogged step that is told.
    acceleration : bool
        Whether an acceleration is fitted.
    """

    unit: str = "mm"
    scale: float = 1.0
    value_kind: ValueKind = ValueKind.INSTANT
    zone_offset_h: float = 8.0
    interval_s: float | None = None
    sparse: bool | None = None
    sparse_interval_d: float = 20.0
    find_steps: bool = True
    step_limit: float = STEP_LIMIT
    acceleration: bool = False
    noise_models: tuple[str, ...] = MODEL_NAMES


@dataclass(frozen=True)
class Prepared:
    """A datastream ready to be fitted: usable samples at daily or slower rate, with its trajectory.

    `fit` is the mean over the sets of doubtful steps, `certain` the same noise under the trajectory without them: what looks for bends
    begins there, for a row of small steps looks like one. `unweighted` is the trajectory of surveys of which nobody knows a sigma: its
    numbers hold, its sigmas mean nothing.
    """

    samples: Samples
    years: Floats
    sparse: bool
    fit: TrajectoryFit | None
    kept: NDArray[np.bool_]
    logged: tuple[StationEvent, ...]
    detected: tuple[DetectedStep, ...]
    midas: MidasResult | None
    unweighted: TrajectoryFit | None = None
    doubtful: tuple[DoubtfulStep, ...] = ()
    certain: TrajectoryFit | None = None

    @property
    def span_a(self) -> float:
        """Length of the fitted segment in years."""
        return span_years(self.samples.time)


def scaled(samples: Samples, factor: float) -> Samples:
    """Samples in another unit."""
    if factor == 1.0:
        return samples
    sigma = None if samples.sigma is None else samples.sigma * factor
    return Samples(samples.time, samples.value * factor, sigma, samples.quality)


def _statistic(kind: ValueKind) -> str:
    return {ValueKind.TOTAL: "sum", ValueKind.TOTALISER: "last"}.get(kind, "mean")


def prepare(samples: Samples, events: Sequence[StationEvent], parameters: VelocityParameters, now: datetime) -> Prepared:
    """Clean, resample and fit one datastream; `fit` is None where there is too little to say anything."""
    known = scaled(without_excluded(until(samples, now), events).usable(), parameters.scale)
    segment = last_segment(daily(known, _statistic(parameters.value_kind), parameters.zone_offset_h), events)
    interval = typical_interval_d(segment.time)
    sparse = parameters.sparse
    if sparse is None:
        sparse = bool(np.isfinite(interval) and interval > parameters.sparse_interval_d)
    years = decimal_years(segment.time)
    logged = tuple(_in_unit(event, parameters.scale) for event in offsets(events, segment.time))
    everything = np.ones(years.size, dtype=bool)
    epochs = day_epochs(segment.time)
    # MIDAS divides by separations of published epochs; two samples of one UTC day would share one.
    robust = midas(epochs, segment.value, [_midas_year(event) for event in logged]) if years.size > 1 else None
    empty = Prepared(segment, years, sparse, None, everything, logged, (), robust)
    if sparse:
        return _fit_sparse(empty)
    if years.size < 20 or span_years(segment.time) < MINIMUM_SPAN_A:
        return empty
    return _fit_dense(empty, parameters, [year_of(time) for time in refused(events)])


def _in_unit(event: StationEvent, scale: float) -> StationEvent:
    """Bring the size of an event, stated in the datastream's unit, to the unit of the analysis."""
    return event if event.size is None or scale == 1.0 else replace(event, size=event.size * scale)


def _midas_year(event: StationEvent) -> float:
    """Step epoch on the axis of the daily epochs: the day on which it happened serves neither side."""
    return float(day_epochs(np.array([numpy_time(event.start)]))[0])


def _fit_sparse(given: Prepared) -> Prepared:
    """Weighted least squares on survey epochs, offsets of stated size taken off first."""
    n = given.years.size
    if n < 2 or span_years(given.samples.time) <= 0.0:
        return given
    values = given.samples.value.copy()
    for event in given.logged:
        if event.size is not None:
            values[given.years >= year_of(event.start)] -= event.size
    unknown = [year_of(event.start) for event in given.logged if event.size is None]
    if np.bincount(np.searchsorted(unknown, given.years, side="right")).max() < 2:
        return given  # an offset of unknown size between all surveys: movement and offset cannot be told apart
    model = choose_model(given.years, unknown)
    model = TrajectoryModel(model.reference_year, False, (), model.steps)
    freedom = n - len(model.names)
    sigmas = given_sigmas(given.samples)
    if freedom < 0:
        return given
    corrected = replace(given, samples=Samples(given.samples.time, values, given.samples.sigma, given.samples.quality))
    if sigmas is not None:
        return replace(corrected, fit=fit_weighted(given.years, values, sigmas, model))
    plain = fit_weighted(given.years, values, np.ones(n), model)
    scale = float(np.sqrt((plain.residual**2).sum() / freedom)) if freedom else 0.0
    if scale <= NO_SCATTER * float(np.ptp(values)):
        return replace(corrected, unweighted=plain)
    return replace(corrected, fit=fit_weighted(given.years, values, np.full(n, scale), model))


def given_sigmas(samples: Samples) -> Floats | None:
    """Sigmas if most epochs have one; the missing ones take the median."""
    if samples.sigma is None:
        return None
    known = np.isfinite(samples.sigma) & (samples.sigma > 0.0)
    if known.sum() < max(2, len(samples) // 2):
        return None
    return np.where(known, samples.sigma, np.median(samples.sigma[known]))


def _fit_dense(given: Prepared, parameters: VelocityParameters, denied: Sequence[float]) -> Prepared:
    """Trajectory with coloured noise, spikes left out and unlogged steps searched for."""
    years, values = given.years, given.samples.value
    steps = [year_of(event.start) for event in given.logged]
    model = choose_model(years, steps, parameters.acceleration)
    first = fit_trajectory(years, values, model, candidates=("white",))
    kept = ~outliers(first.residual)
    search = StepSearch((), model, ())
    if parameters.find_steps:
        search = search_steps(years[kept], values[kept], model, parameters.step_limit, refused=denied)
    if search.model != model:
        model = choose_model(years, search.model.steps, parameters.acceleration)
    if float(np.ptp(values[kept])) == 0.0:
        fit = fit_trajectory(years[kept], values[kept], model, candidates=("white",))
    else:
        known = search.noise if search.model == model else ()
        fit = fit_trajectory(years[kept], values[kept], model, candidates=parameters.noise_models, known=known)
        shocks = [year_of(event.start) for event in given.logged if event.kind == EventKind.EARTHQUAKE]
        moved = with_transients(years[kept], values[kept], model, shocks, fit.noise)
        if moved != model:
            fit = fit_trajectory(years[kept], values[kept], moved, candidates=parameters.noise_models)
    plain = Prepared(given.samples, years, False, fit, kept, given.logged, search.steps, given.midas, certain=fit)
    return _with_doubt(plain, steps, denied) if parameters.find_steps and fit.noise.scale > 0.0 else plain


def _with_doubt(ready: Prepared, logged: Sequence[float], denied: Sequence[float]) -> Prepared:
    """Average the fit over the steps that are likely and not told."""
    assert ready.fit is not None
    years, values = ready.years[ready.kept], ready.samples.value[ready.kept]
    sure = {*logged, *(step.year for step in ready.detected)}
    fit, doubtful = average_over_steps(years, values, ready.fit, tuple(sure), denied)
    if not doubtful:
        return replace(ready, fit=fit, certain=fit)
    model = replace(fit.model, steps=tuple(step for step in fit.model.steps if step in sure))
    return replace(ready, fit=fit, doubtful=doubtful, certain=refitted(years, values, model, fit))

"""The method `velocity`: rate, seasons, steps, noise, MIDAS and forecast of one datastream.

Sub-daily series are brought to days first (tide removed), levelling and other sparse series take given
sigmas and no seasonal terms. The rate's sigma is the one that the noise model with the best BIC implies,
never that of white noise unless the residuals are white. This file holds the preparation that the
other methods share, and the method itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from analytics.forecast import forecast
from analytics.method import (
    aware,
    last_segment,
    make_run,
    numpy_time,
    offsets,
    time_of,
    until,
    without_excluded,
    year_of,
)
from analytics.midas import MidasResult, midas
from analytics.sampling import Samples, daily, day_epochs, decimal_years, span_years, typical_interval_d
from analytics.steps import STEP_LIMIT, DetectedStep, StepSearch, search_steps
from analytics.trajectory import (
    SEASONAL_SPAN_A,
    TrajectoryFit,
    TrajectoryModel,
    change_between_epochs,
    choose_model,
    fit_trajectory,
    fit_weighted,
    model_as_json,
    outliers,
)
from domain.finding import Finding, FindingKind, Outcome, Scalar
from domain.model import StationEvent, ValueKind
from domain.quality import Quality

NAME, VERSION = "velocity", "1"
MINIMUM_SPAN_A = 0.2
DENSE_NOISE = ("white", "ar1", "flicker_white", "powerlaw_white", "powerlaw_sum")


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
    sparse : bool or None
        Whether the series consists of few surveys with their own sigmas; None decides by the interval.
    sparse_interval_d : float
        Typical interval in days from which a series is sparse.
    find_steps : bool
        Whether unlogged steps are searched for.
    step_limit : float
        Smallest chi-square of an unlogged step.
    acceleration : bool
        Whether an acceleration is fitted.
    """

    unit: str = "mm"
    scale: float = 1.0
    value_kind: ValueKind = ValueKind.INSTANT
    zone_offset_h: float = 8.0
    sparse: bool | None = None
    sparse_interval_d: float = 20.0
    find_steps: bool = True
    step_limit: float = STEP_LIMIT
    acceleration: bool = False
    noise_models: tuple[str, ...] = DENSE_NOISE


@dataclass(frozen=True)
class Prepared:
    """A datastream ready to be fitted: usable samples at daily or slower rate, with its trajectory."""

    samples: Samples
    years: np.ndarray[Any, np.dtype[np.float64]]
    sparse: bool
    fit: TrajectoryFit | None
    kept: np.ndarray[Any, np.dtype[np.bool_]]
    logged: tuple[StationEvent, ...]
    detected: tuple[DetectedStep, ...]
    midas: MidasResult | None

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
    logged = tuple(offsets(events, segment.time))
    everything = np.ones(years.size, dtype=bool)
    epochs = day_epochs(segment.time)
    # MIDAS divides by separations of published epochs; two samples of one UTC day would share one.
    robust = midas(epochs, segment.value, [_midas_year(event) for event in logged]) if years.size > 1 else None
    empty = Prepared(segment, years, sparse, None, everything, logged, (), robust)
    if sparse:
        return _fit_sparse(empty)
    if years.size < 20 or span_years(segment.time) < MINIMUM_SPAN_A:
        return empty
    return _fit_dense(empty, parameters)


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
    model = choose_model(given.years, unknown)
    model = TrajectoryModel(model.reference_year, False, (), model.steps)
    freedom = n - len(model.names)
    sigmas = _given_sigmas(given.samples)
    if sigmas is None and freedom < 1:
        return given
    if freedom < 0:
        return given
    weights = np.ones(n) if sigmas is None else sigmas
    fit = fit_weighted(given.years, values, weights, model)
    if sigmas is None:
        scale = float(np.sqrt((fit.residual**2).sum() / freedom))
        if scale > 0.0:
            fit = fit_weighted(given.years, values, np.full(n, scale), model)
    samples = Samples(given.samples.time, values, given.samples.sigma, given.samples.quality)
    return Prepared(samples, given.years, True, fit, given.kept, given.logged, (), given.midas)


def _given_sigmas(samples: Samples) -> np.ndarray[Any, np.dtype[np.float64]] | None:
    """Sigmas if most epochs have one; the missing ones take the median."""
    if samples.sigma is None:
        return None
    known = np.isfinite(samples.sigma) & (samples.sigma > 0.0)
    if known.sum() < max(2, len(samples) // 2):
        return None
    return np.where(known, samples.sigma, np.median(samples.sigma[known]))


def _fit_dense(given: Prepared, parameters: VelocityParameters) -> Prepared:
    """Trajectory with coloured noise, spikes left out and unlogged steps searched for."""
    years, values = given.years, given.samples.value
    steps = [year_of(event.start) for event in given.logged]
    model = choose_model(years, steps, parameters.acceleration)
    first = fit_trajectory(years, values, model, candidates=("white",))
    kept = ~outliers(first.residual)
    search = StepSearch((), ())
    if parameters.find_steps:
        search = search_steps(years[kept], values[kept], model, parameters.step_limit)
    detected = search.steps
    if detected:
        model = choose_model(years, [*steps, *(step.year for step in detected)], parameters.acceleration)
    if float(np.ptp(values[kept])) == 0.0:
        fit = fit_trajectory(years[kept], values[kept], model, candidates=("white",))
    else:
        known = () if detected else search.noise
        fit = fit_trajectory(years[kept], values[kept], model, candidates=parameters.noise_models, known=known)
    return Prepared(given.samples, years, False, fit, kept, given.logged, detected, given.midas)


def run(samples: Samples, events: Sequence[StationEvent], parameters: VelocityParameters, now: datetime) -> Outcome:
    """Estimate velocity, seasonal amplitudes, steps, noise and forecast.

    Parameters
    ----------
    samples : Samples
        As stored; quality and interval are dealt with here.
    events : sequence of StationEvent
    parameters : VelocityParameters
    now : datetime
        Aware; later samples are not looked at.

    Returns
    -------
    Outcome
        Status "ok", "interim" (span below 2.5 a) or "cannot_tell".
    """
    return outcome(samples, events, parameters, prepare(samples, events, parameters, now))


def outcome(samples: Samples, events: Sequence[StationEvent], parameters: VelocityParameters, ready: Prepared) -> Outcome:
    """Write down a prepared fit."""
    result = describe(ready, parameters)
    status = "cannot_tell" if ready.fit is None else "interim" if result["interim"] else "ok"
    record = make_run((NAME, VERSION), samples, events, parameters, status, result)
    return Outcome(record, _scalars(ready, parameters, status), _findings(ready, parameters))


def describe(ready: Prepared, parameters: VelocityParameters) -> dict[str, Any]:
    """The result that is stored with the run and shown by the API; absent means not estimated."""
    result: dict[str, Any] = {
        "unit": f"{parameters.unit}/a",
        "scale": parameters.scale,
        "n": len(ready.samples),
        "span_a": ready.span_a,
        "interim": ready.span_a < SEASONAL_SPAN_A,
        "sparse": ready.sparse,
    }
    if len(ready.samples):
        result |= {"start": aware(ready.samples.time[0]), "end": aware(ready.samples.time[-1])}
    if ready.midas is not None:
        result |= {
            "midas_rate": ready.midas.rate,
            "midas_sigma": ready.midas.rate_sigma,
            "midas_n_used": ready.midas.n_used,
            "midas_n_pairs": ready.midas.n_pairs,
        }
    if ready.fit is None:
        return result
    result |= _describe_fit(ready, ready.fit)
    if ready.sparse and len(ready.samples) > 1:
        result |= _last_change(ready)
    return result


def _describe_fit(ready: Prepared, fit: TrajectoryFit) -> dict[str, Any]:
    noise = fit.noise
    ahead = forecast(ready.years[ready.kept], ready.samples.value[ready.kept], fit)
    result: dict[str, Any] = {
        "n_used": fit.n,
        "rate": fit.value_of("rate"),
        "rate_sigma": fit.sigma_of("rate"),
        "noise_model": noise.name,
        "noise": {
            "name": noise.name,
            "white_sigma": noise.white_sigma,
            "power_law_amplitude": noise.power_law_amplitude,
            "index": noise.index,
            "ar_coefficient": noise.ar_coefficient,
            "step_a": noise.step_a,
            "bic": {candidate.name: candidate.bic for candidate in fit.candidates},
        },
        "rmse": float(np.sqrt(np.mean(fit.residual**2))),
        "start_year": float(ready.years[0]),
        "end_year": float(ready.years[-1]),
        "model": model_as_json(fit.model),
        "parameters": fit.parameters,
        "covariance": fit.covariance,
        "steps": _steps(ready, fit),
        "forecast": None if ahead is None else ahead.as_json(),
    }
    if fit.model.acceleration:
        result["acceleration"] = fit.value_of("acceleration")
        result["acceleration_sigma"] = fit.sigma_of("acceleration")
    for cycles, label in ((1, "annual"), (2, "semiannual")):
        if cycles in fit.model.harmonics:
            amplitude, sigma, phase = fit.amplitude_of(cycles)
            result |= {
                f"{label}_amplitude": amplitude,
                f"{label}_amplitude_sigma": sigma,
                f"{label}_phase": phase,
            }
    return result


def _steps(ready: Prepared, fit: TrajectoryFit) -> list[dict[str, Any]]:
    """Steps of the fit with where they come from; offsets of stated size that were taken off come too."""
    sources = {year_of(event.start): ("log", event) for event in ready.logged}
    found = []
    for j, year in enumerate(fit.model.steps):
        source, event = sources.get(year, ("detected", None))
        found.append(
            {
                "time": event.start if event is not None else time_of(year),
                "size": fit.value_of(f"step_{j}"),
                "sigma": fit.sigma_of(f"step_{j}"),
                "source": source,
            }
        )
    if ready.sparse:
        stated = [event for event in ready.logged if event.size is not None]
        found += [{"time": e.start, "size": e.size, "sigma": None, "source": "stated"} for e in stated]
    return found


def _last_change(ready: Prepared) -> dict[str, Any]:
    """Significance of the change between the two newest surveys."""
    sigmas = _given_sigmas(ready.samples)
    if sigmas is None:
        return {}
    value = ready.samples.value
    test = change_between_epochs(float(value[-1] - value[-2]), float(sigmas[-2]), float(sigmas[-1]))
    return {
        "last_change": {
            "change": test.change,
            "sigma": test.sigma,
            "significant": test.is_significant,
            "factor": test.factor,
        }
    }


def _scalars(ready: Prepared, parameters: VelocityParameters, status: str) -> tuple[Scalar, ...]:
    if not len(ready.samples):
        return ()
    end, unit = aware(ready.samples.time[-1]), f"{parameters.unit}/a"
    level = _cumulative(ready, parameters)
    if ready.fit is None:
        missing = Scalar("velocity", unit, end, None, None, Quality.MISSING, ("cannot_tell",))
        return (missing, *level)
    interim = status == "interim"
    quality, reasons = (Quality.UNKNOWN, ("interim",)) if interim else (Quality.GOOD, ())
    fit = ready.fit
    scalars = [Scalar("velocity", unit, end, fit.value_of("rate"), fit.sigma_of("rate"), quality, reasons)]
    if ready.midas is not None:
        robust = ready.midas
        scalars.append(Scalar("midas_velocity", unit, end, robust.rate, robust.rate_sigma, quality, reasons))
    if 1 in fit.model.harmonics and not interim:
        amplitude, sigma, _ = fit.amplitude_of(1)
        scalars.append(Scalar("annual_amplitude", parameters.unit, end, amplitude, sigma, quality, reasons))
    return (*scalars, *level)


def _cumulative(ready: Prepared, parameters: VelocityParameters) -> tuple[Scalar, ...]:
    """Change since the first epoch of the segment, logged offsets taken off, medians of about a fortnight."""
    if parameters.value_kind == ValueKind.TOTAL or ready.fit is None:
        return ()
    value = ready.samples.value.copy()
    for j, year in enumerate(ready.fit.model.steps):
        if any(year_of(event.start) == year for event in ready.logged):
            value -= np.where(ready.years >= year, ready.fit.value_of(f"step_{j}"), 0.0)
    few = newest_count(ready.samples)
    change = float(np.median(value[-few:]) - np.median(value[:few]))
    sigmas = _given_sigmas(ready.samples) if ready.sparse else None
    ends = (ready.fit.noise.scale, ready.fit.noise.scale) if sigmas is None else (sigmas[0], sigmas[-1])
    end = aware(ready.samples.time[-1])
    return (Scalar("cumulative", parameters.unit, end, change, float(np.hypot(*ends))),)


def newest_count(samples: Samples, days: float = 14.0) -> int:
    """How many samples make about a fortnight: at least one, at most fifteen."""
    interval = typical_interval_d(samples.time)
    if not np.isfinite(interval) or interval <= 0.0:
        return 1
    return int(np.clip(round(days / interval), 1, min(15, max(len(samples) // 4, 1))))


def _findings(ready: Prepared, parameters: VelocityParameters) -> tuple[Finding, ...]:
    found = [
        Finding(
            FindingKind.STEP,
            time_of(step.earliest),
            time_of(step.latest),
            step.size,
            step.sigma,
            step.score,
            parameters.unit,
            "detected",
            {"time": time_of(step.year).isoformat()},
        )
        for step in ready.detected
    ]
    disagreement = _disagreement(ready, parameters)
    return tuple(found if disagreement is None else [*found, disagreement])


def _disagreement(ready: Prepared, parameters: VelocityParameters) -> Finding | None:
    """MIDAS and the trajectory differ by more than three times their common sigma."""
    if ready.fit is None or ready.midas is None or ready.span_a < SEASONAL_SPAN_A or ready.sparse:
        return None
    difference = ready.midas.rate - ready.fit.value_of("rate")
    sigma = float(np.hypot(ready.midas.rate_sigma, ready.fit.sigma_of("rate")))
    if sigma == 0.0 or abs(difference) <= 3.0 * sigma:
        return None
    return Finding(
        FindingKind.DISAGREEMENT,
        aware(ready.samples.time[0]),
        aware(ready.samples.time[-1]),
        difference,
        sigma,
        abs(difference) / sigma,
        f"{parameters.unit}/a",
        "detected",
        {"trajectory_rate": ready.fit.value_of("rate"), "midas_rate": ready.midas.rate},
    )

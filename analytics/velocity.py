"""The method `velocity`: rate, seasons, steps, noise, MIDAS and forecast of one datastream.

The rate's sigma is the one that the noise model with the best BIC implies, never that of white noise unless
the residuals are white. This file holds the method; what it shares with others is in `preparation`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from analytics.forecast import forecast
from analytics.levelling import change_between_epochs
from analytics.method import aware, make_run, time_of, year_of
from analytics.preparation import Prepared, VelocityParameters, given_sigmas, prepare
from analytics.rate_changes import acceleration_of, find_rate_change
from analytics.sampling import Samples, typical_interval_d
from analytics.trajectory import SEASONAL_SPAN_A, TrajectoryFit, model_as_json
from domain.finding import Finding, FindingKind, Outcome, Scalar
from domain.model import StationEvent, ValueKind
from domain.quality import Quality

__all__ = ["VelocityParameters", "describe", "newest_count", "outcome", "prepare", "run"]

NAME, VERSION = "velocity", "5"
SIGMA_UNKNOWN = "sigma_unknown"
DISAGREEMENT_SHARE = 0.25
"""A mark whose rate changes has a mean and a median rate that differ a little; that alone is no finding."""


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
        Status "ok", "interim" (span below 2.5 a, or a rate from surveys whose sigmas nobody knows; the latter has no
        sigma) or "cannot_tell".
    """
    return outcome(samples, events, parameters, prepare(samples, events, parameters, now))


def outcome(samples: Samples, events: Sequence[StationEvent], parameters: VelocityParameters, ready: Prepared) -> Outcome:
    """Write down a prepared fit."""
    result = describe(ready, parameters)
    status = _status(ready)
    record = make_run((NAME, VERSION), samples, events, parameters, status, result)
    return Outcome(record, _scalars(ready, parameters, status), _findings(ready, parameters, result.get("rate_change")))


def _status(ready: Prepared) -> str:
    if ready.fit is None:
        return "cannot_tell" if ready.unweighted is None else "interim"
    return "interim" if ready.span_a < SEASONAL_SPAN_A else "ok"


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
        result |= {"midas_rate": ready.midas.rate, "midas_n_used": ready.midas.n_used, "midas_n_pairs": ready.midas.n_pairs}
        if ready.midas.rate_sigma is not None:
            result["midas_sigma"] = ready.midas.rate_sigma
    for level in _cumulative(ready, parameters):
        result |= {"cumulative": level.value, "cumulative_unit": level.unit}
        if level.sigma is not None:
            result["cumulative_sigma"] = level.sigma
    if ready.unweighted is not None:
        result |= {"rate": ready.unweighted.value_of("rate"), "reason": SIGMA_UNKNOWN}
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
        "doubtful_steps": _doubtful(ready),
        "forecast": None if ahead is None else ahead.as_json(),
    }
    if fit.model.acceleration:
        result["acceleration"] = fit.value_of("acceleration")
        result["acceleration_sigma"] = fit.sigma_of("acceleration")
    elif ready.certain is not None and not ready.sparse:
        result |= _bends(ready, ready.certain)
    for kind, terms in (("logarithm", fit.model.logarithms), ("exponential", fit.model.exponentials)):
        for j, (onset, constant_a) in enumerate(terms):
            told = {"kind": kind, "time": time_of(onset), "constant_a": constant_a}
            told |= {"size": fit.value_of(f"{kind}_{j}"), "sigma": fit.sigma_of(f"{kind}_{j}")}
            result.setdefault("transients", []).append(told)
    for cycles, label in ((1, "annual"), (2, "semiannual")):
        if cycles in fit.model.harmonics:
            amplitude, sigma, phase = fit.amplitude_of(cycles)
            result |= {
                f"{label}_amplitude": amplitude,
                f"{label}_amplitude_sigma": sigma,
                f"{label}_phase": phase,
            }
    return result


def _bends(ready: Prepared, fit: TrajectoryFit) -> dict[str, Any]:
    """Acceleration and change of rate beside the straight trajectory; what the noise explains is left out."""
    years, values = ready.years[ready.kept], ready.samples.value[ready.kept]
    told: dict[str, Any] = {}
    bend = acceleration_of(years, values, fit)
    if bend is not None:
        told |= {"acceleration": bend[0], "acceleration_sigma": bend[1]}
    change = find_rate_change(years, values, fit)
    if change is not None:
        told["rate_change"] = {
            "time": time_of(change.year),
            "earliest": time_of(change.earliest),
            "latest": time_of(change.latest),
            "change": change.change,
            "sigma": change.sigma,
            "lower_95": change.lower,
            "upper_95": change.upper,
            "rate_before": change.rate_before,
            "rate_after": change.rate_after,
            "score": change.score,
        }
    return told


def _steps(ready: Prepared, fit: TrajectoryFit) -> list[dict[str, Any]]:
    """Steps of the fit with where they come from; offsets of stated size that were taken off come too."""
    sources = {year_of(event.start): ("log", event) for event in ready.logged}
    doubtful = {step.year for step in ready.doubtful}
    found = []
    for j, year in enumerate(fit.model.steps):
        if year in doubtful:
            continue
        source, event = sources.get(year, ("detected", None))
        found.append(
            {
                "time": event.start if event is not None else _epoch_of(ready, year),
                "size": fit.value_of(f"step_{j}"),
                "sigma": fit.sigma_of(f"step_{j}"),
                "source": source,
            }
        )
    if ready.sparse:
        stated = [event for event in ready.logged if event.size is not None]
        found += [{"time": e.start, "size": e.size, "sigma": None, "source": "stated"} for e in stated]
    return found


def _doubtful(ready: Prepared) -> list[dict[str, Any]]:
    """Steps that are likely and not told: their share of the rate and of its sigma is in the fit already."""
    return [
        {"time": _epoch_of(ready, step.year), "probability": step.probability, "size": step.size, "sigma": step.sigma}
        for step in ready.doubtful
    ]


def _epoch_of(ready: Prepared, year: float) -> datetime:
    """The sampling epoch of a detected step: its year is that of the first sample after it."""
    return aware(ready.samples.time[int(np.argmin(np.abs(ready.years - year)))])


def _last_change(ready: Prepared) -> dict[str, Any]:
    """Significance of the change between the two newest surveys."""
    sigmas = given_sigmas(ready.samples)
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
    if ready.unweighted is not None:
        rate = ready.unweighted.value_of("rate")
        return (Scalar("velocity", unit, end, rate, None, Quality.UNKNOWN, ("interim", SIGMA_UNKNOWN)), *level)
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
    """Change since the first epoch of the segment, logged offsets taken off, medians of about a fortnight.

    Its sigma is that of the two ends, given or estimated; two surveys without given sigmas have a change and no sigma.
    """
    fit = ready.fit or ready.unweighted
    if parameters.value_kind == ValueKind.TOTAL or fit is None:
        return ()
    value = ready.samples.value.copy()
    for j, year in enumerate(fit.model.steps):
        if any(year_of(event.start) == year for event in ready.logged):
            value -= np.where(ready.years >= year, fit.value_of(f"step_{j}"), 0.0)
    few = newest_count(ready.samples)
    change = float(np.median(value[-few:]) - np.median(value[:few]))
    end = aware(ready.samples.time[-1])
    if ready.fit is None:
        return (Scalar("cumulative", parameters.unit, end, change),)
    sigmas = given_sigmas(ready.samples) if ready.sparse else None
    ends = (ready.fit.noise.scale, ready.fit.noise.scale) if sigmas is None else (sigmas[0], sigmas[-1])
    return (Scalar("cumulative", parameters.unit, end, change, float(np.hypot(*ends))),)


def newest_count(samples: Samples, days: float = 14.0) -> int:
    """How many samples make about a fortnight: at least one, at most fifteen."""
    interval = typical_interval_d(samples.time)
    if not np.isfinite(interval) or interval <= 0.0:
        return 1
    return int(np.clip(round(days / interval), 1, min(15, max(len(samples) // 4, 1))))


def _findings(ready: Prepared, parameters: VelocityParameters, change: Mapping[str, Any] | None = None) -> tuple[Finding, ...]:
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
            {"time": _epoch_of(ready, step.year).isoformat()},
        )
        for step in ready.detected
    ]
    if change is not None:
        told = {name: change[name] for name in ("lower_95", "upper_95", "rate_before", "rate_after")}
        told["time"] = change["time"].isoformat()
        unit = f"{parameters.unit}/a"
        when, size = (change["earliest"], change["latest"]), (change["change"], change["sigma"], change["score"])
        found.append(Finding(FindingKind.RATE_CHANGE, *when, *size, unit, "detected", told))
    disagreement = _disagreement(ready, parameters)
    return tuple(found if disagreement is None else [*found, disagreement])


def _disagreement(ready: Prepared, parameters: VelocityParameters) -> Finding | None:
    """MIDAS and the trajectory differ by more than three common sigmas and a quarter of the rate."""
    if ready.fit is None or ready.midas is None or ready.span_a < SEASONAL_SPAN_A or ready.sparse:
        return None
    if ready.midas.rate_sigma is None:
        return None
    difference = ready.midas.rate - ready.fit.value_of("rate")
    sigma = float(np.hypot(ready.midas.rate_sigma, ready.fit.sigma_of("rate")))
    larger = max(abs(ready.midas.rate), abs(ready.fit.value_of("rate")))
    if sigma == 0.0 or abs(difference) <= max(3.0 * sigma, DISAGREEMENT_SHARE * larger):
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

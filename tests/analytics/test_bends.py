"""Changes of rate, accelerations and transients: recovered where planted, not invented on flicker noise."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from analytics import METHODS, Samples
from analytics.rate_changes import acceleration_of, find_rate_change
from analytics.trajectory import choose_model, fit_trajectory
from analytics.transients import with_transients
from analytics.velocity import VelocityParameters
from domain.finding import FindingKind
from domain.model import EventEffect, EventKind, StationEvent
from tests.analytics.simulation import coloured_noise, days, years_since

N = 2600


def _noise(seed: int) -> np.ndarray:
    return coloured_noise(np.random.default_rng(seed), N, 1.5, 4.0)


def test_a_change_of_rate_is_dated_and_its_interval_holds_it() -> None:
    years = years_since(N)
    values = _noise(1) - 4.0 * years - 10.0 * np.maximum(years - 4.0, 0.0)
    result = METHODS["velocity"].run(Samples(days(N), values), [], VelocityParameters(), datetime(2040, 1, 1, tzinfo=UTC))
    told = result.run.result["rate_change"]
    assert told["lower_95"] <= -10.0 <= told["upper_95"]
    assert abs(datetime.fromisoformat(told["time"]).timestamp() - datetime(2020, 1, 1, tzinfo=UTC).timestamp()) < 120 * 86400
    findings = [finding for finding in result.findings if finding.kind == FindingKind.RATE_CHANGE]
    assert len(findings) == 1
    assert findings[0].unit == "mm/a"
    assert findings[0].start <= datetime(2020, 1, 20, tzinfo=UTC)
    assert (findings[0].end or findings[0].start) >= datetime(2019, 12, 10, tzinfo=UTC)


def test_flicker_noise_does_not_change_its_rate() -> None:
    years = years_since(N)
    found = 0
    for seed in range(20, 28):
        values = _noise(seed) - 4.0 * years
        fit = fit_trajectory(years, values, choose_model(years), ("flicker_white",))
        found += find_rate_change(years, values, fit) is not None
    assert found == 0


def test_an_acceleration_is_twice_the_quadratic_coefficient() -> None:
    years = years_since(N)
    values = 0.1 * _noise(2) + 3.0 * years + 0.5 * 1.5 * years**2
    fit = fit_trajectory(years, values, choose_model(years), ("powerlaw_white",))
    found = acceleration_of(years, values, fit)
    assert found is not None
    assert found[0] == pytest.approx(1.5, abs=0.1)
    assert abs(found[0] - 1.5) < 4.0 * found[1]


def test_the_transient_of_a_logged_earthquake_is_fitted_and_told() -> None:
    years = years_since(N)
    shaken = days(N)[1200]
    since = np.maximum(years - years[1200], 0.0)
    values = 0.5 * _noise(3) - 2.0 * years + 20.0 * (years >= years[1200]) + 15.0 * (1.0 - np.exp(-since / 0.3))
    when = datetime.fromisoformat(str(shaken)).replace(tzinfo=UTC)
    log = [StationEvent("A", EventKind.EARTHQUAKE, when, effect=EventEffect.OFFSET)]
    told = METHODS["velocity"].run(
        Samples(days(N), values), log, VelocityParameters(find_steps=False), datetime(2040, 1, 1, tzinfo=UTC)
    )
    result = told.run.result
    assert [transient["kind"] for transient in result["transients"]] == ["exponential"]
    assert result["transients"][0]["size"] == pytest.approx(15.0, abs=3.0)
    assert abs(result["rate"] + 2.0) < 4.0 * result["rate_sigma"]


def test_a_shock_that_only_steps_gets_no_transient() -> None:
    years = years_since(N)
    values = _noise(5) + 20.0 * (years >= years[1200])
    model = choose_model(years, [float(years[1200])])
    fit = fit_trajectory(years, values, model, ("flicker_white",))
    assert with_transients(years, values, model, [float(years[1200])], fit.noise) == model

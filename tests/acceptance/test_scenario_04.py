"""Scenario 4: an antenna step of +12 mm in the middle of four years must not turn subsidence into rebound."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from analytics import AnalysisSettings, Samples, analyse_datastream
from analytics.method import aware
from analytics.midas import midas
from analytics.sampling import day_epochs
from domain.model import EventEffect, EventKind, StationEvent
from tests.analytics.simulation import coloured_noise, days, years_since

N = 4 * 365 + 1
STEP_AT = N // 2


def stepped_series(white: float, flicker: float) -> Samples:
    """True rate -4 mm/a over four years, seasons, coloured noise, +12 mm from the middle on."""
    t = years_since(N)
    noise = coloured_noise(np.random.default_rng(40), N, white, flicker)
    season = 2.0 * np.sin(2.0 * np.pi * t)
    return Samples(days(N, "2021-01-01"), -4.0 * t + season + noise + np.where(np.arange(N) >= STEP_AT, 12.0, 0.0))


def test_the_naive_fit_says_rebound() -> None:
    samples = stepped_series(1.0, 2.0)
    naive = np.polyfit(years_since(N), samples.value, 1)[0]
    assert naive == pytest.approx(0.5, abs=0.6)


def test_the_service_with_its_log_says_subsidence_and_shows_the_event() -> None:
    samples = stepped_series(1.0, 2.0)
    when = datetime(2021, 1, 1, tzinfo=UTC) + timedelta(days=STEP_AT)
    log = [StationEvent("JX01", EventKind.ANTENNA_CHANGE, when, effect=EventEffect.OFFSET)]
    now = aware(samples.time[-1]) + timedelta(days=1)
    result = analyse_datastream(samples, log, AnalysisSettings("mm"), now)[0].run.result
    assert abs(result["rate"] + 4.0) < 2.0 * result["rate_sigma"]
    assert abs(result["rate"] + 4.0) < 1.0
    assert abs(result["midas_rate"] + 4.0) < 0.7
    (step,) = result["steps"]
    assert step["time"] == when.isoformat().replace("+00:00", "Z")
    assert step["source"] == "log"
    assert abs(step["size"] - 12.0) < 3.0 * step["sigma"]


def test_without_the_log_midas_and_the_search_for_steps_still_say_subsidence() -> None:
    samples = stepped_series(1.0, 2.0)
    robust = midas(day_epochs(samples.time), samples.value)
    assert robust is not None
    assert abs(robust.rate + 4.0) < 1.0
    now = aware(samples.time[-1]) + timedelta(days=1)
    outcome = analyse_datastream(samples, [], AnalysisSettings("mm"), now)[0]
    assert abs(outcome.run.result["rate"] + 4.0) < 1.0
    assert [step["source"] for step in outcome.run.result["steps"]] == ["detected"]
    (finding,) = outcome.findings
    assert abs((finding.start - aware(samples.time[STEP_AT])).days) <= 3

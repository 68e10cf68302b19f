"""Scenario 3: a change at a levelling mark is judged by its class and its distance from the bedrock mark."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from analytics import AnalysisSettings, Samples, analyse_datastream
from analytics.levelling import change_between_epochs, levelling_sigma_mm


@pytest.mark.parametrize(
    ("levelling_class", "distance_km", "sigma_mm", "significant"),
    [("II", 50.0, 10.0, False), ("I", 5.0, 1.4, True)],
)
def test_eight_millimetres_count_near_the_bedrock_mark_only(
    levelling_class: str, distance_km: float, sigma_mm: float, significant: bool
) -> None:
    sigma = levelling_sigma_mm(levelling_class, distance_km)
    change = change_between_epochs(-8.0, sigma, sigma)
    assert change.sigma == pytest.approx(sigma_mm, abs=0.05)
    assert change.is_significant is significant


@pytest.mark.parametrize(("levelling_class", "distance_km", "significant"), [("II", 50.0, False), ("I", 5.0, True)])
def test_the_method_judges_the_newest_survey_of_a_mark_the_same_way(
    levelling_class: str, distance_km: float, significant: bool
) -> None:
    sigma_m = levelling_sigma_mm(levelling_class, distance_km) / 1000.0
    times = np.array(["2024-05-01", "2025-05-01"], dtype="datetime64[us]")
    samples = Samples(times, np.array([2.1000, 2.0920]), np.full(2, sigma_m))
    settings = AnalysisSettings("m", property_code="height", sparse=True)
    velocity, recent = analyse_datastream(samples, [], settings, datetime(2025, 6, 1, tzinfo=UTC))[:2]
    last = velocity.run.result["last_change"]
    assert last["change"] == pytest.approx(-8.0)
    assert last["significant"] is significant
    rate = recent.scalars[0]
    assert rate.value == pytest.approx(-8.0, abs=0.05)
    assert rate.sigma is not None
    # What the rules ask before a colour is issued: does the rate stay beyond 5 mm/a one sigma nearer to zero?
    assert (abs(rate.value or 0.0) - rate.sigma >= 5.0) is significant

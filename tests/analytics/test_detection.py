"""Detection on bare series and the contract of the registry."""

from __future__ import annotations

from dataclasses import is_dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from analytics import METHODS, Samples, detect_in_series
from tests.analytics.simulation import gnss_like

DOCUMENTS = Path(__file__).resolve().parents[2] / "docs" / "methods"


def test_indices_count_the_rows_as_given() -> None:
    values = np.random.default_rng(1).normal(size=500)
    values[300] = 60.0
    values[[5, 50, 299]] = np.nan
    values[100] = np.inf
    found = detect_in_series(np.arange(500.0) * 3600.0, values, is_time=True)
    assert found.n == 500
    assert [(a.start_index, a.kind) for a in found.anomalies] == [(300, "spike")]


def test_a_change_of_level_is_one_change_point() -> None:
    values = np.random.default_rng(2).normal(size=600)
    values[400:] += 5.0
    found = detect_in_series(np.arange(600.0), values, is_time=False)
    assert [point.index for point in found.change_points] == [400]


@pytest.mark.parametrize("n", [0, 1, 5])
def test_a_bare_series_of_nothing_has_no_findings(n: int) -> None:
    found = detect_in_series(np.arange(float(n)), np.full(n, np.nan), is_time=False)
    assert (found.anomalies, found.change_points) == ((), ())


def test_twenty_thousand_samples_hold_no_alarm_when_clean() -> None:
    t = np.arange(20_000)
    values = np.sin(2 * np.pi * t / 288.0) + 0.05 * np.random.default_rng(3).normal(size=t.size)
    found = detect_in_series(t * 300.0, values, is_time=True)
    assert found.anomalies == ()
    assert found.change_points == ()


@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_defaults_a_page_and_one_name(name: str) -> None:
    method = METHODS[name]
    assert method.name == name
    assert method.version
    assert is_dataclass(method.parameters)
    page = (DOCUMENTS / method.document).read_text(encoding="utf-8")
    for heading in ("## Equations", "## Gaps and limits", "## References"):
        assert heading in page
    samples = gnss_like(1, 400)
    outcome = method.run(samples, [], method.parameters(), datetime(2040, 1, 1, tzinfo=UTC))
    assert outcome.run.method == name
    assert len(outcome.run.input_digest) == 64
    again = method.run(Samples(samples.time, samples.value), [], method.parameters(), datetime(2040, 1, 1, tzinfo=UTC))
    assert again == outcome

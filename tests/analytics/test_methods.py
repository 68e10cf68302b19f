"""The methods as the worker calls them: every kind of series answers sensibly, never raises, never NaN."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from analytics import METHODS, AnalysisSettings, LimitLine, Samples, analyse_datastream, fit_curve, input_digest
from analytics.limits import LimitParameters
from analytics.method import aware, plain
from analytics.sampling import decimal_years
from analytics.velocity import VelocityParameters
from domain.finding import FindingKind, Outcome
from domain.model import EventEffect, EventKind, StationEvent, ValueKind
from tests.analytics.simulation import days, gnss_like, hours, read_tenv3, years_since

LIMITS = (LimitLine("blue", -60.0, rising=False), LimitLine("high", 1e6, rising=True))


def after(samples: Samples) -> datetime:
    return aware(samples.time[-1]) + timedelta(days=1)


def by_method(outcomes: list[Outcome]) -> dict[str, Outcome]:
    return {outcome.run.method: outcome for outcome in outcomes}


def event(when: datetime, effect: EventEffect, size: float | None = None, end: datetime | None = None) -> StationEvent:
    return StationEvent("S1", EventKind.ANTENNA_CHANGE, when, end, effect, size=size)


@pytest.mark.parametrize("station", ["PUHI", "PUHR", "DVLT"])
def test_the_method_gives_the_published_midas_velocities(shared_data: Path, station: str) -> None:
    expected = json.loads((shared_data / "gnss/ngl_tenv3/expected.json").read_text())["stations"][station]
    _, times, components = read_tenv3(shared_data / f"gnss/ngl_tenv3/{station}.tenv3")
    parameters = VelocityParameters(find_steps=False, noise_models=("white",))
    for name, values in components.items():
        samples = Samples(times, values)
        result = METHODS["velocity"].run(samples, [], parameters, after(samples)).run.result
        assert result["midas_rate"] == pytest.approx(1000.0 * expected["vel_m_yr"][name], abs=0.001)
        assert (result["midas_n_used"], result["midas_n_pairs"]) == (expected["n_used"], expected["n_pairs"])


SERIES = {
    "empty": Samples(days(0), np.zeros(0)),
    "one": Samples(days(1), np.ones(1)),
    "two": Samples(days(2), np.ones(2)),
    "constant": Samples(days(900), np.full(900, 3.0)),
    "all missing": Samples(days(400), np.full(400, np.nan)),
    "all refused": Samples(days(400), np.ones(400), None, np.full(400, 4, dtype=np.uint8)),
    "surveys": Samples(days(9)[0] + np.arange(9) * np.timedelta64(365, "D"), np.linspace(0.0, -40.0, 9), np.full(9, 2.0)),
    "surveys without sigma": Samples(days(9)[0] + np.arange(9) * np.timedelta64(180, "D"), np.linspace(0.0, 9.0, 9)),
    "hourly": Samples(hours(24 * 120), 5.0 + np.sin(np.arange(24 * 120) / 2.0)),
    "infinite": Samples(days(500), np.where(np.arange(500) == 7, np.inf, 1.0 * np.arange(500))),
    "line": Samples(days(1500), -0.02 * np.arange(1500)),
    "far apart": Samples(days(2)[0] + np.arange(2) * np.timedelta64(20_000, "D"), np.array([0.0, 1.0])),
    "same instant": Samples(np.repeat(days(1), 30), np.arange(30.0)),
    "ten minutes": Samples(days(1)[0] + np.arange(3000) * np.timedelta64(10, "m"), np.sin(np.arange(3000) / 300.0)),
}


@pytest.mark.parametrize("name", SERIES)
@pytest.mark.parametrize("kind", list(ValueKind))
@pytest.mark.parametrize("sparse", [None, True])
def test_every_series_is_answered_in_plain_json(name: str, kind: ValueKind, sparse: bool | None) -> None:
    samples = SERIES[name]
    settings = AnalysisSettings("mm", value_kind=kind, sparse=sparse, limits=LIMITS)
    outcomes = analyse_datastream(samples, [], settings, datetime(2035, 1, 1, tzinfo=UTC))
    assert {outcome.run.method for outcome in outcomes} == set(METHODS)
    for outcome in outcomes:
        json.dumps([outcome.run.result, outcome.run.parameters], allow_nan=False)
        assert outcome.run.status in {"ok", "interim", "cannot_tell"}
        for scalar in outcome.scalars:
            assert scalar.value is None or np.isfinite(scalar.value)
            assert scalar.sigma is None or np.isfinite(scalar.sigma)


@pytest.mark.parametrize("name", ["empty", "one", "all missing", "all refused"])
def test_nothing_to_go_by_is_cannot_tell(name: str) -> None:
    outcomes = analyse_datastream(SERIES[name], [], AnalysisSettings("mm", limits=LIMITS), datetime(2030, 1, 1, tzinfo=UTC))
    assert {outcome.run.status for outcome in outcomes} == {"cannot_tell"}
    assert all(scalar.value is None for outcome in outcomes for scalar in outcome.scalars)


def test_each_method_alone_says_what_all_together_say() -> None:
    samples = gnss_like(3, 1300)
    base = VelocityParameters(unit="mm")
    together = by_method(analyse_datastream(samples, [], AnalysisSettings("mm", limits=LIMITS), after(samples)))
    for name, method in METHODS.items():
        parameters = base if name == "velocity" else method.parameters(base)
        if name == "time_to_limit":
            parameters = LimitParameters(base, LIMITS)
        assert method.run(samples, [], parameters, after(samples)) == together[name]


def test_the_same_input_gives_the_same_digits_and_digest() -> None:
    samples = gnss_like(5, 800)
    first = analyse_datastream(samples, [], AnalysisSettings("mm"), after(samples))
    second = analyse_datastream(samples, [], AnalysisSettings("mm"), after(samples))
    assert first == second
    events = [event(datetime(2017, 1, d, tzinfo=UTC), EventEffect.OFFSET) for d in (1, 2)]
    digest = input_digest(samples, events, VelocityParameters())
    assert digest == input_digest(samples, events[::-1], VelocityParameters())
    altered = samples.value.copy()
    altered[100] += 1e-9
    others = [
        input_digest(Samples(samples.time, altered), events, VelocityParameters()),
        input_digest(samples, events[:1], VelocityParameters()),
        input_digest(samples, events, VelocityParameters(unit="m")),
        input_digest(samples.where(np.arange(800) < 799), events, VelocityParameters()),
    ]
    assert digest not in others
    assert len(set(others)) == 4


def test_samples_after_now_play_no_part() -> None:
    samples = gnss_like(5, 900)
    now = aware(samples.time[699])
    early = METHODS["velocity"].run(samples, [], VelocityParameters(), now).run.result
    known = METHODS["velocity"].run(samples.where(np.arange(900) < 700), [], VelocityParameters(), now).run.result
    assert plain(early) == plain(known)


def test_heights_in_metres_are_judged_in_millimetres_and_charted_in_metres() -> None:
    times = days(1)[0] + np.arange(8) * np.timedelta64(365, "D")
    heights = 3.0 - 0.010 * np.arange(8)
    samples = Samples(times, heights, np.full(8, 0.001))
    settings = AnalysisSettings("m", property_code="height", limits=(LimitLine("low", 2.92, rising=False),))
    outcomes = by_method(analyse_datastream(samples, [], settings, after(samples)))
    scalars = {scalar.name: scalar for scalar in outcomes["velocity"].scalars}
    assert scalars["velocity"].unit == "mm/a"
    assert scalars["velocity"].value == pytest.approx(-10.0, rel=0.01)
    assert scalars["cumulative"].value == pytest.approx(-70.0, rel=0.01)
    curve = fit_curve(outcomes["velocity"].run.result, np.array([2016.5, 2020.5]))
    np.testing.assert_allclose(curve.value, [2.995, 2.955], atol=0.001)
    limit = outcomes["time_to_limit"].run.result["limits"]["low"]
    assert limit["status"] == "within"
    assert limit["time"][:7] in {"2023-12", "2024-01"}


def test_an_exclusion_drops_its_span_and_a_break_begins_anew() -> None:
    samples = gnss_like(8, 1500, white=1.0, power_law=1.0)
    spoiled = samples.value.copy()
    spoiled[400:500] += 200.0
    spoiled[700:] += 3000.0
    events = [
        event(aware(samples.time[400]), EventEffect.EXCLUDE, end=aware(samples.time[500])),
        event(aware(samples.time[300]), EventEffect.BREAK),
    ]
    cut = [*events, event(aware(samples.time[700]), EventEffect.BREAK)]
    result = METHODS["velocity"].run(Samples(samples.time, spoiled), cut, VelocityParameters(), after(samples)).run.result
    assert result["n"] == 800
    assert result["interim"] is True
    assert abs(result["rate"] + 4.0) < 4.0 * result["rate_sigma"]


def test_a_stated_offset_of_a_survey_is_taken_off() -> None:
    times = days(1)[0] + np.arange(6) * np.timedelta64(365, "D")
    values = -5.0 * np.arange(6) + np.where(np.arange(6) >= 3, 100.0, 0.0)
    samples = Samples(times, values, np.full(6, 1.0))
    events = [event(aware(times[3]), EventEffect.OFFSET, size=100.0)]
    result = METHODS["velocity"].run(samples, events, VelocityParameters(sparse=True), after(samples)).run.result
    assert result["rate"] == pytest.approx(-5.0, abs=0.01)
    assert result["steps"] == [{"time": "2018-12-31T00:00:00Z", "size": 100.0, "sigma": None, "source": "stated"}]


def test_the_last_year_has_its_own_rate() -> None:
    n = 365 * 6
    t = years_since(n)
    bend = t[-1] - 1.0
    noise = gnss_like(9, n, rate=0.0, white=1.5, power_law=1.5).value
    samples = Samples(days(n), noise - 3.0 * t - 20.0 * np.maximum(t - bend, 0.0))
    outcomes = by_method(analyse_datastream(samples, [], AnalysisSettings("mm", find_steps=False), after(samples)))
    recent = outcomes["rate_12mo"].scalars[0]
    assert recent.value is not None
    assert recent.sigma is not None
    assert abs(recent.value + 23.0) < 4.0 * recent.sigma
    assert recent.sigma < 4.0


@pytest.mark.parametrize(("keep_last", "age_d", "reason"), [(30, 1, "coverage"), (365, 100, "stale"), (365, 1, None)])
def test_the_recent_rate_refuses_thin_or_old_records(keep_last: int, age_d: int, reason: str | None) -> None:
    samples = gnss_like(2, 1500)
    keep = (np.arange(1500) < 1100) | (np.arange(1500) >= 1500 - keep_last)
    thinned = samples.where(keep)
    now = aware(thinned.time[-1]) + timedelta(days=age_d)
    parameters = METHODS["rate_12mo"].parameters(replace(VelocityParameters(), find_steps=False))
    outcome = METHODS["rate_12mo"].run(thinned, [], parameters, now)
    assert outcome.run.result["reason"] == reason
    assert (outcome.scalars[0].value is None) == (reason is not None)


def test_a_limit_ahead_is_dated_with_an_interval() -> None:
    samples = gnss_like(12, 365 * 9, rate=-10.0, white=2.0, power_law=4.0)
    limits = (
        LimitLine("soon", -105.0, rising=False),
        LimitLine("passed", -50.0, rising=False),
        LimitLine("far", -900.0, rising=False),
    )
    outcomes = by_method(analyse_datastream(samples, [], AnalysisSettings("mm", limits=limits), after(samples)))
    answers = outcomes["time_to_limit"].run.result["limits"]
    assert answers["passed"]["status"] == "reached"
    assert answers["far"]["status"] == "beyond_horizon"
    soon = answers["soon"]
    assert soon["status"] == "within"
    assert soon["earliest"] < soon["time"] < (soon["latest"] or "9999")
    assert abs(float(soon["years_ahead"]) - 1.5) < 0.8


def test_a_planted_spike_and_an_unlogged_step_become_findings() -> None:
    samples = gnss_like(13, 1600)
    values = samples.value.copy()
    values[500] += 90.0
    values[1000:] += 30.0
    outcomes = analyse_datastream(Samples(samples.time, values), [], AnalysisSettings("mm"), after(samples))
    found = [finding for outcome in outcomes for finding in outcome.findings]
    kinds = {finding.kind: finding for finding in found}
    assert kinds[FindingKind.SPIKE].start == aware(samples.time[500])
    step = kinds[FindingKind.STEP]
    assert step.size is not None
    assert abs(step.size - 30.0) < 8.0
    assert abs((step.start - aware(samples.time[1000])).days) <= 6
    assert len(found) == 2


def test_a_clean_series_has_no_findings() -> None:
    for seed in range(20, 26):
        samples = gnss_like(seed, 1400)
        outcomes = analyse_datastream(samples, [], AnalysisSettings("mm"), after(samples))
        assert [finding for outcome in outcomes for finding in outcome.findings] == []


def test_the_stored_run_gives_curve_and_band_back() -> None:
    samples = gnss_like(14, 1400)
    result = METHODS["velocity"].run(samples, [], VelocityParameters(), after(samples)).run.result
    stored = json.loads(json.dumps(result))
    end, third = stored["end_year"], (1399 / 365.25) / 3.0
    curve = fit_curve(stored, np.array([end - 1.0, end - 10.0, end + 0.5, end + third * 0.99, end + third * 1.1]))
    assert np.isfinite(curve.value).tolist() == [True, False, True, True, False]
    assert curve.is_forecast.tolist() == [False, False, True, True, False]
    width = curve.upper - curve.lower
    assert width[3] > width[2] > width[0]


def test_the_forecast_band_covers_what_came() -> None:
    inside, total = 0, 0
    for seed in range(12):
        samples = gnss_like(300 + seed, 1800, white=2.0, power_law=6.0)
        known = samples.where(np.arange(1800) < 1400)
        parameters = VelocityParameters(find_steps=False, noise_models=("white", "flicker_white", "powerlaw_white"))
        result = METHODS["velocity"].run(known, [], parameters, after(known)).run.result
        curve = fit_curve(result, decimal_years(samples.time[1400:]))
        inside += int(np.sum((samples.value[1400:] > curve.lower) & (samples.value[1400:] < curve.upper)))
        total += 400
    assert 0.85 <= inside / total <= 1.0


SURVEYS = np.array(["2003-05-10", "2023-05-10"], dtype="datetime64[us]")
TWENTY_YEARS = 7305 / 365.25


def surveyed(samples: Samples, events: list[StationEvent] | None = None) -> Outcome:
    settings = AnalysisSettings("m", property_code="height")
    return by_method(analyse_datastream(samples, events or [], settings, datetime(2026, 1, 1, tzinfo=UTC)))["velocity"]


def test_two_surveys_with_sigmas_have_a_change_and_a_rate_with_theirs() -> None:
    outcome = surveyed(Samples(SURVEYS, np.array([2.1, 2.065]), np.array([0.003, 0.004])))
    scalars = {scalar.name: scalar for scalar in outcome.scalars}
    assert outcome.run.status == "ok"
    assert scalars["cumulative"].value == pytest.approx(-35.0)
    assert scalars["cumulative"].sigma == pytest.approx(5.0)
    assert scalars["velocity"].value == pytest.approx(-35.0 / TWENTY_YEARS)
    assert scalars["velocity"].sigma == pytest.approx(5.0 / TWENTY_YEARS)
    assert scalars["midas_velocity"].sigma is None


@pytest.mark.parametrize("heights", [[2.1, 2.065], [2.1, 2.0825, 2.065]])
def test_surveys_whose_scatter_tells_nothing_have_a_change_and_a_rate_without_sigma(heights: list[float]) -> None:
    times = SURVEYS[0] + (np.linspace(0.0, 1.0, len(heights)) * (SURVEYS[1] - SURVEYS[0]).astype(float)).astype("timedelta64[us]")
    outcome = surveyed(Samples(times, np.array(heights)))
    scalars = {scalar.name: scalar for scalar in outcome.scalars}
    assert outcome.run.status == "interim"
    assert (scalars["cumulative"].sigma, scalars["velocity"].sigma) == (None, None)
    assert scalars["cumulative"].value == pytest.approx(-35.0)
    assert scalars["velocity"].value == pytest.approx(-35.0 / TWENTY_YEARS)
    assert outcome.run.result["reason"] == "sigma_unknown"
    assert not {"rate_sigma", "cumulative_sigma"} & set(outcome.run.result)


def test_a_stated_offset_between_two_surveys_is_taken_off_their_change_and_an_unknown_one_leaves_none() -> None:
    samples = Samples(SURVEYS, np.array([2.1, 2.065]))
    moved = datetime(2010, 1, 1, tzinfo=UTC)
    stated = surveyed(samples, [event(moved, EventEffect.OFFSET, size=-0.020)])
    assert {s.name: s.value for s in stated.scalars}["cumulative"] == pytest.approx(-15.0)
    unknown = surveyed(samples, [event(moved, EventEffect.OFFSET)])
    assert unknown.run.status == "cannot_tell"
    assert "cumulative" not in {scalar.name for scalar in unknown.scalars}


def test_a_detected_step_is_dated_by_the_first_epoch_after_it() -> None:
    generator = np.random.default_rng(3)
    for first in range(300, 306):
        values = generator.normal(0.0, 1.0, 900) + 40.0 * (np.arange(900) >= first)
        samples = Samples(days(900), values)
        outcome = METHODS["velocity"].run(samples, [], VelocityParameters(zone_offset_h=0.0), after(samples))
        expected = aware(samples.time[first])
        assert [step["time"] for step in outcome.run.result["steps"]] == [plain(expected)]
        assert [finding.parameters["time"] for finding in outcome.findings if finding.kind == FindingKind.STEP] == [
            expected.isoformat()
        ]

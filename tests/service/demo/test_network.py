"""The simulated network is believable, reproducible, and comes as the files of the field."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from domain.model import EventEffect, StationKind
from ingest.formats import FORMATS
from ingest.formats.format import ImportContext
from ingest.profile import load_profile
from service.demo.files import write_files
from service.demo.gateway import backlog, payload_of, station_interval_s
from service.demo.ground import LayerModel, compaction_mm, tide_m
from service.demo.network import Demonstration, build
from service.demo.noise import autoregressive, first_order, flicker
from service.demo.signals import schedule, stick_slip

NOW = datetime(2026, 3, 9, 5, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def network() -> Demonstration:
    return build(7, NOW)


def test_the_same_seed_gives_the_same_digits_and_another_seed_others(network: Demonstration) -> None:
    again, other = build(7, NOW), build(8, NOW)
    assert all(np.array_equal(series.result, again.series[code].result) for code, series in network.series.items())
    assert again.truths == network.truths
    assert other.truths != network.truths


def test_the_size_is_what_a_first_start_can_load(network: Demonstration) -> None:
    assert 250_000 < network.observations() < 600_000
    assert set(network.series) == {item.code for item in network.city.datastreams}


def test_nothing_is_in_the_future_and_times_increase(network: Demonstration) -> None:
    last = (NOW - network.first).total_seconds() / 86_400
    for series in network.series.values():
        assert np.all(np.diff(series.days) > 0)
        assert series.days[0] >= 0
        assert series.days[-1] <= last


def test_values_are_physically_plausible(network: Demonstration) -> None:
    limits = {item.code: (item.lowest, item.highest) for item in network.city.properties}
    for code, series in network.series.items():
        lowest, highest = limits[code.split(":")[1]]
        assert lowest is not None
        assert highest is not None
        assert lowest < series.result.min() <= series.result.max() < highest, code
    rates = {truth.datastream: truth.rate for truth in network.truths.velocities}
    assert all(-20.0 < rate < 5.0 for code, rate in rates.items() if code.endswith((":displacement_up", ":height")))
    assert all(
        abs(rates[f"{mark.code}:height"]) < 1e-9 for mark in network.city.stations if mark.kind is StationKind.BEDROCK_MARK
    )


def test_marks_of_one_funnel_tell_the_same_story(network: Demonstration) -> None:
    rates = {truth.datastream: truth.rate for truth in network.truths.velocities}
    gnss, layers = rates["JX-GN01:displacement_up"], rates["JX-EX01:compaction:total"]
    assert gnss == pytest.approx(-layers, rel=1e-6)
    parts = sum(rates[f"JX-EX01:compaction:{name}"] for name in ("L1", "L2", "L3", "L4"))
    assert parts == pytest.approx(layers, rel=1e-6)
    assert rates["JX-BM01:height"] == pytest.approx(gnss, rel=0.12)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_reclaimed_land_is_clearly_orange_over_the_last_year(seed: int) -> None:
    drawn = build(seed, NOW)
    series = drawn.series["JX-EX03:compaction:total"]
    last_year = series.days > series.days[-1] - 365.25
    rate = np.polyfit(series.days[last_year], series.result[last_year], 1)[0] * 365.25
    assert 22.0 < rate < 28.0, "beyond the 20 mm/a of orange and below the 30 of red, with room for the stated uncertainty"
    (truth,) = [item for item in drawn.truths.velocities if item.datastream == "JX-EX03:compaction:total"]
    assert 24.5 < truth.rate < 27.0


def test_only_logged_steps_are_in_the_public_log(network: Demonstration) -> None:
    logged = {(step.datastream.split(":")[0], step.time) for step in network.truths.steps if step.logged}
    assert {(event.station, event.start) for event in network.events} == logged
    assert all(event.effect is EventEffect.OFFSET and event.size is None for event in network.events)
    hidden = {step.datastream.split(":")[0] for step in network.truths.steps if not step.logged}
    assert hidden.isdisjoint(event.station for event in network.events)


def test_planted_gaps_are_empty_and_the_silent_meter_is_silent(network: Demonstration) -> None:
    for gap in network.truths.gaps:
        times = network.series[gap.datastream].times(network.first)
        start, end = (np.datetime64(moment.replace(tzinfo=None)) for moment in (gap.start, gap.end))
        assert not np.any((times >= start) & (times < end))
        assert np.any(times < start)
        assert np.any(times >= end)
    for silent in network.truths.silent:
        station = silent.datastream.split(":")[0]
        assert network.series[silent.datastream].times(network.first)[-1] < np.datetime64(silent.since.replace(tzinfo=None))
        assert silent.datastream.split(":", 1)[1] not in network.live_values(station, [NOW], np.random.default_rng(1))


def test_every_file_is_read_back_to_the_values_that_were_written(network: Demonstration) -> None:
    seen: set[str] = set()
    for file in write_files(network):
        profile = load_profile(file.profile or "levelling") if file.profile or file.format == "levelling" else None
        context = ImportContext(file.name, zone=file.zone, frame=file.frame)
        payload = FORMATS[file.format].parse(file.body, profile, context)
        assert payload.rejected == ()
        for index, stream in enumerate(payload.streams):
            code = ":".join(part for part in (stream.station, stream.property_code, stream.channel) if part)
            rows = payload.columns.stream == index
            series = network.series[code]
            seen.add(code)
            if file.format == "levelling":
                continue
            assert np.array_equal(payload.columns.time[rows], series.times(network.first)), code
            assert np.allclose(payload.columns.result[rows], series.result, rtol=0, atol=2e-3), code
    assert seen == set(network.series)


def test_levelling_tables_are_gb18030_with_chinese_headers_and_say_that_they_are_simulated(network: Demonstration) -> None:
    table = next(file for file in write_files(network) if file.format == "levelling")
    text = table.body.decode("gb18030")
    assert "模拟数据" in text.splitlines()[0]
    assert text.splitlines()[1].startswith("点号,点名,等级,高程(m)")


def test_live_values_continue_the_record(network: Demonstration) -> None:
    steps = {step.datastream for step in network.truths.steps}
    rng = np.random.default_rng(3)
    for station in network.live_stations():
        for key, values in network.live_values(station.code, [NOW + timedelta(minutes=5)], rng).items():
            code = f"{station.code}:{key}"
            series = network.series[code]
            recent = series.result[-30:]
            allowed = 6 * max(float(np.std(recent)), 1e-3) + 0.02 * abs(float(np.median(recent)))
            assert abs(values[0] - float(np.median(recent))) < allowed + (5.0 if code in steps else 0.0), code


def test_a_logger_sends_what_it_kept_while_the_gateway_was_down(network: Demonstration) -> None:
    well = next(item for item in network.city.stations if item.code == "JX-OW01")
    since = network.first + timedelta(days=3652)
    portions = list(backlog(network, well, since, since + timedelta(days=2)))
    times = [time for portion in portions for time in portion]
    assert station_interval_s(network, well) == 4 * 3600
    assert times == [since + timedelta(hours=4 * k) for k in range(1, 12)]
    assert list(backlog(network, well, since, since + timedelta(hours=4))) == []


def test_payloads_are_groundwatch_json() -> None:
    single = payload_of([NOW], {"depth_to_water": [5.23]})
    assert single == b'{"t": "2026-03-09T05:30:00.000Z", "depth_to_water": 5.23}'
    several = payload_of([NOW, NOW + timedelta(hours=1)], {"compaction:L1": [1.0, 2.0]})
    assert several == b'{"t": ["2026-03-09T05:30:00.000Z", "2026-03-09T06:30:00.000Z"], "compaction:L1": [1.0, 2.0]}'


def test_flicker_noise_has_the_colour_and_size_that_it_claims() -> None:
    rng = np.random.default_rng(1)
    step_a = 1 / 365.25
    many = np.array([flicker(2048, 12.0, step_a, rng) for _ in range(40)])
    power = np.mean(np.abs(np.fft.rfft(many * np.hanning(2048), axis=1)) ** 2, axis=0)
    frequency = np.fft.rfftfreq(2048)
    band = (frequency > 0.004) & (frequency < 0.1)
    slope = np.polyfit(np.log(frequency[band]), np.log(power[band]), 1)[0]
    assert slope == pytest.approx(-1.0, abs=0.1)
    assert np.std(many[:, 0]) == pytest.approx(12.0 * step_a**0.25, rel=0.3)


def test_autoregressive_noise_has_its_deviation_and_memory() -> None:
    noise = autoregressive(200_000, 2.0, 20.0, np.random.default_rng(2))
    assert noise.std() == pytest.approx(2.0, rel=0.05)
    assert np.corrcoef(noise[:-20], noise[20:])[0, 1] == pytest.approx(np.exp(-1), abs=0.05)


def test_a_first_order_lag_answers_a_step_by_63_per_cent_after_its_time_constant() -> None:
    drive = np.concatenate([[0.0], np.ones(200)])
    response = first_order(drive, 1.0, 30.0)
    assert response[0] == 0.0
    assert response[30] == pytest.approx(1 - np.exp(-1), abs=1e-9)


def test_compaction_follows_head_with_elastic_storage() -> None:
    days = np.arange(2000.0)
    depth = np.where(days < 100, 10.0, 14.0)
    layer = LayerModel("L3", residual_mm=0.0, residual_a=1.0, elastic_mm_per_m=1.5, lag_d=30.0)
    moved = compaction_mm(layer, days, depth)
    assert moved[99] == 0.0
    assert moved[-1] == pytest.approx(6.0, abs=1e-6)


def test_the_tide_has_a_period_of_12_42_hours() -> None:
    hours = np.arange(0.0, 24.0 * 60, 0.5)
    spectrum = np.abs(np.fft.rfft(tide_m(0.2, hours)))
    frequency = np.fft.rfftfreq(len(hours), 0.5)
    assert 1 / frequency[np.argmax(spectrum[1:]) + 1] == pytest.approx(12.42, abs=0.1)


def test_stick_slip_never_departs_by_more_than_its_band() -> None:
    true = np.linspace(0.0, 3.0, 5000)
    held = stick_slip(true, 0.06)
    assert np.max(np.abs(held - true)) <= 0.06 + 1e-12
    assert len(np.unique(held)) < 60


def test_a_schedule_is_daily_and_then_dense_without_overlap() -> None:
    days = schedule(0.0, 10.4, 12.25, 0.25)
    assert days.tolist() == [*range(10), *np.arange(10.0, 12.26, 0.25)]

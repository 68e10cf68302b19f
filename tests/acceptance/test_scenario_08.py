"""Scenario 8: a TOA5 file without zone, with "NAN", repeated rows, a RECORD gap and 40 days of hourly backfill, imported twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from alerts.recorder import Report
from alerts.store import AlertFilter
from domain.alert import AlertState, Level, Verdict
from domain.alerting import AlertRecord, Receiver
from domain.errors import FormatError
from domain.licence import Limit
from domain.model import Datastream, Station, StationKind
from ingest.profile import Profile, parse_profile
from service.bootstrap import Container
from service.configuration import apply_folder
from service.settings import Settings

pytestmark = pytest.mark.stack

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "examples" / "jiaxing"
NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)
ROWS = 960
START = datetime(2026, 4, 1)  # noqa: DTZ001 - a wall time of the logger, whose file states no zone
MISSING_ROW, REPEATED_ROW, GAP = 100, 200, range(500, 505)


def backfill() -> bytes:
    lines = [
        '"TOA5","W-BACKFILL","CR300","1","CR300.Std.10","CPU:w.CR300","1","Hourly"',
        '"TIMESTAMP","RECORD","Depth"',
        '"TS","RN","m"',
        '"","","Smp"',
    ]
    for number in range(ROWS):
        if number in GAP:
            continue
        value = '"NAN"' if number == MISSING_ROW else f"{5 + number / 1000:.3f}"
        line = f'"{START + timedelta(hours=number):%Y-%m-%d %H:%M:%S}",{number},{value}'
        lines += [line, line] if number == REPEATED_ROW else [line]
    return ("\r\n".join(lines) + "\r\n").encode()


def profile(zone: str | None) -> Profile:
    rules = [{"match": "Depth", "property": "depth_to_water", "interval_s": 3600}]
    return parse_profile({"format": "toa5", "columns": rules, "time": {"zone": zone} if zone else {}}, "wells")


@pytest.fixture(scope="module")
def container(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    with Container(Settings(home=tmp_path_factory.mktemp("home"), database_url=database_url)) as opened:
        apply_folder(FOLDER, opened.registers, opened.alerts, opened.access, "tester", now=NOW)
        yield opened


def test_without_a_zone_the_file_is_refused(container: Container) -> None:
    with pytest.raises(FormatError, match="zone"):
        container.pipeline.ingest_file(backfill(), "w.dat", profile=profile(None), actor="tester", now=NOW)


def test_forty_days_of_backfill_twice_are_stored_once(container: Container) -> None:
    first = container.pipeline.ingest_file(backfill(), "w.dat", profile=profile("Asia/Shanghai"), actor="tester", now=NOW)
    again = container.pipeline.ingest_file(backfill(), "w.dat", profile=profile("Asia/Shanghai"), actor="tester", now=NOW)
    stored = ROWS - len(GAP)
    assert (first.accepted, first.duplicate, first.corrected, first.rejected) == (stored, 1, 0, 0)
    assert (again.accepted, again.duplicate, again.corrected, again.rejected) == (0, stored + 1, 0, 0)
    gap = {"after": GAP[0] - 1, "before": GAP[-1] + 1, "missing": len(GAP)}
    assert [{key: item[key] for key in gap} for item in first.notes["record_gaps"]] == [gap]

    datastream = container.registers.datastream("W-BACKFILL:depth_to_water")
    assert datastream is not None
    assert datastream.datastream_id is not None
    series = container.observations.series(datastream.datastream_id)
    expected = [number for number in range(ROWS) if number not in GAP]
    utc = np.datetime64(START) - np.timedelta64(8, "h")
    assert series.time.tolist() == [(utc + np.timedelta64(number, "h")).astype("datetime64[us]").item() for number in expected]
    assert np.isnan(series.result[MISSING_ROW])
    assert series.quality[MISSING_ROW] == 9
    known = np.delete(series.result, MISSING_ROW)
    assert known.tolist() == [round(5 + number / 1000, 3) for number in expected if number != MISSING_ROW]

    while container.rollups.refresh(1000):
        pass
    days = container.observations.buckets(
        datastream.datastream_id, datetime(2026, 3, 31, 16, tzinfo=UTC), datetime(2026, 5, 10, 16, tzinfo=UTC), "1d"
    )
    assert len(days) == 40
    assert sum(day.n for day in days) == stored
    assert days[0].mean == pytest.approx(np.mean([5 + number / 1000 for number in range(24)]), rel=1e-12)


SAWTOOTH_H, BREACH_H = 8 * 24, 3 * 24
EPISODES = ROWS // SAWTOOTH_H


def storm() -> bytes:
    """Forty days of a logger that could not send: three days beyond the limit in every eight, quiet at the end."""
    lines = ['"TOA5","W-STORM","CR300","1","CR300.Std.10","CPU:w.CR300","1","Hourly"', '"TIMESTAMP","RECORD","Depth"']
    lines += ['"TS","RN","m"', '"","","Smp"']
    for number in range(ROWS):
        deep = number % SAWTOOTH_H < BREACH_H
        lines.append(f'"{START + timedelta(hours=number):%Y-%m-%d %H:%M:%S}",{number},{33.0 if deep else 20.0}')
    return ("\r\n".join(lines) + "\r\n").encode()


def work_off(container: Container) -> Report:
    with container.work.claim("evaluate", 500) as changes:
        report = container.engine.evaluate(changes, NOW)
    container.engine.tick(NOW)
    return report


@pytest.mark.parametrize("confirmed", [True, False])
def test_a_backfill_that_breached_is_one_silent_record_and_no_storm(container: Container, *, confirmed: bool) -> None:
    code = "W-STORM" if confirmed else "W-STORM-NEW"
    raw = storm().replace(b"W-STORM", code.encode())
    if confirmed:
        well = Station(code, StationKind.OBSERVATION_WELL, "补传井", "Backfilled well", zone_code="wangjiangjing")
        container.registers.add_station(well, actor="tester")
        stream = Datastream(code, "depth_to_water", "m", interval_s=3600.0, aquifer="II", confirmed=True)
        container.registers.add_datastream(stream, actor="tester")
    else:  # made by the import, so the limit must be its own
        container.registers.upsert_limit(Limit(code, "depth_to_water", "m", 32.0, "control", "yellow", source="test"))
    container.alerts.save_receiver(Receiver("duty", "webhook", {"url": "http://127.0.0.1:9/"}))
    first = container.pipeline.ingest_file(raw, "s.dat", profile=profile("Asia/Shanghai"), actor="tester", now=NOW)
    assert (first.accepted, first.rejected) == (ROWS, 0)
    report = work_off(container)
    assert report.notifications == 0
    before = alerts_of(container, code)

    again = container.pipeline.ingest_file(raw, "s.dat", profile=profile("Asia/Shanghai"), actor="tester", now=NOW)
    assert (again.accepted, again.duplicate, again.corrected) == (0, ROWS, 0)
    work_off(container)
    assert alerts_of(container, code) == before

    silent = [alert.state for alert in before if alert.rule_code == "silent"]
    assert silent == (
        [AlertState.FIRING] if confirmed else []
    )  # nothing came for three weeks, from what somebody expects to hear
    found = [alert for alert in before if alert.rule_code == "groundwater-limit"]
    if not confirmed:  # what nobody confirmed has no colour, and so no history of colours
        assert found == []
        return
    (record,) = found
    assert len({alert.key for alert in before}) == len(before)
    told = container.alerts.notifications(alert_id=record.alert_id)
    assert (record.state, record.level, list(told)) == (AlertState.RESOLVED, Level.YELLOW, [])
    assert container.alerts.cap_messages(record.alert_id or 0) == []
    assert record.evidence["episodes_total"] == EPISODES
    assert container.engine.explain(record.identifier)["ok"]


def test_an_archive_that_is_imported_is_never_called_silent(container: Container, shared_data: Path) -> None:
    """A real mark that ended nine years ago: neither as the import makes it, nor once a person has confirmed it."""
    path = shared_data / "gnss" / "ngl_formats" / "ngl_CLV1_IGS14_sample.tenv3"
    container.pipeline.ingest_file(path.read_bytes(), path.name, frame="IGS14", actor="tester", now=NOW)
    received = datetime.now(UTC)  # by the store's own clock
    assert silence_of(container, "CLV1", received) == (Verdict.CANNOT_TELL, "unconfirmed")

    station = container.registers.station("CLV1")
    assert station is not None
    container.registers.update_station(replace(station, confirmed=True), actor="tester")
    for stream in container.registers.list_datastreams(station="CLV1"):
        container.registers.update_datastream(replace(stream, confirmed=True), actor="tester")
    assert silence_of(container, "CLV1", received) == (Verdict.CANNOT_TELL, "never_live")
    assert alerts_of(container, "CLV1") == []


def silence_of(container: Container, station: str, now: datetime) -> tuple[Verdict, str]:
    container.engine.tick(now)
    (state,) = [item for item in container.alerts.rule_states(rule_code="silent") if item.scope == station]
    return state.verdict, state.reason


def alerts_of(container: Container, station: str) -> list[AlertRecord]:
    return list(container.alerts.list_alerts(AlertFilter(station=station), limit=100)[0])

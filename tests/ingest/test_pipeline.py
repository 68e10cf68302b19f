"""Datums, units, creation, quality and the meaning of an import, on ports in memory."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest

from domain.datum import DatumOffset
from domain.errors import ConflictError, FormatError, UnavailableError
from domain.model import Datastream, Derivation, Station, StationKind
from ingest.messages import Message
from ingest.pipeline import Pipeline
from ingest.profile import parse_profile
from tests.ingest.conftest import NOW
from tests.ingest.memory import MemoryRegistry, MemoryStore

WUSONG_2003 = "高程系统：吴淞高程\n点名,高程(m),观测日期\n王江泾1,3.928,2003-05-10\n".encode()
H85_2023 = "高程系统：1985国家高程基准\n点名,高程(m),观测日期\n王江泾1,2.065,2023-05-10\n".encode()
NO_DATUM = "点名,高程(m),观测日期\n王江泾1,2.065,2023-05-10\n".encode()


def put(pipeline: Pipeline, raw: bytes, name: str = "table.csv", **flags: object):
    return pipeline.ingest_file(raw, name, actor="test", now=NOW, **flags)  # type: ignore[arg-type]


def wells(rows: str, **column: object) -> tuple[bytes, object]:
    content = {
        "format": "csv",
        "time": {"column": "time", "zone": "UTC"},
        "station": {"constant": "W1"},
        "columns": [{"match": "level", "property": "depth_to_water", "unit": "cm", "sigma": "sigma", **column}],
    }
    return ("time,level,sigma\n" + rows).encode(), parse_profile(content, "wells")


# --- datums ------------------------------------------------------------------------------------------------------------


def test_two_heights_in_two_datums_differ_by_the_regions_offset(
    pipeline: Pipeline, registry: MemoryRegistry, store: MemoryStore
) -> None:
    put(pipeline, H85_2023)
    report = put(pipeline, WUSONG_2003, convert_datum=True)
    heights = list(store.values(registry.datastream("王江泾1:height")).values())
    assert round((heights[1] - heights[0]) * 1000, 6) == -35.0
    expected = {"datastream": "王江泾1:height", "from": "CN-WUSONG", "to": "CN-H85", "offset_m": -1.828, "region": "330400"}
    assert report.notes["datum_conversions"] == [expected]
    assert store.batches[-1].parameters["datum_conversions"] == [expected]


def test_an_unlike_datum_is_refused_with_the_remedy(pipeline: Pipeline, store: MemoryStore) -> None:
    put(pipeline, H85_2023)
    report = put(pipeline, WUSONG_2003)
    assert (report.accepted, report.rejected, report.exit_code) == (0, 1, 2)
    assert report.rejects[0].code == "datum"
    assert "--convert-datum" in report.rejects[0].reason
    assert report.rejects[0].raw == "王江泾1,3.928,2003-05-10".encode()
    assert len(store.rows) == 1


def test_a_height_without_datum_is_refused_and_nothing_is_created(
    pipeline: Pipeline, registry: MemoryRegistry, store: MemoryStore
) -> None:
    report = put(pipeline, NO_DATUM)
    assert (report.accepted, report.rejects[0].code, report.exit_code) == (0, "datum", 2)
    assert "--datum" in report.rejects[0].reason
    assert registry.stations == {}
    assert put(pipeline, NO_DATUM, datum="CN-H85").accepted == 1


def test_a_flag_that_contradicts_the_files_datum_is_refused(pipeline: Pipeline) -> None:
    report = put(pipeline, H85_2023, datum="CN-WUSONG")
    assert (report.accepted, report.rejects[0].code) == (0, "datum")


def test_without_an_offset_for_the_region_nothing_is_converted(store: MemoryStore) -> None:
    pipeline = Pipeline(MemoryRegistry([], region="330400"), store)
    put(pipeline, H85_2023)
    report = put(pipeline, WUSONG_2003, convert_datum=True)
    assert (report.accepted, report.rejects[0].code) == (0, "datum")
    assert "no offset" in report.rejects[0].reason


TWO_DATES = "高程系统：吴淞高程\n点名,高程(m),观测日期\n王江泾1,3.928,2003-05-10\n王江泾1,3.900,2013-01-01\n".encode()


def dated(*rows: tuple[float, date | None, date | None]) -> MemoryRegistry:
    offsets = [DatumOffset("CN-WUSONG", "CN-H85", "3304", value, "table", start, end) for value, start, end in rows]
    return MemoryRegistry(offsets, region="330400")


def test_each_height_takes_the_offset_that_is_valid_on_its_local_date(store: MemoryStore) -> None:
    turn = date(2013, 1, 1)  # at UTC+8 the second height is observed on that very day, which in UTC begins the day before
    registry = dated((-1.828, None, turn), (-1.830, turn, None))
    pipeline = Pipeline(registry, store)
    put(pipeline, H85_2023)
    report = put(pipeline, TWO_DATES, convert_datum=True)
    assert (report.accepted, report.rejected) == (2, 0)
    heights = sorted(store.values(registry.datastream("王江泾1:height")).items())
    assert [value for _, value in heights] == [2.1, 2.07, 2.065]
    assert [entry["offset_m"] for entry in report.notes["datum_conversions"]] == [-1.828, -1.830]


def test_a_height_of_a_date_that_no_offset_covers_is_refused_and_the_others_are_stored(store: MemoryStore) -> None:
    registry = dated((-1.828, None, date(2010, 1, 1)))
    pipeline = Pipeline(registry, store)
    put(pipeline, H85_2023)
    report = put(pipeline, TWO_DATES, convert_datum=True)
    assert (report.accepted, report.rejected, report.rejects[0].code, report.rejects[0].line) == (1, 1, "datum", 4)
    assert "on 2013-01-01" in report.rejects[0].reason
    assert "datums.yaml" in report.rejects[0].reason


def test_a_converted_height_is_the_decimal_that_a_reader_expects(
    pipeline: Pipeline, registry: MemoryRegistry, store: MemoryStore
) -> None:
    put(pipeline, H85_2023)
    put(pipeline, WUSONG_2003, convert_datum=True)
    assert sorted(store.values(registry.datastream("王江泾1:height")).values()) == [2.065, 2.1]


@pytest.mark.parametrize("first", [True, False])
def test_an_unknown_datum_is_named_with_the_known_ones_and_never_offered_for_conversion(pipeline: Pipeline, first: bool) -> None:
    if not first:
        put(pipeline, H85_2023)
    report = put(pipeline, NO_DATUM, datum="CN-NOPE")
    assert (report.accepted, report.rejects[0].code, report.created["stations"]) == (0, "datum", ())
    assert "'CN-NOPE'" in report.rejects[0].reason
    assert "CN-H85, CN-WUSONG" in report.rejects[0].reason
    assert "--convert-datum" not in report.rejects[0].reason


def test_a_unit_of_another_quantity_is_refused_with_the_datastreams_own(pipeline: Pipeline) -> None:
    body, profile = wells("2024-01-01 00:00,523,1\n")
    put(pipeline, body, profile=profile)
    body, profile = wells("2024-01-02 00:00,18,1\n", unit="Cel")
    report = put(pipeline, body, profile=profile)
    assert (report.accepted, report.rejects[0].code) == (0, "unit")
    assert "W1:depth_to_water is kept in 'm'" in report.rejects[0].reason


# --- units -------------------------------------------------------------------------------------------------------------


def test_units_are_converted_with_sigma(pipeline: Pipeline, registry: MemoryRegistry, store: MemoryStore) -> None:
    raw, profile = wells("2025-01-01 00:00,523,1\n")
    put(pipeline, raw, profile=profile)
    row = store.row(registry.datastream("W1:depth_to_water"), "2025-01-01T00:00:00")
    assert row[:2] == ((5.23).hex(), (0.01).hex())


@pytest.mark.parametrize(("unit", "fault"), [(None, "--unit"), ("kPa", "cannot be converted"), ("furlong", "not a unit")])
def test_a_unit_that_is_missing_or_wrong_is_refused(pipeline: Pipeline, unit: str | None, fault: str) -> None:
    raw, profile = wells("2025-01-01 00:00,523,1\n", unit=None)
    report = put(pipeline, raw, profile=profile, unit=unit)
    assert (report.accepted, report.rejects[0].code) == (0, "unit")
    assert fault in report.rejects[0].reason


def test_a_unit_that_contradicts_the_profile_is_refused(pipeline: Pipeline) -> None:
    raw, profile = wells("2025-01-01 00:00,523,1\n")
    assert put(pipeline, raw, profile=profile, unit="m").rejects[0].code == "unit"


# --- creation ----------------------------------------------------------------------------------------------------------


def test_what_an_import_creates_is_unconfirmed_and_restricted(pipeline: Pipeline, registry: MemoryRegistry) -> None:
    report = put(pipeline, H85_2023)
    station, datastream = registry.station("王江泾1"), registry.datastream("王江泾1:height")
    assert station is not None
    assert datastream is not None
    assert (station.confirmed, station.disclosure, station.kind) == (False, "restricted", "benchmark")
    assert (datastream.confirmed, datastream.disclosure, datastream.datum_code) == (False, "restricted", "CN-H85")
    assert report.to_json()["created"] == {"stations": ["王江泾1"], "sensors": [], "datastreams": ["王江泾1:height"]}
    assert report.to_json()["unconfirmed"] == ["王江泾1", "王江泾1:height"]


def test_no_create_refuses_what_is_unknown(pipeline: Pipeline, registry: MemoryRegistry) -> None:
    report = put(pipeline, H85_2023, create=False)
    assert (report.accepted, report.rejects[0].code) == (0, "station")
    assert registry.stations == {}


def test_a_dry_run_stores_and_creates_nothing(pipeline: Pipeline, registry: MemoryRegistry, store: MemoryStore) -> None:
    report = put(pipeline, H85_2023, dry_run=True)
    assert (report.accepted, report.dry_run, report.created["datastreams"]) == (1, True, ("王江泾1:height",))
    assert (registry.stations, registry.datastreams, store.batches) == ({}, {}, [])


def test_nothing_is_imported_into_a_derived_datastream(pipeline: Pipeline, registry: MemoryRegistry) -> None:
    registry.add_station(Station("W1", StationKind.OBSERVATION_WELL, "W1", "W1"), actor="test")
    derivation = Derivation("velocity", "1", {}, "0")
    registry.add_datastream(Datastream("W1", "depth_to_water", "m", derivation=derivation), actor="test")
    raw, profile = wells("2025-01-01 00:00,523,1\n")
    assert put(pipeline, raw, profile=profile).rejects[0].code == "datastream"


def test_station_codes_are_found_whatever_their_case(pipeline: Pipeline, registry: MemoryRegistry) -> None:
    raw, profile = wells("2025-01-01 00:00,523,1\n")
    put(pipeline, raw, profile=profile)
    report = put(pipeline, raw, profile=profile, station="w1")
    assert (report.duplicate, len(registry.stations)) == (1, 1)


# --- quality, repeats, corrections -------------------------------------------------------------------------------------


def test_range_and_clock_are_flagged_and_an_impossible_time_is_refused(
    pipeline: Pipeline, registry: MemoryRegistry, store: MemoryStore
) -> None:
    registry.add_station(Station("W1", StationKind.OBSERVATION_WELL, "W1", "W1"), actor="test")
    registry.add_datastream(Datastream("W1", "depth_to_water", "m", lowest=0.0, highest=50.0), actor="test")
    soon = (NOW + timedelta(hours=1)).strftime("%Y-%m-%d %H:%M")
    raw, profile = wells(f"2025-01-01,9900000,\n2025-01-02,-1,\n2025-01-03,0,\n{soon},500,\n2027-06-01,500,\n")
    report = put(pipeline, raw, profile=profile)
    datastream = registry.datastream("W1:depth_to_water")
    flags = {str(key[1])[:10]: row[3:] for key, row in store.rows.items()}
    assert datastream is not None
    assert flags["2025-01-01"] == (4, ("out_of_range",))
    assert flags["2025-01-02"] == (3, ("out_of_range",))
    assert flags["2025-01-03"] == (1, None)
    assert flags[soon[:10]] == (3, ("clock",))
    assert [(reject.line, reject.code) for reject in report.rejects] == [(6, "clock")]


def test_contradicting_rows_keep_the_last_and_a_second_import_changes_nothing(pipeline: Pipeline, store: MemoryStore) -> None:
    raw, profile = wells("2025-01-01,100,\n2025-01-01,100,\n2025-01-02,100,\n2025-01-02,200,\n")
    first = put(pipeline, raw, profile=profile)
    assert (first.accepted, first.duplicate, first.rejected) == (2, 1, 1)
    assert first.rejects[0].code == "duplicate_in_file"
    second = put(pipeline, raw, profile=profile)
    assert (second.accepted, second.corrected, second.duplicate, store.revisions) == (0, 0, 3, [])


def test_a_changed_value_is_a_correction(pipeline: Pipeline, store: MemoryStore) -> None:
    raw, profile = wells("2025-01-01,100,\n")
    put(pipeline, raw, profile=profile)
    report = put(pipeline, raw.replace(b"100", b"101"), profile=profile)
    assert (report.accepted, report.corrected, len(store.revisions)) == (0, 1, 1)


def test_the_report_has_the_shape_of_the_contract(pipeline: Pipeline) -> None:
    raw, profile = wells("2025-01-01,100,\n2025-01-02,x,\n")
    report = put(pipeline, raw, profile=profile)
    shape = report.to_json()
    json.dumps(shape)
    for key in ("file", "format", "sha256", "accepted", "duplicate", "corrected", "rejected", "rejects", "stations", "elapsed_s"):
        assert key in shape
    assert (shape["rejects"][0]["line"], report.exit_code) == (3, 3)
    assert len(shape["sha256"]) == 64


def test_a_store_out_of_reach_is_said_and_a_retry_puts_all_in(pipeline: Pipeline, store: MemoryStore) -> None:
    raw, profile = wells("2025-01-01,100,\n")
    store.is_out_of_reach = True
    with pytest.raises(UnavailableError):
        put(pipeline, raw, profile=profile)
    store.is_out_of_reach = False
    assert put(pipeline, raw, profile=profile).accepted == 1


# --- messages ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def well(registry: MemoryRegistry) -> Datastream:
    registry.add_station(Station("W1", StationKind.OBSERVATION_WELL, "W1", "W1"), actor="test")
    return registry.add_datastream(Datastream("W1", "depth_to_water", "m"), actor="test")


def message(payload: object, station: str = "W1") -> Message:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return Message(station, body, NOW, f"gw/v1/stations/{station}/obs")


def test_messages_are_one_commit_with_a_receipt_each(pipeline: Pipeline, store: MemoryStore, well: Datastream) -> None:
    receipts = pipeline.ingest_messages(
        [
            message({"t": "2026-01-02T03:04:05+08:00", "id": 7, "depth_to_water": 5.23}),
            message(
                [{"t": 1767294246, "depth_to_water": 523, "unit": {"depth_to_water": "cm"}}, {"t": "naive", "depth_to_water": 1}]
            ),
            message({"t": 1767294247000, "depth_to_water": {"value": 5.2, "sigma": 0.01, "quality": 3, "reasons": ["manual"]}}),
        ],
        NOW,
    )
    assert len(store.batches) == 1
    assert [(r.observations, len(r.rejects), r.message_id) for r in receipts] == [(1, 0, "7"), (1, 1, None), (1, 0, None)]
    values = list(store.values(well).values())
    assert values == [5.23, 5.23, 5.2]
    assert store.row(well, "2026-01-01T19:04:07")[3:] == (3, ("manual",))
    assert [raw.sha256 for raw in store.batches[0].raws] == [receipt.sha256 for receipt in receipts]


def test_poison_is_quarantined_with_its_bytes_and_the_rest_goes_in(
    pipeline: Pipeline, store: MemoryStore, well: Datastream
) -> None:
    poison = [b"\xff\x00", b"[[]]", b"17", b"{}", b'{"t": NaN}', b"[" * 100_000]
    good = {"t": "2026-01-02T03:04:05Z", "depth_to_water": 1.0}
    elsewhere = {"t": "2026-01-02T03:04:05Z", "station": "W2", "depth_to_water": 1.0}
    unknown = {"t": "2026-01-02T03:04:05Z", "pore_pressure": 1.0}
    receipts = pipeline.ingest_messages([*map(message, poison), message(good), message(elsewhere), message(unknown)], NOW)
    assert [r.is_quarantined for r in receipts] == [True] * len(poison) + [False, True, True]
    assert len(store.rows) == 1
    assert store.batches[0].quarantine[0].rejected.raw == poison[0]
    assert [entry.raw_index for entry in store.batches[0].quarantine] == [0, 1, 2, 3, 4, 5, 7, 8]
    assert receipts[-1].rejects[0].code == "datastream"


def test_a_message_that_the_store_refuses_does_not_block_the_others(
    pipeline: Pipeline, store: MemoryStore, well: Datastream
) -> None:
    store.fails_on = 13.0
    receipts = pipeline.ingest_messages([message({"t": 1767294240 + i, "depth_to_water": float(i)}) for i in range(20)], NOW)
    assert [i for i, receipt in enumerate(receipts) if receipt.is_quarantined] == [13]
    assert sorted(store.values(well).values()) == [float(i) for i in range(20) if i != 13]


def test_messages_wait_while_the_store_is_out_of_reach(pipeline: Pipeline, store: MemoryStore, well: Datastream) -> None:
    store.is_out_of_reach = True
    with pytest.raises(UnavailableError):
        pipeline.ingest_messages([message({"t": 1767294240, "depth_to_water": 1.0})], NOW)
    assert store.batches == []


def test_a_message_never_creates(pipeline: Pipeline, registry: MemoryRegistry) -> None:
    receipt = pipeline.ingest_messages([message({"t": 1767294240, "depth_to_water": 1.0}, "NEW")], NOW)[0]
    assert receipt.is_quarantined
    assert registry.stations == {}


def test_message_ranges_are_those_of_each_datastream(
    pipeline: Pipeline, registry: MemoryRegistry, store: MemoryStore, well: Datastream
) -> None:
    second = registry.add_datastream(Datastream("W1", "depth_to_water", "cm", channel="b", lowest=0.0), actor="test")
    body = {"t": 1767294240, "depth_to_water": 2001.0, "depth_to_water:b": -1.0, "water_temperature": 1}
    pipeline.ingest_messages([message(body)], NOW)
    time = np.datetime64(1767294240, "s").astype("datetime64[us]")
    assert store.rows[well.datastream_id or 0, time][3:] == (4, ("out_of_range",))
    assert store.rows[second.datastream_id or 0, time][3:] == (3, ("out_of_range",))


def test_the_memory_registry_refuses_what_the_schema_refuses(registry: MemoryRegistry) -> None:
    registry.add_station(Station("A", StationKind.OTHER, "A", "A"), actor="test")
    with pytest.raises(ConflictError):
        registry.add_datastream(Datastream("A", "height", "m"), actor="test")
    with pytest.raises(ConflictError):
        registry.add_station(replace(Station("a", StationKind.OTHER, "a", "a")), actor="test")


@pytest.mark.parametrize(
    ("name", "raw", "what", "remedy"),
    [
        ("empty.csv", b"", "the file is empty", "send it again"),
        ("blank.csv", b"\xef\xbb\xbf\r\n \n", "the file is empty", "send it again"),
        ("room.csv", b"\0" * 4096, "the file is empty", "send it again"),  # a disk gave it room and nothing was written
        ("cut.xlsx", b"PK\x03\x04 and then the line broke", "the workbook is damaged", "save it again"),
        ("other.csv", b"a;b\nx;y\n", "the format is not recognised", "groundwatch profile guess FILE"),
    ],
)
def test_a_file_of_no_known_format_is_told_from_an_empty_and_a_damaged_one(
    name: str, raw: bytes, what: str, remedy: str, pipeline: Pipeline
) -> None:
    with pytest.raises(FormatError, match=what) as caught:
        pipeline.ingest_file(raw, name, actor="test", now=NOW)
    assert remedy in (caught.value.remedy or "")
    assert caught.value.where == name

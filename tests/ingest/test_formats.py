"""Each format against its own small sample, value by value."""

from __future__ import annotations

import io
from datetime import date
from pathlib import Path

import numpy as np
import openpyxl
import pytest

from domain.errors import ConfigurationError, FormatError
from domain.observation import ParsedPayload
from ingest.choosing import choose_format, detect_format
from ingest.formats import FORMATS, ImportContext, levelling
from ingest.formats.decoding import detect_encoding
from ingest.pipeline import Pipeline
from ingest.profile import load_profile, parse_profile, shipped_profiles
from tests.ingest.conftest import NOW
from tests.ingest.memory import MemoryRegistry, MemoryStore

DATA = Path(__file__).resolve().parents[1] / "data"


def parse(name: str, path: str, profile: str | Path | None = None, **flags: str) -> ParsedPayload:
    raw = (DATA / path).read_bytes()
    chosen = load_profile(profile) if profile else None
    return FORMATS[name].parse(raw, chosen, ImportContext(path, **flags))


def series(payload: ParsedPayload, stream: int) -> dict[str, float]:
    rows = payload.columns.take(payload.columns.stream == stream)
    return dict(zip(np.datetime_as_string(rows.time, unit="s").tolist(), rows.result.tolist(), strict=True))


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_has_a_sample_that_it_alone_recognises_and_a_page(name: str) -> None:
    samples = [path for path in (DATA / name).iterdir() if path.suffix != ".yaml"]
    assert samples
    assert f"`{name}`" in (DATA.parents[1] / "docs" / "formats.md").read_text(encoding="utf-8")
    for path in samples:
        if name not in {"csv", "json"}:  # their profile has to be named
            assert detect_format(path.read_bytes(), path.name)[0].name == name


# --- levelling ---------------------------------------------------------------------------------------------------------


def test_a_levelling_table_gives_heights_with_span_datum_and_sigma() -> None:
    payload = parse("levelling", "levelling/jiaxing_2023.csv", "levelling")
    first = payload.streams[0]
    assert (first.station, first.name_zh, first.property_code, first.unit, first.datum) == (
        "JX001",
        "王江泾1",
        "height",
        "m",
        "CN-H85",
    )
    rows = payload.columns
    assert np.datetime_as_string(rows.time, unit="s").tolist()[:3] == ["2023-05-09T16:00:00"] * 2 + ["2023-05-29T16:00:00"]
    assert np.datetime_as_string(rows.end, unit="s").tolist()[:3] == ["2023-05-28T16:00:00"] * 2 + ["2023-05-30T16:00:00"]
    assert rows.result.tolist()[:3] == [3.1234, 2.0650, 2.5001]
    assert rows.sigma.tolist()[:2] == pytest.approx([0.0012, 0.0014], rel=1e-15)
    assert np.isnan(rows.sigma[2])
    assert (rows.quality[3], np.isnan(rows.result[3])) == (9, True)
    assert [(reject.line, reject.code) for reject in payload.rejected] == [(8, "value"), (9, "time")]
    assert "某日".encode() in payload.rejected[1].raw


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
def test_the_same_table_in_any_encoding(encoding: str) -> None:
    text = (DATA / "levelling/jiaxing_2023.csv").read_text(encoding="utf-8")
    payload = FORMATS["levelling"].parse(text.encode(encoding), load_profile("levelling"), ImportContext("x.csv"))
    assert len(payload.columns) == 4
    assert payload.streams[1].name_zh == "新塍2"
    if encoding != "utf-16":
        assert detect_format(text.encode(encoding), "x.csv")[0].name == "levelling"


def test_a_workbook_gives_what_its_csv_gives() -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(["高程系统", "1985国家高程基准"])
    sheet.append(["点名", "高程（m）", "观测日期"])
    sheet.append(["王江泾1", 3.1234, "2023-05-10~2023-05-28"])
    sheet.append(["新塍2", 2.065, date(2023, 6, 1)])
    stream = io.BytesIO()
    book.save(stream)
    entry, profile = choose_format(stream.getvalue(), "成果.xlsx", None, None)
    payload = entry.parse(stream.getvalue(), profile, ImportContext("成果.xlsx"))
    assert entry.name == "levelling"
    assert payload.columns.result.tolist() == [3.1234, 2.065]
    assert [stream.datum for stream in payload.streams] == ["CN-H85", "CN-H85"]
    assert str(payload.columns.time[1]) == "2023-05-31T16:00:00.000000"


def test_cumulative_subsidence_alone_becomes_displacement_up() -> None:
    raw = "点名,累计沉降量(mm),观测日期\nA1,35.2,2023-05-10\n".encode()
    payload = FORMATS["levelling"].parse(raw, load_profile("levelling"), ImportContext("x.csv"))
    assert (payload.streams[0].property_code, payload.streams[0].unit) == ("displacement_up", "mm")
    assert payload.columns.result.tolist() == [-35.2]


def test_subsidence_of_the_period_alone_has_no_zero() -> None:
    raw = "点名,本期沉降量(mm),观测日期\nA1,35.2,2023-05-10\n".encode()
    with pytest.raises(FormatError, match="no zero"):
        FORMATS["levelling"].parse(raw, load_profile("levelling"), ImportContext("x.csv"))


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("2023-05-10", ("2023-05-10", "2023-05-10")),
        ("2023/5/10 ~ 2023/5/28", ("2023-05-10", "2023-05-28")),
        ("2023-05-10-2023-05-28", ("2023-05-10", "2023-05-28")),
        ("2023.5.10—5.28", ("2023-05-10", "2023-05-28")),
        ("2023年5月10日至28日", ("2023-05-10", "2023-05-28")),
        ("20230510-20230528", ("2023-05-10", "2023-05-28")),
        ("2023-05-28~2023-05-10", None),
        ("2023-02-30", None),
        ("5月10日", None),
    ],
)
def test_dates_and_spans(text: str, days: tuple[str, str] | None) -> None:
    expected = None if days is None else tuple(date.fromisoformat(day) for day in days)
    assert levelling.parse_span(text) == expected


# --- TOA5 --------------------------------------------------------------------------------------------------------------


def test_toa5_keeps_nan_as_missing_and_lists_record_gaps() -> None:
    payload = parse("toa5", "toa5/wellfield.dat", DATA / "toa5/wellfield.yaml")
    assert [(s.station, s.property_code, s.unit) for s in payload.streams] == [
        ("JX-W01", "depth_to_water", "m"),
        ("JX-W01", "water_temperature", "Cel"),
    ]
    assert series(payload, 0) == {
        "2025-02-28T16:00:00": 5.231,
        "2025-02-28T17:00:00": 5.233,
        "2025-02-28T20:00:00": 5.236,
        "2025-03-01T16:00:00": 5.240,
        "2025-03-01T17:00:00": 5.241,
    }
    temperature = payload.columns.take(payload.columns.stream == 1)
    assert temperature.quality.tolist() == [1, 9, 9, 1, 1, 1]
    assert payload.notes["record_gaps"] == [
        {"line": 8, "after": 1, "before": 4, "missing": 2},
        {"line": 10, "after": 4, "before": 24, "missing": 19},
    ]
    assert payload.notes["record_resets"] == [{"line": 11, "from": 24, "to": 0}]
    assert [(reject.line, reject.code) for reject in payload.rejected] == [(9, "columns")]


def test_toa5_without_a_zone_is_refused() -> None:
    profile = parse_profile({"format": "toa5", "columns": [{"match": "Depth_Avg", "property": "depth_to_water"}]}, "no_zone")
    raw = (DATA / "toa5/wellfield.dat").read_bytes()
    with pytest.raises(FormatError, match="zone"):
        FORMATS["toa5"].parse(raw, profile, ImportContext("x.dat"))
    assert len(FORMATS["toa5"].parse(raw, profile, ImportContext("x.dat", zone="+08:00")).columns) == 6


def test_toa5_rows_after_a_change_of_table_are_refused() -> None:
    raw = (DATA / "toa5/wellfield.dat").read_bytes()
    payload = FORMATS["toa5"].parse(raw + raw, load_profile(DATA / "toa5/wellfield.yaml"), ImportContext("x.dat"))
    assert payload.notes["table_change_line"] == 12
    refused = [reject for reject in payload.rejected if reject.line >= 12]
    assert len(refused) == 11
    assert all("changes at line 12" in reject.reason for reject in refused)


def test_toa5_means_cover_the_interval_that_ends_at_the_timestamp() -> None:
    rule = {"match": "Depth_Avg", "property": "depth_to_water", "value_kind": "mean", "interval_s": 3600}
    profile = parse_profile({"format": "toa5", "time": {"zone": "UTC"}, "columns": [rule]}, "means")
    rows = FORMATS["toa5"].parse((DATA / "toa5/wellfield.dat").read_bytes(), profile, ImportContext("x.dat")).columns
    assert (str(rows.time[0]), str(rows.end[0])) == ("2025-02-28T23:00:00.000000", "2025-03-01T00:00:00.000000")


# --- tenv3 -------------------------------------------------------------------------------------------------------------


def test_tenv3_joins_integer_and_fraction_exactly_and_proposes_the_antenna_change() -> None:
    payload = parse("tenv3", "tenv3/TEST.tenv3")
    assert [s.property_code for s in payload.streams] == ["displacement_east", "displacement_north", "displacement_up"]
    assert list(series(payload, 0).values()) == [0.0, 1.0, 2.0]
    assert list(series(payload, 1).values()) == [0.0, 0.001, -0.001]
    assert list(series(payload, 2).values()) == [0.0, 1.1, -0.9]
    rows = payload.columns
    assert (str(rows.time[0]), str(rows.end[0])) == ("2024-01-01T00:00:00.000000", "2024-01-02T00:00:00.000000")
    assert rows.sigma[:3].tolist() == [1.0, 1.0, 1.0]
    assert payload.streams[0].frame == "unstated"
    assert payload.streams[2].attributes["reference_m"] == "29.9999"
    assert payload.notes["proposed_events"] == [
        {
            "station": "TEST",
            "kind": "antenna_change",
            "start": "2024-01-04T00:00:00Z",
            "effect": "offset",
            "note": "antenna height 0.0000 m -> 0.0083 m in the tenv3 file",
        }
    ]


def test_a_broken_tenv3_row_is_refused_alone() -> None:
    lines = (DATA / "tenv3/TEST.tenv3").read_bytes().splitlines(keepends=True)
    whole = parse("tenv3", "tenv3/TEST.tenv3")
    lines.insert(2, b"TEST 24JAN0\n")
    payload = FORMATS["tenv3"].parse(b"".join(lines), None, ImportContext("TEST.tenv3"))
    assert [(reject.line, reject.raw) for reject in payload.rejected] == [(3, b"TEST 24JAN0")]
    assert payload.columns.result.tolist() == whole.columns.result.tolist()
    assert payload.columns.line.tolist()[:3] == [2, 4, 5]


# --- tables by profile -------------------------------------------------------------------------------------------------


def test_a_table_with_decimal_commas_missing_markers_and_quality_codes() -> None:
    payload = parse("csv", "csv/flow.csv", DATA / "csv/flow.yaml")
    assert series(payload, 0) == pytest.approx(
        {
            "2025-02-28T23:00:00": 12.5,
            "2025-03-01T00:00:00": 1012.25,
            "2025-03-01T01:00:00": float("nan"),
            "2025-03-01T15:00:00": 3.0,
        },
        nan_ok=True,
    )
    rows = payload.columns
    assert rows.quality.tolist() == [1, 3, 9, 2]
    assert rows.reasons is not None
    assert rows.reasons.tolist() == [None, ("source_flag",), None, ("source_flag",)]
    assert (rows.end - rows.time).astype("timedelta64[s]").astype(int).tolist() == [3600] * 4
    assert [(reject.line, reject.code) for reject in payload.rejected] == [(7, "value"), (8, "time")]


def test_a_table_needs_a_profile() -> None:
    with pytest.raises(FormatError, match="columns"):
        FORMATS["csv"].parse(b"a,b\n1,2\n", None, ImportContext("x.csv"))


def test_a_long_table_comes_in_parts_that_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = "".join(f"{day},{day * 0.1:.1f}\n" for day in range(1, 2001))
    raw = ("minutes,flow\n" + rows).encode()
    content = {
        "format": "csv",
        "time": {"column": "minutes", "origin": "2024-01-01T00:00:00Z", "elapsed_unit": "min"},
        "station": {"constant": "A"},
        "columns": [{"match": "flow", "property": "abstraction_rate", "unit": "m3/h"}],
    }
    profile = parse_profile(content, "long")
    whole = FORMATS["csv"].parse(raw, profile, ImportContext("x.csv"))
    monkeypatch.setattr("ingest.formats.table.BLOCK_BYTES", 1000)
    parts = list(FORMATS["csv"].parts(raw, profile, ImportContext("x.csv")))
    joined = FORMATS["csv"].parse(raw, profile, ImportContext("x.csv"))
    assert len(parts) > 5
    assert joined.columns.result.tolist() == whole.columns.result.tolist()
    assert joined.columns.line.tolist() == whole.columns.line.tolist() == list(range(2, 2002))
    assert (joined.columns.time == whole.columns.time).all()


def test_rdb_reads_zone_codes_row_by_row_and_flags() -> None:
    payload = parse("rdb", "rdb/well.rdb", "usgs_rdb")
    assert [(s.station, s.property_code, s.unit) for s in payload.streams] == [("400000120000001", "depth_to_water", "[ft_i]")]
    assert series(payload, 0) == pytest.approx(
        {"2024-03-10T06:30:00": 10.0, "2024-03-10T07:30:00": 10.5, "2024-03-10T08:30:00": float("nan")}, nan_ok=True
    )
    assert payload.columns.quality.tolist() == [1, 2, 9]
    assert payload.notes["parameters_not_stored"] == ["99999"]


# --- native JSON -------------------------------------------------------------------------------------------------------


def test_native_json_columns() -> None:
    payload = parse("native_json", "native_json/columns.json", station="JX-W01")
    assert series(payload, 0) == pytest.approx(
        {"2026-01-01T19:04:05": 5.23, "2026-01-01T19:04:06": float("nan"), "2026-01-01T19:04:07": 5.25}, nan_ok=True
    )
    assert list(series(payload, 1).values()) == [18.2, 18.3, 18.4]


# --- choice, encoding, profiles ----------------------------------------------------------------------------------------


def test_the_wrong_format_says_what_where_and_the_remedy() -> None:
    with pytest.raises(FormatError) as caught:
        FORMATS["toa5"].parse(b"hello\nworld\n\n\n\n", None, ImportContext("a.dat"))
    assert caught.value.where == "a.dat"
    assert caught.value.remedy
    with pytest.raises(FormatError, match="not recognised"):
        detect_format(b"hello\nworld\n", "a.dat")


def test_a_format_that_contradicts_the_profile_is_refused() -> None:
    with pytest.raises(FormatError, match="is for csv"):
        choose_format(b"", "x", "toa5", "dino")


def test_encodings_are_told_apart_by_decoding() -> None:
    assert detect_encoding("点名".encode()) == "utf-8-sig"
    assert detect_encoding("点名,高程".encode("gb18030")) == "gb18030"
    with pytest.raises(FormatError):
        detect_encoding(b"\xff\xff\xff")


@pytest.mark.parametrize("name", sorted(shipped_profiles()))
def test_every_shipped_profile_loads_and_names_its_source_and_properties(name: str) -> None:
    profile = load_profile(name)
    registry = MemoryRegistry()
    assert profile.source
    assert profile.format in FORMATS
    for rule in (*profile.columns, *profile.parameters.values()):
        observed = registry.observed_property(rule.property_code)
        assert observed is not None
        assert not observed.needs_datum or rule.datum or profile.datum
        assert rule.datum is None or rule.datum in registry.datums


@pytest.mark.parametrize(
    "content",
    [
        {"format": "csv", "colums": []},
        {"columns": []},
        {"format": "csv", "columns": [{"match": "a", "property": "Bad Code"}]},
        {"format": "csv", "quality": {"x": 7}},
        {"format": "csv", "time": {"stamp": "middle"}},
        {"format": "csv", "station": {"filename": "("}},
        [],
    ],
)
def test_a_profile_with_a_mistake_is_refused(content: object) -> None:
    with pytest.raises(ConfigurationError):
        parse_profile(content, "mistaken")


def test_gzip_is_unpacked_and_kept_as_it_came(pipeline: Pipeline, store: MemoryStore) -> None:
    import gzip

    raw = gzip.compress((DATA / "tenv3/TEST.tenv3").read_bytes())
    report = pipeline.ingest_file(raw, "TEST.tenv3.gz", actor="test", now=NOW)
    assert report.accepted == 9
    assert store.batches[0].raws[0].body == raw
    with pytest.raises(FormatError, match="gzip"):
        pipeline.ingest_file(raw[:40], "TEST.tenv3.gz", actor="test", now=NOW)


def test_numbers_of_a_workbook_are_numbers_whatever_marks_the_profile_states_for_text() -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in (
        ["time", "depth"],
        ["2026-01-01", 1.5],
        ["2026-01-02", "1.524,25"],
        ["2026-01-03", 12.34],
        ["2026-01-04", "12.34"],
    ):
        sheet.append(row)
    stream = io.BytesIO()
    book.save(stream)
    profile = parse_profile(
        {
            "format": "csv",
            "decimal": ",",
            "thousands": ".",
            "time": {"column": "time", "zone": "UTC"},
            "station": {"constant": "W1"},
            "columns": [{"match": "depth", "property": "depth_to_water", "unit": "m"}],
        },
        "p",
    )
    payload = FORMATS["csv"].parse(stream.getvalue(), profile, ImportContext("x.xlsx"))
    assert payload.columns.result.tolist() == [1.5, 1524.25, 12.34]
    assert [reject.line for reject in payload.rejected] == [5]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("2026-01-02;W1", ["columns"]),
        ("2026-01-02", ["station"]),
        ("2026-01-02;W1;", []),
        ("2026-01-02;W1;;", []),
        ("2026-01-02;W1;1.5", []),
    ],
)
def test_a_row_that_ends_before_all_of_its_values_is_refused_and_one_with_empty_cells_is_no_observation(
    row: str, told: list[str]
) -> None:
    content = {
        "format": "csv",
        "delimiter": ";",
        "time": {"column": "time", "zone": "UTC"},
        "station": {"template": "{well}"},
        "columns": [{"match": "depth", "property": "depth_to_water", "unit": "m"}],
    }
    raw = f"time;well;depth;note\n2026-01-01;W1;1.25;ok\n{row}\n2026-01-03;W1;1.75;\n".encode()
    payload = FORMATS["csv"].parse(raw, parse_profile(content, "p"), ImportContext("x.csv"))
    assert [reject.code for reject in payload.rejected] == told
    assert len(payload.columns) == (3 if row.endswith("1.5") else 2)
    every = FORMATS["csv"].parse(raw, parse_profile(content | {"empty_is_missing": True}, "p"), ImportContext("x.csv"))
    assert "columns" not in [reject.code for reject in every.rejected]

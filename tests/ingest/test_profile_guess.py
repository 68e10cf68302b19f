"""A proposed profile imports its file once the blanks are filled, and leaves blank what the file does not say."""

from __future__ import annotations

import io
import json
from datetime import datetime
from pathlib import Path

import openpyxl
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import ConfigurationError, InputError
from ingest.formats import FORMATS, ImportContext
from ingest.pipeline import Pipeline
from ingest.profile import load_profile, parse_profile
from ingest.profile_guess import Guess, guess_profile
from service.cli import main
from tests.ingest.conftest import NOW
from tests.ingest.memory import MemoryRegistry, MemoryStore

DATA = Path(__file__).resolve().parents[1] / "data"
CHINESE = "监测井数据\n站点编码,采集时间,埋深(m),水温(℃),电压(V),备注\n" + "".join(
    f"JX-W0{i % 2 + 1},2026/1/{i + 1} 08:00:00,{5 + i / 100:.2f},{'缺测' if i == 3 else 18.2},3.6,好\n" for i in range(6)
)


def filled(guess: Guess, **blanks: object) -> dict[str, object]:
    content = yaml.safe_load(guess.text)
    assert isinstance(content, dict)
    for path, value in blanks.items():
        inner = content
        *before, last = path.split("__")
        for part in before:
            inner = inner[int(part)] if part.isdigit() else inner[part]
        inner[last] = value
    return content


def imported(raw: bytes, name: str, content: dict[str, object]) -> tuple[MemoryRegistry, MemoryStore, int, int]:
    registry, store = MemoryRegistry(), MemoryStore()
    profile = parse_profile(content, "guessed")
    report = Pipeline(registry, store).ingest_file(raw, name, profile=profile, actor="test", now=NOW)
    return registry, store, report.accepted, report.rejected


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
def test_a_chinese_table_needs_its_zone_alone(encoding: str) -> None:
    raw = CHINESE.encode(encoding)
    guess = guess_profile(raw, "井.csv")
    assert guess.blanks == ("source: who made the file", "time: zone: the file does not state it (or --zone)")
    with pytest.raises(InputError, match="zone"):
        imported(raw, "井.csv", filled(guess))
    registry, store, accepted, rejected = imported(raw, "井.csv", filled(guess, time__zone="Asia/Shanghai"))
    assert (accepted, rejected) == (18, 0)
    assert store.values(registry.datastream("JX-W01:depth_to_water")) == {
        "2026-01-01T00:00:00": 5.0,
        "2026-01-03T00:00:00": 5.02,
        "2026-01-05T00:00:00": 5.04,
    }
    assert store.row(registry.datastream("JX-W02:water_temperature"), "2026-01-04T00:00:00")[3] == 9


def test_day_and_month_that_may_be_either_way_round_are_asked_for() -> None:
    raw = b"date,flow (m3/h),head\n" + b"".join(b"0%d/0%d/2025,1%d.5,2.1\n" % (i, i % 3 + 1, i) for i in range(1, 9))
    guess = guess_profile(raw, "x.csv")
    asked = " ".join(guess.blanks)
    assert "%m/%d/%Y" in asked
    assert "%d/%m/%Y" in asked
    for blank in ("zone", "constant", "head: unit", "head: datum"):
        assert blank in asked
    content = filled(
        guess,
        time__formats=["%d/%m/%Y"],
        time__zone="+08:00",
        station__constant="W1",
        columns__1__unit="m",
        columns__1__datum="CN-H85",
    )
    registry, store, accepted, rejected = imported(raw, "x.csv", content)
    assert (accepted, rejected) == (16, 0)
    assert next(iter(store.values(registry.datastream("W1:abstraction_rate")))) == "2025-01-02T16:00:00"


def test_semicolons_decimal_commas_and_time_in_two_columns() -> None:
    raw = "Datum;Uhr;埋深(m)\n".encode() + b"".join(b"2025-03-%02d;07:30;1,%d5\n" % (i, i) for i in range(1, 8))
    content = filled(guess_profile(raw, "x.csv"), time__zone="UTC", station__constant="W1")
    registry, store, accepted, rejected = imported(raw, "x.csv", content)
    assert (accepted, rejected) == (7, 0)
    assert store.values(registry.datastream("W1:depth_to_water"))["2025-03-01T07:30:00"] == 1.15


def test_a_workbook_and_a_json_document() -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(["测站", "时间", "水位埋深（m）", "水位埋深（m）2"])
    for hour in range(5):
        sheet.append(["W1", datetime(2025, 3, 1, hour, 30), 5 + hour, 7])  # noqa: DTZ001 - a cell has no zone
    stream = io.BytesIO()
    book.save(stream)
    guess = guess_profile(stream.getvalue(), "x.xlsx")
    assert "time: zone" in " ".join(guess.blanks)
    content = filled(guess, time__zone="Asia/Shanghai", columns__1__unit="m")
    registry, store, accepted, rejected = imported(stream.getvalue(), "x.xlsx", content)
    assert (accepted, rejected) == (10, 0)
    assert store.values(registry.datastream("W1:depth_to_water"))["2025-02-28T16:30:00"] == 5.0
    raw = (DATA / "json" / "wells.json").read_bytes()
    guessed = guess_profile(raw, "wells.json")
    assert guessed.blanks == ("source: who made the file",)
    registry, store, accepted, rejected = imported(raw, "wells.json", filled(guessed))
    assert (accepted, rejected) == (4, 1)


def test_json_by_profile_counts_records_and_refuses_what_is_no_number() -> None:
    profile = load_profile(DATA / "json" / "wells.yaml")
    payload = FORMATS["json"].parse((DATA / "json" / "wells.json").read_bytes(), profile, ImportContext("wells.json"))
    assert sorted((s.station, s.property_code) for s in payload.streams) == [
        ("JX-W01", "depth_to_water"),
        ("JX-W01", "water_temperature"),
        ("JX-W02", "depth_to_water"),
    ]
    assert sorted(payload.columns.result.tolist()) == [5.23, 6.1, 18.2, 18.3]
    assert [(r.line, r.code) for r in payload.rejected] == [(3, "value")]


@pytest.mark.parametrize("raw", [b"", b"a,b\nx,y\n", b"1,2\n3,4\n", b"time,level\n2025-01-01,x\n", b"{}", b"PK\x03\x04"])
def test_a_file_without_time_or_numbers_is_refused_with_the_remedy(raw: bytes) -> None:
    with pytest.raises(InputError) as caught:
        guess_profile(raw, "x")
    assert caught.value.remedy


@given(st.one_of(st.binary(max_size=300), st.text(alphabet='ab时间1,;\n\t" {}[]:.-2025', max_size=300).map(str.encode)))
def test_any_bytes_give_a_profile_that_loads_or_a_refusal(raw: bytes) -> None:
    try:
        guess = guess_profile(raw, "x")
    except InputError:
        return
    parse_profile(yaml.safe_load(guess.text), "guessed")


def test_a_real_file_of_the_forge_is_described(shared_data: Path) -> None:
    path = shared_data / "groundwater" / "pastas" / "head_nb1.csv"
    guess = guess_profile(path.read_bytes(), path.name)
    content = filled(guess, time__zone="UTC", station__constant="NB1", columns__0__unit="m", columns__0__datum="NL-NAP")
    _, _, accepted, rejected = imported(path.read_bytes(), path.name, content)
    assert (accepted, rejected) == (len(path.read_text().splitlines()) - 1, 0)


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "wells.csv"
    table.write_text(CHINESE, encoding="utf-8")
    assert main(["profile", "guess", str(table), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["not_taken"] == []
    assert yaml.safe_load(answer["profile"])["format"] == "csv"
    assert main(["profile", "guess", str(table), "--output", str(tmp_path / "wells.yaml")]) == 0
    assert load_profile(tmp_path / "wells.yaml").columns[0].property_code == "depth_to_water"
    capsys.readouterr()
    assert main(["profile", "guess", str(table), "--output", str(tmp_path / "wells.yaml")]) == 2
    capsys.readouterr()
    assert main(["profile", "list", "--json"]) == 0
    assert {"usgs_rdb", "usgs_waterml"} <= {row["name"] for row in json.loads(capsys.readouterr().out)["profiles"]}
    assert main(["profile", "show", "levelling"]) == 0
    assert "format: levelling" in capsys.readouterr().out


def test_a_column_of_numbers_whose_name_says_nothing_is_proposed_where_no_other_is() -> None:
    """As a German logger writes it: semicolons, decimal commas, and nothing but the word for a value."""
    raw = ("Datum;Wert\n" + "".join(f"{day:02d}.01.2026 08:00;3,{day:02d}\n" for day in range(1, 20))).encode()
    guess = guess_profile(raw, "pegel.csv")
    assert {"columns: Wert: property", "columns: Wert: unit"} <= set(guess.blanks)
    with pytest.raises(ConfigurationError, match="needs match: and property:"):
        imported(raw, "pegel.csv", filled(guess, time__zone="UTC", station__constant="W1"))
    content = filled(guess, time__zone="UTC", station__constant="W1", columns__0__property="depth_to_water", columns__0__unit="m")
    registry, store, accepted, rejected = imported(raw, "pegel.csv", content)
    assert (accepted, rejected) == (19, 0)
    assert store.values(registry.datastream("W1:depth_to_water"))["2026-01-07T08:00:00"] == 3.07


def test_a_second_header_row_of_units_is_read_and_skipped() -> None:
    raw = b"Logger v2\nserial: 123\nTimestamp,Depth to water,Water temp,Conductivity\n,[m],degC,uS/cm\n" + b"".join(
        b"2026-01-01T%02d:00:00,5.%d,18.0,500\n" % (hour, hour) for hour in range(9)
    )
    guess = guess_profile(raw, "x.csv")
    assert not any("unit" in blank for blank in guess.blanks)
    content = filled(guess, time__zone="UTC", station__constant="W1")
    assert [column["unit"] for column in content["columns"]] == ["m", "Cel", "uS/cm"]  # type: ignore[attr-defined]
    registry, store, accepted, rejected = imported(raw, "x.csv", content)
    assert (accepted, rejected) == (27, 0)
    assert store.values(registry.datastream("W1:depth_to_water"))["2026-01-01T08:00:00"] == 5.8


def test_a_row_of_words_below_the_header_is_no_row_of_units() -> None:
    raw = b"time,depth_to_water_m,note\n,how deep,seen\n" + b"".join(b"2026-01-01 %02d:00,5.1,ok\n" % hour for hour in range(9))
    assert "skip_after" not in guess_profile(raw, "x.csv").text


def test_a_pumped_level_is_no_level_at_rest() -> None:
    raw = "日期,动水位埋深(m),埋深(m)\n2026-11-01,50.1,20.1\n2026-11-02,50.2,20.2\n".encode()
    content = yaml.safe_load(guess_profile(raw, "x.csv").text)
    assert [column["property"] for column in content["columns"]] == ["dynamic_depth_to_water", "depth_to_water"]


def test_columns_of_words_are_named_beside_those_not_taken() -> None:
    raw = b"Messstelle;Datum;Temperatur [Cel];Stand [m]\nW1;01.11.2026;18,2;5,1\nW1;13.11.2026;18,1;5,2\n"
    guess = guess_profile(raw, "x.csv")
    assert guess.ignored == ("Stand [m]",)
    assert '# not read: "Messstelle"' in guess.text

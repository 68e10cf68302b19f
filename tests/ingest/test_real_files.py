"""Real files go in and come out equal to the source after the exact unit factor."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from ingest.pipeline import Pipeline
from tests.ingest.conftest import NOW
from tests.ingest.memory import MemoryRegistry, MemoryStore

FOOT = Fraction(3048, 10000)
BARREL_PER_MINUTE_IN_M3_PER_H = Fraction(254, 10000) ** 3 * 231 * 42 * 60


def assert_equal_to_source(stored: dict[str, float], source: dict[str, Fraction]) -> None:
    assert list(stored) == sorted(source)
    for key, exact in source.items():
        assert abs(Fraction(stored[key]) - exact) <= abs(exact) * Fraction(1, 10**12), key


def load(pipeline: Pipeline, path: Path, **flags: object):
    return pipeline.ingest_file(path.read_bytes(), path.name, actor="test", now=NOW, **flags)  # type: ignore[arg-type]


@pytest.mark.parametrize("station", ["DVLT", "PUHI", "PUHR"])
def test_tenv3_displacements_equal_the_source(
    station: str, shared_data: Path, pipeline: Pipeline, registry: MemoryRegistry, store: MemoryStore
) -> None:
    path = shared_data / "gnss" / "ngl_tenv3" / f"{station}.tenv3"
    report = load(pipeline, path)
    rows = [line.split() for line in path.read_text().splitlines()[1:]]
    assert (report.format, report.accepted, report.rejected) == ("tenv3", 3 * len(rows), 0)
    expected = json.loads((path.parent / "expected.json").read_text())["stations"][station]
    assert expected["n_epochs"] == len(rows)
    for code, whole in (("east", 7), ("north", 9), ("up", 11)):
        datastream = registry.datastream(f"{station}:displacement_{code}")
        zero = Decimal(rows[0][whole]) + Decimal(rows[0][whole + 1])
        source = {
            str(np.datetime64(int(row[3]) - 40587, "D").astype("datetime64[s]")): Fraction(
                (Decimal(row[whole]) + Decimal(row[whole + 1]) - zero) * 1000
            )
            for row in rows
        }
        assert_equal_to_source(store.values(datastream), source)
        assert datastream is not None
        assert (datastream.frame, datastream.unit, datastream.confirmed) == ("unstated", "mm", False)


@pytest.mark.parametrize("name", ["TABLE2_Addicks", "TABLE4_Southwest", "TABLE9_JohnsonSpaceCenter", "TABLE13_BaytownShallow"])
def test_houston_compaction_equals_the_source(
    name: str, shared_data: Path, pipeline: Pipeline, registry: MemoryRegistry, store: MemoryStore
) -> None:
    path = shared_data / "extensometer" / "usgs_houston" / f"{name}.txt"
    report = load(pipeline, path, profile="usgs_houston_extensometer")
    rows = [line.split("\t") for line in path.read_text().splitlines()[1:] if line.strip()]
    # TABLE9 gives two values for 4/26/1977: the later line wins, the other is refused with its reason.
    contradictions = 1 if name.startswith("TABLE9") else 0
    assert (report.accepted, report.duplicate, report.rejected) == (len(rows) - contradictions, 0, contradictions)
    assert [(item.line, item.code, item.raw) for item in report.rejects] == [(49, "duplicate_in_file", b"4/26/1977\t1.791")][
        :contradictions
    ]
    assert report.stations == (name.split("_")[1],)
    stored = list(store.values(registry.datastream(f"{name.split('_')[1]}:compaction")).values())
    by_date = {datetime.strptime(row[0], "%m/%d/%Y").replace(tzinfo=UTC): Fraction(row[1].strip()) for row in rows}
    exact = [by_date[day] * FOOT * 1000 for day in sorted(by_date)]
    assert all(abs(Fraction(a) - b) <= abs(b) / 10**12 for a, b in zip(stored, exact, strict=True))


def test_dino_heads_equal_the_source(shared_data: Path, pipeline: Pipeline, registry: MemoryRegistry, store: MemoryStore) -> None:
    path = shared_data / "groundwater" / "dino" / "B33F0133002_1.csv"
    report = load(pipeline, path, profile="dino")
    lines = path.read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("Locatie,Filternummer,Peildatum"))
    rows = [row for row in csv.reader(lines[start + 1 :]) if row]
    heads = [row for row in rows if row[5]]
    assert report.accepted == len(heads) + len([row for row in rows if row[3]])
    assert report.rejected == 0
    datastream = registry.datastream("B33F0133-002:head")
    assert datastream is not None
    assert (datastream.datum_code, datastream.unit) == ("NL-NAP", "m")
    stored = list(store.values(datastream).values())
    assert all(abs(Fraction(a) - Fraction(int(row[5]), 100)) <= Fraction(1, 10**12) for a, row in zip(stored, heads, strict=True))


@pytest.mark.parametrize(("name", "factor"), [("head_nb1", 1), ("B32C0639001", 1), ("B42B0040002", 100)])
def test_pastas_heads_equal_the_source(
    name: str, factor: int, shared_data: Path, pipeline: Pipeline, registry: MemoryRegistry, store: MemoryStore
) -> None:
    path = shared_data / "groundwater" / "pastas" / f"{name}.csv"
    report = load(pipeline, path, profile="pastas_head")
    rows = list(csv.reader(path.read_text().splitlines()))[1:]
    assert (report.accepted, report.rejected) == (len(rows), 0)
    stored = list(store.values(registry.datastream(f"{name}:head")).values())
    assert all(
        abs(Fraction(a) - Fraction(row[1]) / factor) <= abs(Fraction(row[1])) / 10**12
        for a, row in zip(stored, rows, strict=True)
    )


def test_usgs_rdb_discharge_equals_the_source(
    shared_data: Path, pipeline: Pipeline, registry: MemoryRegistry, store: MemoryStore
) -> None:
    path = shared_data / "groundwater" / "usgs" / "RDB1Example.txt"
    report = load(pipeline, path, profile="usgs_rdb")
    rows = [line.split("\t") for line in path.read_text().splitlines() if line.startswith("USGS")]
    assert (report.format, report.accepted, report.rejected) == ("rdb", len(rows), 0)
    datastream = registry.datastream("02177000:discharge")
    source = {f"{row[2]}T05:00:00": Fraction(row[3]) * FOOT**3 for row in rows}
    assert_equal_to_source(store.values(datastream), source)
    last = store.row(datastream, f"{rows[-1][2]}T05:00:00")
    assert last[3:] == (2, ("provisional",))
    assert last[2] == "2012-10-02T05:00:00.000000"


def test_utah_forge_injection_equals_the_source(
    shared_data: Path, pipeline: Pipeline, registry: MemoryRegistry, store: MemoryStore
) -> None:
    path = shared_data / "geothermal" / "utah_forge_injection_2024-08.csv"
    report = load(pipeline, path, profile="utah_forge_injection")
    rows = list(csv.reader(path.read_text().splitlines()))[1:]
    assert (report.accepted, report.rejected) == (len(rows), 0)
    values = store.values(registry.datastream("UtahFORGE-16A:injection_rate"))
    exact = [Fraction(row[1]) * BARREL_PER_MINUTE_IN_M3_PER_H for row in rows]
    assert all(abs(Fraction(a) - b) <= abs(b) / 10**12 for a, b in zip(values.values(), exact, strict=True))
    assert next(iter(values)) == "2024-08-08T06:00:00"


def test_every_shipped_profile_recognises_its_file_without_being_named(shared_data: Path, pipeline: Pipeline) -> None:
    for path, profile in (
        ("extensometer/usgs_houston/TABLE7_Northeast.txt", "usgs_houston_extensometer"),
        ("groundwater/dino/B02H1007001_1.csv", "dino"),
        ("groundwater/usgs/RDB1Example.txt", "usgs_rdb"),
        ("geothermal/utah_forge_injection_2024-08.csv", "utah_forge_injection"),
        ("groundwater/pastas/B42B0040002.csv", "pastas_head"),
    ):
        report = load(pipeline, shared_data / path)
        assert report.profile == profile
        assert report.accepted > 0
        assert report.rejected == 0


def test_a_file_imported_twice_changes_nothing(shared_data: Path, pipeline: Pipeline, store: MemoryStore) -> None:
    path = shared_data / "groundwater" / "dino" / "B42B0003004_1.csv"
    first = load(pipeline, path)
    before = dict(store.rows)
    second = load(pipeline, path)
    assert (second.accepted, second.corrected, second.duplicate) == (0, 0, first.accepted)
    assert store.rows == before
    assert store.revisions == []


def test_a_later_tenv3_extract_is_tied_to_the_first_zero(shared_data: Path, pipeline: Pipeline, store: MemoryStore) -> None:
    raw = (shared_data / "gnss" / "ngl_tenv3" / "PUHR.tenv3").read_bytes()
    lines = raw.splitlines(keepends=True)
    whole = pipeline.ingest_file(raw, "PUHR.tenv3", actor="test", now=NOW)
    before = {key: float.fromhex(str(row[0])) for key, row in store.rows.items()}
    again = pipeline.ingest_file(lines[0] + b"".join(lines[100:]), "PUHR.tenv3", actor="test", now=NOW)
    assert "mapping" in again.notes
    after = {key: float.fromhex(str(row[0])) for key, row in store.rows.items()}
    assert max(abs(after[key] - before[key]) for key in before) < 1e-9
    assert whole.accepted == len(before) == len(after)

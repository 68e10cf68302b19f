"""A levelling result table as it is handed over: a workbook with ranges of dates, classes, distances and mean errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ingest.choosing import choose_format
from ingest.formats import FORMATS, ImportContext
from ingest.pipeline import Pipeline
from ingest.profile import load_profile
from tests.ingest.conftest import NOW
from tests.ingest.memory import MemoryRegistry, MemoryStore

WORKBOOK = Path(__file__).resolve().parents[1] / "data" / "levelling" / "jiaxing_2024.xlsx"


def test_the_workbook_gives_heights_classes_distances_and_mean_errors() -> None:
    raw = WORKBOOK.read_bytes()
    entry, profile = choose_format(raw, WORKBOOK.name, None, None)
    assert entry.name == "levelling"
    payload = entry.parse(raw, profile, ImportContext(WORKBOOK.name))
    rows = payload.columns
    assert rows.result.tolist() == [3.10125, 2.0312, 2.4405]
    # The stated mean error; that of 25 km at 1 mm for each root of a kilometre; and none without a distance.
    assert rows.sigma.tolist() == pytest.approx([0.0012, 0.005, np.nan], nan_ok=True)
    assert np.datetime_as_string(rows.time, unit="D").tolist() == ["2024-05-09", "2024-05-31", "2024-05-09"]
    assert str(rows.end[0]) == "2024-05-28T16:00:00.000000"
    assert [dict(s.attributes) for s in payload.streams] == [
        {"levelling_class": "一等", "levelling_distance": "16 km"},
        {"levelling_class": "二等", "levelling_distance": "25 km"},
        {"levelling_class": "二等"},
    ]
    assert {s.datum for s in payload.streams} == {"CN-H85"}
    assert [(r.line, r.code) for r in payload.rejected] == [(8, "value")]
    assert "sigma_from_distance" in payload.notes


def test_millimetres_and_metres_are_the_same_survey(pipeline: Pipeline, registry: MemoryRegistry, store: MemoryStore) -> None:
    in_metres = "高程系统:1985国家高程基准\n点名,高程(m),中误差(mm),观测日期\nA1,3.1234,1.5,2024-05-10\n"
    in_millimetres = "高程系统:1985国家高程基准\n点名,高程(mm),中误差(mm),观测日期\nA1,3123.4,1.5,2024-05-10\n"
    first = pipeline.ingest_file(in_metres.encode(), "m.csv", actor="test", now=NOW)
    again = pipeline.ingest_file(in_millimetres.encode(), "mm.csv", actor="test", now=NOW)
    assert (first.accepted, again.accepted, again.rejected) == (1, 0, 0)
    assert list(store.values(registry.datastream("A1:height")).values()) == pytest.approx([3.1234], rel=1e-15)


@pytest.mark.parametrize(("distance", "sigma"), [("距离(m)", 0.0005), ("路线长度（公里）", 0.0005 * 1000**0.5), ("距离", None)])
def test_a_distance_without_unit_gives_no_mean_error(distance: str, sigma: float | None) -> None:
    text = f"高程系统:1985国家高程基准\n点名,高程(m),每公里中误差(mm),{distance},观测日期\nA1,3.1,0.5,1000,2024-05-10\n"
    payload = FORMATS["levelling"].parse(text.encode(), load_profile("levelling"), ImportContext("x.csv"))
    found = float(payload.columns.sigma[0])
    assert np.isnan(found) if sigma is None else found == pytest.approx(sigma)

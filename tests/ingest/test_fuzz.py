"""No bytes make a parser raise anything but an `InputError`, and what it returns is well formed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.errors import InputError
from domain.observation import ParsedPayload
from ingest.formats import FORMATS, ImportContext
from ingest.formats.decoding import unpack
from ingest.pipeline import Pipeline
from ingest.profile import Profile, load_profile
from tests.ingest.conftest import NOW
from tests.ingest.memory import MemoryRegistry, MemoryStore

DATA = Path(__file__).resolve().parents[1] / "data"
PROFILES: dict[str, Profile | None] = {
    "levelling": load_profile("levelling"),
    "toa5": load_profile(DATA / "toa5/wellfield.yaml"),
    "tenv3": None,
    "csv": load_profile(DATA / "csv/flow.yaml"),
    "rdb": load_profile("usgs_rdb"),
    "native_json": None,
    "senml": None,
    "chirpstack": None,
    "json": load_profile(DATA / "json/wells.yaml"),
    "neu": None,
    "waterml": load_profile("usgs_waterml"),
    "sensorthings": None,
    "pos": None,
    "sinex": None,
    "sl651": None,
    "hj212": None,
    "xle": load_profile(DATA / "xle/well.yaml"),
    "fews": load_profile(DATA / "fews/rain.yaml"),
}
SAMPLES = {
    name: next(path for path in sorted((DATA / name).iterdir()) if path.suffix != ".yaml").read_bytes() for name in FORMATS
}
SLOW = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


def assert_well_formed(payload: ParsedPayload) -> None:
    rows = payload.columns
    assert len(rows) == 0 or (rows.stream.min() >= 0 and rows.stream.max() < len(payload.streams))
    assert not np.isnat(rows.time).any()
    assert set(rows.quality.tolist()) <= {1, 2, 3, 4, 9}
    assert (rows.quality[np.isnan(rows.result)] == 9).all()
    assert all(reject.reason and reject.code for reject in payload.rejected)


def try_to_parse(name: str, raw: bytes) -> None:
    assert 0.0 <= FORMATS[name].sniff(raw, "x.dat") <= 1.0
    try:
        payload = FORMATS[name].parse(raw, PROFILES[name], ImportContext("x.dat", station="S1", zone="Asia/Shanghai"))
    except InputError:
        return
    assert_well_formed(payload)


@pytest.mark.parametrize("name", FORMATS)
@SLOW
@given(raw=st.binary(max_size=600))
def test_random_bytes(name: str, raw: bytes) -> None:
    try_to_parse(name, raw)


@pytest.mark.parametrize("name", FORMATS)
@SLOW
@given(data=st.data())
def test_samples_with_damage(name: str, data: st.DataObject) -> None:
    raw = bytearray(SAMPLES[name])
    for _ in range(data.draw(st.integers(1, 6))):
        start = data.draw(st.integers(0, len(raw)))
        stop = min(len(raw), start + data.draw(st.integers(0, 20)))
        raw[start:stop] = data.draw(
            st.one_of(st.binary(max_size=12), st.sampled_from([b"\n", b'"', b",", b"\t", b"nan", b"1e999", b"9" * 30]))
        )
    try_to_parse(name, bytes(raw))


@pytest.mark.parametrize("name", FORMATS)
@SLOW
@given(text=st.text(max_size=300))
def test_a_sample_with_random_text_behind(name: str, text: str) -> None:
    try_to_parse(name, SAMPLES[name] + text.encode("utf-8", errors="ignore"))


@SLOW
@given(raw=st.binary(max_size=200))
def test_damaged_gzip_and_workbooks(raw: bytes) -> None:
    for magic in (b"\x1f\x8b\x08", b"PK\x03\x04"):
        try:
            unpack(magic + raw)
            FORMATS["levelling"].parse(magic + raw, PROFILES["levelling"], ImportContext("x"))
        except InputError:
            continue


@SLOW
@given(raw=st.binary(max_size=300))
def test_the_whole_pipeline_takes_any_file(raw: bytes) -> None:
    pipeline = Pipeline(MemoryRegistry(), MemoryStore())
    for name in FORMATS:
        try:
            pipeline.ingest_file(raw, "x", format=name, station="S1", zone="UTC", actor="fuzz", now=NOW)
        except InputError:
            continue

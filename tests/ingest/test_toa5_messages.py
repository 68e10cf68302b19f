"""TOA5 tables that a logger sends over MQTT: known by the name in the header, understood by the device's attributes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import FormatError, InputError
from domain.model import Datastream, Device, Station, StationKind
from ingest.formats import MESSAGE_FORMATS, MessageContext
from ingest.pipeline import Pipeline
from ingest.transports.topics import message_of
from tests.ingest.conftest import NOW
from tests.ingest.memory import MemoryRegistry, MemoryStore

DATA = Path(__file__).resolve().parents[1] / "data" / "toa5"
RAW = (DATA / "wellfield.dat").read_bytes()
PROFILE: dict[str, Any] = yaml.safe_load((DATA / "wellfield.yaml").read_text(encoding="utf-8"))


def test_a_table_on_its_topic_is_stored_once_however_often_it_comes(
    pipeline: Pipeline, registry: MemoryRegistry, store: MemoryStore
) -> None:
    registry.add_station(Station("JX-W01", StationKind.OBSERVATION_WELL, "一号", "one"), actor="t")
    for name, unit in (("depth_to_water", "cm"), ("water_temperature", "Cel")):
        registry.add_datastream(Datastream("JX-W01", name, unit), actor="t")
    registry.devices["toa5", "JX-W01"] = Device("toa5", "JX-W01", "JX-W01", attributes={"profile": PROFILE})
    message = message_of("gw/v1/stations/JX-W01/toa5", RAW, NOW)
    assert message is not None
    (first,) = pipeline.ingest_messages([message], NOW)
    (again,) = pipeline.ingest_messages([message], NOW)
    assert first.observations == first.counts.accepted + first.counts.duplicate > 0
    assert again.counts.accepted == again.counts.corrected == 0
    depths = [float.fromhex(str(row[0])) for (stream, _), row in store.rows.items() if stream == 1]
    assert depths[0] == pytest.approx(523.1, rel=1e-12)  # metres in the header, centimetres in the datastream


def test_what_its_fields_and_times_mean_is_never_guessed() -> None:
    read = MESSAGE_FORMATS["toa5"]
    assert read.identity is not None
    assert read.identity(RAW) == "JX-W01"
    assert read.identity(b"hello") is None
    for attributes in ({}, {"profile": {**PROFILE, "time": {}}}, {"profile": {"format": "toa5", "colour": 1}}):
        with pytest.raises(FormatError):
            read.elements(RAW, MessageContext("t", NOW, "JX-W01", attributes))


@given(st.binary(max_size=200))
def test_no_bytes_make_the_reader_fall(raw: bytes) -> None:
    read = MESSAGE_FORMATS["toa5"]
    assert read.identity is not None
    for payload in (raw, RAW[:300] + raw):
        read.identity(payload)
        try:
            read.elements(payload, MessageContext("t", NOW, "JX-W01", {"profile": PROFILE}))
        except InputError:
            continue

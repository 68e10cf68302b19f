"""What is registered of a device: what cannot be is refused when it is said, and never stops the frames of others."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from domain.errors import InputError
from domain.model import Datastream, Device, Station, StationKind
from domain.observation import QuarantineEntry
from ingest.device_attributes import check_attributes
from ingest.formats import MESSAGE_FORMATS
from ingest.messages import Message
from ingest.pipeline import Pipeline
from tests.ingest.memory import MemoryRegistry, MemoryStore
from tests.ingest.rtu import element, packet, report

NOW = datetime(2025, 6, 1, 1, tzinfo=UTC)
WELL = {"property": "depth_to_water", "unit": "m"}
WRONG: list[tuple[str, Mapping[str, Any], str]] = [
    ("sl651", {"ignored": 5}, "list of codes"),
    ("sl651", {"ignored": "26"}, "list of codes"),
    ("sl651", {"elements": ["0E"]}, "mapping of codes"),
    ("sl651", {"elements": {"0E": 7}}, "mapping of codes"),
    ("sl651", {"elements": {"0E": {"property": "Depth To Water"}}}, "is no property"),
    ("sl651", {"elements": {"0E": {"property": 5}}}, "is no property"),
    ("sl651", {"elements": {"0E": WELL | {"channel": 5}}}, "is no channel"),
    ("sl651", {"elements": {"0E": WELL | {"unit": "furlongs"}}}, "is no unit"),
    ("sl651", {"elements": {"0E": WELL | {"extent_s": "an hour"}}}, "number of seconds"),
    ("sl651", {"elements": {"0E": WELL | {"extent_s": -1}}}, "number of seconds"),
    ("sl651", {"elements": {"0E": WELL | {"propertey": "head"}}}, "propertey is unknown"),
    ("sl651", {"elements": {"0E": WELL | {"fields": 3}}}, "fields is no mapping"),
    ("sl651", {"zone": "Mars"}, "Mars"),
    ("hj212", {"periods": 5}, "seconds by command"),
    ("hj212", {"periods": {"2051": "five"}}, "seconds by command"),
    ("hj212", {"elements": {"w01010": {"unit": 5}}}, "is no unit"),
    ("sparkplug", {"elements": 5}, "mapping of codes"),
    ("sparkplug", {"ignored": {"a": 1}}, "list of codes"),
    ("chirpstack", {"parameters": [1]}, "no numbers"),
    ("toa5", {"profile": {"columns": 5}}, "columns"),
    ("toa5", {"zone": "Mars"}, "Mars"),
]


@pytest.mark.parametrize(("protocol", "attributes", "what"), WRONG)
def test_attributes_that_no_frame_could_be_read_with_are_refused_with_what_is_wrong(
    protocol: str, attributes: Mapping[str, Any], what: str
) -> None:
    with pytest.raises(InputError, match=what) as refused:
        check_attributes(protocol, attributes, f"{protocol}:1")
    assert refused.value.remedy


@pytest.mark.parametrize(
    ("protocol", "attributes"),
    [
        ("sl651", {}),
        ("sl651", {"elements": {"FF38": {"property": "water_pressure", "unit": "kPa", "channel": "p1"}}, "zone": "+08:00"}),
        ("hj212", {"elements": {"w00000": {"unit": "m3/h"}}, "ignored": ["w01018"], "periods": {"2051": 300}}),
        ("sparkplug", {"elements": {"Well/T": {"property": "wellhead_temperature", "unit": "Cel"}}, "ignored": ["Well/Alarm"]}),
        ("chirpstack", {"codec": "decentlab_pr26", "parameters": {"pmax_bar": 3}, "channel": "upper"}),
        ("toa5", {"profile": {"format": "toa5", "columns": [{"match": "depth", **WELL}]}, "zone": "Asia/Shanghai"}),
        ("native_json", {"anything": 1}),
    ],
)
def test_attributes_as_documented_are_taken(protocol: str, attributes: Mapping[str, Any]) -> None:
    check_attributes(protocol, attributes, f"{protocol}:1")


@pytest.fixture
def wells(registry: MemoryRegistry) -> None:
    for code in ("W1", "W2"):
        registry.add_station(Station(code, StationKind.OBSERVATION_WELL, code, code), actor="t")
        for name, unit in (("depth_to_water", "m"), ("tail_water_temperature", "Cel")):
            registry.add_datastream(Datastream(code, name, unit), actor="t")
    registry.devices["sl651", "3304020002"] = Device("sl651", "3304020002", "W2")


def frames(protocol: str) -> tuple[str, bytes]:
    if protocol == "sl651":
        return "3304020001", report(element("0E", "5.23", 3, 2))
    return "JX0000TAIL01", packet(["w01010-Rtd=28.6,w01010-Flag=N"])


@pytest.mark.usefixtures("wells")
@pytest.mark.parametrize(
    ("protocol", "attributes"), [(protocol, attributes) for protocol, attributes, _ in WRONG if protocol in {"sl651", "hj212"}]
)
def test_a_device_with_wrong_attributes_in_the_register_stops_no_other(
    protocol: str, attributes: Mapping[str, Any], registry: MemoryRegistry, store: MemoryStore, pipeline: Pipeline
) -> None:
    identity, payload = frames(protocol)
    registry.devices[protocol, identity] = Device(protocol, identity, "W1", attributes=attributes)
    other = report(element("0E", "6.41", 3, 2), station="3304020002")
    messages = [Message("", raw, NOW, "tcp://10.0.0.7/x", format=kind) for kind, raw in ((protocol, payload), ("sl651", other))]
    bad, good = pipeline.ingest_messages(messages, NOW)
    assert (bad.observations, good.observations) == (0, 1)
    assert [reject.raw for reject in bad.rejects] == [payload]
    assert "Remedy" in bad.rejects[0].reason


@pytest.mark.usefixtures("wells")
def test_a_message_that_a_parser_breaks_at_is_quarantined_with_its_device_and_the_rest_goes_in(
    registry: MemoryRegistry, store: MemoryStore, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity, payload = frames("sl651")
    registry.devices["sl651", identity] = Device("sl651", identity, "W1")
    read = MESSAGE_FORMATS["sl651"].elements
    broken = dict(MESSAGE_FORMATS)

    def elements(raw: bytes, context: Any) -> Any:
        if raw == payload:
            raise KeyError("nobody thought of it")
        return read(raw, context)

    broken["sl651"] = type(MESSAGE_FORMATS["sl651"])(
        "sl651", elements, identity=MESSAGE_FORMATS["sl651"].identity, password=MESSAGE_FORMATS["sl651"].password
    )
    monkeypatch.setattr("ingest.messages.MESSAGE_FORMATS", broken)
    other = report(element("0E", "6.41", 3, 2), station="3304020002")
    receipts = pipeline.ingest_messages(
        [Message("", raw, NOW, "tcp://10.0.0.7/sl651", format="sl651") for raw in (payload, other)], NOW
    )
    assert [receipt.observations for receipt in receipts] == [0, 1]
    (entry,) = store.quarantine
    assert isinstance(entry, QuarantineEntry)
    assert (entry.rejected.code, entry.rejected.raw, entry.device) == ("internal", payload, f"sl651:{identity}")
    assert "nobody thought of it" in entry.rejected.reason

"""Devices by the command line, on a real database: accounts, identities of frames, and what waits until somebody admits it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ingest.messages import Message
from service.bootstrap import Container
from service.settings import Settings
from tests.ingest.rtu import SL651_WELL, element, packet, report
from tests.service.commands.test_commands import Run, add_well, run

__all__ = ["run"]
pytestmark = pytest.mark.stack
SEEN = datetime(2025, 6, 1, 0, 1, tzinfo=UTC)


@pytest.fixture
def container(run: Run, database_url: str, tmp_path: Path) -> Iterator[Container]:
    with Container(Settings(home=tmp_path / "home", database_url=database_url)) as opened:
        yield opened


def receive(container: Container, *frames: bytes, protocol: str = "sl651") -> None:
    messages = [
        Message("", frame, SEEN + timedelta(hours=number), f"tcp://10.0.0.7/{protocol}", format=protocol)
        for number, frame in enumerate(frames)
    ]
    for message in messages:
        container.pipeline.ingest_messages([message], message.received_at, source_kind="tcp")


def test_an_unknown_device_is_listed_admitted_by_one_command_and_its_frames_become_observations(
    run: Run, container: Container
) -> None:
    later = report(element("0E", "5.25", 3, 2), observed="2506010900", serial=2)
    receive(container, SL651_WELL, later)
    (listed,) = [item for item in run("device", "unknown")[1] if item["device"] == "sl651:3304020001"]
    assert (listed["frames"], listed["transport"], listed["source"]) == (2, "tcp", "tcp://10.0.0.7/sl651")
    assert (listed["first_seen"], listed["last_seen"]) == ("2025-06-01T00:01:00Z", "2025-06-01T01:01:00Z")

    code, (refused,) = run("device", "admit", "sl651:3304020001", "--station", "JX-RTU1")
    assert (code, refused["error"]) == (2, "not-found")
    assert "--create" in refused["remedy"]
    words = ("--station", "JX-RTU1", "--create", "kind=observation_well", "name_zh=一号遥测井")
    code, (done,) = run("device", "admit", "sl651:3304020001", *words)
    assert code == 0, done
    assert (done["ok"], done["frames"], done["remaining"], done["refused"]) == (True, 2, 0, {})
    assert set(done["created"]) == {
        "JX-RTU1",
        "JX-RTU1:depth_to_water",
        "JX-RTU1:water_temperature",
        "JX-RTU1:battery_voltage",
    }
    station = container.registers.station("JX-RTU1")
    assert station is not None
    assert (station.kind, station.name_zh, station.confirmed) == ("observation_well", "一号遥测井", False)
    depth = container.registers.datastream("JX-RTU1:depth_to_water")
    assert depth is not None
    rows = container.observations.page(depth.datastream_id or 0, None, None)
    assert [(row.result, row.received_at) for row in rows] == [(5.23, SEEN), (5.25, SEEN + timedelta(hours=1))]
    assert all(item["device"] != "sl651:3304020001" for item in run("device", "unknown")[1])

    receive(container, SL651_WELL)  # sent once more
    assert len(container.observations.page(depth.datastream_id or 0, None, None)) == 2
    assert run("device", "admit", "sl651:3304020001", "--station", "DEVX")[1][0]["error"] == "conflict"


def test_what_has_no_datastream_goes_on_waiting_until_there_is_one(run: Run, container: Container) -> None:
    add_well(run, "W7")
    receive(container, report(element("0E", "7.1", 3, 2), element("39", "1.5", 4, 3), station="7777777777"))
    code, (done,) = run("device", "admit", "sl651:7777777777", "--station", "W7")
    assert code == 3
    assert (done["frames"], done["remaining"], done["created"]) == (1, 1, [])
    (reason,) = done["refused"]
    assert "W7:head does not exist" in reason
    assert run("datastream", "add", "W7:head", "unit=m", "datum_code=CN-H85")[0] == 0
    code, (again,) = run("device", "admit", "sl651:7777777777", "--station", "W7")
    assert (code, again["remaining"]) == (0, 0)
    head = container.registers.datastream("W7:head")
    assert head is not None
    assert [row.result for row in container.observations.page(head.datastream_id or 0, None, None)] == [1.5]


def test_a_unit_that_a_device_needs_is_stated_when_it_is_admitted(run: Run, container: Container) -> None:
    raw = packet(["w00000-Rtd=2.5,w00000-Flag=N", "w01010-Rtd=28.6,w01010-Flag=D"], device="TAIL9")
    receive(container, raw, protocol="hj212")
    assert run("device", "admit", "hj212:TAIL9", "--station", "T9", "--create")[0] == 3
    attributes = json.dumps({"elements": {"w00000": {"unit": "L/s"}}})
    code, (done,) = run("device", "admit", "hj212:TAIL9", f"attributes={attributes}", "--station", "T9", "--create")
    assert (code, done["remaining"], done["created"]) == (0, 0, ["T9:tail_water_rate"])
    rate = container.registers.datastream("T9:tail_water_rate")
    assert rate is not None
    assert [row.result for row in container.observations.page(rate.datastream_id or 0, None, None)] == [pytest.approx(9.0)]
    _, (shown,) = run("device", "show", "hj212:TAIL9")
    assert (shown["station"], shown["attributes"]) == ("T9", json.loads(attributes))


def test_a_rejected_device_is_set_aside_and_nothing_of_it_is_stored_any_more(run: Run, container: Container) -> None:
    stranger = report(element("0E", "1.0", 3, 2), station="6666666666")
    receive(container, stranger)
    _, (done,) = run("device", "reject", "sl651:6666666666", "--note", "not ours")
    assert (done["rejected"], done["set_aside"]) == (True, 1)
    container.registers.forget()
    before = len(container.observations.batches(limit=1000))
    receive(container, report(element("0E", "2.0", 3, 2), station="6666666666"))
    assert len(container.observations.batches(limit=1000)) == before
    assert all(item["device"] != "sl651:6666666666" for item in run("device", "unknown")[1])
    assert run("device", "show", "sl651:6666666666")[1][0]["status"] == "rejected"


def test_devices_are_added_changed_exported_imported_and_removed(
    run: Run, container: Container, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add_well(run, "W8")
    add_well(run, "W8B")
    assert run("device", "add", "hj212:MN8", "station=W8", "password=123456")[0] == 0
    assert run("device", "add", "chirpstack:24E124AA", "station=W8", 'attributes={"codec": "em500-swl"}')[0] == 0
    assert run("device", "add", "W8")[1][0]["mqtt_username"] == "W8"
    assert run("device", "add", "GATE", "stations=[W8, W8B]")[1][0]["stations"] == ["W8", "W8B"]
    assert run("device", "set", "hj212:MN8", "station=W8B", "note=moved")[1][0]["station"] == "W8B"
    from service.cli import main

    assert main(["device", "export"]) == 0
    path = tmp_path / "devices.yaml"
    path.write_text(capsys.readouterr().out, encoding="utf-8")
    assert run("device", "remove", "hj212:MN8")[0] == 0
    assert run("device", "import", str(path))[0] == 0
    listed = {item["code"]: item for item in run("device", "list")[1]}
    assert (listed["hj212:MN8"]["station"], listed["hj212:MN8"]["password"]) == ("W8B", "123456")
    assert listed["chirpstack:24e124aa"]["attributes"] == {"codec": "em500-swl"}
    assert listed["GATE"]["stations"] == ["W8", "W8B"]
    access = (tmp_path / "accounts" / "access").read_text(encoding="utf-8")
    assert "topic write gw/v1/stations/W8B/#" in access.partition("user GATE")[2]
    assert "pattern write gw/v1/stations/%u/#" in access


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("device", "add", "modbus:1", "station=W1"), "modbus"),
        (("device", "add", "sl651:", "station=W1"), "PROTOCOL:IDENTITY"),
        (("device", "add", "sl651:0000000001"), "station"),
        (("device", "add", "sl651:0000000001", "station=nosuch"), "nosuch"),
        (("device", "add", "sl651:0000000001", "colour=red"), "colour"),
        (("device", "add", "sl651:0000000001", "status=maybe"), "status"),
        (("device", "add", "sl651:0000000001", "station=W1", "attributes=3"), "attributes"),
        (("device", "set", "sl651:0000000001", "note=x"), "sl651:0000000001"),
        (("device", "remove", "sl651:0000000001"), "sl651:0000000001"),
        (("device", "admit", "sl651:1", "--station", "X", "--create", "kind=spaceship"), "spaceship"),
        (("device", "set", "nosuch", "password=0123456789"), "nosuch"),
    ],
)
def test_what_is_wrong_is_named(run: Run, words: tuple[str, ...], named: str) -> None:
    code, (answer,) = run(*words)
    assert code == 2
    assert named in " ".join(str(answer[key]) for key in ("what", "where", "remedy"))

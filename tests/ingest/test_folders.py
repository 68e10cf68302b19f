"""Folders as gateways leave them, seen from outside: `groundwatch ingest` runs, files come and change, and nothing is lost or doubled."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from domain.model import Datastream, Station, StationKind
from service.bootstrap import Container
from service.configuration.vocabulary import apply_vocabulary
from service.settings import Settings
from storage.register_rows import Node
from tests.conftest import BrokerLogin
from tests.waiting import wait_until

pytestmark = pytest.mark.stack
PATIENCE_S = 60.0
NUMBERS = count(1)


@dataclass
class Gateway:
    """Puts files into the inbox of a running ingest and reads what is stored."""

    container: Container
    process: subprocess.Popen[bytes]
    inbox: Path
    code: str = ""
    key: int = 0

    def table(self, *values: float, begin: int = 0) -> bytes:
        return b"station;time;depth\n" + self.rows(*values, begin=begin)

    def rows(self, *values: float, begin: int = 0) -> bytes:
        lines = (f"{self.code};2026-05-01 {at // 60:02d}:{at % 60:02d};{value}\n" for at, value in enumerate(values, start=begin))
        return "".join(lines).encode()

    def put(self, name: str | bytes, content: bytes) -> Path:
        path = self.inbox / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def stored(self) -> list[float | None]:
        return [row.result for row in self.container.observations.page(self.key, None, None, limit=1000)]

    def revisions(self) -> int:
        with self.container.db.transaction() as connection:
            row = connection.execute("SELECT count(*) FROM observation_revision WHERE datastream_id = %s", [self.key]).fetchone()
        assert row is not None
        return int(row[0])

    def wait_for(self, *values: float) -> None:
        wait_until(lambda: self.stored() == list(values), PATIENCE_S, f"{values} are stored, not {self.stored()}")
        assert self.process.poll() is None

    def wait_for_report(self, name: str, folder: str = "processed") -> dict[str, object]:
        path = self.inbox / folder / f"{name}.report.json"
        wait_until(path.exists, PATIENCE_S, f"{path} is written")
        report: dict[str, object] = json.loads(path.read_text(encoding="utf-8"))
        return report


PROFILE = """
title: of a gateway
format: csv
delimiter: ";"
time: {column: time, formats: ["%Y-%m-%d %H:%M"], zone: "+08:00"}
station: {template: "{station}"}
columns:
  - {match: depth, property: depth_to_water, unit: m}
"""


@pytest.fixture(scope="module")
def running(database_url: str, broker: BrokerLogin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    home = tmp_path_factory.mktemp("home")
    (home / "profiles").mkdir()
    (home / "profiles" / "wells.yaml").write_text(PROFILE, encoding="utf-8")
    inbox = home / "in"
    environment = {
        **os.environ,
        "GROUNDWATCH_HOME": str(home),
        "GROUNDWATCH_DATABASE_URL": database_url,
        "GROUNDWATCH_MQTT_URL": broker.url,
        "GROUNDWATCH_MQTT_CLIENT_ID": "folders",
        "GROUNDWATCH_INBOX": str(inbox),
        "GROUNDWATCH_INBOX_SETTLE_S": "0.5",
        "GROUNDWATCH_INBOX_PATIENCE_S": "4",
        "GROUNDWATCH_INBOX_RESTLESS_S": "2",
    }
    with Container(Settings(home=home, database_url=database_url)) as container:
        apply_vocabulary(container.registers)
        container.registers.set_node(Node("jiaxing", "嘉兴", "Jiaxing", "330400", zone="Asia/Shanghai"))
        command = [str(Path(sys.executable).with_name("groundwatch")), "ingest"]
        process = subprocess.Popen(command, env=environment)
        try:
            wait_until(inbox.is_dir, 30, "ingest watches its inbox")
            yield Gateway(container, process, inbox)
            assert process.poll() is None, "ingest still runs"
        finally:
            process.terminate()
            process.wait(30)


@pytest.fixture
def gateway(running: Gateway) -> Gateway:
    code = f"W{next(NUMBERS):02d}"
    running.container.registers.add_station(Station(code, StationKind.OBSERVATION_WELL, code, code), actor="t")
    stream = running.container.registers.add_datastream(Datastream(code, "depth_to_water", "m"), actor="t")
    return Gateway(running.container, running.process, running.inbox, code, stream.datastream_id or 0)


def test_a_file_that_never_rests_is_read_while_it_grows_and_once_more_when_it_is_whole(gateway: Gateway) -> None:
    path = gateway.put("wells/restless.csv", gateway.table(1.0))
    is_enough, written = threading.Event(), [1.0]

    def write() -> None:
        with path.open("ab", buffering=0) as stream:
            while not is_enough.wait(0.15):
                line = gateway.rows(written[-1] + 1.0, begin=len(written))
                stream.write(line[:-3])
                stream.write(line[-3:])
                written.append(written[-1] + 1.0)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        wait_until(lambda: len(gateway.stored()) > 1, PATIENCE_S, "something of it is stored while it grows")
        assert path.exists(), "it stays as long as it grows"
    finally:
        is_enough.set()
        writer.join()
    gateway.wait_for(*written)
    gateway.wait_for_report("wells/restless.csv")
    assert gateway.revisions() == 0


def test_a_file_rewritten_in_place_and_then_truncated_keeps_what_it_said_and_corrects_what_changed(gateway: Gateway) -> None:
    gateway.put("wells/same.csv", gateway.table(1.0, 2.0, 3.0))
    gateway.wait_for(1.0, 2.0, 3.0)
    gateway.wait_for_report("wells/same.csv")
    with (gateway.inbox / "processed/wells/same.csv").open("r+b") as held_open:  # by its writer, since before it was moved
        held_open.write(gateway.table(1.0, 2.5, 3.0))
    gateway.wait_for(1.0, 2.5, 3.0)
    with (gateway.inbox / "processed/wells/same.csv").open("r+b") as held_open:
        held_open.truncate(len(gateway.table(1.0)))
    gateway.put("wells/after.csv", gateway.table(4.0, begin=3))
    gateway.wait_for(1.0, 2.5, 3.0, 4.0)
    assert gateway.revisions() == 1


def test_the_same_name_again_with_other_content_is_another_file(gateway: Gateway) -> None:
    gateway.put("wells/current.csv", gateway.table(1.0))
    gateway.wait_for(1.0)
    gateway.wait_for_report("wells/current.csv")
    gateway.put("wells/current.csv", gateway.table(2.0, begin=1))
    gateway.wait_for(1.0, 2.0)
    assert gateway.wait_for_report("wells/current.1.csv")["accepted"] == 1


def test_rotated_files_zipped_and_gzipped_change_nothing_and_bring_what_is_new(gateway: Gateway) -> None:
    gateway.put("wells/now.csv", gateway.table(1.0))
    gateway.wait_for(1.0)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("a/now.csv", gateway.table(1.0))
        packed.writestr("b/now.csv", gateway.table(2.0, begin=1))
        packed.writestr(zipfile.ZipInfo("空的/"), b"")
    gateway.put("wells/2026.zip", archive.getvalue())
    gateway.put("wells/old.csv.gz", gzip.compress(gateway.table(3.0, begin=2)))
    gateway.wait_for(1.0, 2.0, 3.0)
    report = gateway.wait_for_report("wells/2026.zip")
    assert [(member["accepted"], member["duplicate"]) for member in report["members"]] == [(0, 1), (1, 0)]  # type: ignore[attr-defined]
    assert gateway.revisions() == 0


def test_half_a_file_waits_for_its_other_half(gateway: Gateway) -> None:
    whole = gateway.table(1.0, 2.25)
    path = gateway.put("wells/half.csv", whole[:-2])
    gateway.put("wells/other.csv", gateway.table(9.0, begin=9))
    gateway.wait_for(9.0)
    with path.open("ab") as stream:
        stream.write(whole[-2:])
    gateway.wait_for(1.0, 2.25, 9.0)
    assert gateway.revisions() == 0


@pytest.mark.parametrize("name", ["一号井.csv".encode("gbk"), b"\xff\xfe odd.csv"])
def test_a_name_that_is_no_utf8_is_read_under_a_readable_one(gateway: Gateway, name: bytes) -> None:
    gateway.put(b"wells/" + name, gateway.table(1.0))
    gateway.wait_for(1.0)
    wait_until(lambda: not (gateway.inbox / "wells" / os.fsdecode(name)).exists(), PATIENCE_S, "it is moved")
    assert all(path.name.isprintable() for path in (gateway.inbox / "processed/wells").iterdir())


def test_what_cannot_be_unpacked_or_understood_is_set_aside_and_holds_up_nothing(gateway: Gateway) -> None:
    gateway.put("wells/0-broken.zip", b"PK\x03\x04" + bytes(200))
    gateway.put("wells/0-broken.csv.gz", gzip.compress(gateway.table(5.0))[:-10])
    gateway.put("wells/0-noise.csv", bytes(range(256)) * 20 + b"\n")
    gateway.put("wells/z.csv", gateway.table(1.0))
    gateway.wait_for(1.0)
    for name in ("0-broken.zip", "0-broken.csv.gz", "0-noise.csv"):
        assert "Remedy" in str(gateway.wait_for_report(f"wells/{name}", "rejected")["reason"])


def test_a_folder_that_goes_and_comes_back_is_watched_again(gateway: Gateway) -> None:
    gateway.put("wells/before.csv", gateway.table(1.0))
    gateway.wait_for(1.0)
    gateway.wait_for_report("wells/before.csv")
    away = gateway.inbox.with_name("away")
    gateway.inbox.rename(away)
    (away / "wells").mkdir(exist_ok=True)
    (away / "wells" / "meanwhile.csv").write_bytes(gateway.table(2.0, begin=1))
    wait_until(lambda: gateway.process.poll() is not None or not gateway.inbox.exists(), 3, "it is away")
    away.rename(gateway.inbox)
    gateway.wait_for(1.0, 2.0)

"""kill -9 of the ingest process amid 100,000 MQTT messages: what the broker accepted is stored once, to the last digit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from domain.model import Datastream, ObservedProperty, Station, StationKind
from storage.database import Database
from storage.observations import ObservationRepository
from storage.registers import RegisterRepository
from tests.conftest import BrokerLogin
from tests.waiting import wait_until

pytestmark = [pytest.mark.stack, pytest.mark.slow]

MESSAGES = 100_000
STATIONS = 20
PROPERTIES = ("depth_to_water", "water_temperature")


@pytest.fixture
def database(own_database_url: str) -> Iterator[Database]:
    with Database(own_database_url) as opened:
        yield opened


@pytest.fixture
def datastreams(database: Database) -> dict[tuple[str, str], Datastream]:
    registers = RegisterRepository(database)
    registers.upsert_property(ObservedProperty("depth_to_water", "埋深", "depth to water", "m", "down positive"))
    registers.upsert_property(ObservedProperty("water_temperature", "水温", "water temperature", "Cel", "warmer positive"))
    made = {}
    for number in range(STATIONS):
        code = f"X{number:02d}"
        registers.add_station(Station(code, StationKind.OBSERVATION_WELL, code, code), actor="test")
        for name, unit in zip(PROPERTIES, ("m", "Cel"), strict=True):
            made[code, name] = registers.add_datastream(Datastream(code, name, unit), actor="test")
    return made


def start_ingest(database_url: str, broker: BrokerLogin, home: Path) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "GROUNDWATCH_DATABASE_URL": database_url,
        "GROUNDWATCH_MQTT_URL": broker.url,
        "GROUNDWATCH_HOME": str(home),
        "GROUNDWATCH_MQTT_CLIENT_ID": f"ingest-{home.name}",
    }
    with (home / "ingest.log").open("ab") as log:
        return subprocess.Popen(
            [str(Path(sys.executable).parent / "groundwatch"), "ingest"], env=environment, stdout=log, stderr=subprocess.STDOUT
        )


def kill(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=10)


@pytest.mark.timeout(900)
def test_every_accepted_observation_is_stored_once(
    own_database_url: str,
    database: Database,
    datastreams: dict[tuple[str, str], Datastream],
    broker: BrokerLogin,
    tmp_path: Path,
) -> None:
    broker.stack.add_gateway("sender", "sender-password", topics=("gw/v1/stations/+/obs",))
    ledger = tmp_path / "ledger.jsonl"

    def stored() -> int:
        with database.transaction() as connection:
            row = connection.execute("SELECT count(*) FROM observation").fetchone()
        assert row is not None
        return int(row[0])

    log = tmp_path / "ingest.log"
    with ExitStack() as cleanup:
        ingest = start_ingest(own_database_url, broker, tmp_path)
        cleanup.callback(lambda: kill(ingest) if ingest.poll() is None else None)
        wait_until(lambda: "connected to the broker" in log.read_text(), 60, "the subscription")
        sender = subprocess.Popen(
            [
                sys.executable,
                str(Path(__file__).with_name("mqtt_sender.py")),
                *(broker.host, str(broker.port), "sender", "sender-password", str(MESSAGES), str(STATIONS), str(ledger)),
            ]
        )
        cleanup.callback(lambda: kill(sender) if sender.poll() is None else None)
        for share in (0.15, 0.5):
            wait_until(lambda share=share: stored() > share * MESSAGES * 2, 300, "observations before the kill", poll=0.1)
            kill(ingest)
            ingest = start_ingest(own_database_url, broker, tmp_path)
        assert sender.wait(timeout=400) == 0
        wait_until(lambda: stored() >= MESSAGES * 2, 400, "the rest", poll=0.5)
        kill(ingest)

    sent: dict[tuple[str, str], dict[int, tuple[float, float]]] = {key: {} for key in datastreams}
    for line in ledger.read_text(encoding="utf-8").splitlines():
        body = json.loads(line)
        depth = body["depth_to_water"]
        sent[body["station"], "depth_to_water"][body["t"]] = (depth["value"], depth["sigma"])
        sent[body["station"], "water_temperature"][body["t"]] = (body["water_temperature"], float("nan"))
    assert sum(map(len, sent.values())) == MESSAGES * 2 == stored()
    observations = ObservationRepository(database)
    for key, datastream in datastreams.items():
        assert datastream.datastream_id is not None
        series = observations.series(datastream.datastream_id)
        times = sorted(sent[key])
        assert series.time.astype("datetime64[s]").astype(np.int64).tolist() == times
        assert series.result.tolist() == [sent[key][time][0] for time in times]
        np.testing.assert_array_equal(series.sigma, np.array([sent[key][time][1] for time in times]))
    with database.transaction() as connection:
        for table in ("quarantine", "observation_revision"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)  # type: ignore[call-overload]

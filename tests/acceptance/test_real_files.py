"""Real files go in by the command line and come out of the API equal to the source, after the exact unit factor.

The sources are read here a second time, independently of the importer, as exact fractions.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from service.bootstrap import Container
from service.settings import Settings
from tests.service.api.client import TestClient

pytestmark = pytest.mark.stack

ROOT = Path(__file__).resolve().parents[2]
Source = dict[datetime, Fraction]
FOOT_M = Fraction(3048, 10000)
BARREL_M3 = (FOOT_M / 12) ** 3 * 231 * 42
TOKEN = "gw_" + "a" * 43


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def run(database_url: str, home: Path) -> Callable[..., tuple[int, list[dict[str, Any]]]]:
    environ = {**os.environ, "GROUNDWATCH_DATABASE_URL": database_url, "GROUNDWATCH_HOME": str(home)}

    def groundwatch(*arguments: str) -> tuple[int, list[dict[str, Any]]]:
        done = subprocess.run(
            [sys.executable, "-m", "service.cli", *arguments], env=environ, capture_output=True, text=True, check=False, cwd=ROOT
        )
        return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]

    code, _ = groundwatch("migrate", "--json")
    assert code == 0
    return groundwatch


@pytest.fixture(scope="module")
def client(run: object, database_url: str, home: Path) -> Iterator[TestClient]:
    from service.api.app import create_app
    from service.api.passwords import digest_of

    with Container(Settings(home=home, database_url=database_url)) as container:
        container.access.add_key(digest_of(TOKEN), TOKEN[:8], "analyst", note="acceptance")
        with TestClient(create_app(container, listen=False), headers={"Authorization": f"Bearer {TOKEN}"}) as opened:
            yield opened


def everything(client: TestClient, code: str, **parameters: str) -> dict[datetime, float]:
    """Page through the API to the end."""
    url: str | None = "/api/v1/observations"
    query: dict[str, str] | None = {"datastream": code, "limit": "5000", **parameters}
    found: dict[datetime, float] = {}
    while url:
        answer = client.get(url, params=query)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        found |= {datetime.fromisoformat(item["phenomenon_time"]): item["result"] for item in body["items"]}
        url, query = body["next"], None
    return found


def assert_equal(found: dict[datetime, float], source: Source) -> None:
    assert found.keys() == source.keys()
    for time, exact in source.items():
        assert abs(Fraction(found[time]) - exact) <= abs(exact) * Fraction(1, 10**12), time


def local_day(day: date, zone: str) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).astimezone(UTC)


def tenv3(path: Path, whole: int) -> Source:
    rows = [line.split() for line in path.read_text().splitlines()[1:]]
    zero = Decimal(rows[0][whole]) + Decimal(rows[0][whole + 1])
    epoch = datetime(1858, 11, 17, tzinfo=UTC)
    return {
        epoch + timedelta(days=int(row[3])): Fraction((Decimal(row[whole]) + Decimal(row[whole + 1]) - zero) * 1000)
        for row in rows
    }


def houston(path: Path) -> Source:
    rows = [line.split("\t") for line in path.read_text().splitlines()[1:] if line.strip()]
    return {
        local_day(datetime.strptime(row[0], "%m/%d/%Y").replace(tzinfo=UTC).date(), "America/Chicago"): Fraction(row[1])
        * FOOT_M
        * 1000
        for row in rows
    }


def dino(path: Path) -> Source:
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("Locatie,Filternummer,Peildatum"))
    rows = [row for row in csv.reader(lines[start + 1 :]) if len(row) > 5 and row[5]]
    return {
        local_day(datetime.strptime(row[2], "%d-%m-%Y").replace(tzinfo=UTC).date(), "Europe/Amsterdam"): Fraction(row[5]) / 100
        for row in rows
    }


def pastas(path: Path) -> Source:
    rows = list(csv.reader(path.read_text().splitlines()))[1:]
    return {local_day(date.fromisoformat(row[0]), "Europe/Amsterdam"): Fraction(row[1]) for row in rows}


def rdb(path: Path) -> Source:
    rows = [line.split("\t") for line in path.read_text().splitlines() if line.startswith("USGS\t")]
    eastern = timedelta(hours=5)
    return {datetime.fromisoformat(row[2]).replace(tzinfo=UTC) + eastern: Fraction(row[3]) * FOOT_M**3 for row in rows}


def forge(path: Path) -> Source:
    rows = list(csv.reader(path.read_text().splitlines()))[1:]
    origin = datetime(2024, 8, 8, 6, tzinfo=UTC)
    return {
        origin + timedelta(microseconds=round(Fraction(row[0]) * 60_000_000)): Fraction(row[1]) * BARREL_M3 * 60 for row in rows
    }


CASES: list[tuple[str, tuple[str, ...], str, Callable[[Path], Source]]] = [
    ("gnss/ngl_tenv3/PUHI.tenv3", (), "PUHI:displacement_up", lambda path: tenv3(path, 11)),
    ("gnss/ngl_tenv3/PUHR.tenv3", (), "PUHR:displacement_east", lambda path: tenv3(path, 7)),
    ("gnss/ngl_tenv3/DVLT.tenv3", (), "DVLT:displacement_north", lambda path: tenv3(path, 9)),
    ("extensometer/usgs_houston/TABLE2_Addicks.txt", (), "Addicks:compaction", houston),
    ("groundwater/dino/B33F0133002_1.csv", (), "B33F0133-002:head", dino),
    ("groundwater/pastas/head_nb1.csv", ("--profile", "pastas_head"), "head_nb1:head", pastas),
    ("groundwater/usgs/RDB1Example.txt", (), "02177000:discharge", rdb),
    ("geothermal/utah_forge_injection_2024-08.csv", (), "UtahFORGE-16A:injection_rate", forge),
]


@pytest.mark.parametrize(("name", "flags", "code", "read"), CASES, ids=[case[2] for case in CASES])
def test_a_real_file_comes_out_of_the_api_equal_to_its_source(
    shared_data: Path,
    run: Callable[..., tuple[int, list[dict[str, Any]]]],
    client: TestClient,
    name: str,
    flags: tuple[str, ...],
    code: str,
    read: Callable[[Path], Source],
) -> None:
    path = shared_data / name
    first_code, (first,) = run("import", str(path), "--json", *flags)
    assert (first_code, first["rejected"]) == (0, 0)
    assert first["accepted"] > 0
    assert_equal(everything(client, code), read(path))
    again_code, (again,) = run("import", str(path), "--json", *flags)
    assert again_code == 0
    assert (again["accepted"], again["corrected"], again["duplicate"]) == (0, 0, first["accepted"])


def test_what_a_file_does_not_say_is_refused_with_the_remedy(
    shared_data: Path, run: Callable[..., tuple[int, list[dict[str, Any]]]]
) -> None:
    code, (answer,) = run("import", str(shared_data / "groundwater/pastas/head_nb1.csv"), "--json")
    assert code == 2
    assert answer["ok"] is False
    assert "--profile" in answer["remedy"]


def test_imported_stations_are_unconfirmed_and_restricted_until_a_person_confirms_them(
    shared_data: Path, run: Callable[..., tuple[int, list[dict[str, Any]]]], client: TestClient
) -> None:
    _, (report,) = run("import", str(shared_data / "gnss/ngl_formats/ngl_CLV1_IGS14_sample.tenv3"), "--frame", "IGS14", "--json")
    assert report["created"]["stations"] == ["CLV1"]
    station = client.get("/api/v1/stations/CLV1").json()
    assert (station["confirmed"], station["disclosure"]) == (False, "restricted")
    assert {item["frame"] for item in station["datastreams"]} == {"IGS14"}


def test_the_midas_velocities_equal_the_published_ones(
    shared_data: Path, run: Callable[..., tuple[int, list[dict[str, Any]]]]
) -> None:
    folder = shared_data / "gnss/ngl_tenv3"
    expected = json.loads((folder / "expected.json").read_text())["stations"]
    code, answers = run("velocity", "--json", str(folder / "PUHR.tenv3"))
    assert code == 0
    for answer in answers:
        wanted, axis = expected[answer["station"]], answer["component"][0]
        assert answer["n"] == wanted["n_epochs"]
        assert (answer["midas_n_used"], answer["midas_n_pairs"]) == (wanted["n_used"], wanted["n_pairs"])
        assert answer["midas_rate"] == pytest.approx(wanted["vel_m_yr"][axis] * 1000, abs=0.001)
        assert answer["midas_sigma"] == pytest.approx(wanted["sigma_m_yr"][axis] * 1000, abs=0.002)
    assert [answer["component"] for answer in answers] == ["east", "north", "up"]
    assert all(answer["interim"] for answer in answers)

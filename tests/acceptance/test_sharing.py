"""Two partners follow the feed from its very beginning while writers commit and correct: neither loses nor repeats anything.

What each partner pieced together is compared, value by value, with what the database says at the end: current values and every
superseded one, as far as the partner's agreement goes.
"""

from __future__ import annotations

import itertools
import json
import random
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest

from domain.model import Datastream, Disclosure, ObservedProperty, Station, StationKind
from domain.observation import Batch, columns
from service.api.app import create_app
from service.api.passwords import digest_of
from service.api.times import stamp
from service.bootstrap import Container
from service.settings import Settings
from service.sharing.agreement import Agreement
from service.sharing.feed import PartnerFeed
from storage.register_rows import Datum, Node
from tests.service.api.client import TestClient

pytestmark = pytest.mark.stack
FEED = "/api/v1/shared/changes"
START = np.datetime64("2026-01-01", "us")
HOURS, ROUNDS = 60, 60
AGREEMENTS = {
    "310000": {"datasets": ["stations", "datastreams", "observations"], "regions": ["3304"], "disclosure": "rounded"},
    "320000": {
        "datasets": ["datastreams", "observations"], "regions": ["330421"], "disclosure": "relative", "properties": ["height"],
    },
}  # fmt: skip
COVERED = {
    "310000": {"A1:depth_to_water", "A2:depth_to_water", "B1:depth_to_water"},
    "320000": {"B1:height"},
}
STATIONS = (
    ("A1", "330402", Disclosure.OPEN),
    ("A2", "330402", Disclosure.ROUNDED),
    ("B1", "330421", Disclosure.OPEN),
    ("S1", "330402", Disclosure.RESTRICTED),
    ("X1", "330500", Disclosure.OPEN),
)
HEIGHT_M = 2.345


@pytest.fixture(scope="module")
def house(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    home: Path = tmp_path_factory.mktemp("home")
    with Container(Settings(home=home, database_url=database_url, mqtt_url="mqtt://127.0.0.1:1", database_pool=8)) as container:
        registers = container.registers
        registers.set_node(Node("330400", "嘉兴", "Jiaxing", "330400"))
        registers.upsert_datum(Datum("CN-H85", "1985国家高程基准", "National Vertical Datum 1985", "GB 22021"))
        registers.upsert_property(ObservedProperty("depth_to_water", "水位埋深", "depth to water", "m", "down positive"))
        registers.upsert_property(ObservedProperty("height", "高程", "height", "m", "up positive", needs_datum=True))
        for code, region, disclosure in STATIONS:
            registers.add_station(
                Station(
                    code, StationKind.OBSERVATION_WELL, code, code, region_code=region, longitude_deg=120.754321,
                    latitude_deg=30.746789, height_m=HEIGHT_M, disclosure=disclosure,
                ),
                actor="test",
            )  # fmt: skip
            registers.add_datastream(Datastream(code, "depth_to_water", "m"), actor="test")
            registers.add_datastream(Datastream(code, "height", "m", datum_code="CN-H85", confirmed=True), actor="test")
            write(container, f"{code}:height", [0], [HEIGHT_M])  # what relative heights are relative to, never corrected below
        for partner, agreement in AGREEMENTS.items():
            container.access.upsert_partner(partner, partner, partner, agreement, "test", True)
            container.access.add_key(digest_of(token_of(partner)), "gw_test", "partner", partner=partner)
        yield container


@pytest.fixture(scope="module")
def client(house: Container) -> Iterator[TestClient]:
    with TestClient(create_app(house, listen=False), client=("127.0.0.1", 50000)) as client:
        yield client


def token_of(partner: str) -> str:
    return f"gw_partner_{partner}"


def write(container: Container, code: str, hours: list[int], values: list[float]) -> None:
    datastream = container.registers.datastream(code)
    assert datastream is not None
    assert datastream.datastream_id is not None
    time = START + np.array(hours) * np.timedelta64(1, "h")
    container.observations.commit(Batch("file", "writer", columns(datastream.datastream_id, time, values)))


def pull(client: TestClient, partner: str, cursor: str | None, limit: int) -> dict[str, Any]:
    query = f"?limit={limit}" + (f"&cursor={cursor}" if cursor else "")
    response = client.get(f"{FEED}{query}", headers={"Authorization": f"Bearer {token_of(partner)}"})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def follow(client: TestClient, partner: str, done: threading.Event, seed: int) -> tuple[list[dict[str, Any]], str]:
    """Pull until the writers are done and nothing more is there, in pages of changing size."""
    sizes = random.Random(seed)
    items: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        was_done = done.is_set()
        page = pull(client, partner, cursor, sizes.choice((1, 3, 17, 200)))
        items += page["items"]
        cursor = page["cursor"]
        if was_done and not page["more"]:
            return items, cursor


def keep_writing(container: Container, seed: int) -> None:
    """Commit batches whose keys overlap, so that about half of them correct what another one said."""
    draw = random.Random(seed)
    codes = [f"{code}:{name}" for code, _, _ in STATIONS for name in ("depth_to_water", "height")]
    for _ in range(ROUNDS):
        hours = sorted(draw.sample(range(1, HOURS), draw.randint(1, 25)))
        base = HEIGHT_M if (code := draw.choice(codes)).endswith("height") else 0.0
        write(container, code, hours, [base + draw.randint(1, 10**6) / 1e6 for _ in hours])


@pytest.fixture(scope="module")
def followed(client: TestClient, house: Container) -> dict[str, tuple[list[dict[str, Any]], str]]:
    done = threading.Event()
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 - shown by pytest when the test fails
    with ThreadPoolExecutor(4) as pool:
        readers = {partner: pool.submit(follow, client, partner, done, seed + i) for i, partner in enumerate(AGREEMENTS)}
        writers = [pool.submit(keep_writing, house, seed + 10 + i) for i in range(2)]
        try:
            for writer in writers:
                writer.result(timeout=90)
        finally:
            done.set()
        return {partner: reader.result(timeout=60) for partner, reader in readers.items()}


def said(items: list[dict[str, Any]]) -> list[tuple[str, str, float]]:
    batches = (item for item in items if item["kind"] == "observations")
    return [(item["datastream"], row["phenomenon_time"], row["result"]) for item in batches for row in item["items"]]


def stored(url: str, codes: set[str]) -> tuple[dict[tuple[str, str], float], Counter[tuple[str, str, float]]]:
    """Return the current values of some datastreams, and all that was ever said of them, asked of the tables themselves."""
    query = "SELECT d.code, phenomenon_time, result FROM {table} JOIN datastream d ON d.id = datastream_id"
    with psycopg.connect(url, options="-c timezone=UTC") as connection:
        rows = {
            table: connection.execute(query.format(table=table)).fetchall() for table in ("observation", "observation_revision")
        }
    current = {(code, stamp(time) or "", result) for code, time, result in rows["observation"] if code in codes}
    former = [(code, stamp(time) or "", result) for code, time, result in rows["observation_revision"] if code in codes]
    return {(code, time): result for code, time, result in current}, Counter([*current, *former])


Followed = dict[str, tuple[list[dict[str, Any]], str]]


def test_neither_partner_loses_or_repeats_anything(followed: Followed, house: Container) -> None:
    for partner, codes in COVERED.items():
        current, ever = stored(house.database_url, codes)
        shift = HEIGHT_M if partner == "320000" else 0.0
        heard = said(followed[partner][0])
        assert {code for code, _, _ in heard} == codes
        assert Counter(heard) == Counter({(code, time, value - shift): n for (code, time, value), n in ever.items()})
        pieced = {(code, time): value for code, time, value in heard}
        assert pieced == {key: value - shift for key, value in current.items()}
        assert sum(ever.values()) > len(current) > 10, "the writers corrected and added"
        sequence = [item["seq"] for item in followed[partner][0]]
        assert sequence == sorted(sequence)


def test_positions_are_rounded_and_nothing_absolute_or_restricted_is_told(followed: Followed) -> None:
    items, _ = followed["310000"]
    places = {item["station"]["code"]: item["station"] for item in items if item["kind"] == "station"}
    assert set(places) == {"A1", "A2", "B1"}
    assert {(place["longitude_deg"], place["latitude_deg"], place["height_m"]) for place in places.values()} == {
        (120.75, 30.75, None)
    }
    relative = [item for item in followed["320000"][0] if item["kind"] == "observations"]
    assert {(item["relative_to"], item["datum"]) for item in relative} == {("first observation", None)}
    assert max(value for _, _, value in said(relative)) < HEIGHT_M
    for partner, (every, _) in followed.items():
        text = json.dumps(every)
        assert "S1" not in text, partner
        assert "X1" not in text, partner
        assert "120.7543" not in text, partner
        assert f": {HEIGHT_M}" not in text, partner
    assert not [item for item in followed["320000"][0] if item["kind"] == "station"]
    assert {item["datastream"]["code"] for item in items if item["kind"] == "datastream"} == COVERED["310000"]


def test_every_read_that_gave_something_is_in_the_audit_log(followed: Followed, house: Container) -> None:
    entries = [entry for entry in house.access.audit_entries(0, 100_000) if entry.action == "read shared changes"]
    for partner, (items, _) in followed.items():
        told = [entry.detail["entries"] for entry in entries if entry.subject == partner and entry.actor == f"partner {partner}"]
        assert sum(told) == len(items)
    assert house.access.verify_audit().ok


def test_a_cursor_resumes_weeks_later_and_a_revoked_key_does_not(
    followed: Followed, client: TestClient, house: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    cursors = {partner: cursor for partner, (_, cursor) in followed.items()}
    for partner, cursor in cursors.items():
        page = pull(client, partner, cursor, 1000)
        assert (page["items"], page["more"], page["cursor"]) == ([], False, cursor)
    write(house, "B1:depth_to_water", [1000], [7.25])
    write(house, "B1:height", [1000], [HEIGHT_M + 0.5])
    later = datetime.now(UTC) + timedelta(weeks=8)
    monkeypatch.setattr(house, "clock", lambda: later, raising=False)
    when = (START + np.timedelta64(1000, "h")).item().replace(tzinfo=UTC)
    assert said(pull(client, "310000", cursors["310000"], 1000)["items"]) == [("B1:depth_to_water", stamp(when), 7.25)]
    (relative,) = said(pull(client, "320000", cursors["320000"], 1000)["items"])
    assert relative == ("B1:height", stamp(when), HEIGHT_M + 0.5 - HEIGHT_M)
    key = house.access.find_key(digest_of(token_of("320000")), later)
    assert key is not None
    house.access.revoke_key(key.key_id, later)
    response = client.get(f"{FEED}?cursor={cursors['320000']}", headers={"Authorization": f"Bearer {token_of('320000')}"})
    assert (response.status_code, response.json()["type"]) == (401, "urn:groundwatch:problem:authentication")
    assert pull(client, "310000", None, 5)["items"], "the other partner's key is another key"


def test_what_is_hidden_costs_no_empty_page(client: TestClient, house: Container) -> None:
    """Nine of ten observations are hidden, as on a node whose partner reads one district."""
    partner, token = "330000", "gw_partner_330000"
    house.access.upsert_partner(
        partner,
        partner,
        partner,
        {"datasets": ["observations"], "stations": ["B1"], "properties": ["depth_to_water"]},
        "test",
        True,
    )
    house.access.add_key(digest_of(token), "gw_test", "partner", partner=partner)
    start = house.changes.current_cursor()
    for batch in range(10):
        hours = list(range(2000 + batch * 50, 2050 + batch * 50))
        hidden = ("X1:height", "X1:depth_to_water", "S1:height", "A1:depth_to_water", "A2:height")
        for turn, code in enumerate((*hidden, *hidden[:4], "B1:depth_to_water")):
            write(house, code, hours, [float(turn + 1)] * 50)
    plain, cursor = [], start
    while True:  # what the same entries take without looking on: one page a request
        page = house.changes.changes(cursor, 200)
        plain.append(page)
        cursor = page.cursor
        if not page.more:
            break
    answers, cursor = [], start
    while True:
        answers.append(pull(client, partner, cursor, 200))
        cursor = answers[-1]["cursor"]
        if not answers[-1]["more"]:
            break
    heard = [row for answer in answers for row in said(answer["items"])]
    assert len(heard) == len(set(heard)) == 500
    assert len(plain) >= 25, "what one page a request would take"
    assert all(answer["items"] for answer in answers)
    assert len(answers) <= 3
    assert max(len(said(answer["items"])) for answer in answers) <= 200
    assert cursor == house.changes.current_cursor()


def test_the_look_behind_what_is_hidden_is_bounded(house: Container) -> None:
    agreement = Agreement.read({"datasets": ["observations"], "stations": ["nobody"]}, "test")
    feed = PartnerFeed(house, agreement, "330400")
    seconds = itertools.count()
    page = feed.page(None, 200, clock=lambda: float(next(seconds)))
    assert (page.items, page.more) == ([], True)
    cursors = [page.cursor]
    while page.more:
        page = feed.page(page.cursor, 200, clock=lambda: float(next(seconds)))
        assert page.cursor not in cursors, "every request goes on"
        cursors.append(page.cursor)

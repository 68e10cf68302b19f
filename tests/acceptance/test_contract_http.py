"""The sentences of the contract on HTTP, identifiers, time and sign: one row of requests each, on the real database."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from service.api.app import create_app
from service.bootstrap import Container
from service.settings import Settings
from tests.service.api.client import TestClient
from tests.service.api.conftest import bearer
from tests.service.api.world import DEPTHS, START, add_alerts_to_database, add_people, commit, fill

pytestmark = pytest.mark.stack
V1 = "/api/v1"
DEPTH = f"{V1}/observations?datastream=OPEN1:depth_to_water"
MEMBERS = {"phenomenon_time", "phenomenon_end", "result", "sigma", "quality", "quality_reasons", "result_time"}
Check = Callable[[Any], bool]


class Row(NamedTuple):
    """A sentence of the contract and a request that shows it."""

    sentence: str
    method: str
    path: str
    role: str | None
    status: int
    check: Check = lambda response: True
    body: Any = None


def of_type(code: str) -> Check:
    return lambda r: (
        r.headers["content-type"] == "application/problem+json"
        and r.json()["type"] == f"urn:groundwatch:problem:{code}"
        and {"title", "status"} <= set(r.json())
        and r.json()["status"] == r.status_code
    )


def is_list(response: Any) -> bool:
    return {"items", "next"} <= set(response.json()) and isinstance(response.json()["items"], list)


def values(response: Any) -> list[float]:
    return [item["result"] for item in response.json()["items"]]


def times(response: Any) -> list[str]:
    return [item["phenomenon_time"] for item in response.json()["items"]]


def sent(code: str, t: Any = "2026-03-01T08:00:00+08:00", **more: Any) -> dict[str, Any]:
    return {"station": code, "t": t, "depth_to_water": 5.0, **more}


PATHS = [
    Row(f"paths: {path}", "GET", f"{V1}/{path}", "supervisor", 200, is_list)
    for path in ("stations", "sensors?station=OPEN1", "datastreams", "findings", "alerts", "observations?datastream=OPEN1:height")
]
BOUNDED = [
    Row(f"limit <= 10,000 on {path}", "GET", f"{V1}/{path}limit={limit}", "admin", status)
    for path in (
        "stations?",
        "datastreams?",
        "findings?",
        "alerts?",
        "silent?",
        "quarantine?",
        "batches?",
        "observations?datastream=OPEN1:height&",
    )
    for limit, status in ((10_000, 200), (1, 200), (10_001, 422), (0, 422), (-1, 422), ("x", 422))
]
UNKNOWN = [
    Row(
        "a parameter that is not known is refused",
        "GET",
        f"{V1}/{path}form=2026-01-01T00:00:00Z",
        "admin",
        400,
        of_type("request"),
    )
    for path in (
        "stations?",
        "stations/OPEN1?",
        "datastreams?",
        "findings?",
        "alerts?",
        "catalogue?",
        "node?",
        "observations?datastream=OPEN1:height&",
    )
]
OFFSETS = [
    Row(f"both need an offset (400 without): {name}={time}", "GET", f"{DEPTH}&{name}={time}", "viewer", status)
    for name in ("from", "to")
    for time, status in (
        ("2026-01-01T00:00:00Z", 200),
        ("2026-01-01T08:00:00%2B08:00", 200),
        ("2026-01-01T08:00:00+08:00", 200),
        ("2026-01-01T00:00:00", 400),
        ("2026-01-01", 400),
        ("1767225600", 400),
        ("2026-02-30T00:00:00Z", 400),
        ("", 400),
    )
]
OPEN = [
    Row("without a token: the page shell and its assets, health, readiness, OpenAPI, docs, metrics", "GET", path, None, status)
    for path, status in (
        ("/", 200),
        ("/assets/icon.svg", 200),
        ("/healthz", 200),
        ("/readyz", 503),
        (f"{V1}/openapi.json", 200),
        ("/docs", 200),
        ("/metrics", 200),
    )
]
CLOSED = [
    Row(
        "everything else needs a token",
        "GET",
        f"{V1}/{path}",
        None,
        401,
        lambda r: of_type("authentication")(r) and "www-authenticate" in r.headers,
    )
    for path in (
        "stations",
        "stations/OPEN1",
        "sensors?station=OPEN1",
        "datastreams",
        "findings",
        "alerts",
        "alerts/1",
        "shared/changes",
        "catalogue",
        "observations?datastream=OPEN1:height",
        "alerts/feed.atom",
        "summary",
        "stream",
    )
]
CODES = [
    Row(f"station code {code!r}", "POST", f"{V1}/observations", "analyst", 400, of_type(kind), sent(code))
    for code, kind in (
        ("", "input"),
        ("-a", "input"),
        (".a", "input"),
        ("a b", "input"),
        ("a/b", "input"),
        ("a" * 65, "input"),
        ("a\u0000", "input"),
        ("../etc", "input"),
        ("a" * 64, "input"),
        ("嘉兴-1.a_b", "input"),
    )
]
ROWS = [
    *PATHS,
    *BOUNDED,
    *UNKNOWN,
    *OFFSETS,
    *OPEN,
    *CLOSED,
    *CODES,
    Row(
        "an observation has these members",
        "GET",
        DEPTH,
        "viewer",
        200,
        lambda r: all(set(i) == MEMBERS for i in r.json()["items"]),
    ),
    Row(
        "from inclusive, to exclusive",
        "GET",
        f"{DEPTH}&from=2026-01-01T01:00:00Z&to=2026-01-01T03:00:00Z",
        "viewer",
        200,
        lambda r: times(r) == ["2026-01-01T01:00:00Z", "2026-01-01T02:00:00Z"],
    ),
    Row(
        "an offset means the same instant",
        "GET",
        f"{DEPTH}&from=2026-01-01T09:00:00%2B08:00&to=2026-01-01T11:00:00%2B08:00",
        "viewer",
        200,
        lambda r: values(r) == DEPTHS[1:3],
    ),
    Row("to before from", "GET", f"{DEPTH}&from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "viewer", 400, of_type("request")),
    Row(
        "unit= converts back by the exact factor",
        "GET",
        f"{DEPTH}&unit=mm",
        "viewer",
        200,
        lambda r: (
            r.json()["unit"] == "mm"
            and all(abs(got - 1000 * true) <= 1e-12 * abs(1000 * true) for got, true in zip(values(r), DEPTHS, strict=True))
        ),
    ),
    Row(
        "a sigma takes the factor too",
        "GET",
        f"{DEPTH}&unit=mm",
        "viewer",
        200,
        lambda r: abs(r.json()["items"][0]["sigma"] - 1.0) < 1e-12,
    ),
    Row("unit= of another kind", "GET", f"{DEPTH}&unit=Cel", "viewer", 400, of_type("unit")),
    Row("unit= that is no unit", "GET", f"{DEPTH}&unit=furlongs", "viewer", 400, of_type("unit")),
    Row(
        "as_of= before anything was known", "GET", f"{DEPTH}&as_of=2000-01-01T00:00:00Z", "viewer", 200, lambda r: values(r) == []
    ),
    Row(
        "as_of= before the correction",
        "GET",
        f"{V1}/observations?datastream=OPEN1:water_temperature&as_of={{before}}",
        "viewer",
        200,
        lambda r: values(r) == [18.2],
    ),
    Row("now", "GET", f"{V1}/observations?datastream=OPEN1:water_temperature", "viewer", 200, lambda r: values(r) == [18.4]),
    Row("as_of= needs an offset", "GET", f"{DEPTH}&as_of=2026-01-01T00:00:00", "viewer", 400, of_type("request")),
    Row("as_of= reads no roll-up", "GET", f"{DEPTH}&as_of=1&resolution=1d", "viewer", 400, of_type("request")),
    Row(
        "format=csv",
        "GET",
        f"{DEPTH}&format=csv&limit=2",
        "viewer",
        200,
        lambda r: (
            r.headers["content-type"].startswith("text/csv")
            and [float(line.split(",")[2]) for line in r.text.splitlines()[1:]] == DEPTHS[:2]
            and 'rel="next"' in r.headers["link"]
        ),
    ),
    Row("format= that is not known", "GET", f"{DEPTH}&format=xml", "viewer", 422, of_type("validation")),
    Row(
        "resolution= raw",
        "GET",
        f"{DEPTH}&resolution=raw",
        "viewer",
        200,
        lambda r: r.json()["resolution"] == "raw" and values(r) == DEPTHS,
    ),
    Row("resolution= auto", "GET", f"{DEPTH}&resolution=auto", "viewer", 200, lambda r: r.json()["resolution"] == "raw"),
    Row(
        "days are those of the node's zone, printed with their UTC start",
        "GET",
        f"{DEPTH}&resolution=1d",
        "viewer",
        200,
        lambda r: r.json()["zone"] == "Asia/Shanghai" and r.json()["items"][0]["start"] == "2025-12-31T16:00:00Z",
    ),
    Row(
        "months too",
        "GET",
        f"{DEPTH}&resolution=1mo",
        "viewer",
        200,
        lambda r: r.json()["items"][0]["start"] == "2025-12-31T16:00:00Z",
    ),
    Row(
        "hours",
        "GET",
        f"{DEPTH}&resolution=1h",
        "viewer",
        200,
        lambda r: [i["start"] for i in r.json()["items"]] == [f"2026-01-01T0{h}:00:00Z" for h in range(5)],
    ),
    Row("resolution= that is not known", "GET", f"{DEPTH}&resolution=1w", "viewer", 422, of_type("validation")),
    Row("the sign is printed", "GET", DEPTH, "viewer", 200, lambda r: r.json()["direction"] == "down positive"),
    Row(
        "paged by key",
        "GET",
        f"{V1}/stations?limit=1",
        "viewer",
        200,
        lambda r: len(r.json()["items"]) == 1 and r.json()["next"].startswith(f"{V1}/stations?limit=1&after="),
    ),
    Row("a cursor is ours", "GET", f"{V1}/stations?after=%21", "viewer", 400, of_type("request")),
    Row(
        "globally urn:groundwatch:{node}:{station}",
        "GET",
        f"{V1}/stations/OPEN1",
        "viewer",
        200,
        lambda r: r.json()["urn"] == "urn:groundwatch:330400:OPEN1",
    ),
    Row("unique whatever its case", "GET", f"{V1}/stations/open1", "viewer", 200, lambda r: r.json()["code"] == "OPEN1"),
    Row(
        "a datastream is station:property",
        "GET",
        f"{V1}/datastreams/OPEN1:depth_to_water",
        "viewer",
        200,
        lambda r: (r.json()["station"], r.json()["property"], r.json()["channel"]) == ("OPEN1", "depth_to_water", None),
    ),
    Row(
        "results of a datastream",
        "GET",
        f"{V1}/datastreams/OPEN1:depth_to_water/results",
        "viewer",
        200,
        lambda r: r.json()["unit"] == "m",
    ),
    Row("what does not exist", "GET", f"{V1}/datastreams/OPEN1:head", "viewer", 404, of_type("not-found")),
    Row(
        "heights state their datum",
        "GET",
        f"{V1}/datastreams/OPEN1:height",
        "viewer",
        200,
        lambda r: r.json()["datum"] == "CN-H85",
    ),
    Row(
        "201 after the commit",
        "POST",
        f"{V1}/observations",
        "device",
        201,
        lambda r: (r.json()["accepted"], r.json()["ledger_seq"] is not None) == (1, True),
        sent("OPEN1"),
    ),
    Row(
        "t may be epoch seconds",
        "POST",
        f"{V1}/observations",
        "device",
        201,
        lambda r: r.json()["accepted"] == 1,
        sent("OPEN1", 1772409600),
    ),
    Row(
        "t may be epoch milliseconds",
        "POST",
        f"{V1}/observations",
        "device",
        201,
        lambda r: r.json()["duplicate"] == 1,
        sent("OPEN1", 1772409600000),
    ),
    Row(
        "nothing is guessed: a time without an offset",
        "POST",
        f"{V1}/observations",
        "device",
        400,
        lambda r: of_type("input")(r) and r.json()["rejected"] == 1,
        sent("OPEN1", "2026-03-01T08:00:00"),
    ),
    Row(
        "columns",
        "POST",
        f"{V1}/observations",
        "device",
        201,
        lambda r: r.json()["accepted"] == 2,
        {"station": "OPEN1", "t": ["2026-04-01T00:00:00Z", "2026-04-01T01:00:00Z"], "depth_to_water": [1.0, 2.0]},
    ),
    Row(
        "devices create no datastream",
        "POST",
        f"{V1}/observations",
        "device",
        400,
        lambda r: r.json()["rejected"] == 1,
        {"station": "OPEN1", "t": "2026-03-01T00:00:00Z", "salinity": 1.0},
    ),
    Row(
        "devices create no station",
        "POST",
        f"{V1}/observations",
        "analyst",
        400,
        lambda r: r.json()["rejected"] == 1,
        sent("NEW-1"),
    ),
    Row(
        "a device writes its own station alone",
        "POST",
        f"{V1}/observations",
        "device",
        403,
        of_type("permission-denied"),
        sent("REL1"),
    ),
    Row(
        "nor under another case of its name",
        "POST",
        f"{V1}/observations",
        "device",
        403,
        of_type("permission-denied"),
        sent("rel1"),
    ),
    Row(
        "an operator writes its own",
        "POST",
        f"{V1}/observations",
        "operator",
        201,
        lambda r: r.json()["accepted"] == 1,
        sent("SECRET1"),
    ),
    Row(
        "and reads nothing else",
        "GET",
        f"{V1}/stations",
        "operator",
        200,
        lambda r: [i["code"] for i in r.json()["items"]] == ["SECRET1"],
    ),
    Row("not even open stations", "GET", DEPTH, "operator", 404, of_type("not-found")),
    Row("a viewer writes nothing", "POST", f"{V1}/observations", "viewer", 403, of_type("permission-denied"), sent("OPEN1")),
    Row(
        "partners have the feed",
        "GET",
        f"{V1}/shared/changes",
        "partner",
        200,
        lambda r: {"items", "cursor", "more"} <= set(r.json()),
    ),
    Row("and nothing beside it", "GET", f"{V1}/stations", "partner", 403, of_type("permission-denied")),
    Row("a cursor of the feed is ours", "GET", f"{V1}/shared/changes?cursor=x", "partner", 400, of_type("request")),
    Row(
        "the catalogue is DCAT JSON-LD",
        "GET",
        f"{V1}/catalogue",
        "partner",
        200,
        lambda r: r.headers["content-type"] == "application/ld+json" and r.json()["@type"] == "dcat:Catalog",
    ),
    Row(
        "alerts/{id}.cap",
        "GET",
        f"{V1}/alerts/{{alert}}.cap",
        "viewer",
        200,
        lambda r: r.headers["content-type"].startswith("application/cap+xml"),
    ),
    Row(
        "alerts/feed.atom",
        "GET",
        f"{V1}/alerts/feed.atom",
        "viewer",
        200,
        lambda r: r.headers["content-type"].startswith("application/atom+xml"),
    ),
    Row(
        "acknowledged by a named person",
        "POST",
        f"{V1}/alerts/{{alert}}/acknowledgement",
        "nameless",
        403,
        of_type("permission-denied"),
        {},
    ),
    Row(
        "acknowledgement",
        "POST",
        f"{V1}/alerts/{{alert}}/acknowledgement",
        "supervisor",
        200,
        lambda r: r.json()["acknowledged_by"] == "supervisor",
        {"note": "seen"},
    ),
    Row(
        "metrics begin groundwatch_",
        "GET",
        "/metrics",
        None,
        200,
        lambda r: all(line.startswith("groundwatch_") for line in r.text.splitlines() if line and line[0] != "#"),
    ),
]


@pytest.fixture(scope="module")
def house(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    home: Path = tmp_path_factory.mktemp("home")
    settings = Settings(
        home=home, database_url=database_url, mqtt_url="mqtt://127.0.0.1:1", minimum_free_bytes=1, database_pool=4
    )
    with Container(settings) as container:
        fill(container)
        add_people(container)
        add_alerts_to_database(container)
        commit(container, "OPEN1:water_temperature", [18.2])
        yield container


@pytest.fixture(scope="module")
def names(house: Container) -> dict[str, str]:
    """What only the database knows: the ledger before the correction, the alert's identifier."""
    before = str(house.observations.current_seq())
    commit(house, "OPEN1:water_temperature", [18.4])
    while house.rollups.refresh(1000):
        pass
    alerts, _ = house.alerts.list_alerts(_every_alert(), after=None, limit=10)
    return {"before": before, "alert": next(item.identifier for item in alerts if item.station == "OPEN1")}


def _every_alert() -> Any:
    from alerts.store import AlertFilter

    return AlertFilter()


@pytest.fixture(scope="module")
def client(house: Container) -> Iterator[TestClient]:
    with TestClient(create_app(house, listen=False), client=("127.0.0.1", 50000)) as client:
        yield client


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.sentence} {row.method} {row.path}")
def test_the_contract_says(client: TestClient, names: dict[str, str], row: Row) -> None:
    path = row.path.format(**names) if "{" in row.path else row.path
    response = client.request(row.method, path, headers=bearer(row.role), json=row.body)
    assert response.status_code == row.status, response.text
    assert row.check(response), response.text


def test_pages_by_key_give_everything_once(client: TestClient, house: Container) -> None:
    commit(house, "SIM1:depth_to_water", [i / 3 for i in range(100)], start=START + timedelta(days=30))
    path: str | None = f"{V1}/observations?datastream=SIM1:depth_to_water&from=2026-01-31T00:00:00Z&limit=7"
    found: list[float] = []
    while path is not None:
        page = client.get(path, headers=bearer("viewer")).json()
        found += [item["result"] for item in page["items"]]
        path = page["next"]
    assert found == [i / 3 for i in range(100)]


def test_a_code_in_another_normal_form_is_the_same_station(client: TestClient, house: Container) -> None:
    from tests.service.api.world import Disclosure, station

    name = "Zürich-1"
    house.registers.add_station(station(unicodedata.normalize("NFC", name), Disclosure.OPEN), actor="test")
    response = client.get(f"{V1}/stations/{unicodedata.normalize('NFD', name)}", headers=bearer("viewer"))
    assert response.status_code == 200, response.text
    assert response.json()["code"] == unicodedata.normalize("NFC", name)

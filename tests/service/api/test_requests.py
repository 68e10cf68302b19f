"""The API as one table of requests: method, path, role, status, and what must be true of the answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from tests.service.api.client import TestClient
from tests.service.api.conftest import bearer
from tests.service.api.world import DEPTHS, PASSWORD, RULE

V1 = "/api/v1"
OBS = f"{V1}/observations?datastream="
Check = Callable[[Any], bool]


class Case(NamedTuple):
    method: str
    path: str
    role: str | None
    status: int
    check: Check = lambda response: True
    body: Any = None
    headers: dict[str, str] | None = None


def codes(response: Any) -> list[str]:
    return [item["code"] for item in response.json()["items"]]


def problem(code: str) -> Check:
    def check(response: Any) -> bool:
        kind = response.headers["content-type"].startswith("application/problem+json")
        return (
            kind
            and response.json()["type"] == f"urn:groundwatch:problem:{code}"
            and response.json()["status"] == response.status_code
        )

    return check


def problem_at(code: str, parameter: str) -> Check:
    return lambda r: problem(code)(r) and r.json()["parameter"] == parameter and bool(r.json()["remedy"])


def results(response: Any) -> list[float]:
    return [item["result"] for item in response.json()["items"]]


CASES = [
    # what needs no token
    Case("GET", "/healthz", None, 200, lambda r: r.json() == {"status": "ok"}),
    Case("GET", "/readyz", None, 503, lambda r: "database" in r.json()["checks"] and r.headers["retry-after"] == "5"),
    Case("GET", f"{V1}/openapi.json", None, 200, lambda r: r.json()["openapi"].startswith("3.")),
    Case("GET", "/docs", None, 200, lambda r: "/api/v1/observations" in r.text and "<script" not in r.text),
    Case(
        "GET",
        f"{V1}/node",
        None,
        200,
        lambda r: r.json()["name_zh"] == "嘉兴" and r.json()["map"]["zoom"] == 9 and "attributes" not in r.json(),
    ),
    Case("GET", "/metrics", None, 200, lambda r: "groundwatch_database_up 0.0" in r.text),
    Case("GET", "/metrics", None, 403, problem("permission-denied"), headers={"X-Forwarded-For": "203.0.113.5"}),
    Case("GET", "/assets/../settings.py", None, 404),
    Case("GET", "/assets/%2e%2e/settings.py", None, 404, problem("not-found")),
    Case("GET", "/assets/nothing.js", None, 404, problem("not-found")),
    Case("GET", "/nowhere", None, 404, problem("not-found")),
    Case("PUT", f"{V1}/stations", "admin", 405, problem("method-not-allowed")),
    # who asks
    Case(
        "GET", f"{V1}/stations", None, 401, lambda r: problem("authentication")(r) and "Bearer" in r.headers["www-authenticate"]
    ),
    Case("GET", f"{V1}/stations", None, 401, problem("authentication"), headers={"Authorization": "Bearer gw_wrong"}),
    Case("GET", f"{V1}/stations", None, 401, problem("authentication"), headers={"Authorization": "Basic eDp5"}),
    Case("GET", f"{V1}/stations", "device", 403, problem("permission-denied")),
    Case("GET", f"{V1}/stations", "partner", 403, problem("permission-denied")),
    Case(
        "GET", f"{V1}/me", "supervisor", 200, lambda r: r.json()["role"] == "supervisor" and "confirm" in r.json()["permissions"]
    ),
    Case("POST", f"{V1}/login", None, 401, problem("authentication"), {"name": "supervisor", "password": "wrong"}),
    Case("POST", f"{V1}/login", None, 401, problem("authentication"), {"name": "nobody", "password": "wrong"}),
    Case("POST", f"{V1}/login", None, 401, problem("authentication"), {"name": "viewer", "password": "None"}),
    Case("POST", f"{V1}/login", None, 422, problem("validation"), {"name": "supervisor"}),
    Case(
        "POST",
        f"{V1}/login",
        None,
        200,
        lambda r: r.json()["token"].startswith("gw_"),
        {"name": "supervisor", "password": PASSWORD},
    ),
    # stations and what of them is disclosed
    Case("GET", f"{V1}/stations", "viewer", 200, lambda r: codes(r) == ["OPEN1", "REL1", "ROUND1", "SIM1"]),
    Case("GET", f"{V1}/stations", "supervisor", 200, lambda r: codes(r) == ["OPEN1", "REL1", "ROUND1", "SECRET1", "SIM1"]),
    Case("GET", f"{V1}/stations", "operator", 200, lambda r: codes(r) == ["SECRET1"]),
    Case("GET", f"{V1}/stations?region=3304", "viewer", 200, lambda r: len(codes(r)) == 4),
    Case("GET", f"{V1}/stations?region=3205", "viewer", 200, lambda r: codes(r) == []),
    Case("GET", f"{V1}/stations?kind=quarry", "viewer", 200, lambda r: codes(r) == []),
    Case("GET", f"{V1}/stations?colour=red", "viewer", 400, problem_at("request", "colour")),
    Case("GET", f"{V1}/stations?limit=10001", "viewer", 422, lambda r: r.json()["errors"][0]["parameter"] == "limit"),
    Case("GET", f"{V1}/stations?limit=0", "viewer", 422, problem("validation")),
    Case("GET", f"{V1}/stations?after=%21", "viewer", 400, problem_at("request", "after")),
    Case(
        "GET",
        f"{V1}/stations/ROUND1",
        "viewer",
        200,
        lambda r: (r.json()["longitude_deg"], r.json()["height_m"]) == (120.75, None),
    ),
    Case("GET", f"{V1}/stations/ROUND1", "viewer", 200, lambda r: r.json()["attributes"] == {}),
    Case("GET", f"{V1}/stations/ROUND1", "analyst", 200, lambda r: r.json()["longitude_deg"] == 120.754321),
    Case("GET", f"{V1}/stations/open1", "viewer", 200, lambda r: r.json()["urn"] == "urn:groundwatch:330400:OPEN1"),
    Case(
        "GET", f"{V1}/stations/OPEN1", "viewer", 200, lambda r: (r.json()["level_word"], r.json()["silent"]) == ("orange", True)
    ),
    Case("GET", f"{V1}/stations/SECRET1", "viewer", 404, problem("not-found")),
    Case("GET", f"{V1}/stations/SECRET1", "operator", 200, lambda r: r.json()["height_m"] == 3.456),
    Case("GET", f"{V1}/stations/OPEN1", "operator", 404, problem("not-found")),
    Case("GET", f"{V1}/sensors?station=OPEN1", "viewer", 200, lambda r: r.json()["items"][0]["serial"] == "42"),
    Case("GET", f"{V1}/properties", "viewer", 200, lambda r: "height" in codes(r)),
    Case("GET", f"{V1}/summary", "viewer", 200, lambda r: r.json()["alerts"]["orange"] == 1 and r.json()["alerts"]["red"] == 0),
    Case("GET", f"{V1}/summary", "supervisor", 200, lambda r: r.json()["alerts"]["red"] == 1 and r.json()["stations"] == 5),
    # datastreams
    Case("GET", f"{V1}/datastreams?station=OPEN1", "viewer", 200, lambda r: len(codes(r)) == 3),
    Case(
        "GET",
        f"{V1}/datastreams?property=height",
        "viewer",
        200,
        lambda r: "SECRET1:height" not in codes(r) and len(codes(r)) == 4,
    ),
    Case("GET", f"{V1}/datastreams/ROUND1:height", "viewer", 200, lambda r: r.json()["status"]["last_result"] is None),
    Case("GET", f"{V1}/datastreams/ROUND1:height", "analyst", 200, lambda r: r.json()["status"]["last_result"] == 2.48),
    Case("GET", f"{V1}/datastreams/SECRET1:height", "viewer", 404, problem("not-found")),
    Case("GET", f"{V1}/datastreams/OPEN1:depth_to_water/results", "viewer", 200, lambda r: r.json()["curve"] is None),
    # observations
    Case("GET", f"{OBS}OPEN1:depth_to_water", "viewer", 200, lambda r: results(r) == DEPTHS and r.json()["unit"] == "m"),
    Case(
        "GET",
        f"{OBS}OPEN1:depth_to_water&from=2026-01-01T01:00:00Z&to=2026-01-01T03:00:00Z",
        "viewer",
        200,
        lambda r: results(r) == DEPTHS[1:3],
    ),
    Case("GET", f"{OBS}OPEN1:depth_to_water&from=2026-01-01T09:00:00%2B08:00", "viewer", 200, lambda r: results(r) == DEPTHS[1:]),
    Case("GET", f"{OBS}OPEN1:depth_to_water&from=2026-01-01T09:00:00+08:00", "viewer", 200, lambda r: results(r) == DEPTHS[1:]),
    Case("GET", f"{OBS}OPEN1:depth_to_water&from=2026-01-01T01:00:00", "viewer", 400, problem_at("request", "from")),
    Case("GET", f"{OBS}OPEN1:depth_to_water&from=2026-01-01", "viewer", 400, problem_at("request", "from")),
    Case("GET", f"{OBS}OPEN1:depth_to_water&to=2026-02-30T00:00:00Z", "viewer", 400, problem_at("request", "to")),
    Case(
        "GET",
        f"{OBS}OPEN1:depth_to_water&from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z",
        "viewer",
        400,
        problem_at("request", "to"),
    ),
    Case(
        "GET",
        f"{OBS}OPEN1:depth_to_water&unit=mm",
        "viewer",
        200,
        lambda r: results(r)[0] == 5230.0 and r.json()["items"][0]["sigma"] == 1.0,
    ),
    Case(
        "GET",
        f"{OBS}OPEN1:depth_to_water&unit=Cel",
        "viewer",
        400,
        lambda r: problem("unit")(r) and "'Cel'" not in r.json()["remedy"],
    ),
    Case("GET", f"{OBS}OPEN1:depth_to_water&unit=furlong", "viewer", 400, problem("unit")),
    Case("GET", f"{OBS}OPEN1:depth_to_water&resolution=1w", "viewer", 422, problem("validation")),
    Case("GET", f"{OBS}OPEN1:depth_to_water&resolution=1d&as_of=3", "viewer", 400, problem_at("request", "as_of")),
    Case("GET", f"{OBS}OPEN1:depth_to_water&as_of=0", "viewer", 200, lambda r: results(r) == []),
    Case(
        "GET",
        f"{OBS}OPEN1:depth_to_water&as_of=2025-01-01T00:00:00Z",
        "viewer",
        200,
        lambda r: results(r) == [] and r.json()["as_of"] == 0,
    ),
    Case("GET", f"{OBS}OPEN1:depth_to_water&as_of=yesterday", "viewer", 400, problem_at("request", "as_of")),
    Case("GET", f"{OBS}OPEN1:depth_to_water&resolution=auto", "viewer", 200, lambda r: r.json()["resolution"] == "raw"),
    Case("GET", f"{OBS}OPEN1:depth_to_water&columns=true", "viewer", 200, lambda r: r.json()["columns"]["result"] == DEPTHS),
    Case("GET", f"{OBS}OPEN1:nothing", "viewer", 404, problem("not-found")),
    Case("GET", f"{OBS}SECRET1:depth_to_water", "viewer", 404, problem("not-found")),
    Case("GET", f"{OBS}SECRET1:depth_to_water", "operator", 200, lambda r: results(r) == DEPTHS),
    Case("GET", f"{OBS}ROUND1:height", "viewer", 403, problem("permission-denied")),
    Case("GET", f"{OBS}REL1:height", "viewer", 200, lambda r: results(r) == [0.0, 2.49 - 2.5, 2.48 - 2.5]),
    Case("GET", f"{OBS}REL1:height", "supervisor", 200, lambda r: results(r) == [2.5, 2.49, 2.48]),
    Case("GET", f"{V1}/observations", "viewer", 422, lambda r: r.json()["errors"][0]["parameter"] == "datastream"),
    Case(
        "GET",
        f"{V1}/datastreams/OPEN1:depth_to_water/revisions?time=2026-01-01T00:00:00Z",
        "viewer",
        200,
        lambda r: r.json()["items"] == [],
    ),
    # events
    Case("GET", f"{V1}/events?station=OPEN1", "viewer", 200, lambda r: r.json()["items"] == []),
    Case(
        "POST",
        f"{V1}/events",
        "viewer",
        403,
        problem("permission-denied"),
        {"station": "OPEN1", "kind": "re_set", "start": "2026-01-01T00:00:00Z"},
    ),
    Case(
        "POST",
        f"{V1}/events",
        "analyst",
        201,
        lambda r: r.json()["author"] == "analyst" and r.json()["start"] == "2025-12-31T16:00:00Z",
        {"station": "OPEN1", "kind": "re_set", "start": "2026-01-01T00:00:00+08:00", "effect": "offset", "size": -0.5},
    ),
    Case(
        "POST",
        f"{V1}/events",
        "analyst",
        400,
        problem_at("request", "start"),
        {"station": "OPEN1", "kind": "re_set", "start": "2026-01-01"},
    ),
    Case(
        "POST",
        f"{V1}/events",
        "analyst",
        422,
        problem("validation"),
        {"station": "OPEN1", "kind": "party", "start": "2026-01-01T00:00:00Z"},
    ),
    Case(
        "POST",
        f"{V1}/events",
        "operator",
        404,
        problem("not-found"),
        {"station": "OPEN1", "kind": "re_set", "start": "2026-01-01T00:00:00Z"},
    ),
    Case("DELETE", f"{V1}/events/999", "analyst", 404, problem("not-found")),
    # alerts
    Case("GET", f"{V1}/alerts", "viewer", 200, lambda r: [item["station"] for item in r.json()["items"]] == ["SIM1", "OPEN1"]),
    Case(
        "GET",
        f"{V1}/alerts?level=red&level=orange",
        "supervisor",
        200,
        lambda r: [i["level_word"] for i in r.json()["items"]] == ["red", "orange"],
    ),
    Case("GET", f"{V1}/alerts?state=resolved", "supervisor", 200, lambda r: r.json()["items"] == []),
    Case(
        "GET", f"{V1}/alerts?state=all&acknowledged=false&station=OPEN1", "supervisor", 200, lambda r: len(r.json()["items"]) == 1
    ),
    Case(
        "GET", f"{V1}/alerts?state=all", "supervisor", 200, lambda r: {item["status"] for item in r.json()["items"]} == {"Actual"}
    ),
    Case(
        "GET",
        f"{V1}/alerts?status=Exercise",
        "supervisor",
        200,
        lambda r: [i["status"] for i in r.json()["items"]] == ["Exercise"],
    ),
    Case("GET", f"{V1}/alerts?status=all", "supervisor", 200, lambda r: len(r.json()["items"]) == 4),
    Case("GET", f"{V1}/alerts?status=drill", "supervisor", 422, problem("validation")),
    Case("GET", f"{V1}/alerts/4", "supervisor", 200, lambda r: r.json()["status"] == "Exercise"),
    Case("GET", f"{V1}/stations/OPEN1", "viewer", 200, lambda r: r.json()["level"] == 3),
    Case("GET", f"{V1}/alerts?level=purple", "supervisor", 422, problem("validation")),
    Case(
        "GET",
        f"{V1}/alerts/1",
        "viewer",
        200,
        lambda r: "5.23 ± 0.01 m" in r.json()["explanation"]["zh"] and "Limit: 5 m" in r.json()["explanation"]["en"],
    ),
    Case(
        "GET",
        f"{V1}/alerts/33040000000000_20260101000000_1",
        "viewer",
        200,
        lambda r: r.json()["transitions"][0]["kind"] == "fire",
    ),
    Case("GET", f"{V1}/alerts/2", "viewer", 404, problem("not-found")),
    Case(
        "GET",
        f"{V1}/alerts/1.cap",
        "viewer",
        200,
        lambda r: r.headers["content-type"].startswith("application/cap+xml") and "cap:1.2" in r.text,
    ),
    Case("GET", f"{V1}/alerts/3.cap", "viewer", 404, problem("not-found")),
    Case("GET", f"{V1}/alerts/feed.atom", "viewer", 200, lambda r: r.text.count("<entry>") == 1 and "超过橙色限值 5 m" in r.text),
    Case("POST", f"{V1}/alerts/1/acknowledgement", "viewer", 403, problem("permission-denied"), {}),
    Case("POST", f"{V1}/alerts/1/acknowledgement", None, 401, problem("authentication"), {}),
    Case("POST", f"{V1}/alerts/1/acknowledgement", "nameless", 403, problem("permission-denied"), {}),
    Case(
        "POST",
        f"{V1}/alerts/1/acknowledgement",
        "analyst",
        200,
        lambda r: r.json()["acknowledged_by"] == "analyst",
        {"note": "已派人"},
    ),
    Case("POST", f"{V1}/alerts/1/confirmation", "analyst", 403, problem("permission-denied"), {"decision": "confirmed"}),
    Case(
        "POST",
        f"{V1}/alerts/1/confirmation",
        "supervisor",
        200,
        lambda r: r.json()["confirmation"] == "confirmed",
        {"decision": "confirmed"},
    ),
    Case("POST", f"{V1}/alerts/1/confirmation", "supervisor", 422, problem("validation"), {"decision": "perhaps"}),
    Case("GET", f"{V1}/rules", "viewer", 200, lambda r: codes(r) == [RULE.code]),
    # oversight
    Case("GET", f"{V1}/silent", "viewer", 200, lambda r: r.json()["total"] == 5 and r.json()["unknown"] == 4),
    Case("GET", f"{V1}/findings", "viewer", 200, lambda r: r.json()["items"] == []),
    Case("GET", f"{V1}/quarantine", "viewer", 403, problem("permission-denied")),
    Case("GET", f"{V1}/quarantine", "analyst", 200, lambda r: r.json()["items"] == []),
    Case("GET", f"{V1}/devices", "viewer", 403, problem("permission-denied")),
    Case("GET", f"{V1}/devices", "supervisor", 200, lambda r: r.json() == {"items": [], "next": None}),
    Case("GET", f"{V1}/devices/unknown", "supervisor", 200, lambda r: r.json() == {"items": [], "next": None}),
    Case("GET", f"{V1}/devices/unknown", "operator", 403, problem("permission-denied")),
    Case(
        "POST", f"{V1}/devices/admissions", "supervisor", 403, problem("permission-denied"), {"device": "sl651:1", "station": "X"}
    ),
    Case("POST", f"{V1}/devices/admissions", "analyst", 400, problem("input"), {"device": "modbus:1", "station": "X"}),
    Case("POST", f"{V1}/devices/admissions", "analyst", 404, problem("not-found"), {"device": "sl651:1", "station": "NOSUCH"}),
    Case("POST", f"{V1}/devices/admissions", "analyst", 422, problem("validation"), {"device": "sl651:1"}),
    Case("POST", f"{V1}/devices/rejections", "viewer", 403, problem("permission-denied"), {"device": "sl651:1"}),
    Case(
        "GET",
        f"{V1}/catalogue",
        "viewer",
        200,
        lambda r: r.json()["@type"] == "dcat:Catalog" and len(r.json()["dcat:dataset"]) == 3,
    ),
    # observations in
    Case("POST", f"{V1}/observations", "viewer", 403, problem("permission-denied"), {"station": "OPEN1"}),
    Case(
        "POST",
        f"{V1}/observations",
        "device",
        403,
        problem("permission-denied"),
        {"station": "REL1", "t": "2026-02-01T00:00:00Z", "depth_to_water": 1},
    ),
    Case(
        "POST",
        f"{V1}/observations",
        "device",
        400,
        problem_at("input", "station"),
        {"t": "2026-02-01T00:00:00Z", "depth_to_water": 1},
    ),
    Case(
        "POST",
        f"{V1}/observations",
        "device",
        400,
        problem("input"),
        {"station": "OPEN1", "t": "2026-02-01T00:00:00", "depth_to_water": 1},
    ),
    Case("POST", f"{V1}/observations", "device", 422, problem("validation"), [1, 2]),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.method} {case.path} {case.role} {case.status}")
def test_each_request_is_answered_as_the_contract_says(client: TestClient, case: Case) -> None:
    headers = {**bearer(case.role), **(case.headers or {})}
    response = client.request(case.method, case.path, headers=headers, json=case.body)
    assert response.status_code == case.status, response.text
    assert case.check(response), response.text
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'self'" in response.headers["content-security-policy"]


def test_a_body_that_is_not_json_is_called_that_with_the_offset_of_the_fault(client: TestClient) -> None:
    headers = {**bearer("device"), "Content-Type": "application/json"}
    response = client.post(f"{V1}/observations", content=b'{"station": "OPEN1", t: 1}', headers=headers)
    assert (response.status_code, problem("validation")(response)) == (422, True), response.text
    told = response.json()["errors"][0]
    assert told["parameter"] == "body"
    assert "not JSON" in told["detail"]
    assert "at offset 21" in told["detail"]
    assert "one JSON document" in response.json()["remedy"]

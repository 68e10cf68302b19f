"""Authorisation of every route, out of the application itself: a new route that asks for nothing fails here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.routing import APIRoute

from service.api.app import create_app
from service.api.callers import Require, current_caller
from service.api.permissions import PERMISSIONS, Permission, Role
from tests.service.api.client import TestClient
from tests.service.api.conftest import bearer
from tests.service.api.fakes import FakeContainer

PUBLIC = {
    ("GET", "/"),
    ("GET", "/cases"),
    ("GET", "/alarm-quality"),
    ("GET", "/instruments"),
    ("GET", "/assets/{path:path}"),
    ("GET", "/docs"),
    ("GET", "/api/v1/openapi.json"),
    ("GET", "/api/v1/node"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("POST", "/api/v1/login"),
}
ANY_CALLER = {("GET", "/api/v1/me"), ("POST", "/api/v1/logout")}
WRITES = {
    Permission.OVERRIDE_QUALITY,
    Permission.WRITE_OBSERVATIONS,
    Permission.WRITE_EVENTS,
    Permission.ACKNOWLEDGE,
    Permission.CONFIRM,
    Permission.WRITE_RULES,
    Permission.HANDLE_CASES,
    Permission.MANAGE_DEVICES,
}


def calls_of(dependant: Any) -> Iterator[Any]:
    yield dependant.call
    for inner in dependant.dependencies:
        yield from calls_of(inner)


def parameters_of(dependant: Any) -> Iterator[Any]:
    yield from (*dependant.query_params, *dependant.path_params)
    for inner in dependant.dependencies:
        yield from parameters_of(inner)


def every_route(routes: Any) -> Iterator[APIRoute]:
    """Yield the routes, those of included routers too."""
    for route in routes:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            yield from every_route(inner.routes)
            continue
        assert isinstance(route, APIRoute), f"{route} is mounted beside the routers, out of reach of their dependencies"
        yield route


def routes_of(app: Any) -> dict[tuple[str, str], APIRoute]:
    return {(method, route.path): route for route in every_route(app.routes) for method in route.methods}


@pytest.fixture
def routes(container: FakeContainer) -> dict[tuple[str, str], APIRoute]:
    return routes_of(create_app(container, listen=False))


def demanded(route: APIRoute) -> set[Permission]:
    requires = [call for call in calls_of(route.dependant) if isinstance(call, Require)]
    return {permission for require in requires for permission in require.permissions}


def test_every_route_is_public_by_name_or_demands_a_permission(routes: dict[tuple[str, str], APIRoute]) -> None:
    asks_nothing = {name for name, route in routes.items() if current_caller not in set(calls_of(route.dependant))}
    assert asks_nothing == PUBLIC
    asks_only_who = {name for name, route in routes.items() if name not in PUBLIC and not demanded(route)}
    assert asks_only_who == ANY_CALLER
    assert len(routes) > len(PUBLIC) + len(ANY_CALLER) + 15


def test_whatever_changes_something_demands_the_permission_to_write(routes: dict[tuple[str, str], APIRoute]) -> None:
    writing = {name: demanded(route) for name, route in routes.items() if name[0] not in {"GET", "HEAD"}}
    session = {("POST", "/api/v1/login"), ("POST", "/api/v1/logout")}
    assert writing.pop(("POST", "/api/v1/shared/alerts")) == {Permission.SEND_ALERTS}, "partners send alerts, and nothing else"
    for name, permissions in writing.items():
        assert name in session or (permissions and permissions <= WRITES), name
    assert not WRITES & PERMISSIONS[Role.VIEWER]
    assert not WRITES & PERMISSIONS[Role.PARTNER]


def test_no_route_takes_a_secret_in_its_address(routes: dict[tuple[str, str], APIRoute]) -> None:
    names = {field.alias for route in routes.values() for field in parameters_of(route.dependant)}
    assert not {name for name in names if re.search("token|secret|password|api_?key|auth", name, re.IGNORECASE)}


def test_a_token_in_the_address_is_refused(client: TestClient) -> None:
    for name in ("token", "access_token", "api_key"):
        response = client.get(f"/api/v1/stations?{name}=gw_admin")
        assert response.status_code in {400, 401}
        assert client.get(f"/api/v1/node?{name}=gw_admin").status_code == 400


def test_no_address_that_we_fetch_comes_from_a_request(routes: dict[tuple[str, str], APIRoute]) -> None:
    """Webhook addresses are configuration; a request that could set one could make the server call the inside of its network."""
    told = [(path, route) for (_, path), route in routes.items() if "receiver" in path or "webhook" in path or "partner" in path]
    assert not [path for path, route in told if route.dependant.body_params], "receivers are read and tested here, never written"
    bodies = [field for route in routes.values() for field in (route.dependant.body_params or ())]
    assert not [field for field in bodies if re.search("url|uri|href|callback", field.name, re.IGNORECASE)]


def fill(path: str) -> str:
    return re.sub(r"\{[^}]+\}", "1", path)


@pytest.mark.parametrize("role", [None, *sorted(role.value for role in Role)])
def test_each_role_is_refused_where_the_table_says_so(client: TestClient, role: str | None) -> None:
    for (method, path), route in routes_of(client.app).items():
        permissions = demanded(route)
        if not permissions or path == "/api/v1/stream":
            continue
        allowed = role is not None and bool(permissions & PERMISSIONS[Role(role)])
        response = client.request(method, fill(path), headers=bearer(role), json=None if method == "GET" else {})
        if role is None:
            assert response.status_code == 401, (method, path)
        elif not allowed:
            assert response.status_code == 403, (method, path, response.text)
        else:
            assert response.status_code != 401, (method, path)


SECURITY_HEADERS = ("x-content-type-options", "x-frame-options", "content-security-policy", "referrer-policy")


@pytest.mark.parametrize(
    ("path", "status"), [("/", 200), ("/healthz", 200), ("/nowhere", 404), ("/api/v1/stations", 401), ("/assets/%00.js", 400)]
)
def test_every_answer_has_the_security_headers(client: TestClient, path: str, status: int) -> None:
    response = client.get(path)
    assert response.status_code == status
    assert all(response.headers.get(name) for name in SECURITY_HEADERS)


def test_a_surprise_is_a_problem_with_the_headers_that_says_nothing_of_the_inside(
    client: TestClient, container: FakeContainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise RuntimeError("password of the database")

    monkeypatch.setattr(container.registers, "list_properties", fail)
    response = client.get("/api/v1/properties", headers=bearer("viewer"))
    assert response.status_code == 500
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["type"] == "urn:groundwatch:problem:internal"
    assert "password" not in response.text
    assert response.headers["cache-control"] == "no-store"
    assert all(response.headers.get(name) for name in SECURITY_HEADERS)
    metrics = client.get("/metrics").text
    assert 'groundwatch_http_request_duration_seconds_count{method="GET",route="/api/v1/properties",status="500"} 1.0' in metrics

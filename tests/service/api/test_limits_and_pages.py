"""Limits, throttle, demonstration, caching and the stream: what no single request of the table shows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from analytics import AnalysisSettings, Samples, analyse_datastream
from domain.model import Disclosure, EventKind, StationEvent
from service.api.callers import Audience
from service.api.curves import curve_of, results_by_role
from service.api.middleware import BODY_LIMIT_BYTES
from service.api.passwords import hash_password, verify_password
from service.api.reading import Scale
from service.api.silence import is_silent
from service.api.stream import OVERFLOW, QUEUE_LENGTH, Change, Hub, events_of
from service.sharing.agreement import Agreement
from service.sharing.disclosure import HeightView, coarse, height_view
from tests.service.api.client import TestClient
from tests.service.api.conftest import bearer
from tests.service.api.fakes import NOW, FakeContainer
from tests.service.api.world import PASSWORD, PROPERTIES, STATIONS

V1 = "/api/v1"
BY_CODE = {station.code: station for station in STATIONS}


def test_the_demonstration_shows_simulated_stations_without_a_login_and_takes_no_write(demo: TestClient) -> None:
    assert [item["code"] for item in demo.get(f"{V1}/stations").json()["items"]] == ["SIM1"]
    assert demo.get(f"{V1}/observations?datastream=OPEN1:depth_to_water").status_code == 404
    assert demo.get(f"{V1}/observations?datastream=SIM1:height").json()["items"][0]["result"] == 2.5
    assert [item["station"] for item in demo.get(f"{V1}/alerts").json()["items"]] == ["SIM1"]
    assert demo.get(f"{V1}/me").json()["anonymous"] is True
    for path, body in ((f"{V1}/alerts/3/acknowledgement", {}), (f"{V1}/observations", {"station": "SIM1"}), (f"{V1}/events", {})):
        assert demo.post(path, json=body).status_code == 401
    assert demo.get(f"{V1}/quarantine").status_code == 401
    assert demo.get(f"{V1}/stations", headers=bearer("viewer")).json()["items"][0]["code"] == "OPEN1"


def test_logins_are_throttled_by_name_and_open_again(client: TestClient, container: FakeContainer) -> None:
    wrong = {"name": "supervisor", "password": "wrong"}
    assert [client.post(f"{V1}/login", json=wrong).status_code for _ in range(5)] == [401] * 5
    refused = client.post(f"{V1}/login", json={"name": "supervisor", "password": PASSWORD})
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 301
    container.now = NOW + timedelta(minutes=6)
    assert client.post(f"{V1}/login", json={"name": "supervisor", "password": PASSWORD}).status_code == 200


def test_a_session_expires(client: TestClient, container: FakeContainer) -> None:
    token = client.post(f"{V1}/login", json={"name": "supervisor", "password": PASSWORD}).json()["token"]
    headers = {"Authorization": f"Bearer {token}"}
    assert client.get(f"{V1}/me", headers=headers).status_code == 200
    container.now = NOW + timedelta(hours=container.settings.session_hours, seconds=1)
    assert client.get(f"{V1}/me", headers=headers).status_code == 401


def test_neither_tokens_nor_passwords_are_stored_as_they_are(client: TestClient, container: FakeContainer) -> None:
    token = client.post(f"{V1}/login", json={"name": "supervisor", "password": PASSWORD}).json()["token"]
    stored = repr(container.access.keys) + repr(container.access.accounts) + repr(container.access.audit)
    assert token not in stored
    assert PASSWORD not in stored


def test_a_password_is_verified_by_its_own_salt() -> None:
    first, second = hash_password(PASSWORD), hash_password(PASSWORD)
    assert first != second
    assert verify_password(PASSWORD, first)
    assert not verify_password(PASSWORD + " ", first)
    assert not verify_password(PASSWORD, "scrypt$15$8")


def test_a_body_beyond_the_limit_is_refused(client: TestClient) -> None:
    headers = bearer("device")
    declared = client.post(f"{V1}/observations", content=b"x" * (BODY_LIMIT_BYTES + 1), headers=headers)
    assert (declared.status_code, declared.json()["type"]) == (413, "urn:groundwatch:problem:too-large")

    def pieces() -> Any:
        for _ in range(BODY_LIMIT_BYTES // 2**20 + 1):
            yield b"[" * 2**20

    streamed = client.post(f"{V1}/observations", content=pieces(), headers={**headers, "Content-Type": "application/json"})
    assert streamed.status_code == 413


def test_the_store_being_away_is_503_with_retry_after(client: TestClient, container: FakeContainer) -> None:
    container.observations.away = True
    body = {"station": "OPEN1", "t": "2026-02-01T00:00:00Z", "depth_to_water": 5.0}
    response = client.post(f"{V1}/observations", json=body, headers=bearer("device"))
    assert response.status_code == 503
    assert int(response.headers["retry-after"]) > 0
    container.observations.away = False
    assert client.post(f"{V1}/observations", json=body, headers=bearer("device")).status_code == 201


def test_what_cannot_be_stored_is_in_quarantine_with_its_reason(client: TestClient) -> None:
    body = {"station": "OPEN1", "t": "2026-02-01T00:00:00Z", "unheard_of": 5.0}
    response = client.post(f"{V1}/observations", json=body, headers=bearer("device"))
    assert response.status_code == 400
    assert response.json()["rejected"] == 1
    items = client.get(f"{V1}/quarantine?station=OPEN1", headers=bearer("analyst")).json()["items"]
    assert [item["station"] for item in items] == ["OPEN1"]
    assert "unheard_of" in items[0]["raw"]


def test_the_shell_and_assets_are_revalidated(client: TestClient) -> None:
    for path in ("/", "/cases", "/alarm-quality", "/instruments", "/assets/icon.svg"):
        first = client.get(path)
        assert first.status_code == 200
        assert first.headers["cache-control"] == "no-cache"
        again = client.get(path, headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


def test_only_a_configured_base_layer_may_be_shown_from_elsewhere(client: TestClient, container: FakeContainer) -> None:
    assert "img-src 'self' data: blob:;" in client.get("/").headers["content-security-policy"]
    node = container.registers.the_node
    for url, allowed in (
        ("https://{s}.tiles.example/{z}/{x}/{y}.png", True),
        ("https://a;script-src *", False),
        ("javascript:x", False),
    ):
        container.registers.set_node(replace(node, attributes={"map": {"tile_url": url}}))
        policy = client.get("/").headers["content-security-policy"]
        assert ("blob: https://*.tiles.example;" in policy) is allowed
        assert policy.count("script-src") == 1


def test_silence_needs_an_interval() -> None:
    assert is_silent(NOW, None, NOW) is None
    assert is_silent(None, 60.0, NOW) is True
    assert is_silent(NOW - timedelta(hours=3), 3600.0, NOW) is False
    assert is_silent(NOW - timedelta(hours=3, seconds=1), 3600.0, NOW) is True


@pytest.mark.parametrize(
    ("code", "floor", "view"),
    [
        ("OPEN1", Disclosure.OPEN, HeightView.AS_STORED),
        ("OPEN1", Disclosure.ROUNDED, HeightView.HIDDEN),
        ("OPEN1", Disclosure.RELATIVE, HeightView.RELATIVE),
        ("REL1", Disclosure.OPEN, HeightView.RELATIVE),
        ("REL1", Disclosure.ROUNDED, HeightView.HIDDEN),
        ("ROUND1", Disclosure.RELATIVE, HeightView.HIDDEN),
        ("SECRET1", Disclosure.OPEN, HeightView.HIDDEN),
    ],
)
def test_the_stricter_disclosure_wins(code: str, floor: Disclosure, view: HeightView, container: FakeContainer) -> None:
    heights = container.registers.datastream(f"{code}:height")
    assert heights is not None
    assert height_view(BY_CODE[code], heights, PROPERTIES[1], floor) is view


def test_a_rounded_position_says_nothing_below_a_hundredth_of_a_degree() -> None:
    seen = coarse(BY_CODE["ROUND1"])
    assert (seen.longitude_deg, seen.latitude_deg, seen.height_m, seen.attributes) == (120.75, 30.75, None, {})
    assert coarse(BY_CODE["OPEN1"]) == BY_CODE["OPEN1"]


def test_an_agreement_covers_its_regions_and_never_what_is_restricted() -> None:
    agreement = Agreement.read({"datasets": ["stations"], "regions": ["330421"]}, "p")
    assert not agreement.covers(BY_CODE["OPEN1"])
    everywhere = Agreement.read({"datasets": ["stations"]}, "p")
    assert everywhere.covers(BY_CODE["OPEN1"])
    assert not everywhere.covers(BY_CODE["SECRET1"])
    assert not everywhere.covers(BY_CODE["SIM1"])


def hear(audience: Audience, act: Callable[[Hub], None], count: int) -> list[bytes]:
    """Return the first `count` pieces that a page hears while `act` runs."""

    async def listen() -> list[bytes]:
        hub = Hub()
        page = hub.open(audience)
        stream = events_of(hub, page, heartbeat_s=0.05)
        pieces = [await anext(stream)]
        await asyncio.to_thread(act, hub)
        await asyncio.sleep(0)
        pieces += [await anext(stream) for _ in range(count - 1)]
        await stream.aclose()
        assert hub.pages == 0
        return pieces

    return asyncio.run(listen())


def test_a_page_hears_only_of_stations_that_it_may_see() -> None:
    change = Change("observations", "now", (("OPEN1:height", BY_CODE["OPEN1"]), ("SECRET1:height", BY_CODE["SECRET1"])))
    assert b"SECRET1" not in hear(Audience(restricted=False), lambda hub: hub.publish(change), 2)[1]
    assert b"SECRET1" in hear(Audience(restricted=True), lambda hub: hub.publish(change), 2)[1]
    nothing = hear(Audience(False, simulated_only=True), lambda hub: hub.publish(change), 2)
    assert nothing[1].startswith(b":")


def test_a_slow_page_is_told_that_it_missed_something() -> None:
    def flood(hub: Hub) -> None:
        for _ in range(QUEUE_LENGTH + 1):
            hub.publish(Change("alerts", "now"))

    assert OVERFLOW in hear(Audience(False), flood, 2)


def test_closing_the_hub_ends_the_streams() -> None:
    async def listen() -> list[bytes]:
        hub = Hub()
        page = hub.open(Audience(False))
        hub.close()
        return [piece async for piece in events_of(hub, page)]

    assert len(asyncio.run(listen())) == 1


def test_the_curve_is_the_runs_own_and_its_band_widens_ahead() -> None:
    rng = np.random.default_rng(5)
    time = np.datetime64("2021-01-01", "us") + np.arange(1500) * np.timedelta64(86_400_000_000, "us")
    value = -8.0 * np.arange(1500) / 365.25 + 3 * np.sin(2 * np.pi * np.arange(1500) / 365.25) + rng.normal(0, 1.0, 1500)
    samples = Samples(time, value, None, np.ones(1500, dtype=np.int16))
    outcomes = analyse_datastream(samples, [], AnalysisSettings("mm", "displacement_up"), NOW)
    runs = {outcome.run.method: outcome.run for outcome in outcomes}
    roles = results_by_role(runs, "mm")
    assert roles["rate_unit"] == "mm/a"
    assert roles["velocity"]["rate"] == pytest.approx(-8.0, abs=1.0)
    assert "covariance" not in roles["velocity"]
    assert roles["seasonal"]["annual_amplitude"] == pytest.approx(3.0, abs=0.5)
    curve = curve_of(runs, Scale("mm", "mm"), points=300, horizon_a=1.0)
    assert curve is not None
    assert len(curve["time"]) == len(curve["fitted"]) == 300
    ahead = curve["time"].index(curve["forecast_from"])
    width = [upper - lower for upper, lower in zip(curve["upper"], curve["lower"], strict=True)]
    assert curve["forecast_from"] > "2025-02-0"
    assert width[-1] > width[ahead - 1]
    assert curve["fitted"][0] == pytest.approx(value[:30].mean(), abs=2.0)


def test_a_withdrawn_event_of_another_station_is_not_there_for_an_operator(client: TestClient, container: FakeContainer) -> None:
    event = container.registers.add_event(StationEvent("OPEN1", EventKind.RESET, NOW), "test")
    assert client.delete(f"{V1}/events/{event.event_id}", headers=bearer("operator")).status_code == 404
    assert client.delete(f"{V1}/events/{event.event_id}", headers=bearer("analyst")).status_code == 204

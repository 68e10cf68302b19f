"""InSAR over HTTP: every value back, the sign named, and nothing that disclosure hides."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from analytics.insar import PointSettings
from domain.model import Disclosure
from service.api.passwords import digest_of
from service.bootstrap import Container
from service.insar import analyse_delivery, delivery_of
from tests.insar.conftest import ImportOne
from tests.insar.samples import Made, make, write_egms
from tests.service.api.client import TestClient
from tests.service.api.world import TOKENS, add_people, fill

pytestmark = pytest.mark.stack
DIRECTION = "toward the satellite positive"
ROOT = "/api/v1/insar"


@pytest.fixture(scope="module")
def made() -> Made:
    return make(5000, 40, seed=8, gaps=0.02)


@pytest.fixture(scope="module")
def client(
    container: Container, import_one: ImportOne, made: Made, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TestClient]:
    from service.api.app import create_app

    fill(container)
    add_people(container)
    folder = tmp_path_factory.mktemp("files")
    import_one(write_egms(folder / "one.csv", made), "one", station="SECRET-AREA")
    import_one(write_egms(folder / "two.csv", made), "two", station="ROUND-AREA")
    area = container.registers.station("ROUND-AREA")
    assert area is not None
    container.registers.update_station(replace(area, disclosure=Disclosure.ROUNDED, confirmed=True), actor="test")
    analyse_delivery(container, delivery_of(container, "one"), PointSettings("ols"), "test")
    with TestClient(create_app(container, listen=False)) as opened:
        yield opened


def get(client: TestClient, path: str, role: str = "analyst", **params: object) -> tuple[int, dict]:
    answer = client.get(ROOT + path, params=params, headers={"Authorization": f"Bearer {TOKENS[role]}"})
    return answer.status_code, answer.json()


def test_deliveries_are_listed_with_sign_and_version(client: TestClient) -> None:
    status, body = get(client, "/deliveries")
    assert status == 200
    assert [item["code"] for item in body["items"]] == ["one", "two"]
    assert all(item["direction"] == DIRECTION and item["unit"] == "mm" for item in body["items"])
    page = get(client, "/deliveries", limit=1)[1]
    assert len(page["items"]) == 1
    following = client.get(page["next"], headers={"Authorization": f"Bearer {TOKENS['analyst']}"}).json()
    assert [item["code"] for item in following["items"]] == ["two"]
    assert following["next"] is None
    whole = get(client, "/deliveries/one")[1]
    assert len(whole["times"]) == 40
    assert whole["runs"][0]["columns"][0] == {"name": "rate", "unit": "mm/a"}


def test_a_point_has_its_series_and_its_results(client: TestClient, made: Made) -> None:
    status, body = get(client, f"/points/{made.pid[11]}", delivery="one")
    assert status == 200
    stored = [None if np.isnan(value) else float(np.float32(value)) for value in made.displacement[11]]
    assert body["columns"]["displacement"] == stored
    assert body["columns"]["time"][0] == "2019-01-05T00:00:00Z"
    assert body["direction"] == DIRECTION
    assert body["results"]["rate"]["value"] == pytest.approx(made.rate[11], abs=4)
    assert body["results"]["rate"]["unit"] == "mm/a"


def test_points_of_a_box_come_page_by_page(client: TestClient, made: Made) -> None:
    box = (120.7, 30.7, 120.75, 30.75)
    inside = (made.longitude >= box[0]) & (made.longitude <= box[2]) & (made.latitude >= box[1]) & (made.latitude <= box[3])
    found, path = [], f"{ROOT}/points?delivery=one&limit=40&bbox={','.join(map(str, box))}"
    while path:
        body = client.get(path, headers={"Authorization": f"Bearer {TOKENS['analyst']}"}).json()
        found += [item["pid"] for item in body["items"]]
        path = body["next"]
    assert sorted(found) == sorted(np.array(made.pid)[inside].tolist())


@pytest.mark.parametrize("params", [{"epoch": "2019-01-17T00:00:00Z"}, {"value": "rate"}, {"value": "coherence"}])
def test_a_map_is_the_same_as_json_and_as_arrow(client: TestClient, params: dict[str, str]) -> None:
    status, body = get(client, "/map", delivery="one", **params)
    assert status == 200
    assert body["direction"] == DIRECTION
    packed = client.get(
        f"{ROOT}/map",
        params={"delivery": "one", "format": "arrow", **params},
        headers={"Authorization": f"Bearer {TOKENS['analyst']}"},
    )
    assert packed.headers["content-type"] == "application/vnd.apache.arrow.stream"
    table = pa.ipc.open_stream(io.BytesIO(packed.content)).read_all()
    assert table.num_rows == 5000 == len(body["columns"]["value"])
    assert table.schema.metadata[b"direction"].decode() == DIRECTION
    for name in ("longitude_deg", "latitude_deg"):
        assert table[name].to_pylist() == body["columns"][name]
    values = np.array([np.nan if value is None else value for value in body["columns"]["value"]], dtype=np.float32)
    np.testing.assert_array_equal(table["value"].to_numpy(), values)


def test_the_first_map_does_not_wait_for_a_library_to_be_loaded() -> None:
    program = (
        "import sys; import numpy as np; from service.api.routers import insar; from storage.insar import PointMap\n"
        "before = set(sys.modules)\n"
        "insar._arrow(PointMap(np.arange(2, dtype=np.int32), np.ones(2), np.ones(2), np.ones(2, dtype=np.float32)), {'value': 'rate'})\n"
        "print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("path", "params", "status"),
    [
        ("/deliveries/none", {}, 404),
        ("/points", {"delivery": "none"}, 404),
        ("/points/none", {"delivery": "one"}, 404),
        ("/points", {"delivery": "one", "bbox": "1,2,3"}, 400),
        ("/points", {"delivery": "one", "bbox": "121,30,120,31"}, 400),
        ("/points", {"delivery": "one", "bbox": "nan,30,120,31"}, 400),
        ("/points", {"delivery": "one", "after": "!"}, 400),
        ("/points", {"delivery": "one", "box": "1"}, 400),
        ("/map", {"delivery": "one"}, 400),
        ("/map", {"delivery": "one", "epoch": "2019-01-17"}, 400),
        ("/map", {"delivery": "one", "epoch": "2019-01-18T00:00:00Z"}, 404),
        ("/map", {"delivery": "one", "value": "none"}, 404),
        ("/map", {"delivery": "one", "epoch": "2019-01-17T00:00:00Z", "value": "rate"}, 400),
    ],
)
def test_what_is_wrong_is_told_with_a_remedy(client: TestClient, path: str, params: dict[str, str], status: int) -> None:
    found, body = get(client, path, **params)
    assert found == status
    assert body["remedy"]


def test_a_restricted_area_does_not_exist_for_a_viewer(client: TestClient, made: Made) -> None:
    assert [item["code"] for item in get(client, "/deliveries", "viewer")[1]["items"]] == ["two"]
    for path, params in (
        ("/deliveries/one", {}),
        ("/points", {"delivery": "one"}),
        (f"/points/{made.pid[0]}", {"delivery": "one"}),
        ("/map", {"delivery": "one", "value": "rate"}),
    ):
        assert get(client, path, "viewer", **params)[0] == 404
    for role in ("device", "partner"):
        assert get(client, "/deliveries", role)[0] == 403


def test_a_viewer_gets_rounded_places_and_cannot_narrow_them_down(client: TestClient, made: Made) -> None:
    items = get(client, "/points", "viewer", delivery="two", limit=500)[1]["items"]
    assert all(round(item["longitude_deg"], 2) == item["longitude_deg"] and item["height_m"] is None for item in items)
    x, y = float(made.longitude[0]), float(made.latitude[0])
    tiny = f"{x - 1e-6},{y - 1e-6},{x + 1e-6},{y + 1e-6}"
    precise = get(client, "/points", delivery="two", bbox=tiny, limit=500)[1]["items"]
    coarse = get(client, "/points", "viewer", delivery="two", bbox=tiny, limit=500)[1]["items"]
    assert [item["pid"] for item in precise] == [made.pid[0]]
    cell = {item["pid"] for item in coarse}
    assert made.pid[0] in cell
    assert len(cell) > 1
    beside = f"{x + 1e-6},{y - 1e-6},{x + 2e-6},{y + 1e-6}"
    assert {item["pid"] for item in get(client, "/points", "viewer", delivery="two", bbox=beside, limit=500)[1]["items"]} == cell
    assert get(client, "/map", "viewer", delivery="two", value="height")[0] == 404
    columns = get(client, "/map", "viewer", delivery="two", value="rate")[1]["columns"]
    assert all(round(value, 2) == value for value in columns["longitude_deg"])
    bounds = get(client, "/deliveries/two", "viewer")[1]["bounds"]
    assert all(round(value, 2) == value for value in bounds)


def test_reading_a_restricted_area_is_audited(client: TestClient, container: Container) -> None:
    before = container.access.verify_audit().entries
    get(client, "/points", delivery="one", limit=1)
    assert container.access.verify_audit().entries == before + 1


def test_a_partner_hears_of_deliveries_that_its_agreement_covers(client: TestClient, container: Container) -> None:
    def told(datasets: list[str], code: str) -> list[dict]:
        container.access.upsert_partner(code, code, code, {"datasets": datasets, "disclosure": "rounded"}, "test", True)
        token = f"gw_{code}"
        container.access.add_key(digest_of(token), "gw_test", "partner", partner=code)
        answer = client.get("/api/v1/shared/changes", params={"limit": 1000}, headers={"Authorization": f"Bearer {token}"}).json()
        return [item for item in answer["items"] if item["kind"] == "insar_delivery"]

    assert told(["observations"], "320000") == []
    (item,) = told(["insar"], "330000")
    assert (item["delivery"]["code"], item["delivery"]["points"], len(item["delivery"]["epochs"])) == ("two", 5000, 40)
    assert item["delivery"]["direction"].startswith("toward the satellite")

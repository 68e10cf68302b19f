"""Scenario 25: 收集 核实 交办 处置 跟踪 销号: no handler closes the own case, the overdue are listed and told on, the ledger opens."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from openpyxl import load_workbook

from domain.alerting import Receiver
from domain.model import Datastream, ObservedProperty, Station, StationKind
from service.api.app import create_app
from service.bootstrap import Container
from service.escalating import escalate_cases
from service.settings import Settings
from storage.register_rows import Node
from tests.service.api.client import TestClient
from tests.service.api.world import add_alerts_to_database, add_people, commit, fill

pytestmark = pytest.mark.stack
NOW = datetime(2026, 3, 1, 8, tzinfo=UTC)
PEOPLE = {"xu": "supervisor", "lin": "analyst", "chen": "analyst", "director": "supervisor", "guest": "viewer"}
V1 = "/api/v1/cases"


class Clocked(Container):
    """The container with a clock that the test turns."""

    moment = NOW

    def clock(self) -> datetime:  # type: ignore[override]
        return self.moment


@pytest.fixture(scope="module")
def house(database_url: str, broker: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clocked]:
    home: Path = tmp_path_factory.mktemp("home")
    settings = Settings(home=home, database_url=database_url, mqtt_url=broker.url, minimum_free_bytes=1, database_pool=4)
    with Clocked(settings) as container:
        fill(container)
        add_people(container)
        add_alerts_to_database(container)
        escalation = {"source": "test", "cases": [{"to": "county", "after_h": 0}, {"to": "city", "after_h": 168}]}
        container.registers.set_node(Node("330400", "嘉兴", "Jiaxing", "330400", attributes={"escalation": escalation}))
        container.alerts.save_receiver(
            Receiver("county-hook", "webhook", {"url": "http://127.0.0.1:9/", "escalations": ["county"]})
        )
        container.alerts.save_receiver(Receiver("city-hook", "webhook", {"url": "http://127.0.0.1:9/", "escalations": ["city"]}))
        for name, role in PEOPLE.items():
            container.add_account(name, name.title(), role, "correct horse 电池")
        _levels_that_fell_after_two_wells_were_sealed(container)
        yield container


def _levels_that_fell_after_two_wells_were_sealed(container: Container) -> None:
    container.registers.upsert_property(ObservedProperty("pumped_depth", "动水位埋深", "pumped depth", "m", "down positive"))
    container.registers.add_station(
        Station("WJJ", StationKind.OBSERVATION_WELL, "王江泾", "Wangjiangjing", region_code="330411"), actor="t"
    )
    container.registers.add_datastream(Datastream("WJJ", "pumped_depth", "m", interval_s=86400.0), actor="t")
    start, sealed = datetime(2025, 10, 1, tzinfo=UTC), datetime(2026, 1, 15, tzinfo=UTC)
    noise = np.random.default_rng(3).normal(0, 0.2, 151)
    levels = [(31.0 if start + timedelta(days=day) < sealed else 27.5) + float(noise[day]) for day in range(151)]
    commit(container, "WJJ:pumped_depth", levels, step=timedelta(days=1), start=start)


@pytest.fixture(scope="module")
def client(house: Clocked) -> Iterator[TestClient]:
    with TestClient(create_app(house, listen=False), client=("127.0.0.1", 50000)) as client:
        yield client


@pytest.fixture(scope="module")
def tokens(client: TestClient) -> dict[str, dict[str, str]]:
    return {name: log_in(client, name) for name in PEOPLE}


def log_in(client: TestClient, name: str) -> dict[str, str]:
    answer = client.post("/api/v1/login", json={"name": name, "password": "correct horse 电池"})
    assert answer.status_code == 200, answer.text
    return {"Authorization": f"Bearer {answer.json()['token']}"}


def step(client: TestClient, who: dict[str, str], code: str, expected: int = 200, **said: Any) -> Any:
    answer = client.post(f"{V1}/{code}/steps", json=said, headers=who)
    assert answer.status_code == expected, answer.text
    return answer.json()


def test_an_issue_goes_its_whole_way(client: TestClient, tokens: dict[str, dict[str, str]], house: Clocked) -> None:
    alerts = client.get("/api/v1/alerts?state=all&status=all", headers=tokens["xu"]).json()["items"]
    two = [alert["identifier"] for alert in alerts[:2]]
    assert len(two) == 2
    said = {
        "title": "王江泾漏斗加深",
        "stations": ["WJJ"],
        "alerts": two[:1],
        "origin": "alert",
        "description": "=1+1 承压水位下降",
    }
    opened = client.post(V1, json=said, headers=tokens["xu"])
    assert opened.status_code == 201, opened.text
    code = opened.json()["code"]
    assert code == "330411-2026-0001" and opened.headers["location"] == f"{V1}/{code}"
    step(client, tokens["xu"], code, step="link", alert=two[1])
    assert client.get(f"{V1}?alert={two[1]}", headers=tokens["xu"]).json()["items"][0]["code"] == code

    step(client, tokens["xu"], code, 409, step="close", verdict="real", note="too early")
    step(client, tokens["xu"], code, step="verify", note="复测一致")
    due = (NOW + timedelta(days=10)).isoformat()
    step(client, tokens["lin"], code, 403, step="assign", owner="秀洲区水利局", leader="chen", due_at=due)
    step(client, tokens["director"], code, step="assign", owner="秀洲区水利局", leader="chen", due_at=due)
    step(client, tokens["lin"], code, step="handle", measure="封填深井 2 口")
    document = client.post(f"{V1}/{code}/attachments?filename=封井照片.jpg", content=b"\xff\xd8 photo", headers=tokens["lin"])
    assert document.status_code == 201, document.text
    program = client.post(f"{V1}/{code}/attachments?filename=封井照片.jpg", content=b"MZ program", headers=tokens["lin"])
    assert program.status_code == 400 and "no jpg" in program.json()["detail"] and program.json()["remedy"]
    kept = document.json()["attachments"][0]
    back = client.get(f"{V1}/{code}/attachments/{kept['sha256']}", headers=tokens["xu"])
    assert back.content == b"\xff\xd8 photo" and back.headers["content-disposition"].startswith("attachment")
    asked = {"datastream": "WJJ:pumped_depth", "measure_at": "2026-01-15T00:00:00Z", "better": "lower", "before_days": 90}
    followed = client.post(f"{V1}/{code}/follow-ups", json=asked, headers=tokens["lin"])
    assert followed.status_code == 200, followed.text
    assert followed.json()["effect"] == "improved"
    detail = followed.json()["steps"][-1]["detail"]
    assert detail["change"] == pytest.approx(-3.5, abs=0.2) and detail["lower"] < detail["upper"] < 0

    refused = client.post(f"{V1}/{code}/steps", json={"step": "close", "verdict": "real"}, headers=tokens["lin"])
    assert refused.status_code == 403
    closed = step(client, tokens["director"], code, step="close", verdict="real")
    assert (closed["state_zh"], closed["closed_by"], closed["verdict"]) == ("销号", "director", "real")
    step(client, tokens["xu"], code, 409, step="handle", measure="more")

    again = step(client, tokens["xu"], code, step="reopen", note="水位复又下降")
    assert again["reopened"] == 1 and again["state"] == "verified"
    assert [item["step"] for item in again["steps"]] == [
        *("collect", "link", "verify", "assign", "handle", "attach", "follow_up", "close", "reopen"),
    ]


def test_the_handler_of_a_case_that_a_supervisor_handled_cannot_close_it(
    client: TestClient, tokens: dict[str, dict[str, str]]
) -> None:
    code = client.post(V1, json={"title": "标志损坏"}, headers=tokens["xu"]).json()["code"]
    step(client, tokens["xu"], code, step="verify", note="现场查看")
    due = (NOW + timedelta(days=3)).isoformat()
    step(client, tokens["director"], code, step="assign", owner="监测站", leader="lin", due_at=due)
    step(client, tokens["xu"], code, step="handle", measure="重埋标志")
    asked = {"datastream": "WJJ:pumped_depth", "measure_at": "2026-01-15T00:00:00Z"}
    assert client.post(f"{V1}/{code}/follow-ups", json=asked, headers=tokens["xu"]).status_code == 200
    problem = step(client, tokens["xu"], code, 403, step="close", verdict="maintenance")
    assert "cannot close it" in problem["detail"]


def test_the_overdue_are_listed_and_told_to_county_then_city_once_each(client: TestClient, house: Clocked) -> None:
    house.moment = NOW + timedelta(days=4)
    late = client.get(f"{V1}?overdue=true", headers=log_in(client, "xu")).json()["items"]
    assert [(item["title"], item["overdue"]) for item in late] == [("标志损坏", True)]
    assert [case.escalated_to for case in escalate_cases(house)] == ["county"]
    assert escalate_cases(house) == []
    house.moment = NOW + timedelta(days=11)
    assert [case.escalated_to for case in escalate_cases(house)] == ["city"]
    told = [item for code in ("county-hook", "city-hook") for item in house.alerts.waiting(code)]
    assert [item.receiver_code for item in told] == ["county-hook", "city-hook"]
    assert all("标志损坏" in item.payload["explanation"]["zh"] for item in told)
    house.moment = NOW


def test_the_ledger_opens_with_chinese_headings_and_holds_every_step(
    client: TestClient, tokens: dict[str, dict[str, str]]
) -> None:
    answer = client.get(f"{V1}/ledger.xlsx", headers=tokens["director"])
    assert answer.status_code == 200, answer.text
    book = load_workbook(BytesIO(answer.content))
    cases, steps = book.worksheets
    assert cases.title == "问题收集反馈台账"
    headings = [cell.value for cell in cases[1]]
    rows = [dict(zip(headings, [cell.value for cell in row], strict=True)) for row in cases.iter_rows(min_row=2)]
    assert [row["问题"] for row in rows] == ["标志损坏", "王江泾漏斗加深"]  # opened in the same second, so by code
    assert rows[1]["情况说明"] == "=1+1 承压水位下降"
    place = headings.index("情况说明") + 1
    assert cases.cell(3, place).data_type == "s"
    assert rows[1]["收集时间"] == NOW.astimezone(ZoneInfo("Asia/Shanghai")).replace(tzinfo=None)
    assert (rows[1]["状态"], rows[1]["重开次数"], rows[1]["处置措施"]) == ("核实", 1, "封填深井 2 口")
    assert steps.max_row == 1 + 9 + 7
    english = load_workbook(BytesIO(client.get(f"{V1}/ledger.xlsx?lang=en", headers=tokens["director"]).content))
    assert english.worksheets[0]["C1"].value == "Matter"


@pytest.mark.parametrize(
    ("method", "path", "who", "status"),
    [
        ("GET", V1, "guest", 403),
        ("GET", f"{V1}/330400-2026-9999", "xu", 404),
        ("GET", f"{V1}?state=lost", "xu", 422),
        ("GET", f"{V1}?after=xyz!", "xu", 400),
        ("GET", f"{V1}/ledger.xlsx", "guest", 403),
        ("POST", V1, "guest", 403),
    ],
)
def test_what_may_not_be_asked_is_refused(
    client: TestClient, tokens: dict[str, dict[str, str]], method: str, path: str, who: str, status: int
) -> None:
    answer = client.request(method, path, headers=tokens[who], json={"title": "x"} if method == "POST" else None)
    assert answer.status_code in {status, 400 if status == 422 else status}, answer.text


def test_every_step_of_alerts_and_cases_stands_in_the_audit_chain(house: Clocked) -> None:
    entries = house.access.audit_entries(0, 10_000)
    actions = [entry.action for entry in entries]
    assert actions.count("case collect") == 2 and actions.count("case close") == 1 and actions.count("case escalate") == 2
    assert any(action.startswith("alert ") for action in actions)
    assert house.access.verify_audit().ok


def test_lists_are_paged_by_key(client: TestClient, tokens: dict[str, dict[str, str]]) -> None:
    first = client.get(f"{V1}?limit=1", headers=tokens["xu"]).json()
    second = client.get(first["next"], headers=tokens["xu"]).json()
    assert {first["items"][0]["title"], second["items"][0]["title"]} == {"王江泾漏斗加深", "标志损坏"} and second["next"] is None
    assert first["counts"]["verified"]["cases"] == 1


def test_receivers_and_their_outbox_are_shown_and_the_test_button_works(
    client: TestClient, tokens: dict[str, dict[str, str]], house: Clocked
) -> None:
    listed = client.get("/api/v1/receivers", headers=tokens["xu"])
    assert listed.status_code == 200 and "127.0.0.1" not in listed.text
    waiting = {item["code"]: item["waiting"] for item in listed.json()["items"]}
    pressed = client.post("/api/v1/receivers/city-hook/test", headers=tokens["director"])
    assert pressed.status_code == 202, pressed.text
    assert pressed.json()["kind"] == "test" and pressed.json()["headline"]["zh"].startswith("测试消息")
    now = {item["code"]: item["waiting"] for item in client.get("/api/v1/receivers", headers=tokens["xu"]).json()["items"]}
    assert now["city-hook"] == waiting["city-hook"] + 1 and now["county-hook"] == waiting["county-hook"]
    assert client.post("/api/v1/receivers/city-hook/test", headers=tokens["lin"]).status_code == 403
    assert client.post("/api/v1/receivers/nobody/test", headers=tokens["director"]).status_code == 404
    number = pressed.json()["id"]
    house.alerts.mark_dead(number, "gone")
    dead = client.get("/api/v1/notifications?state=dead", headers=tokens["xu"]).json()["items"]
    assert [item["id"] for item in dead] == [number]
    assert client.post(f"/api/v1/notifications/{number}/replay", headers=tokens["director"]).status_code == 200
    assert house.alerts.waiting("city-hook", 100)[-1].payload["replay"] is True

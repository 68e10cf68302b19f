"""Rules as people change them, on the real stack: tried over history, held to the budget, versioned, listed where they cannot tell."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from alerts.alarm_quality import load_targets
from alerts.policy import default_policy
from alerts.rules import parse_rule
from domain.alerting import Receiver
from domain.model import Datastream, ObservedProperty, Station, StationKind
from domain.observation import Batch, columns
from service import cli, rule_desk
from service.api.app import create_app
from service.bootstrap import Container
from service.configuration import apply_vocabulary
from service.settings import Settings
from storage.register_rows import Node
from tests.service.api.client import TestClient

pytestmark = pytest.mark.stack

DEPTH = {
    "code": "deep", "kind": "threshold", "name_zh": "埋深", "name_en": "Depth to water", "source": "test",
    "scope": {"property": "depth_to_water"}, "unit": "m", "levels": {"blue": 10, "yellow": 12}, "deadband": 0.5, "fresh_for": "P9999D",
}  # fmt: skip
FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "examples" / "jiaxing"
SPAN = {"from": "2025-01-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"}


@pytest.fixture(scope="module")
def container(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    """A well that was too deep seven times in 2025, and one that stopped."""
    with Container(
        Settings(home=tmp_path_factory.mktemp("home"), database_url=database_url, mqtt_url="mqtt://127.0.0.1:9")
    ) as opened:
        apply_vocabulary(opened.registers)
        opened.registers.set_node(Node("jiaxing", "嘉兴", "Jiaxing", "330400"))
        opened.registers.upsert_property(ObservedProperty("depth_to_water", "埋深", "depth to water", "m", "down"))
        opened.alerts.save_receiver(Receiver("staff", "webhook", {"url": "http://127.0.0.1:9/"}))
        opened.add_account("wang", "王工", "supervisor", "correct horse battery")
        opened.add_account("guest", "访客", "viewer", "correct horse battery")
        days = np.arange(365)
        deep = np.isin(days % 50, (20, 21)) & (days < 350)
        for code, kept in (("W1", days >= 0), ("W2", days < 100)):
            opened.registers.add_station(Station(code, StationKind.OBSERVATION_WELL, code, code), actor="test")
            stream = opened.registers.add_datastream(Datastream(code, "depth_to_water", "m", interval_s=86400.0), actor="test")
            times = np.datetime64("2025-01-01T12:00") + days[kept].astype("timedelta64[D]")
            values = np.where(deep & (code == "W1"), 12.5, 8.0)[kept]
            opened.observations.commit(Batch("file", "test", columns(stream.datastream_id, times, values)))
        yield opened


@pytest.fixture(scope="module")
def client(container: Container) -> Iterator[TestClient]:
    with TestClient(create_app(container, listen=False), base_url="http://127.0.0.1:8000") as opened:
        yield opened


_tokens: dict[str, str] = {}


def head(client: TestClient, name: str = "wang") -> dict[str, str]:
    """The header of somebody who logged in once."""
    if name not in _tokens:
        answer = client.post("/api/v1/login", json={"name": name, "password": "correct horse battery"})
        assert answer.status_code == 200, answer.text
        _tokens[name] = answer.json()["token"]
    return {"Authorization": f"Bearer {_tokens[name]}"}


def test_a_dry_run_says_where_and_how_often_the_rule_would_have_fired_and_stores_nothing(
    client: TestClient, container: Container
) -> None:
    answer = client.post("/api/v1/rules/dry-run", json={"rule": DEPTH, **SPAN}, headers=head(client))
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert (said["alerts"], said["scopes"], said["by_level"], said["ok"]) == (7, 2, {"yellow": 7}, True)
    assert {item["scope"] for item in said["episodes"]} == {"W1:depth_to_water"}
    assert "7 times" in said["summary"]["en"]
    assert "7 次" in said["summary"]["zh"]
    (load,) = said["receivers"]
    assert (load["receiver"], load["alerts"], load["worst_day_alerts"]) == ("staff", 7, 1)
    assert "ISA-18.2" in said["budget"]["source"]
    assert container.alerts.rule("deep") is None
    assert container.alerts.rule_states() == []


def test_a_silence_rule_is_tried_by_the_gaps_of_the_record(client: TestClient) -> None:
    names = {"name_zh": "中断", "name_en": "Silent", "source": "test"}
    rule = {
        "code": "quiet",
        "kind": "silence",
        **names,
        "scope": {"property": "depth_to_water"},
        "levels": {"blue": 3, "yellow": 24},
    }
    said = client.post("/api/v1/rules/dry-run", json={"rule": rule, **SPAN}, headers=head(client)).json()
    assert [(item["station"], item["level"], item["ended"]) for item in said["episodes"] if item["station"] == "W2"] == [
        ("W2", "yellow", None)
    ]
    assert said["note"]


def test_a_rule_is_added_changed_switched_off_and_every_version_stays(client: TestClient) -> None:
    who = head(client)
    added = client.post("/api/v1/rules", json=DEPTH, headers=who)
    assert (added.status_code, added.json()["version"], added.json()["author"]) == (201, 1, "wang")
    assert client.post("/api/v1/rules", json=DEPTH, headers=who).status_code == 409
    changed = client.patch(
        "/api/v1/rules/deep", json={"levels": {"blue": 10, "yellow": 13}, "reason": "pump test"}, headers=who
    ).json()
    assert (changed["version"], changed["definition"]["levels"]["yellow"], changed["reason"]) == (2, 13, "pump test")
    trial = client.post("/api/v1/rules/dry-run", json={"rule": {**DEPTH, "levels": {"yellow": 13}}, **SPAN}, headers=who).json()
    assert (trial["compared"]["version"], len(trial["compared"]["removed"]), trial["alerts"]) == (2, 7, 0)
    off = client.patch("/api/v1/rules/deep", json={"enabled": False}, headers=who).json()
    assert (off["enabled"], off["version"]) == (False, 3)
    put = client.put("/api/v1/rules/deep", json=DEPTH, headers=who).json()
    assert (put["enabled"], put["version"], put["definition"]["levels"]["yellow"]) == (True, 4, 12)
    shown = client.get("/api/v1/rules/deep", headers=head(client, "guest")).json()
    assert [(item["version"], item["enabled"]) for item in shown["versions"]] == [(1, True), (2, True), (3, False), (4, True)]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "named"),
    [
        ("POST", "/rules", {**DEPTH, "code": "x", "levels": {"blue": 5, "yellow": 1}}, 400, "levels.yellow"),
        ("POST", "/rules", {**DEPTH, "code": "x", "kind": "magic"}, 400, "kind"),
        ("POST", "/rules/dry-run", {"rule": DEPTH, "from": "2025-01-01"}, 400, "from"),
        ("POST", "/rules/dry-run", {"rule": {**DEPTH, "unit": "furlong"}}, 400, "unit"),
        ("PATCH", "/rules/nowhere", {"enabled": False}, 404, "nowhere"),
        ("PUT", "/rules/deep", {**DEPTH, "code": "other"}, 400, "code"),
        ("PUT", "/alert-policy", {"content": {"flapping": {"changes": 0}}, "reason": "x"}, 400, "flapping"),
    ],
)
def test_what_is_wrong_is_refused_and_named(
    client: TestClient, method: str, path: str, body: dict[str, Any], status: int, named: str
) -> None:
    answer = client.request(method, f"/api/v1{path}", json=body, headers=head(client))
    assert answer.status_code in ({400, 422} if status == 400 else {status}), answer.text
    assert named in answer.text
    assert client.request(method, f"/api/v1{path}", json=body, headers=head(client, "guest")).status_code == 403


def test_a_rule_over_the_alarm_budget_needs_a_named_reason(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    who = head(client)
    monkeypatch.setattr(rule_desk, "load_targets", lambda: replace(load_targets(), per_day_acceptable=0.00001))
    much = {**DEPTH, "code": "much", "fresh_for": "P9999D"}
    lasting = replace(default_policy(), budget_window=timedelta(days=36500))
    monkeypatch.setattr(rule_desk, "policy_in_force", lambda _: lasting)
    refused = client.post("/api/v1/rules", json=much, headers=who)
    assert refused.status_code == 409
    assert "budget" in refused.json()["detail"]
    assert "staff" in refused.json()["detail"]
    assert client.post("/api/v1/rules", json={**much, "enabled": False}, headers=who).status_code == 201
    assert client.patch("/api/v1/rules/much", json={"enabled": True}, headers=who).status_code == 409
    taken = client.patch("/api/v1/rules/much", json={"enabled": True, "reason": "agreed with the water bureau"}, headers=who)
    assert (taken.status_code, taken.json()["reason"]) == (200, "agreed with the water bureau")


def test_blind_hours_are_counted_and_a_station_that_is_not_seen_is_no_all_clear(client: TestClient) -> None:
    query = "from=2025-04-01T00:00:00Z&to=2025-05-01T00:00:00Z"
    said = client.get(f"/api/v1/blind-hours?{query}", headers=head(client)).json()
    stands = {item["station"]: (item["blind_h"], item["standing"]) for item in said["items"]}
    assert stands["W1"] == (0.0, "clear")
    assert stands["W2"][1] == "unknown"
    # the last observation of W2 is from 10 April, 12:00, and good for two days
    assert stands["W2"][0] == pytest.approx((datetime(2025, 5, 1) - datetime(2025, 4, 12, 12)) / timedelta(hours=1))  # noqa: DTZ001
    assert [
        item["station"] for item in client.get(f"/api/v1/blind-hours?{query}&only=unknown", headers=head(client)).json()["items"]
    ] == ["W2"]


def test_what_cannot_be_told_is_a_list_of_work_with_reasons_in_words(client: TestClient, container: Container) -> None:
    container.alerts.save_rule(parse_rule({**DEPTH, "code": "lost", "unit": "mm/a"}), now=container.clock())
    container.engine.tick(container.clock())
    said = client.get("/api/v1/cannot-tell?rule=lost", headers=head(client)).json()
    assert said["total"] == 2
    assert {(item["reason"], bool(item["reason_zh"])) for item in said["items"]} == {("unlike_unit", True)}


def test_the_command_line_tries_lists_and_decides(
    container: Container, database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GROUNDWATCH_DATABASE_URL", database_url)
    home = ["--home", str(tmp_path)]
    path = tmp_path / "rule.yaml"
    path.write_text(yaml.safe_dump({"rules": [DEPTH]}, allow_unicode=True), encoding="utf-8")
    span = ["--from", SPAN["from"], "--to", SPAN["to"]]
    assert cli.main(["rule", "dry-run", str(path), *span, *home]) == 0
    assert "would have fired 7 times at 1 of 2 datastreams" in capsys.readouterr().out
    assert cli.main(["rule", "dry-run", "deep", *span, "--json", *home]) == 0
    assert json.loads(capsys.readouterr().out)["alerts"] == 7
    assert cli.main(["rule", "dry-run", str(path), "--from", "yesterday", *home]) == 2

    well = container.registers.datastream("W1:depth_to_water")
    assert well is not None
    now = container.clock().replace(tzinfo=None)
    container.observations.commit(Batch("file", "test", columns(well.datastream_id, [np.datetime64(now, "us")], [12.5])))
    with container.work.claim("evaluate", 100) as changes:
        container.engine.evaluate(changes, container.clock())
    capsys.readouterr()
    assert cli.main(["alert", "list", "--rule", "deep", "--json", *home]) == 0
    (listed,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    key = listed["identifier"]
    assert cli.main(["alert", "ack", key, "--who", "王工", "--note", "seen", *home]) == 0
    assert cli.main(["alert", "shelve", key, "--until", "12h", "--reason", "pump test", "--who", "王工", *home]) == 0
    assert cli.main(["alert", "shelve", key, "--until", "90d", "--reason", "pump test", *home]) == 2
    capsys.readouterr()
    assert cli.main(["alert", "show", key, *home]) == 0
    shown = capsys.readouterr().out
    assert "建议措施" in shown
    assert "shelved  王工" in shown
    assert cli.main(["alert", "unshelve", key, *home]) == 0
    assert cli.main(["alert", "confirm", key, "--who", "王工", *home]) == 0
    assert cli.main(["alert", "show", "nothing", *home]) == 2
    assert cli.main(["alert", "cannot-tell", *home]) == 0
    assert "lost" in capsys.readouterr().out
    assert cli.main(["alert", "blind", "--days", "5", *home]) == 0
    assert "standing=unknown" in capsys.readouterr().out
    assert cli.main(["rule", "policy", *home]) == 0
    assert "gateway-silent" in capsys.readouterr().out
    assert cli.main(["rule", "set", "deep", "deadband=0.25", *home]) == 0
    assert cli.main(["explain", key, *home]) == 0


def test_rules_of_a_folder_and_of_the_command_line_are_held_to_the_budget_too(
    container: Container, database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GROUNDWATCH_DATABASE_URL", database_url)
    monkeypatch.setattr(rule_desk, "load_targets", lambda: replace(load_targets(), per_day_acceptable=0.00001))
    monkeypatch.setattr(rule_desk, "policy_in_force", lambda _: replace(default_policy(), budget_window=timedelta(days=36500)))
    much = {**DEPTH, "code": "folder-much", "action": {"owner_zh": "x", "owner_en": "x", "text_zh": "x", "text_en": "x"}}
    path = tmp_path / "rule.yaml"
    path.write_text(yaml.safe_dump([much], allow_unicode=True), encoding="utf-8")
    assert cli.main(["rule", "import", str(path), "--home", str(tmp_path)]) == 2
    assert "budget" in capsys.readouterr().err and container.alerts.rule("folder-much") is None
    folder = tmp_path / "city"
    shutil.copytree(FOLDER, folder)
    (folder / "receivers.yaml").unlink()
    written = {"defaults": False, "rules": [much]}
    (folder / "rules.yaml").write_text(yaml.safe_dump(written, allow_unicode=True), encoding="utf-8")
    assert cli.main(["configure", str(folder), "--home", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "budget" in said and "staff" in said, said
    assert container.alerts.rule("folder-much") is None
    written["rules"] = [{**much, "reason": "agreed with the water bureau"}]
    (folder / "rules.yaml").write_text(yaml.safe_dump(written, allow_unicode=True), encoding="utf-8")
    assert cli.main(["configure", str(folder), "--home", str(tmp_path)]) == 0
    stored = container.alerts.rule("folder-much")
    assert stored is not None and stored.reason == "agreed with the water bureau"
    container.alerts.save_rule(replace(stored, enabled=False), now=container.clock())

"""Alerts of partners at the door: chained in any order, kept apart by status, refused by name when they are wrong."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from alerts.cap_problems import NAMESPACE
from alerts.notifiers.webhook import signature
from domain.alert import Level
from service.api.app import create_app
from service.api.passwords import digest_of
from service.bootstrap import Container
from service.settings import Settings
from storage.register_rows import Node
from tests.service.api.client import TestClient

pytestmark = pytest.mark.stack
Q = f"{{{NAMESPACE}}}"
SENDERS = {"jiaxing": "jiaxing.groundwatch.invalid", "wujiang": "wujiang.groundwatch.invalid"}
SECRET = "agreed between the two"
PASSWORD = "correct horse battery"


class House:
    """The node that is sent to, and a supervisor of it."""

    def __init__(self, container: Container, client: TestClient) -> None:
        self.container = container
        self.client = client
        answer = client.post("/api/v1/login", json={"name": "director", "password": PASSWORD})
        self.token = answer.json()["token"]

    def ask(self, method: str, path: str, **named: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.token}", **named.pop("headers", {})}
        return self.client.request(method, f"/api/v1{path}", headers=headers, **named)

    def get(self, path: str) -> Any:
        answer = self.ask("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture
def jiaxing(own_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    monkeypatch.setenv("GROUNDWATCH_SECRET_PAIR", SECRET)
    settings = Settings(home=tmp_path, database_url=own_database_url, mqtt_url="mqtt://127.0.0.1:1", database_pool=4)
    with Container(settings) as container:
        container.registers.set_node(
            Node("jiaxing", "嘉兴", "Jiaxing", "330400", attributes={"cap": {"sender": SENDERS["jiaxing"]}})
        )
        container.add_account("director", "主任", "supervisor", PASSWORD)
        agreement = {"datasets": ["alerts"], "senders": [SENDERS["wujiang"]], "signature": "pair"}
        container.access.upsert_partner("wujiang", "吴江", "Wujiang", agreement, "agreed in 2026")
        container.access.add_key(digest_of("key of wujiang"), "k", "partner", partner="wujiang")
        with TestClient(create_app(container, listen=False)) as client:
            yield House(container, client)


def _post(house: House, body: bytes, *, key: str | None = None, signed: str | None = None) -> Any:
    headers = {"Content-Type": "application/cap+xml", "Authorization": f"Bearer {key or 'key of wujiang'}"}
    headers["X-GroundWatch-Signature"] = signature(SECRET, body) if signed is None else signed
    return house.client.post("/api/v1/shared/alerts", content=body, headers=headers)


def _message(
    number: int, kind: str = "Alert", *, severity: str = "Severe", refers: str = "", status: str = "Actual", **changed: str
) -> bytes:
    """A message of Wujiang, sent `number` minutes into an hour that is over."""
    sent = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=2) + timedelta(minutes=number)
    fields = {
        "identifier": f"WJ-{number}", "sender": SENDERS["wujiang"], "sent": sent.isoformat(), "status": status, "kind": kind,
        "urgency": "Expected", "response": "Monitor", "expires": (sent + timedelta(days=30)).isoformat(), **changed,
    }  # fmt: skip
    references = f"<references>{refers}</references>" if refers else ""
    info = (
        "<info><language>zh-CN</language><category>Geo</category><event>地面沉降</event><responseType>{response}</responseType>"
        "<urgency>{urgency}</urgency>"
        f"<severity>{severity}</severity><certainty>Observed</certainty>"
        "<expires>{expires}</expires><headline>盛泽漏斗</headline><area><areaDesc>盛泽</areaDesc>"
        "<circle>30.9,120.66 2</circle></area></info>"
    ).format(**fields)
    return (
        (
            '<?xml version="1.0" encoding="UTF-8"?><alert xmlns="urn:oasis:names:tc:emergency:cap:1.2"><identifier>{identifier}</identifier>'
            "<sender>{sender}</sender><sent>{sent}</sent><status>{status}</status><msgType>{kind}</msgType><scope>Restricted</scope>"
            "<restriction>members</restriction>{references}{info}</alert>"
        )
        .format(**fields, references=references, info="" if kind in {"Cancel", "Ack"} else info)
        .encode()
    )


def _names(*bodies: bytes) -> str:
    """The references to messages."""
    roots = [etree.fromstring(body) for body in bodies]
    return " ".join(",".join(root.findtext(Q + name) or "" for name in ("sender", "identifier", "sent")) for root in roots)


def test_updates_and_cancels_are_chained_in_whatever_order_they_come(jiaxing: House) -> None:
    first = _message(1)
    worse = _message(2, "Update", severity="Extreme", refers=_names(first))
    over = _message(3, "Cancel", refers=_names(worse))
    assert [_post(jiaxing, body).status_code for body in (worse, first)] == [201, 201]
    (seen,) = jiaxing.get("/foreign-alerts")["items"]
    assert (seen["level_word"], seen["identifier"], seen["incomplete"]) == ("red", "WJ-1", False)
    again = _post(jiaxing, first)
    assert again.status_code == 200 and again.json()["repeated"] is True
    jiaxing.ask("POST", f"/foreign-alerts/{seen['id']}/acknowledgement", json={"note": ""})
    assert _post(jiaxing, over).status_code == 201
    assert jiaxing.get("/foreign-alerts")["items"] == []
    detail = jiaxing.get(f"/foreign-alerts/{seen['id']}")
    assert (detail["state"], detail["level_word"], detail["acknowledged"]) == ("cancelled", "red", False)
    assert [item["message_type"] for item in detail["messages"]] == ["Alert", "Update", "Cancel"]


def test_two_chains_that_a_late_message_connects_are_one(jiaxing: House) -> None:
    first = _message(1)
    second = _message(2, "Update", refers=_names(first))
    third = _message(3, "Update", severity="Minor", refers=_names(second), urgency="Past")
    assert [_post(jiaxing, body).status_code for body in (third, first)] == [201, 201]
    assert {item["incomplete"] for item in jiaxing.get("/foreign-alerts?state=all")["items"]} == {True, False}
    assert _post(jiaxing, second).status_code == 201
    (seen,) = jiaxing.get("/foreign-alerts?state=all")["items"]
    assert (seen["state"], seen["level_word"], seen["peak_level"], seen["incomplete"]) == (
        "ended",
        "blue",
        int(Level.ORANGE),
        False,
    )


def test_an_exercise_is_kept_and_stays_out_of_lists(jiaxing: House) -> None:
    assert _post(jiaxing, _message(1, status="Exercise")).status_code == 201
    assert jiaxing.get("/foreign-alerts")["items"] == []
    assert [item["status"] for item in jiaxing.get("/foreign-alerts?status=Exercise")["items"]] == ["Exercise"]


def test_what_is_wrong_is_refused_with_its_name_and_nothing_is_stored(jiaxing: House, shared_data: Path) -> None:
    first = _message(1)
    assert _post(jiaxing, first).status_code == 201
    ahead = (datetime.now(UTC) + timedelta(hours=1)).isoformat(timespec="seconds")
    refused = [
        (_post(jiaxing, _message(2), key="unknown"), 401, "token"),
        (_post(jiaxing, _message(2), signed="sha256=00"), 403, "signature"),
        (_post(jiaxing, _message(2), signed=""), 403, "signature"),
        (_post(jiaxing, _message(2, sender="somebody.else")), 403, "somebody.else"),
        (_post(jiaxing, _message(2, sender=SENDERS["jiaxing"])), 409, "our own"),
        (_post(jiaxing, _message(2, identifier="WJ-1")), 409, "another message"),
        (_post(jiaxing, (shared_data / "cap" / "xee.cap").read_bytes()), 400, "document type"),
        (_post(jiaxing, (shared_data / "cap" / "invalid.cap").read_bytes()), 400, "scope is missing"),
        (_post(jiaxing, b""), 400, "no XML"),
        (_post(jiaxing, b"{}"), 400, "no XML"),
        (_post(jiaxing, _message(2).decode().encode("gb18030")), 400, "UTF-8"),
        (_post(jiaxing, _message(2, sent=ahead, expires=ahead)), 400, "lies ahead"),
        (_post(jiaxing, _message(2, expires="2020-01-01T00:00:00+08:00")), 400, "expires"),
        (_post(jiaxing, _message(2, "Update", refers=_names(first).replace(":01:00", ":01:30"))), 409, "was sent at"),
        (_post(jiaxing, _message(2, "Update")), 400, "references"),
        (_post(jiaxing, _message(2, "Ack", refers=_names(first))), 409, "not sent from here"),
        (_post(jiaxing, b"<a/>" * 1_000_000), 400, "bytes"),
        (_post(jiaxing, _message(2), key=jiaxing.token), 403, "send alerts"),
    ]
    for answer, status, named in refused:
        assert answer.status_code == status, (status, named, answer.text)
        assert named in answer.text and answer.json()["remedy"], answer.text
    assert [item["identifier"] for item in jiaxing.get("/foreign-alerts?state=all&status=all")["items"]] == ["WJ-1"]
    assert jiaxing.ask("GET", "/foreign-alerts/99").status_code == 404
    assert jiaxing.ask("GET", "/foreign-alerts", headers={"Authorization": f"Bearer {'key of wujiang'}"}).status_code == 403

"""Receivers and their outbox: who is told, what waits, what failed, the test button, sending again. This file finishes with `send_again`."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import uuid4

from fastapi import APIRouter, Query, Request
from starlette.responses import JSONResponse

from domain.alert import MessageStatus, MessageType
from domain.alerting import Notification, NotificationState, Receiver
from domain.errors import NotFoundError
from service.api.callers import MayConfirm, MayReadCases
from service.api.lookup import container_of, node_code
from service.api.parameters import listing
from service.api.times import plain, stamp

router = APIRouter(prefix="/api/v1", tags=["receivers"])
_OPEN_SETTINGS = ("language", "template", "hours", "digest", "escalations", "person", "topic", "to")
"""What is shown of a receiver's settings; addresses and names of secrets are not."""


@router.get("/receivers", summary="Who is told, and how their outbox stands", response_class=JSONResponse)
def list_receivers(request: Request, caller: MayReadCases) -> JSONResponse:
    """Give every receiver with what waits for it and what was given up."""
    container = container_of(request)
    items = [_receiver_json(container, receiver) for receiver in container.alerts.receivers(enabled_only=False)]
    return JSONResponse(plain(listing(items, None)))


def _receiver_json(container: Any, receiver: Receiver) -> dict[str, Any]:
    waiting = container.alerts.waiting(receiver.code, 1000)
    failing = next((item for item in waiting if item.last_error), None)
    return {
        "code": receiver.code,
        "kind": receiver.kind,
        "enabled": receiver.enabled,
        "outside": receiver.outside,
        "min_level": receiver.min_level.word,
        "matchers": dict(receiver.matchers),
        "settings": {name: receiver.settings[name] for name in _OPEN_SETTINGS if name in receiver.settings},
        "waiting": len(waiting),
        "oldest_waiting": stamp(waiting[0].created_at) if waiting else None,
        "last_error": failing.last_error if failing else None,
        "next_attempt_at": stamp(failing.next_attempt_at) if failing else None,
    }


@router.get("/notifications", summary="The outbox, newest first", response_class=JSONResponse)
def list_notifications(
    request: Request,
    caller: MayReadCases,
    state: Literal["waiting", "sent", "dead", "bundled"] | None = None,
    alert: Annotated[int | None, Query(description="Number of an alert.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> JSONResponse:
    """Give notifications with attempts and last error; `dead` ones can be sent again."""
    container = container_of(request)
    wanted = None if state is None else NotificationState(state)
    rows = container.alerts.notifications(alert_id=alert, state=wanted, limit=limit)
    return JSONResponse(plain(listing([_notification_json(row) for row in rows], None)))


def _notification_json(row: Notification) -> dict[str, Any]:
    return {
        "id": row.notification_id,
        "idempotency_key": row.idempotency_key,
        "receiver": row.receiver_code,
        "alert": row.alert_id,
        "kind": row.payload.get("kind", "alert"),
        "message_type": row.message_type.value,
        "headline": row.payload.get("headline"),
        "state": row.state.value,
        "attempts": row.attempts,
        "created_at": stamp(row.created_at),
        "sent_at": stamp(row.sent_at),
        "next_attempt_at": stamp(row.next_attempt_at) if row.state is NotificationState.WAITING else None,
        "last_error": row.last_error,
    }


@router.post("/receivers/{code}/test", status_code=202, summary="Send a test message", response_class=JSONResponse)
def send_test(request: Request, caller: MayConfirm, code: str) -> JSONResponse:
    """Put a test message into the receiver's outbox, marked Test; follow it at /notifications. It is sent at any hour."""
    container = container_of(request)
    receiver = next((item for item in container.alerts.receivers(enabled_only=False) if item.code == code), None)
    if receiver is None:
        raise NotFoundError(
            f"there is no receiver {code!r}.", where="code", remedy="the receivers are listed at /api/v1/receivers"
        )
    notification = test_notification(receiver, node_code(container), caller.actor, container.clock())
    with container.alerts.transaction() as unit:
        unit.enqueue([notification])
    container.access.audit_append(caller.actor, "test receiver", code, {"key": notification.idempotency_key})
    stored = next(item for item in container.alerts.waiting(code, 10_000) if item.idempotency_key == notification.idempotency_key)
    return JSONResponse(plain(_notification_json(stored)), status_code=202)


def test_notification(receiver: Receiver, node: str, actor: str, now: Any) -> Notification:
    """Return a test message: status Test, so that nobody takes it for an alert."""
    identifier = f"test-{uuid4()}"
    payload = {
        "version": 1,
        "kind": "test",
        "node": node,
        "message_type": MessageType.ALERT.value,
        "identifier": identifier,
        "sent": stamp(now),
        "status": MessageStatus.TEST.value,
        "headline": {"zh": f"测试消息：{receiver.code}", "en": f"Test message: {receiver.code}"},
        "explanation": {
            "zh": f"这是 {actor} 发出的测试消息，无需处置。收到即表示该接收方可用。",
            "en": f"{actor} sent this test message; nothing is to be done. That it arrived shows that the receiver can be reached.",
        },
    }
    return Notification(identifier, receiver.code, MessageType.ALERT, payload, now, now)


@router.post("/notifications/{number}/replay", summary="Send a given-up message again", response_class=JSONResponse)
def send_again(request: Request, caller: MayConfirm, number: int) -> JSONResponse:
    """Put a dead notification back under its old key, marked as a replay."""
    container = container_of(request)
    container.alerts.revive(number, container.clock())
    container.access.audit_append(caller.actor, "replay notification", str(number), {})
    return JSONResponse({"id": number, "state": NotificationState.WAITING.value})

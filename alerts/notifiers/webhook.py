"""Webhook: JSON or plain CAP by POST, signed with HMAC-SHA256, the same Idempotency-Key on every attempt.

This file finishes with `check_format`.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

import httpx

from alerts.notifiers.contract import DeliveryError, NotifierSettings, body_of, is_replay, setting
from domain.alerting import Notification, Receiver
from domain.errors import InputError

FORMATS = {"json": "application/json; charset=utf-8", "cap": "application/cap+xml"}
RETRYABLE = frozenset({408, 409, 423, 425, 429})
MAX_WAIT_S = 3600.0


class WebhookNotifier:
    """Posts to a receiver's `url`; `secret` names the key of the signature (X-GroundWatch-Signature: sha256=...).

    `format` is json, or cap for a partner's intake that takes the CAP message alone; `token` names the secret that is sent as bearer token.
    """

    def __init__(self, settings: NotifierSettings) -> None:
        self._secrets = settings.secrets
        self._client = httpx.Client(timeout=settings.timeout_s, follow_redirects=False, trust_env=False)

    def deliver(self, receiver: Receiver, notification: Notification) -> None:
        """Post; any 2xx is a delivery, 5xx and some 4xx are worth a retry, everything else is not."""
        body = _body(receiver, notification)
        try:
            response = self._client.post(
                str(setting(receiver, "url")), content=body, headers=self._headers(receiver, notification, body)
            )
        except httpx.InvalidURL as error:
            raise DeliveryError(f"the address is no URL: {error}", retryable=False) from error
        except httpx.UnsupportedProtocol as error:
            raise DeliveryError(f"the address is no http(s) URL: {error}", retryable=False) from error
        except httpx.HTTPError as error:
            raise DeliveryError(f"{type(error).__name__}: {error}", retryable=True) from error
        if not response.is_success:
            status = response.status_code
            again = status >= 500 or status in RETRYABLE
            raise DeliveryError(f"HTTP {status}", retryable=again, after_s=_patience(response) if again else None)

    def _headers(self, receiver: Receiver, notification: Notification, body: bytes) -> dict[str, str]:
        headers = {
            "Content-Type": FORMATS[_format(receiver)],
            "Idempotency-Key": notification.idempotency_key,
            "X-GroundWatch-Message": notification.message_type.value,
        }
        if is_replay(notification):
            headers["X-GroundWatch-Replay"] = "true"
        if receiver.settings.get("token"):
            headers["Authorization"] = f"Bearer {self._secret(receiver, 'token')}"
        if receiver.settings.get("secret"):
            headers["X-GroundWatch-Signature"] = signature(self._secret(receiver, "secret"), body)
        return headers

    def _secret(self, receiver: Receiver, setting_name: str) -> str:
        name = str(receiver.settings[setting_name])
        found = self._secrets.get(name)
        if found is None:
            raise DeliveryError(f"receiver {receiver.code} needs the secret {name!r}, which is not set", retryable=False)
        return found

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _format(receiver: Receiver) -> str:
    return str(receiver.settings.get("format", "json"))


def _body(receiver: Receiver, notification: Notification) -> bytes:
    if _format(receiver) == "json":
        return json.dumps(body_of(notification), ensure_ascii=False, sort_keys=True).encode()
    cap = notification.payload.get("cap")
    if not cap:
        raise DeliveryError(f"receiver {receiver.code} takes CAP messages alone, and this is none", retryable=False)
    return str(cap).encode()


def _patience(response: httpx.Response) -> float | None:
    text = response.headers.get("Retry-After", "")
    return min(float(text), MAX_WAIT_S) if text.isdigit() else None


def signature(secret: str, body: bytes) -> str:
    """Return `sha256=` and the hexadecimal HMAC-SHA256 of a body."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def check_format(settings: Mapping[str, Any], where: str) -> None:
    """Refuse a format that there is not; `InputError`."""
    word = settings.get("format", "json")
    if word not in FORMATS:
        raise InputError(f"the format {word!r} is unknown.", where=where, remedy=f"use {' or '.join(FORMATS)}")

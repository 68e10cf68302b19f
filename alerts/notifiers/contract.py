"""What a notifier promises: it delivers, or says whether trying again helps. This file finishes with `Delivery`."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from domain.alerting import Notification, Receiver
from domain.errors import GroundWatchError


class DeliveryError(GroundWatchError):
    """A message was not delivered; `retryable` says whether trying again helps, `after_s` when the receiver asks for patience."""

    code = "delivery"

    def __init__(self, what: str, *, retryable: bool, after_s: float | None = None) -> None:
        super().__init__(what)
        self.retryable = retryable
        self.after_s = after_s


@dataclass(frozen=True, slots=True)
class NotifierSettings:
    """What notifiers need beside a receiver's own settings; secrets are named by receivers and kept here.

    Attributes
    ----------
    node
        The node's code, for topics and subjects.
    smtp_url
        `smtp[s]://user:password@host:port`, for receivers that name no server of their own.
    mqtt_url
        `mqtt[s]://user:password@host:port`.
    mqtt_tls
        What the connection to `mqtt_url` is secured with; None = the authorities of the system.
    mail_from
        Sender's address.
    secrets
        Secrets by name: a receiver's `secret` names its signing key.
    timeout_s
        How long to wait for a receiver.
    """

    node: str
    smtp_url: str | None = field(default=None, repr=False)
    mqtt_url: str | None = field(default=None, repr=False)
    mqtt_tls: ssl.SSLContext | None = field(default=None, repr=False)
    mail_from: str = "groundwatch@localhost"
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout_s: float = 10.0


class Notifier(Protocol):
    """Delivers notifications of one kind of receiver."""

    def deliver(self, receiver: Receiver, notification: Notification) -> None:
        """Deliver; return only when the receiver has taken the message over. DeliveryError otherwise."""

    def close(self) -> None:
        """Give connections back."""


def setting(receiver: Receiver, name: str) -> Any:
    """Return a receiver's setting, or fail for good: a retry cannot mend a configuration."""
    value = receiver.settings.get(name)
    if value in (None, "", []):
        raise DeliveryError(f"receiver {receiver.code} has no {name}", retryable=False)
    return value


def is_replay(notification: Notification) -> bool:
    """May the receiver have had this message before? A try that failed may have reached it all the same: only its answer was lost."""
    return notification.attempts > 0 or bool(notification.payload.get("replay"))


def body_of(notification: Notification) -> dict[str, Any]:
    """Return the payload with its idempotency key, and the mark of a replay."""
    return {
        **notification.payload,
        "idempotency_key": notification.idempotency_key,
        "replay": is_replay(notification),
    }

"""The kinds of receivers. Adding one is one file and one line. This file finishes with `build`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from alerts.notifiers.contract import DeliveryError, Notifier, NotifierSettings
from alerts.notifiers.mqtt import MqttNotifier
from alerts.notifiers.relay import RelayNotifier
from alerts.notifiers.smtp import SmtpNotifier
from alerts.notifiers.webhook import WebhookNotifier

__all__ = ["NOTIFIERS", "DeliveryError", "Notifier", "NotifierSettings", "build"]

NOTIFIERS: Mapping[str, Callable[[NotifierSettings], Notifier]] = {
    "webhook": WebhookNotifier,
    "smtp": SmtpNotifier,
    "mqtt": MqttNotifier,
    "apprise": RelayNotifier,
}


def build(settings: NotifierSettings) -> dict[str, Notifier]:
    """Return one notifier of each kind."""
    return {kind: make(settings) for kind, make in NOTIFIERS.items()}

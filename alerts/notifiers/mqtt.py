"""MQTT: one retained message an alert on gw/v1/nodes/{node}/alerts/{level}/{identifier}, QoS 1, delivered when the broker has it.

When an alert moves to another level its old topic is emptied, so that a late subscriber sees each alert once, as it stands. This file
finishes with `topic_of`.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from alerts.notifiers.contract import DeliveryError, NotifierSettings, body_of
from domain.alert import Level
from domain.alerting import Notification, Receiver

LEVELS = tuple(level.word for level in Level if level)


class MqttNotifier:
    """Publishes to the node's broker, or to the one that the receiver's `url` names."""

    def __init__(self, settings: NotifierSettings) -> None:
        self._settings = settings
        self._clients: dict[str, _Connection] = {}
        self._one_at_a_time = threading.Lock()

    def deliver(self, receiver: Receiver, notification: Notification) -> None:
        """Publish and wait for the broker's acknowledgement; whatever goes wrong is worth a retry."""
        url = str(receiver.settings.get("url") or self._settings.mqtt_url or "")
        if not url:
            raise DeliveryError("no broker is set", retryable=False)
        body = body_of(notification)
        with self._one_at_a_time:
            self._publish(url, body)

    def _publish(self, url: str, body: Mapping[str, Any]) -> None:
        own = self._settings.mqtt_tls if url == self._settings.mqtt_url else None
        connection = self._clients.setdefault(url, _Connection(url, self._settings.timeout_s, own))
        text = json.dumps(body, ensure_ascii=False, sort_keys=True).encode()
        try:
            for topic in self._outdated(body):
                connection.publish(topic, b"")
            connection.publish(self._topic(body), text)
        except (OSError, ValueError, RuntimeError) as error:
            connection.close()
            self._clients.pop(url, None)
            raise DeliveryError(f"{type(error).__name__}: {error}", retryable=True) from error

    def _topic(self, body: Mapping[str, Any]) -> str:
        if body.get("kind", "alert") == "alert":
            return topic_of(self._settings.node, body["alert"]["level"], body["alert"]["identifier"])
        return f"gw/v1/nodes/{self._settings.node}/{body['kind']}s/{body['identifier']}"

    def _outdated(self, body: Mapping[str, Any]) -> list[str]:
        """Return the topics that an alert leaves when it stands at another level; a case or an escalation has but one."""
        if body.get("kind", "alert") != "alert":
            return []
        alert = body["alert"]
        return [topic_of(self._settings.node, level, alert["identifier"]) for level in LEVELS if level != alert["level"]]

    def close(self) -> None:
        """Disconnect."""
        for connection in self._clients.values():
            connection.close()
        self._clients.clear()


class _Connection:
    def __init__(self, url: str, timeout_s: float, tls: ssl.SSLContext | None) -> None:
        self._parts, self._timeout_s, self._tls = urlsplit(url), timeout_s, tls
        self._client: mqtt.Client | None = None

    def publish(self, topic: str, payload: bytes) -> None:
        client = self._client or self._connect()
        self._client = client
        info = client.publish(topic, payload, qos=1, retain=True)
        info.wait_for_publish(self._timeout_s)
        if not info.is_published():
            raise TimeoutError(f"the broker did not acknowledge within {self._timeout_s:g} s")

    def _connect(self) -> mqtt.Client:
        client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        client.connect_timeout = self._timeout_s
        if self._parts.username:
            client.username_pw_set(unquote(self._parts.username), unquote(self._parts.password or ""))
        if self._parts.scheme == "mqtts":
            client.tls_set_context(self._tls or ssl.create_default_context())
        answered, refusal = threading.Event(), []

        def on_connect(_client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
            if reason.is_failure:
                refusal.append(str(reason))
            answered.set()

        client.on_connect = on_connect
        client.connect(self._parts.hostname or "localhost", self._parts.port or (8883 if self._parts.scheme == "mqtts" else 1883))
        client.loop_start()
        if not answered.wait(self._timeout_s) or refusal:
            client.loop_stop()
            raise ConnectionError(f"the broker refused: {refusal[0]}" if refusal else "the broker did not answer")
        return client

    def close(self) -> None:
        if self._client is not None:
            self._client.disconnect()
            self._client.loop_stop()
            self._client = None


def topic_of(node: str, level: str, identifier: str) -> str:
    """Return the topic of an alert at a level."""
    return f"gw/v1/nodes/{node}/alerts/{level}/{identifier}"

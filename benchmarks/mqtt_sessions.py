"""Sessions at the broker: made, filled, and drained by a subscriber that does nothing but acknowledge.

This file finishes with `acknowledge_all`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from ingest.transports.mqtt import OBSERVATION_TOPIC
from ingest.transports.mqtt_settings import parse_broker_url

PATIENCE_S = 600.0
SESSION_EXPIRY_S = 3600
IN_FLIGHT = 1000


class _Client:
    """An MQTT 5 client that keeps its session."""

    def __init__(self, url: str, client_id: str, *, receive_maximum: int, clean_start: bool) -> None:
        address = parse_broker_url(url)
        self._address = address
        self._clean_start = clean_start
        self._properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        self._properties.SessionExpiryInterval = SESSION_EXPIRY_S
        self._properties.ReceiveMaximum = receive_maximum
        self.paho = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, protocol=MQTTProtocolVersion.MQTTv5, manual_ack=True
        )
        self.paho.username_pw_set(address.username, address.password)
        self.paho.max_inflight_messages_set(IN_FLIGHT)

    def start(self) -> None:
        self.paho.connect(self._address.host, self._address.port, clean_start=self._clean_start, properties=self._properties)
        self.paho.loop_start()

    def stop(self) -> None:
        self.paho.disconnect()
        self.paho.loop_stop()


def make_session(url: str, client_id: str, group: str | None = None) -> None:
    """Make a session that is subscribed to all observations, or shares them with its group, and leave: the broker keeps what comes."""
    client = _Client(url, client_id, receive_maximum=1, clean_start=True)
    subscribed = threading.Event()

    def on_connect(connected: paho.Client, *_: Any) -> None:
        connected.subscribe(f"$share/{group}/{OBSERVATION_TOPIC}" if group else OBSERVATION_TOPIC, qos=1)

    client.paho.on_connect = on_connect
    client.paho.on_subscribe = lambda *_: subscribed.set()
    client.start()
    if not subscribed.wait(PATIENCE_S):
        raise TimeoutError("the broker does not answer the subscription")
    client.stop()


def drop_session(url: str, client_id: str) -> None:
    """Throw a session away with what waits in it."""
    client = _Client(url, client_id, receive_maximum=1, clean_start=True)
    client._properties.SessionExpiryInterval = 0
    connected = threading.Event()
    client.paho.on_connect = lambda *_: connected.set()
    client.start()
    if not connected.wait(PATIENCE_S):
        raise TimeoutError("the broker does not answer")
    client.stop()


def publish(url: str, login: tuple[str, str], messages: Iterable[tuple[str, str]]) -> None:
    """Publish (station, payload) at QoS 1 and return when the broker has acknowledged all."""
    address = parse_broker_url(url)
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    client.username_pw_set(*login)
    client.max_inflight_messages_set(IN_FLIGHT)
    slots = threading.Semaphore(2 * IN_FLIGHT)
    client.on_publish = lambda *_: slots.release()
    client.connect(address.host, address.port)
    client.loop_start()
    for station, payload in messages:
        slots.acquire()
        client.publish(f"gw/v1/stations/{station}/obs", payload, qos=1)
    for _ in range(2 * IN_FLIGHT):
        if not slots.acquire(timeout=PATIENCE_S):
            raise TimeoutError("the broker does not acknowledge")
    client.disconnect()
    client.loop_stop()


def acknowledge_all(url: str, client_id: str, messages: int, receive_maximum: int) -> float:
    """Take `messages` messages of a session, acknowledge each, and return the seconds from the first to the last."""
    client = _Client(url, client_id, receive_maximum=receive_maximum, clean_start=False)
    times: list[float] = []
    done = threading.Event()
    taken = 0

    def on_message(connected: paho.Client, _: Any, message: paho.MQTTMessage) -> None:
        nonlocal taken
        if not times:
            times.append(time.perf_counter())
        connected.ack(message.mid, message.qos)
        taken += 1
        if taken == messages:
            times.append(time.perf_counter())
            done.set()

    client.paho.on_message = on_message
    client.start()
    if not done.wait(PATIENCE_S):
        raise TimeoutError(f"{taken} of {messages} messages came")
    client.stop()
    return times[1] - times[0]

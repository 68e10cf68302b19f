"""The simulated gateway: live observations of the demonstration over MQTT, as the loggers of the field would send them.

A logger has a memory: what was not sent while the gateway was down is sent first, at the datastream's own interval. Messages are QoS 1
and are kept until the broker acknowledges them. This file finishes with `run`.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import numpy as np
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from domain.errors import ConfigurationError, UnavailableError
from domain.model import Station, StationKind
from service.demo.loading import network_of
from service.demo.network import Demonstration

if TYPE_CHECKING:
    from service.bootstrap import Container

CLIENT_ID = "groundwatch-demo-gateway"
ACCOUNT = "demo-gateway"
TIMES_A_MESSAGE = 500
CONNECT_TIMEOUT_S = 30.0


class Publisher:
    """One MQTT session that keeps every message until its PUBACK.

    Parameters
    ----------
    url
        `mqtt://name:password@host:port` of the gateway's own account.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname or "127.0.0.1", parts.port or 1883)
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=CLIENT_ID, clean_session=False)
        self._client.username_pw_set(unquote(parts.username or ""), unquote(parts.password or ""))
        self._client.reconnect_delay_set(1, 10)
        self._client.max_queued_messages_set(0)
        self._client.on_connect = self._connected
        self._client.on_publish = self._acknowledged
        self._changed = threading.Condition()
        self._is_connected = False
        self._published = 0
        self._acknowledged_count = 0

    def __enter__(self) -> Publisher:
        try:
            self._client.connect(*self._address, keepalive=30)
        except OSError as error:
            host, port = self._address
            raise UnavailableError(
                f"the broker {host}:{port} is out of reach: {error}.", remedy="start the broker, then the gateway"
            ) from error
        self._client.loop_start()
        with self._changed:
            if not self._changed.wait_for(lambda: self._is_connected, CONNECT_TIMEOUT_S):
                self._client.loop_stop()
                raise UnavailableError(
                    "the broker did not accept the gateway's account.", remedy="check its password and access file"
                )
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _connected(self, _client: mqtt.Client, _data: object, _flags: object, reason: ReasonCode, _properties: object) -> None:
        with self._changed:
            self._is_connected = not reason.is_failure
            self._changed.notify_all()

    def _acknowledged(self, _client: mqtt.Client, _data: object, _mid: int, _reason: object, _properties: object) -> None:
        with self._changed:
            self._acknowledged_count += 1
            self._changed.notify_all()

    @property
    def unacknowledged(self) -> int:
        """Number of messages that the broker has not acknowledged yet."""
        with self._changed:
            return self._published - self._acknowledged_count

    def publish(self, topic: str, payload: bytes) -> None:
        """Hand a message to the session; it is sent again after a reconnect until the broker acknowledges it."""
        with self._changed:
            self._published += 1
        self._client.publish(topic, payload, qos=1)

    def drain(self, timeout_s: float) -> bool:
        """Wait until everything is acknowledged; tell whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: self._published == self._acknowledged_count, timeout_s)


def payload_of(times: Sequence[datetime], values: Mapping[str, Sequence[float]]) -> bytes:
    """Return GroundWatch's JSON: one object for one time, columns for several."""
    stamps = [time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") for time in times]
    if len(stamps) == 1:
        return json.dumps({"t": stamps[0], **{key: column[0] for key, column in values.items()}}).encode()
    return json.dumps({"t": stamps, **{key: list(column) for key, column in values.items()}}).encode()


def backlog(network: Demonstration, station: Station, since: datetime, now: datetime) -> Iterator[list[datetime]]:
    """Yield the times that a station's logger recorded in `(since, now)`, in portions of one message."""
    interval_s = station_interval_s(network, station)
    elapsed = (since - network.first).total_seconds()
    moment = network.first + timedelta(seconds=(elapsed // interval_s + 1) * interval_s)
    portion: list[datetime] = []
    while moment < now:
        portion.append(moment)
        if len(portion) == TIMES_A_MESSAGE:
            yield portion
            portion = []
        moment += timedelta(seconds=interval_s)
    if portion:
        yield portion


def station_interval_s(network: Demonstration, station: Station) -> float:
    """Return the shortest sampling interval of a station's datastreams, s."""
    return min(item.interval_s or 86_400.0 for item in network.city.datastreams if item.station == station.code)


def push(
    publisher: Publisher,
    network: Demonstration,
    since: Mapping[str, datetime],
    clock: Callable[[], datetime],
    stop: threading.Event,
    rng: np.random.Generator,
    *,
    interval_s: float,
) -> int:
    """Send backlogs, then one station a round, until told to stop.

    Parameters
    ----------
    publisher
        Open MQTT session.
    network
        The simulated network.
    since
        Newest observation by station code; a station that is not named begins at the end of the network's record.
    clock, stop, rng
        Time, the order to stop, and the instruments' noise.
    interval_s
        Seconds between rounds. GNSS marks send one solution a day, when the day is over, so they take no part in the rounds.

    Returns
    -------
    int
        Number of messages handed to the broker.
    """
    sent = 0
    reached = {station.code: since.get(station.code, network.now) for station in network.live_stations()}

    def send(station: Station, times: list[datetime]) -> int:
        values = network.live_values(station.code, times, rng)
        reached[station.code] = max(reached[station.code], times[-1])
        if not values:
            return 0
        publisher.publish(f"gw/v1/stations/{station.code}/obs", payload_of(times, values))
        return 1

    for station in network.live_stations():
        sent += sum(send(station, portion) for portion in _recorded(network, station, reached[station.code], clock()))
    instant = [station for station in network.live_stations() if station.kind is not StationKind.GNSS_MARK]
    daily = [station for station in network.live_stations() if station.kind is StationKind.GNSS_MARK]
    turn = 0
    while instant and not stop.wait(interval_s):
        sent += send(instant[turn % len(instant)], [clock()])
        turn += 1
        for station in daily:
            sent += sum(send(station, portion) for portion in _recorded(network, station, reached[station.code], clock()))
    return sent


def _recorded(network: Demonstration, station: Station, since: datetime, now: datetime) -> Iterator[list[datetime]]:
    """Backlog of a station; the solution of a GNSS day exists once the day is over."""
    until = now - timedelta(days=1) if station.kind is StationKind.GNSS_MARK else now
    return backlog(network, station, since, until)


def newest_times(container: Container, network: Demonstration) -> dict[str, datetime]:
    """Return the newest stored observation by station, over the datastreams that still send."""
    found: dict[str, datetime] = {}
    ids: dict[int, str] = {}
    for signal in network.signals.values():
        stored = container.registers.datastream(signal.datastream) if signal.silent_from is None else None
        if stored is not None and stored.datastream_id is not None:
            ids[stored.datastream_id] = signal.station
    for datastream_id, status in container.registers.datastream_statuses(list(ids)).items():
        if status.last_time is not None:
            station = ids[datastream_id]
            found[station] = max(found.get(station, status.last_time), status.last_time)
    return found


def gateway_url(container: Container, network: Demonstration) -> str:
    """Return the broker's address with an account that may publish under the demonstration's stations and nothing else.

    The account is made anew at each start, so its password is stored nowhere but in the broker's hashed list.
    """
    from service.embedded import EmbeddedStack

    stack = EmbeddedStack(container.settings.home)
    if not stack.status().is_running:
        raise ConfigurationError(
            "the simulated gateway needs the embedded broker.",
            where=str(container.settings.home),
            remedy="start it with: groundwatch up --demo",
        )
    password = secrets.token_urlsafe(24)
    address = urlsplit(stack.addresses_if_running().mqtt_url)
    stack.add_gateway(ACCOUNT, password, tuple(station.code for station in network.live_stations()))
    return f"mqtt://{ACCOUNT}:{password}@{address.hostname}:{address.port}"


def run(container: Container, stop: threading.Event, *, interval_s: float = 5.0) -> None:
    """Feed the loaded demonstration with live observations until told to stop.

    Raises
    ------
    ConfigurationError
        When no demonstration is loaded, or the embedded broker does not run.
    UnavailableError
        When the broker does not answer.
    """
    network = network_of(container)
    with Publisher(gateway_url(container, network)) as publisher:
        since = newest_times(container, network)
        push(publisher, network, since, container.clock, stop, np.random.default_rng(), interval_s=interval_s)
        publisher.drain(5.0)

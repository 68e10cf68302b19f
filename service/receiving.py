"""The ingest process: devices over MQTT and, where configured, over TCP, and files from the inbox folder, each in threads of its own.

This file finishes with `run_ingest`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace

from domain.errors import ConfigurationError
from ingest.transports.inbox import Inbox, InboxSettings
from ingest.transports.metrics import IngestMetrics, TcpMetrics
from ingest.transports.mqtt import MqttIngest
from ingest.transports.mqtt_settings import MqttSettings, TlsFiles
from ingest.transports.tcp import TcpIngest
from ingest.transports.tcp_peers import TcpSettings
from service.bootstrap import Container
from service.heartbeats import Heartbeat, IngestState, this_process
from service.lifetime import room_for_connections
from service.rebirths import Rebirths
from service.settings import Settings
from storage.heartbeats import HeartbeatRepository

LOG = logging.getLogger("groundwatch.ingest")
JOIN_S = 15.0


def mqtt_settings(settings: Settings, url: str) -> MqttSettings:
    """Return what the MQTT transport needs of the settings."""
    return MqttSettings(
        url,
        tls=TlsFiles(settings.mqtt_ca_file, settings.mqtt_cert_file, settings.mqtt_key_file),
        client_id=settings.mqtt_client_id,
        shared_group=settings.mqtt_shared_group,
        receive_maximum=settings.mqtt_receive_maximum,
        max_batch=settings.ingest_batch_messages,
        max_wait_s=settings.ingest_batch_wait_ms / 1000,
    )


def tcp_settings(settings: Settings) -> TcpSettings | None:
    """Return what the server of RTUs needs of the settings; None where no protocol is to be listened for.

    Raises
    ------
    ConfigurationError
        An address is not host:port.
    """
    wanted = {"sl651": settings.sl651_listen, "hj212": settings.hj212_listen}
    listen = {name: _host_and_port(name, text) for name, text in wanted.items() if text}
    if not listen:
        return None
    return TcpSettings(
        listen,
        max_connections=settings.rtu_max_connections,
        max_connections_per_address=settings.rtu_max_connections,
        idle_s=settings.rtu_idle_s,
        frames_per_minute=settings.rtu_frames_per_minute,
    )


def _host_and_port(name: str, text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not (port.isascii() and port.isdigit()) or int(port) > 65_535:
        raise ConfigurationError(
            f"{text!r} is no address.", where=f"GROUNDWATCH_{name.upper()}_LISTEN", remedy="write host:port, e.g. 0.0.0.0:5651"
        )
    return host.strip("[]"), int(port)


def _with_room(listening: TcpSettings | None) -> TcpSettings | None:
    """Return settings of which this process can keep the promise: no more connections than it may open."""
    if listening is None or (most := room_for_connections(listening.max_connections)) >= listening.max_connections:
        return listening
    LOG.warning("no more than %d connections of RTUs fit into the limit of open files (raise it: ulimit -Hn)", most)
    return replace(listening, max_connections=most, max_connections_per_address=min(most, listening.max_connections_per_address))


def run_ingest(container: Container, stop: threading.Event) -> None:
    """Run every transport until `stop` is set, or until one of them fails for good; then nothing half-taken is left behind."""
    settings = container.settings
    folder = settings.inbox or settings.home / "inbox"
    listening = _with_room(tcp_settings(settings))
    state = IngestState(IngestMetrics(), IngestMetrics(), TcpMetrics() if listening else None)
    rebirths = Rebirths(container)
    mqtt = MqttIngest(
        mqtt_settings(settings, container.mqtt_url),
        container.pipeline,
        container.clock,
        state.mqtt,
        container.births,
        rebirths.tell,
    )
    resting = InboxSettings(
        folder,
        poll_s=min(2.0, settings.inbox_settle_s),
        settle_s=settings.inbox_settle_s,
        patience_s=settings.inbox_patience_s,
        restless_s=settings.inbox_restless_s,
    )
    inbox = Inbox(resting, container.pipeline, container.clock, metrics=state.inbox, profiles=settings.home / "profiles")
    runs = {"mqtt": mqtt.run, "inbox": inbox.run, "rebirths": rebirths.run}
    if listening is not None:
        runs["tcp"] = TcpIngest(listening, container.pipeline, container.clock, state.tcp).run
    heartbeat = Heartbeat(
        HeartbeatRepository(container.db),
        this_process("ingest", container.clock()),
        state.detail,
        urgent=("connected", "connection_fault", "retrying", "fault"),
    )
    failures: list[BaseException] = []

    def guarded(run: Callable[[threading.Event], None]) -> None:
        try:
            run(stop)
        except BaseException as error:
            failures.append(error)
            stop.set()

    threads = [threading.Thread(target=guarded, args=(run,), name=name, daemon=True) for name, run in runs.items()]
    for thread in threads:
        thread.start()
    heartbeat.start()
    LOG.info("taking observations from MQTT and from %s", folder)
    stop.wait()
    for thread in threads:
        thread.join(JOIN_S)
    heartbeat.stop(in_order=not failures)
    if failures:
        raise failures[0]

"""The ingest process: devices over MQTT and files from the inbox folder, each in a thread of its own.

This file finishes with `run_ingest`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from ingest.transports.inbox import Inbox, InboxSettings
from ingest.transports.metrics import IngestMetrics
from ingest.transports.mqtt import MqttIngest, MqttSettings
from service.bootstrap import Container
from service.heartbeats import Heartbeat, IngestState, this_process
from service.settings import Settings
from storage.heartbeats import HeartbeatRepository

LOG = logging.getLogger("groundwatch.ingest")
JOIN_S = 15.0


def mqtt_settings(settings: Settings, url: str) -> MqttSettings:
    """Return what the MQTT transport needs of the settings."""
    return MqttSettings(
        url,
        client_id=settings.mqtt_client_id,
        shared_group=settings.mqtt_shared_group,
        receive_maximum=settings.mqtt_receive_maximum,
        max_batch=settings.ingest_batch_messages,
        max_wait_s=settings.ingest_batch_wait_ms / 1000,
    )


def run_ingest(container: Container, stop: threading.Event) -> None:
    """Run both transports until `stop` is set, or until one of them fails for good; then nothing half-taken is left behind."""
    settings = container.settings
    folder = settings.inbox or settings.home / "inbox"
    state = IngestState(IngestMetrics(), IngestMetrics())
    mqtt = MqttIngest(mqtt_settings(settings, container.mqtt_url), container.pipeline, container.clock, state.mqtt)
    inbox = Inbox(
        InboxSettings(folder), container.pipeline, container.clock, metrics=state.inbox, profiles=settings.home / "profiles"
    )
    heartbeat = Heartbeat(
        HeartbeatRepository(container.db),
        this_process("ingest", container.clock()),
        state.detail,
        urgent=("connected", "retrying"),
    )
    failures: list[BaseException] = []

    def guarded(run: Callable[[threading.Event], None]) -> None:
        try:
            run(stop)
        except BaseException as error:
            failures.append(error)
            stop.set()

    threads = [
        threading.Thread(target=guarded, args=(run,), name=name, daemon=True)
        for name, run in (("mqtt", mqtt.run), ("inbox", inbox.run))
    ]
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

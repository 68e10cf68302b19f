"""A sender of its own process that keeps every observation until its receipt, as a logger with a memory does.

Run as `python -m tests.ingest.patient_sender HOST PORT USER PASSWORD FIRST MESSAGES STATIONS LEDGER RATE`. Each message is written to
the ledger before it is sent for the first time, and sent again until `gw/v1/stations/{station}/receipt` names its id: what the broker
acknowledges counts for nothing, because a broker that is killed forgets what it has acknowledged.
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from tests.ingest.mqtt_sender import payload

MEMORY = 400
AGAIN_AFTER_S = 4.0


class PatientSender:
    """Sends messages, and sends them again until their receipts have come."""

    def __init__(self, user: str, password: str, stations: int) -> None:
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id="patient-sender", protocol=MQTTProtocolVersion.MQTTv5)
        self.client.username_pw_set(user, password)
        self.client.reconnect_delay_set(1, 2)
        self.client.max_inflight_messages_set(MEMORY)
        self.client.on_connect = self._subscribe
        self.client.on_message = self._receipt
        self.stations = stations
        self.sent_again = 0
        self._kept: dict[str, tuple[str, str, float]] = {}
        self._changed = threading.Condition()

    def _subscribe(self, client: paho.Client, *_: object) -> None:
        client.subscribe([(f"gw/v1/stations/X{number:02d}/receipt", 1) for number in range(self.stations)])

    def _receipt(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        with self._changed:
            for entry in json.loads(message.payload)["committed"]:
                self._kept.pop(entry.get("id", ""), None)
            self._changed.notify_all()

    def send(self, identity: str, station: str, body: str) -> None:
        """Publish a message and keep it; wait while the memory is full."""
        with self._changed:
            while len(self._kept) >= MEMORY:
                self._changed.wait(0.5)
                self._send_late_ones()
            self._kept[identity] = (station, body, time.monotonic())
        self._publish(station, body)

    def finish(self) -> None:
        """Wait until every receipt is there."""
        with self._changed:
            while self._kept:
                self._changed.wait(0.5)
                self._send_late_ones()

    def _send_late_ones(self) -> None:
        now = time.monotonic()
        late = [(key, kept) for key, kept in self._kept.items() if now - kept[2] > AGAIN_AFTER_S]
        if not self.client.is_connected():
            return
        for key, (station, body, _) in late:
            self._kept[key] = (station, body, now)
        self._changed.release()  # the client calls back while it holds locks of its own
        try:
            for _, (station, body, _) in late:
                self._publish(station, body)
                self.sent_again += 1
        finally:
            self._changed.acquire()

    def _publish(self, station: str, body: str) -> None:
        self.client.publish(f"gw/v1/stations/{station}/obs", body, qos=1)


def main(arguments: list[str]) -> None:
    host, port, user, password, first, messages, stations, ledger, rate = arguments
    sender = PatientSender(user, password, int(stations))
    sender.client.connect(host, int(port))
    sender.client.loop_start()
    chance = random.Random(20260102)
    began = time.monotonic()
    with Path(ledger).open("a", encoding="utf-8", buffering=1) as stream:
        for position in range(int(messages)):
            time.sleep(max(0.0, began + position / float(rate) - time.monotonic()))
            number = int(first) + position
            station, body = payload(number, sender.stations, chance)
            stream.write(json.dumps({"station": station, **body}) + "\n")
            sender.send(str(number), station, json.dumps(body))
        sender.finish()
    sender.client.disconnect()
    sender.client.loop_stop()
    sys.stderr.write(f"{sender.sent_again} messages were sent again\n")


if __name__ == "__main__":
    main(sys.argv[1:])

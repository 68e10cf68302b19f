"""A sender of its own process: publishes observations at QoS 1 and keeps a ledger of what the broker has acknowledged.

Run as `python mqtt_sender.py HOST PORT USER PASSWORD MESSAGES STATIONS LEDGER [RATE]`; each line of the ledger is one message.
With a rate (messages a second) it sends steadily, else as fast as the broker takes them. A lost connection is made again, and what was
not acknowledged is sent again.
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

FIRST_SECOND = 1_767_225_600
IN_FLIGHT = 500


def payload(number: int, stations: int, chance: random.Random) -> tuple[str, dict[str, object]]:
    station = f"X{number % stations:02d}"
    depth = round(chance.uniform(1, 60), 4)
    return station, {
        "t": FIRST_SECOND + number,
        "id": number,
        "depth_to_water": {"value": depth, "sigma": round(chance.uniform(0.001, 0.05), 5)},
        "water_temperature": round(chance.uniform(5, 40), 3),
    }


def main(
    host: str, port: int, user: str, password: str, messages: int, stations: int, ledger: Path, rate: float = float("inf")
) -> None:
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="sender-of-the-test", protocol=MQTTProtocolVersion.MQTTv5)
    client.username_pw_set(user, password)
    client.max_inflight_messages_set(IN_FLIGHT)
    client.reconnect_delay_set(1, 2)
    slots = threading.Semaphore(IN_FLIGHT * 2)
    pending: dict[int, tuple[str, dict[str, object]]] = {}
    lock = threading.Lock()
    chance = random.Random(20260101)
    early: set[int] = set()
    finished = 0
    with ledger.open("w", encoding="utf-8", buffering=1) as stream:

        def note(station: str, body: dict[str, object]) -> None:
            nonlocal finished
            stream.write(json.dumps({"station": station, **body}) + "\n")
            finished += 1
            slots.release()

        def on_publish(_client: object, _userdata: object, mid: int, _reason: object, _properties: object) -> None:
            with lock:
                if mid in pending:
                    note(*pending.pop(mid))
                else:  # acknowledged before publish() has told its number
                    early.add(mid)

        client.on_publish = on_publish
        client.connect(host, port)
        client.loop_start()
        began = time.monotonic()
        for number in range(messages):
            time.sleep(max(0.0, began + number / rate - time.monotonic()))
            station, body = payload(number, stations, chance)
            slots.acquire()
            # Not under the lock: the client calls back while it holds locks of its own.
            info = client.publish(f"gw/v1/stations/{station}/obs", json.dumps(body), qos=1)
            with lock:
                if info.mid in early:
                    early.remove(info.mid)
                    note(station, body)
                else:
                    pending[info.mid] = (station, body)
        for _ in range(IN_FLIGHT * 2):
            slots.acquire()
        client.disconnect()
        client.loop_stop()
    assert finished == messages


if __name__ == "__main__":
    main(
        sys.argv[1],
        int(sys.argv[2]),
        sys.argv[3],
        sys.argv[4],
        int(sys.argv[5]),
        int(sys.argv[6]),
        Path(sys.argv[7]),
        *map(float, sys.argv[8:]),
    )

"""The broker's configuration and accounts of the compose deployment, run by hand on a real Mosquitto."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from service.embedded import EmbeddedStack
from service.embedded.accounts import SERVICE_USER, AccountFiles
from service.embedded.home import server_account
from tests.waiting import wait_until

pytestmark = pytest.mark.stack

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "only-for-this-test"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def command_of(stack: EmbeddedStack) -> list[str]:
    """Return how the running broker was started, without its arguments."""
    words = Path(f"/proc/{stack.mosquitto_pid}/cmdline").read_bytes().split(b"\0")
    return [word.decode() for word in words[: words.index(b"-c")]]


@pytest.fixture(scope="module")
def accounts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("accounts")
    subprocess.run(
        [sys.executable, "-m", "service.cli", "broker-accounts", str(folder)],
        cwd=ROOT,
        env={**os.environ, "GROUNDWATCH_MQTT_URL": f"mqtt://{SERVICE_USER}:{PASSWORD}@mosquitto:1883"},
        check=True,
    )
    return folder


@pytest.fixture(scope="module")
def port(stack: EmbeddedStack, accounts: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    data = tmp_path_factory.mktemp("broker")
    copy = data / "accounts"
    number = free_port()
    text = (ROOT / "deploy/mosquitto/mosquitto.conf").read_text(encoding="utf-8")
    text = text.replace("/mosquitto/accounts", str(copy)).replace("/mosquitto/data/", f"{data}/")
    text = text.replace("listener 1883", f"listener {number} 127.0.0.1")
    if os.geteuid() == 0:
        text += "user root\n"
    config = data / "mosquitto.conf"
    config.write_text(text, encoding="utf-8")
    with (data / "log").open("wb") as log:
        environ = {
            **os.environ,
            "BROKER_ACCOUNTS": str(accounts),
            "BROKER_ACCOUNTS_COPY": str(copy),
            "BROKER_CONFIG": str(config),
            "BROKER_COMMAND": " ".join(command_of(stack)),
            "BROKER_WATCH_S": "0.2",
        }
        process = subprocess.Popen(["/bin/sh", str(ROOT / "deploy/mosquitto/run.sh")], env=environ, stdout=log, stderr=log)
    try:
        wait_until(lambda: connects(number, SERVICE_USER, PASSWORD), 20, f"the broker answers: {(data / 'log').read_text()}")
        yield number
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)


def connects(port: int, user: str, password: str) -> bool:
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.username_pw_set(user, password)
    answered = threading.Event()
    reasons: list[bool] = []

    def on_connect(_client: object, _data: object, _flags: object, reason: paho.ReasonCode, _properties: object) -> None:
        reasons.append(not reason.is_failure)
        answered.set()

    client.on_connect = on_connect
    try:
        client.connect("127.0.0.1", port)
    except OSError:
        return False
    client.loop_start()
    answered.wait(5)
    client.disconnect()
    client.loop_stop()
    return bool(reasons) and reasons[0]


def test_the_service_account_may_connect_and_nobody_else(port: int) -> None:
    assert connects(port, SERVICE_USER, PASSWORD)
    assert not connects(port, SERVICE_USER, "wrong")
    assert not connects(port, "", "")


def test_a_device_that_is_added_may_connect_without_a_restart(port: int, accounts: Path) -> None:
    assert not connects(port, "W1", "password-of-w1")
    AccountFiles(accounts, server_account()).add("W1", "password-of-w1")
    wait_until(lambda: connects(port, "W1", "password-of-w1"), 10, "the device may connect")


def test_broker_accounts_refuses_an_address_without_the_service_account(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "service.cli", "broker-accounts", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "GROUNDWATCH_MQTT_URL": "mqtt://mosquitto:1883"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert SERVICE_USER in done.stderr


def test_the_accounts_file_is_not_readable_by_others(accounts: Path) -> None:
    assert (accounts / "passwords").stat().st_mode & 0o077 == 0

"""The embedded stack for real: kills, taken ports, accounts, a second owner."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import paho.mqtt.client as mqtt
import psycopg
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from domain.errors import ConflictError, UnavailableError
from service.embedded import EmbeddedStack, command_start, command_status, command_stop, command_url
from service.embedded.mosquitto import log_in
from service.embedded.processes import start_time, working_in
from tests.waiting import wait_until

pytestmark = pytest.mark.stack
REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def home(stack_home: Path) -> Iterator[Path]:
    """A home of its own for one test, beside the session's."""
    import shutil

    path = stack_home / "sessions" / f"{os.getpid()}-{uuid.uuid4().hex[:6]}"
    path.parent.mkdir(exist_ok=True)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def own(home: Path, stack_packages: Path) -> Iterator[EmbeddedStack]:
    """A stack that a test may kill."""
    with EmbeddedStack(home, packages=stack_packages, durable=False) as running:
        yield running


def ask(stack: EmbeddedStack, statement: str) -> object:
    with psycopg.connect(stack.addresses.database_url) as connection:
        row = connection.execute(statement).fetchone()
        return row[0] if row else None


def test_the_database_has_timescaledb_utf8_utc_and_room_for_locks(stack: EmbeddedStack) -> None:
    assert ask(stack, "SELECT count(*) FROM pg_extension WHERE extname = 'timescaledb'") == 1
    assert ask(stack, "SHOW server_encoding") == "UTF8"
    assert ask(stack, "SHOW timezone") == "UTC"
    assert ask(stack, "SHOW jit") == "off"
    assert int(str(ask(stack, "SHOW max_locks_per_transaction"))) >= 1024
    assert ask(stack, "SHOW timescaledb.telemetry_level") == "off"
    assert ask(stack, "SELECT length('嘉兴')") == 2
    assert ask(stack, "SELECT to_char('2026-01-01T00:00Z'::timestamptz AT TIME ZONE 'Asia/Shanghai', 'HH24')") == "08"


def test_the_database_refuses_who_has_no_password(stack: EmbeddedStack) -> None:
    url = stack.addresses.database_url
    login, _, rest = url.partition("@")
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(login.rpartition(":")[0] + ":wrong@" + rest)


def test_secrets_are_readable_by_the_owner_alone(stack: EmbeddedStack) -> None:
    assert stack.layout.secrets.stat().st_mode & 0o077 == 0
    assert stack.layout.database.stat().st_mode & 0o077 == 0
    assert (stack.layout.broker / "passwords").stat().st_mode & 0o077 == 0


def test_a_second_start_is_quick_and_keeps_data(home: Path, stack_packages: Path) -> None:
    with EmbeddedStack(home, packages=stack_packages) as first:
        with psycopg.connect(first.addresses.database_url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        before = first.addresses
    began = time.monotonic()
    with EmbeddedStack(home, packages=stack_packages) as second:
        assert time.monotonic() - began < 5.0
        assert second.addresses == before
        assert ask(second, "SELECT answer FROM kept") == 42


def test_stop_leaves_no_process_and_no_lock_file(home: Path, stack_packages: Path) -> None:
    stack = EmbeddedStack(home, packages=stack_packages, durable=False)
    stack.start()
    pids = [stack.postgres_pid, stack.mosquitto_pid]
    stack.stop()
    assert [start_time(pid) for pid in pids] == [None, None]
    assert list(working_in(stack.layout.database, "postgres")) == []
    assert not (stack.layout.database / "postmaster.pid").exists()
    stack.stop()


def test_a_killed_postgres_comes_back_with_what_was_committed(own: EmbeddedStack) -> None:
    with psycopg.connect(own.addresses.database_url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n")
    idle = psycopg.connect(own.addresses.database_url)  # a backend that survives the postmaster for a moment
    os.kill(own.postgres_pid, signal.SIGKILL)
    own.restart_postgres()
    assert ask(own, "SELECT count(*) FROM kept") == 1000
    idle.close()


def test_servers_that_end_unasked_are_revived_on_their_ports_and_those_that_were_stopped_are_not(own: EmbeddedStack) -> None:
    addresses = own.addresses
    assert own.revive() == []
    os.kill(own.postgres_pid, signal.SIGKILL)
    os.kill(own.mosquitto_pid, signal.SIGKILL)
    revived: list[str] = []
    wait_until(lambda: revived.extend(own.revive()) or len(revived) == 2, 30, "both are started again")
    assert sorted(revived) == ["Mosquitto", "PostgreSQL"]
    assert own.addresses == addresses
    assert ask(own, "SELECT 1") == 1
    own.stop_broker()
    assert own.revive() == []


def test_a_server_waits_for_its_own_port_because_clients_know_no_other(own: EmbeddedStack) -> None:
    port = own.addresses.mqtt_port
    fallen = own.mosquitto_pid
    os.kill(fallen, signal.SIGKILL)
    wait_until(lambda: start_time(fallen) is None, 10, "the broker is gone")
    with closing(socket.socket()) as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stranger.bind(("127.0.0.1", port))
        stranger.listen()
        with pytest.raises(UnavailableError, match=f"port {port} of mqtt was taken"):
            own.revive()
    assert own.revive() == ["Mosquitto"]
    assert own.addresses.mqtt_port == port


def test_a_lock_file_with_the_id_of_a_living_stranger_is_recovered(home: Path, stack_packages: Path) -> None:
    with EmbeddedStack(home, packages=stack_packages, durable=False) as first:
        layout = first.layout
        lines = (layout.database / "postmaster.pid").read_text().splitlines()
        os.kill(first.postgres_pid, signal.SIGKILL)
        wait_until(lambda: not list(working_in(layout.database, "postgres")), 10, "backends end")
    lines[0] = str(os.getpid())
    (layout.database / "postmaster.pid").write_text("\n".join(lines) + "\n")
    with EmbeddedStack(home, packages=stack_packages, durable=False) as second:
        assert ask(second, "SELECT 1") == 1


def test_recovery_spares_a_stranger_who_works_in_the_data_directory(home: Path, stack_packages: Path) -> None:
    with EmbeddedStack(home, packages=stack_packages, durable=False) as first:
        layout = first.layout
        os.kill(first.postgres_pid, signal.SIGKILL)
    stranger = subprocess.Popen(["sleep", "600"], cwd=layout.database)
    try:
        with EmbeddedStack(home, packages=stack_packages, durable=False) as second:
            assert ask(second, "SELECT 1") == 1
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_taken_port_is_stepped_around_and_reported(home: Path, stack_packages: Path) -> None:
    with EmbeddedStack(home, packages=stack_packages, durable=False) as first:
        wanted = first.addresses
    said: list[str] = []
    with (
        closing(socket.create_server(("127.0.0.1", wanted.postgres_port))),
        closing(socket.create_server(("127.0.0.1", wanted.mqtt_port))),
        EmbeddedStack(home, packages=stack_packages, durable=False, log=said.append) as second,
    ):
        assert second.addresses.postgres_port != wanted.postgres_port
        assert second.addresses.mqtt_port != wanted.mqtt_port
        assert ask(second, "SELECT 1") == 1
    assert sum("is taken" in line for line in said) == 2


def test_the_servers_end_when_their_owner_is_killed(home: Path, stack_packages: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from service.embedded import EmbeddedStack\n"
        "s = EmbeddedStack(Path(sys.argv[1]), packages=Path(sys.argv[2]), durable=False); s.start()\n"
        "print(s.postgres_pid, s.mosquitto_pid, flush=True); time.sleep(600)"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", script, str(home), str(stack_packages)], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )
    with owner:
        assert owner.stdout is not None
        pids = [int(word) for word in owner.stdout.readline().split()]
        assert len(pids) == 2
        owner.kill()
    # The very next start waits for the keeper's clean stop, then starts anew.
    with EmbeddedStack(home, packages=stack_packages, durable=False) as second:
        assert [start_time(pid) for pid in pids] == [None, None]
        assert ask(second, "SELECT 1") == 1


def test_a_second_owner_uses_the_running_stack_and_leaves_it_running(own: EmbeddedStack, stack_packages: Path) -> None:
    with EmbeddedStack(own.layout.home, packages=stack_packages, durable=False) as second:
        assert second.addresses == own.addresses
        assert second.postgres_pid == own.postgres_pid
    assert start_time(own.postgres_pid) is not None
    with pytest.raises(ConflictError, match="belongs to process"):
        command_stop(own.layout.home)


def test_a_detached_stack_runs_on_until_it_is_stopped(home: Path, stack_packages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "embedded").mkdir(parents=True)
    (home / "embedded" / "packages").symlink_to(stack_packages)
    assert command_status(home)["ok"] is False
    with pytest.raises(UnavailableError, match="does not run"):
        command_url(home)
    started = command_start(home)
    try:
        status = command_status(home)
        assert status["ok"] is True
        assert status["postgres_port"] == started["postgres_port"]
        with psycopg.connect(command_url(home).database_url) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        assert command_start(home) == started
    finally:
        assert command_stop(home) == {"ok": True, "was_running": True}
    assert command_stop(home) == {"ok": True, "was_running": False}


# --- the broker -----------------------------------------------------------------------------------------------------


def connect(stack: EmbeddedStack, user: str, password: str, **options: object) -> mqtt.Client:
    client = mqtt.Client(CallbackAPIVersion.VERSION2, **options)  # type: ignore[arg-type]
    client.username_pw_set(user, password)
    client.connect("127.0.0.1", stack.addresses.mqtt_port)
    client.loop_start()
    wait_until(client.is_connected, 5, "the client connects")
    return client


def disconnect(client: mqtt.Client) -> None:
    client.disconnect()
    client.loop_stop()


def test_a_device_publishes_under_its_own_station_only(stack: EmbeddedStack) -> None:
    service = stack.addresses
    heard: list[str] = []
    listener = connect(stack, service.mqtt_username, service.mqtt_password)
    listener.on_message = lambda _client, _data, message: message.retain or heard.append(message.topic)
    listener.subscribe("gw/v1/#", qos=1)
    name = f"站-{uuid.uuid4().hex[:6]}"
    assert log_in(service.mqtt_port, name, "secret") == 5
    stack.add_device(name, "secret")
    assert log_in(service.mqtt_port, name, "secret") == 0
    device = connect(stack, name, "secret")
    device.publish("gw/v1/stations/another/obs", b"{}", qos=1).wait_for_publish(5)
    device.publish(f"gw/v1/nodes/{name}/status", b"{}", qos=1).wait_for_publish(5)
    device.publish(f"gw/v1/stations/{name}/obs", b"{}", qos=1).wait_for_publish(5)
    wait_until(lambda: heard, 5, "the permitted message arrives")
    assert heard == [f"gw/v1/stations/{name}/obs"]
    disconnect(device)
    assert stack.remove_device(name)
    assert log_in(service.mqtt_port, name, "secret") == 5
    assert not stack.remove_device(name)
    disconnect(listener)


def test_however_quickly_devices_are_added_each_is_known_when_it_was(stack: EmbeddedStack) -> None:
    names = [f"quick-{number}" for number in range(60)]
    for name in names:
        stack.add_device(name, "secret")
        assert log_in(stack.addresses.mqtt_port, name, "secret") == 0, name
    for name in names:
        stack.remove_device(name)
        assert log_in(stack.addresses.mqtt_port, name, "secret") == 5, name


def test_a_rotated_password_ends_the_old_one_and_a_revoked_device_publishes_no_more(stack: EmbeddedStack) -> None:
    service = stack.addresses
    heard: list[bytes] = []
    listener = connect(stack, service.mqtt_username, service.mqtt_password)
    listener.on_message = lambda _client, _data, message: message.retain or heard.append(message.payload)
    listener.subscribe("gw/v1/stations/rotated/obs", qos=1)
    stack.add_device("rotated", "first")
    assert log_in(service.mqtt_port, "rotated", "first") == 0
    stack.add_device("rotated", "second")
    assert log_in(service.mqtt_port, "rotated", "first") == 5
    assert log_in(service.mqtt_port, "rotated", "second") == 0
    device = connect(stack, "rotated", "second")
    device.publish("gw/v1/stations/rotated/obs", b"before", qos=1).wait_for_publish(5)
    wait_until(lambda: heard == [b"before"], 5, "it publishes")
    assert stack.remove_device("rotated")
    assert log_in(service.mqtt_port, "rotated", "second") == 5
    device.publish("gw/v1/stations/rotated/obs", b"after", qos=1)  # over the connection that was open, if it still is
    listener.publish("gw/v1/stations/rotated/receipt", b"{}", qos=1).wait_for_publish(5)
    wait_until(lambda: not device.is_connected(), 10, "its connection is cut")
    assert heard == [b"before"]
    disconnect(device)
    disconnect(listener)


def test_a_device_hears_the_receipts_of_its_own_station_only(stack: EmbeddedStack) -> None:
    service = stack.addresses
    stack.add_device("receipts-1", "secret")
    heard: list[str] = []
    device = connect(stack, "receipts-1", "secret")
    device.on_message = lambda _client, _data, message: message.retain or heard.append(message.topic)
    subscribed: list[int] = []
    device.on_subscribe = lambda *_arguments: subscribed.append(1)
    device.subscribe("gw/v1/#", qos=1)
    wait_until(lambda: subscribed, 5, "the subscription")
    sender = connect(stack, service.mqtt_username, service.mqtt_password)
    for station in ("receipts-2", "receipts-1"):
        sender.publish(f"gw/v1/stations/{station}/receipt", b"{}", qos=1).wait_for_publish(5)
    wait_until(lambda: heard, 5, "the receipt arrives")
    assert heard == ["gw/v1/stations/receipts-1/receipt"]
    disconnect(device)
    disconnect(sender)


def test_a_gateway_publishes_for_its_stations(stack: EmbeddedStack) -> None:
    service = stack.addresses
    stack.add_gateway("gateway-1", "secret", ("G-1", "G-2"), ("application/#",))
    heard: list[str] = []
    listener = connect(stack, service.mqtt_username, service.mqtt_password)
    listener.on_message = lambda _client, _data, message: message.retain or heard.append(message.topic)
    listener.subscribe([("gw/v1/#", 1), ("application/#", 1)])
    gateway = connect(stack, "gateway-1", "secret")
    wanted = ["gw/v1/stations/G-1/obs", "gw/v1/stations/G-2/senml", "application/1/device/2/event/up"]
    for topic in ["gw/v1/stations/G-3/obs", *wanted]:
        gateway.publish(topic, b"{}", qos=1).wait_for_publish(5)
    wait_until(lambda: len(heard) >= 3, 5, "the permitted messages arrive")
    assert heard == wanted
    disconnect(gateway)
    disconnect(listener)


def test_nobody_connects_without_a_login(stack: EmbeddedStack) -> None:
    assert log_in(stack.addresses.mqtt_port, "", "") == 5


def test_messages_wait_for_a_client_that_is_away_also_across_a_broker_restart(own: EmbeddedStack) -> None:
    service = own.addresses
    options = {"client_id": "ingest", "clean_session": False}
    subscribed: list[int] = []
    away = connect(own, service.mqtt_username, service.mqtt_password, **options)
    away.on_subscribe = lambda *_arguments: subscribed.append(1)
    away.subscribe("gw/v1/#", qos=1)
    wait_until(lambda: subscribed, 5, "the subscription")
    disconnect(away)
    own.add_device("S-1", "secret")
    device = connect(own, "S-1", "secret")
    receipts = [device.publish("gw/v1/stations/S-1/obs", str(n).encode(), qos=1) for n in range(1500)]
    for receipt in receipts:
        receipt.wait_for_publish(20)
    disconnect(device)
    own.stop_broker()
    own.start_broker()
    heard: list[int] = []
    back = mqtt.Client(CallbackAPIVersion.VERSION2, **options)  # type: ignore[arg-type]
    back.username_pw_set(service.mqtt_username, service.mqtt_password)
    back.on_message = lambda _client, _data, message: heard.append(int(message.payload))
    back.connect("127.0.0.1", service.mqtt_port)
    back.loop_start()
    wait_until(lambda: len(heard) >= 1500, 20, "the queued messages arrive")
    assert heard == list(range(1500))
    disconnect(back)


def test_a_killed_broker_starts_again_on_its_port(own: EmbeddedStack) -> None:
    port = own.addresses.mqtt_port
    os.kill(own.mosquitto_pid, signal.SIGKILL)
    wait_until(lambda: start_time(own.mosquitto_pid) is None, 5, "the broker is gone")
    own.start_broker()
    assert own.addresses.mqtt_port == port
    assert log_in(port, own.addresses.mqtt_username, own.addresses.mqtt_password) == 0

"""MQTT by TLS: nothing is lost or doubled under it, and a certificate that does not fit is said with its remedy."""

from __future__ import annotations

import json
import os
import select
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from alerts.notifiers.mqtt import _Connection
from benchmarks.links import Link as Relay
from domain.errors import ConfigurationError, UnavailableError
from ingest.pipeline import Pipeline
from ingest.transports.mqtt import MqttIngest
from ingest.transports.mqtt_link import Wire
from ingest.transports.mqtt_settings import MqttSettings, TlsFiles, parse_broker_url
from ingest.transports.mqtt_tls import reach, tls_context, tls_for
from tests.conftest import BrokerLogin
from tests.ingest.memory import MemoryRegistry, MemoryStore
from tests.ingest.test_mqtt import Running
from tests.ingest.tls_broker import Authority, TlsBroker, tls_pair
from tests.waiting import wait_until

MANY = 3_000
START_S = 1_767_225_600


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "ours")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stranger"), "stranger")


@pytest.fixture(scope="module")
def program(broker: BrokerLogin) -> str:
    """The Mosquitto that the stack runs."""
    command = Path(f"/proc/{broker.stack.mosquitto_pid}/cmdline").read_bytes()
    return command.split(b"\0")[0].decode()


@pytest.fixture
def secured(program: str, tmp_path: Path, authority: Authority) -> Iterator[TlsBroker]:
    running = TlsBroker(program, tmp_path, authority.sign("broker"))
    running.start()
    yield running
    running.stop()


def ingest(url: str, pipeline: Pipeline, station: str, tls: TlsFiles) -> MqttIngest:
    settings = MqttSettings(url, client_id=f"tls-{station}", session_expiry_s=600, receive_maximum=200, tls=tls)
    return MqttIngest(settings, pipeline, lambda: datetime.now(UTC))


def device(port: int) -> paho.Client:
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    client.max_queued_messages_set(0)
    client.connect("127.0.0.1", port)
    client.loop_start()
    wait_until(client.is_connected, 10, "the device's connection")
    return client


def send_many(port: int, station: str, numbers: range) -> None:
    sender = device(port)
    topic = f"gw/v1/stations/{station}/obs"
    sent = [
        sender.publish(topic, json.dumps({"t": START_S + number, "id": number, "depth_to_water": number / 8}), qos=1)
        for number in numbers
    ]
    for one in sent:
        one.wait_for_publish(30)
    sender.disconnect()
    sender.loop_stop()


def open_session(broker: TlsBroker, pipeline: Pipeline, station: str, tls: TlsFiles) -> None:
    """Have the broker keep messages for this client from now on."""
    first = Running(ingest(broker.url, pipeline, station, tls))
    first.start()
    first.stop()
    assert first.fault is None


def stored(store: MemoryStore, registry: MemoryRegistry, station: str) -> list[float]:
    return list(store.values(registry.datastream(f"{station}:depth_to_water")).values())


@pytest.mark.stack
def test_thousands_of_messages_that_wait_are_drained_by_tls_and_acknowledged(
    secured: TlsBroker, pipeline: Pipeline, store: MemoryStore, registry: MemoryRegistry, station: str, authority: Authority
) -> None:
    tls = TlsFiles(authority.certificate)
    open_session(secured, pipeline, station, tls)
    send_many(secured.plain_port, station, range(MANY))
    draining = Running(ingest(secured.url, pipeline, station, tls))
    draining.start()
    wait_until(lambda: len(store.rows) == MANY, 60, "all that waited")
    wait_until(lambda: draining.ingest.metrics.messages_committed == MANY, 10, "all of it is counted")
    draining.stop()
    assert stored(store, registry, station) == [number / 8 for number in range(MANY)]
    again = Running(ingest(secured.url, pipeline, station, tls))
    again.start()
    send_many(secured.plain_port, station, range(MANY, MANY + 1))
    wait_until(lambda: len(store.rows) == MANY + 1, 10, "the last message")
    again.stop()
    assert again.ingest.metrics.messages_received == 1  # all else was acknowledged


@pytest.mark.stack
def test_a_message_of_many_tls_records_arrives_whole_and_at_once(
    secured: TlsBroker, pipeline: Pipeline, store: MemoryStore, station: str, authority: Authority
) -> None:
    """What TLS has decoded and nobody has read wakes no poll: it must be found without one."""
    amount = 20_000
    running = Running(ingest(secured.url, pipeline, station, TlsFiles(authority.certificate)))
    running.start()
    sender = device(secured.plain_port)
    columns = {"t": [START_S + number for number in range(amount)], "depth_to_water": [number / 8 for number in range(amount)]}
    body = json.dumps(columns)
    assert len(body) > 10 * 16_384  # TLS records hold 16 KiB at most
    sender.publish(f"gw/v1/stations/{station}/obs", body, qos=1).wait_for_publish(10)
    wait_until(lambda: len(store.rows) == amount, 10, "the large message")
    running.stop()
    sender.disconnect()
    sender.loop_stop()


@pytest.mark.stack
def test_a_link_by_tls_that_is_cut_again_and_again_loses_and_doubles_nothing(
    secured: TlsBroker, pipeline: Pipeline, store: MemoryStore, registry: MemoryRegistry, station: str, authority: Authority
) -> None:
    tls = TlsFiles(authority.certificate)
    open_session(secured, pipeline, station, tls)
    send_many(secured.plain_port, station, range(MANY))
    with Relay(lambda: secured.tls_port) as relay:
        process = Running(ingest(f"mqtts://127.0.0.1:{relay.port}", pipeline, station, tls))
        store.is_out_of_reach = True  # so that something is in flight whenever the link is cut
        process.start()
        for cut in range(1, 4):
            received = process.ingest.metrics.messages_received
            wait_until(
                lambda seen=received: process.ingest.metrics.messages_received > seen or process.ingest._backlog > 0,  # type: ignore[misc]
                15,
                "something in flight",
            )
            relay.cut()
            wait_until(lambda lost=cut: process.ingest.metrics.reconnects == lost, 10, "the loss")  # type: ignore[misc]
            wait_until(lambda: process.ingest.metrics.is_connected, 15, "the new connection")
        store.is_out_of_reach = False
        wait_until(lambda: len(store.rows) == MANY, 60, "all that waited")
        process.stop()
    assert process.fault is None
    assert stored(store, registry, station) == [number / 8 for number in range(MANY)]
    assert store.revisions == []


@pytest.mark.stack
def test_a_broker_of_an_unknown_authority_is_not_trusted_until_it_shows_another_certificate(
    secured: TlsBroker, pipeline: Pipeline, station: str, authority: Authority, stranger: Authority
) -> None:
    good = secured.shown
    secured.stop()
    secured.shown = stranger.sign("impostor")
    secured.start()
    process = Running(ingest(secured.url, pipeline, station, TlsFiles(authority.certificate)))
    process.thread.start()
    fault = wait_until(lambda: process.ingest.metrics.connection_fault, 10, "the fault")
    assert f"127.0.0.1:{secured.tls_port}: the broker's certificate is not trusted" in fault
    assert "Remedy: name the file of the authority that signed it (PEM) in GROUNDWATCH_MQTT_CA_FILE" in fault
    assert not process.ingest.metrics.is_connected
    secured.stop()
    secured.shown = good
    secured.start()
    wait_until(lambda: process.ingest.metrics.is_connected, 30, "the connection once the certificate is right")
    assert process.ingest.metrics.connection_fault == ""
    process.stop()
    assert process.fault is None


@pytest.mark.stack
@pytest.mark.parametrize(
    ("subject", "ends_h", "what", "remedy"),
    [
        ("IP:127.0.0.1", -1, "has expired", "renew it at the broker"),
        ("DNS:broker.example", 1, "for another name", "GROUNDWATCH_MQTT_URL"),
        ("IP:127.0.0.2", 1, "for another name", "GROUNDWATCH_MQTT_URL"),
    ],
)
def test_what_is_wrong_with_a_certificate_is_said_with_its_remedy(
    subject: str, ends_h: int, what: str, remedy: str, program: str, tmp_path: Path, authority: Authority
) -> None:
    name = f"wrong{abs(hash((subject, ends_h)))}"
    broker = TlsBroker(program, tmp_path, authority.sign(name, subject=subject, ends=timedelta(hours=ends_h)))
    broker.start()
    try:
        with pytest.raises(ConfigurationError) as caught:
            reach(parse_broker_url(broker.url), tls_context(TlsFiles(authority.certificate)), 5.0)
        assert what in caught.value.what
        assert remedy in (caught.value.remedy or "")
        with pytest.raises(UnavailableError, match="hangs up amid the handshake; it may speak no TLS"):
            reach(parse_broker_url(f"mqtts://127.0.0.1:{broker.plain_port}"), tls_context(TlsFiles(authority.certificate)), 5.0)
        reach(parse_broker_url(f"mqtt://127.0.0.1:{broker.plain_port}"), None, 5.0)
    finally:
        broker.stop()
    with pytest.raises(UnavailableError, match="out of reach"):
        reach(parse_broker_url(broker.url), tls_context(TlsFiles(authority.certificate)), 5.0)


@pytest.mark.stack
def test_a_broker_that_asks_for_a_client_certificate_gets_it_or_the_want_is_said(
    program: str, tmp_path: Path, pipeline: Pipeline, store: MemoryStore, station: str, authority: Authority, stranger: Authority
) -> None:
    broker = TlsBroker(program, tmp_path, authority.sign("asking"), client_authority=authority.certificate)
    broker.start()
    ours, foreign = (
        authority.sign("groundwatch", subject="DNS:groundwatch"),
        stranger.sign("groundwatch", subject="DNS:groundwatch"),
    )
    expected = {
        TlsFiles(authority.certificate): "the broker asks for a client certificate and none is set. Remedy: name",
        TlsFiles(
            authority.certificate, foreign.certificate, foreign.key
        ): "the broker does not trust the authority of our certificate",
    }
    try:
        for files, said in expected.items():
            refused = Running(ingest(broker.url, pipeline, station, files))
            refused.thread.start()
            fault = wait_until(lambda ingest=refused.ingest: ingest.metrics.connection_fault, 10, "the refusal")  # type: ignore[misc]
            assert said in fault
            assert "GROUNDWATCH_MQTT_CERT_FILE" in fault
            refused.stop()
        taken = Running(ingest(broker.url, pipeline, station, TlsFiles(authority.certificate, ours.certificate, ours.key)))
        taken.start()
        send_many(broker.plain_port, station, range(20))
        wait_until(lambda: len(store.rows) == 20, 10, "what was sent")
        taken.stop()
    finally:
        broker.stop()


def test_files_that_cannot_be_used_are_named_with_their_variable(tmp_path: Path, authority: Authority) -> None:
    mine, other = authority.sign("mine"), authority.sign("other")
    nothing, text, locked = tmp_path / "absent.pem", tmp_path / "text.pem", tmp_path / "locked.key"
    text.write_text("no certificate")
    authority._openssl("pkey", "-in", mine.key, "-aes256", "-passout", "pass:secret", "-out", locked)
    both = tmp_path / "both.pem"
    both.write_bytes(mine.certificate.read_bytes() + mine.key.read_bytes())
    for files, variable, what in (
        (TlsFiles(nothing), "CA", "cannot be read: No such file"),
        (TlsFiles(text), "CA", "cannot be used"),
        (TlsFiles(None, nothing), "CERT", "cannot be read"),
        (TlsFiles(None, text, mine.key), "CERT", "cannot be used"),
        (TlsFiles(None, mine.certificate, nothing), "KEY", "cannot be read"),
        (TlsFiles(None, mine.certificate, other.key), "CERT", "do not belong together"),
        (TlsFiles(None, mine.certificate), "CERT", "cannot be used"),
        (TlsFiles(None, None, mine.key), "KEY", "no certificate"),
        (TlsFiles(None, mine.certificate, locked), "KEY", "locked by a password"),
    ):
        with pytest.raises(ConfigurationError) as caught:
            tls_context(files)
        assert what in caught.value.what, files
        assert (caught.value.where or "").startswith(f"GROUNDWATCH_MQTT_{variable}_FILE"), files
        assert caught.value.remedy
    tls_context(TlsFiles(authority.certificate, both))
    tls_context(TlsFiles())
    with pytest.raises(ConfigurationError, match="says mqtt://"):
        tls_for(parse_broker_url("mqtt://127.0.0.1"), TlsFiles(authority.certificate))
    assert tls_for(parse_broker_url("mqtt://127.0.0.1"), TlsFiles()) is None


def test_what_a_tls_wire_waits_for_is_what_the_protocol_needs() -> None:
    """A key that is renewed makes reading wait for room to write, and sending for something to read."""

    class Renewing:
        def recv(self, size: int) -> bytes:
            raise ssl.SSLWantWriteError

        def send(self, content: bytes) -> int:
            raise ssl.SSLWantReadError

    wire = Wire(Renewing())
    assert wire.events(may_read=True, is_clogged=False) == select.POLLIN
    assert wire.events(may_read=False, is_clogged=True) == select.POLLOUT
    with pytest.raises(ssl.SSLWantWriteError):
        wire.recv(1)
    wire.send(b"x")
    assert not wire.flush()
    assert wire.events(may_read=True, is_clogged=False) == select.POLLOUT
    assert wire.events(may_read=False, is_clogged=True) == select.POLLIN
    assert wire.events(may_read=False, is_clogged=False) == 0


def test_bytes_that_tls_has_decoded_are_pending_and_a_full_connection_keeps_their_order(authority: Authority) -> None:
    client, server = tls_pair(authority.sign("pair"), authority.certificate)
    for side in (client, server):
        side.setblocking(False)
    wire, given_bytes = Wire(client), bytes(range(256)) * 20_000
    wire.send(given_bytes[:1_000_000])
    assert not wire.flush()  # nobody reads yet
    wire.send(given_bytes[1_000_000:])
    read = b""
    while len(read) < len(given_bytes):
        wire.flush()
        try:
            read += server.recv(65_536)
        except ssl.SSLWantReadError:
            continue
    assert read == given_bytes
    assert wire.flush()
    server.sendall(b"0123456789" * 1_000)
    wait_until(lambda: select.select([client], [], [], 1)[0], 5, "what was sent")
    assert client.recv(4) == b"0123"  # the record is decoded now, and the socket below is empty
    assert wire.pending() == 9_996
    assert not select.select([client], [], [], 0)[0]
    server.close()
    client.close()


def test_a_silent_peer_ends_the_handshake_after_its_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(UnavailableError, match="timed out"):
        reach(parse_broker_url(f"mqtts://127.0.0.1:{silent.getsockname()[1]}"), tls_context(TlsFiles()), 0.3)


def test_a_server_that_speaks_first_and_no_tls_is_told_from_one_that_hangs_up() -> None:
    """As SMTP or SSH would on a port that was named by mistake."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            with server.accept()[0] as client:
                client.sendall(b"220 not a broker\r\n")
                client.recv(4096)

        greeting = threading.Thread(target=greet)
        greeting.start()
        with pytest.raises(ConfigurationError, match="speaks no TLS") as caught:
            reach(parse_broker_url(f"mqtts://127.0.0.1:{server.getsockname()[1]}"), tls_context(TlsFiles()), 5.0)
        greeting.join()
    assert "8883" in (caught.value.remedy or "")


@pytest.mark.stack
def test_alerts_leave_by_tls_with_the_same_files(secured: TlsBroker, authority: Authority) -> None:
    """The connection is one of its own, and trusts what ingest trusts: the system's authorities do not know this one."""
    connection = _Connection(secured.url, 10.0, tls_context(TlsFiles(authority.certificate)))
    connection.publish("gw/v1/nodes/n/alerts/red/1", b"{}")
    connection.close()


@pytest.mark.stack
def test_check_says_what_is_wrong_with_the_brokers_certificate(
    secured: TlsBroker, authority: Authority, stranger: Authority, tmp_path: Path
) -> None:
    for trusted, said in ((authority, f"ok   broker: reachable at 127.0.0.1:{secured.tls_port}"), (stranger, "FAIL broker: ")):
        environment = {
            **os.environ,
            "GROUNDWATCH_HOME": str(tmp_path / "home"),
            "GROUNDWATCH_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
            "GROUNDWATCH_MQTT_URL": secured.url,
            "GROUNDWATCH_MQTT_CA_FILE": str(trusted.certificate),
        }
        command = [sys.executable, "-m", "service.cli", "check"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 1  # there is no database
        (line,) = [line for line in done.stdout.splitlines() + done.stderr.splitlines() if "broker:" in line]
        assert said in line
        assert ("Remedy: name the file of the authority" in line) == (trusted is stranger)

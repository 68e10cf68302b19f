"""The private Mosquitto: persistent, bounded by bytes and never by count, every client known by name.

This file finishes with a broker that has answered a login, or with the reason why not.
"""

from __future__ import annotations

import signal
import socket
import struct
from contextlib import closing

from domain.errors import ConfigurationError, UnavailableError
from service.embedded.accounts import SERVICE_USER, AccountFiles
from service.embedded.home import Account, Layout
from service.embedded.ports import LOOPBACK
from service.embedded.postgres import PortTakenError
from service.embedded.processes import Server, last_lines, spawn, wait_until, working_in
from service.embedded.programs import Mosquitto
from service.embedded.secrets_file import write_private

START_TIMEOUT_S = 60.0
ACCEPTED, NOT_AUTHORISED = 0, 5
"""Answers of MQTT 3.1.1 to a login."""
NO_COUNT_LIMIT = 2**31 - 1
"""Not 0: Mosquitto 2.0 then ends the connection of a client whose message it has refused ("Quota exceeded")."""

MEBI = 1024 * 1024
MAX_PACKET_BYTES = 16 * MEBI  # a logger's month of ten properties a minute, as columns, in one message


def configuration(port: int, layout: Layout, files: AccountFiles, queue_bytes: int) -> str:
    """Return `mosquitto.conf`.

    Parameters
    ----------
    queue_bytes
        Bytes that may wait for one client that is away; what exceeds them is dropped, counted and must raise an alarm.
    """
    return "\n".join(
        (
            "# Written by GroundWatch at every start.",
            f"listener {port} {LOOPBACK}",
            "allow_anonymous false",
            f"password_file {files.passwords}",
            f"acl_file {files.access}",
            "persistence true",
            f"persistence_location {layout.broker}/",
            "autosave_interval 5",
            f"max_queued_messages {NO_COUNT_LIMIT}",
            f"max_queued_bytes {queue_bytes}",
            # Acknowledgements come after the database commit, so a batch of a commit must fit in flight.
            "max_inflight_messages 4096",
            f"max_packet_size {MAX_PACKET_BYTES}",
            "sys_interval 5",
            "set_tcp_nodelay true",
            "connection_messages false",
            "log_dest stderr",
            "log_type error",
            "log_type warning",
            "log_type notice",
            "log_timestamp_format %Y-%m-%dT%H:%M:%SZ",
            "",
        )
    )


def queue_limit_bytes(memory: int) -> int:
    """Return an eighth of the memory, at least 64 MiB and at most 2 GiB: Mosquitto keeps its queues in memory."""
    return min(max(memory // 8, 64 * MEBI), 2048 * MEBI)


def log_in(port: int, user: str, password: str, timeout_s: float = 2.0) -> int:
    """Connect as MQTT 3.1.1 and return the broker's answer (0 accepted, 5 not authorised).

    Raises
    ------
    UnavailableError
        Nothing answers there, or something that is no MQTT broker.
    """
    fields = b"".join(struct.pack("!H", len(text)) + text for text in (b"", user.encode(), password.encode()))
    body = b"\x00\x04MQTT\x04\xc2\x00\x0a" + fields
    try:
        with closing(socket.create_connection((LOOPBACK, port), timeout_s)) as connection:
            connection.sendall(bytes((0x10, len(body))) + body)
            answer = connection.recv(4)
            connection.sendall(b"\xe0\x00")
    except OSError as error:
        raise UnavailableError(f"no broker answers: {error}", where=f"{LOOPBACK}:{port}") from error
    if len(answer) != 4 or answer[0] != 0x20:
        raise UnavailableError("what listens there is no MQTT broker", where=f"{LOOPBACK}:{port}")
    return answer[3]


def _answers(port: int, password: str) -> bool:
    try:
        return log_in(port, SERVICE_USER, password) == ACCEPTED
    except UnavailableError:
        return False


def start(mosquitto: Mosquitto, layout: Layout, account: Account, port: int, password: str, queue_bytes: int) -> Server:
    """Start the broker and wait until it has accepted the service account.

    Raises
    ------
    PortTakenError
        The port was taken meanwhile.
    ConfigurationError
        It ended, or did not answer in time; the message holds the end of its log.
    """
    files = AccountFiles(layout.broker, account)
    files.set_service(password)
    config = layout.broker / "mosquitto.conf"
    write_private(config, configuration(port, layout, files, queue_bytes))
    account.own(config)
    log = layout.log / "mosquitto.log"
    server = spawn([str(mosquitto.program), "-c", str(config)], account, log, {}, layout.broker)
    wait_until(lambda: not server.is_alive() or _answers(port, password), START_TIMEOUT_S)
    if server.is_alive() and _answers(port, password):
        return server
    server.stop((signal.SIGTERM, signal.SIGKILL), 10.0)
    said = last_lines(log)
    if "Address already in use" in said:
        raise PortTakenError(f"port {port} is taken", where=LOOPBACK)
    raise ConfigurationError(f"Mosquitto did not start: {said}", where=str(log), remedy="read the log")


def running(layout: Layout) -> Server | None:
    """Return the live broker of this home, if there is one (it works in its own directory)."""
    for pid in working_in(layout.broker, "mosquitto"):
        server = Server.adopt(pid)
        if server is not None:
            return server
    return None

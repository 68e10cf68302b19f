"""An authority of our own, the certificates that it signs, and a Mosquitto that shows one."""

from __future__ import annotations

import signal
import socket
import ssl
import subprocess
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.waiting import wait_until

_TIME = "%Y%m%d%H%M%SZ"
_CA_CONFIG = """
[ca]
default_ca = here
[here]
database = {folder}/index.txt
serial = {folder}/serial
new_certs_dir = {folder}
default_md = sha256
policy = anything
unique_subject = no
[anything]
commonName = supplied
"""


@dataclass(frozen=True)
class Shown:
    """A certificate and its key."""

    certificate: Path
    key: Path


class Authority:
    """Signs certificates, by the openssl command."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder / name, name
        self.folder.mkdir()
        (self.folder / "index.txt").touch()
        (self.folder / "serial").write_text("01\n")
        (self.folder / "ca.cnf").write_text(_CA_CONFIG.format(folder=self.folder))
        self.certificate, self._key = self.folder / "ca.pem", self.folder / "ca.key"
        self._openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"),
            *("-subj", f"/CN={name}", "-keyout", self._key, "-out", self.certificate),
        )

    def sign(self, name: str, *, subject: str = "IP:127.0.0.1", ends: timedelta = timedelta(days=1)) -> Shown:
        """Make a key and a certificate for a subject alternative name, valid from two days ago until `ends` from now."""
        key, request, made = (self.folder / f"{name}.{kind}" for kind in ("key", "csr", "pem"))
        now = datetime.now(UTC)
        names = self.folder / f"{name}.ext"
        names.write_text(f"subjectAltName={subject}\n")
        self._openssl(
            *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-subj", f"/CN={name}", "-keyout", key, "-out", request),
        )
        self._openssl(
            *("ca", "-batch", "-notext", "-config", self.folder / "ca.cnf", "-cert", self.certificate, "-keyfile", self._key),
            *("-startdate", f"{now - timedelta(days=2):{_TIME}}", "-enddate", f"{now + ends:{_TIME}}"),
            *("-extfile", names, "-in", request, "-out", made),
        )
        return Shown(made, key)

    def _openssl(self, *words: str | Path) -> None:
        done = subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


class TlsBroker:
    """A Mosquitto of its own, with one listener by TLS and a plain one beside it for devices."""

    def __init__(self, program: str, folder: Path, shown: Shown, *, client_authority: Path | None = None) -> None:
        self._program, self._folder = program, folder
        self.shown, self._client_authority = shown, client_authority
        self.tls_port, self.plain_port = _free_port(), _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address by TLS."""
        return f"mqtts://127.0.0.1:{self.tls_port}"

    def start(self) -> None:
        """Start, with the sessions of before."""
        config = self._folder / "mosquitto.conf"
        client = f"require_certificate true\ncafile {self._client_authority}\n" if self._client_authority else ""
        config.write_text(
            f"user root\nper_listener_settings false\nallow_anonymous true\npersistence true\npersistence_location {self._folder}/\n"
            f"max_queued_messages 100000\nmax_inflight_messages 4096\n"
            f"listener {self.plain_port} 127.0.0.1\nlistener {self.tls_port} 127.0.0.1\n"
            f"certfile {self.shown.certificate}\nkeyfile {self.shown.key}\n{client}"
        )
        log = (self._folder / "mosquitto.log").open("ab")
        self._process = subprocess.Popen([self._program, "-c", str(config)], stdout=log, stderr=log)
        log.close()
        wait_until(self._is_open, 20, "the broker listens")

    def stop(self) -> None:
        """Stop; sessions and queues stay on disk."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(20)
            self._process = None

    def _is_open(self) -> bool:
        try:
            for port in (self.plain_port, self.tls_port):
                socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            return False
        return True


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def tls_pair(shown: Shown, authority: Path) -> tuple[ssl.SSLSocket, ssl.SSLSocket]:
    """Return two ends of a connection by TLS, client and server, both waiting."""
    here, there = socket.socketpair()
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(shown.certificate, shown.key)
    made: list[ssl.SSLSocket] = []
    shaking = threading.Thread(target=lambda: made.append(server_context.wrap_socket(there, server_side=True)))
    shaking.start()
    client = ssl.create_default_context(cafile=authority).wrap_socket(here, server_hostname="127.0.0.1")
    shaking.join()
    return client, made[0]

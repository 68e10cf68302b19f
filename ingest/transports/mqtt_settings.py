"""Where a broker is and how much is taken from it at once. This file finishes with `parse_broker_url`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from domain.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """The parts of a broker's URL."""

    host: str
    port: int
    username: str | None
    password: str | None = field(repr=False)
    uses_tls: bool


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Files in PEM.

    Attributes
    ----------
    ca
        Authorities that are trusted to name the broker; None = those of the system.
    certificate, key
        What we show the broker, where it asks; the key may stand in the certificate's file.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class MqttSettings:
    """How to reach the broker and how much to take at once.

    Attributes
    ----------
    url
        `mqtt://[user:password@]host[:port]`, or `mqtts://` for TLS.
    client_id
        Names the session at the broker: one running process each.
    shared_group
        Name of a shared subscription where several processes ingest; None subscribes alone.
    protocol
        `5`, `3.1.1`, or `auto`: 5, and 3.1.1 when the broker refuses it.
    receive_maximum
        Most messages in flight without acknowledgement (MQTT 5).
    max_batch, max_wait_s
        A commit takes at most this many messages, or what arrives within this time of the first one.
    tls
        Files for a connection by TLS.
    queue_size
        With this many messages waiting no more are read from the broker.
    """

    url: str = field(repr=False)
    tls: TlsFiles = TlsFiles()
    client_id: str = "groundwatch-ingest"
    shared_group: str | None = None
    protocol: str = "auto"
    receive_maximum: int = 4000
    max_batch: int = 2000
    max_wait_s: float = 0.05
    queue_size: int = 20_000
    session_expiry_s: int = 7 * 86400
    keepalive_s: int = 30
    send_receipts: bool = True


def parse_broker_url(url: str) -> BrokerAddress:
    """Split `mqtt://user:password@host:1883`.

    Raises
    ------
    ConfigurationError
        When it is no such URL.
    """
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError as fault:
        raise ConfigurationError("the broker's URL has no valid port.", remedy="write mqtt://host:1883") from fault
    if parts.scheme not in {"mqtt", "mqtts"} or not parts.hostname:
        raise ConfigurationError(
            "the broker's URL is not understood.", remedy="write mqtt://[user:password@]host[:1883] or mqtts://"
        )
    uses_tls = parts.scheme == "mqtts"
    return BrokerAddress(
        host=parts.hostname,
        port=port or (8883 if uses_tls else 1883),
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        uses_tls=uses_tls,
    )

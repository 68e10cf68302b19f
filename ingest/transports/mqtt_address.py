"""Where a broker is, out of its URL. This file finishes with `parse_broker_url`."""

from __future__ import annotations

from dataclasses import dataclass, field
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

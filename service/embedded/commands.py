"""`groundwatch embedded start|stop|status|url` as functions. This file finishes with what each of them answers."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from service.embedded.addresses import StackAddresses
from service.embedded.stack import EmbeddedStack


def command_start(home: Path | None = None) -> dict[str, object]:
    """Start the stack of a home and let it run on; return its ports."""
    addresses = EmbeddedStack(home).start_detached()
    return {"ok": True, "postgres_port": addresses.postgres_port, "mqtt_port": addresses.mqtt_port}


def command_stop(home: Path | None = None) -> dict[str, object]:
    """Stop the detached stack of a home; `was_running` tells whether there was one."""
    return {"ok": True, "was_running": EmbeddedStack(home).stop_all()}


def command_status(home: Path | None = None) -> dict[str, object]:
    """Return what runs in a home; `ok` is true where both servers do."""
    status = EmbeddedStack(home).status()
    return {"ok": status.is_running, **asdict(status)}


def command_url(home: Path | None = None) -> StackAddresses:
    """Return the addresses, passwords included, of the stack that runs in a home."""
    return EmbeddedStack(home).addresses_if_running()

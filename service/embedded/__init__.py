"""A private PostgreSQL with TimescaleDB and a private Mosquitto, for machines that have neither.

This package finishes with two addresses: the database's and the broker's.
"""

from __future__ import annotations

from service.embedded.addresses import StackAddresses, StackStatus
from service.embedded.commands import command_start, command_status, command_stop, command_url
from service.embedded.home import default_home
from service.embedded.stack import EmbeddedStack

__all__ = [
    "EmbeddedStack",
    "StackAddresses",
    "StackStatus",
    "command_start",
    "command_status",
    "command_stop",
    "command_url",
    "default_home",
]

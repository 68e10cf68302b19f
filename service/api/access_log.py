"""Auditing of reads: whoever reads restricted data leaves an entry in the audit log.

This file finishes with `note_restricted_read`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from domain.model import Datastream, Station
from service.api.callers import Caller
from service.sharing.disclosure import is_restricted


def note_restricted_read(
    container: Any, caller: Caller, action: str, stations: Iterable[Station], datastream: Datastream | None = None
) -> None:
    """Write one entry naming the restricted stations among those read; nothing for open or simulated ones."""
    restricted = sorted(station.code for station in stations if not station.simulated and is_restricted(station, datastream))
    if restricted:
        subject = datastream.code if datastream is not None else restricted[0]
        container.access.audit_append(caller.actor, action, subject, {"stations": restricted[:100], "count": len(restricted)})

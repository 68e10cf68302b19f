"""Runs quarantined raw payloads again after a fix of a profile, a register or a parser.

A payload goes through the pipeline as it arrived, with the flags of its first import. What is refused again is a new quarantine
entry of the new batch, so the old entries are resolved by it and nothing is lost or counted twice. This file finishes with `replay_since`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from domain.errors import ConfigurationError, InputError
from ingest.messages import Message
from ingest.transports.births import AliasError
from ingest.transports.rtu_sessions import message_of_source
from ingest.transports.topics import message_of
from service.bootstrap import Container

if TYPE_CHECKING:
    from storage.observations import BatchRow, QuarantineRow, RawPayloadRow

LOG = logging.getLogger("groundwatch.replay")
PAGE = 1000
DEVICE_KINDS = frozenset({"mqtt", "http", "tcp"})


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What a replay did: payloads run again, rejects resolved, rejects that remain, payloads that could not be run."""

    payloads: int
    resolved: int
    remaining: int
    failed: int


def replay_since(container: Container, since: datetime) -> ReplayReport:
    """Run every payload with open quarantine entries received at or after `since` again."""
    return _replay(container, (row for row in _open_entries(container) if row.received_at >= since))


def replay_device(container: Container, device: str) -> ReplayReport:
    """Run every payload of a device (`protocol:identity`) with open quarantine entries again, with the time at which each was received."""
    return _replay(container, container.devices.every_waiting(device))


def replay_edge(container: Container, edge: str) -> ReplayReport:
    """Run what waits for the births of a Sparkplug B edge node (`group/node`) again; what they cannot name goes on waiting, with why."""
    return _replay(container, container.devices.waiting_aliases(edge))


def _replay(container: Container, rows_to_run: Iterable[QuarantineRow]) -> ReplayReport:
    entries: dict[int, list[QuarantineRow]] = {}
    for row in rows_to_run:
        if row.raw_payload_id is not None:
            entries.setdefault(row.raw_payload_id, []).append(row)
    resolved = remaining = failed = 0
    for payload_id, rows in entries.items():
        try:
            batch_id, rejected = _again(container, payload_id, rows[0])
        except AliasError as error:
            container.observations.restate_quarantine([row.id for row in rows if row.code == error.code], str(error))
            failed += 1
            remaining += len(rows)
            continue
        except (InputError, ConfigurationError) as error:
            LOG.warning("payload %d cannot be used yet: %s", payload_id, error)
            failed += 1
            remaining += len(rows)
            continue
        container.observations.resolve_quarantine([row.id for row in rows], batch_id, container.clock())
        resolved += max(len(rows) - rejected, 0)
        remaining += rejected
    return ReplayReport(len(entries), resolved, remaining, failed)


def _open_entries(container: Container) -> Iterator[QuarantineRow]:
    after = 0
    while page := container.observations.quarantined(after, PAGE):
        yield from page
        after = page[-1].id


def _again(container: Container, payload_id: int, entry: QuarantineRow) -> tuple[int | None, int]:
    """Return the batch that a payload's second run made and how many of its rows were refused again."""
    payload = container.observations.raw_payload(payload_id)
    batch = container.observations.batch(entry.batch_id)
    if payload is None or batch is None:
        raise InputError(f"raw payload {payload_id} is not stored.", remedy="restore the database from a backup")
    if batch.format == "insar":
        raise InputError(
            "an InSAR delivery is whole as it is, and is not run again.",
            where=payload.source,
            remedy="have the file corrected and import it as the next delivery",
        )
    body = payload.body if payload.body is not None else container.raw_files.read(payload.location or "")
    message = _message(payload, body, entry)
    if message is not None:
        message = _recalled(container, message, entry)
        receipt = container.pipeline.ingest_messages([message], container.clock(), source_kind="replay", actor="replay")[0]
        return receipt.counts.batch_id, len(receipt.rejects)
    return _file_again(container, payload, body, batch)


def _message(payload: RawPayloadRow, body: bytes, entry: QuarantineRow) -> Message | None:
    """Return the message of a device that a payload was; None for a file. What a replay refused again is a message still."""
    for of_source in (message_of, message_of_source):
        message = of_source(payload.source, body, payload.received_at)
        if message is not None:
            return message
    is_again = entry.source_kind == "replay" and payload.media_type is not None
    if entry.source_kind in DEVICE_KINDS or is_again:
        return Message(entry.station_code or "", body, payload.received_at, payload.source)
    return None


def _recalled(container: Container, message: Message, entry: QuarantineRow) -> Message:
    """Return a message with the names of its aliases; one that waited for something else goes on without, and waits for its names then."""
    try:
        return container.births.recalled(message)
    except AliasError:
        if entry.code == AliasError.code:
            raise
        return message


def _file_again(container: Container, payload: RawPayloadRow, body: bytes, batch: BatchRow) -> tuple[int | None, int]:
    said = batch.parameters
    kept = container.settings.home / "profiles" / f"{batch.profile}.yaml"
    report = container.pipeline.ingest_file(
        body,
        payload.source,
        format=None if batch.profile else batch.format,
        profile=kept if batch.profile and kept.exists() else batch.profile,
        convert_datum=bool(said.get("datum_conversions")),
        create=False,
        actor="replay",
        source_kind="replay",
        now=container.clock(),
        station=said.get("station"),
        unit=said.get("unit"),
        datum=said.get("datum"),
        zone=said.get("zone"),
        frame=said.get("frame"),
    )
    return (report.batch_ids[-1] if report.batch_ids else None), report.rejected

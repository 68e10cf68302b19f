"""Loading one InSAR delivery: blocks of points become tiles by binary COPY, and a directory of identifiers, in one transaction.

This file finishes with `load_delivery`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import Any

from domain.ahead import read_ahead
from domain.errors import ConflictError
from domain.insar import DeliveryReceipt, NewDelivery, PointBlock
from domain.observation import Batch, KeptFile, QuarantineEntry, RawPayload, columns
from storage.commit import commit_batch, moments
from storage.copy_format import HEADER, TRAILER
from storage.database import Connection, refusals_are_conflicts
from storage.insar_tiles import Loaded, encode_blocks, encode_directory
from storage.json_values import jsonb
from storage.queries import load_statements

SQL = load_statements("insar")


def load_delivery(
    connection: Connection, delivery: NewDelivery, blocks: Iterator[PointBlock], kept: Callable[[], KeptFile]
) -> DeliveryReceipt:
    """Store a delivery inside the caller's transaction; see `InsarRepository.load`."""
    with refusals_are_conflicts(f"the delivery {delivery.code}"):
        connection.execute(SQL.begin_loading)
        delivery_id = _one(connection, SQL.next_delivery_id)
        loaded = Loaded()
        # While the server takes in a block, the next one is put into tiles.
        with closing(read_ahead(encode_blocks(delivery_id, delivery.header.attributes, blocks, loaded))) as encoded:
            for parts in encoded:
                _copy(connection, SQL.copy_tiles, parts)
        if not loaded.points:
            raise ConflictError(
                f"no row of {delivery.source} is a point.",
                where=delivery.source,
                remedy=loaded.rejected[0].reason if loaded.rejected else "the file has no rows",
            )
        _copy(connection, SQL.copy_directory, encode_directory(delivery_id, loaded))
        connection.execute(SQL.finish_loading, [delivery_id])
        return _register(connection, delivery, delivery_id, loaded, kept())


def _one(connection: Connection, statement: bytes, parameters: Any = None) -> Any:
    row = connection.execute(statement, parameters).fetchone()
    assert row is not None
    return row[0]


def _copy(connection: Connection, statement: bytes, parts: Iterable[bytes | memoryview]) -> None:
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(HEADER)
        for part in parts:
            copy.write(part)
        copy.write(TRAILER)


def _register(connection: Connection, delivery: NewDelivery, delivery_id: int, loaded: Loaded, kept: KeptFile) -> DeliveryReceipt:
    raw = RawPayload(delivery.source, kept.sha256, kept.size, delivery.received_at, location=kept.location)
    counts = commit_batch(
        connection,
        Batch(
            source_kind=delivery.source_kind,
            source=delivery.source,
            columns=columns([], [], []),
            raws=(raw,),
            quarantine=tuple(QuarantineEntry(item, 0) for item in loaded.rejected),
            actor=delivery.actor,
            format="insar",
            profile=delivery.profile,
            sha256=kept.sha256,
            received_at=delivery.received_at,
            parameters={"delivery": delivery.code},
        ),
    )
    version = _one(connection, SQL.next_version, [delivery.datastream_id])
    seq = _one(connection, SQL.close_batch, {"points": loaded.points, "batch_id": counts.batch_id})
    header = delivery.header
    values = {
        "id": delivery_id,
        "code": delivery.code,
        "datastream_id": delivery.datastream_id,
        "version": version,
        "track": delivery.track,
        "heading_deg": header.heading_deg,
        "incidence_deg": header.incidence_deg,
        "source_positive": delivery.source_positive,
        "epochs": moments(header.epochs),
        "attributes": list(header.attributes),
        "reference": jsonb(dict(header.reference)),
        "points": loaded.points,
        "tiles": loaded.tiles,
        "bounds": loaded.bounds,
        "source": delivery.source,
        "sha256": kept.sha256,
        "profile": delivery.profile,
        "parameters": jsonb(dict(delivery.parameters)),
        "actor": delivery.actor,
        "batch_id": counts.batch_id,
        "ledger_seq": seq,
    }
    connection.execute(SQL.insert_delivery, values)
    connection.execute(SQL.supersede, values)
    return DeliveryReceipt(
        delivery.code,
        int(version),
        loaded.points,
        False,
        tuple(loaded.rejected),
        counts.batch_id,
        int(seq),
        len(loaded.rejected),
    )

"""Elements of messages as the payload of a file, for protocols that come both ways. This file finishes with `payload_of`."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from domain.model import station_code
from domain.observation import ParsedPayload, Rejected, SourceStream, columns
from ingest.formats.format import ImportContext
from ingest.formats.native_json import Elements


def payload_of(parts: Iterable[tuple[str, Elements]], context: ImportContext) -> ParsedPayload:
    """Join the elements of several senders; `--station` names the station of all of them, otherwise each has its sender's."""
    streams: dict[tuple[str, str], int] = {}
    units: dict[tuple[str, str], str | None] = {}
    rejected: list[Rejected] = []
    rows = []
    for sender, found in parts:
        rejected += found.rejected
        if not found.values:
            continue
        station = station_code(context.station or sender, where=context.filename)
        for element in found.values:
            key = (station, element.key)
            units.setdefault(key, found.units.get(element.key))
            rows.append((streams.setdefault(key, len(streams)), element))
    reasons = np.empty(len(rows), dtype=object)
    reasons[:] = [element.reasons for _, element in rows]
    built = columns(
        [stream for stream, _ in rows],
        np.array([element.time_us for _, element in rows], dtype=np.int64).astype("datetime64[us]"),
        [element.result for _, element in rows],
        sigma=[element.sigma for _, element in rows],
        quality=[element.quality for _, element in rows],
        line=[element.line for _, element in rows],
        end=np.array([element.end_us for _, element in rows], dtype=np.int64).astype("datetime64[us]"),
        reasons=reasons if any(reasons) else None,
    )
    return ParsedPayload(
        tuple(_stream(station, key, units[station, key]) for station, key in streams), built, tuple(rejected), {}
    )


def _stream(station: str, key: str, unit: str | None) -> SourceStream:
    name, _, channel = key.partition(":")
    return SourceStream(station, name, channel=channel or None, unit=unit)

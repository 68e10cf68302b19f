"""Elements of several stations gathered into one payload: the ground shared by the JSON-shaped formats when they come as files.

This file finishes with `ElementRows`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from domain.observation import ParsedPayload, Rejected, SourceStream, columns
from ingest.formats.native_json import NO_END, Element


def stream_of(station: str, key: str, unit: str | None, **stated: Any) -> SourceStream:
    """Return the stream of a key `property` or `property:channel`, with what else is stated of it."""
    name, _, channel = key.partition(":")
    return SourceStream(station, name, channel=channel or None, unit=unit, **stated)


@dataclass(slots=True)
class ElementRows:
    """Rows of several streams, collected one by one."""

    described: list[SourceStream] = field(default_factory=list, init=False)
    rows: list[Element] = field(default_factory=list, init=False)
    index: list[int] = field(default_factory=list, init=False)
    rejected: list[Rejected] = field(default_factory=list, init=False)
    _known: dict[tuple[str | None, ...], int] = field(default_factory=dict, init=False)

    def add(self, stream: SourceStream, element: Element) -> None:
        """Add one element to a stream; streams of one station, property, channel and unit are the same."""
        key = (stream.station, stream.property_code, stream.channel, stream.unit)
        number = self._known.get(key)
        if number is None:
            number = self._known[key] = len(self.described)
            self.described.append(stream)
        self.index.append(number)
        self.rows.append(element)

    def payload(self, notes: Mapping[str, Any] | None = None) -> ParsedPayload:
        """Return what was gathered."""
        reasons = np.empty(len(self.rows), dtype=object)
        reasons[:] = [element.reasons for element in self.rows]
        ends = [element.end_us for element in self.rows]
        built = columns(
            self.index,
            np.array([element.time_us for element in self.rows], dtype=np.int64).astype("datetime64[us]"),
            [element.result for element in self.rows],
            sigma=[element.sigma for element in self.rows],
            quality=[element.quality for element in self.rows],
            line=[element.line for element in self.rows],
            end=np.array(ends, dtype=np.int64).astype("datetime64[us]") if any(end != NO_END for end in ends) else None,
            reasons=reasons if any(reasons) else None,
        )
        return ParsedPayload(tuple(self.described), built, tuple(self.rejected), notes or {})

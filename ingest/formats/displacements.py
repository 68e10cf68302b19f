"""Local displacements north, east and up of one mark as a payload: the ground shared by the GNSS formats with local coordinates.

This file finishes with `displacement_payload`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from domain.model import StationKind
from domain.observation import FloatArray, ParsedPayload, Rejected, SourceStream, TimeArray, columns

CODES = ("displacement_north", "displacement_east", "displacement_up")


def displacement_streams(
    station: str, unit: str | None, frame: str, place: tuple[float, float, float] | None, **attributes: Any
) -> tuple[SourceStream, ...]:
    """Return the three streams of a mark; `place` is longitude, latitude (deg) and height (m)."""
    longitude, latitude, height = place if place is not None else (None, None, None)
    return tuple(
        SourceStream(
            station=station,
            property_code=code,
            unit=unit,
            frame=frame,
            kind=StationKind.GNSS_MARK,
            name_zh=station,
            name_en=station,
            interval_s=86400.0,
            longitude_deg=longitude,
            latitude_deg=latitude,
            height_m=height,
            attributes=attributes,
        )
        for code in CODES
    )


def displacement_payload(
    streams: tuple[SourceStream, ...],
    time: TimeArray,
    end: TimeArray,
    values: FloatArray,
    sigmas: FloatArray,
    lines: npt.NDArray[np.int32],
    rejected: Sequence[Rejected],
    notes: Mapping[str, Any],
    quality: npt.NDArray[np.int16] | None = None,
    reasons: npt.NDArray[np.object_] | None = None,
) -> ParsedPayload:
    """Build the payload of `values` and `sigmas` of shape (n, 3) in the order north, east, up, with flags of shape (n,)."""
    n = len(time)
    return ParsedPayload(
        streams,
        columns(
            np.repeat(np.arange(3, dtype=np.int32), n),
            np.tile(time, 3),
            values.T.ravel(),
            sigma=sigmas.T.ravel(),
            quality=None if quality is None else np.tile(quality, 3),
            line=np.tile(lines, 3),
            end=np.tile(end, 3),
            reasons=None if reasons is None else np.tile(reasons, 3),
        ),
        tuple(rejected),
        notes,
    )

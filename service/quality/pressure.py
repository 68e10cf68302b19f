"""Compensated datastreams of unvented loggers: `STATION:property:compensated`, same property, the air taken off.

This file finishes with `keep_compensated`.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, timedelta
from typing import TYPE_CHECKING

import numpy as np

from analytics.barometry import compensate
from analytics.sampling import Floats
from domain.errors import ConflictError
from domain.model import Datastream, Derivation
from domain.observation import Batch, TimeArray, columns
from domain.quality import Quality
from service.quality.plan import Air
from storage.quality import FlagWindow

if TYPE_CHECKING:
    from service.bootstrap import Container

METHOD, VERSION = "barometric", "1"
CHANNEL = "compensated"
_REACH = timedelta(hours=6)


def keep_compensated(container: Container, datastream: Datastream, air: Air, window: FlagWindow) -> int:
    """Write the compensated values of the judged rows; return how many there were. Where no barometer can tell, the value is missing."""
    barometer = container.registers.datastream(air.barometer or "")
    if barometer is None or barometer.datastream_id is None:
        return 0
    rows = np.flatnonzero(window.wanted & np.isfinite(window.result))
    if not len(rows):
        return 0
    time = window.time[rows]
    first, last = (value.astype("datetime64[us]").item().replace(tzinfo=UTC) for value in (time[0], time[-1]))
    series = container.observations.series(barometer.datastream_id, first - _REACH, last + _REACH)
    good = np.isfinite(series.result) & np.isin(series.quality, (Quality.GOOD, Quality.UNKNOWN))
    values = compensate(
        _seconds(time),
        window.result[rows],
        _seconds(series.time[good]),
        series.result[good],
        air.per_hpa,
        reference_hpa=air.reference_hpa,
    )
    known = np.isfinite(values)
    if not known.any():
        return 0
    reasons = np.full(len(rows), None, dtype=object)
    for row in np.flatnonzero(~known):
        reasons[row] = ("uncompensated",)
    derived = ensure(container, datastream, air)
    quality = np.where(known, window.source_quality[rows], int(Quality.MISSING))
    batch = columns(derived.datastream_id, time, values, quality=quality, reasons=reasons)  # type: ignore[arg-type]
    container.observations.commit(
        Batch("analysis", datastream.code, batch, actor=METHOD, parameters={"barometer": barometer.code})
    )
    return len(rows)


def ensure(container: Container, source: Datastream, air: Air) -> Datastream:
    """Return the compensated datastream of a source, creating it where it is new."""
    channel = CHANNEL if source.channel is None else f"{source.channel}-{CHANNEL}"
    parameters = {"barometer": air.barometer, "reference_hPa": air.reference_hpa, "unit_per_hPa": air.per_hpa}
    wanted = replace(
        source,
        channel=channel,
        sensor=None,
        name_zh=None,
        name_en=None,
        attributes={},
        datastream_id=None,
        derivation=Derivation(METHOD, VERSION, parameters, digest_of(source.code, parameters), source.datastream_id),
    )
    return ensured(container, wanted)


def _seconds(time: TimeArray) -> Floats:
    return np.asarray(time.astype("datetime64[us]").astype(np.int64) * 1e-6)


def digest_of(code: str, parameters: object) -> str:
    """Return what a derivation is known by: its source and parameters; its inputs grow with every observation."""
    return hashlib.sha256(f"{code} {parameters}".encode()).hexdigest()


def ensured(container: Container, wanted: Datastream) -> Datastream:
    """Return a datastream, creating it where it is new."""
    found = container.registers.datastream(wanted.code)
    if found is not None:
        return found
    try:
        return container.registers.add_datastream(wanted, actor="quality control")
    except ConflictError:
        container.registers.forget()  # another worker created it meanwhile
        found = container.registers.datastream(wanted.code)
        if found is None:
            raise
        return found

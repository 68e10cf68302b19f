"""Whole registers for counting and colouring, read page by page, and the JSON of datastreams with their status.

This file finishes with `datastream_items`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from alerts.store import AlertFilter
from domain.alert import AlertState, MessageStatus
from domain.alerting import AlertRecord
from domain.model import Datastream, Station
from service.api.callers import Caller
from service.api.shapes import datastream_json, status_json
from service.api.silence import is_silent
from service.sharing.disclosure import HeightView, height_view

PAGE = 10_000


def every_station(container: Any) -> Iterator[Station]:
    """Yield all stations in the order of their codes."""
    place: str | None = None
    while True:
        rows = container.registers.list_stations(after=place, limit=PAGE)
        yield from rows
        if len(rows) < PAGE:
            return
        place = rows[-1].code


def every_datastream(container: Any, **filters: Any) -> Iterator[Datastream]:
    """Yield all datastreams, or those of some filters, in the order of their codes."""
    place: str | None = None
    while True:
        rows = container.registers.list_datastreams(after=place, limit=PAGE, **filters)
        yield from rows
        if len(rows) < PAGE:
            return
        place = rows[-1].code


def statuses_of(container: Any, datastreams: Sequence[Datastream]) -> Mapping[int | None, Any]:
    """Return the status of each datastream by its id; a datastream without observations is absent."""
    ids = [item.datastream_id for item in datastreams if item.datastream_id is not None]
    found: Mapping[int | None, Any] = container.registers.datastream_statuses(ids) if ids else {}
    return found


def firing_alerts(container: Any) -> Sequence[AlertRecord]:
    """Return the alerts that fire now, exercises left out."""
    wanted = AlertFilter(states=(AlertState.FIRING,), statuses=(MessageStatus.ACTUAL.value,))
    found: list[AlertRecord] = []
    place: str | None = None
    while True:
        rows, place = container.alerts.list_alerts(wanted, after=place, limit=PAGE)
        found += rows
        if place is None:
            return found


def datastream_items(container: Any, caller: Caller, datastreams: Sequence[Datastream]) -> list[dict[str, Any]]:
    """Return datastreams as JSON with status and silence; hidden heights show no last result."""
    registers = container.registers
    statuses = statuses_of(container, datastreams)
    now = container.clock()
    stations = {code: registers.station(code) for code in {item.station for item in datastreams}}
    items = []
    for item in datastreams:
        observed = registers.observed_property(item.property_code)
        status = statuses.get(item.datastream_id)
        source_id = item.derivation.source_datastream_id if item.derivation is not None else None
        source = registers.datastream_by_id(source_id) if source_id is not None else None
        body = datastream_json(item, observed, source.code if source is not None else None)
        body["status"] = status_json(status)
        station = stations[item.station]
        if not caller.sees_precisely(station) and height_view(station, item, observed) is not HeightView.AS_STORED:
            body["status"]["last_result"] = None
        body["silent"] = is_silent(getattr(status, "last_time", None), item.interval_s, now) is True
        items.append(body)
    return items

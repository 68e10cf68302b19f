"""Changes for a partner: the ledger's entries turned into what the agreement covers, and nothing else.

Positions are rounded, absolute heights hidden or relative, restricted stations left out. Only alerts that a person confirmed leave the
house; exercises and instrument alarms never do. Every number comes with unit, sign, datum, method and version. This file finishes with
`PartnerFeed`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from alerts.issue import status_outside
from alerts.rules import RULES
from domain.alert import AlertState, Confirmation, MessageStatus
from domain.alerting import AlertRecord
from domain.model import Datastream, ObservedProperty, Station
from service.api.reading import Scale, first_result, observation_rows
from service.api.shapes import datastream_json, station_json
from service.api.times import number, plain, stamp
from service.sharing.agreement import Agreement
from service.sharing.disclosure import HeightView, coarse, height_view
from storage.analyses import FindingRow
from storage.sharing import Change, ChangePage

REGISTER_PAGE = 1000
SCAN_FOR_S = 1.0
"""How long one request looks on behind what the agreement hides, before it answers with what it has."""


@dataclass(frozen=True, slots=True)
class FeedPage:
    """What a partner gets at once; `more` is False when the partner is up to date."""

    items: list[dict[str, Any]]
    cursor: str
    more: bool


@dataclass(frozen=True, slots=True)
class _Shared:
    """A datastream that the agreement covers, and how its values are given."""

    datastream: Datastream
    station: Station
    observed: ObservedProperty
    heights: HeightView


class PartnerFeed:
    """One partner's view of the changes.

    Parameters
    ----------
    container
        Registers, alerts and observations to look entries up in.
    agreement
        What was agreed.
    node
        Code of this node, for the global names.
    """

    def __init__(self, container: Any, agreement: Agreement, node: str) -> None:
        self.container = container
        self.agreement = agreement
        self.node = node
        self._scales: dict[int, Scale] = {}

    def page(self, cursor: str | None, limit: int, clock: Callable[[], float] = time.monotonic) -> FeedPage:
        """Return what is shared after `cursor`, at most `limit` observations and entries together.

        Scans on over what the agreement hides until `limit` is reached, the ledger ends or `SCAN_FOR_S` is spent, so that a partner
        need not ask again and again for nothing. Only in the last case may the page be empty while `more` is true.

        Parameters
        ----------
        cursor
            Where the page before ended; None = from the beginning.
        limit
            Most observations and entries to return, 1 or more.
        clock
            Seconds that only go forward.

        Raises
        ------
        RequestError
            The cursor is not one of ours, or `limit` is not positive.
        """
        changes = self.container.changes
        until = clock() + SCAN_FOR_S
        read: ChangePage = changes.changes(cursor, limit)
        items = self.items(read)
        room = limit - _size(items)
        hidden = self._hidden() if read.more and room > 0 else frozenset()  # whoever is up to date does not pay for the list
        while read.more and room > 0 and clock() < until:
            read = changes.changes(read.cursor, room, hidden=hidden)
            told = self.items(read)
            items += told
            room -= _size(told)
        return FeedPage(items, read.cursor, read.more)

    def _hidden(self) -> frozenset[int]:
        """Return the datastreams whose observations are not shared: those known now, one that is registered later is looked at."""
        wanted = "observations" in self.agreement.datasets
        hidden: set[int] = set()
        after: str | None = None
        while page := self.container.registers.list_datastreams(after=after, limit=REGISTER_PAGE):
            hidden.update(item.datastream_id for item in page if not wanted or self._shared(item) is None)
            after = page[-1].code
        return frozenset(hidden)

    def items(self, page: ChangePage) -> list[dict[str, Any]]:
        """Return the entries of a page that may be shared, in the order of the ledger."""
        return [plain(item) for change in page.changes for item in self._items(change)]

    def _items(self, change: Change) -> Iterator[dict[str, Any]]:
        head = {"seq": change.seq, "recorded_at": stamp(change.recorded_at)}
        datasets = self.agreement.datasets
        if change.kind == "station" and "stations" in datasets:
            yield from self._station(head, change.reference)
        elif change.kind == "datastream" and "datastreams" in datasets:
            yield from self._datastream(head, change.reference)
        elif change.kind == "observations" and "observations" in datasets:
            yield from self._observations(head, change)
        elif change.kind == "insar_delivery" and "insar" in datasets:
            yield from self._insar_delivery(head, change.reference)
        elif change.kind == "alert" and "alerts" in datasets:
            for identifier in change.alerts:
                yield from self._alert(head, identifier)
        elif change.kind == "run" and "findings" in datasets:
            yield from self._findings(head, change)

    def _station(self, head: dict[str, Any], code: str) -> Iterator[dict[str, Any]]:
        station = self.container.registers.station(code)
        if station is not None and self.agreement.covers(station):
            yield {**head, "kind": "station", "station": station_json(coarse(station, self.agreement.disclosure), self.node)}

    def _shared(self, datastream: Datastream | None) -> _Shared | None:
        registers = self.container.registers
        station = registers.station(datastream.station) if datastream is not None else None
        if datastream is None or station is None or not self.agreement.covers(station, datastream):
            return None
        observed = registers.observed_property(datastream.property_code)
        view = height_view(station, datastream, observed, self.agreement.disclosure)
        return None if view is HeightView.HIDDEN else _Shared(datastream, station, observed, view)

    def _datastream(self, head: dict[str, Any], code: str) -> Iterator[dict[str, Any]]:
        shared = self._shared(self.container.registers.datastream(code))
        if shared is not None:
            body = datastream_json(shared.datastream, shared.observed, self._source_of(shared.datastream))
            yield {**head, "kind": "datastream", "datastream": {**body, "attributes": {}}}

    def _source_of(self, datastream: Datastream) -> str | None:
        made = datastream.derivation
        if made is None or made.source_datastream_id is None:
            return None
        source = self.container.registers.datastream_by_id(made.source_datastream_id)
        return None if source is None else str(source.code)

    def _observations(self, head: dict[str, Any], change: Change) -> Iterator[dict[str, Any]]:
        shared = self._shared(self.container.registers.datastream_by_id(change.datastream_id))
        if shared is None:
            return
        scale = self._scale(shared)
        made = shared.datastream.derivation
        yield {
            **head,
            "kind": "observations",
            "datastream": shared.datastream.code,
            "urn": f"urn:groundwatch:{self.node}:{shared.datastream.code}",
            "unit": shared.datastream.unit,
            "direction": shared.observed.direction,
            "datum": None if shared.heights is HeightView.RELATIVE else shared.datastream.datum_code,
            "frame": shared.datastream.frame,
            "method": None if made is None else {"name": made.method, "version": made.version},
            "relative_to": "first observation" if shared.heights is HeightView.RELATIVE else None,
            "items": observation_rows(change.observations, scale),
        }

    def _insar_delivery(self, head: dict[str, Any], code: str) -> Iterator[dict[str, Any]]:
        """Say that a delivery came and what it is; its points stay here."""
        row = self.container.insar.delivery(code)
        shared = self._shared(self.container.registers.datastream(row.datastream)) if row is not None else None
        if row is None or shared is None:
            return
        delivery = {
            "code": row.code,
            "datastream": row.datastream,
            "version": row.version,
            "superseded_by": row.superseded_by,
            "track": row.track,
            "points": row.points,
            "epochs": [stamp(epoch) for epoch in row.epochs],
            "unit": shared.datastream.unit,
            "direction": shared.observed.direction,
            "sha256": row.sha256,
        }
        yield {**head, "kind": "insar_delivery", "delivery": delivery}

    def _scale(self, shared: _Shared) -> Scale:
        key = shared.datastream.datastream_id
        assert key is not None
        if key not in self._scales:
            shift = first_result(self.container, key) if shared.heights is HeightView.RELATIVE else 0.0
            self._scales[key] = Scale(shared.datastream.unit, shared.datastream.unit, shift)
        return self._scales[key]

    def _was_confirmed(self, alert: AlertRecord) -> bool:
        """Did a person let it out? One that was rejected after that is still told, as its cancellation."""
        if alert.confirmation is Confirmation.CONFIRMED:
            return True
        return any(step.kind == Confirmation.CONFIRMED.value for step in self.container.alerts.transitions(alert.alert_id or 0))

    def _alert(self, head: dict[str, Any], identifier: str) -> Iterator[dict[str, Any]]:
        alert: AlertRecord | None = self.container.alerts.find_alert(identifier)
        if alert is None or alert.state is AlertState.PENDING or alert.station is None or not self._was_confirmed(alert):
            return
        if alert.status is not MessageStatus.ACTUAL or _is_instrument_alarm(self.container, alert):
            return
        station = self.container.registers.station(alert.station)
        if station is None or not self.agreement.covers(station):
            return
        shared = self._shared(self.container.registers.datastream(alert.datastream)) if alert.datastream else None
        shown = shared is not None and shared.heights is HeightView.AS_STORED
        yield {
            **head,
            "kind": "alert",
            "alert": _alert_json(alert, with_value=shown, simulated=self._is_simulated(alert, station)),
        }

    def _is_simulated(self, alert: AlertRecord, station: Station) -> bool:
        node = self.container.registers.node()
        return station.simulated or bool(alert.evidence.get("simulated")) or (node is not None and node.simulated)

    def _findings(self, head: dict[str, Any], change: Change) -> Iterator[dict[str, Any]]:
        datastream = self.container.registers.datastream_by_id(change.datastream_id) if change.datastream_id is not None else None
        shared = self._shared(datastream)
        if shared is None or not (change.findings or change.superseded_findings):
            return
        yield {
            **head,
            "kind": "findings",
            "datastream": shared.datastream.code,
            "items": [_finding_json(row) for row in change.findings],
            "superseded": list(change.superseded_findings),
        }


def _size(items: list[dict[str, Any]]) -> int:
    """Return how much of a page's limit items take: an entry takes 1, observations as many as there are."""
    return sum(max(1, len(item["items"])) if item["kind"] == "observations" else 1 for item in items)


def _is_instrument_alarm(container: Any, alert: AlertRecord) -> bool:
    rule = container.alerts.rule(alert.rule_code, alert.rule_version)
    return rule is None or RULES[rule.kind].instrument


def _finding_json(row: FindingRow) -> dict[str, Any]:
    return {
        "id": row.finding_id,
        "method": row.method,
        "kind": row.kind,
        "start": row.start,
        "end": row.end,
        "size": number(row.size),
        "sigma": number(row.sigma),
        "score": number(row.score),
        "unit": row.unit,
        "source": row.source,
    }


def _alert_json(alert: AlertRecord, *, with_value: bool, simulated: bool) -> dict[str, Any]:
    figures = ("value", "sigma", "limit", "unit", "method", "digest")
    return {
        "identifier": alert.identifier,
        "rule": alert.rule_code,
        "rule_version": alert.rule_version,
        "station": alert.station,
        "datastream": alert.datastream if with_value else None,
        "state": alert.state.value,
        "level": alert.level.word,
        "peak_level": alert.peak_level.word,
        "onset": alert.onset,
        "ended": alert.ended,
        "status": status_outside(alert, simulated=simulated).value,
        "confirmation": alert.confirmation.value,
        "evidence": {name: alert.evidence.get(name) for name in figures} if with_value else None,
    }

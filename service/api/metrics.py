"""Prometheus metrics: every name begins `groundwatch_`; the database is asked once a scrape, with cheap statements.

This file finishes with `Metrics`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from domain.alert import Level
from domain.errors import GroundWatchError
from service.api.deadline import Deadline
from service.api.processes import MISSED_FOR, process_families
from storage.gauges import GaugeRepository, Gauges
from storage.heartbeats import HeartbeatRepository

log = logging.getLogger(__name__)
ANSWER_S = 5.0
NO_ANSWER = "no-answer"
_OUTCOMES = ("accepted", "duplicate", "corrected", "rejected")
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class DatabaseCollector(Collector):
    """Turns the gauges of the database into metrics at each scrape."""

    def __init__(self, container: Any, gauges: GaugeRepository | None = None) -> None:
        self.container = container
        self.gauges = gauges
        self._reading = Deadline(self._read, ANSWER_S)

    def _read(self) -> tuple[Gauges, datetime, list[Any]]:
        now = self.container.clock()
        if self.gauges is None:
            self.gauges = GaugeRepository(self.container.db)
        return self.gauges.read(now), now, HeartbeatRepository(self.container.db).recent(MISSED_FOR)

    def _why_late(self) -> str:
        try:
            self.container.db.knock()
        except GroundWatchError as error:
            return error.code
        return NO_ANSWER

    def describe(self) -> Iterator[Metric]:
        """Return nothing: registering must not ask the database."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics; `groundwatch_database_up` is 0 and the rest absent while the database is out of reach."""
        up = GaugeMetricFamily("groundwatch_database_up", "Whether the database answered this scrape.")
        try:
            reading, now, processes = self._reading.answer()
        except (GroundWatchError, TimeoutError) as error:
            log.warning("no gauges for this scrape: %s", error)
            up.add_metric([], 0)
            fault = GaugeMetricFamily("groundwatch_database_fault", "Why the database did not answer.", labels=["fault"])
            fault.add_metric([error.code if isinstance(error, GroundWatchError) else self._why_late()], 1)
            yield from (up, fault)
            return
        up.add_metric([], 1)
        yield up
        yield from families(reading, now)
        yield from process_families(processes)


def families(reading: Gauges, now: datetime) -> Iterator[Metric]:
    """Yield one metric family after the other from a reading."""
    observations = CounterMetricFamily(
        "groundwatch_ingest_observations", "Observations by source and outcome.", labels=["source", "outcome"]
    )
    batches = CounterMetricFamily("groundwatch_ingest_batches", "Committed batches by source.", labels=["source"])
    freshness = GaugeMetricFamily("groundwatch_data_age_seconds", "Age of the newest batch by source.", labels=["source"])
    for row in reading.ingest:
        batches.add_metric([row["source_kind"]], float(row["batches"]))
        freshness.add_metric([row["source_kind"]], (now - row["last_received_at"]).total_seconds())
        for outcome in _OUTCOMES:
            observations.add_metric([row["source_kind"], outcome], float(row[outcome]))
    lag = GaugeMetricFamily(
        "groundwatch_ingest_lag_seconds", "Longest receipt-to-commit time of the newest batches.", labels=["source"]
    )
    for row in reading.lag:
        lag.add_metric([row["source_kind"]], float(row["lag_s"]))
    yield from (observations, batches, freshness, lag)
    yield from _backlog(reading, now)
    yield from _alerting(reading, now)


def _backlog(reading: Gauges, now: datetime) -> Iterator[Metric]:
    items = GaugeMetricFamily("groundwatch_work_items", "Work that commits left and nobody has done.", labels=["kind"])
    age = GaugeMetricFamily("groundwatch_work_oldest_age_seconds", "Age of the oldest such work.", labels=["kind"])
    rows = {row["kind"]: row for row in reading.work}
    for kind in ("quality", "evaluate", "rollup", "analyse"):
        row = rows.get(kind)
        items.add_metric([kind], float(row["items"]) if row else 0.0)
        age.add_metric([kind], (now - row["oldest"]).total_seconds() if row else 0.0)
    quarantine = GaugeMetricFamily("groundwatch_quarantine_rejects", "Rejects that nobody resolved.")
    quarantine.add_metric([], float(reading.quarantined))
    live = GaugeMetricFamily("groundwatch_datastreams_live", "Datastreams heard in the last week that declare an interval.")
    live.add_metric([], float(reading.live.get("live", 0)))
    silent = GaugeMetricFamily("groundwatch_datastreams_silent", "Those of them that are silent now.")
    silent.add_metric([], float(reading.live.get("silent", 0)))
    yield from (items, age, quarantine, live, silent)


def _alerting(reading: Gauges, now: datetime) -> Iterator[Metric]:
    alerts = GaugeMetricFamily("groundwatch_alerts", "Open alerts by state and level.", labels=["state", "level"])
    found = {(row["state"], row["level"]): row["alerts"] for row in reading.alerts}
    for state in ("pending", "firing"):
        for level in Level:
            if level is not Level.NONE or (state, 0) in found:
                alerts.add_metric([state, level.word], float(found.get((state, int(level)), 0)))
    outbox = GaugeMetricFamily("groundwatch_outbox_notifications", "Notifications not sent.", labels=["receiver", "state"])
    age = GaugeMetricFamily("groundwatch_outbox_oldest_age_seconds", "Age of the oldest of them.", labels=["receiver", "state"])
    for row in reading.outbox:
        outbox.add_metric([row["receiver"], row["state"]], float(row["notifications"]))
        age.add_metric([row["receiver"], row["state"]], (now - row["oldest"]).total_seconds())
    yield from (alerts, outbox, age)


class Metrics:
    """The registry of one application: its own timings, its open pages and the database's gauges."""

    def __init__(self, container: Any, pages: Any) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(DatabaseCollector(container))
        self._durations = Histogram(
            "groundwatch_http_request_duration_seconds",
            "Time to answer by route, method and status.",
            ["route", "method", "status"],
            registry=self.registry,
            buckets=_BUCKETS,
        )
        self.registry.register(_Pages(pages))

    def observe(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one request."""
        self._durations.labels(route, method, str(status)).observe(seconds)


class _Pages(Collector):
    def __init__(self, hub: Any) -> None:
        self.hub = hub

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily("groundwatch_stream_pages", "Open pages that listen to the stream.")
        family.add_metric([], float(self.hub.pages))
        yield family

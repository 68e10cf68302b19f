"""What the signs of life of ingest and worker mean: is one missing, is one in trouble, and the metrics of both.

This file finishes with `process_families`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from storage.heartbeats import ProcessRow

SILENT_S = 30.0
MISSED_FOR = timedelta(hours=1)
"""A process that ended without a farewell is missed this long; after that somebody must have meant it."""

_COUNTERS = {
    "messages_received": "Deliveries from the broker, redelivered ones too.",
    "messages_committed": "Messages whose observations were committed.",
    "messages_quarantined": "Messages of which nothing could be stored.",
    "commits_retried": "Commits that failed and were tried again.",
    "reconnects": "Connections to the broker that were lost.",
    "files_imported": "Files taken from the inbox.",
    "files_rejected": "Files of the inbox that were refused.",
    "tcp_connections_accepted": "Connections of RTUs that were taken.",
    "tcp_connections_refused": "Connections of RTUs that were closed at once, because too many were open.",
    "tcp_connections_idle": "Connections of RTUs that were closed because they sent nothing.",
    "tcp_messages_received": "Frames and packets of RTUs, damaged ones too.",
    "tcp_messages_committed": "Those of them whose observations were committed.",
    "tcp_messages_quarantined": "Those of them of which nothing could be stored.",
    "tcp_frames_damaged": "Frames of RTUs with a wrong checksum or end.",
    "tcp_bytes_skipped": "Bytes of RTUs between frames.",
    "tcp_answers_sent": "Confirmations sent to RTUs, each after its commit.",
}
_GAUGES = {
    "connected": ("connected", "Whether ingest is connected to the broker."),
    "retrying": ("retrying", "Whether the newest commit failed and is tried again."),
    "queued": ("queued_messages", "Messages received and not yet taken."),
    "files_unreadable": (
        "files_unreadable",
        "Files of the inbox that cannot be read and are tried again; the inbox itself is one.",
    ),
    "tcp_connections": ("tcp_connections", "Connections of RTUs that are open."),
    "tcp_queued": ("tcp_queued_messages", "Frames of RTUs that wait for their commit."),
    "lag_s": ("message_lag_seconds", "Receipt to acknowledgement of the oldest message of the newest commit."),
}


def trouble_of(rows: Sequence[ProcessRow], name: str) -> str | None:
    """Return why the processes of a name are not as they should be, or None; one that was replaced by a later one is not missed."""
    for row in rows:
        if row.process != name or row.replaced:
            continue
        if row.age_s > SILENT_S:
            return f"{name} {row.instance} has been silent for {row.age_s:.0f} s; is it running?"
        if row.detail.get("connected") is False:
            why = row.detail.get("connection_fault")
            return f"{name} {row.instance} is not connected to the broker" + (f": {why}" if why else "")
        if row.detail.get("retrying"):
            return f"{name} {row.instance} cannot commit and tries again: {row.detail.get('fault_reason') or 'see its log'}"
    return None


def process_families(rows: Sequence[ProcessRow]) -> Iterator[Metric]:
    """Yield the metrics of the processes seen lately; replaced ones have none."""
    present = [row for row in rows if not row.replaced]
    up = GaugeMetricFamily(
        "groundwatch_process_up", "Whether a process gave a sign of life within 30 s.", labels=["process", "instance"]
    )
    for row in present:
        up.add_metric([row.process, row.instance], float(row.age_s <= SILENT_S))
    yield up
    ingest = [row for row in present if row.process == "ingest"]
    for key, help_text in _COUNTERS.items():
        counter = CounterMetricFamily(f"groundwatch_ingest_{key}", help_text, labels=["instance"])
        for row in ingest:
            counter.add_metric([row.instance], float(row.detail.get(key, 0)))
        yield counter
    for key, (name, help_text) in _GAUGES.items():
        gauge = GaugeMetricFamily(f"groundwatch_ingest_{name}", help_text, labels=["instance"])
        for row in ingest:
            gauge.add_metric([row.instance], float(row.detail.get(key, 0)))
        yield gauge
    fault = GaugeMetricFamily(
        "groundwatch_ingest_commit_fault",
        "1 while commits fail, with the kind of the newest failure.",
        labels=["instance", "fault"],
    )
    for row in ingest:
        if row.detail.get("fault"):
            fault.add_metric([row.instance, str(row.detail["fault"])], 1.0)
    yield fault
    yield from _worker_families([row for row in present if row.process == "worker"])


def _worker_families(workers: Sequence[ProcessRow]) -> Iterator[Metric]:
    leading = GaugeMetricFamily("groundwatch_worker_leading", "Whether this worker runs the schedule.", labels=["instance"])
    well = GaugeMetricFamily(
        "groundwatch_worker_loop_up", "Whether a loop of a worker has not fallen lately.", labels=["instance", "loop"]
    )
    for row in workers:
        leading.add_metric([row.instance], float(bool(row.detail.get("leading"))))
        for loop in row.detail.get("loops", ()):
            well.add_metric([row.instance, loop], float(loop not in row.detail.get("faults", {})))
    yield from (leading, well)

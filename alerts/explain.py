"""Recomputes an alert from its recorded inputs. This file finishes with `explain`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from alerts.evidence import digest_of, judged_evidence, licence_from_json, limit_from_json, traced_evidence
from alerts.lifecycle import Episode, episode_from_json
from alerts.recorder import About
from alerts.replay import Replay
from alerts.rules import Context, is_traced
from alerts.rules.context import Arrival, moment_of
from domain.alert import MessageStatus
from domain.alerting import AlertRecord, Rule
from domain.ports import ObservationReader

LATER = frozenset({"register_limits", "limit_source"})
"""What older evidence does not hold."""


def explain(alert: AlertRecord, about: About, rule: Rule, replay: Replay, observations: ObservationReader) -> dict[str, Any]:
    """Recompute the evidence of an alert as of the ledger sequence that it read, and compare.

    Returns
    -------
    dict
        `ok` and `same`: does it come out the same; `intact`: does the recorded digest fit the recorded evidence; what was recorded,
        what came out now, and the fields that differ.
    """
    recorded = alert.evidence
    again = _again(alert, about, rule, replay, observations)
    if again is not None:
        again = {name: value for name, value in again.items() if name in recorded or name not in LATER}
    differences = sorted(
        name for name in {*recorded, *(again or {})} if name != "digest" and recorded.get(name) != (again or {}).get(name)
    )
    same, intact = again is not None and not differences, recorded.get("digest") == digest_of(recorded)
    return {
        "ok": same and intact,
        "alert": alert.identifier,
        "rule": f"{rule.code} version {rule.version}",
        "read_seq": recorded.get("read_seq"),
        "same": same,
        "intact": intact,
        "recorded": _short(recorded),
        "recomputed": _short(again or {}),
        "differences": differences if again is not None else ["episode"],
    }


def _short(evidence: Mapping[str, Any]) -> dict[str, Any]:
    return {name: evidence.get(name) for name in ("at", "value", "sigma", "unit", "limit", "level", "peak_value", "digest")}


def _again(
    alert: AlertRecord, about: About, rule: Rule, replay: Replay, observations: ObservationReader
) -> dict[str, Any] | None:
    episode, read_seq = episode_from_json(alert.evidence["episode"]), int(alert.evidence["read_seq"])
    if alert.status is MessageStatus.EXERCISE and alert.scope.startswith("exercise/"):
        if about.datastream is None:
            return None
        found = replay.judged_exercise(rule, about.station, about.datastream, episode.level, episode.onset, read_seq)
        return judged_evidence(found.context, found.evaluation, episode, found.definition, read_seq)
    if is_traced(rule):
        return _replayed(alert, about, rule, replay, episode, read_seq)
    return _judged(alert, about, rule, replay, observations, episode, read_seq)


def _replayed(
    alert: AlertRecord, about: About, rule: Rule, replay: Replay, episode: Episode, read_seq: int
) -> dict[str, Any] | None:
    if about.datastream is None:
        return None
    confirmed = not alert.evidence.get("unconfirmed", False)
    licences = [licence_from_json(item, about.station.code) for item in alert.evidence.get("licences", ())] or None
    limits = [limit_from_json(item) for item in alert.evidence.get("register_limits", ())] or None
    found = replay.whole(
        rule, about.datastream, about.station, alert.updated_at, read_seq, confirmed=confirmed, licences=licences, limits=limits
    )
    if found.trace is None or found.folded is None:
        return None
    again = next((item for item in found.folded.episodes if item.onset == episode.onset), None)
    if again is None:
        return None
    evidence = traced_evidence(found.context, found.trace, again, found.ladder, found.definition, read_seq)
    kept = {name: alert.evidence[name] for name in ("episodes", "episodes_total") if name in alert.evidence}
    return {**evidence, **kept}


def _judged(
    alert: AlertRecord, about: About, rule: Rule, replay: Replay, observations: ObservationReader, episode: Episode, read_seq: int
) -> dict[str, Any]:
    details: Mapping[str, Any] = alert.evidence["details"]
    at = datetime.fromisoformat(alert.evidence["at"])
    context = Context(rule, at, about.station, about.datastream, source=replay.source_of(about.datastream))
    if "arrivals" in details:
        arrivals = [_heard(item, at, read_seq, replay, observations) for item in details["arrivals"]]
        context = replace(context, station=replace(about.station, confirmed=True), arrivals=arrivals)  # as it was when judged
    else:
        context = replace(context, runs={"time_to_limit": {"limits": {details.get("limit_code"): details.get("forecast")}}})
    found = replay.judged(context, read_seq)
    return judged_evidence(context, found.evaluation, episode, found.definition, read_seq)


def _heard(item: Mapping[str, Any], at: datetime, read_seq: int, replay: Replay, observations: ObservationReader) -> Arrival:
    datastream = replay.datastream(item["datastream"])
    recorded = datetime.fromisoformat(item["last_time"])
    later = observations.series(datastream.datastream_id or 0, recorded, at + timedelta(microseconds=1), as_of=read_seq)
    last = moment_of(later.time[-1]) if len(later.time) else None
    return Arrival(replace(datastream, interval_s=item["interval_s"], confirmed=True), last)

"""The evidence kept with an alert: enough to recompute it, with a digest that says whether anything was changed.

This file finishes with `digest_of`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Any

import numpy as np

from alerts.doubts import is_confirmed
from alerts.lifecycle import Episode, Trace, episode_to_json
from alerts.rules import RULES, Ladder
from alerts.rules.context import Context, DatedFinding, moment_of
from alerts.rules.finding_trace import members_of, relevant
from domain.alert import Evaluation, Level
from domain.licence import Licence, Limit

FIRST_VALUES, LAST_VALUES, MOST_MEMBERS = 50, 150, 500


def traced_evidence(
    context: Context, trace: Trace, episode: Episode, ladder: Ladder, definition: Any, read_seq: int
) -> dict[str, Any]:
    """Return the evidence of an episode that was found by replaying observations as of `read_seq`."""
    rows = _rows(trace, episode)
    shown = rows if len(rows) <= FIRST_VALUES + LAST_VALUES else np.concatenate((rows[:FIRST_VALUES], rows[-LAST_VALUES:]))
    told = rows[~trace.blind[rows]]
    level = episode.level or episode.held or episode.armed
    newest, passed_at = int(told[-1]) if len(told) else None, None
    if context.limits and newest is not None:
        passed_at = _passed_at([moment_of(trace.time[row]) for row in told], episode)
        ladder = RULES[context.rule.kind].ladder(definition, replace(context, limits_at=passed_at))
    evidence = {
        **_heading(context, ladder, definition, read_seq),
        "window": {"from": _iso(trace, rows[0]), "to": _iso(trace, rows[-1])} if len(rows) else None,
        "values": [_row(trace, int(row), context) for row in shown],
        "values_total": len(rows),
        "at": None if newest is None else _iso(trace, newest),
        "value": None if newest is None else _number(trace.value[newest]),
        "sigma": None if newest is None else _number(trace.sigma[newest]),
        "peak_value": _peak(trace, told, above=ladder.above),
        "level": int(level),
        "limit": ladder.levels.get(level),
        "reason": "" if not len(rows) else str(trace.reason[rows[-1]]),
        "episode": episode_to_json(episode),
    }
    if not is_confirmed(context):
        evidence["unconfirmed"] = True
    if trace.details and newest is not None:
        evidence["details"] = {name: _number(figures[newest]) for name, figures in trace.details.items()}
    evidence |= _inputs(context, episode, definition) | _stated_by(context, definition, level, passed_at)
    return {**evidence, "digest": digest_of(evidence)}


def _passed_at(times: Sequence[datetime], episode: Episode) -> datetime:
    """Return when a limit was passed last: at the newest observation, of what is over at the one before its end."""
    return next((time for time in reversed(times) if episode.ended is None or time < episode.ended), times[-1])


def _stated_by(context: Context, definition: Any, level: Level, at: datetime | None) -> dict[str, Any]:
    """Return which limit of the register it is that was passed, and where that comes from."""
    kinds, day = getattr(definition, "register_limits", ()), (at or context.now).astimezone(context.zone).date()
    found = [item for item in context.limits if item.kind in kinds and item.level == level.word and item.is_in_force(day)]
    if not found:
        return {}
    since = {} if found[-1].effective_from is None else {"effective_from": found[-1].effective_from.isoformat()}
    return {"limit_source": {"code": found[-1].code, "source": found[-1].source, **since}}


def _inputs(context: Context, episode: Episode, definition: Any) -> dict[str, Any]:
    """Return what the rule looked at beside observations: the findings that stood, limits of the register, licences of the station."""
    found: dict[str, Any] = {}
    if context.findings:
        end = episode.ended.isoformat() if episode.ended else "9999"
        standing = [item for item in relevant(definition, context) if item.start.isoformat() <= end]
        found["findings"] = [_finding(item) for item in standing if _end_of(item, definition) >= episode.onset][:FIRST_VALUES]
    cause = context.cause() if context.cause is not None else None
    if cause is not None:
        found["cause"] = dict(cause)
    kinds = getattr(definition, "register_limits", ())
    if kinds and context.limits:
        found["register_limits"] = [limit_as_json(limit) for limit in context.limits if limit.kind in kinds]
    if context.licences:
        found["licences"] = [licence_as_json(licence) for licence in context.licences]
    return found


def _end_of(finding: DatedFinding, definition: Any) -> datetime:
    end: datetime = finding.end if finding.end is not None and finding.end > finding.start else finding.start + definition.lasts
    return end


def _finding(finding: DatedFinding) -> dict[str, Any]:
    return {
        "method": finding.method,
        "kind": str(finding.kind),
        "start": finding.start.isoformat(),
        "end": finding.end.isoformat() if finding.end else None,
        "size": finding.size,
        "sigma": finding.sigma,
        "score": finding.score,
        "unit": finding.unit,
        "members": list(members_of(finding))[:MOST_MEMBERS],
        "members_total": len(members_of(finding)),
    }


def licence_as_json(licence: Licence) -> dict[str, Any]:
    """Return what a rule reads of a version of a licence, as plain JSON."""
    days = {name: getattr(licence, name) for name in ("effective_from", "superseded_on")}
    return {
        **{name: day.isoformat() for name, day in days.items() if day is not None},
        "code": licence.code,
        "holder": licence.holder,
        "valid_from": licence.valid_from.isoformat(),
        "valid_to": licence.valid_to.isoformat(),
        "quota_m3_per_a": licence.quota_m3_per_a,
        "licence_year_start": licence.licence_year_start,
        "reinjection_ratio": licence.reinjection_ratio,
        "source": licence.source,
    }


def limit_as_json(limit: Limit) -> dict[str, Any]:
    """Return what a rule reads of a version of a limit, as plain JSON."""
    days = {"effective_from": limit.effective_from, "effective_to": limit.effective_to}
    names = ("code", "property_code", "unit", "value", "kind", "level", "source")
    return {name: getattr(limit, name) for name in names} | {
        name: day.isoformat() for name, day in days.items() if day is not None
    }


def limit_from_json(stored: Mapping[str, Any]) -> Limit:
    """Return the limit that `limit_as_json` wrote."""
    days = {name: date.fromisoformat(stored[name]) for name in ("effective_from", "effective_to") if stored.get(name)}
    return Limit(**{**stored, **days})


def licence_from_json(stored: Mapping[str, Any], station: str) -> Licence:
    """Return the licence that `licence_as_json` wrote."""
    dated = ("valid_from", "valid_to", "effective_from", "superseded_on")
    days = {name: date.fromisoformat(stored[name]) for name in dated if stored.get(name)}
    return Licence(station=station, **{**stored, **days})


def judged_evidence(context: Context, found: Evaluation, episode: Episode, definition: Any, read_seq: int) -> dict[str, Any]:
    """Return the evidence of a rule that looks at the clock or at the newest run."""
    evidence = {
        **_heading(context, definition.ladder, definition, read_seq),
        "window": {"from": episode.onset.isoformat(), "to": found.at.isoformat()},
        "values": [],
        "values_total": 0,
        "at": found.at.isoformat(),
        "value": found.value,
        "sigma": found.sigma,
        "peak_value": found.value,
        "level": int(found.level),
        "limit": found.limit,
        "reason": found.reason,
        "details": dict(found.evidence),
        "episode": episode_to_json(episode),
    }
    return {**evidence, "digest": digest_of(evidence)}


def _heading(context: Context, ladder: Ladder, definition: Any, read_seq: int) -> dict[str, Any]:
    datastream = context.datastream
    derivation = datastream.derivation if datastream is not None else None
    rule = context.rule
    return {
        "rule": {"code": rule.code, "version": rule.version, "kind": rule.kind, "source": rule.source},
        "station": context.station.code,
        "simulated": context.station.simulated,
        "datastream": None if datastream is None else datastream.code,
        "datum": None if datastream is None else datastream.datum_code or (context.source.datum_code if context.source else None),
        "frame": None if datastream is None else datastream.frame or (context.source.frame if context.source else None),
        "method": None
        if derivation is None
        else {"name": derivation.method, "version": derivation.version, "parameters": dict(derivation.parameters)},
        "quantity": definition.quantity,
        "unit": definition.unit,
        "direction": "above" if ladder.above else "below",
        "limits": {level.word: limit for level, limit in sorted(ladder.levels.items())},
        "deadband": ladder.deadband,
        "read_seq": read_seq,
    }


def _rows(trace: Trace, episode: Episode) -> Any:
    onset = np.datetime64(episode.onset.replace(tzinfo=None), "us")
    inside = trace.time >= onset
    if episode.ended is not None:
        inside &= trace.time <= np.datetime64(episode.ended.replace(tzinfo=None), "us")
    return np.flatnonzero(inside)


def _row(trace: Trace, row: int, context: Context) -> list[Any]:
    samples = context.samples
    own = samples is not None and row < len(samples.time) and samples.time[row] == trace.time[row]
    quality = int(samples.quality[row]) if own and samples is not None else None
    return [_iso(trace, row), _number(trace.value[row]), _number(trace.sigma[row]), quality]


def _peak(trace: Trace, rows: Any, *, above: bool) -> float | None:
    if not len(rows):
        return None
    return _number(trace.value[rows].max() if above else trace.value[rows].min())


def _iso(trace: Trace, row: Any) -> str:
    return moment_of(trace.time[row]).isoformat()


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def digest_of(evidence: Mapping[str, Any]) -> str:
    """Return the sha256 of evidence in canonical JSON (sorted keys, no spaces, UTF-8), its own digest left out."""
    content = {name: value for name, value in evidence.items() if name != "digest"}
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()

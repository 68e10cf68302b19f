"""Alerts: list, detail with evidence, acknowledgement, confirmation, CAP and Atom. This file finishes with `confirm`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal
from xml.sax.saxutils import escape, quoteattr
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Body, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from alerts.explanation import describe
from alerts.gb35965 import gb_message
from alerts.matching import labels_of, silence_for
from alerts.store import AlertFilter
from domain.alert import AlertState, MessageStatus, level_of
from domain.alerting import OUT_OF_SERVICE, AlertRecord, CapMessage, Rule, Silence
from domain.errors import NotFoundError, PermissionDeniedError
from domain.model import Datastream, Station
from service.api.callers import Caller, MayAcknowledge, MayConfirm, MayRead
from service.api.lookup import container_of, node_code, visible_station
from service.api.parameters import DEFAULT, After, Limit, decode_cursor, encode_cursor, listing, next_url, parse_time
from service.api.times import number, plain, stamp
from service.sharing.disclosure import HeightView, height_view
from service.standing import standing_of

router = APIRouter(prefix="/api/v1", tags=["alerts"])
StateWord = Literal["pending", "firing", "resolved", "all"]
StatusWord = Literal["Actual", "Exercise", "System", "Test", "Draft", "all"]
LevelWord = Literal["blue", "yellow", "orange", "red"]
MOST_PAGES = 100


class Acknowledgement(BaseModel):
    """What a person says on taking notice."""

    model_config = ConfigDict(extra="forbid")
    note: str | None = Field(default=None, max_length=2000)


class Decision(BaseModel):
    """A person's decision on an alert that waits for one."""

    model_config = ConfigDict(extra="forbid")
    decision: Literal["confirmed", "rejected"]
    note: str | None = Field(default=None, max_length=2000)


@router.get("/alerts", summary="Alerts, newest update first", response_class=JSONResponse)
def list_alerts(
    request: Request,
    caller: MayRead,
    state: Annotated[list[StateWord] | None, Query(description="Repeatable; firing when not given.")] = None,
    status: Annotated[
        list[StatusWord] | None, Query(description="CAP status, repeatable; Actual when not given: exercises are no alerts.")
    ] = None,
    level: Annotated[list[LevelWord] | None, Query(description="Repeatable.")] = None,
    station: str | None = None,
    datastream: str | None = None,
    rule: str | None = None,
    acknowledged: bool | None = None,
    since: Annotated[str | None, Query(description="Updated at or after this time.")] = None,
    limit: Limit = DEFAULT,
    after: After = None,
) -> JSONResponse:
    """Give alerts that match every filter."""
    container = container_of(request)
    states = () if state is not None and "all" in state else tuple(AlertState(word) for word in state or ["firing"])
    wanted = AlertFilter(
        states=states,
        levels=tuple(level_of(word) for word in level or ()),
        rule_code=rule,
        station=None if station is None else visible_station(container, caller, station).code,
        datastream=datastream,
        acknowledged=acknowledged,
        since=None if since is None else parse_time(since, "since"),
        statuses=() if status is not None and "all" in status else tuple(status or [MessageStatus.ACTUAL.value]),
    )
    place = None if after is None else decode_cursor(after)
    found: list[AlertRecord] = []
    for _ in range(MOST_PAGES):
        rows, place = container.alerts.list_alerts(wanted, after=place, limit=limit - len(found))
        found += [row for row in rows if _is_visible(container, caller, row)]
        if place is None or len(found) >= limit:
            break
    following = next_url(request, after=encode_cursor(place)) if place is not None else None
    rules = _rules_by_version(container, found)
    out = out_of_service(container)
    items = [_brief(alert_json(container, caller, row, rules.get((row.rule_code, row.rule_version)), out)) for row in found]
    return JSONResponse(plain(listing(items, following)))


def _rules_by_version(container: Any, alerts: list[AlertRecord]) -> dict[tuple[str, int], Rule]:
    wanted = {(alert.rule_code, alert.rule_version) for alert in alerts}
    found = {key: container.alerts.rule(*key) for key in sorted(wanted)}
    return {key: rule for key, rule in found.items() if rule is not None}


def _is_visible(container: Any, caller: Caller, alert: AlertRecord) -> bool:
    station = _station_of(container, alert)
    if station is None:
        return caller.stations is None
    return caller.audience.sees(station)


def _station_of(container: Any, alert: AlertRecord) -> Station | None:
    station: Station | None = container.registers.station(alert.station) if alert.station is not None else None
    return station


def out_of_service(container: Any) -> Sequence[Silence]:
    """Return what is out of service now."""
    return [item for item in container.alerts.silences(container.clock()) if item.kind == OUT_OF_SERVICE]


def alert_json(
    container: Any, caller: Caller, stored: AlertRecord, rule: Rule | None, out: Sequence[Silence] | None = None
) -> dict[str, Any]:
    """Return an alert as it stands in lists; figures of heights that the caller may not see are left out.

    `out` is what is out of service, for whoever has read that already.
    """
    station, datastream = _station_of(container, stored), _datastream_of(container, stored)
    alert = _as_seen(container, caller, stored, station, datastream)
    words = _words(container, alert, rule, station, datastream)
    return {
        "id": alert.alert_id,
        "identifier": alert.identifier,
        "rule": alert.rule_code,
        "rule_version": alert.rule_version,
        "rule_name_zh": rule.name_zh if rule else alert.rule_code,
        "rule_name_en": rule.name_en if rule else alert.rule_code,
        "scope": alert.scope,
        "station": alert.station,
        "station_name_zh": station.name_zh if station else None,
        "station_name_en": station.name_en if station else None,
        "datastream": alert.datastream,
        "state": alert.state.value,
        "level": int(alert.level),
        "level_word": alert.level.word,
        "peak_level": int(alert.peak_level),
        "peak_level_word": alert.peak_level.word,
        "onset": stamp(alert.onset),
        "ended": stamp(alert.ended),
        "verdict": alert.verdict.value,
        "confirmation": alert.confirmation.value,
        "confirmed_by": alert.confirmed_by,
        "confirmed_at": stamp(alert.confirmed_at),
        "acknowledged_by": alert.acknowledged_by,
        "acknowledged_at": stamp(alert.acknowledged_at),
        "acknowledged_note": alert.acknowledged_note,
        "unanswered_since": alert.memory.get("unanswered_since"),
        "status": alert.status.value,
        "shelved": alert.memory.get("shelved"),
        "held": alert.memory.get("held"),
        "out_of_service": _out_json(
            out_of_service(container) if out is None else out, container, alert, rule, station, datastream
        ),
        "value": _of_evidence(alert, "value"),
        "sigma": _of_evidence(alert, "sigma"),
        "unit": alert.evidence.get("unit"),
        "limit": _of_evidence(alert, "limit"),
        "opened_at": stamp(alert.opened_at),
        "updated_at": stamp(alert.updated_at),
        "headline": words["headline"],
        "explanation": words["explanation"],
        "evidence": dict(alert.evidence),
    }


def _out_json(
    out: Sequence[Silence],
    container: Any,
    alert: AlertRecord,
    rule: Rule | None,
    station: Station | None,
    datastream: Datastream | None,
) -> dict[str, Any] | None:
    """Return who took the sensor or the rule of an alert out of service, until when and why; None where nobody did."""
    if not out or rule is None:
        return None
    found = silence_for(out, labels_of(alert, rule, station, datastream), container.clock())
    return None if found is None else {"by": found.author, "until": stamp(found.ends_at), "reason": found.reason}


def _brief(item: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name not in {"evidence", "explanation"}}


def _datastream_of(container: Any, alert: AlertRecord) -> Datastream | None:
    found: Datastream | None = container.registers.datastream(alert.datastream) if alert.datastream is not None else None
    return found


def _as_seen(
    container: Any, caller: Caller, alert: AlertRecord, station: Station | None, datastream: Datastream | None
) -> AlertRecord:
    if station is None or datastream is None or caller.sees_precisely(station):
        return alert
    observed = container.registers.observed_property(datastream.property_code)
    if height_view(station, datastream, observed) is HeightView.AS_STORED:
        return alert
    return replace(alert, evidence={name: alert.evidence[name] for name in ("unit", "reason") if name in alert.evidence})


def _words(
    container: Any, alert: AlertRecord, rule: Rule | None, station: Station | None, datastream: Datastream | None
) -> dict[str, dict[str, str]]:
    if rule is None:
        title = f"{alert.rule_code} {alert.scope}"
        return {"headline": {"zh": title, "en": title}, "explanation": {"zh": title, "en": title}}
    node = container.registers.node()
    told = describe(alert, rule, station, datastream, zone=ZoneInfo(node.zone if node else "Asia/Shanghai"))
    return {
        "headline": {"zh": told.headline_zh, "en": told.headline_en},
        "explanation": {"zh": told.text_zh, "en": told.text_en},
    }


def _of_evidence(alert: AlertRecord, name: str) -> float | None:
    value = alert.evidence.get(name)
    return number(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def find_visible(container: Any, caller: Caller, key: str) -> AlertRecord:
    """Return an alert by its number or identifier; NotFoundError where there is none for this caller."""
    alert: AlertRecord | None = container.alerts.find_alert(int(key) if key.isdecimal() and len(key) < 19 else key)
    if alert is None or not _is_visible(container, caller, alert):
        raise NotFoundError(f"there is no alert {key!r}.", where="id", remedy="the alerts are listed at /api/v1/alerts?state=all")
    return alert


@router.get("/alerts/feed.atom", summary="CAP messages as an Atom feed", response_class=Response)
def feed(request: Request, caller: MayRead) -> Response:
    """Give the newest CAP messages, newest first (RFC 4287); exercises are left out."""
    container = container_of(request)
    origin = str(container.settings.public_url).rstrip("/")
    entries = []
    updated = stamp(container.clock())
    for message in container.alerts.recent_cap(100):
        alert = container.alerts.find_alert(message.alert_id)
        if alert is None or alert.status is not MessageStatus.ACTUAL or not _is_visible(container, caller, alert):
            continue
        rule = container.alerts.rule(alert.rule_code, alert.rule_version)
        title = alert_json(container, caller, alert, rule, ())["headline"]["zh"]
        link = f"{origin}/api/v1/alerts/{alert.identifier}.cap?message={message.identifier}"
        entries.append(
            f"<entry><id>urn:groundwatch:cap:{escape(message.identifier)}</id><title>{escape(title)}</title>"
            f"<updated>{stamp(message.sent)}</updated><author><name>{escape(message.sender)}</name></author>"
            f'<category term="{message.message_type.value}"/>'
            f'<link rel="alternate" type="application/cap+xml" href={quoteattr(link)}/></entry>'
        )
        updated = max(updated or "", stamp(message.sent) or "") if len(entries) > 1 else stamp(message.sent)
    code = node_code(container)
    text = (
        '<?xml version="1.0" encoding="UTF-8"?><feed xmlns="http://www.w3.org/2005/Atom">'
        f"<id>urn:groundwatch:{escape(code)}:alerts</id><title>GroundWatch {escape(code)}</title><updated>{updated}</updated>"
        f'<author><name>GroundWatch</name></author><link rel="self" href={quoteattr(origin + "/api/v1/alerts/feed.atom")}/>'
        f"{''.join(entries)}</feed>"
    )
    return Response(text, media_type="application/atom+xml")


@router.get("/alerts/{key}.cap", summary="An alert as CAP 1.2", response_class=Response)
def show_cap(
    request: Request,
    caller: MayRead,
    key: str,
    message: Annotated[str | None, Query(description="Identifier of one message; the newest when not given.")] = None,
) -> Response:
    """Give the CAP 1.2 XML of an alert as it was issued."""
    return Response(_issued(container_of(request), caller, key, message).body, media_type="application/cap+xml")


@router.get("/alerts/{key}/gb35965", summary="An alert in the terms of GB/T 35965.1", response_class=JSONResponse)
def show_gb(
    request: Request,
    caller: MayRead,
    key: str,
    message: Annotated[str | None, Query(description="Identifier of one message; the newest when not given.")] = None,
) -> JSONResponse:
    """Give what the CAP message says, with colours and Beijing time."""
    container = container_of(request)
    return JSONResponse(dict(gb_message(_issued(container, caller, key, message).body, event_code=container.issuer.event_code)))


def _issued(container: Any, caller: Caller, key: str, message: str | None) -> CapMessage:
    """Return one issued message of an alert, or the newest, as far as the caller may see it."""
    alert = find_visible(container, caller, key)
    if _as_seen(container, caller, alert, _station_of(container, alert), _datastream_of(container, alert)) is not alert:
        raise PermissionDeniedError(
            "the message tells absolute heights, which are not disclosed.", where="id", remedy="read the alert itself"
        )
    messages = [item for item in container.alerts.cap_messages(alert.alert_id) if message in {None, item.identifier}]
    if not messages:
        raise NotFoundError(
            "no CAP message was issued for this alert.", where="id", remedy="one is issued when the alert fires and is confirmed"
        )
    newest: CapMessage = messages[-1]
    return newest


@router.get("/alerts/{key}", summary="An alert with evidence, explanation and transitions", response_class=JSONResponse)
def show_alert(request: Request, caller: MayRead, key: str) -> JSONResponse:
    """Give one alert, by its number or its identifier."""
    container = container_of(request)
    return JSONResponse(detail_of(container, caller, find_visible(container, caller, key)))


def detail_of(container: Any, caller: Caller, alert: AlertRecord) -> dict[str, Any]:
    """Return an alert with its transitions, as plain JSON."""
    rule = container.alerts.rule(alert.rule_code, alert.rule_version)
    body = alert_json(container, caller, alert, rule)
    body["transitions"] = [
        {
            "id": step.transition_id,
            "kind": step.kind,
            "from_state": step.from_state.value if step.from_state else None,
            "to_state": step.to_state.value,
            "from_level": None if step.from_level is None else int(step.from_level),
            "to_level": None if step.to_level is None else int(step.to_level),
            "occurred_at": stamp(step.occurred_at),
            "recorded_at": stamp(step.recorded_at),
            "actor": step.actor,
            "reason": step.reason,
        }
        for step in container.alerts.transitions(alert.alert_id)
    ]
    body["standing"] = _standing(container, caller, alert, rule)
    issued = container.alerts.cap_messages(alert.alert_id)
    body["cap"] = f"/api/v1/alerts/{alert.identifier}.cap" if issued else None
    result: dict[str, Any] = plain(body)
    return result


def _standing(container: Any, caller: Caller, alert: AlertRecord, rule: Rule | None) -> dict[str, Any] | None:
    """Return the newest value and the worst so far; None where they may not be seen, or the rule's station is gone."""
    station, datastream = _station_of(container, alert), _datastream_of(container, alert)
    seen = _as_seen(container, caller, alert, station, datastream)
    if rule is None or station is None or seen is not alert:
        return None
    found = standing_of(container, alert, rule)
    if found is None:
        return None
    return {
        "unit": found.unit,
        "at": stamp(found.at),
        "value": number(found.value),
        "sigma": number(found.sigma),
        "worst_at": stamp(found.worst_at),
        "worst": number(found.worst),
    }


def named_person(caller: Caller) -> str:
    """Return the name of who acts; PermissionDeniedError for a key, which has none."""
    if caller.account_id is None or caller.name is None:
        raise PermissionDeniedError(
            "this must be done by a named person.", remedy="log in with your own account; a key has no name"
        )
    return caller.name


@router.post("/alerts/{key}/acknowledgement", summary="Take notice of an alert, by name", response_class=JSONResponse)
def acknowledge(request: Request, caller: MayAcknowledge, key: str, said: Annotated[Acknowledgement, Body()]) -> JSONResponse:
    """Record who took notice and when; the first one stays."""
    container = container_of(request)
    who = named_person(caller)
    alert = find_visible(container, caller, key)
    container.engine.acknowledge(alert.alert_id, who, said.note, container.clock())
    container.access.audit_append(caller.actor, "acknowledge alert", alert.identifier, {"note": said.note})
    return JSONResponse(detail_of(container, caller, find_visible(container, caller, str(alert.alert_id))))


@router.post(
    "/alerts/{key}/confirmation", summary="Confirm or reject an alert that waits for a person", response_class=JSONResponse
)
def confirm(request: Request, caller: MayConfirm, key: str, said: Annotated[Decision, Body()]) -> JSONResponse:
    """Record a person's decision; what waited for it goes out, or never does."""
    container = container_of(request)
    who = named_person(caller)
    alert = find_visible(container, caller, key)
    decide = container.engine.confirm if said.decision == "confirmed" else container.engine.reject
    decide(alert.alert_id, who, said.note, container.clock())
    container.access.audit_append(caller.actor, f"alert {said.decision}", alert.identifier, {"note": said.note})
    return JSONResponse(detail_of(container, caller, find_visible(container, caller, str(alert.alert_id))))

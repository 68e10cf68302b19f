"""Rules as data: versions, dry runs, the policy that holds messages back, and what could not be told. This file finishes with `unshelve`."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

from alerts.coverage import Coverage, hours_of
from alerts.explanation import reason_words
from alerts.store import AlertFilter
from domain.alert import AlertState, Verdict
from domain.errors import InputError, RequestError
from domain.model import Station
from service.api.callers import MayAcknowledge, MayRead, MayReadRules, MayWriteRules
from service.api.listings import every_station
from service.api.lookup import container_of, visible_station
from service.api.parameters import DEFAULT, From, Limit, To, listing, parse_span, parse_time
from service.api.routers.alerts import detail_of, find_visible, named_person
from service.api.times import plain, stamp
from service.rule_desk import RuleDesk, coverage_of, disabled, rule_json

router = APIRouter(prefix="/api/v1", tags=["rules"])
DEFAULT_DAYS = 30


class Trial(BaseModel):
    """A rule to try over history; nothing is stored."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)
    rule: dict[str, Any]
    start: str | None = Field(default=None, alias="from")
    end: str | None = Field(default=None, alias="to")


class PolicyChange(BaseModel):
    """A new version of the policy."""

    model_config = ConfigDict(extra="forbid")
    content: dict[str, Any]
    reason: str = Field(min_length=1, max_length=2000)


class Shelving(BaseModel):
    """Why and until when an alert may wait."""

    model_config = ConfigDict(extra="forbid")
    reason: str = Field(min_length=1, max_length=2000)
    until: str


class Ending(BaseModel):
    """What a person says on ending a shelving."""

    model_config = ConfigDict(extra="forbid")
    note: str | None = Field(default=None, max_length=2000)


RuleBody = Annotated[
    dict[str, Any], Body(description="A rule as in docs/alerts.md; `definition` may hold the fields of its kind.")
]


def _answer(content: dict[str, Any], status: int = 200) -> JSONResponse:
    return JSONResponse(plain(content), status_code=status)


@router.get("/rules", summary="Rules in their newest version")
def list_rules(request: Request, caller: MayReadRules) -> JSONResponse:
    """Give every rule, disabled ones included."""
    rules = container_of(request).alerts.rules(enabled_only=False)
    return _answer(listing([rule_json(rule) for rule in rules], None))


@router.post("/rules/dry-run", summary="What a rule would have done over history")
def try_rule(request: Request, caller: MayWriteRules, said: Annotated[Trial, Body()]) -> JSONResponse:
    """Replay a rule over the stored record: where and when it would have fired, and whether that is too much for anyone."""
    desk = RuleDesk(container_of(request))
    start, end = parse_span(said.start, said.end)
    return _answer(desk.tried(desk.read(said.rule, caller.actor), start, end))


@router.post("/rules", summary="Add a rule", status_code=201)
def add_rule(request: Request, caller: MayWriteRules, content: RuleBody) -> JSONResponse:
    """Store a new rule; an enabled one that goes over the alarm budget needs a `reason`."""
    desk = RuleDesk(container_of(request))
    return _answer(rule_json(desk.add(desk.read(content, caller.actor))), 201)


@router.get("/rules/{code}", summary="A rule, with its versions")
def show_rule(request: Request, caller: MayReadRules, code: str) -> JSONResponse:
    """Give the newest version and every one before it."""
    container = container_of(request)
    rule = RuleDesk(container).found(code)
    versions = [rule_json(version) for version in container.alerts.rule_versions(rule.code)]
    return _answer({**rule_json(rule), "versions": versions})


@router.get("/rules/{code}/proposals", summary="What people's verdicts suggest about a rule")
def propose_changes(request: Request, caller: MayWriteRules, code: str) -> JSONResponse:
    """Give changes that would have spared false alarms and lost no real one, each tried over history; nothing is changed."""
    return JSONResponse(plain(RuleDesk(container_of(request)).propose(code)))


@router.put("/rules/{code}", summary="Replace a rule by a new version")
def put_rule(request: Request, caller: MayWriteRules, code: str, content: RuleBody) -> JSONResponse:
    """Store a new version; the old ones stay."""
    desk = RuleDesk(container_of(request))
    desk.found(code)
    if content.get("code", code) != code:
        raise InputError("the code differs from the address.", where="code", remedy="a rule keeps its code")
    return _answer(rule_json(desk.save(desk.read({**content, "code": code}, caller.actor))))


@router.patch("/rules/{code}", summary="Change fields of a rule, or switch it on or off")
def patch_rule(request: Request, caller: MayWriteRules, code: str, content: RuleBody) -> JSONResponse:
    """Store a new version with the fields given changed; null takes a field away."""
    desk = RuleDesk(container_of(request))
    if set(content) <= {"enabled", "reason"} and content.get("enabled") is False:
        reason = str(content.get("reason") or "")
        return _answer(rule_json(container_of(request).alerts.save_rule(
            disabled(desk.found(code), caller.actor, reason), now=container_of(request).clock())))  # fmt: skip
    return _answer(rule_json(desk.change(code, content, caller.actor)))


@router.get("/alert-policy", summary="What holds messages back: inhibition, grouping, flapping, shelving")
def show_policy(request: Request, caller: MayReadRules) -> JSONResponse:
    """Give the policy in force with its version; 0 is the shipped one."""
    return _answer(RuleDesk(container_of(request)).policy())


@router.put("/alert-policy", summary="Store a new version of the policy")
def put_policy(request: Request, caller: MayWriteRules, said: Annotated[PolicyChange, Body()]) -> JSONResponse:
    """Check and store a policy; a section that is left out is the shipped one."""
    container = container_of(request)
    answer = RuleDesk(container).set_policy(said.content, said.reason, caller.actor)
    container.access.audit_append(caller.actor, "set alert policy", str(answer["version"]), {"reason": said.reason})
    return _answer(answer)


@router.get("/cannot-tell", summary="What the rules could not tell: work items of their own")
def list_cannot_tell(
    request: Request,
    caller: MayRead,
    rule: str | None = None,
    reason: str | None = None,
    station: str | None = None,
    limit: Limit = DEFAULT,
) -> JSONResponse:
    """Give each rule and scope whose newest verdict is *cannot tell*, with the reason in words; the longest first."""
    container = container_of(request)
    enabled = {item.code: item for item in container.alerts.rules()}
    wanted = None if station is None else visible_station(container, caller, station).code
    items = []
    for state in container.alerts.rule_states(rule_code=rule, verdict=Verdict.CANNOT_TELL.value):
        place = _station_of(container, state.scope)
        if state.rule_code not in enabled or place is None or not caller.audience.sees(place):
            continue
        if (reason is not None and state.reason != reason) or (wanted is not None and place.code != wanted):
            continue
        zh, en = reason_words(state.reason)
        items.append({
            "rule": state.rule_code,
            "rule_name_zh": enabled[state.rule_code].name_zh,
            "rule_name_en": enabled[state.rule_code].name_en,
            "scope": state.scope,
            "station": place.code,
            "station_name_zh": place.name_zh,
            "station_name_en": place.name_en,
            "reason": state.reason,
            "reason_zh": zh,
            "reason_en": en,
            "event_time": stamp(state.event_time),
            "evaluated_at": stamp(state.evaluated_at),
        })  # fmt: skip
    items.sort(key=lambda item: (item["event_time"] or "", item["rule"], item["scope"]))
    return _answer(listing(items[:limit], None, total=len(items)))


def _station_of(container: Any, scope: str) -> Station | None:
    found: Station | None = container.registers.station(scope.partition(":")[0])
    return found


@router.get("/blind-hours", summary="How long each station was not seen")
def blind_hours(
    request: Request, caller: MayRead, station: str | None = None, start: From = None, to: To = None,
    only: Annotated[str | None, Query(pattern="^(unknown|clear|alert)$", description="Only stations that stand so.")] = None,
) -> JSONResponse:  # fmt: skip
    """Give blind hours by station over a span (the last 30 days when not given), and how each stands now.

    `clear` is said only where every watched datastream was seen lately; `unknown` is no all-clear.
    """
    container = container_of(request)
    first, last = parse_span(start, to)
    end = last or container.clock()
    begin = first or end - timedelta(days=DEFAULT_DAYS)
    if not begin < end:
        raise RequestError("the span is empty.", where="from", remedy="choose a beginning before the end")
    places = (
        [visible_station(container, caller, station)]
        if station is not None
        else [item for item in every_station(container) if caller.audience.sees(item)]
    )
    firing = _firing_stations(container)
    found = [(place, coverage_of(container, place, begin, end)) for place in places]
    items = [_coverage_json(place, seen, firing) for place, seen in found if seen.blind or seen.unknown]
    kept = sorted((item for item in items if only in (None, item["standing"])), key=lambda item: -item["blind_h"])
    return _answer(listing(kept, None, total_blind_h=sum(item["blind_h"] for item in kept)))


def _firing_stations(container: Any) -> set[str]:
    found: set[str] = set()
    after: str | None = None
    while True:
        page, after = container.alerts.list_alerts(
            AlertFilter(states=(AlertState.FIRING,), statuses=("Actual",)), after=after, limit=1000
        )
        found |= {alert.station for alert in page if alert.station is not None}
        if after is None:
            return found


def _coverage_json(place: Station, seen: Coverage, firing: set[str]) -> dict[str, Any]:
    return {
        "station": place.code,
        "station_name_zh": place.name_zh,
        "station_name_en": place.name_en,
        "from": stamp(seen.start),
        "to": stamp(seen.end),
        "blind_h": round(seen.blind_h, 4),
        "standing": "alert" if place.code in firing else seen.standing,
        "blind_now": list(seen.blind_now),
        "no_interval": list(seen.unknown),
        "datastreams": [
            {"datastream": code, "blind_h": round(hours_of(spans), 4), "spans": len(spans)} for code, spans in seen.blind
        ],
    }


@router.post("/alerts/{key}/shelving", summary="Shelve an alert until a time, with a reason")
def shelve(request: Request, caller: MayAcknowledge, key: str, said: Annotated[Shelving, Body()]) -> JSONResponse:
    """Hold an alert's messages back unless it gets worse; the end comes by itself and is noted."""
    container = container_of(request)
    who, alert = named_person(caller), find_visible(container, caller, key)
    container.engine.shelve(alert.alert_id, who, said.reason, parse_time(said.until, "until"), container.clock())
    return JSONResponse(detail_of(container, caller, find_visible(container, caller, str(alert.alert_id))))


@router.delete("/alerts/{key}/shelving", summary="End a shelving")
def unshelve(request: Request, caller: MayAcknowledge, key: str, said: Annotated[Ending, Body()]) -> JSONResponse:
    """End a shelving; what still fires and was held goes out."""
    container = container_of(request)
    who, alert = named_person(caller), find_visible(container, caller, key)
    container.engine.unshelve(alert.alert_id, who, said.note, container.clock())
    return JSONResponse(detail_of(container, caller, find_visible(container, caller, str(alert.alert_id))))

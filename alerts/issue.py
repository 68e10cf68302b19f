"""Turns an alert into the CAP message that is due, and the message into notifications. This file finishes with `payload_of`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Any

from alerts.cap import Area, Info, Message, Pair, reference, to_xml
from alerts.explanation import BEIJING, Description, describe
from alerts.gb35965 import gb_message
from alerts.rules import definition_of
from domain.alert import AlertState, Confirmation, Level, MessageStatus, MessageType
from domain.alerting import AlertRecord, CapMessage, Rule
from domain.errors import ConfigurationError
from domain.model import Datastream, Disclosure, Station

LIFETIME = timedelta(days=90)
RESTRICTION = "长三角地面沉降联防联控成员单位 / members of the joint control network"
RADIUS_KM = 1.0
ROUNDED_RADIUS_KM = 2.0
_AUTHORITY = re.compile(r"^[0-9]{6}[0-9A-Z]{8}$")


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who issues.

    Attributes
    ----------
    node
        The node's code.
    simulated
        True where the node itself is a simulation: its messages are for testing, whatever the station says.
    authority
        14 characters of GB/T 35965.1: region (6), body (3), unit (3), extension (2).
    sender
        CAP sender: no spaces or commas.
    event_code
        What the node's alerts are by GB/T 35561; None = not configured.
    """

    node: str
    authority: str
    sender: str
    name_zh: str
    name_en: str
    zone: tzinfo = BEIJING
    simulated: bool = False
    event_code: str | None = None

    def __post_init__(self) -> None:
        if not _AUTHORITY.match(self.authority):
            raise ConfigurationError(
                f"the issuing authority is {self.authority!r}.",
                remedy="state 6 digits of region, then 8 letters or digits of body, unit and extension",
            )
        if not self.sender or re.search(r"[\s,<&]", self.sender):
            raise ConfigurationError(f"the CAP sender is {self.sender!r}.", remedy="state one without spaces and commas")


@dataclass(frozen=True, slots=True)
class Subject:
    """An alert with what it is about."""

    alert: AlertRecord
    rule: Rule
    station: Station | None
    datastream: Datastream | None


def cap_message(
    issuer: Issuer, subject: Subject, kind: MessageType, identifier: str, earlier: Sequence[CapMessage], now: datetime
) -> CapMessage:
    """Return the CAP message of an alert as it stands, following every earlier one.

    Raises
    ------
    InputError
        When the message would break CAP 1.2.
    """
    alert = subject.alert
    sent = max([now.replace(microsecond=0), *(item.sent for item in earlier)])  # a clock that was set back orders nothing anew
    references = tuple(reference(item.sender, item.identifier, item.sent) for item in earlier)
    simulated = is_simulated(issuer, subject)
    words = _words(issuer, subject)
    message = Message(
        identifier=identifier,
        sender=issuer.sender,
        sent=sent,
        status=status_outside(alert, simulated=simulated),
        message_type=kind,
        infos=(_info(issuer, subject, words, "zh-CN", sent), _info(issuer, subject, words, "en", sent)),
        restriction=RESTRICTION,
        references=references,
        note="模拟数据 simulated data" if simulated else None,
    )
    return CapMessage(
        identifier=identifier,
        alert_id=alert.alert_id or 0,
        sender=issuer.sender,
        sent=sent,
        message_type=kind,
        body=to_xml(message).decode(),
        reference_list=" ".join(references),
    )


def is_simulated(issuer: Issuer, subject: Subject) -> bool:
    """Is the ground simulated: the whole node's, the station's now, or the station's when the alert was judged?"""
    station = subject.station is not None and subject.station.simulated
    return issuer.simulated or station or bool(subject.alert.evidence.get("simulated"))


def status_outside(alert: AlertRecord, *, simulated: bool) -> MessageStatus:
    """Return the status of the message of an alert.

    Simulated ground is Test ("technical testing only, all recipients disregard", CAP 1.2 section 3.2.1), though the house treats the
    alert as an actual one. An exercise stays one: only its participants ever get it.
    """
    return MessageStatus.TEST if simulated and alert.status is MessageStatus.ACTUAL else alert.status


def _words(issuer: Issuer, subject: Subject) -> Description:
    simulated = is_simulated(issuer, subject)
    return describe(subject.alert, subject.rule, subject.station, subject.datastream, zone=issuer.zone, simulated=simulated)


def _info(issuer: Issuer, subject: Subject, words: Description, language: str, sent: datetime) -> Info:
    alert, chinese = subject.alert, language.startswith("zh")
    action = definition_of(subject.rule).action
    over = alert.state is AlertState.RESOLVED
    owner, text = (action.owner_zh, action.text_zh) if chinese else (action.owner_en, action.text_en)
    return Info(
        language=language,
        event=subject.rule.name_zh if chinese else subject.rule.name_en,
        level=alert.level or Level.BLUE,
        urgency="Past" if over else "Expected" if alert.level >= Level.ORANGE else "Future",
        certainty="Observed" if alert.confirmation is Confirmation.CONFIRMED else "Likely",
        headline=words.headline_zh if chinese else words.headline_en,
        description=words.text_zh if chinese else words.text_en,
        instruction=f"{text}（{owner}）" if chinese else f"{text} ({owner})",
        sender_name=issuer.name_zh if chinese else issuer.name_en,
        area=_area(subject.station, alert.scope, chinese=chinese),
        response_types=("AllClear",) if over else ("Monitor", "Assess"),
        categories=("Infra",) if subject.rule.kind == "silence" else ("Geo",),
        onset=alert.onset,
        expires=max(sent, alert.onset) + LIFETIME,
        parameters=_parameters(alert),
    )


def _area(station: Station | None, scope: str, *, chinese: bool) -> Area:
    if station is None:
        return Area(scope)
    region = (Pair("GB/T 2260", station.region_code),) if station.region_code else ()
    return Area(station.name_zh if chinese else station.name_en, region, circle=_circle(station))


def _circle(station: Station) -> tuple[float, float, float] | None:
    """Return a circle around the station; positions that are not open are rounded to a hundredth of a degree, or left out."""
    if station.latitude_deg is None or station.longitude_deg is None or station.disclosure is Disclosure.RELATIVE:
        return None
    if station.disclosure is Disclosure.OPEN:
        return station.latitude_deg, station.longitude_deg, RADIUS_KM
    return round(station.latitude_deg, 2), round(station.longitude_deg, 2), ROUNDED_RADIUS_KM


def _parameters(alert: AlertRecord) -> tuple[Pair, ...]:
    """Return the evidence that goes with the message: value, sigma, unit, limit, method, datum, baseline, digest."""
    evidence = alert.evidence
    method: Any = evidence.get("method") or {}
    window: Any = evidence.get("window") or {}
    stated = {
        "level": alert.level.word,
        "worstLevel": alert.peak_level.word,
        "state": alert.state.value,
        "alertIdentifier": alert.identifier,
        "rule": f"{alert.rule_code} version {alert.rule_version}",
        "datastream": alert.datastream or alert.scope,
        "quantity": evidence.get("quantity"),
        "value": evidence.get("value"),
        "sigma": evidence.get("sigma"),
        "unit": evidence.get("unit"),
        "limit": evidence.get("limit"),
        "limitSource": (evidence.get("limit_source") or evidence.get("rule") or {}).get("source"),
        "method": method.get("name"),
        "methodVersion": method.get("version"),
        "datum": evidence.get("datum"),
        "frame": evidence.get("frame"),
        "periodFrom": window.get("from"),
        "periodTo": window.get("to"),
        "baseline": (method.get("parameters") or {}).get("baseline"),
        "readSequence": evidence.get("read_seq"),
        "evidenceSha256": evidence.get("digest"),
        "announcedAgain": alert.memory.get("again"),
    }
    return tuple(Pair(name, str(value)) for name, value in stated.items() if value not in (None, ""))


def _headline(alert: AlertRecord, words: Description) -> dict[str, str]:
    again = alert.memory.get("again")
    if not again:
        return {"zh": words.headline_zh, "en": words.headline_en}
    return {
        "zh": f"（持续未处置，第 {again} 次重申）{words.headline_zh}",
        "en": f"(stands and is not acted on, announced again, {again}) {words.headline_en}",
    }


def payload_of(issuer: Issuer, subject: Subject, message: CapMessage) -> dict[str, Any]:
    """Return what a receiver gets, as plain JSON, with the CAP message inside."""
    alert = subject.alert
    words, simulated = _words(issuer, subject), is_simulated(issuer, subject)
    evidence: Mapping[str, Any] = alert.evidence
    return {
        "version": 1,
        "node": issuer.node,
        "message_type": message.message_type.value,
        "identifier": message.identifier,
        "sender": message.sender,
        "sent": message.sent.isoformat(),
        "references": message.reference_list.split(),
        "status": status_outside(alert, simulated=simulated).value,
        "alert": {
            "identifier": alert.identifier,
            "rule": alert.rule_code,
            "rule_version": alert.rule_version,
            "scope": alert.scope,
            "station": subject.station.code if subject.station else None,
            "datastream": subject.datastream.code if subject.datastream else None,
            "region": subject.station.region_code if subject.station else None,
            "state": alert.state.value,
            "level": alert.level.word,
            "peak_level": alert.peak_level.word,
            "onset": alert.onset.isoformat(),
            "ended": alert.ended.isoformat() if alert.ended else None,
            "confirmation": alert.confirmation.value,
            "value": evidence.get("value"),
            "sigma": evidence.get("sigma"),
            "unit": evidence.get("unit"),
            "limit": evidence.get("limit"),
            "evidence_sha256": evidence.get("digest"),
            "simulated": simulated,
        },
        "headline": _headline(alert, words),
        "explanation": {"zh": words.text_zh, "en": words.text_en},
        "cap": message.body,
        "gb35965": gb_message(message.body, event_code=issuer.event_code),
    }

"""An alert in words, Chinese and English: what was seen, against which limit, how sure, by which rule.

Said only from the recorded evidence; what is not recorded is not said. This file finishes with `explanation`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from domain.alert import AlertState, Confirmation, Verdict
from domain.alerting import AlertRecord, Rule
from domain.model import Station

_STATE = {
    AlertState.PENDING: ("待定", "pending"),
    AlertState.FIRING: ("生效", "firing"),
    AlertState.RESOLVED: ("已解除", "resolved"),
}
_CONFIRMATION = {
    Confirmation.NOT_NEEDED: ("", ""),
    Confirmation.AWAITED: ("尚待人工确认。", "It waits for a person's confirmation."),
    Confirmation.CONFIRMED: ("已由{who}确认。", "Confirmed by {who}."),
    Confirmation.REJECTED: ("已由{who}否定。", "Rejected by {who}."),
}


def headline(alert: AlertRecord, rule: Rule | None, station: Station | None) -> dict[str, str]:
    """Return one line a language: colour, rule, place."""
    rule_zh, rule_en = (rule.name_zh, rule.name_en) if rule is not None else (alert.rule_code, alert.rule_code)
    place_zh, place_en = (station.name_zh, station.name_en) if station is not None else (alert.scope, alert.scope)
    level = alert.peak_level if alert.state is AlertState.RESOLVED else alert.level
    return {"zh": f"{level.word_zh}色预警：{place_zh} {rule_zh}", "en": f"{level.word.capitalize()} alert: {place_en}, {rule_en}"}


def explanation(alert: AlertRecord, rule: Rule | None, station: Station | None, zone: str) -> dict[str, str]:
    """Return a few sentences a language that follow from the alert's evidence alone."""
    head = headline(alert, rule, station)
    evidence = alert.evidence
    value = _figure(evidence, "value")
    limit = _figure(evidence, "limit")
    sigma = _figure(evidence, "sigma")
    zh = [f"{head['zh']}（{_STATE[alert.state][0]}）。", f"始于{_local(alert.onset, zone)}。"]
    en = [f"{head['en']} ({_STATE[alert.state][1]}).", f"Since {_local(alert.onset, zone)} ({zone})."]
    if value:
        against_zh = f"，限值{limit}" if limit else ""
        against_en = f", limit {limit}" if limit else ""
        doubt_zh, doubt_en = (f"±{sigma}（1σ）", f" ± {sigma} (1 sigma)") if sigma else ("", "")
        zh.append(f"判定值{value}{doubt_zh}{against_zh}。")
        en.append(f"Value {value}{doubt_en}{against_en}.")
    window = _window(evidence, zone)
    if window:
        zh.append(f"数据窗口{window}。")
        en.append(f"Window {window}.")
    reason = evidence.get("reason")
    if reason:
        zh.append(f"判据：{reason}。")
        en.append(f"Ground: {reason}.")
    if alert.verdict is Verdict.CANNOT_TELL:
        zh.append("目前数据不足以判断，状态保持不变。")
        en.append("The data do not suffice to tell at present, so the state is kept.")
    if rule is not None:
        zh.append(f"规则{rule.code}第{alert.rule_version}版，依据：{rule.source}。")
        en.append(f"Rule {rule.code}, version {alert.rule_version}, after {rule.source}.")
    told_zh, told_en = _CONFIRMATION[alert.confirmation]
    zh.append(told_zh.format(who=alert.confirmed_by))
    en.append(told_en.format(who=alert.confirmed_by))
    if alert.acknowledged_by:
        zh.append(f"{alert.acknowledged_by}已签收。")
        en.append(f"Acknowledged by {alert.acknowledged_by}.")
    return {"zh": "".join(zh), "en": " ".join(part for part in en if part)}


def _figure(evidence: Mapping[str, Any], name: str) -> str | None:
    value = evidence.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    unit = evidence.get("unit")
    return f"{value:.4g} {unit}" if unit else f"{value:.4g}"


def _window(evidence: Mapping[str, Any], zone: str) -> str | None:
    window = evidence.get("window")
    if isinstance(window, Mapping):
        ends = [window.get("start"), window.get("end")]
    elif isinstance(window, list | tuple) and len(window) == 2:
        ends = list(window)
    else:
        return None
    if not all(isinstance(end, str) for end in ends):
        return None
    try:
        return " – ".join(_local(datetime.fromisoformat(str(end)), zone) for end in ends)
    except ValueError:
        return None


def _local(moment: datetime, zone: str) -> str:
    return f"{moment.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M}"

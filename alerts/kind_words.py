"""What the evidence of each kind of rule says beside value and limit, in Chinese and English. This file finishes with `told_by_kind`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from alerts.rules import definition_of
from domain.alerting import Rule

Lines = tuple[list[str], list[str]]
MOST_NAMED = 10
FINDING_WORDS: Mapping[str, tuple[str, str]] = {
    "step": ("突变", "step"),
    "spike": ("尖峰", "spike"),
    "level_shift": ("水平偏移", "shift of level"),
    "frozen": ("读数冻结", "frozen reading"),
    "drift": ("漂移", "drift"),
    "gap": ("缺测", "gap"),
    "rate_change": ("速率变化", "change of rate"),
    "closure": ("分层闭合差", "closure error"),
    "tamper": ("计量异常", "meter interfered with"),
    "common_mode": ("多点同步变动", "common motion of many marks"),
    "disagreement": ("方法不一致", "methods that disagree"),
    "inelastic": ("非弹性压缩", "inelastic compaction"),
    "distortion": ("角变形", "angular distortion"),
    "proximity": ("距离过近", "too close"),
}


def told_by_kind(rule: Rule, evidence: Mapping[str, Any], when: Callable[[str], str]) -> Lines:
    """Return the lines that a rule's kind adds; `when` words a stored time."""
    if evidence.get("findings"):
        return _findings(evidence["findings"], when)
    details: Mapping[str, Any] = evidence.get("details") or {}
    tell = _TELL.get(rule.kind)
    return ([], []) if tell is None or not details else tell(rule, evidence, details)


def _findings(findings: Sequence[Mapping[str, Any]], when: Callable[[str], str]) -> Lines:
    zh, en = [], []
    for item in findings[-MOST_NAMED:]:
        words = FINDING_WORDS.get(str(item["kind"]), (str(item["kind"]), str(item["kind"])))
        size = "" if item.get("size") is None else f"{item['size']:.4g}"
        spread = "" if item.get("sigma") is None or not size else f" ± {item['sigma']:.2g}"
        amount = f"{size}{spread} {item.get('unit') or ''}".strip()
        score = "" if item.get("score") is None else f"{item['score']:.3g}"
        since = when(item["start"])
        zh.append(
            f"{words[0]}（{item['method']}）自 {since}"
            + (f"，大小 {amount}" if amount else "")
            + (f"，得分 {score}" if score else "")
        )
        en.append(
            f"{words[1]} ({item['method']}) from {since}"
            + (f", size {amount}" if amount else "")
            + (f", score {score}" if score else "")
        )
        if item.get("members_total"):
            named = ", ".join(item["members"][:MOST_NAMED]) + (" ..." if item["members_total"] > MOST_NAMED else "")
            zh.append(f"涉及 {item['members_total']} 个数据流：{named}")
            en.append(f"{item['members_total']} datastreams share it: {named}")
    return [f"发现：{'；'.join(zh)}"], [f"Found: {'; '.join(en)}"]


def _quota(rule: Rule, evidence: Mapping[str, Any], details: Mapping[str, Any]) -> Lines:
    del rule
    licence = (evidence.get("licences") or [{}])[-1]
    code = licence.get("code", "-")
    if details.get("expired"):
        ended = licence.get("valid_to", "-")
        return [f"许可：{code}，有效期至 {ended}，此后仍在取水"], [f"Licence: {code}, valid until {ended}, water is still taken"]
    used, quota, percent = details.get("used_m3"), details.get("quota_m3"), details.get("used_percent")
    projected, gone = details.get("projected_m3"), details.get("days_gone")
    if used is None or quota is None or percent is None or projected is None or gone is None:
        return [], []
    return (
        [f"用水：许可 {code} 年度 {quota:,.0f} m³，{gone:.0f} 天已用 {used:,.0f} m³（{percent:.1f}%），预计全年 {projected:,.0f} m³"],
        [f"Use: licence {code} allows {quota:,.0f} m3 a year, {used:,.0f} m3 ({percent:.1f} %) taken in {gone:.0f} days, "
         f"{projected:,.0f} m3 projected"],
    )  # fmt: skip


def _reinjection(rule: Rule, evidence: Mapping[str, Any], details: Mapping[str, Any]) -> Lines:
    duty = next(
        (item["reinjection_ratio"] for item in reversed(evidence.get("licences") or []) if item.get("reinjection_ratio")), None
    )
    taken, back = details.get("taken_m3"), details.get("put_back_m3")
    if duty is None or taken is None or back is None:
        return [], []
    days = definition_of(rule).window.total_seconds() / 86400
    return (
        [f"回灌：{days:g} 天开采 {taken:,.0f} m³，回灌 {back:,.0f} m³；许可要求 {100 * duty:g}%"],
        [f"Put back: {back:,.0f} of {taken:,.0f} m3 in {days:g} days; the licence demands {100 * duty:g} %"],
    )


def _differential(rule: Rule, evidence: Mapping[str, Any], details: Mapping[str, Any]) -> Lines:
    del evidence
    begin, end = details.get("from_m"), details.get("to_m")
    if begin is None or end is None:
        return [], []
    named = {chainage: code for code, chainage in definition_of(rule).line}
    pair = f"{named.get(begin, '-')} — {named.get(end, '-')}"
    return [f"区段：{pair}，里程 {begin:g} 至 {end:g} m"], [f"Between: {pair}, chainage {begin:g} to {end:g} m"]


def _completeness(rule: Rule, evidence: Mapping[str, Any], details: Mapping[str, Any]) -> Lines:
    del evidence
    hours, count = definition_of(rule).window.total_seconds() / 3600, details.get("received")
    return ([], []) if count is None else (
        [f"到报：{hours:g} 小时内收到 {count:.0f} 个观测"], [f"Received: {count:.0f} observations in {hours:g} hours"]
    )  # fmt: skip


def _expression(rule: Rule, evidence: Mapping[str, Any], details: Mapping[str, Any]) -> Lines:
    del evidence
    definition = definition_of(rule)
    values = {name: details.get(f"input_{name}") for name, _, _ in definition.inputs}
    shown = ", ".join(f"{name} = {'-' if value is None else format(value, '.4g')}" for name, value in values.items())
    return [f"表达式：{definition.formula.text}（{shown}）"], [f"Expression: {definition.formula.text} ({shown})"]


_TELL: Mapping[str, Callable[[Rule, Mapping[str, Any], Mapping[str, Any]], Lines]] = {
    "quota": _quota,
    "reinjection": _reinjection,
    "differential": _differential,
    "completeness": _completeness,
    "expression": _expression,
}

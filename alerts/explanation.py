"""What people read of an alert, in Chinese and English: what, where, how much, which limit, how sure, since when, what to do, who does it.

This file finishes with `describe`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from alerts.kind_words import told_by_kind
from alerts.rules import definition_of
from domain.alert import AlertState, Confirmation, MessageStatus
from domain.alerting import AlertRecord, Rule
from domain.model import Datastream, Station

MOST_NAMED = 10
DAY_H, DAYS_FROM_H = 24.0, 72.0
BEIJING = ZoneInfo("Asia/Shanghai")
REASONS: dict[str, tuple[str, str]] = {
    "interim": ("观测时段不足，速率为临时值", "the record is short, the rate is interim"),
    "no_sigma": ("未给出中误差", "no standard error is known"),
    "not_significant": ("超过限值的幅度在误差之内", "the excess is within its standard error"),
    "worse_not_significant": (
        "估计值已达更高一级，但在误差之内，不予提级",
        "the estimate passes a worse limit too, but within its standard error, so the level is not raised",
    ),
    "stale": ("最新观测已过时，不能说明现状", "the newest observation is too old to speak of the present"),
    "unconfirmed": ("测站或数据流未经确认", "nobody has confirmed the station or the datastream yet"),
    "no_usable_value": ("最新观测不可用", "the newest observation is not usable"),
    "no_incidence_angle": (
        "缺少入射角，视线向不能换算为沉降",
        "no incidence angle: the line of sight says nothing of the vertical",
    ),
    "no_mean_rate": ("前五年数据不足", "too little data over the five years before"),
    "no_mean_sigma": ("前五年均值的中误差未知", "the error of the mean over the five years before is not known"),
    "no_forecast": ("没有可用的预测", "there is no forecast"),
    "beyond_horizon": ("预测期内不会达到", "not within the horizon of the forecast"),
    "no_limit": ("未登记限值", "no limit is registered"),
    "no_observation": ("没有观测", "there is no observation"),
    "never_live": (
        "数据入库时早已停测，从未实时接收",
        "the record had ended long before it was received, nobody ever expected to hear from it",
    ),
    "no_interval_or_no_observation": ("未登记观测间隔或没有观测", "no interval is declared or nothing was ever observed"),
    "unlike_unit": ("单位与规则不符", "the unit is unlike the rule's"),
    "no_run": ("尚无分析方法检视过该数据流", "no method of analysis has looked at it yet"),
    "not_analysed": ("数据不足，分析方法未能判断", "too little data: the method could not tell"),
    "size_unknown": ("发现的大小未知", "the size of the finding is not known"),
    "window_not_full": ("观测尚不满一个统计窗口", "the record does not fill a window yet"),
    "no_interval": ("未登记观测间隔", "no interval is declared"),
    "no_licence": ("未登记许可证", "no licence is registered"),
    "licence_expired": ("无有效许可而仍在取水", "water is taken without a licence in force"),
    "coverage": ("计量覆盖不足，未见到的水量未知", "the meter saw too little of the time, what it did not see is unknown"),
    "silent_meter": ("回灌计量中断，回灌量未知而非零", "the injection meter is silent: unknown, not zero"),
    "no_injection_meter": ("未登记回灌计量", "no injection meter is registered"),
    "data_error": ("回灌量大于开采量，数据有误", "more was put back than taken: a data error"),
    "input_missing": ("有输入数据缺失或过时", "an input is missing or too old"),
    "no_datastream": ("规则引用的数据流不存在", "a datastream that the rule names does not exist"),
    "no_displacement": ("高程须先换算为位移", "heights must be turned into displacements first"),
    "no_subsidence": ("该观测项不能换算为沉降", "the property cannot be turned into subsidence"),
}
_STATES = {
    AlertState.PENDING: ("待定", "pending"),
    AlertState.FIRING: ("持续中", "firing"),
    AlertState.RESOLVED: ("已解除", "resolved"),
}


@dataclass(frozen=True, slots=True)
class Description:
    """An alert in words."""

    headline_zh: str
    headline_en: str
    text_zh: str
    text_en: str


def describe(
    alert: AlertRecord,
    rule: Rule,
    station: Station | None,
    datastream: Datastream | None = None,
    *,
    zone: tzinfo = BEIJING,
    simulated: bool = False,
) -> Description:
    """Return the headline and the full explanation in both languages; `simulated` marks it even where the evidence does not."""
    words = _Words(alert, rule, station, datastream, zone, simulated=simulated or bool(alert.evidence.get("simulated")))
    return Description(words.headline_zh(), words.headline_en(), words.text_zh(), words.text_en())


class _Words:
    def __init__(
        self,
        alert: AlertRecord,
        rule: Rule,
        station: Station | None,
        datastream: Datastream | None,
        zone: tzinfo,
        *,
        simulated: bool,
    ) -> None:
        self.alert, self.rule, self.zone, self.simulated = alert, rule, zone, simulated
        self.evidence = alert.evidence
        self.action = definition_of(rule).action
        self.place_zh = station.name_zh if station else alert.station or alert.scope
        self.place_en = station.name_en if station else alert.station or alert.scope
        self.code = datastream.code if datastream else alert.scope

    def amount(self) -> str:
        value, unit = self.evidence.get("value"), self.evidence.get("unit") or ""
        if value is None:
            return "—"
        if unit == "h":
            return _duration(value, self._in_days())
        sigma = self.evidence.get("sigma")
        spread = f" ± {_spread(sigma)}" if sigma is not None else ""
        return f"{_figure(value)}{spread} {unit}".strip()

    def limit(self) -> str | None:
        limit, unit = self.evidence.get("limit"), self.evidence.get("unit") or ""
        if limit is None:
            return None
        return _duration(limit, self._in_days()) if unit == "h" else f"{limit:g} {unit}".strip()

    def _in_days(self) -> bool:
        """One unit for a silence and its limit: days where one is three days or more and the limit is not below a day, else hours."""
        stated = [hours for hours in (self.evidence.get("value"), self.evidence.get("limit")) if hours is not None]
        limit = self.evidence.get("limit")
        return max(stated, default=0.0) >= DAYS_FROM_H and (limit is None or limit >= DAY_H)

    def _mark(self) -> tuple[str, str]:
        if self.alert.status is not MessageStatus.ACTUAL:
            return "【演练】", "[EXERCISE] "
        return ("【模拟】", "[SIMULATED] ") if self.simulated else ("", "")

    def headline_zh(self) -> str:
        return f"{self._mark()[0]}{self.place_zh}：{self.rule.name_zh} {self.amount()}{self._standing()[0]}{self._outcome()[0]}"

    def headline_en(self) -> str:
        name = _lower_first(self.rule.name_en)
        return f"{self._mark()[1]}{self.place_en}: {name} {self.amount()}{self._standing()[1]}{self._outcome()[1]}"

    def _standing(self) -> tuple[str, str]:
        """Say how the value stands to the limit: beyond it, not yet back behind its clear limit, or within it again."""
        limit, value, bound = self.limit(), self.evidence.get("value"), self.evidence.get("limit")
        if limit is None or value is None or bound is None:
            return "", ""
        above = self.evidence.get("direction") != "below"
        colour_zh, colour_en = f"{self.alert.level.word_zh}色限值 {limit}", f"the {self.alert.level.word} limit of {limit}"
        if value >= bound if above else value <= bound:
            return f"，{'超过' if above else '低于'}{colour_zh}", f", {'above' if above else 'below'} {colour_en}"
        deadband = float(self.evidence.get("deadband") or 0.0)
        cleared = bound - deadband if above else bound + deadband
        if self.alert.state is AlertState.FIRING and (value >= cleared if above else value <= cleared):
            back = f"{cleared:g} {self.evidence.get('unit') or ''}".strip()
            return f"，{colour_zh}（尚未回到 {back}）", f", {colour_en} (not yet back behind {back})"
        return f"，已回到{colour_zh}以内", f", back within {colour_en}"

    def _outcome(self) -> tuple[str, str]:
        if self.alert.confirmation is Confirmation.REJECTED:
            return "（核实为误报）", " (found false)"
        if self.alert.memory.get("cancelled"):
            return "（已撤销：更正后的数据没有超限）", " (cancelled: the corrected data hold no breach)"
        if self.alert.state is AlertState.FIRING:
            return "", ""
        words = _STATES[self.alert.state]
        return f"（{words[0]}）", f" ({words[1]})"

    def text_zh(self) -> str:
        reason = _reason(self.evidence.get("reason"))[0]
        lines = [
            f"事项：{self.rule.name_zh}（{self.alert.level.word_zh}色，最高 {self.alert.peak_level.word_zh}色；{_STATES[self.alert.state][0]}）",
            f"地点：{self.place_zh}（{self.code}）",
            f"数值：{self.amount()}{self._observed()[0]}" + (f"；{reason}" if reason else ""),
            *self._compared()[0],
            f"限值：{self.limit() or '—'}；依据：{self._source()[0]}（规则 {self.rule.code} 第 {self.rule.version} 版）",
            f"可靠程度：{self._sure()[0]}",
            f"起始：{self._time(self.alert.onset)}" + (f"；结束：{self._time(self.alert.ended)}" if self.alert.ended else ""),
            f"方法：{self._method()[0]}",
            f"建议措施：{self.action.text_zh}",
            f"责任单位：{self._owner()[0]}",
        ]
        return "\n".join(lines)

    def text_en(self) -> str:
        reason = _reason(self.evidence.get("reason"))[1]
        alert = self.alert
        lines = [
            f"What: {self.rule.name_en} ({alert.level.word}, worst so far {alert.peak_level.word}; {_STATES[alert.state][1]})",
            f"Where: {self.place_en} ({self.code})",
            f"How much: {self.amount()}{self._observed()[1]}" + (f"; {reason}" if reason else ""),
            *self._compared()[1],
            f"Limit: {self.limit() or '-'}; source: {self._source()[1]} (rule {self.rule.code} version {self.rule.version})",
            f"How sure: {self._sure()[1]}",
            f"Since: {self._time(alert.onset)}" + (f"; until {self._time(alert.ended)}" if alert.ended else ""),
            f"Method: {self._method()[1]}",
            f"Proposed action: {self.action.text_en}",
            f"Who acts: {self._owner()[1]}",
        ]
        return "\n".join(lines)

    def _source(self) -> tuple[str, str]:
        """Say where the limit comes from: the register's own source of the version that held then, else the rule's."""
        stated = self.evidence.get("limit_source")
        if not stated:
            return self.rule.source, self.rule.source
        since = stated.get("effective_from")
        zh, en = (f"，{since} 起施行", f", in force since {since}") if since else ("", "")
        return f"{stated['source']}（{stated['code']}{zh}）", f"{stated['source']} ({stated['code']}{en})"

    def _owner(self) -> tuple[str, str]:
        """Name who acts: by the cause that analytics found where there is one, else by the rule."""
        cause = self.evidence.get("cause") or {}
        if not cause.get("owner_zh") or not cause.get("owner_en"):
            return self.action.owner_zh, self.action.owner_en
        depth = f"{cause.get('top_m')}–{cause.get('bottom_m')} m"
        source = f"; {cause['source']}" if cause.get("source") else ""
        return (
            f"{cause['owner_zh']}（成因：{cause.get('cause')}，主要压缩层 {depth}，水位 {cause.get('head')}{source}）",
            f"{cause['owner_en']} (cause: {cause.get('cause')}, leading layer {depth}, head {cause.get('head')}{source})",
        )

    def _observed(self) -> tuple[str, str]:
        """Say when the newest value is from: a yearly survey's may be months old."""
        at = self.evidence.get("at")
        if at is None or self.evidence.get("value") is None:
            return "", ""
        when = self._time(datetime.fromisoformat(at))
        return f"（截至 {when}）", f" (as of {when})"

    def _compared(self) -> tuple[list[str], list[str]]:
        """Say what an acceleration is measured against, which limit is ahead and when, or which datastreams are missing."""
        details = self.evidence.get("details") or {}
        own = told_by_kind(self.rule, self.evidence, lambda text: self._time(datetime.fromisoformat(text)))
        if own[0]:
            return own
        if "arrivals" in details:
            return self._missing(details["arrivals"])
        if "limit_code" in details:
            return self._ahead(str(details["limit_code"]), details.get("forecast") or {})
        mean, spread = details.get("mean_rate"), details.get("mean_rate_sigma")
        if mean is None or spread is None:
            return [], []
        definition, unit = definition_of(self.rule), self.evidence.get("unit") or ""
        amount = f"{_figure(mean)} ± {_spread(spread)} {unit}"
        ratio, years, sigmas = f"{definition.ratio:g}", f"{definition.years:g}", f"{definition.sigmas:g}"
        return (
            [f"比较：此前 {years} 年平均速率 {amount}；要求近十二个月速率扣除 {sigmas} 倍中误差后仍不小于其 {ratio} 倍"],
            [
                f"Compared: mean rate of the {years} years before {amount}; this year's must be {ratio} times that beyond {sigmas} sigma"
            ],
        )

    def _ahead(self, code: str, forecast: Mapping[str, Any]) -> tuple[list[str], list[str]]:
        if forecast.get("status") == "reached" or not forecast.get("time"):
            return [f"将及限值：{code}，现已达到"], [f"Limit ahead: {code}, reached already"]
        when = self._time(datetime.fromisoformat(str(forecast["time"])))[:10]
        return [f"将及限值：{code}，按趋势预计 {when} 达到"], [f"Limit ahead: {code}, by the trend reached on {when}"]

    def _missing(self, arrivals: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[str]]:
        """Name the datastreams that are beyond the mildest limit: often one meter is silent and the station is not."""
        at = datetime.fromisoformat(self.evidence["at"])
        mildest = min(self.evidence["limits"].values(), default=1.0)
        late = []
        for item in arrivals:
            last = datetime.fromisoformat(item["last_time"])
            if (at - last).total_seconds() >= mildest * item["interval_s"]:
                late.append((item["datastream"], self._time(last)))
        shown, more = late[:MOST_NAMED], len(late) > MOST_NAMED
        zh = "、".join(f"{code}（最后 {last}）" for code, last in shown) + ("等" if more else "")
        en = ", ".join(f"{code} (last {last})" for code, last in shown) + (", ..." if more else "")
        count = f"{len(late)}/{len(arrivals)}"
        return [f"中断的数据流（{count}）：{zh}"], [f"Missing ({count} datastreams): {en}"]

    def _sure(self) -> tuple[str, str]:
        confirmation = self.alert.confirmation
        person = self.alert.confirmed_by or ""
        if confirmation is Confirmation.CONFIRMED:
            return f"经 {person} 确认", f"confirmed by {person}"
        if confirmation is Confirmation.REJECTED:
            return f"经 {person} 核实为误报", f"rejected by {person}"
        sigma = self.evidence.get("sigma")
        spread = ("中误差未知", "no standard error")
        if self.rule.kind == "silence":
            spread = ("按时钟判定", "judged by the clock")
        if sigma is not None:
            spread = self._bound()
        if confirmation is Confirmation.AWAITED:
            return f"{spread[0]}；等待人工确认", f"{spread[1]}; waits for a person to confirm"
        return spread

    def _bound(self) -> tuple[str, str]:
        sigmas = float(getattr(definition_of(self.rule), "sigmas", 0.0))
        if not sigmas:
            return "中误差已知", "standard error known"
        return f"中误差已知，按 {sigmas:g} 倍中误差的界限判定", f"standard error known, judged by its {sigmas:g}-sigma bound"

    def _method(self) -> tuple[str, str]:
        method: Any = self.evidence.get("method")
        frame = self.evidence.get("datum") or self.evidence.get("frame")
        name = f"{method['name']} {method['version']}" if method else None
        return (
            (name or "直接观测") + (f"；基准 {frame}" if frame else ""),
            (name or "direct observation") + (f"; datum or frame {frame}" if frame else ""),
        )

    def _time(self, moment: datetime) -> str:
        local = moment.astimezone(self.zone).isoformat(timespec="minutes")
        return f"{local[:10]} {local[11:16]} UTC{local[16:]}"


def _figure(value: float) -> str:
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}".rstrip("0").rstrip(".") or "0"


def _duration(hours: float, in_days: bool) -> str:
    amount, unit = (hours / DAY_H, "d") if in_days else (hours, "h")
    return f"{amount:.2g} {unit}" if amount < 1 else f"{amount:.1f}".removesuffix(".0") + f" {unit}"


def _spread(sigma: float) -> str:
    return f"{sigma:.1f}" if sigma >= 1 else _figure(sigma)


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]


def _reason(code: str | None) -> tuple[str, str]:
    return REASONS.get(code or "", ("", ""))


def reason_words(code: str) -> tuple[str, str]:
    """Return why something could not be told, in Chinese and English; the code itself where no words are known."""
    return REASONS.get(code, (code, code))

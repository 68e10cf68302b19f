"""How good are the alarms? The metrics of ISA-18.2 / IEC 62682 over a period, and the share of false ones by rule.

Counts of what people were really told (exercises left out), compared with targets that are configuration with a source. Rates a day are
means over the whole period, so that quiet days count. This file finishes with `measure`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from domain.alert import Level
from domain.case import CaseVerdict
from domain.errors import ConfigurationError

TARGETS = Path(__file__).with_name("alarm_targets.yaml")
TEN_MINUTES = timedelta(minutes=10)
DAY = timedelta(days=1)
ENOUGH_FOR_TOP_TEN, ENOUGH_FOR_PRIORITIES = 100, 20
"""Below these numbers of alerts a share says nothing: ten of eleven sources are always the top ten."""
FALSE = frozenset({CaseVerdict.INSTRUMENT, CaseVerdict.MAINTENANCE, CaseVerdict.DUPLICATE})
"""What should not have called a person out. A natural change was real in the ground: it is counted apart, as no false alarm."""


@dataclass(frozen=True, slots=True)
class Targets:
    """What a good alarm system keeps to, and who says so."""

    source: str
    per_day_acceptable: float
    per_day_maximum: float
    per_10_min_acceptable: float
    flood_per_10_min: int
    flood_share_maximum: float
    stale_h: float
    stale_maximum: int
    chattering_count: int
    chattering_window_min: float
    top_ten_share_maximum: float
    priority_split: Mapping[str, float]
    priority_tolerance: float


@cache
def load_targets() -> Targets:
    """Return the shipped targets; ConfigurationError where the file lacks one."""
    content = yaml.safe_load(TARGETS.read_text(encoding="utf-8"))
    content.pop("effective_from", None)
    try:
        return Targets(**content)
    except TypeError as error:
        raise ConfigurationError(str(error), where=TARGETS.name, remedy="give every target once") from error


@dataclass(frozen=True, slots=True)
class Episode:
    """One alert as the metrics see it. `verdict` is what people found it to be, None while nobody said."""

    identifier: str
    rule_code: str
    scope: str
    peak: Level
    opened_at: datetime
    ended_at: datetime | None = None
    acknowledged_at: datetime | None = None
    fired: tuple[datetime, ...] = ()
    verdict: CaseVerdict | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """One message that a receiver was sent."""

    receiver: str
    at: datetime
    delivered_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ReceiverLoad:
    """What one receiver was told in the period."""

    receiver: str
    notices: int
    per_day: float
    worst_10_min: int
    flood_share: float
    delivery_s_median: float | None
    grade: str


@dataclass(frozen=True, slots=True)
class RuleQuality:
    """How one rule did: verdicts given, and the false share among them (None while nobody said anything)."""

    rule_code: str
    alerts: int
    judged: int
    false: int
    natural: int
    false_share: float | None


@dataclass(frozen=True, slots=True)
class AlarmQuality:
    """The metrics of a period."""

    start: datetime
    end: datetime
    days: float
    alerts: int
    per_day: float
    receivers: tuple[ReceiverLoad, ...]
    standing: int
    stale: tuple[str, ...]
    chattering: tuple[str, ...]
    top_ten: tuple[tuple[str, int], ...]
    top_ten_share: float | None
    priorities: Mapping[str, float]
    acknowledge_median_s: float | None
    acknowledge_p95_s: float | None
    unacknowledged: int
    rules: tuple[RuleQuality, ...]
    remarks: tuple[str, ...] = field(default=())


def measure(
    episodes: Sequence[Episode], notices: Sequence[Notice], start: datetime, end: datetime, targets: Targets
) -> AlarmQuality:
    """Return the metrics of `start` <= t < `end`.

    Parameters
    ----------
    episodes
        Alerts that stood at any time in the period; those opened before it count as standing, not as new.
    notices
        Messages sent in the period.
    end
        Also the moment at which standing and stale are judged.
    """
    days = (end - start) / DAY
    new = [item for item in episodes if start <= item.opened_at < end]
    standing = [item for item in episodes if item.opened_at < end and (item.ended_at is None or item.ended_at >= end)]
    stale = tuple(sorted(item.identifier for item in standing if end - item.opened_at > timedelta(hours=targets.stale_h)))
    waits = sorted((item.acknowledged_at - item.opened_at).total_seconds() for item in new if item.acknowledged_at is not None)
    top, share = _top_ten(new)
    quality = AlarmQuality(
        start=start,
        end=end,
        days=days,
        alerts=len(new),
        per_day=len(new) / days if days > 0 else 0.0,
        receivers=_receivers(notices, start, end, targets),
        standing=len(standing),
        stale=stale,
        chattering=_chattering(episodes, start, end, targets),
        top_ten=top,
        top_ten_share=share,
        priorities=_priorities(new),
        acknowledge_median_s=median(waits) if waits else None,
        acknowledge_p95_s=_quantile(waits, 0.95),
        unacknowledged=sum(item.acknowledged_at is None for item in new),
        rules=_rules(new),
    )
    return _with_remarks(quality, targets)


def _receivers(notices: Iterable[Notice], start: datetime, end: datetime, targets: Targets) -> tuple[ReceiverLoad, ...]:
    told: dict[str, list[Notice]] = defaultdict(list)
    for notice in notices:
        if start <= notice.at < end:
            told[notice.receiver].append(notice)
    return tuple(_load(receiver, found, start, end, targets) for receiver, found in sorted(told.items()))


def _load(receiver: str, notices: Sequence[Notice], start: datetime, end: datetime, targets: Targets) -> ReceiverLoad:
    times = sorted(notice.at for notice in notices)
    windows = Counter((moment - start) // TEN_MINUTES for moment in times)
    flooded = sum(count > targets.flood_per_10_min for count in windows.values())
    per_day = len(times) / max((end - start) / DAY, 1e-9)
    delays = [(item.delivered_at - item.at).total_seconds() for item in notices if item.delivered_at is not None]
    return ReceiverLoad(
        receiver,
        len(times),
        per_day,
        _most_within(times, TEN_MINUTES),
        flooded / max(1, -((start - end) // TEN_MINUTES)),
        median(delays) if delays else None,
        grade_of(per_day, targets),
    )


def grade_of(per_day: float, targets: Targets) -> str:
    """Return `acceptable`, `manageable` or `overloaded` for a load a day and person."""
    if per_day <= targets.per_day_acceptable:
        return "acceptable"
    return "manageable" if per_day <= targets.per_day_maximum else "overloaded"


def _most_within(times: Sequence[datetime], width: timedelta) -> int:
    """Return the most events in any window of a width, wherever it begins."""
    most = first = 0
    for last, moment in enumerate(times):
        while moment - times[first] >= width:
            first += 1
        most = max(most, last - first + 1)
    return most


def _chattering(episodes: Sequence[Episode], start: datetime, end: datetime, targets: Targets) -> tuple[str, ...]:
    """Return the rule and scope of everything that fired too often within the window, over all its episodes."""
    fired: dict[tuple[str, str], list[datetime]] = defaultdict(list)
    for item in episodes:
        fired[item.rule_code, item.scope] += [moment for moment in item.fired or (item.opened_at,) if start <= moment < end]
    width = timedelta(minutes=targets.chattering_window_min)
    return tuple(
        f"{rule} {scope}"
        for (rule, scope), times in sorted(fired.items())
        if _most_within(sorted(times), width) >= targets.chattering_count
    )


def _top_ten(new: Sequence[Episode]) -> tuple[tuple[tuple[str, int], ...], float | None]:
    counted = Counter(f"{item.rule_code} {item.scope}" for item in new)
    top = tuple(sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))[:10])
    return top, sum(count for _, count in top) / len(new) if new else None


def _priorities(new: Sequence[Episode]) -> dict[str, float]:
    if not new:
        return {}
    names = {Level.RED: "high", Level.ORANGE: "medium"}
    counted = Counter(names.get(item.peak, "low") for item in new)
    return {name: counted[name] / len(new) for name in ("low", "medium", "high")}


def _rules(new: Sequence[Episode]) -> tuple[RuleQuality, ...]:
    by_rule: dict[str, list[Episode]] = defaultdict(list)
    for item in new:
        by_rule[item.rule_code].append(item)
    return tuple(_rule(code, found) for code, found in sorted(by_rule.items()))


def _rule(code: str, found: Sequence[Episode]) -> RuleQuality:
    verdicts = [item.verdict for item in found if item.verdict is not None]
    false = sum(verdict in FALSE for verdict in verdicts)
    natural = verdicts.count(CaseVerdict.NATURAL)
    return RuleQuality(code, len(found), len(verdicts), false, natural, false / len(verdicts) if verdicts else None)


def _quantile(ordered: Sequence[float], share: float) -> float | None:
    """Return the smallest value that at least `share` of the ordered values do not exceed."""
    if not ordered:
        return None
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]


def _with_remarks(quality: AlarmQuality, targets: Targets) -> AlarmQuality:
    remarks = [f"overload:{item.receiver}" for item in quality.receivers if item.grade == "overloaded"]
    remarks += [f"flood:{item.receiver}" for item in quality.receivers if item.flood_share > targets.flood_share_maximum]
    if len(quality.stale) > targets.stale_maximum:
        remarks.append("stale")
    remarks += [f"chattering:{name}" for name in quality.chattering]
    if (
        quality.top_ten_share is not None
        and quality.alerts >= ENOUGH_FOR_TOP_TEN
        and quality.top_ten_share > targets.top_ten_share_maximum
    ):
        remarks.append("top_ten")
    for name, share in quality.priorities.items():
        if quality.alerts >= ENOUGH_FOR_PRIORITIES and abs(share - targets.priority_split[name]) > targets.priority_tolerance:
            remarks.append(f"priority:{name}")
    return replace(quality, remarks=tuple(remarks))


def to_json(quality: AlarmQuality, targets: Targets) -> dict[str, Any]:
    """Return plain values with the targets beside them."""
    return {
        **asdict(quality),
        "top_ten": [{"what": what, "alerts": n} for what, n in quality.top_ten],
        "targets": asdict(targets),
    }

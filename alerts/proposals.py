"""What people's verdicts teach about a rule: changes that would have spared false alarms and lost no real one. Proposed, never applied.

Each candidate is replayed over history by the same code as a dry run; only one that keeps every episode that people called real (or natural:
the ground did move) and spares some that they called false is told. This file finishes with `propose`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from alerts.alarm_quality import FALSE
from alerts.dry_run import DryRun, dry_run
from alerts.rules import definition_of, parse_rule, rule_as_mapping
from alerts.would_fire import Bench, WouldFire
from domain.alerting import Rule
from domain.case import CaseVerdict
from domain.errors import InputError

HOLDS = (("PT1H", timedelta(hours=1)), ("PT6H", timedelta(hours=6)), ("P1D", timedelta(days=1)), ("P3D", timedelta(days=3)))
SHIFTS = (0.05, 0.1, 0.2)
WIDENINGS = (2.0, 4.0)
FEWEST_JUDGED = 3
"""With fewer verdicts a pattern is luck."""


@dataclass(frozen=True, slots=True)
class Judged:
    """An episode and what people found it to be."""

    scope: str
    onset: datetime
    ended: datetime | None
    verdict: CaseVerdict


@dataclass(frozen=True, slots=True)
class Proposal:
    """One change of a rule and what it would have done over the judged past."""

    change: Mapping[str, Any]
    reason: str
    false_spared: int
    false_total: int
    real_kept: int
    alerts_before: int
    alerts_after: int


def candidates(rule: Rule) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give changes worth trying, the mildest first: a longer hold, a wider deadband, limits a little further out."""
    definition = dict(rule.definition)
    hold = getattr(getattr(definition_of(rule), "policy", None), "hold", None)
    if hold is not None:
        yield from ((f"hold {text}", {"hold": text}) for text, length in HOLDS if length > hold)
    deadband = definition.get("deadband")
    if isinstance(deadband, int | float) and deadband > 0:
        yield from ((f"deadband x {factor:g}", {"deadband": deadband * factor}) for factor in WIDENINGS)
    levels = definition.get("levels")
    if isinstance(levels, Mapping) and all(isinstance(value, int | float) for value in levels.values()):
        outward = 1.0 if getattr(getattr(definition_of(rule), "ladder", None), "above", True) else -1.0
        for share in SHIFTS:
            moved = {name: round(value + outward * share * abs(value), 10) for name, value in levels.items()}
            yield f"levels {share:+.0%}", {"levels": moved}


def propose(
    rule: Rule, judged: Sequence[Judged], bench: Bench, start: datetime, end: datetime, now: datetime
) -> tuple[Proposal, ...]:
    """Try the candidates over `start` <= onset < `end` and return those that help, the one that spares most first.

    Returns
    -------
    tuple[Proposal, ...]
        Empty where fewer than three episodes were judged, nothing was false, or no candidate spares a false alarm without losing a real
        one.
    """
    bench = replace(bench, receivers=(), others=())  # what counts here is the rule's own episodes
    past = [item for item in judged if start <= item.onset < end]
    false = [item for item in past if item.verdict in FALSE]
    real = [item for item in past if item.verdict not in FALSE]
    if len(past) < FEWEST_JUDGED or not false:
        return ()
    before = len(dry_run(rule, bench, start, end, now).episodes)
    found = []
    for words, change in candidates(rule):
        tried = _tried(rule, change, bench, start, end, now)
        if tried is None or not all(_fires(item, tried.episodes) for item in real):
            continue
        spared = sum(not _fires(item, tried.episodes) for item in false)
        if spared:
            found.append(Proposal(change, words, spared, len(false), len(real), before, len(tried.episodes)))
    return tuple(sorted(found, key=lambda item: -item.false_spared))


def _tried(rule: Rule, change: Mapping[str, Any], bench: Bench, start: datetime, end: datetime, now: datetime) -> DryRun | None:
    """Replay the changed rule; None where this kind of rule does not take the change."""
    try:
        changed = parse_rule({**rule_as_mapping(rule), **change})
    except InputError:
        return None
    return dry_run(changed, bench, start, end, now)


def _fires(judged: Judged, episodes: Sequence[WouldFire]) -> bool:
    """Would an alert have stood on that scope at any time of the judged episode?"""
    return any(
        item.scope == judged.scope
        and (judged.ended is None or item.onset <= judged.ended)
        and (item.ended is None or judged.onset <= item.ended)
        for item in episodes
    )

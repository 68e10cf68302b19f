"""Rules and policy as people change them: checked, tried over history, held to the alarm budget, kept in versions.

The API, the command line and the dashboard go through here. This file finishes with `coverage_of`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from alerts.alarm_quality import load_targets
from alerts.catalogue import Catalogue
from alerts.coverage import Coverage, Span, blind_spans
from alerts.dry_run import DryRun, as_json, dry_run
from alerts.policy import parse_policy, policy_in_force, shipped_content
from alerts.proposals import FEWEST_JUDGED, Judged, propose
from alerts.replay import Replay
from alerts.rules import parse_rule, rule_as_mapping
from alerts.rules.context import usable
from alerts.would_fire import Bench
from domain.alerting import Rule
from domain.errors import ConflictError, NotFoundError
from domain.model import Station

PAGE = 1000
SERVER_SET = ("version", "author", "recorded_at")


class RuleDesk:
    """What can be done with rules.

    Parameters
    ----------
    container
        The stores, the engine and the clock.
    """

    def __init__(self, container: Any) -> None:
        self._container = container

    def read(self, content: Mapping[str, Any], actor: str) -> Rule:
        """Return the rule that a mapping describes; `InputError` names the field that is wrong."""
        stated = {name: value for name, value in content.items() if name not in SERVER_SET}
        inner = stated.pop("definition", None)
        return parse_rule({**(inner if isinstance(inner, Mapping) else {}), **stated}, author=actor)

    def found(self, code: str) -> Rule:
        """Return the newest version of a rule; NotFoundError."""
        rule: Rule | None = self._container.alerts.rule(code)
        if rule is None:
            raise NotFoundError(f"there is no rule {code}.", where="code", remedy="list the rules")
        return rule

    def add(self, rule: Rule) -> Rule:
        """Store a new rule; ConflictError where its code is taken."""
        if self._container.alerts.rule(rule.code) is not None:
            raise ConflictError(f"there is a rule {rule.code} already.", where="code", remedy="change it, or choose another code")
        return self.save(rule)

    def change(self, code: str, changes: Mapping[str, Any], actor: str) -> Rule:
        """Store a new version with some fields changed; None takes a field away. The reason of the version before does not carry over."""
        content = {**rule_as_mapping(self.found(code)), "reason": "", **changes, "code": code}
        return self.save(self.read({name: value for name, value in content.items() if value is not None}, actor))

    def save(self, rule: Rule) -> Rule:
        """Store a version; one that is enabled is tried over history first.

        Raises
        ------
        ConflictError
            Where the trial goes over the alarm budget and no `reason` is named.
        """
        self._refuse_over_budget(rule, None)
        stored: Rule = self._container.alerts.save_rule(rule, now=self._container.clock())
        return stored

    def check_folder(self, rules: Sequence[Rule]) -> None:
        """Hold the rules of a configuration folder to the alarm budget, as a whole, before any is stored; ConflictError."""
        others = [rule for rule in rules if rule.enabled]
        for rule in rules:
            self._refuse_over_budget(rule, others)

    def _refuse_over_budget(self, rule: Rule, others: Sequence[Rule] | None) -> None:
        before = self._container.alerts.rule(rule.code)
        is_news = before is None or not before.enabled or _judges(before) != _judges(rule)
        if not rule.enabled or rule.reason or not is_news:
            return
        answer = self.try_out(rule, others=others)
        over = [f"{load.receiver}: {said}" for load in answer.loads for said in load.over]
        if over:
            raise ConflictError(
                f"the rule goes over the alarm budget ({'; '.join(over)}), with the {answer.rules - 1} others that are on.",
                where=f"rule {rule.code}",
                remedy="narrow its scope or raise its limits after a dry run, or name a reason",
            )

    def try_out(
        self, rule: Rule, start: datetime | None = None, end: datetime | None = None, *, others: Sequence[Rule] | None = None
    ) -> DryRun:
        """Replay a rule over history (the budget's window when no span is given), compared with the version in force.

        `others` stand for the rules that are on.
        """
        container = self._container
        now: datetime = container.clock()
        last = min(end or now, now)
        first = start or last - policy_in_force(container.alerts).budget_window
        current = container.alerts.rule(rule.code)
        against = current if current is not None and current.kind == rule.kind else None
        return dry_run(rule, self._bench(others), first, last, now, against=against)

    def propose(self, code: str) -> dict[str, Any]:
        """Return what people's verdicts suggest about a rule, tried over the budget's window; nothing is changed."""
        rule, container = self.found(code), self._container
        now: datetime = container.clock()
        start = now - policy_in_force(container.alerts).budget_window
        judged = [Judged(*row) for row in container.alarm_quality.judged(code)]
        found = propose(rule, judged, self._bench(), start, now, now)
        return {
            "rule": code,
            "version": rule.version,
            "from": start,
            "to": now,
            "judged": len(judged),
            "fewest_judged": FEWEST_JUDGED,
            "proposals": [asdict(item) for item in found],
        }

    def _bench(self, others: Sequence[Rule] | None = None) -> Bench:
        container = self._container
        node = container.registers.node()
        zone = ZoneInfo(node.zone if node else "Asia/Shanghai")
        return Bench(
            observations=container.observations,
            registers=container.registers,
            replay=Replay(container.observations, container.registers, container.analyses, zone),
            receivers=container.alerts.receivers(),
            targets=load_targets(),
            zone=zone,
            read_seq=container.alerts.current_seq(),
            policy=policy_in_force(container.alerts),
            silences=container.alerts.silences(),
            others=Catalogue(container.alerts.rules() if others is None else others).sound,
        )

    def tried(self, rule: Rule, start: datetime | None = None, end: datetime | None = None) -> dict[str, Any]:
        """Return the answer of `try_out` as plain JSON."""
        return as_json(self.try_out(rule, start, end), load_targets())

    def policy(self) -> dict[str, Any]:
        """Return the policy in force with its version (0 = as shipped)."""
        stored = self._container.alerts.policy()
        if stored is None:
            return {"version": 0, "author": "shipped", "reason": "", "recorded_at": None, "content": shipped_content()}
        content = {**shipped_content(), **stored.content}
        return {
            "version": stored.version,
            "author": stored.author,
            "reason": stored.reason,
            "recorded_at": stored.recorded_at,
            "content": content,
        }

    def set_policy(self, content: Mapping[str, Any], reason: str, actor: str) -> dict[str, Any]:
        """Store a new version of the policy; `InputError` names what is wrong with it."""
        parse_policy(content)
        self._container.alerts.save_policy(content, author=actor, reason=reason, now=self._container.clock())
        return self.policy()


def _judges(rule: Rule) -> tuple[Any, ...]:
    return (rule.kind, dict(rule.definition), rule.effective_from)


def rule_json(rule: Rule) -> dict[str, Any]:
    """Return a stored rule as people see it."""
    return {
        "code": rule.code,
        "version": rule.version,
        "kind": rule.kind,
        "name_zh": rule.name_zh,
        "name_en": rule.name_en,
        "definition": dict(rule.definition),
        "source": rule.source,
        "effective_from": rule.effective_from,
        "enabled": rule.enabled,
        "author": rule.author,
        "reason": rule.reason,
        "recorded_at": rule.recorded_at,
    }


def disabled(rule: Rule, actor: str, reason: str) -> Rule:
    """Return the version of a rule that is switched off."""
    return replace(rule, enabled=False, author=actor, reason=reason)


def coverage_of(container: Any, station: Station, start: datetime, end: datetime) -> Coverage:
    """Return what was seen of a station, over the datastreams that an enabled rule watches."""
    catalogue = Catalogue(container.alerts.rules())
    events = container.registers.events(station.code)
    blind: list[tuple[str, tuple[Span, ...]]] = []
    unknown: list[str] = []
    for datastream in container.registers.list_datastreams(station=station.code, limit=PAGE):
        if datastream.derivation is not None or not catalogue.about(datastream, station):
            continue
        if not datastream.interval_s:
            unknown.append(datastream.code)
            continue
        interval = timedelta(seconds=datastream.interval_s)
        series = container.observations.series(datastream.datastream_id, start - 3 * interval, end)
        seen = series.time[usable(series, [event for event in events if event.datastream in (None, datastream.code)])]
        blind.append((datastream.code, tuple(blind_spans(seen, interval, start, end))))
    return Coverage(station.code, start, end, tuple(blind), tuple(unknown))

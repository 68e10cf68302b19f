"""`rule dry-run`, `rule policy` and `alert list|show|ack|confirm|reject|shelve|unshelve|cannot-tell|blind`. This file finishes with `alert`."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import yaml

from alerts.explanation import describe, reason_words
from alerts.rules import rule_as_mapping
from alerts.store import AlertFilter
from domain.alert import AlertState, Verdict, level_of
from domain.alerting import AlertRecord
from domain.errors import InputError, NotFoundError, RequestError
from service.bootstrap import Container
from service.commands.output import emit, say
from service.commands.registers import actor
from service.rule_desk import RuleDesk, coverage_of
from service.settings import load_settings
from service.standing import standing_of

PAGE = 1000
_SHORT = re.compile(r"^(\d+)([hd])$")


def dry_run(arguments: argparse.Namespace) -> int:
    """Try a rule (a YAML file, or the code of a stored one) over history; exit 1 where it goes over the alarm budget."""
    with Container(load_settings({"home": arguments.home})) as container:
        desk = RuleDesk(container)
        rules = [desk.read(entry, actor()) for entry in _rules_in(desk, arguments.rule)]
        start, end = (_time(text, name) for text, name in ((arguments.start, "--from"), (arguments.end, "--to")))
        answers = [desk.tried(rule, start, end) for rule in rules]
    for answer in answers:
        emit(answer) if arguments.json else _say_trial(answer)
    return 0 if all(answer["ok"] for answer in answers) else 1


def _rules_in(desk: RuleDesk, named: str) -> list[Mapping[str, Any]]:
    path = Path(named)
    if not path.exists():
        return [rule_as_mapping(desk.found(named))]
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise InputError(f"cannot be read: {error}.", where=str(path), remedy="compare with alerts/default_rules.yaml") from error
    entries = content.get("rules", [content]) if isinstance(content, Mapping) else content
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, Mapping) for entry in entries):
        raise InputError("is no rule and no list of rules.", where=str(path), remedy="compare with alerts/default_rules.yaml")
    return entries


def _time(text: str | None, name: str) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise RequestError(f"{text!r} is no time with offset.", where=name, remedy=f"e.g. {name} 2025-01-01T00:00:00+08:00")
    return moment


def _say_trial(answer: Mapping[str, Any]) -> None:
    say(f"{answer['rule']}: {answer['summary']['en']}" + (f" ({answer['note']})" if answer["note"] else ""))
    say(f"  {answer['summary']['zh']}")
    for item in answer["episodes"]:
        wait = ", waits for a person" if item["waits_for_person"] else ""
        say(f"  {item['onset'][:16]}Z  {item['level']:7}  {item['scope']}  until {(item['ended'] or 'now')[:16]}{wait}")
    for load in answer["receivers"]:
        over = f"  OVER THE BUDGET: {'; '.join(load['over'])}" if load["over"] else ""
        held = "".join(f", {n} {why}" for why, n in load["held"].items())
        say(
            f"  {load['receiver']}: {load['alerts']} announcements by all {answer['budget']['rules']} rules ({load['of_rule']} of this one, "
            f"{load['before']} without it{held}), {load['mean_per_day']:.2f} a day, at most {load['worst_day_alerts']}{over}"
        )
    if answer["cannot_tell_total"]:
        say(f"  cannot tell: {answer['cannot_tell_total']} scopes")
    if "compared" in answer:
        told = answer["compared"]
        counts = f"{len(told['added'])} new, {len(told['removed'])} gone, {len(told['changed'])} changed, {told['kept']} the same"
        say(f"  against version {told['version']}: {counts}")
    say(f"  limits: {answer['budget']['source']}")


def policy(arguments: argparse.Namespace) -> int:
    """Print what holds messages back, or store a new version from a YAML file."""
    with Container(load_settings({"home": arguments.home})) as container:
        desk = RuleDesk(container)
        if arguments.file is None:
            answer = desk.policy()
        else:
            content = yaml.safe_load(Path(arguments.file).read_text(encoding="utf-8"))
            if not isinstance(content, Mapping):
                raise InputError("is no mapping.", where=arguments.file, remedy="compare with alerts/default_policy.yaml")
            answer = desk.set_policy(content, arguments.reason or "", actor())
            container.access.audit_append(actor(), "set alert policy", str(answer["version"]), {"reason": arguments.reason or ""})
    if arguments.json:
        emit(answer)
    else:
        say(
            f"# version {answer['version']} by {answer['author']}\n"
            + yaml.safe_dump(answer["content"], allow_unicode=True, sort_keys=False)
        )
    return 0


def alert(arguments: argparse.Namespace) -> int:
    """List alerts, show one, or act on one by name."""
    with Container(load_settings({"home": arguments.home})) as container:
        ACTIONS[arguments.action](container, arguments)
    return 0


def _list(container: Container, arguments: argparse.Namespace) -> None:
    states = () if arguments.state == "all" else (AlertState(arguments.state),)
    levels = tuple(level_of(word) for word in arguments.level or ())
    wanted = AlertFilter(states=states, levels=levels, rule_code=arguments.rule, station=arguments.station)
    after: str | None = None
    while True:
        page, after = container.alerts.list_alerts(wanted, after=after, limit=PAGE)
        for found in page:
            emit(_entry(found)) if arguments.json else say(_line(found))
        if after is None:
            return


def _entry(found: AlertRecord) -> dict[str, Any]:
    return {
        "id": found.alert_id, "identifier": found.identifier, "rule": found.rule_code, "rule_version": found.rule_version,
        "scope": found.scope, "station": found.station, "state": found.state, "level": found.level.word,
        "peak_level": found.peak_level.word, "onset": found.onset, "ended": found.ended, "confirmation": found.confirmation,
        "verdict": found.verdict, "acknowledged_by": found.acknowledged_by, "confirmed_by": found.confirmed_by,
        "status": found.status, "shelved": found.memory.get("shelved"), "held": found.memory.get("held"),
    }  # fmt: skip


def _line(found: AlertRecord) -> str:
    marks = [
        "awaits a person" if found.confirmation == "awaited" else "",
        f"acknowledged by {found.acknowledged_by}" if found.acknowledged_by else "",
        f"held: {found.memory['held']}" if found.memory.get("held") else "",
        "shelved" if found.memory.get("shelved") else "",
    ]
    told = ", ".join(mark for mark in marks if mark)
    stands = f"{found.alert_id}  {found.level.word:7}  {found.state.value:8}  {found.onset:%Y-%m-%d %H:%M}Z"
    return f"{stands}  {found.rule_code}  {found.scope}  {told}".rstrip()


def _show(container: Container, arguments: argparse.Namespace) -> None:
    found = _found(container, arguments.alert)
    rule = container.alerts.rule(found.rule_code, found.rule_version)
    station = container.registers.station(found.station) if found.station else None
    datastream = container.registers.datastream(found.datastream) if found.datastream else None
    node = container.registers.node()
    words = describe(found, rule, station, datastream, zone=ZoneInfo(node.zone if node else "Asia/Shanghai")) if rule else None
    steps = container.alerts.transitions(found.alert_id or 0)
    stands = standing_of(container, found, rule) if rule else None
    if arguments.json:
        emit({
            **_entry(found), "evidence": found.evidence, "transitions": steps, "standing": stands,
            "explanation": {"zh": words.text_zh, "en": words.text_en} if words else None,
        })  # fmt: skip
        return
    if words is not None:
        say(words.headline_zh)
        say(words.headline_en)
        say(words.text_zh if arguments.lang == "zh" else words.text_en)
    if stands is not None and stands.value is not None and stands.at is not None:
        worst = f", worst {stands.worst:g} at {stands.worst_at:%Y-%m-%d %H:%M}Z" if stands.worst is not None else ""
        say(f"  newest {stands.value:g} {stands.unit or ''} at {stands.at:%Y-%m-%d %H:%M}Z{worst}")
    for step in steps:
        say(f"  {step.recorded_at:%Y-%m-%d %H:%M:%S}Z  {step.kind}  {step.actor}  {step.reason}")


def _found(container: Container, key: str) -> AlertRecord:
    found: AlertRecord | None = container.alerts.find_alert(int(key) if key.isdigit() and len(key) < 19 else key)
    if found is None:
        raise NotFoundError(f"there is no alert {key}.", remedy="list them: groundwatch alert list --state all")
    return found


def _act(name: str) -> Callable[[Container, argparse.Namespace], None]:
    def act(container: Container, arguments: argparse.Namespace) -> None:
        found = _found(container, arguments.alert)
        decide = getattr(container.engine, name)
        after = decide(found.alert_id, arguments.who or actor(), arguments.note, container.clock())
        emit(_entry(after)) if arguments.json else say(_line(after))

    return act


def _shelve(container: Container, arguments: argparse.Namespace) -> None:
    found, now = _found(container, arguments.alert), container.clock()
    short = _SHORT.match(arguments.until)
    until = (
        now + timedelta(**{{"h": "hours", "d": "days"}[short[2]]: int(short[1])}) if short else _time(arguments.until, "--until")
    )
    assert until is not None
    after = container.engine.shelve(found.alert_id or 0, arguments.who or actor(), arguments.reason, until, now)
    emit(_entry(after)) if arguments.json else say(_line(after))


def _cannot_tell(container: Container, arguments: argparse.Namespace) -> None:
    enabled = {rule.code for rule in container.alerts.rules()}
    for state in container.alerts.rule_states(verdict=Verdict.CANNOT_TELL.value):
        if state.rule_code not in enabled:
            continue
        zh, en = reason_words(state.reason)
        entry = {"rule": state.rule_code, "scope": state.scope, "reason": state.reason, "event_time": state.event_time}
        emit({**entry, "reason_zh": zh, "reason_en": en}) if arguments.json else say(
            f"{state.rule_code}  {state.scope}  {zh} / {en}"
        )


def _blind(container: Container, arguments: argparse.Namespace) -> None:
    end = container.clock()
    after: str | None = None
    while page := container.registers.list_stations(after=after, limit=PAGE):
        for station in page:
            seen = coverage_of(container, station, end - timedelta(days=arguments.days), end)
            if not seen.blind and not seen.unknown:
                continue
            entry = {
                "station": station.code,
                "blind_h": round(seen.blind_h, 2),
                "standing": seen.standing,
                "blind_now": list(seen.blind_now),
            }
            emit(entry) if arguments.json else say("  ".join(f"{name}={value}" for name, value in entry.items()))
        after = page[-1].code


ACTIONS: dict[str, Callable[[Container, argparse.Namespace], None]] = {
    "list": _list,
    "show": _show,
    "ack": _act("acknowledge"),
    "confirm": _act("confirm"),
    "reject": _act("reject"),
    "shelve": _shelve,
    "unshelve": _act("unshelve"),
    "cannot-tell": _cannot_tell,
    "blind": _blind,
}

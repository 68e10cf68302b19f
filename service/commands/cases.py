"""`case list|show|ledger`, `silence list|add|end` and `receiver list|test`: what a duty officer asks at a terminal.

This file finishes with `receiver`.
"""

from __future__ import annotations

import argparse
from datetime import datetime
from pathlib import Path

from domain.errors import InputError, NotFoundError, RequestError
from service.api.routers.cases import case_json, make_ledger
from service.api.routers.receivers import test_notification
from service.api.routers.silences import ADDED, checked_silence, refuse_unknown_places, silence_json
from service.bootstrap import Container
from service.commands.output import emit, say
from service.settings import load_settings
from storage.cases import CaseQuery

PAGE = 500


def case(arguments: argparse.Namespace) -> int:
    """List cases, show one with its steps, or write the ledger."""
    with Container(load_settings({"home": arguments.home})) as container:
        if arguments.action == "list":
            _list(container, arguments)
        elif arguments.action == "show":
            _show(container, arguments)
        else:
            Path(arguments.file).write_bytes(make_ledger(container, CaseQuery(), arguments.lang))
            say(f"written: {arguments.file}")
    return 0


def _list(container: Container, arguments: argparse.Namespace) -> None:
    now = container.clock()
    wanted = CaseQuery(overdue_at=now if arguments.overdue else None)
    place = None
    while True:
        page, place = container.cases.list_cases(wanted, after=place, limit=PAGE)
        for found in page:
            if arguments.json:
                emit(case_json(found, now))
            else:
                late = "  OVERDUE" if found.is_overdue(now) else ""
                say(f"{found.code}  {found.state.word_zh} {found.state.value}  {found.owner or '-'}  {found.title}{late}")
        if place is None:
            return


def _show(container: Container, arguments: argparse.Namespace) -> None:
    found = container.cases.case(arguments.code)
    if found is None:
        raise NotFoundError(f"there is no case {arguments.code}.", remedy="list them: groundwatch case list")
    events = container.cases.events(found.code)
    if arguments.json:
        emit({**case_json(found, container.clock()), "steps": events})
        return
    say(f"{found.code}  {found.title}  {found.state.word_zh} {found.state.value}")
    for event in events:
        say(
            f"  {event.number:3d}  {event.recorded_at:%Y-%m-%d %H:%M}Z  {event.step.word_zh} {event.step.value}  {event.actor}  {event.note}"
        )


def silence(arguments: argparse.Namespace) -> int:
    """List silences, add a maintenance window, or end one."""
    with Container(load_settings({"home": arguments.home})) as container:
        now = container.clock()
        if arguments.action == "list":
            for found in container.alerts.silences():
                entry = silence_json(found, now)
                emit(entry) if arguments.json else say("  ".join(f"{name}={value}" for name, value in entry.items()))
            return 0
        if arguments.action == "end":
            container.alerts.end_silence(arguments.number, arguments.author, now)
            container.access.audit_append(arguments.author, "end silence", str(arguments.number), {})
            emit({"ok": True, "id": arguments.number}) if arguments.json else say(f"ended: {arguments.number}")
            return 0
        start = now if arguments.start is None else _moment(arguments.start)
        wanted = checked_silence(
            _matchers(arguments.matchers), start, _moment(arguments.end), arguments.author, arguments.reason, now, arguments.kind
        )
        refuse_unknown_places(container, wanted)
        stored = container.alerts.add_silence(wanted)
        container.access.audit_append(arguments.author, ADDED[stored.kind], str(stored.silence_id), silence_json(stored, now))
        emit(silence_json(stored, now)) if arguments.json else say(
            f"silence {stored.silence_id} until {stored.ends_at.isoformat()}"
        )
    return 0


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise RequestError(f"{text!r} is no time with offset.", remedy="e.g. 2026-01-31T00:00:00+08:00")
    return moment


def _matchers(pairs: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for pair in pairs:
        label, separator, glob = pair.partition("=")
        if not separator or not glob:
            raise InputError(f"{pair!r} is no matcher.", where="matchers", remedy="write LABEL=GLOB, e.g. station=JX-W01")
        found.setdefault(label, []).append(glob)
    return found


def receiver(arguments: argparse.Namespace) -> int:
    """List receivers with what waits for them, or put a test message into the outbox of one."""
    with Container(load_settings({"home": arguments.home})) as container:
        receivers = container.alerts.receivers(enabled_only=False)
        if arguments.action == "list":
            for found in receivers:
                waiting = container.alerts.waiting(found.code, 1000)
                entry = {"code": found.code, "kind": found.kind, "enabled": found.enabled, "waiting": len(waiting)}
                emit(entry) if arguments.json else say("  ".join(f"{name}={value}" for name, value in entry.items()))
            return 0
        chosen = next((item for item in receivers if item.code == arguments.code), None)
        if chosen is None:
            raise NotFoundError(f"there is no receiver {arguments.code}.", remedy="list them: groundwatch receiver list")
        node = container.registers.node()
        message = test_notification(chosen, node.code if node else "", "command line", container.clock())
        with container.alerts.transaction() as unit:
            unit.enqueue([message])
        answer = {"ok": True, "receiver": chosen.code, "idempotency_key": message.idempotency_key}
        emit(answer) if arguments.json else say(f"waiting to be sent: {message.idempotency_key}")
    return 0

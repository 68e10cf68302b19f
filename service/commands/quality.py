"""`quality override|withdraw|list|run`: what persons say of observations' quality, and the tests again over all that is stored.

This file finishes with `run`.
"""

from __future__ import annotations

import argparse
from datetime import datetime

from domain.errors import NotFoundError, RequestError
from domain.model import Datastream
from service.bootstrap import Container
from service.commands.output import emit, say
from service.quality.overriding import override, withdraw
from service.settings import load_settings

PAGE = 1000


def _datastream(container: Container, code: str) -> Datastream:
    found = container.registers.datastream(code)
    if found is None:
        raise NotFoundError(f"there is no datastream {code}.", remedy="list them: groundwatch datastream list")
    return found


def _moment(text: str, where: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise RequestError(f"{text!r} is no time.", where=where, remedy="write 2026-01-31T08:00:00+08:00") from error
    if moment.tzinfo is None:
        raise RequestError(f"{text!r} has no offset.", where=where, remedy="write 2026-01-31T08:00:00+08:00")
    return moment


def add(arguments: argparse.Namespace) -> int:
    """Record an override with name and reason and apply it."""
    with Container(load_settings({"home": arguments.home})) as container:
        found = _datastream(container, arguments.datastream)
        start = _moment(arguments.start, "--from")
        end = None if arguments.end is None else _moment(arguments.end, "--to")
        assert found.datastream_id is not None
        done = override(container, found.datastream_id, start, end, arguments.quality, arguments.reason, arguments.by)
        container.access.audit_append(
            arguments.by, "override quality", found.code, {"id": done.override_id, "reason": arguments.reason}
        )
    if arguments.json:
        emit({"ok": True, "id": done.override_id, "changed": done.changed})
    else:
        say(f"override {done.override_id}: {done.changed} flags changed")
    return 0


def take_back(arguments: argparse.Namespace) -> int:
    """Take an override back; it stays on record."""
    with Container(load_settings({"home": arguments.home})) as container:
        done = withdraw(container, arguments.id, arguments.by)
        container.access.audit_append(arguments.by, "withdraw override", str(arguments.id), {})
    if arguments.json:
        emit({"ok": True, "id": done.override_id, "changed": done.changed})
    else:
        say(f"override {done.override_id} is withdrawn: {done.changed} flags changed")
    return 0


def show(arguments: argparse.Namespace) -> int:
    """List overrides, oldest first."""
    with Container(load_settings({"home": arguments.home})) as container:
        wanted = None if arguments.datastream is None else _datastream(container, arguments.datastream).datastream_id
        after = 0
        while rows := container.quality.overrides(wanted, after, PAGE, withdrawn=arguments.withdrawn):
            for row in rows:
                if arguments.json:
                    emit(row)
                    continue
                taken_back = f", withdrawn by {row.withdrawn_by}" if row.withdrawn_by else ""
                span = f"{row.time_from.isoformat()} .. {row.time_to.isoformat()}"
                say(f"{row.id}: {row.datastream} [{span}) = {row.quality} by {row.actor}: {row.reason}{taken_back}")
            after = rows[-1].id
    return 0


def run(arguments: argparse.Namespace) -> int:
    """Run the tests again now, over the datastreams named or over all."""
    with Container(load_settings({"home": arguments.home})) as container:
        ids = [_datastream(container, code).datastream_id for code in arguments.datastream or ()]
        container.work.enqueue("quality", [key for key in ids if key is not None] or None)
        judged = 0
        while done := container.inspector.run_once():
            judged += done
    if arguments.json:
        emit({"ok": True, "datastreams": judged})
    else:
        say(f"{judged} datastreams are judged")
    return 0

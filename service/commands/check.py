"""`groundwatch check`: configuration and connectivity, each problem with its remedy."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Mapping

from domain.errors import ConfigurationError, GroundWatchError
from service.bootstrap import Container
from service.commands.output import emit, say
from service.settings import load_settings

BROKER_TIMEOUT_S = 5.0


def check(arguments: argparse.Namespace) -> int:
    """Check each part in turn; exit 1 when one is not well."""
    with Container(load_settings({"home": arguments.home})) as container:
        results = [_result(name, step, container) for name, step in STEPS.items()]
    ok = all(result["ok"] for result in results)
    if arguments.json:
        emit({"ok": ok, "checks": results})
    else:
        for result in results:
            if not (arguments.quiet and result["ok"]):
                say(f"{'ok  ' if result['ok'] else 'FAIL'} {result['name']}: {result['detail']}{_remedy(result)}")
    return 0 if ok else 1


def _remedy(result: Mapping[str, object]) -> str:
    where = f" ({result['where']})" if result.get("where") else ""
    return where + (f" Remedy: {result['remedy']}" if result.get("remedy") else "")


def _result(name: str, step: Callable[[Container], str], container: Container) -> dict[str, object]:
    try:
        return {"name": name, "ok": True, "detail": step(container)}
    except GroundWatchError as error:
        return {"name": name, "ok": False, "detail": error.what, "where": error.where, "remedy": error.remedy}


def _database(container: Container) -> str:
    from storage.migrate import edition, pending

    container.db.ping()
    waiting = pending(container.database_url)
    if waiting:
        raise ConfigurationError(
            f"{len(waiting)} migrations are not applied.", where="database", remedy="run: groundwatch migrate"
        )
    return f"reachable, schema up to date, TimescaleDB edition {edition(container.database_url)}"


def _broker(container: Container) -> str:
    return f"reachable at {container.reach_broker(BROKER_TIMEOUT_S)}"


def _node(container: Container) -> str:
    node = container.registers.node()
    if node is None:
        raise ConfigurationError(
            "no city is configured yet.", where="node", remedy="groundwatch configure deploy/examples/jiaxing"
        )
    return f"{node.code} ({node.name_en}), zone {node.zone}"


def _disk(container: Container) -> str:
    home = container.settings.home
    place = home if home.exists() else home.parent
    free = shutil.disk_usage(place).free
    if free < container.settings.minimum_free_bytes:
        raise ConfigurationError(
            f"only {free / 1e9:.1f} GB are free.", where=str(home), remedy="make room, or lower minimum_free_bytes"
        )
    return f"{free / 1e9:.0f} GB free"


STEPS: dict[str, Callable[[Container], str]] = {"database": _database, "broker": _broker, "node": _node, "disk": _disk}

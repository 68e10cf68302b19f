"""The long-running parts one by one, and the commands that prepare them."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import threading
from pathlib import Path
from typing import Any

from service.bootstrap import Container
from service.lifetime import stop_event
from service.settings import load_settings

LOG = logging.getLogger("groundwatch")


def _container(arguments: argparse.Namespace, *names: str) -> Container:
    return Container(load_settings({name: getattr(arguments, name) for name in ("home", *names)}))


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def migrate(arguments: argparse.Namespace) -> int:
    """Bring the schema up to date and, where a folder is given, apply a city's configuration."""
    with _container(arguments) as container:
        applied: list[str] = []

        def note(line: str) -> None:
            applied.append(line)
            _say(line)

        container.migrate(note)
        report = _apply(container, Path(arguments.config)) if arguments.config else None
    if arguments.json:
        _print({"ok": True, "applied": applied, "configuration": report})
    return 0


def configure(arguments: argparse.Namespace) -> int:
    """Apply a city's configuration folder."""
    with _container(arguments) as container:
        report = _apply(container, Path(arguments.folder))
    if arguments.json:
        _print({"ok": True, "configuration": report})
    else:
        _say(report)
    return 0


def _apply(container: Container, folder: Path) -> str:
    from service.configuration import apply_folder
    from service.rule_desk import RuleDesk

    budget = RuleDesk(container).check_folder
    return str(
        apply_folder(folder, container.registers, container.alerts, container.access, "command line", within_budget=budget)
    )


def _print(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer, ensure_ascii=False) + "\n")


def serve(arguments: argparse.Namespace) -> int:
    """Serve the dashboard and the API until told to stop."""
    import uvicorn

    from service.api.app import create_app

    stop = stop_event()
    with _container(arguments, "port", "host") as container:
        app = create_app(container)
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                host=container.settings.host,
                port=container.settings.port,
                log_level="warning",
                access_log=False,
                timeout_graceful_shutdown=3,
                server_header=False,
            )
        )
        thread = threading.Thread(target=server.run, name="http", daemon=True)
        thread.start()
        while thread.is_alive() and not stop.wait(0.2):
            pass
        app.state.hub.close()
        server.should_exit = True
        thread.join(timeout=10.0)
    return 0 if stop.is_set() else 1


def ingest(arguments: argparse.Namespace) -> int:
    """Take observations from MQTT and from the inbox folder until told to stop."""
    from service.receiving import run_ingest

    stop = stop_event()
    with _container(arguments) as container:
        run_ingest(container, stop)
    return 0


def worker(arguments: argparse.Namespace) -> int:
    """Evaluate rules, run analytics, refresh roll-ups and send notifications until told to stop."""
    from service.jobs import run_worker

    stop = stop_event()
    with _container(arguments) as container:
        run_worker(container, stop)
    return 0


def demo_gateway(arguments: argparse.Namespace) -> int:
    """Push simulated live observations of the demonstration network over MQTT until told to stop."""
    from service.demo import gateway

    stop = stop_event()
    with _container(arguments) as container:
        gateway.run(container, stop, interval_s=arguments.interval)
    return 0

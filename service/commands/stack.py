"""`groundwatch up`, `embedded` and `broker-accounts`: the stack, with everything that runs on it."""

from __future__ import annotations

import argparse
import json
import logging
import os
import secrets
import socket
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from domain.errors import ConfigurationError
from service.bootstrap import Container
from service.lifetime import stop_event
from service.settings import Settings, load_settings
from service.supervisor import Supervisor

if TYPE_CHECKING:
    from service.embedded import EmbeddedStack

LOG = logging.getLogger("groundwatch.up")
ADMIN = "admin"


def up(arguments: argparse.Namespace) -> int:
    """Run everything in one go; Ctrl-C or SIGTERM ends all that was started."""
    settings = load_settings({name: getattr(arguments, name) for name in ("home", "port", "host", "demo", "config")})
    stop = stop_event()
    _require_free_port(settings)
    with ExitStack() as stack:
        own = _own_stack(settings, stack)
        environ = _environment(settings, _addresses(settings, own))
        with Container(load_settings(environ=environ)) as container:
            password = prepare(container)
        if stop.is_set():
            return 0
        supervisor = Supervisor(environ) if own is None else Supervisor(environ, own.revive)
        stack.callback(supervisor.end)
        for part in ("serve", "worker", "ingest"):
            supervisor.start(part, part)
        if settings.demo:
            supervisor.start("demo gateway", "demo-gateway")
        _tell_addresses(settings, environ, password)
        supervisor.run(stop)
    _say("stopped")
    return 0


def prepare(container: Container) -> str | None:
    """Migrate, configure, load the demonstration network where asked for, and make the administrator.

    Returns
    -------
    The administrator's password when it was made just now, else None.
    """
    from service import demo
    from service.configuration import apply_folder
    from service.rule_desk import RuleDesk

    settings = container.settings
    container.migrate(_say)
    if settings.config is not None:
        report = apply_folder(
            settings.config,
            container.registers,
            container.alerts,
            container.access,
            "up",
            within_budget=RuleDesk(container).check_folder,
        )
        _say(f"configuration {settings.config}: {report}")
    elif not settings.demo and container.registers.node() is None:
        raise ConfigurationError(
            "no city is configured yet.",
            where="groundwatch up",
            remedy="name its folder with --config (deploy/examples/jiaxing is one), or try --demo for the simulated network",
        )
    if settings.demo:
        demo.load(container, settings.demo_seed, container.clock(), _say)
    return make_administrator(container)


def make_administrator(container: Container) -> str | None:
    """Create the account `admin` with a password that is shown once; None when it exists."""
    if container.access.account(ADMIN) is not None:
        return None
    password = secrets.token_urlsafe(12)
    container.add_account(ADMIN, "Administrator", "admin", password)
    return password


def _own_stack(settings: Settings, stack: ExitStack) -> EmbeddedStack | None:
    """Start the embedded servers until `stack` ends; None where database and broker are elsewhere."""
    if settings.database_url and settings.mqtt_url:
        return None
    from service.embedded import EmbeddedStack

    return stack.enter_context(EmbeddedStack(settings.home, log=_say))


def _addresses(settings: Settings, own: EmbeddedStack | None) -> Mapping[str, str]:
    found = {"GROUNDWATCH_DATABASE_URL": settings.database_url, "GROUNDWATCH_MQTT_URL": settings.mqtt_url}
    if own is not None:
        found["GROUNDWATCH_DATABASE_URL"] = settings.database_url or own.addresses.database_url
        found["GROUNDWATCH_MQTT_URL"] = settings.mqtt_url or own.addresses.mqtt_url_with_login
    return {name: url for name, url in found.items() if url}


def _environment(settings: Settings, addresses: Mapping[str, str]) -> dict[str, str]:
    environ = {**os.environ, **addresses}
    environ["GROUNDWATCH_HOME"] = str(settings.home)
    environ["GROUNDWATCH_HOST"] = settings.host
    environ["GROUNDWATCH_PORT"] = str(settings.port)
    environ["GROUNDWATCH_DEMO"] = "1" if settings.demo else "0"
    environ.setdefault("GROUNDWATCH_PUBLIC_URL", f"http://{settings.host}:{settings.port}")
    if settings.config is not None:
        environ["GROUNDWATCH_CONFIG"] = str(settings.config)
    return environ


def _require_free_port(settings: Settings) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise ConfigurationError(
                f"{settings.host}:{settings.port} cannot be served: {error.strerror}.",
                where="groundwatch up",
                remedy="end what uses it, or choose another port with --port (make run PORT=8001)",
            ) from error


def _tell_addresses(settings: Settings, environ: Mapping[str, str], password: str | None) -> None:
    _say("")
    _say(f"dashboard  http://{settings.host}:{settings.port}/")
    _say(f"API        http://{settings.host}:{settings.port}/docs")
    _say(f"MQTT       {_without_login(environ['GROUNDWATCH_MQTT_URL'])}")
    _say(f"database   {_without_login(environ['GROUNDWATCH_DATABASE_URL'])}  (with its password: groundwatch embedded url)")
    if settings.demo:
        _say(
            "simulated  模拟数据: the stations of the demonstration network are simulated and marked so; files that you import are not"
        )
    if password is not None:
        _say(f"log in as  {ADMIN}  password {password}   (shown once; change it with: groundwatch user set {ADMIN} password=...)")
    _say("Ctrl-C stops everything that this command started")


def _without_login(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}:{parts.port or ''}{parts.path}"


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def embedded(arguments: argparse.Namespace) -> int:
    """Start, stop, or describe the embedded stack alone."""
    from service import embedded as stack

    home = load_settings({"home": arguments.home}).home
    if arguments.action == "url":
        addresses = stack.command_url(home)
        answer: dict[str, object] = {"database_url": addresses.database_url, "mqtt_url": addresses.mqtt_url_with_login}
    else:
        answer = {"start": stack.command_start, "stop": stack.command_stop, "status": stack.command_status}[arguments.action](
            home
        )
    sys.stdout.write(json.dumps(answer, ensure_ascii=False) + "\n")
    return 0 if answer.get("ok", True) else 1


def broker_accounts(arguments: argparse.Namespace) -> int:
    """Write password and access files for an external Mosquitto, with the service account of `GROUNDWATCH_MQTT_URL`."""
    from service.embedded.accounts import SERVICE_USER, AccountFiles
    from service.embedded.home import server_account

    settings = load_settings({"home": arguments.home})
    parts = urlsplit(settings.mqtt_url or "")
    if not parts.password or unquote(parts.username or "") != SERVICE_USER:
        raise ConfigurationError(
            f"the broker's service account is {SERVICE_USER} and needs a password.",
            where="GROUNDWATCH_MQTT_URL",
            remedy=f"write mqtt://{SERVICE_USER}:PASSWORD@host:1883",
        )
    directory = Path(arguments.directory)
    directory.mkdir(parents=True, exist_ok=True)
    AccountFiles(directory, server_account()).set_service(unquote(parts.password))
    return 0

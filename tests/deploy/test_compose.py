"""The compose file is valid, complete, and every command in it exists."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from service.parser import build_parser

ROOT = Path(__file__).resolve().parents[2]
OURS = ("broker-accounts", "migrate", "ingest", "worker", "serve")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    return document


def test_the_compose_file_is_valid_against_the_compose_schema(compose: dict[str, Any]) -> None:
    schema = json.loads((ROOT / "tests/data/compose/compose-spec.json").read_text(encoding="utf-8"))
    jsonschema.Draft201909Validator(schema).validate(compose)


def test_the_schema_refuses_a_misspelt_key(compose: dict[str, Any]) -> None:
    schema = json.loads((ROOT / "tests/data/compose/compose-spec.json").read_text(encoding="utf-8"))
    broken = {**compose, "services": {**compose["services"], "serve": {**compose["services"]["serve"], "comand": ["serve"]}}}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft201909Validator(schema).validate(broken)


@pytest.mark.parametrize("name", OURS)
def test_every_service_of_ours_runs_a_command_that_the_parser_knows(compose: dict[str, Any], name: str) -> None:
    arguments = build_parser().parse_args(compose["services"][name]["command"])
    module, function = arguments.run.split(":")
    assert f"def {function}(" in (ROOT / (module.replace(".", "/") + ".py")).read_text(encoding="utf-8")


def test_long_running_services_have_health_checks_and_restart(compose: dict[str, Any]) -> None:
    for name in ("timescaledb", "mosquitto", "ingest", "worker", "serve"):
        assert compose["services"][name]["healthcheck"]["test"], name
        assert compose["services"][name]["restart"] == "unless-stopped", name


def test_the_health_checks_of_ours_are_commands_that_the_parser_knows(compose: dict[str, Any]) -> None:
    for name in ("ingest", "worker"):
        command = compose["services"][name]["healthcheck"]["test"]
        assert command[:2] == ["CMD", "groundwatch"]
        build_parser().parse_args(command[2:])


def test_dependencies_name_services_that_exist_and_volumes_are_declared(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for name, service in services.items():
        assert set(service.get("depends_on", {})) <= set(services), name
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source.startswith((".", "$")) or source in compose["volumes"], (name, volume)


def test_no_password_stands_in_the_compose_file() -> None:
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    assert not re.search(r"PASSWORD: +[^$\s]|://[^$:]+:[^$@]+@", text)


def test_the_dockerfile_copies_every_package_and_what_it_copies_exists() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    for package in ("domain", "ingest", "analytics", "alerts", "storage", "service"):
        assert f"COPY {package} {package}" in text
    for line in re.findall(r"^COPY (?!--from)(.+)$", text, flags=re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source

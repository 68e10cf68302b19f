"""Flags beat the environment, the environment beats the file; what is wrong is named with its remedy."""

from __future__ import annotations

import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from domain.errors import ConfigurationError
from service.settings import Settings, load_settings

ROOT = Path(__file__).resolve().parents[2]


def test_flags_beat_the_environment_and_the_environment_beats_the_file(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('port = 1\nhost = "file"\nlog_level = "DEBUG"\n', encoding="utf-8")
    environ = {"GROUNDWATCH_HOME": str(tmp_path), "GROUNDWATCH_PORT": "2", "GROUNDWATCH_HOST": "environment"}
    settings = load_settings({"port": 3, "host": None}, environ)
    assert (settings.port, settings.host, settings.log_level) == (3, "environment", "DEBUG")


@pytest.mark.parametrize(
    ("text", "value"), [("1", True), ("true", True), ("Yes", True), ("0", False), ("off", False), ("", False)]
)
def test_booleans_are_words_or_digits(tmp_path: Path, text: str, value: bool) -> None:
    assert load_settings({}, {"GROUNDWATCH_HOME": str(tmp_path), "GROUNDWATCH_DEMO": text}).demo is value


@pytest.mark.parametrize(("name", "text"), [("PORT", "eighty"), ("DEMO", "perhaps"), ("TICK_EVERY_S", "soon")])
def test_a_value_of_the_wrong_type_is_named_with_its_variable(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings({}, {"GROUNDWATCH_HOME": str(tmp_path), f"GROUNDWATCH_{name}": text})
    assert caught.value.where == f"GROUNDWATCH_{name}"
    assert text in caught.value.what


def test_an_unknown_key_in_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("prot = 8000\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="prot"):
        load_settings({}, {"GROUNDWATCH_HOME": str(tmp_path)})


def test_a_file_that_is_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        load_settings({}, {"GROUNDWATCH_HOME": str(tmp_path), "GROUNDWATCH_CONFIG_FILE": str(tmp_path / "absent.toml")})


def test_secrets_are_not_printed(tmp_path: Path) -> None:
    settings = load_settings(
        {"database_url": "postgresql://u:hidden@h/d", "mqtt_url": "mqtt://u:hidden@h"}, {"GROUNDWATCH_HOME": str(tmp_path)}
    )
    assert "hidden" not in repr(settings)


def test_the_example_names_every_setting_with_its_default() -> None:
    text = (ROOT / "config.example.toml").read_text(encoding="utf-8")
    lines = [line[2:].split("   #")[0] for line in text.splitlines() if line.startswith("# ") and " = " in line.split("#")[1]]
    shown = tomllib.loads("\n".join(line for line in lines if line.split(" = ")[0].isidentifier()))
    for field in fields(Settings):
        if field.init and field.name in {"secrets"}:
            continue
        assert field.name in shown, f"{field.name} is not in config.example.toml"
        if isinstance(field.default, int | float | bool) and field.default is not None:
            assert shown[field.name] == field.default, field.name

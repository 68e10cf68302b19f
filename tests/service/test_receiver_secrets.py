"""Receivers' signing keys come from a file of their own or the environment; a wrong one is refused with the remedy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from domain.errors import ConfigurationError
from service.settings import Settings, load_receiver_secrets, load_settings


def test_no_file_means_no_secrets(tmp_path: Path) -> None:
    assert load_receiver_secrets(Settings(tmp_path)) == {}


def test_the_homes_file_is_read_unless_another_is_named(tmp_path: Path) -> None:
    (tmp_path / "receiver-secrets.toml").write_text('staff = "of the home"\n', encoding="utf-8")
    other = tmp_path / "other.toml"
    other.write_text('staff = "钥匙"\n', encoding="utf-8")
    assert load_receiver_secrets(Settings(tmp_path)) == {"staff": "of the home"}
    named = load_settings({"home": tmp_path}, {"GROUNDWATCH_RECEIVER_SECRETS": str(other)})
    assert load_receiver_secrets(named) == {"staff": "钥匙"}


@pytest.mark.parametrize(("content", "complaint"), [("staff = 5", "staff"), ('staff = ""', "staff"), ("no toml", "not TOML")])
def test_a_wrong_file_is_refused(tmp_path: Path, content: str, complaint: str) -> None:
    (tmp_path / "receiver-secrets.toml").write_text(content, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=complaint):
        load_receiver_secrets(Settings(tmp_path))


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        load_receiver_secrets(replace(Settings(tmp_path), receiver_secrets=tmp_path / "absent.toml"))


def test_the_environment_beats_the_file_by_lower_case_names(tmp_path: Path) -> None:
    (tmp_path / "receiver-secrets.toml").write_text('staff = "file"\nother = "kept"\n', encoding="utf-8")
    environ = {"GROUNDWATCH_SECRET_STAFF": "variable", "GROUNDWATCH_SECRETS": "no", "GROUNDWATCH_SECRET_": "no"}
    assert load_receiver_secrets(Settings(tmp_path), environ) == {"staff": "variable", "other": "kept"}


def test_an_empty_variable_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="GROUNDWATCH_SECRET_STAFF"):
        load_receiver_secrets(Settings(tmp_path), {"GROUNDWATCH_SECRET_STAFF": ""})


def test_keys_are_not_printed_with_the_settings_of_notifiers() -> None:
    from alerts.notifiers import NotifierSettings

    assert "hush" not in repr(NotifierSettings("node", secrets={"staff": "hush"}))

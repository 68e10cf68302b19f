"""Settings: one typed class, read once in `bootstrap`. Flags beat the environment, the environment beats the file.

Every setting has an environment variable `GROUNDWATCH_<NAME>` and a key of the same lower-case name in the TOML file; both are listed in
`config.example.toml`. This file finishes with `load_settings` and `load_receiver_secrets`.
"""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from domain.errors import ConfigurationError
from service.embedded.home import default_home

PREFIX = "GROUNDWATCH_"
SECRET_PREFIX = PREFIX + "SECRET_"


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of one process; secrets are masked when printed."""

    home: Path
    database_url: str | None = field(default=None, repr=False)
    mqtt_url: str | None = field(default=None, repr=False)
    config: Path | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    demo: bool = False
    demo_seed: int = 20260101
    inbox: Path | None = None
    inbox_settle_s: float = 5.0
    inbox_patience_s: float = 60.0
    inbox_restless_s: float = 300.0
    sl651_listen: str | None = None
    hj212_listen: str | None = None
    rtu_max_connections: int = 1000
    rtu_idle_s: float = 900.0
    rtu_frames_per_minute: float = 600.0
    log_level: str = "INFO"
    mqtt_ca_file: Path | None = None
    mqtt_cert_file: Path | None = None
    mqtt_key_file: Path | None = None
    mqtt_shared_group: str | None = None
    sparkplug_rebirth: bool = True
    mqtt_client_id: str = "groundwatch-ingest"
    mqtt_receive_maximum: int = 4000
    ingest_batch_messages: int = 2000
    ingest_batch_wait_ms: int = 50
    analyse_every_s: float = 20.0
    analyse_debounce_s: float = 600.0
    tick_every_s: float = 5.0
    database_pool: int = 10
    public_url: str = "http://127.0.0.1:8000"
    session_hours: float = 12.0
    smtp_url: str | None = field(default=None, repr=False)
    receiver_secrets: Path | None = None
    minimum_free_bytes: int = 1_000_000_000


_TYPES: Mapping[str, Any] = {
    "home": Path,
    "config": Path,
    "inbox": Path,
    "receiver_secrets": Path,
    "mqtt_ca_file": Path,
    "mqtt_cert_file": Path,
    "mqtt_key_file": Path,
    "inbox_settle_s": float,
    "inbox_patience_s": float,
    "inbox_restless_s": float,
    "port": int,
    "demo": bool,
    "sparkplug_rebirth": bool,
    "demo_seed": int,
    "mqtt_receive_maximum": int,
    "ingest_batch_messages": int,
    "ingest_batch_wait_ms": int,
    "analyse_every_s": float,
    "analyse_debounce_s": float,
    "tick_every_s": float,
    "database_pool": int,
    "rtu_max_connections": int,
    "rtu_idle_s": float,
    "rtu_frames_per_minute": float,
    "session_hours": float,
    "minimum_free_bytes": int,
}
_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off", ""}


def load_settings(flags: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Merge flags, environment and file into `Settings`.

    Parameters
    ----------
    flags
        Values from the command line; None values are ignored.
    environ
        The environment; `os.environ` when None. `GROUNDWATCH_CONFIG_FILE` names the TOML file, otherwise `config.toml` in the home
        is read when it exists.

    Raises
    ------
    ConfigurationError
        For an unknown key, a value of the wrong type, or a file that is not TOML.
    """
    environment = os.environ if environ is None else environ
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    from_environment = {
        item.name: environment[PREFIX + item.name.upper()]
        for item in fields(Settings)
        if PREFIX + item.name.upper() in environment
    }
    home = Path(given.get("home") or from_environment.get("home") or default_home()).expanduser()
    merged: dict[str, Any] = {**_read_file(home, environment), **from_environment, **given, "home": home}
    return Settings(**{name: _typed(name, value) for name, value in merged.items()})


def _read_file(home: Path, environ: Mapping[str, str]) -> dict[str, Any]:
    named = environ.get(PREFIX + "CONFIG_FILE")
    path = Path(named) if named else home / "config.toml"
    if not path.exists():
        if named:
            raise ConfigurationError("the settings file does not exist.", where=str(path), remedy=f"correct {PREFIX}CONFIG_FILE")
        return {}
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"not TOML: {error}.", where=str(path), remedy="compare with config.example.toml") from error
    known = {item.name for item in fields(Settings)}
    unknown = sorted(set(content) - known)
    if unknown:
        raise ConfigurationError(
            f"unknown settings: {', '.join(unknown)}.", where=str(path), remedy="the known ones are listed in config.example.toml"
        )
    return content


def _typed(name: str, value: Any) -> Any:
    wanted = _TYPES.get(name, str)
    try:
        if wanted is bool:
            return value if isinstance(value, bool) else _boolean(str(value))
        if value is None:
            return None
        return Path(value).expanduser() if wanted is Path else wanted(value)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"{value!r} is no {wanted.__name__}.", where=PREFIX + name.upper(), remedy="see config.example.toml"
        ) from error


def _boolean(text: str) -> bool:
    lowered = text.strip().lower()
    if lowered in _TRUE:
        return True
    if lowered in _FALSE:
        return False
    raise ValueError(text)


def load_receiver_secrets(settings: Settings, environ: Mapping[str, str] | None = None) -> Mapping[str, str]:
    """Return the signing keys of receivers by name: those of the file, and over them those of the environment.

    They have a file of their own because a city's configuration folder names them and is shared, and they must not be in it. A variable
    `GROUNDWATCH_SECRET_<NAME>` is the key of the lower-case name, for places that hand secrets over in the environment.

    Raises
    ------
    ConfigurationError
        For a file that is named but absent, that is not TOML, or that holds anything but texts; for an empty variable.
    """
    environment = os.environ if environ is None else environ
    given = {
        name.removeprefix(SECRET_PREFIX).lower(): secret
        for name, secret in environment.items()
        if name.startswith(SECRET_PREFIX) and name != SECRET_PREFIX
    }
    for name, secret in given.items():
        if not secret:
            raise ConfigurationError(
                "the secret is empty.", where=SECRET_PREFIX + name.upper(), remedy="set it, or leave the variable out"
            )
    return {**_secrets_of_file(settings), **given}


def _secrets_of_file(settings: Settings) -> Mapping[str, str]:
    path = settings.receiver_secrets or settings.home / "receiver-secrets.toml"
    remedy = 'write one NAME = "secret" a line'
    if not path.exists():
        if settings.receiver_secrets is not None:
            raise ConfigurationError("the file of receivers' secrets does not exist.", where=str(path), remedy=remedy)
        return {}
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError("the file of receivers' secrets is not TOML.", where=str(path), remedy=remedy) from error
    wrong = sorted(name for name, secret in content.items() if not isinstance(secret, str) or not secret)
    if wrong:
        raise ConfigurationError(f"{', '.join(wrong)}: not a text.", where=str(path), remedy=remedy)
    return content


def executable() -> list[str]:
    """Return the command that starts another GroundWatch process with this interpreter."""
    return [sys.executable, "-m", "service.cli"]

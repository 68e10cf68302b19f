"""Where the servers of a stack answer, and what of it runs. This file finishes with `StackStatus`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StackAddresses:
    """Where both servers answer; the password is also part of `database_url`, so neither belongs into a log."""

    database_url: str
    mqtt_url: str
    mqtt_username: str
    mqtt_password: str
    postgres_port: int
    mqtt_port: int

    @property
    def mqtt_url_with_login(self) -> str:
        """The broker's address in the form of GROUNDWATCH_MQTT_URL, user and password included."""
        return self.mqtt_url.replace("mqtt://", f"mqtt://{self.mqtt_username}:{self.mqtt_password}@")


@dataclass(frozen=True)
class StackStatus:
    """What runs in a home; a process id of None means that it does not run."""

    home: str
    postgres_pid: int | None
    mosquitto_pid: int | None
    postgres_port: int | None
    mqtt_port: int | None
    owner_pid: int | None

    @property
    def is_running(self) -> bool:
        """Both servers run."""
        return self.postgres_pid is not None and self.mosquitto_pid is not None

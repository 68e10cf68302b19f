"""Who may connect to the broker, and to what: Mosquitto's password and access files, written from one list.

The service account reads everything under `gw/v1` and publishes receipts and alerts. A device publishes only under its
own station; a gateway under the stations that it was given. Station codes begin with a letter or a digit, so the service
account's name, which begins with an underscore, can never be a station's. This file finishes with the two files in place.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from domain.errors import RequestError
from service.embedded.home import Account
from service.embedded.secrets_file import write_private

SERVICE_USER = "_groundwatch"
ITERATIONS = 1000
SALT_BYTES = 12

SERVICE_TOPICS = (
    "read gw/v1/#",
    "read application/#",
    "read spBv1.0/#",
    "write spBv1.0/+/NCMD/+",
    "read $SYS/#",
    "write gw/v1/stations/+/receipt",
    "write gw/v1/nodes/#",
)
DEVICE_PATTERNS = ("write gw/v1/stations/%u/#", "read gw/v1/stations/%u/receipt")


@dataclass(frozen=True)
class BrokerAccount:
    """One account: its password's hash, and for a gateway the stations and topics that it serves."""

    password_hash: str
    stations: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()


def hash_password(password: str, salt: bytes | None = None) -> str:
    """Return a password in the form of Mosquitto's password file (PBKDF2-HMAC-SHA512, `$7$`)."""
    salt = os.urandom(SALT_BYTES) if salt is None else salt
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, ITERATIONS, dklen=64)
    return f"$7${ITERATIONS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def password_matches(password: str, password_hash: str) -> bool:
    """Tell whether a password is the one that was hashed."""
    salt = base64.b64decode(password_hash.split("$")[3])
    return hash_password(password, salt) == password_hash


def check_name(name: str) -> None:
    """Refuse a name that the broker's files or topics would read as something else."""
    if not re.fullmatch(r"[^\W_][\w.\-]{0,63}", name):
        raise RequestError(
            f"{name!r} is no station code",
            where="broker account",
            remedy="1 to 64 letters, digits, '.', '_', '-', beginning with a letter or digit",
        )


class AccountFiles:
    """The broker's accounts below one directory."""

    def __init__(self, directory: Path, owner: Account) -> None:
        self._directory = directory
        self._owner = owner

    @property
    def passwords(self) -> Path:
        """Mosquitto's `password_file`."""
        return self._directory / "passwords"

    @property
    def access(self) -> Path:
        """Mosquitto's `acl_file`."""
        return self._directory / "access"

    @property
    def _list(self) -> Path:
        return self._directory / "accounts.json"

    def read(self) -> dict[str, BrokerAccount]:
        """Return the accounts by name."""
        if not self._list.exists():
            return {}
        entries = json.loads(self._list.read_text(encoding="utf-8"))
        return {
            name: BrokerAccount(entry["password_hash"], tuple(entry["stations"]), tuple(entry["topics"]))
            for name, entry in entries.items()
        }

    def write(self, accounts: dict[str, BrokerAccount]) -> None:
        """Write the list and both of Mosquitto's files.

        The access file goes first: the broker reads it after the passwords, so whoever it knows by a password has the rights that were
        written with it.
        """
        listing = json.dumps({name: asdict(account) for name, account in accounts.items()}, ensure_ascii=False, indent=1)
        passwords = "".join(f"{name}:{account.password_hash}\n" for name, account in accounts.items())
        for path, text in ((self._list, listing), (self.access, access_text(accounts)), (self.passwords, passwords)):
            write_private(path, text, self._owner.own)

    def set_service(self, password: str) -> None:
        """Make sure that the service account has this password, and that both files exist."""
        with self._alone():
            accounts = self.read()
            known = accounts.get(SERVICE_USER)
            if known is None or not password_matches(password, known.password_hash) or not self.access.exists():
                accounts[SERVICE_USER] = BrokerAccount(hash_password(password))
                self.write(accounts)

    def add(self, name: str, password: str, stations: tuple[str, ...] = (), topics: tuple[str, ...] = ()) -> None:
        """Add a device (its name is its station's code) or a gateway, or give it a new password.

        Raises
        ------
        RequestError
            A name that is no station code, or an empty password.
        """
        for code in (name, *stations):
            check_name(code)
        if not password:
            raise RequestError("the password is empty", where=f"broker account {name}", remedy="give a password")
        if any(re.search(r"[\x00-\x1f]", topic) for topic in topics):
            raise RequestError("a topic holds control characters", where=f"broker account {name}", remedy="remove them")
        with self._alone():
            self.write({**self.read(), name: BrokerAccount(hash_password(password), stations, topics)})

    def remove(self, name: str) -> bool:
        """Remove a device or gateway; return whether it was known."""
        check_name(name)
        with self._alone():
            accounts = self.read()
            known = accounts.pop(name, None) is not None
            if known:
                self.write(accounts)
        return known

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Exclude other writers, of this process or another: what one of two wrote would be lost."""
        descriptor = os.open(self._directory / "accounts.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _commands(topic: str) -> str | None:
    """Return where the edge node that publishes on a topic of Sparkplug B hears commands, or None for other topics.

    Examples
    --------
    >>> _commands("spBv1.0/SPA/+/PLC1/#"), _commands("application/#")
    ('spBv1.0/SPA/NCMD/PLC1', None)
    """
    levels = topic.split("/")
    is_node = len(levels) > 3 and levels[0] == "spBv1.0" and not {"+", "#"} & {levels[1], levels[3]}
    return f"spBv1.0/{levels[1]}/NCMD/{levels[3]}" if is_node else None


def access_text(accounts: dict[str, BrokerAccount]) -> str:
    """Return Mosquitto's access file."""
    lines = [f"pattern {pattern}" for pattern in DEVICE_PATTERNS]
    lines += ["", f"user {SERVICE_USER}", *(f"topic {topic}" for topic in SERVICE_TOPICS)]
    for name, account in accounts.items():
        if account.stations or account.topics:
            lines += ["", f"user {name}"]
            for station in account.stations:
                lines += [f"topic write gw/v1/stations/{station}/#", f"topic read gw/v1/stations/{station}/receipt"]
            lines += [f"topic write {topic}" for topic in account.topics]
            lines += [f"topic read {commands}" for topic in account.topics if (commands := _commands(topic))]
    return "\n".join(lines) + "\n"

"""Where the embedded stack keeps its files, and the account under which its servers run.

PostgreSQL refuses to run as root, so as root the servers run as an unprivileged account; that account must be able to enter
every directory above the home. This file finishes with the account and with a home that it can reach.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from domain.errors import ConfigurationError

ALTERNATIVES = (
    "run `docker compose up` instead, or set GROUNDWATCH_DATABASE_URL and GROUNDWATCH_MQTT_URL to a PostgreSQL "
    "(>= 16, with TimescaleDB >= 2.17) and a Mosquitto (>= 2.0.18) of your own"
)
"""What every fatal message of the embedded stack offers."""

SERVICE_ACCOUNTS = ("groundwatch", "postgres", "nobody")
SOCKET_PATH_LIMIT = 80  # sun_path holds 107 bytes; PostgreSQL adds "/.s.PGSQL.65535.lock"


def default_home() -> Path:
    """Return GROUNDWATCH_HOME, else the user's data directory (for root one that a service account can enter)."""
    named = os.environ.get("GROUNDWATCH_HOME")
    if named:
        return Path(named).expanduser()
    if os.geteuid() == 0:
        return Path("/var/lib/groundwatch")
    data = os.environ.get("XDG_DATA_HOME")
    return (Path(data) if data else Path.home() / ".local" / "share") / "groundwatch"


@dataclass(frozen=True)
class Account:
    """The operating system account of the servers; `switch` is true when we are root and must become it."""

    name: str
    uid: int
    gid: int
    switch: bool

    def own(self, path: Path) -> None:
        """Give `path` to the account (nothing to do when we are that account)."""
        if self.switch:
            os.chown(path, self.uid, self.gid)


def server_account(owned_directory: Path | None = None) -> Account:
    """Return the account that runs the servers.

    Parameters
    ----------
    owned_directory
        A database that exists already: its owner is kept, so that an upgrade of the system never changes the account.

    Raises
    ------
    ConfigurationError
        As root, where the system has no unprivileged account.
    """
    if os.geteuid() != 0:
        return Account(_account_name(os.geteuid()), os.geteuid(), os.getegid(), switch=False)
    if owned_directory is not None and owned_directory.is_dir():
        status = owned_directory.stat()
        if status.st_uid != 0:
            return Account(_account_name(status.st_uid), status.st_uid, status.st_gid, switch=True)
    named = os.environ.get("GROUNDWATCH_SERVICE_USER")
    for name in (named,) if named else SERVICE_ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(name, entry.pw_uid, entry.pw_gid, switch=True)
    raise ConfigurationError(
        "PostgreSQL does not run as root and there is no unprivileged account for it",
        where=f"GROUNDWATCH_SERVICE_USER={named}" if named else "/etc/passwd",
        remedy=f"create one (`useradd --system groundwatch`), start as an ordinary user, or {ALTERNATIVES}",
    )


def _account_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError as error:
        raise ConfigurationError(
            f"user id {uid} has no entry in the system's user list, which PostgreSQL needs",
            where="/etc/passwd",
            remedy=f"run as a user that the system knows, or {ALTERNATIVES}",
        ) from error


def can_enter(directory: Path, account: Account) -> bool:
    """Tell whether `account` may enter `directory` (asked of the kernel, so ACLs and mounts count too)."""
    if not account.switch:
        return os.access(directory, os.X_OK)
    program = shutil.which("test") or "/usr/bin/test"
    finished = subprocess.run(
        [program, "-x", str(directory)],
        user=account.uid,
        group=account.gid,
        extra_groups=[],
        cwd="/",
        check=False,
        capture_output=True,
    )
    return finished.returncode == 0


@dataclass(frozen=True)
class Layout:
    """The directories of one embedded stack below its home."""

    home: Path
    packages: Path

    @classmethod
    def of(cls, home: Path, packages: Path | None = None) -> Layout:
        """Return the layout below `home`; `packages` shares unpacked programs between homes."""
        home = home.resolve()
        return cls(home, (packages or home / "embedded" / "packages").resolve())

    @property
    def root(self) -> Path:
        """Everything that belongs to the embedded stack."""
        return self.home / "embedded"

    @property
    def database(self) -> Path:
        """PostgreSQL's data directory."""
        return self.root / "postgres"

    @property
    def broker(self) -> Path:
        """Mosquitto's configuration, accounts and persistence."""
        return self.root / "mosquitto"

    @property
    def log(self) -> Path:
        """Both servers' logs."""
        return self.root / "log"

    @property
    def state(self) -> Path:
        """Ports and process ids of the running stack."""
        return self.root / "state.json"

    @property
    def secrets(self) -> Path:
        """Generated passwords, readable by the owner alone."""
        return self.root / "secrets.json"

    @property
    def lock(self) -> Path:
        """Held while the stack is being started or stopped."""
        return self.root / "stack.lock"

    @property
    def socket_directory(self) -> Path:
        """The directory of PostgreSQL's unix socket: in the home, or a short one where the home's path is too long."""
        inside = self.root / "socket"
        if len(os.fsencode(inside)) <= SOCKET_PATH_LIMIT:
            return inside
        digest = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"groundwatch-{digest}"


def prepare(layout: Layout, account: Account) -> None:
    """Make the directories and check that the servers' account can reach them.

    Raises
    ------
    ConfigurationError
        The home cannot be written, or the account cannot enter it; the message names the directory that is in the way.
    """
    try:
        for directory in (layout.home, layout.root, layout.packages, layout.log):
            directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"the home cannot be written: {error.strerror}",
            where=str(layout.home),
            remedy="choose another directory with GROUNDWATCH_HOME or --home",
        ) from error
    for goal in (layout.root, layout.packages):
        for directory in (*reversed(goal.parents), goal):
            if not can_enter(directory, account):
                raise ConfigurationError(
                    f"the servers run as {account.name!r}, which may not enter {directory}",
                    where=str(layout.home),
                    remedy="choose a home outside it with GROUNDWATCH_HOME or --home (/var/lib/groundwatch, say), "
                    f"or allow it with `chmod a+x {directory}`",
                )
    for directory, mode in ((layout.broker, 0o700), (layout.socket_directory, 0o700)):
        directory.mkdir(exist_ok=True)
        _refuse_foreign(directory, account)
        account.own(directory)
        directory.chmod(mode)


def _refuse_foreign(directory: Path, account: Account) -> None:
    """A directory in a shared temporary place may have been planted by somebody else."""
    status = directory.lstat()
    if directory.is_symlink() or status.st_uid not in (account.uid, os.geteuid()):
        raise ConfigurationError(
            "the directory belongs to another user", where=str(directory), remedy="remove it, or choose another home"
        )

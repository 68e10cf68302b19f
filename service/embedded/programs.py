"""The programs of the stack: installed ones where they are new enough, else unpacked packages.

This file finishes with `Programs`, wherever they come from.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from service.embedded.home import Account
from service.embedded.processes import run_as

POSTGRES_MINIMUM = 16
TIMESCALEDB_MINIMUM = (2, 17)
MOSQUITTO_MINIMUM = (2, 0, 18)
INSTALLED_POSTGRES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin", "/opt/postgresql*/bin")
POSTGRES_TOOLS = ("postgres", "initdb", "psql")


@dataclass(frozen=True)
class Postgres:
    """A PostgreSQL with TimescaleDB: the directory of its programs and its major version."""

    bin: Path
    major: int
    origin: str

    def program(self, name: str) -> str:
        """Return the path of one of its programs."""
        return str(self.bin / name)


@dataclass(frozen=True)
class Mosquitto:
    """A Mosquitto broker."""

    program: Path
    origin: str


@dataclass(frozen=True)
class Programs:
    """What the stack runs."""

    postgres: Postgres
    mosquitto: Mosquitto


def read_version(text: str) -> tuple[int, ...]:
    """Return the first dotted number in `text`, () where there is none.

    >>> read_version("postgres (PostgreSQL) 17.11 (Debian 17.11-0+deb13u1)")
    (17, 11)
    """
    match = re.search(r"\d+(?:\.\d+)*", text)
    return tuple(int(part) for part in match[0].split(".")) if match else ()


def find_postgres(account: Account, major: int | None = None) -> Postgres | None:
    """Return the newest installed PostgreSQL that counts, of the given major version where a database exists already."""
    found = [candidate for candidate in installed_postgres() if major in (None, candidate.major)]
    for candidate in sorted(found, key=lambda postgres: postgres.major, reverse=True):
        # A database that exists was made by it, so that it loads the extension has been seen already.
        if major is not None or loads_timescaledb(candidate, account):
            return candidate
    return None


def installed_postgres() -> Iterator[Postgres]:
    """Yield the installed servers that are new enough and have TimescaleDB's files."""
    on_path = shutil.which("postgres")
    directories = [path for pattern in INSTALLED_POSTGRES for path in sorted(Path("/").glob(pattern[1:]))]
    if on_path:
        directories.append(Path(on_path).resolve().parent)
    for directory in dict.fromkeys(directories):
        if not all((directory / name).exists() for name in POSTGRES_TOOLS):
            continue
        version = read_version(_output([str(directory / "postgres"), "--version"]))
        if version and version[0] >= POSTGRES_MINIMUM and has_timescaledb(directory):
            yield Postgres(directory, version[0], "installed")


def has_timescaledb(directory: Path) -> bool:
    """Tell whether the extension's control file beside a server names a version that is new enough."""
    pg_config = directory / "pg_config"
    if pg_config.exists():
        share = Path(_output([str(pg_config), "--sharedir"]).strip())
    else:
        share = Path("/usr/share/postgresql") / directory.parent.name
    control = share / "extension" / "timescaledb.control"
    if not control.exists():
        return False
    match = re.search(r"default_version\s*=\s*'([^']+)'", control.read_text(encoding="utf-8"))
    return match is not None and read_version(match[1]) >= TIMESCALEDB_MINIMUM


def loads_timescaledb(postgres: Postgres, account: Account) -> bool:
    """Tell whether a server really loads the extension, by creating it in a database that is thrown away."""
    with tempfile.TemporaryDirectory(prefix="groundwatch-probe-") as name:
        account.own(Path(name))
        data = str(Path(name) / "data")
        steps: tuple[tuple[list[str], str], ...] = (
            ([postgres.program("initdb"), "-D", data, "-N", "-U", "probe", "--locale=C", "-E", "UTF8"], ""),
            (
                [postgres.program("postgres"), "--single", "-c", "shared_preload_libraries=timescaledb", "-D", data, "postgres"],
                "CREATE EXTENSION timescaledb\n",
            ),
        )
        for command, text in steps:
            finished = run_as(account, command, text_input=text, directory=name)
            if finished.returncode != 0 or re.search(r"\b(ERROR|FATAL):", finished.stderr):
                return False
    return True


def find_mosquitto() -> Mosquitto | None:
    """Return the installed broker, if it is new enough."""
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        return None
    match = re.search(r"mosquitto version (\S+)", _output([program, "-h"]))
    if match and read_version(match[1]) >= MOSQUITTO_MINIMUM:
        return Mosquitto(Path(program), "installed")
    return None


def _output(command: list[str]) -> str:
    """Return what a program prints (`mosquitto -h` exits with 3)."""
    try:
        return subprocess.run(command, check=False, capture_output=True, text=True, timeout=30).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""

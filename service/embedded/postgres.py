"""The private PostgreSQL: made once, configured for this machine at every start, recovered after a kill.

This file finishes with a server that answers on loopback, or with the reason why not.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterable
from pathlib import Path

from domain.errors import ConfigurationError, UnavailableError
from service.embedded.home import Account, Layout
from service.embedded.ports import LOOPBACK
from service.embedded.processes import (
    Server,
    clean_environment,
    last_lines,
    run_as,
    spawn,
    wait_until,
    working_in,
)
from service.embedded.programs import Postgres
from service.embedded.secrets_file import write_private

ROLE = "groundwatch"
DATABASE = "groundwatch"
START_TIMEOUT_S = 600.0  # crash recovery replays the write-ahead log first
MEBI = 1024 * 1024


def memory_bytes() -> int:
    """Return the memory that this machine, or the container that we are in, may use."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")):
        if limit.exists():
            text = limit.read_text(encoding="ascii").strip()
            if text.isdigit():
                return min(physical, int(text))
    return physical


def settings(port: int, socket_directory: Path, memory: int, cores: int, *, durable: bool = True) -> dict[str, str]:
    """Return the server's configuration for a machine.

    Parameters
    ----------
    port, socket_directory
        Where it listens (loopback only).
    memory
        Memory of the machine in bytes; the server takes an eighth of it for its buffers, up to 2 GiB.
    cores
        Processors of the machine.
    durable
        False for tests: a commit survives a kill of the server, not of the machine.
    """

    def share(divisor: int, least_mib: int, most_mib: int) -> str:
        return f"{min(max(memory // divisor // MEBI, least_mib), most_mib)}MB"

    roomy_shm = _shared_memory_bytes() >= 512 * MEBI
    return {
        "listen_addresses": LOOPBACK,
        "port": str(port),
        "unix_socket_directories": f'"{socket_directory}"',
        "unix_socket_permissions": "0700",
        "max_connections": "100",
        "password_encryption": "scram-sha-256",
        "shared_preload_libraries": "timescaledb",
        "timescaledb.telemetry_level": "off",
        "timescaledb.max_background_workers": "8",
        "max_worker_processes": str(16 + cores),
        "max_parallel_workers": str(cores),
        "max_parallel_workers_per_gather": str(max(1, min(cores // 2, 4))),
        # One file of 150 years touches 150 chunks and their indexes in one transaction.
        "max_locks_per_transaction": "1024",
        "jit": "off",  # the LLVM library is left out, and short queries only lose by it
        "shared_buffers": share(8, 64, 2048),
        "effective_cache_size": share(2, 128, 65536),
        "work_mem": share(400, 4, 64),
        "maintenance_work_mem": share(32, 32, 512),
        "dynamic_shared_memory_type": "posix" if roomy_shm else "mmap",
        "wal_compression": "on",
        "max_wal_size": "2GB",
        "min_wal_size": "128MB",
        "checkpoint_timeout": "10min",
        "random_page_cost": "1.1",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "datestyle": "iso, ymd",
        "client_encoding": "UTF8",
        "log_min_messages": "warning",
        "log_line_prefix": "%m [%p] %q%u@%d ",
        "log_checkpoints": "off",
        "fsync": "on" if durable else "off",
        "full_page_writes": "on" if durable else "off",
    }


def _shared_memory_bytes() -> int:
    try:
        status = os.statvfs("/dev/shm")
    except OSError:
        return 0
    return status.f_blocks * status.f_frsize


def quote(value: str) -> str:
    """Quote a value for `postgresql.conf`."""
    return "'" + value.replace("'", "''") + "'"


def write_settings(data: Path, values: dict[str, str], account: Account) -> None:
    """Write `postgresql.conf`; what an operator sets by ALTER SYSTEM still wins."""
    text = "# Written by GroundWatch at every start; use ALTER SYSTEM for your own settings.\n"
    text += "".join(f"{name} = {quote(value)}\n" for name, value in values.items())
    path = data / "postgresql.conf"
    write_private(path, text)
    account.own(path)


def create_cluster(postgres: Postgres, layout: Layout, account: Account, password: str, *, durable: bool = True) -> None:
    """Make the data directory: UTF-8, checksums, one role with a password; nothing half made stays in its place.

    Raises
    ------
    ConfigurationError
        `initdb` failed; the message holds its own.
    """
    growing = layout.database.with_name("postgres.unfinished")
    shutil.rmtree(growing, ignore_errors=True)
    growing.mkdir(mode=0o700)
    account.own(growing)
    password_file = layout.broker / "initial-password"
    write_private(password_file, password)
    account.own(password_file)
    # The builtin locale orders by code point whatever C library the server runs on, so an index never breaks by an upgrade.
    locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if postgres.major >= 17 else []
    command = [
        postgres.program("initdb"),
        "-D",
        str(growing),
        "-U",
        ROLE,
        "--pwfile",
        str(password_file),
        "-A",
        "scram-sha-256",
        "-E",
        "UTF8",
        "--locale=C",
        *locale,
        "--data-checksums",
        *([] if durable else ["--no-sync"]),
    ]
    try:
        finished = run_as(account, command)
    finally:
        password_file.unlink()
    if finished.returncode != 0:
        raise ConfigurationError(
            f"the database cannot be made: {finished.stderr.strip()[-400:]}",
            where=str(layout.database),
            remedy="see the message of initdb above",
        )
    growing.rename(layout.database)


def recover(layout: Layout) -> bool:
    """Clear what a killed server left: orphaned backends and the lock files of a process that is gone.

    Returns
    -------
    bool
        True where something had to be cleared.
    """
    remains = [server for pid in working_in(layout.database, "postgres") if (server := Server.adopt(pid)) is not None]
    for server in remains:
        server.send(signal.SIGQUIT)
    for server in remains:
        server.stop((signal.SIGQUIT, signal.SIGKILL), 10.0)
    cleared = bool(remains)
    # Only now, when no process works in the data, is a lock file certainly stale, whoever has its process id today.
    for lock in (layout.database / "postmaster.pid", *layout.socket_directory.glob(".s.PGSQL.*")):
        if lock.exists() or lock.is_symlink():
            lock.unlink()
            cleared = True
    return cleared


def running(layout: Layout) -> Server | None:
    """Return the live server of this home, if there is one."""
    lines = _lock_lines(layout.database)
    if not lines or not lines[0].strip().isdigit():
        return None
    pid = int(lines[0])
    return Server.adopt(pid) if pid in working_in(layout.database, "postgres") else None


def _lock_lines(data: Path) -> list[str]:
    try:
        return (data / "postmaster.pid").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def is_ready(layout: Layout, pid: int) -> bool:
    """Tell whether the server takes connections (it writes so into its lock file)."""
    lines = _lock_lines(layout.database)
    return len(lines) >= 8 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"


class PortTakenError(UnavailableError):
    """Another server took the port between our look and our start; the next port may serve."""

    code = "port-taken"


def start(postgres: Postgres, layout: Layout, account: Account, values: dict[str, str]) -> Server:
    """Start the server and wait until it takes connections.

    Raises
    ------
    PortTakenError
        The port was taken meanwhile.
    ConfigurationError
        It ended, or did not answer in time; the message holds the end of its log.
    """
    write_settings(layout.database, values, account)
    log = layout.log / "postgres.log"
    begin = log.stat().st_size if log.exists() else 0
    server = spawn([postgres.program("postgres"), "-D", str(layout.database)], account, log, {}, layout.database)
    wait_until(lambda: is_ready(layout, server.pid) or not server.is_alive(), START_TIMEOUT_S)
    if server.is_alive() and is_ready(layout, server.pid):
        return server
    server.stop((signal.SIGINT, signal.SIGQUIT, signal.SIGKILL), 10.0)
    said = _said_since(log, begin)
    if "could not bind" in said or "could not create any TCP/IP sockets" in said:
        raise PortTakenError(f"port {values['port']} is taken", where=LOOPBACK)
    raise ConfigurationError(
        f"PostgreSQL did not start: {last_lines(log)}",
        where=str(log),
        remedy="read the log; a home on a full or read-only disk is the usual cause",
    )


def _said_since(log: Path, begin: int) -> str:
    with log.open("rb") as file:
        file.seek(begin if log.stat().st_size >= begin else 0)
        return file.read().decode("utf-8", errors="replace")


def query(postgres: Postgres, port: int, password: str, database: str, statements: Iterable[str]) -> str:
    """Run statements with psql, stop at the first error, return the plain output.

    Raises
    ------
    UnavailableError
        The server refused; the message holds its own.
    """
    command = [
        postgres.program("psql"),
        "-XAtq",
        "-v",
        "ON_ERROR_STOP=1",
        "-h",
        LOOPBACK,
        "-p",
        str(port),
        "-U",
        ROLE,
        "-d",
        database,
    ]
    for statement in statements:
        command += ["-c", statement]
    finished = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        cwd="/",
        env=clean_environment({"PGPASSWORD": password, "PGCONNECT_TIMEOUT": "10"}),
    )
    if finished.returncode != 0:
        raise UnavailableError(finished.stderr.strip(), where=f"{LOOPBACK}:{port}/{database}")
    return finished.stdout.strip()


def ensure_database(postgres: Postgres, port: int, password: str) -> None:
    """Make the database and its extension; an extension older than the library on disk is updated."""
    if not query(postgres, port, password, "postgres", [f"SELECT 1 FROM pg_database WHERE datname = '{DATABASE}'"]):
        query(postgres, port, password, "postgres", [f"CREATE DATABASE {DATABASE}"])
    known = query(
        postgres,
        port,
        password,
        DATABASE,
        [
            "SELECT coalesce(installed_version, ''), coalesce(installed_version, default_version) = default_version "
            "FROM pg_available_extensions WHERE name = 'timescaledb'"
        ],
    )
    if known.startswith("|"):
        query(postgres, port, password, DATABASE, ["CREATE EXTENSION IF NOT EXISTS timescaledb"])
    elif known.endswith("|f"):
        query(postgres, port, password, DATABASE, ["ALTER EXTENSION timescaledb UPDATE"])

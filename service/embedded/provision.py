"""PostgreSQL with TimescaleDB and Mosquitto in the home, without root and without changing the system.

Steps: download (apt, resumable), unpack (`dpkg -x`, no maintainer scripts), bind to their own C library, try them, then
one rename puts the finished tree in place; an interruption at any point costs only the step that it interrupted. This
file finishes with `Programs`.
"""

from __future__ import annotations

import fcntl
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from domain.errors import ConfigurationError
from service.embedded import apt, elf
from service.embedded.home import ALTERNATIVES, Account, Layout, can_enter
from service.embedded.processes import run_as
from service.embedded.programs import Mosquitto, Postgres, Programs, find_mosquitto, find_postgres, read_version

Log = Callable[[str], None]

RECIPE = 1
"""Raised when the way of unpacking changes, so that older trees are unpacked again."""

LEFT_PACKED = re.compile(
    r"^(libllvm|libz3-|perl|libperl|lib\S+-perl_|adduser_|passwd_|login\.defs_|debconf_|locales_|libc-l10n_|base-passwd_|"
    r"init-system-helpers_|sysvinit-utils_|procps_|libproc2|ucf_|sensible-utils_|ssl-cert_|libsemanage|libdebconf|"
    r"postgresql-common|postgresql-client-common|readline-common|openssl_)"
)
"""Packages that the dependency closure names but the two servers never open: LLVM (jit is off), Perl, account tools."""

BIN = "usr/lib/postgresql/17/bin"
POSTGRES_PROGRAMS = (
    "postgres",
    "initdb",
    "psql",
    "pg_ctl",
    "pg_dump",
    "pg_restore",
    "pg_isready",
    "pg_controldata",
    "pg_basebackup",
)
ZONES = Path("/usr/share/zoneinfo")


def find_or_provision(layout: Layout, account: Account, log: Log) -> Programs:
    """Return installed programs where they count, else those of Debian's packages, provisioned now if need be.

    Raises
    ------
    ConfigurationError
        Nothing usable is installed and nothing can be provisioned; the message names the ways out.
    """
    with _provisioning_lock(layout.packages):
        ready = read_finished(layout)
        major = database_major(layout)
        if ready is not None and major in (None, ready.postgres.major):
            # What served this home before serves it again: a second start asks nobody.
            return ready
        postgres = find_postgres(account, major)
        mosquitto = find_mosquitto()
        if postgres and mosquitto:
            return Programs(postgres, mosquitto)
        unpacked = ready or provision(layout, account, log)
        programs = Programs(postgres or unpacked.postgres, mosquitto or unpacked.mosquitto)
    if major not in (None, programs.postgres.major):
        raise ConfigurationError(
            f"the database in this home was written by PostgreSQL {major}, which is no longer installed",
            where=str(layout.database),
            remedy=f"install PostgreSQL {major} with TimescaleDB again, or choose another home and restore a backup there",
        )
    return programs


def database_major(layout: Layout) -> int | None:
    """Return the major version that wrote the database in this home, None where there is no database yet."""
    file = layout.database / "PG_VERSION"
    return int(file.read_text(encoding="ascii").strip()) if file.exists() else None


@contextmanager
def _provisioning_lock(packages: Path) -> Iterator[None]:
    """Homes may share their packages: only one process provisions them at a time."""
    with (packages / "lock").open("w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def read_finished(layout: Layout) -> Programs | None:
    """Return the programs of an earlier provisioning; a tree that was moved since is bound to its new place."""
    root, stamp = layout.packages / "root", layout.packages / "finished.json"
    if not (stamp.exists() and (root / BIN / "postgres").exists()):
        return None
    facts = json.loads(stamp.read_text(encoding="utf-8"))
    if facts["recipe"] != RECIPE:
        return None
    if facts["root"] != str(root):
        elf.patch_programs(root, programs_below(root))
        _write_stamp(stamp, root, facts["packages"])
    return _programs(root)


def _programs(root: Path) -> Programs:
    origin = f"Debian {apt.SUITE} packages"
    return Programs(Postgres(root / BIN, 17, origin), Mosquitto(root / "usr/sbin/mosquitto", origin))


def programs_below(root: Path) -> list[Path]:
    """Return the executables of the unpacked tree that are used."""
    named = [*(root / BIN / name for name in POSTGRES_PROGRAMS), root / "usr/sbin/mosquitto", root / "usr/bin/mosquitto_passwd"]
    return [path for path in named if elf.is_elf(path)]


def provision(layout: Layout, account: Account, log: Log) -> Programs:
    """Download, unpack, bind and try the packages (see the module)."""
    if sys.platform != "linux":
        raise apt.unprovisionable("Debian's packages run on Linux only")
    state = layout.packages / "apt"
    archives = apt.download(state, log)
    root, growing = layout.packages / "root", layout.packages / "root.unfinished"
    wanted = [archive for archive in archives if not LEFT_PACKED.match(archive.name)]
    log(f"unpacking {len(wanted)} of {len(archives)} packages")
    for stale in (growing, root):
        shutil.rmtree(stale, ignore_errors=True)
    unpack(wanted, growing)
    growing.rename(root)
    elf.patch_programs(root, programs_below(root))
    programs = _programs(root)
    try_programs(programs, account)
    _write_stamp(layout.packages / "finished.json", root, [archive.name for archive in wanted])
    # The archives and lists did their work; a later provisioning fetches what is then the newest.
    shutil.rmtree(state, ignore_errors=True)
    return programs


def unpack(archives: list[Path], root: Path) -> None:
    """Unpack `.deb` files over each other below `root`; no maintainer script runs."""
    root.mkdir(parents=True)
    # Debian's merged /usr: packages may still ship /lib, which must end in the same tree.
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / "usr" / name).mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(f"usr/{name}")
    for archive in archives:
        finished = subprocess.run(["dpkg", "-x", str(archive), str(root)], check=False, capture_output=True, text=True)
        if finished.returncode != 0:
            raise ConfigurationError(
                f"the package cannot be unpacked: {finished.stderr.strip()}",
                where=str(archive),
                remedy="check the free disk space and start again",
            )


def try_programs(programs: Programs, account: Account) -> None:
    """Run each server once, as the account that will run it.

    Raises
    ------
    ConfigurationError
        A program does not start, or cannot be reached by the account.
    """
    for program, option, minimum in (
        (programs.postgres.bin / "postgres", "--version", (16,)),
        (programs.mosquitto.program, "-h", (2, 0, 18)),
    ):
        if not can_enter(program.parent, account):
            raise ConfigurationError(
                f"{account.name!r} may not enter the directory",
                where=str(program.parent),
                remedy="choose another home with GROUNDWATCH_HOME or --home",
            )
        finished = run_as(account, [str(program), option])
        if read_version(finished.stdout) < minimum:
            raise ConfigurationError(
                f"the unpacked program does not run here: {(finished.stderr or finished.stdout).strip()[:300]}",
                where=str(program),
                remedy="the home must not be mounted noexec; " + ALTERNATIVES,
            )
    if not (ZONES / "Asia" / "Shanghai").exists():
        raise ConfigurationError(
            "the system has no time zone data, which Debian's PostgreSQL reads from there",
            where=str(ZONES),
            remedy="install the package tzdata",
        )


def _write_stamp(stamp: Path, root: Path, packages: list[str]) -> None:
    text = json.dumps({"recipe": RECIPE, "root": str(root), "packages": packages}, indent=1)
    unfinished = stamp.with_suffix(".unfinished")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(stamp)

"""Debian 13's packages through apt's own verified download, in a private apt state.

The mirror's address comes from the machine's own apt configuration; signatures are checked against Debian's archive keyring.
Nothing of the system's apt (lists, cache, status) is changed. apt continues a partial file, so an interrupted download
is resumed by calling again. This file finishes with the paths of the downloaded packages.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from domain.errors import ConfigurationError
from service.embedded.home import ALTERNATIVES

SUITE = "trixie"
PACKAGES = ("postgresql-17", "postgresql-17-timescaledb", "mosquitto")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
PROGRESS_STEP_PERCENT = 10.0
LOCK_ATTEMPTS = 30
RETRIES = 3

Log = Callable[[str], None]


@dataclass(frozen=True)
class Mirror:
    """One archive of the machine's apt configuration."""

    uri: str
    is_security: bool


def find_mirrors() -> tuple[Mirror, ...]:
    """Return the archives that the machine's apt knows, Debian's main archive first.

    Raises
    ------
    ConfigurationError
        No apt, no Debian keyring, or no archive configured.
    """
    for program in ("apt-get", "dpkg"):
        if shutil.which(program) is None:
            raise unprovisionable(f"this machine has no {program}")
    if not KEYRING.exists():
        raise unprovisionable(f"Debian's archive keyring {KEYRING} is missing")
    mirrors = mirrors_of_index_targets(_run_apt(["apt-get", "indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(REPO_URI)"]))
    if not any(not mirror.is_security for mirror in mirrors):
        # A machine whose lists were never fetched (a fresh container) has no index targets; the addresses are still known.
        mirrors = mirrors_of_release_uris(_run_apt(["apt-get", "update", "--print-uris"]))
    if not any(not mirror.is_security for mirror in mirrors):
        raise unprovisionable("the machine's apt configuration names no Debian archive")
    return mirrors


def mirrors_of_index_targets(listing: str) -> tuple[Mirror, ...]:
    """Read `ORIGIN|LABEL|REPO_URI` lines; only Debian's own archives count."""
    found: dict[str, Mirror] = {}
    for line in listing.splitlines():
        origin, label, uri = [*line.split("|"), "", ""][:3]
        if origin == "Debian" and uri:
            found.setdefault(uri, Mirror(uri, is_security="security" in label.lower()))
    return tuple(sorted(found.values(), key=lambda mirror: mirror.is_security))


def mirrors_of_release_uris(listing: str) -> tuple[Mirror, ...]:
    """Read what `apt-get update --print-uris` prints; an archive is named by the part before `dists`."""
    found: dict[str, Mirror] = {}
    for base, suite in re.findall(r"^'(\S+?/)dists/(\S+?)/InRelease'", listing, flags=re.MULTILINE):
        path = urlsplit(base).path.strip("/")
        if path.split("/")[-1] in ("debian", "debian-security"):
            found.setdefault(base, Mirror(base, is_security="security" in suite or path.endswith("-security")))
    return tuple(sorted(found.values(), key=lambda mirror: mirror.is_security))


def unprovisionable(what: str) -> ConfigurationError:
    """Return the one message for a machine on which nothing can be provisioned."""
    return ConfigurationError(
        f"no installed PostgreSQL with TimescaleDB and Mosquitto was found, and {what}",
        where="embedded stack",
        remedy=ALTERNATIVES,
    )


def download(state: Path, log: Log) -> list[Path]:
    """Download the packages and all they depend on; return the `.deb` files.

    Parameters
    ----------
    state
        Directory of the private apt state; a partial download in it is continued.
    log
        Receives one line a step.

    Raises
    ------
    ConfigurationError
        No network, or the archive does not verify.
    """
    mirrors = find_mirrors()
    log(f"reading the package lists of Debian {SUITE}")
    config = _update_lists(state, mirrors, log)
    archives = state / "cache" / "archives"
    if any(archives.glob("*.deb")):
        # Left by a download that was interrupted, perhaps long ago: versions that are no longer offered must go.
        _run_apt(["apt-get", "-c", str(config), "-qq", "autoclean"], "older archives cannot be removed")
    log(f"downloading {', '.join(PACKAGES)} and what they depend on")
    command = ["apt-get", "-c", str(config), "-qq", "-y", "--download-only", "install", *PACKAGES]
    for attempt in range(LOCK_ATTEMPTS):
        errors = _download_with_progress(command, log)
        if errors is None:
            break
        if "Could not get lock" not in errors or attempt == LOCK_ATTEMPTS - 1:
            raise unprovisionable(f"the download did not finish ({_last_line(errors)}); starting again resumes it")
        time.sleep(1.0)  # the apt of a start that was killed a moment ago is still ending
    return sorted(archives.glob("*.deb"))


def _update_lists(state: Path, mirrors: tuple[Mirror, ...], log: Log) -> Path:
    """Fetch the package lists; a mirror that carries the release alone serves too. Return the configuration's path."""
    config = write_private_state(state, mirrors)
    command = ["apt-get", "-c", str(config), "-qq", "-o", "APT::Update::Error-Mode=any", "update"]
    try:
        _run_apt(command, "the package lists cannot be fetched")
    except ConfigurationError as error:
        log(f"{error.what}; trying without the updates")
        write_private_state(state, mirrors, with_updates=False)
        _run_apt(command, "the package lists cannot be fetched")
    return config


def write_private_state(state: Path, mirrors: Iterable[Mirror], *, with_updates: bool = True) -> Path:
    """Write sources and configuration of the private apt state; return the configuration's path."""
    for directory in ("lists/partial", "cache/archives/partial", "empty"):
        (state / directory).mkdir(parents=True, exist_ok=True)
    architecture = _run_apt(["dpkg", "--print-architecture"]).strip()
    option = f"[arch={architecture} signed-by={KEYRING}]"
    lines = []
    for mirror in mirrors:
        suites = (f"{SUITE}-security",) if mirror.is_security else (SUITE, f"{SUITE}-updates")
        wanted = suites if with_updates else suites[: 0 if mirror.is_security else 1]
        lines += [f"deb {option} {mirror.uri} {suite} main\n" for suite in wanted]
    (state / "sources.list").write_text("".join(lines), encoding="utf-8")
    (state / "status").write_text("", encoding="ascii")
    settings = {
        "Dir::Etc::sourcelist": str(state / "sources.list"),
        "Dir::Etc::sourceparts": str(state / "empty"),
        "Dir::Etc::preferences": "/dev/null",
        "Dir::Etc::preferencesparts": str(state / "empty"),
        "Dir::State": str(state),
        "Dir::State::lists": str(state / "lists"),
        # Empty, as if nothing were installed: the whole set with its own libc. (Not /dev/null: apt puts locks beside it.)
        "Dir::State::status": str(state / "status"),
        "Dir::State::extended_states": str(state / "extended_states"),
        "Dir::Cache": str(state / "cache"),
        "Dir::Cache::archives": str(state / "cache" / "archives"),
        "APT::Architecture": architecture,
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "root",  # the private state is not the _apt user's; verification does not depend on it
        "APT::Keep-Downloaded-Packages": "true",
        "Acquire::Languages": "none",
        "Acquire::Retries": str(RETRIES),
    }
    text = "".join(f'{name} "{value}";\n' for name, value in settings.items())
    # Hooks of the system (cache cleaners of container images) must not run for a private download.
    hooks = (
        "APT::Update::Pre-Invoke",
        "APT::Update::Post-Invoke",
        "APT::Update::Post-Invoke-Success",
        "APT::Architectures",
        "DPkg::Pre-Invoke",
        "DPkg::Post-Invoke",
        "DPkg::Pre-Install-Pkgs",
    )
    config = state / "apt.conf"
    config.write_text("".join(f"#clear {hook};\n" for hook in hooks) + text, encoding="utf-8")
    return config


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "APT_CONFIG"}
    return {**kept, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}


def _run_apt(command: list[str], failure: str | None = None) -> str:
    finished = subprocess.run(
        command, env=_environment(), check=False, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL
    )
    if finished.returncode != 0:
        what = failure or f"`{' '.join(command[:2])}` failed"
        raise unprovisionable(f"{what} ({_last_line(finished.stderr)})")
    return finished.stdout


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.startswith(("E:", "Err", "W:"))] or text.splitlines()
    return lines[0] if lines else "no message"


def _download_with_progress(command: list[str], log: Log) -> str | None:
    """Run apt, tell its progress in steps (its status pipe is standard output), return its errors, None if all went well."""
    process = subprocess.Popen(
        [*command[:1], "-o", "APT::Status-Fd=1", *command[1:]],
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        told = 0.0
        for line in process.stdout:
            match = re.match(r"dlstatus:\d+:([\d.]+):", line)
            if match and float(match[1]) >= told + PROGRESS_STEP_PERCENT:
                told = float(match[1])
                log(f"downloading: {told:.0f} %")
        errors = process.stderr.read()
    return errors if process.returncode != 0 else None

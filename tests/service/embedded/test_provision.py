"""Finding and unpacking the programs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from domain.errors import ConfigurationError
from service.embedded import apt, elf, programs, provision
from service.embedded.apt import Mirror
from service.embedded.home import Account, Layout, server_account
from tests.waiting import wait_until

REPOSITORY = Path(__file__).resolve().parents[3]


def test_mirrors_are_debians_own_archives_in_the_machines_configuration() -> None:
    listing = (
        "Debian|Debian|http://mirror.example/debian/\n"
        "Debian|Debian|http://mirror.example/debian/\n"
        "Debian|Debian-Security|http://mirror.example/debian-security/\n"
        "Node Source|Node Source|https://elsewhere.example/\n"
    )
    assert apt.mirrors_of_index_targets(listing) == (
        Mirror("http://mirror.example/debian/", is_security=False),
        Mirror("http://mirror.example/debian-security/", is_security=True),
    )


def test_a_machine_that_never_fetched_its_lists_still_knows_its_mirror() -> None:
    listing = (
        "'http://mirror.example/debian-security/dists/bookworm-security/InRelease' x 0 \n"
        "'http://mirror.example/debian/dists/bookworm/InRelease' x 0 \n"
        "'https://elsewhere.example/dists/nodistro/InRelease' x 0 \n"
    )
    assert apt.mirrors_of_release_uris(listing) == (
        Mirror("http://mirror.example/debian/", is_security=False),
        Mirror("http://mirror.example/debian-security/", is_security=True),
    )


def test_without_apt_the_one_message_names_compose_and_both_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ConfigurationError) as caught:
        apt.find_mirrors()
    message = str(caught.value)
    assert "no apt-get" in message
    for way in ("docker compose", "GROUNDWATCH_DATABASE_URL", "GROUNDWATCH_MQTT_URL"):
        assert way in message


@pytest.mark.skipif(shutil.which("apt-get") is None or not apt.KEYRING.exists(), reason="no apt with Debian's keyring")
def test_without_network_the_one_message_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apt, "RETRIES", 0)
    # A port of loopback on which nothing listens stands for a network that is down.
    monkeypatch.setattr(apt, "find_mirrors", lambda: (Mirror("http://127.0.0.1:9/debian/", is_security=False),))
    with pytest.raises(ConfigurationError, match="package lists cannot be fetched") as caught:
        apt.download(tmp_path / "apt", lambda _line: None)
    assert "docker compose" in str(caught.value)


def test_the_private_apt_state_points_nowhere_into_the_system(tmp_path: Path) -> None:
    if shutil.which("dpkg") is None:
        pytest.skip("no dpkg")
    config = apt.write_private_state(tmp_path, [Mirror("http://mirror.example/debian/", is_security=False)])
    text = config.read_text()
    directories = [line.split('"')[1] for line in text.splitlines() if line.startswith("Dir::")]
    assert directories
    assert all(path.startswith((str(tmp_path), "/dev/null")) for path in directories)
    sources = (tmp_path / "sources.list").read_text()
    assert str(apt.KEYRING) in sources
    assert " trixie main" in sources
    assert "bookworm" not in sources


def test_what_the_servers_never_open_stays_packed() -> None:
    left = ("libllvm19_1.deb", "perl-base_5.deb", "libjson-perl_4.deb", "libperl5.40_5.deb", "adduser_3.deb")
    needed = (
        "libc6_2.deb",
        "postgresql-17_17.deb",
        "postgresql-17-timescaledb_2.deb",
        "mosquitto_2.deb",
        "libpq5_17.deb",
        "libssl3t64_3.deb",
        "postgresql-client-17_17.deb",
        "libreadline8t64_8.deb",
    )
    assert all(provision.LEFT_PACKED.match(name) for name in left)
    assert not any(provision.LEFT_PACKED.match(name) for name in needed)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("postgres (PostgreSQL) 17.11 (Debian 17.11-0+deb13u1)", (17, 11)),
        ("postgres (PostgreSQL) 18beta1", (18,)),
        ("2.19.3", (2, 19, 3)),
        ("nothing", ()),
    ],
)
def test_versions_are_read_as_numbers(text: str, version: tuple[int, ...]) -> None:
    assert programs.read_version(text) == version


def make_installed(directory: Path, postgres: str, timescaledb: str) -> Path:
    """Make a pretended installation: only what the search looks at."""
    share = directory / "share"
    (share / "extension").mkdir(parents=True)
    (share / "extension" / "timescaledb.control").write_text(f"default_version = '{timescaledb}'\n")
    binaries = directory / "bin"
    binaries.mkdir()
    answers = {"postgres": f"postgres (PostgreSQL) {postgres}", "pg_config": str(share), "initdb": "", "psql": ""}
    for name, answer in answers.items():
        (binaries / name).write_text(f"#!/bin/sh\necho '{answer}'\n")
        (binaries / name).chmod(0o755)
    return binaries


@pytest.mark.parametrize(
    ("postgres", "timescaledb", "counts"),
    [("17.2", "2.17.0", True), ("16.4", "2.18.1", True), ("15.8", "2.18.1", False), ("17.2", "2.16.1", False)],
)
def test_an_installed_server_counts_only_if_it_is_new_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres: str, timescaledb: str, counts: bool
) -> None:
    binaries = make_installed(tmp_path, postgres, timescaledb)
    monkeypatch.setattr(programs, "INSTALLED_POSTGRES", (str(binaries),))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    found = [candidate.bin for candidate in programs.installed_postgres()]
    assert (binaries in found) is counts


def test_an_installed_server_that_cannot_load_the_extension_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binaries = make_installed(tmp_path, "17.2", "2.18.1")
    (binaries / "postgres").write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 17.2'\necho 'FATAL: could not load library' >&2\n")
    monkeypatch.setattr(programs, "INSTALLED_POSTGRES", (str(binaries),))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    me = Account("me", os.geteuid(), os.getegid(), switch=False)
    assert programs.find_postgres(me) is None


@pytest.mark.parametrize(("version", "counts"), [("2.0.18", True), ("2.1.0", True), ("2.0.11", False)])
def test_an_installed_broker_counts_only_if_it_is_new_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, counts: bool
) -> None:
    program = tmp_path / "mosquitto"
    program.write_text(f"#!/bin/sh\necho 'mosquitto version {version}'\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert (programs.find_mosquitto() is not None) is counts


@pytest.mark.stack
def test_the_provisioned_server_really_loads_timescaledb(stack_packages: Path, stack: object) -> None:
    unpacked = provision.read_finished(Layout.of(stack_packages.parent.parent, stack_packages))
    if unpacked is None:
        pytest.skip("the stack runs installed programs here")
    assert programs.loads_timescaledb(unpacked.postgres, server_account())


@pytest.mark.stack
def test_programs_are_bound_to_the_libraries_beside_them(stack_packages: Path, stack: object) -> None:
    unpacked = provision.read_finished(Layout.of(stack_packages.parent.parent, stack_packages))
    if unpacked is None:
        pytest.skip("the stack runs installed programs here")
    root = stack_packages / "root"
    asked = subprocess.run(
        [str(elf.find_loader(root)), "--list", unpacked.postgres.program("postgres")], capture_output=True, text=True, check=True
    )
    resolved = [line.split("=>")[1].split()[0] for line in asked.stdout.splitlines() if "=>" in line]
    assert any("libc.so" in path for path in resolved)
    assert all(path.startswith(str(root.resolve())) for path in resolved)


@pytest.mark.stack
@pytest.mark.slow
@pytest.mark.skipif(shutil.which("apt-get") is None or not apt.KEYRING.exists(), reason="no apt with Debian's keyring")
def test_an_interrupted_download_is_resumed_where_it_stopped(tmp_path: Path) -> None:
    state = tmp_path / "apt"
    script = "import sys; from pathlib import Path; from service.embedded import apt\napt.download(Path(sys.argv[1]), print)"
    first = subprocess.Popen(
        [sys.executable, "-c", script, str(state)], cwd=REPOSITORY, stdout=subprocess.DEVNULL, start_new_session=True
    )
    archives = state / "cache" / "archives"

    def complete() -> dict[str, tuple[int, int]]:
        return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in archives.glob("*.deb")}

    wait_until(lambda: len(complete()) >= 3 or first.poll() is not None, 120, "some packages arrive", poll=0.005)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    kept = complete()
    assert kept
    finished = {path.name: path for path in apt.download(state, lambda _line: None)}
    assert any(name.startswith("postgresql-17-timescaledb_") for name in finished)
    assert {name: complete()[name] for name in kept} == kept
    assert list((archives / "partial").iterdir()) == []
    shutil.rmtree(state)  # pytest would keep its 100 MB

"""The parts of the embedded stack that need no server."""

from __future__ import annotations

import os
import pwd
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from domain.errors import ConfigurationError, RequestError
from service.embedded import home, keeper, mosquitto, ports, postgres
from service.embedded.accounts import SERVICE_USER, AccountFiles, access_text, hash_password, password_matches
from service.embedded.home import Account, Layout
from service.embedded.processes import Server, start_time
from service.embedded.secrets_file import read_or_make
from tests.waiting import wait_until

ME = Account("me", os.geteuid(), os.getegid(), switch=False)
GIBI = 1024**3


def test_secrets_are_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    made = read_or_make(path)
    assert read_or_make(path) == made
    assert made.database != made.broker
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_password_hash_has_mosquittos_form_and_matches_only_its_password() -> None:
    hashed = hash_password("secret")
    assert hashed.startswith("$7$")
    assert password_matches("secret", hashed)
    assert not password_matches("Secret", hashed)
    assert hash_password("secret") != hashed


@pytest.mark.parametrize("name", ["", "_groundwatch", "a:b", "a/b", "a+", "#", "a\nb", "-a", "x" * 65])
def test_a_device_name_that_files_or_topics_would_misread_is_refused(tmp_path: Path, name: str) -> None:
    files = AccountFiles(tmp_path, ME)
    with pytest.raises(RequestError):
        files.add(name, "secret")
    assert files.read() == {}


def test_accounts_survive_and_the_service_account_cannot_be_a_station(tmp_path: Path) -> None:
    files = AccountFiles(tmp_path, ME)
    files.set_service("one")
    files.add("JX-001", "two")
    files.add("gateway", "three", ("JX-002",), ("application/#",))
    accounts = AccountFiles(tmp_path, ME).read()
    assert set(accounts) == {SERVICE_USER, "JX-001", "gateway"}
    text = files.access.read_text()
    assert "topic write gw/v1/stations/JX-002/#" in text
    assert "topic write application/#" in text
    assert "user JX-001" not in text
    assert len(files.passwords.read_text().splitlines()) == 3
    assert files.remove("JX-001")
    assert not files.remove("JX-001")


def test_every_device_is_bound_to_its_own_station() -> None:
    lines = access_text({}).splitlines()
    assert "pattern write gw/v1/stations/%u/#" in lines
    assert "pattern read gw/v1/stations/%u/receipt" in lines
    assert not any(line.startswith("pattern") and "%u" not in line for line in lines)


def test_the_broker_keeps_queues_without_a_count_but_with_a_byte_limit(tmp_path: Path) -> None:
    layout = Layout.of(tmp_path)
    text = mosquitto.configuration(1883, layout, AccountFiles(layout.broker, ME), 12345)
    lines = text.splitlines()
    for line in ("persistence true", "allow_anonymous false", "max_queued_bytes 12345", "listener 1883 127.0.0.1"):
        assert line in lines
    count = next(int(line.split()[1]) for line in lines if line.startswith("max_queued_messages"))
    assert count == 2**31 - 1


@pytest.mark.parametrize(("memory", "buffers"), [(24 * GIBI, 2048), (GIBI, 128), (GIBI // 4, 64)])
def test_memory_settings_follow_the_machine(memory: int, buffers: int) -> None:
    values = postgres.settings(5432, Path("/s"), memory, 2)
    assert values["shared_buffers"] == f"{buffers}MB"
    assert int(values["max_locks_per_transaction"]) >= 1024
    assert values["jit"] == "off"
    assert values["fsync"] == "on"
    assert mosquitto.queue_limit_bytes(memory) <= max(memory // 4, 64 * 1024 * 1024)


def test_settings_are_quoted_for_the_configuration_file() -> None:
    assert postgres.quote("it's") == "'it''s'"


def test_a_free_port_is_kept_and_a_taken_one_is_stepped_around() -> None:
    with closing(socket.create_server((ports.LOOPBACK, 0))) as taken:
        port = taken.getsockname()[1]
        chosen = ports.choose(port)
        assert chosen > port
        assert ports.choose(chosen) == chosen
        assert ports.choose(chosen, frozenset({chosen})) > chosen


def test_no_free_port_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "is_free", lambda _port: False)
    with pytest.raises(ConfigurationError, match="no port between 7000"):
        ports.choose(7000)


def test_the_socket_directory_is_short_however_deep_the_home_lies(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*(["a-long-directory-name"] * 8))
    assert len(str(Layout.of(deep).socket_directory)) <= home.SOCKET_PATH_LIMIT
    assert Layout.of(deep).socket_directory != Layout.of(deep / "other").socket_directory
    short = Layout.of(Path("/srv/gw"))
    assert short.socket_directory == Path("/srv/gw/embedded/socket")


def test_a_home_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be written"):
        home.prepare(Layout.of(tmp_path / "file" / "home"), ME)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another account")
def test_as_root_a_home_that_the_account_cannot_enter_is_named(tmp_path: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    account = Account("nobody", nobody.pw_uid, nobody.pw_gid, switch=True)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(ConfigurationError, match="may not enter") as caught:
        home.prepare(Layout.of(closed / "home"), account)
    assert "GROUNDWATCH_HOME" in str(caught.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another account")
def test_as_root_the_servers_run_as_an_unprivileged_account() -> None:
    account = home.server_account()
    assert account.uid != 0
    assert account.switch


def test_a_process_id_that_was_given_away_is_not_adopted() -> None:
    started = start_time(os.getpid())
    assert started is not None
    assert Server.adopt(os.getpid(), started) is not None
    assert Server.adopt(os.getpid(), started + 1) is None


def test_the_keeper_stops_registered_servers_only() -> None:
    sleepers = [subprocess.Popen(["sleep", "600"]) for _ in range(2)]
    try:
        starts = [start_time(process.pid) for process in sleepers]
        lines = [f"{process.pid} {start} {int(signal.SIGTERM)}\n" for process, start in zip(sleepers, starts, strict=True)]
        keep = subprocess.Popen([sys.executable, "-I", "-S", keeper.__file__], stdin=subprocess.PIPE, text=True)
        keep.communicate("".join([*lines, f"{sleepers[1].pid} 0 0\n"]), timeout=10)
        wait_until(lambda: sleepers[0].poll() is not None, 5, "the registered process ends")
        assert sleepers[1].poll() is None
    finally:
        for process in sleepers:
            process.kill()
            process.wait()


def test_the_keeper_spares_a_process_that_took_over_an_id() -> None:
    sleeper = subprocess.Popen(["sleep", "600"])
    try:
        start = start_time(sleeper.pid)
        assert start is not None
        keeper.stop_servers({sleeper.pid: (start + 1, int(signal.SIGKILL))}, 0.1)
        assert sleeper.poll() is None
    finally:
        sleeper.kill()
        sleeper.wait()

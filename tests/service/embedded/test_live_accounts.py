"""Accounts and a broker that reads its files when it pleases: what it was not seen to have read is not taken for read."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from domain.errors import RequestError, UnavailableError
from service.embedded import live_accounts
from service.embedded.accounts import AccountFiles, password_matches
from service.embedded.home import Account
from service.embedded.live_accounts import LiveAccounts
from service.embedded.mosquitto import ACCEPTED, NOT_AUTHORISED

PORT = 1883


class Forgetful:
    """A broker that takes one signal in `every` and forgets the others."""

    def __init__(self, directory: Path, every: int = 1) -> None:
        self._files = AccountFiles(directory, ME)
        self._every = every
        self.signals = 0
        self.known = self._files.read()
        self.on_read: Callable[[], None] = lambda: None

    def is_alive(self) -> bool:
        return True

    def send(self, number: signal.Signals) -> None:
        assert number == signal.SIGHUP
        self.signals += 1
        if self.signals % self._every == 0:
            self.known = self._files.read()
            self.on_read()

    def answer(self, port: int, user: str, password: str) -> int:
        assert port == PORT
        account = self.known.get(user)
        return ACCEPTED if account is not None and password_matches(password, account.password_hash) else NOT_AUTHORISED


ME = Account("me", os.geteuid(), os.getegid(), switch=False)


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_accounts, "AGAIN_S", 0.0)


def test_a_signal_that_the_broker_forgot_is_sent_again_until_the_device_is_known(tmp_path: Path) -> None:
    broker = Forgetful(tmp_path, every=3)
    LiveAccounts(AccountFiles(tmp_path, ME), broker, PORT, broker.answer).add("W1", "secret")
    assert broker.signals == 3
    assert broker.answer(PORT, "W1", "secret") == ACCEPTED


def test_a_withdrawn_device_is_seen_to_be_refused_whatever_its_password_was(tmp_path: Path) -> None:
    files, broker = AccountFiles(tmp_path, ME), Forgetful(tmp_path, every=2)
    accounts = LiveAccounts(files, broker, PORT, broker.answer)
    accounts.add("G1", "secret", ("W1", "W2"), ("application/#",))
    rights: list[tuple[str, ...]] = []
    broker.on_read = lambda: rights.extend(account.stations for account in broker.known.values())
    assert accounts.remove("G1")
    assert "G1" not in broker.known
    assert rights == [("W1", "W2")]  # while it has its last password it has its rights still, and then there is no account
    assert not accounts.remove("G1")


def test_a_broker_that_never_reads_is_told_of_and_one_that_does_not_run_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_accounts, "PATIENCE_S", 0.01)
    deaf = Forgetful(tmp_path, every=10**9)
    with pytest.raises(UnavailableError, match="did not read its accounts"):
        LiveAccounts(AccountFiles(tmp_path, ME), deaf, PORT, deaf.answer).add("W1", "secret")
    stopped = LiveAccounts(AccountFiles(tmp_path, ME), None, PORT)
    stopped.add("W2", "secret")
    assert set(AccountFiles(tmp_path, ME).read()) == {"W1", "W2"}
    assert stopped.remove("W1")
    with pytest.raises(RequestError):
        stopped.remove("_groundwatch")


def test_rights_are_in_place_before_a_password_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = AccountFiles(tmp_path, ME)
    files.add("W1", "secret")
    written: list[str] = []
    replace = Path.replace

    def noted(path: Path, target: Path) -> Path:
        written.append(Path(target).name)
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", noted)
    files.add("G1", "secret", ("W1",))
    assert written.index("access") < written.index("passwords")


def test_accounts_that_are_added_at_the_same_time_are_all_there(tmp_path: Path) -> None:
    names = [f"W{number}" for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: AccountFiles(tmp_path, ME).add(name, "secret"), names))
    assert set(AccountFiles(tmp_path, ME).read()) == set(names)
    assert (tmp_path / "accounts.lock").stat().st_mode & 0o077 == 0

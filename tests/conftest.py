"""Session fixtures: the shared data, one embedded stack, a fresh migrated database a module, the broker's login.

The stack's programs are provisioned once in GROUNDWATCH_TEST_HOME (default `.home/test` in the checkout) and kept; the data
are made anew each session. With GROUNDWATCH_FORBID_SKIPS=1 a skipped `stack` or `page` test fails the session.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

for _variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")  # before numpy is imported, as the command line does

pytest_plugins = ["tests.browser"]

if TYPE_CHECKING:
    from service.embedded import EmbeddedStack

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED_ABSENT = "the shared real data are absent (GROUNDWATCH_SHARED)"
MUST_RUN = frozenset({"stack", "page"})

_forbidden_skips: list[str] = []


@dataclass(frozen=True)
class BrokerLogin:
    """The broker's address and its service account, and the stack for device accounts."""

    url: str
    host: str
    port: int
    username: str
    password: str
    stack: EmbeddedStack


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The directory of real data files."""
    named = os.environ.get("GROUNDWATCH_SHARED")
    base = Path(named) if named else REPOSITORY.parent / "shared"
    for candidate in (base / "data", base):
        if (candidate / "PROVENANCE.md").exists():
            return candidate
    pytest.skip(SHARED_ABSENT)


@pytest.fixture(scope="session")
def stack_home() -> Path:
    """The directory that keeps provisioned programs between sessions, one that the servers' account can enter."""
    from service.embedded.home import can_enter, server_account

    home = Path(os.environ.get("GROUNDWATCH_TEST_HOME") or REPOSITORY / ".home" / "test").absolute()
    existing = next(path for path in (home, *home.parents) if path.exists())
    if not can_enter(existing, server_account()):
        home = Path("/var/tmp") / f"groundwatch-test-{os.geteuid()}"
    home.mkdir(parents=True, exist_ok=True)
    return home


@pytest.fixture(scope="session")
def stack_packages(stack_home: Path) -> Path:
    """The directory of the provisioned programs, shared by every stack of the suite."""
    return stack_home / "embedded" / "packages"


@pytest.fixture(scope="session")
def stack(stack_home: Path, stack_packages: Path) -> Iterator[EmbeddedStack]:
    """One running PostgreSQL with TimescaleDB and one Mosquitto for the whole session."""
    from service.embedded import EmbeddedStack
    from service.embedded.processes import start_time

    sessions = stack_home / "sessions"
    sessions.mkdir(exist_ok=True)
    for left in sessions.iterdir():  # of sessions that were killed
        if start_time(int(left.name.partition("-")[0])) is None:
            shutil.rmtree(left, ignore_errors=True)
    home = sessions / f"{os.getpid()}-{uuid.uuid4().hex[:6]}"
    running = EmbeddedStack(home, packages=stack_packages, durable=False)
    running.start()
    try:
        yield running
    finally:
        running.stop()
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def server_url(stack: EmbeddedStack) -> str:
    """The address of the session's server, without the database's name: append `/name`."""
    return stack.addresses.database_url.rpartition("/")[0]


@pytest.fixture(scope="session")
def template_database(server_url: str) -> str:
    """The name of a migrated database that nobody is connected to."""
    from storage.migrate import migrate

    name = "template_migrated"
    _administer(server_url, f"CREATE DATABASE {name}")
    migrate(f"{server_url}/{name}")
    _administer(
        server_url,
        # TimescaleDB's scheduler connects to every database that admits it, and would keep the template in use.
        f"ALTER DATABASE {name} WITH IS_TEMPLATE true ALLOW_CONNECTIONS false",
        f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{name}'",
    )
    return name


@pytest.fixture(scope="module")
def database_url(server_url: str, template_database: str) -> Iterator[str]:
    """The address of a fresh migrated database, one a test module."""
    yield from _fresh_database(server_url, template_database)


@pytest.fixture
def own_database_url(server_url: str, template_database: str) -> Iterator[str]:
    """The address of a fresh migrated database for one test alone."""
    yield from _fresh_database(server_url, template_database)


@pytest.fixture
def empty_database_url(server_url: str) -> Iterator[str]:
    """The address of a database without a schema, for tests of the migrations."""
    yield from _fresh_database(server_url, "template0")


def _fresh_database(server_url: str, template: str) -> Iterator[str]:
    name = f"test_{uuid.uuid4().hex[:12]}"
    _administer(server_url, f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        yield f"{server_url}/{name}"
    finally:
        _administer(server_url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def _administer(server_url: str, *statements: str) -> None:
    import psycopg

    with psycopg.connect(f"{server_url}/postgres", autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


@pytest.fixture(scope="session")
def broker(stack: EmbeddedStack) -> BrokerLogin:
    """The running broker and its service account."""
    addresses = stack.addresses
    return BrokerLogin(
        addresses.mqtt_url_with_login, "127.0.0.1", addresses.mqtt_port, addresses.mqtt_username, addresses.mqtt_password, stack
    )


# --- skips ----------------------------------------------------------------------------------------------------------


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember skipped tests that must not be skipped where skips are forbidden."""
    if report.skipped and not hasattr(report, "wasxfail") and MUST_RUN & set(report.keywords):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if SHARED_ABSENT not in reason or os.environ.get("GROUNDWATCH_SHARED"):
            _forbidden_skips.append(f"{report.nodeid}: {reason}")


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """A module that is skipped as a whole hides its tests, whatever their marks."""
    if report.skipped:
        _forbidden_skips.append(f"{report.nodeid}: skipped as a whole")


def _skips_forbidden() -> bool:
    return os.environ.get("GROUNDWATCH_FORBID_SKIPS", "") not in ("", "0")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the session where a test of the real stack or of the page was skipped and that is forbidden."""
    if _skips_forbidden() and _forbidden_skips and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the skipped tests that failed the session."""
    if _skips_forbidden() and _forbidden_skips:
        terminalreporter.section("skips that GROUNDWATCH_FORBID_SKIPS forbids", red=True)
        for line in _forbidden_skips:
            terminalreporter.write_line(line)

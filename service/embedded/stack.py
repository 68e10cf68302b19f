"""The embedded stack as one thing: start, stop, status, accounts.

One process owns a running stack and holds its lock; a keeper process shares the lock and stops the servers however the
owner ends. A second start in the same home uses what runs already and leaves it running. This file finishes with
the addresses of both servers.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from domain.errors import ConfigurationError, ConflictError, UnavailableError
from service.embedded import mosquitto, ports, postgres
from service.embedded.accounts import SERVICE_USER, AccountFiles
from service.embedded.addresses import StackAddresses, StackStatus
from service.embedded.home import Account, Layout, default_home, prepare, server_account
from service.embedded.live_accounts import LiveAccounts
from service.embedded.ownership import Ownership
from service.embedded.processes import Server, wait_until
from service.embedded.programs import Programs
from service.embedded.provision import find_or_provision
from service.embedded.remembered_ports import RememberedPorts
from service.embedded.secrets_file import Secrets, read_or_make

POSTGRES_STOP = (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL)
MOSQUITTO_STOP = (signal.SIGTERM, signal.SIGKILL)
STOP_PATIENCE_S = 20.0
HANDOVER_S = 60.0
ATTACH_TIMEOUT_S = 900.0

Log = Callable[[str], None]
T = TypeVar("T")


def log_to_stderr(message: str) -> None:
    """Tell a step on standard error."""
    sys.stderr.write(f"groundwatch: {message}\n")
    sys.stderr.flush()


class EmbeddedStack:
    """A private PostgreSQL with TimescaleDB and a private Mosquitto under one home.

    Parameters
    ----------
    home
        Directory of data, logs and (unless `packages` is given) unpacked programs.
    log
        Receives one line a step; standard error by default.
    packages
        Directory of the unpacked programs, to share them between homes.
    durable
        False for tests: commits survive a kill of the servers, not of the machine.
    """

    def __init__(
        self, home: Path | None = None, *, log: Log = log_to_stderr, packages: Path | None = None, durable: bool = True
    ) -> None:
        self.layout = Layout.of(home or default_home(), packages)
        self._log = log
        self._durable = durable
        self._programs: Programs | None = None
        self._account: Account | None = None
        self._secrets: Secrets | None = None
        self._postgres: Server | None = None
        self._mosquitto: Server | None = None
        self._ports = RememberedPorts(self.layout.state, log)
        self._owned: list[Server] = []
        self._ownership = Ownership(self.layout)

    # --- life ---------------------------------------------------------------------------------------------------

    def start(self) -> StackAddresses:
        """Start what does not run yet, provisioning it first if need be; the servers end with this process.

        Raises
        ------
        ConfigurationError
            The stack cannot run here; the message says why and names the ways out.
        """
        self._prepare()
        if not self._ownership.take():
            return self._attach()
        try:
            self._ownership.start_keeper()
            self._start_servers()
        except BaseException:
            self.stop()
            raise
        return self.addresses

    def start_detached(self) -> StackAddresses:
        """Start what does not run yet and let it run on when this process ends (`groundwatch embedded start`)."""
        self._prepare()
        if not self._ownership.take():
            return self._attach()
        try:
            self._start_servers()
        except BaseException:
            self.stop()
            raise
        for server in self._owned:
            server.release()
        self._owned.clear()
        self._ownership.release()
        return self.addresses

    def stop(self) -> None:
        """Stop the servers that this object started and leave no process behind; stopping twice is harmless."""
        for server in reversed(self._owned):
            server.stop(POSTGRES_STOP if server is self._postgres else MOSQUITTO_STOP, STOP_PATIENCE_S)
            self._ownership.tell_keeper(server, 0)
        self._owned.clear()
        self._postgres = self._mosquitto = None
        self._ports.forget_who_was_told()
        self._ownership.stop_keeper()
        self._ownership.release()

    def stop_all(self) -> bool:
        """Stop whatever runs in this home detached; return whether anything ran.

        Raises
        ------
        ConflictError
            Another process owns the running stack and would lose it under its feet.
        """
        if not self.layout.root.is_dir():
            return False
        if not self._ownership.take():
            raise ConflictError(
                f"the stack belongs to process {self._ownership.owner_pid()}",
                where=str(self.layout.home),
                remedy="end that process (Ctrl-C or SIGTERM); it stops the servers itself",
            )
        try:
            found = [(mosquitto.running(self.layout), MOSQUITTO_STOP), (postgres.running(self.layout), POSTGRES_STOP)]
            for server, numbers in found:
                if server is not None:
                    server.stop(numbers, STOP_PATIENCE_S)
            return any(server is not None for server, _ in found)
        finally:
            self._ownership.release()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    # --- single servers (also for tests that kill them) ---------------------------------------------------------

    @property
    def postgres_pid(self) -> int:
        """Process id of the PostgreSQL server."""
        return _require(self._postgres).pid

    @property
    def mosquitto_pid(self) -> int:
        """Process id of the broker."""
        return _require(self._mosquitto).pid

    def start_broker(self) -> None:
        """Start the broker again on the same port (nothing to do while it runs)."""
        if self._mosquitto is None or not self._mosquitto.is_alive():
            self._start_mosquitto()

    def stop_broker(self) -> None:
        """Stop the broker; its sessions and queues are kept on disk."""
        if self._mosquitto is not None:
            self._forget(self._mosquitto, MOSQUITTO_STOP)
            self._mosquitto = None

    def revive(self) -> list[str]:
        """Start those servers that this object started and that have ended unasked, each on its port; return their names.

        Raises
        ------
        GroundWatchError
            A server does not start, or another program took its port; nothing is lost by trying again later.
        """
        revived = []
        if self._has_fallen("postgres", self._postgres):
            self.restart_postgres()
            revived.append("PostgreSQL")
        if self._mosquitto is not None and self._has_fallen("mqtt", self._mosquitto):
            self._forget(self._mosquitto, MOSQUITTO_STOP)
            self._start_mosquitto()
            revived.append("Mosquitto")
        return revived

    def _has_fallen(self, name: str, server: Server | None) -> bool:
        """A server that was stopped on purpose, or that somebody else started, has not fallen."""
        return self._ports.was_told(name) and server is not None and not server.is_alive()

    def restart_postgres(self) -> None:
        """Stop PostgreSQL if it still runs and start it again on the same port, recovering after a kill."""
        if self._postgres is not None:
            self._forget(self._postgres, POSTGRES_STOP)
        self._start_postgres()

    def add_device(self, station_code: str, password: str) -> None:
        """Let a device publish under its own station; the running broker knows it when this returns."""
        self._accounts.add(station_code, password)

    def add_gateway(self, name: str, password: str, stations: tuple[str, ...] = (), topics: tuple[str, ...] = ()) -> None:
        """Let a gateway publish for several stations, and on further topics (ChirpStack's `application/#`, say)."""
        self._accounts.add(name, password, stations, topics)

    def remove_device(self, name: str) -> bool:
        """Withdraw a device's or gateway's account, and its connections; return whether it was known."""
        return self._accounts.remove(name)

    @property
    def addresses(self) -> StackAddresses:
        """Where both servers answer."""
        secrets = self._known_secrets
        database_port, mqtt_port = self._ports["postgres"], self._ports["mqtt"]
        login = f"{postgres.ROLE}:{secrets.database}"
        return StackAddresses(
            database_url=f"postgresql://{login}@{ports.LOOPBACK}:{database_port}/{postgres.DATABASE}",
            mqtt_url=f"mqtt://{ports.LOOPBACK}:{mqtt_port}",
            mqtt_username=SERVICE_USER,
            mqtt_password=secrets.broker,
            postgres_port=database_port,
            mqtt_port=mqtt_port,
        )

    def status(self) -> StackStatus:
        """Tell what runs in this home, whoever started it."""
        self._ports.read()
        database, broker = postgres.running(self.layout), mosquitto.running(self.layout)
        return StackStatus(
            home=str(self.layout.home),
            postgres_pid=database.pid if database else None,
            mosquitto_pid=broker.pid if broker else None,
            postgres_port=self._ports["postgres"] if database else None,
            mqtt_port=self._ports["mqtt"] if broker else None,
            owner_pid=self._ownership.owner_pid(),
        )

    def addresses_if_running(self) -> StackAddresses:
        """Return the addresses of a stack that somebody started in this home.

        Raises
        ------
        UnavailableError
            It does not run.
        """
        if not self.status().is_running:
            raise UnavailableError(
                "the embedded stack does not run",
                where=str(self.layout.home),
                remedy="start it with `groundwatch embedded start`",
            )
        self._secrets = read_or_make(self.layout.secrets)
        return self.addresses

    # --- steps --------------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        if sys.platform != "linux":
            raise ConfigurationError(
                "the embedded stack runs on Linux only",
                where=sys.platform,
                remedy="run `docker compose up`, or set GROUNDWATCH_DATABASE_URL and GROUNDWATCH_MQTT_URL",
            )
        self._account = server_account(self.layout.database)
        prepare(self.layout, self._account)
        self._secrets = read_or_make(self.layout.secrets)
        self._ports.read()

    def _start_servers(self) -> None:
        self._programs = find_or_provision(self.layout, self._known_account, self._log)
        database = postgres.running(self.layout)
        if database is not None and wait_until(lambda: postgres.is_ready(self.layout, database.pid), HANDOVER_S):
            self._postgres = database
        else:
            self._start_postgres()
        broker = mosquitto.running(self.layout)
        if broker is not None:
            self._mosquitto = broker
        else:
            self._start_mosquitto()
        self._log(f"PostgreSQL on port {self._ports['postgres']}, Mosquitto on port {self._ports['mqtt']}")

    def _start_postgres(self) -> None:
        programs, secrets = self._known_programs, self._known_secrets
        if postgres.recover(self.layout):
            self._log("PostgreSQL was not stopped cleanly the last time; recovering")
        if not (self.layout.database / "PG_VERSION").exists():
            self._log("creating the database")
            postgres.create_cluster(programs.postgres, self.layout, self._known_account, secrets.database, durable=self._durable)

        def start_on(port: int) -> Server:
            values = postgres.settings(
                port, self.layout.socket_directory, postgres.memory_bytes(), os.cpu_count() or 1, durable=self._durable
            )
            return postgres.start(programs.postgres, self.layout, self._known_account, values)

        self._postgres = self._ports.start("postgres", start_on)
        self._own(self._postgres, signal.SIGINT)
        postgres.ensure_database(programs.postgres, self._ports["postgres"], secrets.database)

    def _start_mosquitto(self) -> None:
        programs, secrets = self._known_programs, self._known_secrets
        limit = mosquitto.queue_limit_bytes(postgres.memory_bytes())

        def start_on(port: int) -> Server:
            return mosquitto.start(programs.mosquitto, self.layout, self._known_account, port, secrets.broker, limit)

        self._mosquitto = self._ports.start("mqtt", start_on)
        self._own(self._mosquitto, signal.SIGTERM)

    def _attach(self) -> StackAddresses:
        """Use the stack that another living process owns."""
        # Its owner may still be downloading: wait as long as it lives and does not take absurdly long.
        wait_until(lambda: self.status().is_running or self._ownership.owner_pid() is None, ATTACH_TIMEOUT_S)
        if not self.status().is_running:
            raise UnavailableError(
                f"process {self._ownership.owner_pid()} holds this home but its servers do not run",
                where=str(self.layout.home),
                remedy="end that process and start again",
            )
        self._log(f"using the stack that process {self._ownership.owner_pid()} runs")
        self._programs = find_or_provision(self.layout, self._known_account, self._log)
        self._postgres, self._mosquitto = postgres.running(self.layout), mosquitto.running(self.layout)
        self._ports.read()
        return self.addresses

    def _own(self, server: Server, number: signal.Signals) -> None:
        self._owned.append(server)
        self._ownership.tell_keeper(server, number)

    def _forget(self, server: Server, numbers: tuple[signal.Signals, ...]) -> None:
        server.stop(numbers, STOP_PATIENCE_S)
        self._ownership.tell_keeper(server, 0)
        if server in self._owned:
            self._owned.remove(server)

    # --- memory -------------------------------------------------------------------------------------------------

    @property
    def _accounts(self) -> LiveAccounts:
        if self._mosquitto is None:  # somebody else's, where it runs
            self._ports.read()
        files = AccountFiles(self.layout.broker, self._account or server_account(self.layout.database))
        return LiveAccounts(files, self._mosquitto or mosquitto.running(self.layout), self._ports["mqtt"])

    @property
    def _known_account(self) -> Account:
        return _require(self._account)

    @property
    def _known_secrets(self) -> Secrets:
        return _require(self._secrets)

    @property
    def _known_programs(self) -> Programs:
        return _require(self._programs)


def _require(value: T | None) -> T:
    if value is None:
        raise UnavailableError("the embedded stack has not been started", remedy="call start() first")
    return value

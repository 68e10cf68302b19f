"""The composition root: reads settings once and hands each part what it needs, and nothing more.

Parts are built when they are first asked for, so that `groundwatch import` opens no broker connection and `velocity` no database. This
file finishes with `Container`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Self

from service.settings import Settings

if TYPE_CHECKING:
    from alerts.dispatch import Dispatcher
    from alerts.engine import AlertEngine
    from ingest.pipeline import Pipeline
    from storage.access import AccessRepository
    from storage.alerts import AlertRepository
    from storage.analyses import AnalysisRepository
    from storage.database import Database
    from storage.observations import ObservationRepository
    from storage.raw_files import FileStore
    from storage.registers import RegisterRepository
    from storage.rollups import RollupRepository
    from storage.sharing import ChangesRepository
    from storage.work import WorkQueue


class Container:
    """Everything a process works with; a context manager that closes what was opened."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the database pool if it was opened."""
        if "db" in self.__dict__:
            self.db.close()

    @staticmethod
    def clock() -> datetime:
        """Return the time, in UTC."""
        return datetime.now(UTC)

    @cached_property
    def database_url(self) -> str:
        """Return the configured database, else the one of the embedded stack that runs in this home."""
        if self.settings.database_url:
            return self.settings.database_url
        from service.embedded import EmbeddedStack

        return EmbeddedStack(self.settings.home).addresses_if_running().database_url

    @cached_property
    def mqtt_url(self) -> str:
        """Return the configured broker with its login, else the one of the embedded stack that runs in this home."""
        if self.settings.mqtt_url:
            return self.settings.mqtt_url
        from service.embedded import EmbeddedStack

        return EmbeddedStack(self.settings.home).addresses_if_running().mqtt_url_with_login

    @cached_property
    def db(self) -> Database:
        """Return the pool of database connections, opened."""
        from storage.database import Database

        database = Database(self.database_url, max_size=self.settings.database_pool)
        database.open()
        return database

    def migrate(self, say: Callable[[str], None]) -> None:
        """Bring the schema up to date."""
        from storage.migrate import migrate

        migrate(self.database_url, say)

    @cached_property
    def registers(self) -> RegisterRepository:
        """Return the registers."""
        from storage.registers import RegisterRepository

        return RegisterRepository(self.db)

    @cached_property
    def observations(self) -> ObservationRepository:
        """Return the observations."""
        from storage.observations import ObservationRepository

        return ObservationRepository(self.db)

    @cached_property
    def analyses(self) -> AnalysisRepository:
        """Return runs and findings."""
        from storage.analyses import AnalysisRepository

        return AnalysisRepository(self.db)

    @cached_property
    def alerts(self) -> AlertRepository:
        """Return rules, alerts and the outbox."""
        from storage.alerts import AlertRepository

        return AlertRepository(self.db)

    @cached_property
    def access(self) -> AccessRepository:
        """Return accounts, keys, partners and the audit log."""
        from storage.access import AccessRepository

        return AccessRepository(self.db)

    @cached_property
    def changes(self) -> ChangesRepository:
        """Return the partners' feed."""
        from storage.sharing import ChangesRepository

        return ChangesRepository(self.db)

    @cached_property
    def work(self) -> WorkQueue:
        """Return the work that commits leave behind."""
        from storage.work import WorkQueue

        return WorkQueue(self.db)

    @cached_property
    def rollups(self) -> RollupRepository:
        """Return the roll-ups."""
        from storage.rollups import RollupRepository

        return RollupRepository(self.db)

    @cached_property
    def raw_files(self) -> FileStore:
        """Return the store of raw files."""
        from storage.raw_files import FileStore

        return FileStore(self.settings.home / "raw")

    @cached_property
    def pipeline(self) -> Pipeline:
        """Return the ingest pipeline on the stores above."""
        from ingest.pipeline import Pipeline

        return Pipeline(self.registers, self.observations, self.raw_files)

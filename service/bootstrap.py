"""The composition root: reads settings once and hands each part what it needs, and nothing more.

Parts are built when they are first asked for, so that `groundwatch import` opens no broker connection and `velocity` no database. This
file finishes with `Container`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Self
from zoneinfo import ZoneInfo

from domain.errors import ConfigurationError
from service.settings import Settings, load_receiver_secrets

if TYPE_CHECKING:
    from ssl import SSLContext

    from alerts.alarm_quality import Episode, Notice
    from alerts.case_desk import CaseDesk
    from alerts.dispatch import Dispatcher
    from alerts.engine import AlertEngine
    from alerts.issue import Issuer
    from ingest.pipeline import Pipeline
    from ingest.transports.births import BirthBook
    from service.quality.inspector import Inspector
    from storage.access import AccessRepository
    from storage.alarm_quality import AlarmQualityRepository
    from storage.alerts import AlertRepository
    from storage.analyses import AnalysisRepository
    from storage.cases import CaseRepository
    from storage.database import Database
    from storage.devices import DeviceRepository
    from storage.foreign import ForeignRepository
    from storage.health import HealthRepository
    from storage.insar import InsarRepository
    from storage.leader import Leadership
    from storage.observations import ObservationRepository
    from storage.quality import QualityRepository
    from storage.quality_looks import QualityLooks
    from storage.raw_files import FileStore
    from storage.registers import RegisterRepository
    from storage.rollups import RollupRepository
    from storage.sharing import ChangesRepository
    from storage.work import WorkQueue


AUTHORITY_PARTS = (("body_code", 3), ("unit_code", 3), ("extension", 2))
"""Parts of a GB/T 35965.1 identifier after the region, with their widths."""

RECEIVERS_AT_ONCE = 4
"""Receivers that are served at the same time; each takes a database connection for moments."""


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
    def mqtt_tls(self) -> SSLContext | None:
        """Return what connections to the broker are secured with; None where its URL says mqtt://."""
        from ingest.transports.mqtt_settings import TlsFiles, parse_broker_url
        from ingest.transports.mqtt_tls import tls_for

        files = TlsFiles(self.settings.mqtt_ca_file, self.settings.mqtt_cert_file, self.settings.mqtt_key_file)
        return tls_for(parse_broker_url(self.mqtt_url), files)

    def reach_broker(self, timeout_s: float) -> str:
        """Connect to the broker and hang up; return where it is."""
        from ingest.transports.mqtt_settings import parse_broker_url
        from ingest.transports.mqtt_tls import reach

        address = parse_broker_url(self.mqtt_url)
        reach(address, self.mqtt_tls, timeout_s)
        return f"{address.host}:{address.port}"

    @cached_property
    def db(self) -> Database:
        """Return the pool of database connections, opened."""
        from storage.database import Database

        database = Database(self.database_url, max_size=self.settings.database_pool)
        database.open()
        return database

    def migrate(self, say: Callable[[str], None]) -> None:
        """Bring the schema up to date, and the shipped vocabulary of observed properties and datums with it."""
        from service.configuration import apply_vocabulary
        from storage.migrate import migrate

        migrate(self.database_url, say)
        apply_vocabulary(self.registers)

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
    def cases(self) -> CaseRepository:
        """Return the cases."""
        from alerts.cases import fold
        from storage.cases import CaseRepository

        return CaseRepository(self.db, fold)

    @cached_property
    def foreign(self) -> ForeignRepository:
        """Return the alerts of partners."""
        from alerts.foreign import fold
        from storage.foreign import ForeignRepository

        return ForeignRepository(self.db, fold)

    @cached_property
    def alarm_quality(self) -> AlarmQualityRepository[Episode, Notice]:
        """Return verdicts, and what the metrics of alarms are made from."""
        from alerts.alarm_quality import Episode, Notice
        from storage.alarm_quality import AlarmQualityRepository

        return AlarmQualityRepository(self.db, Episode, Notice)

    @cached_property
    def case_desk(self) -> CaseDesk:
        """Return where the steps of cases are taken."""
        from alerts.case_desk import CaseDesk

        node = self.registers.node()
        return CaseDesk(
            self.cases,
            self.observations,
            self.registers,
            node.region_code if node else "000000",
            ZoneInfo(node.zone if node else "Asia/Shanghai"),
        )

    @cached_property
    def access(self) -> AccessRepository:
        """Return accounts, keys, partners and the audit log."""
        from storage.access import AccessRepository

        return AccessRepository(self.db)

    @cached_property
    def devices(self) -> DeviceRepository:
        """Return the devices, and those that nobody has admitted."""
        from storage.devices import DeviceRepository

        return DeviceRepository(self.db)

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
    def quality(self) -> QualityRepository:
        """Return the flags of quality control and the overrides of persons."""
        from storage.quality import QualityRepository

        return QualityRepository(self.db)

    @cached_property
    def health(self) -> HealthRepository:
        """Return what tells of instruments."""
        from storage.health import HealthRepository

        return HealthRepository(self.db)

    @cached_property
    def looks(self) -> QualityLooks:
        """Return the short looks at what is newest, for quality control."""
        from storage.quality_looks import QualityLooks

        return QualityLooks(self.db)

    @cached_property
    def inspector(self) -> Inspector:
        """Return the job of quality control."""
        from service.quality.inspector import Inspector

        return Inspector(self)

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

        return Pipeline(self.registers, self.observations, self.raw_files, spool=self.settings.home / "spool")

    @cached_property
    def births(self) -> BirthBook:
        """Return what Sparkplug B nodes call their metrics."""
        from ingest.transports.births import BirthBook

        settings = self.settings
        return BirthBook(
            settings.home / "sparkplug",
            counts_sequence=settings.mqtt_shared_group is None,
            may_ask=settings.sparkplug_rebirth,
        )

    @cached_property
    def insar(self) -> InsarRepository:
        """Return the InSAR deliveries."""
        from storage.insar import InsarRepository

        return InsarRepository(self.db)

    @cached_property
    def issuer(self) -> Issuer:
        """Return who signs CAP messages: the node's code and its GB/T 35965.1 authority."""
        from alerts.issue import Issuer

        node = self.registers.node()
        if node is None:
            raise ConfigurationError(
                "no city is configured yet.",
                where="node",
                remedy="apply its folder: groundwatch configure deploy/examples/jiaxing",
            )
        cap = node.attributes.get("cap", {})
        return Issuer(
            node.code,
            authority=node.region_code + "".join(str(cap.get(key, "0" * width)).zfill(width) for key, width in AUTHORITY_PARTS),
            sender=str(cap.get("sender", f"{node.code}.groundwatch.invalid")),
            name_zh=str(cap.get("sender_name", node.name_zh)),
            name_en=node.name_en,
            zone=ZoneInfo(node.zone),
            simulated=node.simulated,
            event_code=str(cap["event_code"]) if cap.get("event_code") else None,
        )

    @cached_property
    def engine(self) -> AlertEngine:
        """Return the alert engine."""
        from alerts.engine import AlertEngine

        return AlertEngine(self.alerts, self.observations, self.registers, self.issuer, runs=self.analyses)

    @cached_property
    def secrets(self) -> Mapping[str, str]:
        """Return the secrets shared with receivers and partners, by name."""
        return load_receiver_secrets(self.settings)

    @cached_property
    def dispatcher(self) -> Dispatcher:
        """Return the dispatcher of the outbox."""
        import numpy as np

        from alerts.dispatch import Dispatcher
        from alerts.notifiers import NotifierSettings, build

        settings = NotifierSettings(
            self.issuer.node,
            smtp_url=self.settings.smtp_url,
            mqtt_url=self.mqtt_url,
            mqtt_tls=self.mqtt_tls,
            secrets=self.secrets,
        )
        notifiers = build(settings)
        return Dispatcher(self.alerts, notifiers, np.random.default_rng(), zone=self.issuer.zone, at_once=RECEIVERS_AT_ONCE)

    def leadership(self, name: str) -> Leadership:
        """Return the leadership that one process at a time can hold."""
        from storage.leader import Leadership

        return Leadership(self.db, name)

    def add_account(self, name: str, display_name: str, role: str, password: str) -> None:
        """Create an account; the password is hashed here and kept nowhere."""
        from service.api.passwords import hash_password

        self.access.add_account(name, display_name, role, hash_password(password))

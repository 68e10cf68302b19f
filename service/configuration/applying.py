"""Applies a city's folder to the registers: checked whole first, then written in the order in which entries depend on each other.

The same digest again changes nothing. Every write is an upsert and the node, with the digest, is written last, so an apply that was
cut short is completed by applying the folder again. This file finishes with `apply_folder`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from domain.alerting import Receiver, Rule
from domain.datum import DatumOffset
from domain.errors import ConflictError
from domain.licence import Licence, Limit, Region
from domain.model import Datastream, ObservedProperty, Sensor, Station, StationEvent
from service.configuration.city import Aquifer, City, Partner
from service.configuration.folder import read_folder
from storage.register_rows import Datum, Node

DIGEST = "configuration_digest"
"""Attribute of the node that names the configuration in force."""
OWN_ATTRIBUTES = frozenset({"map", "cap", "contact", "aquifers", DIGEST})
"""Attributes of the node that a folder states; others (those of the demonstration) are left as they are."""


class ConfigurationRegisters(Protocol):
    """What applying a folder needs of the registers (`storage.registers.RegisterRepository`)."""

    def node(self) -> Node | None:
        """Return this deployment, or None before it was configured."""

    def record_configuration(self, name: str, digest: str, content: Mapping[str, Any], actor: str) -> int | None:
        """Keep a configuration as it was applied."""

    def set_node(self, node: Node) -> None:
        """Say what this deployment is."""

    def upsert_region(self, region: Region) -> None:
        """Add or change a region."""

    def upsert_datum(self, datum: Datum) -> None:
        """Add or change a datum."""

    def upsert_datum_offset(self, offset: DatumOffset) -> None:
        """Add or change an offset."""

    def upsert_property(self, observed: ObservedProperty) -> None:
        """Add or change an observed property."""

    def upsert_limit(self, limit: Limit) -> None:
        """Add or change a limit."""

    def upsert_licence(self, licence: Licence) -> None:
        """Add or change a licence."""

    def list_properties(self) -> Sequence[ObservedProperty]:
        """Return every observed property."""

    def station(self, code: str) -> Station | None:
        """Return a station, or None."""

    def datastream(self, code: str) -> Datastream | None:
        """Return a datastream, or None."""

    def sensors(self, station: str) -> Sequence[Sensor]:
        """Return the sensors of a station."""

    def events(self, station: str) -> Sequence[StationEvent]:
        """Return the event log of a station."""

    def add_station(self, station: Station, *, actor: str) -> Station:
        """Create a station."""

    def update_station(self, station: Station, *, actor: str) -> Station:
        """Change a station."""

    def add_sensor(self, sensor: Sensor, *, actor: str) -> Sensor:
        """Create a sensor."""

    def update_sensor(self, sensor: Sensor, *, actor: str) -> Sensor:
        """Change a sensor."""

    def add_datastream(self, datastream: Datastream, *, actor: str) -> Datastream:
        """Create a datastream."""

    def update_datastream(self, datastream: Datastream, *, actor: str) -> Datastream:
        """Change what describes a datastream."""

    def add_event(self, event: StationEvent, actor: str) -> StationEvent:
        """Add to a station's log."""


class ConfigurationAlerts(Protocol):
    """What applying a folder needs of the alert store."""

    def save_rule(self, rule: Rule, *, now: datetime) -> Rule:
        """Store a new version of a rule unless the newest says the same."""

    def save_receiver(self, receiver: Receiver) -> None:
        """Insert or replace a receiver."""


class ConfigurationAccess(Protocol):
    """What applying a folder needs of the access repository."""

    def upsert_partner(
        self, code: str, name_zh: str, name_en: str, agreement: Mapping[str, Any], source: str, enabled: bool
    ) -> object:
        """Insert or replace a partner with its agreement."""


@dataclass(frozen=True, slots=True)
class AppliedReport:
    """What applying a folder did.

    `changed` counts entries that were created or changed, by kind; `version` is the id of the recorded configuration, None when the
    same configuration was in force already (`unchanged`).
    """

    folder: str
    node: str
    digest: str
    version: int | None
    counts: Mapping[str, int]
    changed: Mapping[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        if self.unchanged:
            return f"node {self.node}: this configuration is in force already"
        counts = ", ".join(f"{count} {name}" for name, count in self.counts.items() if count)
        return f"node {self.node}: applied as version {self.version} ({counts})"

    @property
    def unchanged(self) -> bool:
        """Was this configuration in force already?"""
        return self.version is None


def apply_folder(
    path: Path,
    registers: ConfigurationRegisters,
    alerts: ConfigurationAlerts,
    access: ConfigurationAccess,
    actor: str,
    *,
    now: datetime | None = None,
    within_budget: Callable[[Sequence[Rule]], None] | None = None,
) -> AppliedReport:
    """Deploy a city from its folder.

    Parameters
    ----------
    path
        Folder of YAML files, see docs/configuration.md.
    registers, alerts, access
        The repositories that it is written to.
    actor
        Who applies it, for versions and audit.
    now
        Time of the change; the clock when None.
    within_budget
        Refuses rules that would tell people more than the alarm budget allows; asked before anything is written, where there is history.

    Returns
    -------
    AppliedReport

    Raises
    ------
    FolderError
        With every problem of the folder; nothing was written.
    ConflictError
        When a stored datastream would change its unit or datum; what was written before it stays and the next apply completes it.
    """
    city = read_folder(path)
    node = registers.node()
    if node is not None and node.code != city.node.code:
        raise ConflictError(
            f"this database is the node {node.code!r}; the folder is of {city.node.code!r}.",
            where=str(path),
            remedy="give each city its own database, or correct code: in node.yaml",
        )
    if node is not None and node.attributes.get(DIGEST) == city.digest:
        return AppliedReport(str(path), city.node.code, city.digest, None, city.counts())
    if node is not None and within_budget is not None:
        within_budget(city.rules)
    writer = _Writer(registers, actor)
    writer.vocabulary(city)
    writer.stations(city)
    for limit in city.limits:
        registers.upsert_limit(limit)
    for licence in city.licences:
        registers.upsert_licence(licence)
    moment = now or datetime.now(UTC)
    for rule in city.rules:
        alerts.save_rule(replace(rule, author=actor), now=moment)
    for receiver in city.receivers:
        alerts.save_receiver(receiver)
    for partner in city.partners:
        _save_partner(access, partner)
    version = registers.record_configuration(city.node.code, city.digest, city.content, actor)
    writer.node(city)
    return AppliedReport(str(path), city.node.code, city.digest, version, city.counts(), writer.changed)


def _save_partner(access: ConfigurationAccess, partner: Partner) -> None:
    access.upsert_partner(partner.code, partner.name_zh, partner.name_en, partner.agreement, partner.source, partner.enabled)


class _Writer:
    """Writes stations and vocabulary, leaving alone what already says the same."""

    def __init__(self, registers: ConfigurationRegisters, actor: str) -> None:
        self.registers, self.actor = registers, actor
        self.changed: dict[str, int] = {}

    def _count(self, kind: str) -> None:
        self.changed[kind] = self.changed.get(kind, 0) + 1

    def vocabulary(self, city: City) -> None:
        """Write regions, datums, offsets and observed properties."""
        for region in city.regions:
            self.registers.upsert_region(region)
        for datum in city.datums:
            self.registers.upsert_datum(Datum(datum.code, datum.name_zh, datum.name_en, datum.source))
        for offset in city.offsets:
            self.registers.upsert_datum_offset(offset)
        stored = {item.code: item for item in self.registers.list_properties()}
        for observed in city.properties:
            if stored.get(observed.code) != observed:
                self.registers.upsert_property(observed)
                self._count("properties")

    def node(self, city: City) -> None:
        """Write the node with the digest of its configuration: last, so that the digest means that all of it was applied."""
        said = city.node
        stored = self.registers.node()
        kept = {name: value for name, value in stored.attributes.items() if name not in OWN_ATTRIBUTES} if stored else {}
        aquifers = [_aquifer_row(item) for item in city.aquifers]
        attributes = {**kept, **said.attributes, "aquifers": aquifers, DIGEST: city.digest}
        self.registers.set_node(
            Node(said.code, said.name_zh, said.name_en, said.region_code, said.zone, said.simulated, attributes)
        )

    def stations(self, city: City) -> None:
        """Write stations, then their sensors, datastreams and events."""
        for station in city.stations:
            self._station(station)
        for sensor in city.sensors:
            self._sensor(sensor)
        for datastream in city.datastreams:
            self._datastream(datastream)
        for event in city.events:
            self._event(event)

    def _station(self, station: Station) -> None:
        stored = self.registers.station(station.code)
        if stored is None:
            self.registers.add_station(station, actor=self.actor)
        elif replace(stored, station_id=None) != station:
            self.registers.update_station(replace(station, code=stored.code), actor=self.actor)
        else:
            return
        self._count("stations")

    def _sensor(self, sensor: Sensor) -> None:
        stored = {item.code: item for item in self.registers.sensors(sensor.station)}.get(sensor.code)
        if stored is None:
            self.registers.add_sensor(sensor, actor=self.actor)
        elif replace(stored, sensor_id=None) != sensor:
            self.registers.update_sensor(sensor, actor=self.actor)
        else:
            return
        self._count("sensors")

    def _datastream(self, datastream: Datastream) -> None:
        stored = self.registers.datastream(datastream.code)
        if stored is None:
            self.registers.add_datastream(datastream, actor=self.actor)
        elif replace(stored, datastream_id=None) != datastream:
            _refuse_another_meaning(stored, datastream)
            self.registers.update_datastream(datastream, actor=self.actor)
        else:
            return
        self._count("datastreams")

    def _event(self, event: StationEvent) -> None:
        known = {(item.kind, item.start, item.datastream) for item in self.registers.events(event.station)}
        if (event.kind, event.start, event.datastream) not in known:
            self.registers.add_event(event, self.actor)
            self._count("events")


def _refuse_another_meaning(stored: Datastream, wanted: Datastream) -> None:
    """Unit and datum are what the stored numbers mean, so a folder cannot change them behind their back."""
    for name in ("unit", "datum_code"):
        if getattr(stored, name) != getattr(wanted, name):
            raise ConflictError(
                f"datastream {stored.code} is stored with {name} {getattr(stored, name)!r} and cannot become {getattr(wanted, name)!r}.",
                where="stations.yaml",
                remedy="register a new channel and import again",
            )


def _aquifer_row(aquifer: Aquifer) -> dict[str, Any]:
    return {**asdict(aquifer), "neighbours": dict(aquifer.neighbours)}

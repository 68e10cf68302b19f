"""In-memory repositories of the same names and answers as those of `storage`, so that the API is tested in milliseconds."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from alerts.store import AlertFilter
from domain.alert import Confirmation
from domain.alerting import AlertRecord, CapMessage, Rule, Transition
from domain.errors import NotFoundError, UnavailableError
from domain.model import Datastream, ObservedProperty, Sensor, Station, StationEvent
from domain.observation import Batch, CommitCounts
from domain.ports import SeriesData
from ingest.pipeline import Pipeline
from service.settings import Settings

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def aware(value: Any) -> datetime | None:
    if np.isnat(value):
        return None
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=int(value.astype("datetime64[us]").astype("int64")))


def known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


class FakeRegisters:
    def __init__(self) -> None:
        self.properties: dict[str, ObservedProperty] = {}
        self.stations: dict[str, Station] = {}
        self.streams: dict[str, Datastream] = {}
        self.log: list[StationEvent] = []
        self.withdrawn: set[int] = set()
        self.sensor_list: list[Sensor] = []
        self.limit_list: list[Any] = []
        self.statuses: dict[int, Any] = {}
        self.the_node: Any = None

    def node(self) -> Any:
        return self.the_node

    def set_node(self, node: Any) -> None:
        self.the_node = node

    def prepare_stations(self, codes: Sequence[str]) -> None:
        """Everything is in memory already."""

    def node_region(self) -> str | None:
        return None if self.the_node is None else self.the_node.region_code

    def datum_codes(self) -> list[str]:
        return ["CN-H85"]

    def datum_offsets(self) -> list[Any]:
        return []

    def upsert_property(self, observed: ObservedProperty) -> None:
        self.properties[observed.code] = observed

    def upsert_datum(self, datum: Any) -> None:
        return None

    def observed_property(self, code: str) -> ObservedProperty | None:
        return self.properties.get(code)

    def list_properties(self) -> list[ObservedProperty]:
        return sorted(self.properties.values(), key=lambda item: item.code)

    def regions(self) -> list[Any]:
        return []

    def station(self, code: str) -> Station | None:
        return next((item for item in self.stations.values() if item.code.lower() == code.lower()), None)

    def add_station(self, station: Station, *, actor: str) -> Station:
        self.stations[station.code] = dataclasses.replace(station, station_id=len(self.stations) + 1)
        return self.stations[station.code]

    def list_stations(self, after: str | None = None, limit: int = 100, kind: Any = None, region: Any = None) -> list[Station]:
        rows = sorted(self.stations.values(), key=lambda item: item.code)
        rows = [row for row in rows if row.code > (after or "") and (kind is None or row.kind == kind)]
        return [row for row in rows if region is None or (row.region_code or "").startswith(region)][:limit]

    def add_sensor(self, sensor: Sensor, *, actor: str) -> Sensor:
        self.sensor_list.append(sensor)
        return sensor

    def sensors(self, station: str) -> list[Sensor]:
        return [item for item in self.sensor_list if item.station == station]

    def add_datastream(self, datastream: Datastream, *, actor: str) -> Datastream:
        self.streams[datastream.code] = dataclasses.replace(datastream, datastream_id=len(self.streams) + 1)
        return self.streams[datastream.code]

    def datastream(self, code: str) -> Datastream | None:
        return next((item for item in self.streams.values() if item.code.lower() == code.lower()), None)

    def datastream_by_id(self, datastream_id: int) -> Datastream | None:
        return next((item for item in self.streams.values() if item.datastream_id == datastream_id), None)

    def list_datastreams(
        self, station: Any = None, property_code: Any = None, after: Any = None, limit: int = 100, derived: bool | None = None
    ) -> list[Datastream]:
        rows = sorted(self.streams.values(), key=lambda item: item.code)
        rows = [row for row in rows if row.code > (after or "") and station in {None, row.station}]
        rows = [row for row in rows if property_code in {None, row.property_code}]
        return [row for row in rows if derived in {None, row.derivation is not None}][:limit]

    def datastream_statuses(self, ids: Sequence[int]) -> dict[int, Any]:
        return {key: self.statuses[key] for key in ids if key in self.statuses}

    def dated_limits(self, datastream: Datastream, station: Station) -> list[Any]:
        return self.limits(datastream, station)

    def limits(self, datastream: Datastream, station: Station) -> list[Any]:
        return [item for item in self.limit_list if item.property_code == datastream.property_code]

    def licences(self, station: str) -> list[Any]:
        return []

    def events(self, station: str) -> list[StationEvent]:
        return [item for item in self.log if item.station == station and item.event_id not in self.withdrawn]

    def event(self, event_id: int) -> StationEvent | None:
        return next((item for item in self.log if item.event_id == event_id and event_id not in self.withdrawn), None)

    def add_event(self, event: StationEvent, actor: str) -> StationEvent:
        self.log.append(dataclasses.replace(event, event_id=len(self.log) + 1))
        return self.log[-1]

    def withdraw_event(self, event_id: int, actor: str) -> None:
        if self.event(event_id) is None:
            raise NotFoundError(f"there is no event {event_id}.")
        self.withdrawn.add(event_id)


class FakeObservations:
    def __init__(self, registers: FakeRegisters) -> None:
        self.registers = registers
        self.rows: dict[int, dict[datetime, Any]] = {}
        self.rejects: list[Any] = []
        self.seq = 0
        self.buckets_of: dict[tuple[int, str], list[Any]] = {}
        self.away = False

    def series(self, datastream_id: int, start: datetime | None = None, end: datetime | None = None, **_: Any) -> SeriesData:
        rows = [row for time, row in sorted(self.rows.get(datastream_id, {}).items()) if start is None or time >= start]
        column = lambda name: np.array([getattr(row, name) for row in rows], dtype=np.float64)  # noqa: E731
        time = np.array([row.phenomenon_time.replace(tzinfo=None) for row in rows], dtype="datetime64[us]")
        quality = np.array([row.quality for row in rows], dtype=np.int16)
        return SeriesData(time, column("result"), column("sigma"), quality, np.full(len(rows), np.datetime64("NaT", "us")))

    def commit(self, batch: Batch) -> CommitCounts:
        if self.away:
            raise UnavailableError("the database is away.")
        self.seq += 1
        accepted = duplicate = corrected = 0
        rows = batch.columns
        for i in range(len(rows)):
            own = self.rows.setdefault(int(rows.stream[i]), {})
            time = aware(rows.time[i])
            assert time is not None
            row = SimpleNamespace(
                phenomenon_time=time,
                phenomenon_end=aware(rows.end[i]),
                result=known(rows.result[i]),
                sigma=known(rows.sigma[i]),
                quality=int(rows.quality[i]),
                quality_reasons=list(rows.reasons[i] or ()) if rows.reasons is not None else [],
                result_time=None,
                received_at=batch.received_at or NOW,
                batch_id=self.seq,
            )
            before = own.get(time)
            if before is None:
                accepted += 1
            elif (before.result, before.sigma) == (row.result, row.sigma):
                duplicate += 1
            else:
                corrected += 1
            own[time] = row
        for entry in batch.quarantine:
            self.rejects.append(
                SimpleNamespace(
                    id=len(self.rejects) + 1,
                    station_code=entry.station,
                    line=entry.rejected.line,
                    code=entry.rejected.code,
                    reason=entry.rejected.reason,
                    raw=entry.rejected.raw,
                    received_at=NOW,
                    batch_id=self.seq,
                    source=batch.source,
                    source_kind=batch.source_kind,
                )
            )
        for key in {int(stream) for stream in rows.stream}:
            self._note(key)
        return CommitCounts(accepted, duplicate, corrected, len(batch.quarantine), self.seq, self.seq)

    def _note(self, key: int) -> None:
        times = sorted(self.rows[key])
        last = self.rows[key][times[-1]]
        self.registers.statuses[key] = SimpleNamespace(
            datastream_id=key,
            first_time=times[0],
            last_time=times[-1],
            last_result=last.result,
            last_quality=last.quality,
            last_received_at=last.received_at,
            observations=len(times),
        )

    def page(
        self, key: int, start: Any, end: Any, *, after: Any = None, limit: int = 1000, as_of: int | None = None
    ) -> list[Any]:
        rows = [row for time, row in sorted(self.rows.get(key, {}).items()) if after is None or time > after]
        rows = [row for row in rows if as_of is None or row.batch_id <= as_of]
        rows = [row for row in rows if start is None or row.phenomenon_time >= start]
        return [row for row in rows if end is None or row.phenomenon_time < end][:limit]

    def exceeds(self, key: int, start: Any, end: Any, count: int) -> bool:
        return len(self.page(key, start, end, limit=count + 1)) > count

    def buckets(self, key: int, start: Any, end: Any, resolution: str, *, limit: int | None = None) -> list[Any]:
        rows = [row for row in self.buckets_of.get((key, resolution), []) if start is None or row.bucket >= start]
        return [row for row in rows if end is None or row.bucket < end][:limit]

    def revisions(self, key: int, time: datetime) -> list[Any]:
        return []

    def quarantined(self, after: int = 0, limit: int = 100, *, resolved: bool = False) -> list[Any]:
        return [row for row in self.rejects if row.id > after][:limit]

    def current_seq(self) -> int:
        return self.seq

    def seq_at(self, moment: datetime) -> int:
        return self.seq if moment >= NOW else 0


class FakeAnalyses:
    def __init__(self) -> None:
        self.runs: dict[int, dict[str, Any]] = {}
        self.found: list[Any] = []

    def latest_runs(self, key: int) -> dict[str, Any]:
        return self.runs.get(key, {})

    def findings(
        self, datastream_id: int | None = None, start: Any = None, end: Any = None, after: int | None = None, limit: int = 100
    ) -> list[Any]:
        rows = [row for row in self.found if row.finding_id > (after or 0) and datastream_id in {None, row.datastream_id}]
        rows = [row for row in rows if start is None or row.start >= start]
        return [row for row in rows if end is None or row.start < end][:limit]


class FakeAlerts:
    def __init__(self) -> None:
        self.records: dict[int, AlertRecord] = {}
        self.rule_list: list[Rule] = []
        self.steps: list[Transition] = []
        self.caps: list[CapMessage] = []

    def list_alerts(
        self, wanted: AlertFilter, *, after: str | None = None, limit: int = 100
    ) -> tuple[list[AlertRecord], str | None]:
        rows = sorted(self.records.values(), key=lambda row: (row.updated_at, row.alert_id), reverse=True)
        rows = [row for row in rows if (not wanted.states or row.state in wanted.states)]
        rows = [row for row in rows if (not wanted.levels or row.level in wanted.levels)]
        rows = [row for row in rows if wanted.station in {None, row.station} and wanted.rule_code in {None, row.rule_code}]
        rows = [row for row in rows if wanted.acknowledged in {None, row.acknowledged_by is not None}]
        rows = [row for row in rows if not wanted.statuses or row.status.value in wanted.statuses]
        begin = int(after or 0)
        return rows[begin : begin + limit], str(begin + limit) if begin + limit < len(rows) else None

    def find_alert(self, key: int | str) -> AlertRecord | None:
        return next((row for row in self.records.values() if key in {row.alert_id, row.identifier}), None)

    def transitions(self, alert_id: int) -> list[Transition]:
        return [step for step in self.steps if step.alert_id == alert_id]

    def cap_messages(self, alert_id: int) -> list[CapMessage]:
        return [message for message in self.caps if message.alert_id == alert_id]

    def silences(self, at: datetime | None = None) -> list[Any]:
        return []

    def recent_cap(self, limit: int = 100) -> list[CapMessage]:
        return self.caps[::-1][:limit]

    def rules(self, *, enabled_only: bool = True) -> list[Rule]:
        return self.rule_list

    def rule(self, code: str, version: int | None = None) -> Rule | None:
        return next((rule for rule in self.rule_list if rule.code == code), None)


class FakeEngine:
    def __init__(self, alerts: FakeAlerts) -> None:
        self.alerts = alerts

    def acknowledge(self, alert_id: int, who: str, note: str | None, now: datetime) -> AlertRecord:
        alert = self.alerts.records[alert_id]
        if alert.acknowledged_by is not None:
            return alert
        changed = dataclasses.replace(alert, acknowledged_by=who, acknowledged_at=now, acknowledged_note=note)
        self.alerts.records[alert_id] = changed
        return changed

    def confirm(self, alert_id: int, who: str, note: str | None, now: datetime) -> AlertRecord:
        return self._decide(alert_id, who, now, Confirmation.CONFIRMED)

    def reject(self, alert_id: int, who: str, note: str | None, now: datetime) -> AlertRecord:
        return self._decide(alert_id, who, now, Confirmation.REJECTED)

    def _decide(self, alert_id: int, who: str, now: datetime, decision: Confirmation) -> AlertRecord:
        changed = dataclasses.replace(self.alerts.records[alert_id], confirmation=decision, confirmed_by=who, confirmed_at=now)
        self.alerts.records[alert_id] = changed
        return changed


class FakeAccess:
    def __init__(self) -> None:
        self.accounts: dict[str, Any] = {}
        self.keys: list[Any] = []
        self.partners: dict[str, Any] = {}
        self.audit: list[tuple[str, str, str, Any]] = []
        self.memory: dict[tuple[str, str], tuple[str, Any]] = {}

    def add_account(self, name: str, display_name: str, role: str, password_hash: str | None, attributes: Any = None) -> None:
        self.accounts[name] = SimpleNamespace(
            account_id=len(self.accounts) + 1,
            name=name,
            display_name=display_name,
            role=role,
            password_hash=password_hash,
            enabled=True,
            attributes=attributes or {},
        )

    def account(self, name: str) -> Any:
        return self.accounts.get(name)

    def add_key(
        self,
        key_hash: str,
        prefix: str,
        role: str,
        *,
        account: str | None = None,
        partner: str | None = None,
        station: str | None = None,
        note: str | None = None,
        expires_at: datetime | None = None,
    ) -> int:
        person = self.accounts.get(account or "")
        key = SimpleNamespace(
            key_id=len(self.keys) + 1,
            key_hash=key_hash,
            prefix=prefix,
            role=role,
            account=account,
            account_id=person.account_id if person else None,
            display_name=person.display_name if person else None,
            account_attributes=person.attributes if person else {},
            partner=partner,
            station=station,
            expires_at=expires_at,
            revoked=False,
        )
        self.keys.append(key)
        return int(key.key_id)

    def find_key(self, key_hash: str, now: datetime) -> Any:
        usable = (key for key in self.keys if key.key_hash == key_hash and not key.revoked)
        return next((key for key in usable if key.expires_at is None or key.expires_at > now), None)

    def revoke_key(self, key_id: int, now: datetime) -> None:
        self.keys[key_id - 1].revoked = True

    def partner(self, code: str) -> Any:
        return self.partners.get(code)

    def upsert_partner(self, code: str, name_zh: str, name_en: str, agreement: Any, source: str, enabled: bool) -> None:
        self.partners[code] = SimpleNamespace(code=code, name_zh=name_zh, name_en=name_en, agreement=agreement, enabled=enabled)

    def idempotent(self, key: str, owner: str) -> tuple[str, Any] | None:
        return self.memory.get((key, owner))

    def remember(self, key: str, owner: str, request_sha256: str, response: Any) -> None:
        self.memory.setdefault((key, owner), (request_sha256, response))

    def audit_append(self, actor: str, action: str, subject: str, detail: Any) -> None:
        self.audit.append((actor, action, subject, detail))


class FakeDatabase:
    def ping(self) -> None:
        raise UnavailableError("no server in this test.")

    @contextmanager
    def transaction(self) -> Any:
        raise UnavailableError("no server in this test.")
        yield


class FakeDevices:
    def devices(self, after: Any = None, limit: int = 1000) -> list[Any]:
        return []

    def unknown(self, after: str = "", limit: int = 1000) -> list[Any]:
        return []

    def device(self, protocol: str, identity: str) -> None:
        return None


class FakeContainer:
    def __init__(self, home: Path, *, demo: bool = False) -> None:
        self.settings = Settings(home=home, demo=demo, minimum_free_bytes=1)
        self.now = NOW
        self.db = FakeDatabase()
        self.registers = FakeRegisters()
        self.observations = FakeObservations(self.registers)
        self.analyses = FakeAnalyses()
        self.alerts = FakeAlerts()
        self.engine = FakeEngine(self.alerts)
        self.access = FakeAccess()
        self.devices = FakeDevices()
        self.pipeline = Pipeline(self.registers, self.observations, None)

    database_url = "postgresql://nobody@127.0.0.1:1/none"
    mqtt_url = "mqtt://127.0.0.1:1"

    def reach_broker(self, timeout_s: float) -> str:
        raise UnavailableError(f"no broker answers within {timeout_s:g} s")

    def clock(self) -> datetime:
        return self.now

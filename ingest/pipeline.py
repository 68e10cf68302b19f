"""The pipeline: one file, or many messages, become one commit each.

Formats parse, `mapping` resolves, `quality` flags, and the store commits everything or nothing. A retry after an error is harmless:
what was committed is recognised as duplicate. This file finishes with `Pipeline`.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Required, TypedDict, Unpack

from domain.errors import InputError
from domain.observation import (
    Batch,
    Columns,
    CommitCounts,
    ParsedPayload,
    QuarantineEntry,
    RawPayload,
    Rejected,
    columns,
)
from domain.ports import ObservationStore, RawFiles, Registry
from ingest.checking import in_order, storable, without_contradictions
from ingest.choosing import choose_format
from ingest.file_on_disk import Watch, is_large, look_at
from ingest.formats import Format, ImportContext
from ingest.formats.broken_off import broken_line, told_of
from ingest.formats.decoding import split_lines, unpack
from ingest.formats.table import is_workbook, read_workbook
from ingest.formats.timestamps import parse_zone
from ingest.large_file import import_large
from ingest.mapping import StreamResolver
from ingest.messages import Message, PreparedMessages, commit_messages, ingest_messages, prepare_messages
from ingest.profile import Profile
from ingest.report import ImportReport, MessageReceipt
from ingest.uplinks import UplinkMemory

_NO_COUNTS = CommitCounts(0, 0, 0, 0, None, None)


class ImportOptions(TypedDict, total=False):
    """What may be said about a file beside its bytes; see `Pipeline.ingest_file`."""

    format: str | None
    profile: Profile | str | Path | None
    station: str | None
    unit: str | None
    datum: str | None
    zone: str | None
    frame: str | None
    convert_datum: bool
    create: bool
    actor: Required[str]
    source_kind: str
    dry_run: bool
    now: Required[datetime]


@dataclass(slots=True)
class _Progress:
    """What one import has done so far."""

    counts: CommitCounts = _NO_COUNTS
    rejects: list[Rejected] = field(default_factory=list)
    stations: dict[str, None] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    batch_ids: list[int] = field(default_factory=list)


class Pipeline:
    """Files and messages into the store.

    Parameters
    ----------
    registry, store, raw_files
        The ports of `domain`; `raw_files` None keeps file bodies in the batch itself.
    spool
        Where the rows of large files are sorted; None = the system's temporary folder.
    """

    def __init__(
        self, registry: Registry, store: ObservationStore, raw_files: RawFiles | None = None, *, spool: Path | None = None
    ) -> None:
        self.registry, self.store, self.raw_files, self.spool = registry, store, raw_files, spool
        self._uplinks = UplinkMemory()

    def ingest_path(self, path: Path, *, watch: Watch | None = None, **options: Unpack[ImportOptions]) -> ImportReport:
        """Put a file on disk through parsing, mapping, checks and commit, whatever its size; see `ingest_file`.

        Files that are large, and of a format that can be read from beginning to end, are not held in memory: their rows are sorted on
        disk and committed in parts. An interrupted import is finished by importing the file again, which leaves out the parts that are
        stored.

        Parameters
        ----------
        path
            The file, plain or gzip.
        watch
            Told about the progress of a large file.
        options
            As of `ingest_file`.

        Raises
        ------
        FormatError, DatumError, UnitError, ConfigurationError, InputError, UnavailableError
            As `ingest_file`; an `InputError` also when the file changes meanwhile.
        """
        if not is_large(path):
            return self.ingest_file(path.read_bytes(), path.name, **options)
        started = time.perf_counter()
        file = look_at(path, path.name)
        entry, chosen = choose_format(file.head, path.name, options.get("format"), options.get("profile"))
        if entry.stream is None or is_workbook(file.head):
            return self.ingest_file(path.read_bytes(), path.name, **options)
        flags = {
            "station": options.get("station"),
            "unit": options.get("unit"),
            "datum": options.get("datum"),
            "zone": options.get("zone"),
            "frame": options.get("frame"),
        }
        context = ImportContext(path.name, **flags)
        rehearse = options.get("dry_run", False)
        resolver = self._resolver(
            context,
            entry,
            chosen,
            create=options.get("create", True),
            convert_datum=options.get("convert_datum", False),
            actor=options["actor"],
            rehearse=rehearse,
        )
        template = Batch(
            source_kind=options.get("source_kind", "file"),
            source=path.name,
            columns=columns([], [], []),
            actor=options["actor"],
            format=entry.name,
            profile=chosen.name if chosen else None,
            sha256=file.sha256,
            received_at=options["now"],
        )
        outcome = import_large(
            file,
            entry,
            chosen,
            context,
            resolver,
            template,
            store=self.store,
            raw_files=self.raw_files,
            spool=self.spool,
            rehearse=rehearse,
            watch=watch,
            parameters=lambda: _parameters(flags, resolver),
            now=options["now"],
        )
        progress = _Progress(outcome.counts, outcome.rejects, outcome.stations, outcome.notes, outcome.batch_ids)
        elapsed_s = time.perf_counter() - started
        return self._report(path.name, entry, chosen, file.sha256, progress, resolver, rehearse, elapsed_s)

    def _resolver(
        self,
        context: ImportContext,
        entry: Format,
        profile: Profile | None,
        *,
        create: bool,
        convert_datum: bool,
        actor: str,
        rehearse: bool,
    ) -> StreamResolver:
        zone = context.zone or (profile.time.zone if profile else None) or "UTC"
        return StreamResolver(
            self.registry,
            context,
            create=create,
            convert_datum=convert_datum or (profile.convert_datum if profile else False),
            actor=actor,
            unit_is_the_datastreams=entry.unit_is_the_datastreams,
            rehearse=rehearse,
            zone=parse_zone(zone, where=context.filename),
        )

    def ingest_file(
        self,
        raw: bytes,
        filename: str,
        *,
        format: str | None = None,  # noqa: A002 - the word of the command line
        profile: Profile | str | Path | None = None,
        station: str | None = None,
        unit: str | None = None,
        datum: str | None = None,
        zone: str | None = None,
        frame: str | None = None,
        convert_datum: bool = False,
        create: bool = True,
        actor: str,
        source_kind: str = "file",
        dry_run: bool = False,
        now: datetime,
    ) -> ImportReport:
        """Put a file through parsing, mapping, checks and commit.

        Large tables are committed in parts of about 16 MiB, each a batch of its own with the same digest; an interrupted import is
        finished by importing the file again.

        Parameters
        ----------
        raw
            The file as it is, plain or gzip.
        format, profile, station, unit, datum, zone, frame
            What the file does not say; see `ImportContext`.
        convert_datum
            Convert heights of another datum with the region's configured offset, recorded in the batch's parameters.
        create
            Make missing stations, sensors and datastreams, marked unconfirmed and restricted.
        now
            When the file was received (aware).

        Raises
        ------
        FormatError, DatumError, UnitError, ConfigurationError
            When nothing of the file can be used.
        UnavailableError
            When the store is out of reach; nothing of the present part is stored.
        """
        started = time.perf_counter()
        digest = hashlib.sha256(raw).hexdigest()
        body = unpack(raw, where=filename)
        entry, chosen = choose_format(body, filename, format, profile)
        context = ImportContext(filename, station=station, unit=unit, datum=datum, zone=zone, frame=frame)
        resolver = self._resolver(
            context, entry, chosen, create=create, convert_datum=convert_datum, actor=actor, rehearse=dry_run
        )
        progress = _Progress()
        flags = {"station": station, "unit": unit, "datum": datum, "zone": zone, "frame": frame}
        rows = _RowBytes(body, filename)
        broken = broken_line(raw) if entry.is_a_row_a_line else None
        if broken is not None:
            progress.notes["cut_off"] = told_of(broken)
        kept: RawPayload | None = None
        for payload in entry.parts(body, chosen, context):
            built, rejected = self._map(payload, resolver, rows, progress, now, entry.since, broken)
            progress.rejects.extend(rejected)
            if dry_run:
                progress.counts += CommitCounts(len(built), 0, 0, len(rejected), None, None)
                continue
            kept = kept or self._keep(raw, digest, filename, now)
            batch = Batch(
                source_kind=source_kind,
                source=filename,
                columns=built,
                raws=(kept,),
                quarantine=tuple(QuarantineEntry(item, 0) for item in rejected),
                actor=actor,
                format=entry.name,
                profile=chosen.name if chosen else None,
                sha256=digest,
                received_at=now,
                parameters=_parameters(flags, resolver),
            )
            counts = self.store.commit(batch)
            progress.counts += counts
            progress.batch_ids += [counts.batch_id] if counts.batch_id is not None else []
        return self._report(filename, entry, chosen, digest, progress, resolver, dry_run, time.perf_counter() - started)

    def _keep(self, raw: bytes, digest: str, filename: str, now: datetime) -> RawPayload:
        if self.raw_files is None:
            return RawPayload(filename, digest, len(raw), now, body=raw)
        return RawPayload(filename, digest, len(raw), now, location=self.raw_files.keep(raw, digest))

    def _map(
        self,
        payload: ParsedPayload,
        resolver: StreamResolver,
        rows: _RowBytes,
        progress: _Progress,
        now: datetime,
        since: datetime | None,
        broken: int | None,
    ) -> tuple[Columns, list[Rejected]]:
        """Return what can be stored, in the datastreams' units, and what cannot."""
        built, rejected, stations = storable(payload, resolver, rows.line, now, since=since, broken_line=broken)
        progress.stations.update(dict.fromkeys(stations))
        for key, value in payload.notes.items():
            _add_note(progress.notes, key, value)
        built, repeated = without_contradictions(in_order(built))
        rejected += [Rejected(line, code, reason, rows.line(line)) for line, code, reason in repeated]
        rejected.sort(key=lambda item: item.line)
        return built, rejected

    def _report(
        self,
        filename: str,
        entry: Format,
        profile: Profile | None,
        digest: str,
        progress: _Progress,
        resolver: StreamResolver,
        dry_run: bool,
        elapsed_s: float,
    ) -> ImportReport:
        made = resolver.created
        notes = dict(progress.notes)
        if resolver.notes:
            notes["mapping"] = list(resolver.notes)
        if resolver.conversions:
            notes["datum_conversions"] = list(resolver.conversions)
        return ImportReport(
            file=filename,
            format=entry.name,
            sha256=digest,
            accepted=progress.counts.accepted,
            duplicate=progress.counts.duplicate,
            corrected=progress.counts.corrected,
            rejected=progress.counts.rejected,
            rejects=tuple(progress.rejects),
            stations=tuple(progress.stations),
            elapsed_s=elapsed_s,
            profile=profile.name if profile else None,
            dry_run=dry_run,
            created={"stations": tuple(made.stations), "sensors": tuple(made.sensors), "datastreams": tuple(made.datastreams)},
            unconfirmed=tuple(made.unconfirmed),
            notes=notes,
            batch_ids=tuple(progress.batch_ids),
        )

    def ingest_messages(
        self,
        messages: Sequence[Message],
        now: datetime,
        *,
        source_kind: str = "mqtt",
        actor: str | None = None,
    ) -> list[MessageReceipt]:
        """Commit device messages together, one receipt each, in order; see `ingest.messages.ingest_messages`."""
        return ingest_messages(
            self.registry, self.store, messages, now, source_kind=source_kind, actor=actor, uplinks=self._uplinks
        )

    def prepare_messages(self, messages: Sequence[Message], now: datetime, *, source_kind: str = "mqtt") -> PreparedMessages:
        """Parse messages, which may go on while others are committed; see `ingest.messages.prepare_messages`."""
        return prepare_messages(self.registry, messages, now, source_kind=source_kind, uplinks=self._uplinks)

    def commit_messages(
        self, prepared: PreparedMessages, now: datetime, *, source_kind: str = "mqtt", actor: str | None = None
    ) -> list[MessageReceipt]:
        """Commit prepared messages; see `ingest.messages.commit_messages`."""
        return commit_messages(self.store, prepared, now, source_kind=source_kind, actor=actor)


def _parameters(flags: Mapping[str, str | None], resolver: StreamResolver) -> dict[str, Any]:
    parameters: dict[str, Any] = {key: value for key, value in flags.items() if value is not None}
    if resolver.conversions:
        parameters["datum_conversions"] = list(resolver.conversions)
    return parameters


def _add_note(notes: dict[str, Any], key: str, value: Any) -> None:
    """Keep the notes of every part: lists are joined, other notes of later parts win."""
    if isinstance(value, list) and isinstance(notes.get(key), list):
        notes[key] = notes[key] + value
    else:
        notes[key] = value


class _RowBytes:
    """Finds the bytes of a row for quarantine; reads the file a second time only when a row is refused."""

    def __init__(self, body: bytes, filename: str) -> None:
        self.body, self.filename = body, filename
        self._rows: list[bytes] | None = None

    def line(self, number: int) -> bytes:
        """Return the bytes of a line or sheet row (from 1); empty when there is none."""
        if self._rows is None:
            self._rows = self._read()
        return self._rows[number - 1] if 0 < number <= len(self._rows) else b""

    def _read(self) -> list[bytes]:
        if is_workbook(self.body):
            try:
                return ["\t".join(row).encode("utf-8") for row in read_workbook(self.body, where=self.filename)]
            except InputError:
                return []
        if b"\n" not in self.body and b"\r" in self.body:
            return [line.encode("latin-1") for line in split_lines(self.body.decode("latin-1"))]
        return [line.rstrip(b"\r") for line in self.body.split(b"\n")]

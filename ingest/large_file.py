"""Files of any size: read once from beginning to end, sorted on disk, committed a part at a time.

The first pass parses, resolves and checks block by block and spools the rows; nothing is stored before it has ended well, and only if the
file did not change meanwhile. The second commits the parts. A part is known by the digest of its rows, so whatever ended an
import, the next one goes on where it stopped, and an identical file changes nothing. This file finishes with `import_large`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from domain.ahead import read_ahead
from domain.errors import FormatError
from domain.observation import (
    Batch,
    Columns,
    CommitCounts,
    ParsedPayload,
    QuarantineEntry,
    RawPayload,
    Rejected,
    StoredFile,
    columns,
)
from domain.ports import ObservationStore, RawFiles
from ingest.checking import storable, without_contradictions
from ingest.file_on_disk import CHUNK_BYTES, LargeFile, Watch
from ingest.formats.broken_off import told_of
from ingest.formats.decoding import ByteSource, text_blocks
from ingest.formats.format import Format, ImportContext
from ingest.mapping import StreamResolver
from ingest.profile import Profile
from ingest.report import MAX_LISTED_REJECTS
from ingest.spool import Spool

WRITERS = 2
_REJECTS_A_BATCH = 5_000


@dataclass(slots=True)
class Outcome:
    """What an import of a large file did."""

    counts: CommitCounts = field(default_factory=lambda: CommitCounts(0, 0, 0, 0, None, None))
    rejects: list[Rejected] = field(default_factory=list)
    stations: dict[str, None] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    batch_ids: list[int] = field(default_factory=list)

    def take(self, counts: CommitCounts, rejected: Sequence[Rejected]) -> None:
        """Add what one commit did."""
        self.counts += counts
        self.rejects += rejected[: MAX_LISTED_REJECTS - len(self.rejects)]
        self.batch_ids += [counts.batch_id] if counts.batch_id is not None else []


class _Part(NamedTuple):
    """What came of a part: counts, what was refused in it, and the digest of its rows (None = none were left)."""

    counts: CommitCounts
    rejected: list[Rejected]
    content: str | None


class _Importer:
    """One import of one large file."""

    def __init__(
        self,
        file: LargeFile,
        template: Batch,
        store: ObservationStore,
        raw_files: RawFiles | None,
        *,
        rehearse: bool,
        watch: Watch,
        parameters: Callable[[], dict[str, Any]],
    ) -> None:
        self.file, self.template, self.store, self.raw_files = file, template, store, raw_files
        self.rehearse, self.watch, self.parameters = rehearse, watch, parameters
        self.outcome = Outcome()
        self._raw: Future[RawPayload] | None = None
        self._contents: list[str | None] = []

    def recognise(self, known: StoredFile, now: datetime) -> None:
        """Note that a file came again of which every row stands as it was stored; nothing of it is read anew."""
        with ThreadPoolExecutor(1, "archive") as archive:
            self._raw = archive.submit(self._keep, now)
            self._commit(columns([], [], []), [], None, recognised_rows=known.rows)
        self.outcome.counts += CommitCounts(0, known.rows, 0, 0, None, None)
        self.outcome.stations.update(dict.fromkeys(known.stations))
        self.outcome.notes.update(known.notes)
        self.watch("storing", known.rows, known.rows)

    def remember(self, key_sha256: str, register_mark: int) -> None:
        """Let the file be recognised the next time, where all of its rows are stored and there is nothing else to tell of it."""
        counts, contents = self.outcome.counts, [content for content in self._contents if content is not None]
        if counts.rejected or counts.corrected or not contents or len(contents) < len(self._contents):
            return
        rows, stations = counts.accepted + counts.duplicate, tuple(self.outcome.stations)
        self.store.remember_file(key_sha256, StoredFile(tuple(contents), rows, stations, self.outcome.notes, register_mark))

    def run(
        self, payloads: Callable[[ByteSource], Iterator[ParsedPayload]], resolver: StreamResolver, now: datetime, spool: Spool
    ) -> None:
        with ThreadPoolExecutor(1, "archive") as archive:
            if not self.rehearse:
                self._raw = archive.submit(self._keep, now)
            waiting: list[Rejected] = []
            broken = self.file.broken_line
            with self.file.opened(self.watch) as source, closing(read_ahead(payloads(source))) as ahead:
                for payload in ahead:
                    rows, rejected, stations = storable(
                        payload, resolver, payload.row_bytes or _no_bytes, now, broken_line=broken
                    )
                    self.outcome.stations.update(dict.fromkeys(stations))
                    self.outcome.notes.update(payload.notes)
                    spool.add(rows)
                    waiting += rejected
            if broken is not None:
                self.outcome.notes["cut_off"] = told_of(broken)
            self._reject(waiting)
            self._store(spool)

    def _keep(self, now: datetime) -> RawPayload:
        file = self.file
        if self.raw_files is None:
            body = file.path.read_bytes()
            return RawPayload(file.filename, file.sha256, file.size, now, body=body)
        location = self.raw_files.keep_file(file.path, file.sha256)
        return RawPayload(file.filename, file.sha256, file.size, now, location=location)

    def _reject(self, waiting: list[Rejected]) -> None:
        for start in range(0, len(waiting), _REJECTS_A_BATCH):
            self._commit(columns([], [], []), waiting[start : start + _REJECTS_A_BATCH], None)

    def _store(self, spool: Spool) -> None:
        """Commit the parts, several at once; the pool of writers never holds more parts than it has threads.

        However it ends, what is told last is what was stored: an interruption may fall anywhere, so it is counted over all that was sent.
        """
        sent: list[tuple[int, Future[_Part]]] = []
        finished = 0
        with ThreadPoolExecutor(WRITERS, "commit") as writers:
            try:
                for part in spool.parts():
                    if len(sent) - finished == WRITERS:
                        self._finish(sent, finished, spool.rows)
                        finished += 1
                    sent.append((len(part), writers.submit(self._store_part, part)))
                    del part
                while finished < len(sent):
                    self._finish(sent, finished, spool.rows)
                    finished += 1
            except BaseException:
                writers.shutdown(cancel_futures=True)  # waits for the parts that are being committed
                stored = sum(rows for rows, part in sent if not part.cancelled() and part.exception() is None)
                self.watch("storing", stored, spool.rows)
                raise

    def _finish(self, sent: Sequence[tuple[int, Future[_Part]]], place: int, of_rows: int) -> None:
        counts, rejected, content = sent[place][1].result()
        self.outcome.take(counts, rejected)
        self._contents.append(content)
        self.watch("storing", sum(rows for rows, _ in sent[: place + 1]), of_rows)

    def _store_part(self, rows: Columns) -> _Part:
        kept, refused = without_contradictions(rows)
        raw = self._lines({line for line, _, _ in refused})
        rejected = [Rejected(line, code, reason, raw[line]) for line, code, reason in sorted(refused)]
        content = content_sha256(kept) if len(kept) else None
        return _Part(self._committed(kept, rejected, content), rejected, content)

    def _commit(self, rows: Columns, rejected: list[Rejected], content: str | None, **noted: Any) -> None:
        self.outcome.take(self._committed(rows, rejected, content, **noted), rejected)

    def _committed(self, rows: Columns, rejected: list[Rejected], content: str | None, **noted: Any) -> CommitCounts:
        if self.rehearse or self._raw is None:
            return CommitCounts(len(rows), 0, 0, len(rejected), None, None)
        batch = Batch(
            source_kind=self.template.source_kind,
            source=self.template.source,
            columns=rows,
            raws=(self._raw.result(),),
            quarantine=tuple(QuarantineEntry(item, 0) for item in rejected),
            actor=self.template.actor,
            format=self.template.format,
            profile=self.template.profile,
            sha256=self.template.sha256,
            received_at=self.template.received_at,
            parameters={**self.parameters(), **noted},
            content_sha256=content,
        )
        return self.store.commit(batch)

    def _lines(self, wanted: set[int]) -> dict[int, bytes]:
        """Return the bytes of some lines, by reading the file again; only contradictions need it."""
        found: dict[int, bytes] = {}
        if not wanted:
            return found
        with self.file.opened() as source:
            for first, block in text_blocks(source, self.file.encoding or "utf-8", 16 * CHUNK_BYTES):
                last = first + block.count(b"\n")
                inside = [line for line in wanted if first <= line <= last]
                if inside:
                    rows = block.split(b"\n")
                    found |= {line: rows[line - first] for line in inside if line - first < len(rows)}
        return found


def _no_bytes(_line: int) -> bytes:
    return b""


def content_sha256(rows: Columns) -> str:
    """Return a digest of rows in order, of all that makes their values, but not of the lines that they stand on."""
    digest = hashlib.sha256()
    for values in (rows.stream, rows.time, rows.end, rows.result, rows.sigma, rows.quality):
        digest.update(np.ascontiguousarray(values).view(np.uint8).data)
    if rows.reasons is not None and rows.reasons.any():
        digest.update("\n".join(" ".join(codes) if codes else "" for codes in rows.reasons).encode())
    return digest.hexdigest()


def reading_sha256(
    file: LargeFile, entry: Format, profile: Profile | None, context: ImportContext, resolver: StreamResolver
) -> str:
    """Return a digest of a file and of all beside the registers that decides what its rows become."""
    ways = {
        "version": version("groundwatch"),
        "file": file.sha256,
        "format": entry.name,
        "profile": asdict(profile) if profile else None,
        "context": asdict(context),
        "zone": str(resolver.zone),
        "convert_datum": resolver.convert_datum,
    }
    return hashlib.sha256(json.dumps(ways, sort_keys=True, default=str).encode()).hexdigest()


def import_large(
    file: LargeFile,
    entry: Format,
    profile: Profile | None,
    context: ImportContext,
    resolver: StreamResolver,
    template: Batch,
    *,
    store: ObservationStore,
    raw_files: RawFiles | None,
    spool: Path | None,
    rehearse: bool,
    watch: Watch | None,
    parameters: Callable[[], dict[str, Any]],
    now: datetime,
) -> Outcome:
    """Put a large file through parsing, mapping, checks and commit; see `ingest.pipeline.Pipeline.ingest_path`.

    Parameters
    ----------
    file
        As `look_at` found it.
    entry, profile, context, resolver
        How to read it and where its streams go; the format must be able to stream.
    template
        What every batch of it has in common.
    spool
        Folder for the sorted rows; it needs about as much room as the unpacked file.
    rehearse
        Store nothing.
    watch
        Told about progress.
    parameters
        Returns what is recorded with each batch, when it is committed.

    Raises
    ------
    FormatError
        When nothing of the file can be used, or the end of it is not like its beginning; nothing was stored.
    InputError
        When the file changed while it was read; nothing was stored.
    UnavailableError
        When the store is out of reach; the parts committed by then are stored, and the next import goes on from there.
    """
    assert entry.stream is not None
    encoding = (profile.encoding if profile else None) or file.encoding
    if encoding is None:
        raise FormatError(
            "the text is neither UTF-8 nor GB18030.",
            where=file.filename,
            remedy="save it as UTF-8, or state encoding: in a profile",
        )
    stream = entry.stream
    told = watch or (lambda *_: None)
    importer = _Importer(file, template, store, raw_files, rehearse=rehearse, watch=told, parameters=parameters)
    key, mark = reading_sha256(file, entry, profile, context, resolver), store.register_mark()
    known = None if rehearse else store.recall_file(key)
    if known is not None:
        importer.recognise(known, now)
        return importer.outcome
    with Spool(spool) as spooled:
        importer.run(lambda source: stream(source, encoding, profile, context), resolver, now, spooled)
    if not (rehearse or resolver.has_news):
        importer.remember(key, mark)
    return importer.outcome

"""A watched folder: files that have stopped growing go through the pipeline and are moved to `processed/` or `rejected/`.

A gateway may go on writing to what was moved, rename it meanwhile, or zip what it has finished. So a file counts as read only when it
is the same before and after; one that grows after it was moved is read again, whole, and the store recognises what it has; one that
ends within a line or an archive waits longer. The members of a zip archive are files of their own.

Polling, because network shares send no events. A file in a sub-folder is read with the profile of that name (`inbox/dino/x.csv`).
Beside each moved file lies `NAME.report.json`, and `processed/ledger.jsonl` lists digest, path and outcome. Nothing is created in
the registers: what is unknown goes to quarantine. This file finishes with `Inbox`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
import threading
import time
import zipfile
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from domain.errors import GroundWatchError, UnavailableError
from ingest.formats.decoding import GZIP_MAGIC
from ingest.pipeline import Pipeline
from ingest.profile import shipped_profiles
from ingest.report import ImportReport
from ingest.transports.metrics import IngestMetrics

LOG = logging.getLogger(__name__)
PROCESSED, REJECTED = "processed", "rejected"
LEDGER = "ledger.jsonl"
_REPORT = ".report.json"
_WATCHED = 1000
"""So many moved files are watched, the newest, in case that somebody still writes to them."""
_IGNORED_SUFFIXES = (".part", ".tmp", ".crdownload", ".filepart", ".swp", "~")


@dataclass(frozen=True, slots=True)
class InboxSettings:
    """Where to look, how often, and how long a file must rest before it is read (`patience_s`: one that ends within a line)."""

    folder: Path
    poll_s: float = 2.0
    settle_s: float = 5.0
    patience_s: float = 60.0
    actor: str = "inbox"


@dataclass(frozen=True, slots=True)
class _Seen:
    size: int
    modified_ns: int
    since_s: float


class Inbox:
    """Watches one folder.

    Parameters
    ----------
    settings
        Folder and patience.
    pipeline
        Where files go.
    clock
        Returns the present time (aware).
    monotonic
        Seconds that never run backwards, for the patience.
    profiles
        Folder of the user's own profiles by name (`NAME.yaml`), beside the shipped ones.
    """

    def __init__(
        self,
        settings: InboxSettings,
        pipeline: Pipeline,
        clock: Callable[[], datetime],
        *,
        monotonic: Callable[[], float] = time.monotonic,
        metrics: IngestMetrics | None = None,
        profiles: Path | None = None,
    ) -> None:
        self.settings, self.pipeline, self.clock, self.monotonic = settings, pipeline, clock, monotonic
        self.metrics = metrics or IngestMetrics()
        self.profiles = profiles
        self._seen: dict[Path, _Seen] = {}
        self._moved: dict[Path, tuple[int, int]] = {}
        self._has_recalled = False

    def run(self, stop: threading.Event) -> None:
        """Look into the folder until `stop` is set."""
        self.settings.folder.mkdir(parents=True, exist_ok=True)
        while not stop.is_set():
            try:
                self.poll(stop)
            except OSError as fault:
                LOG.warning("the inbox cannot be read (%s); trying again", fault)
            stop.wait(self.settings.poll_s)

    def poll(self, stop: threading.Event | None = None) -> int:
        """Read every file that has come to rest; return how many were moved away."""
        moved = 0
        for path in self._resting():
            if stop is not None and stop.is_set():
                break
            try:
                moved += self._ingest(path)
            except UnavailableError as fault:
                LOG.warning("the database is out of reach (%s); %s stays in the inbox", fault, path.name)
                break
            except FileNotFoundError:
                LOG.info("%s was taken away before it was read", path.name)
        return moved

    def _resting(self) -> list[Path]:
        """Return the files whose size and time of change have stayed the same for `settle_s`."""
        now = self.monotonic()
        seen: dict[Path, _Seen] = {}
        resting: list[Path] = []
        for path in (*self._files(), *self._grown()):
            try:
                state = path.stat()
            except FileNotFoundError:
                continue
            before = self._seen.get(path)
            same = before is not None and (before.size, before.modified_ns) == (state.st_size, state.st_mtime_ns)
            since = before.since_s if before is not None and same else now
            seen[path] = _Seen(state.st_size, state.st_mtime_ns, since)
            if now - since >= self.settings.settle_s and (
                now - since >= self.settings.patience_s or not _ends_in_the_middle(path)
            ):
                resting.append(path)
        self._seen = seen
        return sorted(resting)

    def _files(self) -> Iterator[Path]:
        for root, folders, names in os.walk(self.settings.folder):
            here = Path(root)
            if here == self.settings.folder:
                folders[:] = [name for name in folders if name not in {PROCESSED, REJECTED}]
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in names:
                path = here / name
                if not name.startswith(".") and not name.endswith(_IGNORED_SUFFIXES) and not path.is_symlink() and path.is_file():
                    yield path

    def _ingest(self, path: Path) -> int:
        before = _identity(path)
        relative = path.relative_to(self.settings.folder)
        outcome, is_in = self._outcome(path, relative)
        if _identity(path) != before:
            return 0  # it has begun to grow again, or is another file by now
        return self._move(path, relative, PROCESSED if is_in else REJECTED, outcome, before)

    def _outcome(self, path: Path, relative: Path) -> tuple[dict[str, Any], bool]:
        """Import a file, or the members of an archive; return the report and whether anything of it came in."""
        if not _is_archive(path):
            return self._imported(path, relative)
        digest = _sha256(path)
        members: list[tuple[dict[str, Any], bool]] = []
        if self.pipeline.spool is not None:
            self.pipeline.spool.mkdir(parents=True, exist_ok=True)
        try:
            with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory(dir=self.pipeline.spool) as folder:
                for member in archive.infolist():
                    if not member.is_dir() and not Path(member.filename).name.startswith("."):
                        unpacked = _unpack(archive, member, Path(folder))
                        members.append(self._imported(unpacked, relative))
                        unpacked.unlink()
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as fault:
            reason = f"the archive cannot be unpacked ({fault}). Remedy: send it again, whole and without a password"
            return {"file": path.name, "sha256": digest, "error": "format", "reason": reason}, False
        is_in = bool(members) and all(came_in for _, came_in in members)
        return {"file": path.name, "sha256": digest, "members": [report for report, _ in members]}, is_in

    def _imported(self, path: Path, relative: Path) -> tuple[dict[str, Any], bool]:
        try:
            report = self.pipeline.ingest_path(
                path,
                profile=self._profile(relative),
                create=False,
                actor=self.settings.actor,
                source_kind="inbox",
                now=self.clock(),
            )
        except (UnavailableError, FileNotFoundError):
            raise
        except GroundWatchError as fault:
            return {"file": path.name, "sha256": _sha256(path), "error": fault.code, "reason": str(fault)}, False
        except Exception as fault:  # one file must not stop the inbox
            LOG.exception("%s could not be imported", path.name)
            return {"file": path.name, "sha256": _sha256(path), "error": "internal", "reason": repr(fault)}, False
        return report.to_json(), self._is_in(report)

    @staticmethod
    def _is_in(report: ImportReport) -> bool:
        return report.exit_code != 2

    def _profile(self, relative: Path) -> str | Path | None:
        """Return the profile that the first sub-folder names, if it names one."""
        name = relative.parts[0] if len(relative.parts) > 1 else None
        if name is None:
            return None
        own = self.profiles / f"{name}.yaml" if self.profiles else None
        if own is not None and own.is_file():
            return own
        return name if name in shipped_profiles() else None

    def _move(self, path: Path, relative: Path, folder: str, outcome: dict[str, Any], read: _Identity) -> int:
        """Move a file that was read; 0 when it was another one by then and stays where it is."""
        target = path if relative.parts[0] in {PROCESSED, REJECTED} else _free_name(self.settings.folder / folder / relative)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target != path:
            path.replace(target)
            if _identity(target)[0] != read[0] and not path.exists():
                target.replace(path)  # renamed and begun anew in the very moment
                return 0
        _write_durably(target.with_name(target.name + _REPORT), json.dumps(outcome, ensure_ascii=False, indent=2))
        entry = {
            "sha256": outcome["sha256"],
            "path": str(relative),
            "moved_to": str(target.relative_to(self.settings.folder)),
            "size": read[1],
            "modified_ns": read[2],
        }
        ledger = self.settings.folder / PROCESSED / LEDGER
        ledger.parent.mkdir(parents=True, exist_ok=True)
        with ledger.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry, ensure_ascii=False) + "\n")
        self._seen.pop(path, None)
        self._remember(target, read[1:])
        is_in = folder == PROCESSED
        self.metrics.add(files_imported=int(is_in), files_rejected=int(not is_in))
        LOG.info("%s: %s", relative, folder)
        return 1

    def _remember(self, target: Path, state: tuple[int, int]) -> None:
        self._moved.pop(target, None)
        self._moved[target] = state
        while len(self._moved) > _WATCHED:
            self._moved.pop(next(iter(self._moved)))

    def _recall(self) -> None:
        """Learn from the ledger which files were moved before this process began."""
        ledger = self.settings.folder / PROCESSED / LEDGER
        if not ledger.exists():
            return
        with ledger.open(encoding="utf-8") as lines:
            for line in deque(lines, _WATCHED):
                try:
                    entry = json.loads(line)
                    state = int(entry["size"]), int(entry["modified_ns"])
                    self._remember(self.settings.folder / str(entry["moved_to"]), state)
                except (ValueError, KeyError, TypeError):
                    continue  # of an older version, or the end of a line that a crash cut off

    def _grown(self) -> Iterator[Path]:
        """Yield files that were written to after they were moved: their writer kept them open."""
        if not self._has_recalled:
            self._recall()
            self._has_recalled = True
        for path, state in list(self._moved.items()):
            try:
                if _identity(path)[1:] != state:
                    yield path
            except FileNotFoundError:
                self._moved.pop(path, None)


_Identity = tuple[int, int, int]
"""Inode, size and time of the last change."""


def _identity(path: Path) -> _Identity:
    state = path.stat()
    return state.st_ino, state.st_size, state.st_mtime_ns


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _is_archive(path: Path) -> bool:
    """Is it a zip archive of files? A workbook is one too, but is not called so."""
    return path.suffix.lower() == ".zip"


def _unpack(archive: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path) -> Path:
    """Unpack one member under its own name, wherever in the archive it says it belongs."""
    unpacked = folder / Path(member.filename.replace("\\", "/")).name
    with archive.open(member) as source, unpacked.open("wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
    return unpacked


def _ends_in_the_middle(path: Path) -> bool:
    """Does a text end without the end of a line, or an archive without its directory? Then somebody may still be writing."""
    if path.suffix.lower() in {".zip", ".xlsx"}:
        return not zipfile.is_zipfile(path)
    with path.open("rb") as stream:
        beginning = stream.read(2)
        stream.seek(0, os.SEEK_END)
        stream.seek(max(0, stream.tell() - 1))
        return beginning != GZIP_MAGIC and stream.read(1) not in b"\n\r}]>"


def _free_name(path: Path) -> Path:
    """Return the path, or the path with a number where it is taken."""
    candidate, number = path, 1
    while candidate.exists() or candidate.with_name(candidate.name + ".report.json").exists():
        candidate, number = path.with_name(f"{path.stem}.{number}{path.suffix}"), number + 1
    return candidate


def _write_durably(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.writing")
    with temporary.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)

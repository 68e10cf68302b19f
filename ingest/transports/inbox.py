"""A watched folder: files that have stopped growing go through the pipeline and are moved to `processed/` or `rejected/`.

A gateway may go on writing to what was moved, rename it meanwhile, or zip what it has finished. So a file counts as read only when it
is the same before and after; one that grows after it was moved is read again, whole, and the store recognises what it has; one that
ends within a line or an archive waits longer; of one that never rests the whole lines are read from time to time, and it stays. The
members of a zip archive are files of their own. A file that cannot be read holds up no other.

Polling, because network shares send no events. A file in a sub-folder is read with the profile of that name (`inbox/dino/x.csv`).
Beside each moved file lies `NAME.report.json`, and `processed/ledger.jsonl` lists digest, path and outcome. Nothing is created in
the registers: what is unknown goes to quarantine. This file finishes with `Inbox`.
"""

from __future__ import annotations

import json
import logging
import os
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
from ingest.pipeline import Pipeline
from ingest.profile import shipped_profiles
from ingest.report import ImportReport
from ingest.transports.archives import TooLargeError, ends_in_the_middle, is_archive, members, readable, whole_lines
from ingest.transports.metrics import IngestMetrics
from ingest.transports.shelf import Identity, fitting, free_name, identity, report_of, sha256, write_durably

LOG = logging.getLogger(__name__)
PROCESSED, REJECTED = "processed", "rejected"
LEDGER = "ledger.jsonl"
_RESTLESS_BYTES_PER_S = 16 * 1024
"""Each look into a growing file keeps its bytes, so large ones are looked into less often: one of 50 MiB once an hour."""
_WATCHED = 1000
"""So many moved files are watched, the newest, in case that somebody still writes to them."""
_IGNORED_SUFFIXES = (".part", ".tmp", ".crdownload", ".filepart", ".swp", "~")


@dataclass(frozen=True, slots=True)
class InboxSettings:
    """Where to look, how often, and how long a file must rest before it is read.

    `patience_s` is for one that ends within a line; `restless_s` is how often one is read that grows all the time.
    """

    folder: Path
    poll_s: float = 2.0
    settle_s: float = 5.0
    patience_s: float = 60.0
    restless_s: float = 300.0
    actor: str = "inbox"


@dataclass(frozen=True, slots=True)
class _Seen:
    """A file's state, since when it is so, and since when nothing of it was read."""

    size: int
    modified_ns: int
    since_s: float
    waiting_s: float


@dataclass(frozen=True, slots=True)
class _Read:
    """A file that was read: as what, what came of it, and whether anything of it came in."""

    identity: Identity
    outcome: dict[str, Any]
    is_in: bool


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
        self._troubled: dict[Path, str] = {}
        self._unmoved: dict[Path, _Read] = {}

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
        if not self.settings.folder.is_dir():
            self._trouble(self.settings.folder, FileNotFoundError("the folder is not there"))
            return 0
        self._troubled.pop(self.settings.folder, None)
        resting, restless = self._waiting()
        for path in (*resting, *restless):
            if stop is not None and stop.is_set():
                break
            try:
                if path in restless:
                    self._look_into(path)
                else:
                    moved += self._ingest(path)
                self._troubled.pop(path, None)
            except UnavailableError as fault:
                LOG.warning("the database is out of reach (%s); %s stays in the inbox", fault, path.name)
                break
            except FileNotFoundError:
                LOG.info("%s was taken away before it was read", path.name)
            except OSError as fault:
                self._trouble(path, fault)
        self._troubled = {path: why for path, why in self._troubled.items() if path in self._seen or path == self.settings.folder}
        self.metrics.put(files_unreadable=len(self._troubled))
        return moved

    def _trouble(self, path: Path, fault: OSError) -> None:
        """Tell once of what cannot be read; it is tried again, and holds up nothing else."""
        if self._troubled.get(path) != str(fault):
            LOG.warning("%s cannot be read or moved (%s); it stays and is tried again", path, fault)
        self._troubled[path] = str(fault)
        self.metrics.put(files_unreadable=len(self._troubled))

    def _waiting(self) -> tuple[list[Path], list[Path]]:
        """Return the files whose size and time of change have rested for `settle_s`, and those that never do for `restless_s`."""
        now = self.monotonic()
        seen: dict[Path, _Seen] = {}
        resting: list[Path] = []
        restless: list[Path] = []
        for path in (*self._files(), *self._grown()):
            try:
                state = path.stat()
            except OSError:
                continue
            before = self._seen.get(path)
            same = before is not None and (before.size, before.modified_ns) == (state.st_size, state.st_mtime_ns)
            since = before.since_s if before is not None and same else now
            waiting = before.waiting_s if before is not None else now
            if now - since >= self.settings.settle_s and self._is_whole(path, now - since):
                resting.append(path)
            elif since == now and now - waiting >= max(self.settings.restless_s, state.st_size / _RESTLESS_BYTES_PER_S):
                restless.append(path)
                waiting = now
            seen[path] = _Seen(state.st_size, state.st_mtime_ns, since, waiting)
        self._seen = seen
        self._unmoved = {path: read for path, read in self._unmoved.items() if path in seen}
        return sorted(resting), sorted(restless)

    def _is_whole(self, path: Path, rested_s: float) -> bool:
        try:
            return rested_s >= self.settings.patience_s or not ends_in_the_middle(path)
        except OSError:
            return True  # what keeps it from being read is told where it is read

    def _files(self) -> Iterator[Path]:
        for root, folders, names in os.walk(self.settings.folder):
            here = Path(root)
            if here == self.settings.folder:
                folders[:] = [name for name in folders if name not in {PROCESSED, REJECTED}]
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in names:
                path = here / name
                if (
                    not name.startswith(".")
                    and not name.lower().endswith(_IGNORED_SUFFIXES)
                    and not path.is_symlink()
                    and path.is_file()
                ):
                    yield path

    def _ingest(self, path: Path) -> int:
        path = self._under_a_readable_name(path)
        before = identity(path)
        relative = path.relative_to(self.settings.folder)
        read = self._unmoved.get(path)
        if read is None or read.identity != before:
            read = _Read(before, *self._outcome(path, relative))
        if identity(path) != before:
            return 0  # it has begun to grow again, or is another file by now
        self._unmoved[path] = read  # where it cannot be moved, only that is tried again
        moved = self._move(path, relative, PROCESSED if read.is_in else REJECTED, read)
        self._unmoved.pop(path)
        return moved

    def _under_a_readable_name(self, path: Path) -> Path:
        """Rename a file whose name is no UTF-8: registers, reports and people could not name it."""
        relative = path.relative_to(self.settings.folder)
        name = readable(os.fsencode(relative))
        if os.fsencode(name) == os.fsencode(relative):
            return path
        folders = [fitting(part, "") for part in Path(name).parts[:-1]]
        target = free_name(self.settings.folder.joinpath(*folders, Path(name).name))
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
        return target

    def _look_into(self, path: Path) -> None:
        """Read the whole lines of a file that never rests; it stays where it is, and what comes later is read later."""
        with self._scratch() as folder:
            copy = whole_lines(path, Path(folder))
            if copy is not None:
                outcome, _ = self._imported(copy, path.relative_to(self.settings.folder))
                LOG.info("%s goes on growing; %s observations of it came in", path.name, outcome.get("accepted", "no"))

    def _scratch(self) -> tempfile.TemporaryDirectory[str]:
        if self.pipeline.spool is not None:
            self.pipeline.spool.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(dir=self.pipeline.spool)

    def _outcome(self, path: Path, relative: Path) -> tuple[dict[str, Any], bool]:
        """Import a file, or the members of an archive; return the report and whether anything of it came in."""
        if not is_archive(path):
            return self._imported(path, relative)
        report: dict[str, Any] = {"file": path.name, "sha256": sha256(path)}
        found: list[tuple[dict[str, Any], bool]] = []
        try:
            with zipfile.ZipFile(path) as archive, self._scratch() as folder:
                found.extend(self._member(unpacked, relative) for unpacked in members(archive, Path(folder)))
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, TooLargeError) as fault:
            reason = f"the archive cannot be unpacked ({fault}). Remedy: send it again, whole and without a password"
            report |= {"error": "format", "reason": reason}
        is_in = bool(found) and "error" not in report and all(came_in for _, came_in in found)
        return report | ({"members": [member for member, _ in found]} if found else {}), is_in

    def _member(self, path: Path, relative: Path) -> tuple[dict[str, Any], bool]:
        if is_archive(path):
            reason = "an archive within an archive is not unpacked. Remedy: send it by itself"
            return {"file": path.name, "sha256": sha256(path), "error": "format", "reason": reason}, False
        return self._imported(path, relative)

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
        except (UnavailableError, OSError):
            raise
        except GroundWatchError as fault:
            return {"file": path.name, "sha256": sha256(path), "error": fault.code, "reason": str(fault)}, False
        except Exception as fault:  # one file must not stop the inbox
            LOG.exception("%s could not be imported", path.name)
            return {"file": path.name, "sha256": sha256(path), "error": "internal", "reason": repr(fault)}, False
        return report.to_json(), self._is_in(report)

    @staticmethod
    def _is_in(report: ImportReport) -> bool:
        return report.exit_code != 2

    def _profile(self, relative: Path) -> str | Path | None:
        """Return the profile that the first sub-folder names, if it names one; a file that was moved has that of where it lay."""
        parts = relative.parts[1:] if relative.parts[0] in {PROCESSED, REJECTED} else relative.parts
        name = parts[0] if len(parts) > 1 else None
        if name is None:
            return None
        own = self.profiles / f"{name}.yaml" if self.profiles else None
        if own is not None and own.is_file():
            return own
        return name if name in shipped_profiles() else None

    def _move(self, path: Path, relative: Path, folder: str, read: _Read) -> int:
        """Move a file that was read, its report first; 0 when it was another one by then and stays where it is."""
        lay_in, *rest = relative.parts
        was_moved = lay_in in {PROCESSED, REJECTED}
        target = path
        if lay_in != folder:
            target = free_name(self.settings.folder / folder / (Path(*rest) if was_moved else relative))
        target.parent.mkdir(parents=True, exist_ok=True)
        report = report_of(target)
        write_durably(report, json.dumps(read.outcome, ensure_ascii=False, indent=2))
        if target != path:
            try:
                path.replace(target)
            except OSError:
                report.unlink()
                raise
            if identity(target)[0] != read.identity[0] and not path.exists():
                target.replace(path)  # renamed and begun anew in the very moment
                report.unlink()
                return 0
            if was_moved:
                report_of(path).unlink(missing_ok=True)
        self._seen.pop(path, None)
        self._moved.pop(path, None)
        self._remember(target, read.identity[1:])
        self._note(relative, target, read)
        is_in = folder == PROCESSED
        self.metrics.add(files_imported=int(is_in), files_rejected=int(not is_in))
        LOG.info("%s: %s", relative, folder)
        return 1

    def _note(self, relative: Path, target: Path, read: _Read) -> None:
        """Write a line of the ledger."""
        entry = {
            "sha256": read.outcome["sha256"],
            "path": str(relative),
            "moved_to": str(target.relative_to(self.settings.folder)),
            "size": read.identity[1],
            "modified_ns": read.identity[2],
        }
        ledger = self.settings.folder / PROCESSED / LEDGER
        ledger.parent.mkdir(parents=True, exist_ok=True)
        with ledger.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry) + "\n")

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
                if identity(path)[1:] != state:
                    yield path
            except FileNotFoundError:
                self._moved.pop(path, None)

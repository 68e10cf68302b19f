"""A watched folder: files that have stopped growing go through the pipeline and are moved to `processed/` or `rejected/`.

Polling, because network shares send no events. A file in a sub-folder is read with the profile of that name (`inbox/dino/x.csv`).
Beside each moved file lies `NAME.report.json`, and `processed/ledger.jsonl` lists digest, path and outcome. Nothing is created in
the registers: what is unknown goes to quarantine. This file finishes with `Inbox`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from domain.errors import GroundWatchError, UnavailableError
from ingest.pipeline import Pipeline
from ingest.profile import shipped_profiles
from ingest.report import ImportReport
from ingest.transports.metrics import IngestMetrics

LOG = logging.getLogger(__name__)
PROCESSED, REJECTED = "processed", "rejected"
LEDGER = "ledger.jsonl"
_IGNORED_SUFFIXES = (".part", ".tmp", ".crdownload", ".filepart", ".swp", "~")


@dataclass(frozen=True, slots=True)
class InboxSettings:
    """Where to look, how often, and how long a file must rest before it is read."""

    folder: Path
    poll_s: float = 2.0
    settle_s: float = 5.0
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
        for path in self._files():
            try:
                state = path.stat()
            except FileNotFoundError:
                continue
            before = self._seen.get(path)
            same = before is not None and (before.size, before.modified_ns) == (state.st_size, state.st_mtime_ns)
            since = before.since_s if before is not None and same else now
            seen[path] = _Seen(state.st_size, state.st_mtime_ns, since)
            if now - since >= self.settings.settle_s:
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
        before = path.stat()
        raw = path.read_bytes()
        after = path.stat()
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or len(raw) != after.st_size:
            return 0  # it has begun to grow again
        relative = path.relative_to(self.settings.folder)
        outcome: dict[str, Any]
        try:
            report = self.pipeline.ingest_file(
                raw,
                path.name,
                profile=self._profile(relative),
                create=False,
                actor=self.settings.actor,
                source_kind="inbox",
                now=self.clock(),
            )
            outcome, is_in = report.to_json(), self._is_in(report)
        except UnavailableError:
            raise
        except GroundWatchError as fault:
            outcome = {"file": path.name, "sha256": hashlib.sha256(raw).hexdigest(), "error": fault.code, "reason": str(fault)}
            is_in = False
        except Exception as fault:  # one file must not stop the inbox
            LOG.exception("%s could not be imported", path.name)
            outcome = {"file": path.name, "sha256": hashlib.sha256(raw).hexdigest(), "error": "internal", "reason": repr(fault)}
            is_in = False
        self._move(path, relative, PROCESSED if is_in else REJECTED, outcome)
        self.metrics.add(files_imported=int(is_in), files_rejected=int(not is_in))
        return 1

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

    def _move(self, path: Path, relative: Path, folder: str, outcome: dict[str, Any]) -> None:
        target = _free_name(self.settings.folder / folder / relative)
        target.parent.mkdir(parents=True, exist_ok=True)
        _write_durably(target.with_name(target.name + ".report.json"), json.dumps(outcome, ensure_ascii=False, indent=2))
        ledger = self.settings.folder / PROCESSED / LEDGER
        ledger.parent.mkdir(parents=True, exist_ok=True)
        entry = {"sha256": outcome["sha256"], "path": str(relative), "moved_to": str(target.relative_to(self.settings.folder))}
        with ledger.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry, ensure_ascii=False) + "\n")
        path.replace(target)
        self._seen.pop(path, None)
        LOG.info("%s: %s", relative, folder)


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

"""Readiness: database, migrations, freshness, ingest, worker, broker, disk; each check says what is wrong in one sentence.

This file finishes with `Readiness`.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from domain.errors import GroundWatchError
from service.api.deadline import Deadline
from service.api.processes import MISSED_FOR, trouble_of
from storage.gauges import GaugeRepository
from storage.heartbeats import HeartbeatRepository
from storage.migrate import pending

KEEP_S = 2.0
GRACE = timedelta(minutes=15)
BACKLOG_LIMIT_S = 300.0
BROKER_TIMEOUT_S = 2.0
ANSWER_S = 3.0
"""How long the database may take to answer all that is asked of it here."""
_HANGS_REMEDY = "see what it waits for (its load, its disk, the network to it); everything goes on by itself when it answers"


@dataclass(frozen=True, slots=True)
class Check:
    """One check: ok, or the reason why not."""

    name: str
    ok: bool
    reason: str = ""


class Readiness:
    """Runs the checks; an answer is kept for two seconds, so that probes cost nothing.

    Parameters
    ----------
    container
        What to check.
    started_at
        When this process began to serve: freshness is asked for after a quarter of an hour only.
    """

    def __init__(self, container: Any, started_at: datetime) -> None:
        self.container = container
        self.started_at = started_at
        self._lock = threading.Lock()
        self._kept: tuple[float, list[Check]] | None = None
        self._database = Deadline(self._of_the_database, ANSWER_S)

    def checks(self) -> list[Check]:
        """Return every check."""
        with self._lock:
            if self._kept is not None and time.monotonic() - self._kept[0] < KEEP_S:
                return self._kept[1]
            try:
                found = list(self._database.answer())
            except TimeoutError as late:
                refused = self._checked("database", self._knock)
                hangs = Check("database", False, f"the database gives {late}. Remedy: {_HANGS_REMEDY}")
                found = [hangs if refused.ok else refused]
            found += [self._checked("broker", self._broker), self._checked("disk", self._disk)]
            self._kept = (time.monotonic(), found)
            return found

    def _of_the_database(self) -> list[Check]:
        found = [self._checked("database", self._ping)]
        if found[-1].ok:
            found.append(self._checked("migrations", self._migrations))
        if found[-1].ok:
            found.append(self._checked("freshness", self._freshness))
            found += [self._checked(name, partial(self._process, name)) for name in ("ingest", "worker")]
        return found

    def _checked(self, name: str, check: Callable[[], str | None]) -> Check:
        try:
            reason = check()
        except (GroundWatchError, OSError) as error:
            reason = str(error)
        return Check(name, not reason, reason or "")

    def _ping(self) -> str | None:
        self.container.db.ping()
        return None

    def _knock(self) -> str | None:
        self.container.db.knock()
        return None

    def _migrations(self) -> str | None:
        missing = pending(self.container.database_url)
        return f"not applied: {', '.join(missing)}; run `groundwatch migrate`" if missing else None

    def _process(self, name: str) -> str | None:
        return trouble_of(HeartbeatRepository(self.container.db).recent(MISSED_FOR), name)

    def _broker(self) -> str | None:
        self.container.reach_broker(BROKER_TIMEOUT_S)
        return None

    def _disk(self) -> str | None:
        home = self.container.settings.home
        free = shutil.disk_usage(home if home.exists() else home.anchor or "/").free
        wanted = self.container.settings.minimum_free_bytes
        return f"{free} bytes free under the home, {wanted} wanted" if free < wanted else None

    def _freshness(self) -> str | None:
        now = self.container.clock()
        reading = GaugeRepository(self.container.db).read(now)
        for row in reading.work:
            if row["kind"] == "evaluate" and (now - row["oldest"]).total_seconds() > BACKLOG_LIMIT_S:
                return f"observations of {row['oldest']:%Y-%m-%dT%H:%M:%SZ} wait to be evaluated; is a worker running?"
        live = reading.live
        if now - self.started_at > GRACE and live.get("live") and live["live"] == live["silent"]:
            return f"all {live['live']} live datastreams are silent, the last was heard {live['newest']:%Y-%m-%dT%H:%M:%SZ}"
        return None

"""Runs the analytics on stored datastreams: reads, computes in another process, stores runs, findings and derived observations.

The ledger sequence is read first and the observations are read as of it, so a stored run can be recomputed from the same digits. The
computation is a pure function on arrays and runs in a process of its own, so that a long fit never delays an alert. This file finishes
with `Analyst`.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self
from zoneinfo import ZoneInfo

from analytics import AnalysisSettings, LimitLine, Samples, analyse_datastream
from analytics.recorded import inputs_as_json
from domain.errors import UnavailableError
from domain.finding import Outcome
from domain.licence import Limit
from domain.model import Datastream, ObservedProperty, Station, StationEvent
from domain.units import compatible, convert
from service.bootstrap import Container
from service.network_analysing import Clock, GroupTask, NetworkAnalyst, compute_group, inferred_events, marked_as_inferred

LOG = logging.getLogger("groundwatch.analyse")
FALLING = "min"
YIELDING = 10
"""How much the computing process gives way to those that take observations in and evaluate rules (niceness)."""


@dataclass(frozen=True, slots=True)
class Task:
    """All that the computation of one datastream needs; plain values that another process can take."""

    samples: Samples
    events: tuple[StationEvent, ...]
    settings: AnalysisSettings
    now: datetime


def compute(task: Task) -> list[Outcome]:
    """Run every method that suits the datastream."""
    return analyse_datastream(task.samples, task.events, task.settings, task.now)


def limit_lines(limits: Sequence[Limit], datastream: Datastream) -> tuple[LimitLine, ...]:
    """Return the limits that stand on the datastream's own property, in its unit."""
    return tuple(
        LimitLine(limit.code, float(convert(limit.value, limit.unit, datastream.unit)), rising=limit.kind != FALLING)
        for limit in limits
        if limit.property_code == datastream.property_code and compatible(limit.unit, datastream.unit)
    )


class Analyst:
    """Analyses datastreams, one computing process at a time.

    Parameters
    ----------
    container
        The stores.
    in_process
        Compute in this process (command line, tests) instead of in one of its own.
    """

    def __init__(self, container: Container, *, in_process: bool = False) -> None:
        self._container = container
        self._executor = (
            None
            if in_process
            else ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=os.nice, initargs=(YIELDING,))
        )
        self.networks = NetworkAnalyst(container, self._compute_group)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)

    def _compute_group(self, task: GroupTask) -> list[tuple[str, Outcome]]:
        return compute_group(task) if self._executor is None else self._executor.submit(compute_group, task).result()

    def task(self, datastream: Datastream, now: datetime, as_of: int) -> Task:
        """Collect what the computation needs, as of a ledger sequence."""
        container = self._container
        assert datastream.datastream_id is not None
        station = container.registers.station(datastream.station)
        observed = container.registers.observed_property(datastream.property_code)
        assert station is not None
        assert observed is not None
        data = container.observations.series(datastream.datastream_id, as_of=as_of)
        events = [event for event in container.registers.events(station.code) if event.datastream in {None, datastream.code}]
        return Task(
            Samples(data.time, data.result, data.sigma, data.quality.astype("uint8")),
            tuple(inferred_events(container, datastream, events)),
            self._settings(datastream, observed, station, now),
            now,
        )

    def _settings(self, datastream: Datastream, observed: ObservedProperty, station: Station, now: datetime) -> AnalysisSettings:
        node = self._container.registers.node()
        offset = ZoneInfo(node.zone if node else "UTC").utcoffset(now.replace(tzinfo=None)) or timedelta()
        return AnalysisSettings(
            unit=datastream.unit,
            property_code=datastream.property_code,
            value_kind=observed.value_kind,
            zone_offset_h=offset.total_seconds() / 3600,
            interval_s=datastream.interval_s,
            limits=limit_lines(self._container.registers.limits(datastream, station), datastream),
            find_steps=not self._sticks(datastream),
        )

    def _sticks(self, datastream: Datastream) -> bool:
        """Whether the instrument releases in jumps: they carry the rate, and taken off as steps they would take it along."""
        if datastream.property_code != "compaction" or datastream.datastream_id is None:
            return False
        run = self._container.analyses.latest_runs(datastream.datastream_id).get("stick_slip")
        return run is not None and bool(run.result.get("slips"))

    def analyse(self, datastream: Datastream, now: datetime, *, as_of: int | None = None, store: bool = True) -> list[Outcome]:
        """Analyse one datastream and store what comes out.

        Parameters
        ----------
        as_of
            Ledger sequence to read as of; None = now. A run as of the past is never stored.
        """
        read_seq = self._container.analyses.current_seq() if as_of is None else as_of
        task = self.task(datastream, now, read_seq)
        outcomes = compute(task) if self._executor is None else self._executor.submit(compute, task).result()
        outcomes = marked_as_inferred(outcomes, task.events)
        if store and as_of is None:
            inputs = inputs_as_json(task.events, now)
            kept = [replace(outcome, run=replace(outcome.run, inputs=inputs)) for outcome in outcomes]
            self._container.analyses.save(datastream, kept, read_seq)
        return outcomes

    def analyse_changed(
        self,
        now: datetime,
        debounce: timedelta,
        *,
        keep_on: Callable[[], bool] = lambda: True,
        clock: Clock | None = None,
    ) -> int:
        """Analyse datastreams that changed and were not analysed within `debounce`, while `keep_on` says so; return how many.

        `keep_on` is asked before each datastream, and may take its time where others go first. Groups whose findings single datastreams
        need go before, those that need the results of single ones after.

        Parameters
        ----------
        clock
            Tells the time as of which each is analysed, once its work is claimed and before it is read; None = time stands still at `now`.
            A run takes minutes, and what is later than the time of an analysis is not looked at: with the time of the run's beginning an
            observation that came since would be left out, and its work would be gone.
        """
        done, clock = 0, clock or (lambda: now)
        self.networks.analyse_first(clock)
        for datastream_id in self._container.work.waiting("analyse", limit=10_000):
            if not keep_on():
                break
            state = self._container.analyses.state(datastream_id)
            if state is not None and now - state.analysed_at < debounce:
                continue
            done += self._analyse_one(datastream_id, clock)
        if keep_on():
            self.networks.analyse_rest(clock, debounce, keep_on=keep_on)
        return done

    def _analyse_one(self, datastream_id: int, clock: Clock) -> int:
        """Take the work of one datastream, analyse it, and put the work back by rolling back when that fails."""
        container = self._container
        with container.work.claim_datastream("analyse", datastream_id) as claimed:
            if not claimed:
                return 0
            datastream = container.registers.datastream_by_id(datastream_id)
            if datastream is None or datastream.derivation is not None:
                return 0
            try:
                self.analyse(datastream, clock())
            except UnavailableError:
                raise
            except Exception:
                LOG.exception("%s could not be analysed; it is tried again when its observations change", datastream.code)
                return 0
            return 1

"""The engine: from changed datastreams, or from the clock, to alerts, in one transaction a group of scopes.

This file finishes with `AlertEngine`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

from alerts.audience import Audience
from alerts.catalogue import Catalogue
from alerts.decisions import Decisions
from alerts.issue import Issuer
from alerts.matching import silence_for
from alerts.outcomes import Outcomes
from alerts.ports import AlertObservations, AlertRegisters, RunReader
from alerts.quiet import Quiet
from alerts.realarm import Realarmer
from alerts.recorder import About, Report
from alerts.releases import Releaser
from alerts.replay import Found
from alerts.rules import definition_of, is_traced
from alerts.rules.context import Arrival
from alerts.store import AlertStore
from alerts.tasks import Change, Task, Tasks
from alerts.times import Clock, Times
from domain.alert import MessageStatus, Verdict
from domain.alerting import OUT_OF_SERVICE, Rule, RuleKey
from domain.model import Datastream, Station

T = TypeVar("T")
AT_ONCE = 1000
GROUP = 50
"""Scopes that are carried forward in one transaction; scopes in one that may change alerts."""
LOOKED_OVER = 10
"""Scopes in one transaction where a new rule looks over all of them: a round on any of these waits until it ends."""


class AlertEngine(Decisions):
    """Evaluates rules and records what they say; what people decide is in `Decisions`.

    Parameters
    ----------
    store
        Rules, alerts, silences, receivers, outbox.
    observations
        Stored observations, current or as of a ledger sequence.
    registers
        Stations, datastreams, limits, events, arrivals.
    issuer
        Who issues: node, authority, sender.
    runs
        Newest runs of analytics, for rules that look at forecasts; None = such rules cannot tell.
    """

    def __init__(
        self,
        store: AlertStore,
        observations: AlertObservations,
        registers: AlertRegisters,
        issuer: Issuer,
        runs: RunReader | None = None,
    ) -> None:
        super().__init__(store, observations, registers, issuer, runs)
        self._quiet = Quiet(observations, registers)
        self._tasks = Tasks(store, registers)
        self._outcomes = Outcomes(self._recorder)
        self._said_by = Catalogue(())
        self._said: dict[RuleKey, tuple[Any, ...]] = {}
        self._looked_over: tuple[tuple[str, int], ...] | None = None

    # --- data ---------------------------------------------------------------------------------------------------

    def evaluate(self, changes: Sequence[Change], now: datetime, clock: Clock | None = None) -> Report:
        """Evaluate the rules that look at what changed.

        Parameters
        ----------
        changes
            (datastream id, earliest, latest phenomenon time changed).
        now
            The time, aware, from before anything is read: what is too old is so as of it.
        clock
            Tells the time when what was found is recorded; None = time stands still at `now`.

        Returns
        -------
        Report
            What was evaluated and what became of it.
        """
        return self._run(self._tasks.of(changes), Times.of(now, clock))

    def _run(self, tasks: Sequence[Task], times: Times, together: int = GROUP) -> Report:
        report = Report(faulty_rules=dict(self._tasks.catalogue.faulty))
        if tasks:
            rest = [task for group in batched(tasks, AT_ONCE) for task in self._carry_group(group, times, report)]
            audience = self._audience(times.as_of) if rest else None
            for group in batched(rest, together):
                if audience is not None:
                    self._run_group(group, audience, times, report)
        return report

    def _carry_group(self, tasks: Sequence[Task], times: Times, report: Report) -> list[Task]:
        """Carry scopes forward where no alert changes, with as many statements as for one, and return those that need more."""
        tasks, rest = [task for task in tasks if is_traced(task.rule)], [task for task in tasks if not is_traced(task.rule)]
        if not tasks:
            return rest
        keys = [task.key for task in tasks]
        self._registers.prepare(sorted({task.datastream.datastream_id or 0 for task in tasks}))
        with self._store.transaction(keys) as tx:
            seq = self._store.current_seq()  # before anything is read: what has a smaller sequence is seen
            states = tx.states(keys)
            still = self._quiet.still(tasks, states, times, seq)
            report.evaluated += len(still)
            tasks = [task for task in tasks if task.key not in still]
            begins = self._replay.not_judged(
                [(task.rule, task.datastream, states.get(task.key), task.changed_from) for task in tasks]
            )
            tasks = [replace(task, changed_from=at) for task, at in zip(tasks, begins, strict=True) if at is not None]
            new = self._replay.new_samples(
                [(task.rule, task.datastream, states.get(task.key), task.changed_from) for task in tasks], times.as_of
            )
            carried: list[tuple[Found, str]] = []
            for task in tasks:
                rule, datastream, state = task.rule, task.datastream, states.get(task.key)
                item = self._replay.forward(rule, datastream, task.station, state, task.changed_from, times.as_of, new, seq)
                if item is None:
                    rest.append(task)
                    continue
                report.evaluated += 1
                report.cannot_tell += item.evaluation.verdict is Verdict.CANNOT_TELL
                carried.append((item, datastream.code))
            at = times.clock()  # after everything was read
            tx.put_states([*still.values(), *(item.state(scope, at) for item, scope in carried)])
        return rest

    def _run_group(self, tasks: Sequence[Task], audience: Audience, times: Times, report: Report) -> None:
        keys = [task.key for task in tasks]
        with self._store.transaction(keys) as tx:
            seq = self._store.current_seq()  # the same for all of them, and before anything is read
            found = [self._find(task, times.as_of, seq) for task in tasks]
            at = times.clock()  # after everything was read: what was seen had been committed by then
            for task, item in zip(tasks, found, strict=True):  # writes come last: they hold the ledger until the end
                if item.trace is None:
                    self._outcomes.judged(tx, self._about(task), item, audience, at, report)
                elif item.pinned:
                    self._outcomes.traced(tx, self._about(task), item, audience, at, report)
                report.evaluated += 1
                report.cannot_tell += item.evaluation.verdict is Verdict.CANNOT_TELL
            tx.put_states([item.state(task.datastream.code, at) for task, item in zip(tasks, found, strict=True)])

    def _find(self, task: Task, now: datetime, seq: int) -> Found:
        replayed = self._replay.whole if is_traced(task.rule) else self._replay.newest_run
        return replayed(task.rule, task.datastream, task.station, now, seq)

    def _about(self, task: Task) -> About:
        status = MessageStatus(definition_of(task.rule).status)
        return About(task.rule, task.station, task.datastream, task.datastream.code, status)

    # --- the clock ----------------------------------------------------------------------------------------------

    def tick(self, now: datetime, clock: Clock | None = None) -> Report:
        """Judge rules that time alone can change, scopes that a new rule has not seen yet, and silences that ended.

        Hold times run in event time, so that they are the same for late data: no alert fires without an observation that says so.

        Parameters
        ----------
        now
            The time, aware, from before anything is read: what is silent is so as of it.
        clock
            Tells the time when what was found is recorded; None = time stands still at `now`.
        """
        times = Times.of(now, clock)
        catalogue = self._tasks.rules()
        report = self._silent(catalogue, times)
        if self._looked_over != catalogue.key:
            _add(report, self._run(self._tasks.unseen(catalogue), times, LOOKED_OVER))
            self._looked_over = catalogue.key
        audience = self._audience(now)
        report.notifications += Releaser(self._store, self._recorder, self._about_alert).run(audience, times.clock)
        report.notifications += Realarmer(self._store, self._recorder, self._about_alert, self._labels).run(audience, times.clock)
        return report

    def _silent(self, catalogue: Catalogue, times: Times) -> Report:
        report, now = Report(faulty_rules=dict(catalogue.faulty)), times.as_of
        if catalogue is not self._said_by:
            self._said.clear()
            self._said_by = catalogue
        if not catalogue.by_clock:
            return report
        out = [item for item in self._store.silences(now) if item.kind == OUT_OF_SERVICE and "datastream" in item.matchers]
        datastreams = [item for item in self._tasks.datastreams() if silence_for(out, {"datastream": (item.code,)}, now) is None]
        read_seq, statuses = self._registers.heard([item.datastream_id for item in datastreams if item.datastream_id is not None])
        audience = self._audience(now)
        for rule in catalogue.by_clock:
            found = [
                self._replay.arrivals(rule, station, arrivals, now, read_seq)
                for station, arrivals in self._stations_of(rule, datastreams, statuses)
            ]
            report.evaluated += len(found)
            news = [item for item in found if self._is_news(item)]
            for group in batched(news, GROUP):
                self._record_silent(group, audience, times, report)
        return report

    def _stations_of(
        self, rule: Rule, datastreams: Sequence[Datastream], statuses: Mapping[int, Any]
    ) -> Iterator[tuple[Station, list[Arrival]]]:
        scope = definition_of(rule).scope
        arrivals: dict[str, list[Arrival]] = {}
        stations: dict[str, Station] = {}
        for datastream in datastreams:
            station = stations.get(datastream.station) or self._registers.station(datastream.station)
            if station is None or not scope.admits(datastream, station):
                continue
            stations[station.code] = station
            status = statuses.get(datastream.datastream_id or 0)
            arrival = Arrival(datastream, status.last_time, status.last_received_at) if status else Arrival(datastream, None)
            arrivals.setdefault(station.code, []).append(arrival)
        yield from ((stations[code], arrivals[code]) for code in sorted(arrivals))

    def _is_news(self, found: Found) -> bool:
        """Would the verdict differ from what this process wrote last? An optimisation: the first look after a start is always news."""
        key = RuleKey(found.context.rule.code, found.context.station.code)
        said = (found.evaluation.verdict, found.evaluation.level, found.evaluation.reason)
        if self._said.get(key) == said:
            return False
        self._said[key] = said
        return True

    def _record_silent(self, group: Sequence[Found], audience: Audience, times: Times, report: Report) -> None:
        keys = [RuleKey(found.context.rule.code, found.context.station.code) for found in group]
        try:
            with self._store.transaction(keys) as tx:
                at = times.clock()
                for found in group:
                    status = MessageStatus(found.definition.status)
                    about = About(found.context.rule, found.context.station, None, found.context.station.code, status)
                    self._outcomes.judged(tx, about, found, audience, at, report)
                    report.cannot_tell += found.evaluation.verdict is Verdict.CANNOT_TELL
                tx.put_states([found.state(found.context.station.code, at) for found in group])
        except BaseException:
            for key in keys:  # nothing was written: look again at the next tick
                self._said.pop(key, None)
            raise


def batched(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Cut a sequence into groups of at most `size`."""
    return (items[first : first + size] for first in range(0, len(items), size))


def _add(report: Report, other: Report) -> None:
    for name in ("evaluated", "opened", "changed", "resolved", "cancelled", "notifications", "cannot_tell", "alerts"):
        setattr(report, name, getattr(report, name) + getattr(other, name))

"""The engine: from changed datastreams, or from the clock, to alerts, in one transaction a group of scopes.

This file finishes with `AlertEngine`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from alerts.audience import Audience
from alerts.catalogue import Catalogue, fingerprint
from alerts.decisions import Decisions
from alerts.evidence import judged_evidence, traced_evidence
from alerts.issue import Issuer
from alerts.lifecycle import Episode, episode_from_json
from alerts.matching import silence_for
from alerts.ports import AlertObservations, AlertRegisters, RunReader
from alerts.quiet import MOST_REMEMBERED, Quiet
from alerts.realarm import Realarmer
from alerts.reconcile import reconcile
from alerts.recorder import About, Report
from alerts.releases import Releaser
from alerts.replay import Found
from alerts.rules import RULES, definition_of, is_traced
from alerts.rules.context import Arrival
from alerts.store import AlertStore, AlertTransaction
from alerts.times import Clock, Times
from alerts.transitions import Turn
from domain.alert import AlertState, Level, MessageStatus, Verdict
from domain.alerting import OUT_OF_SERVICE, Rule, RuleKey
from domain.model import Datastream, Station

T = TypeVar("T")
Change = tuple[int, datetime, datetime]
ONLY_FINDINGS = datetime(9999, 1, 1, tzinfo=UTC)
"""From when on a changed span stands for new findings or runs alone: storage writes it, no observation is that late."""
AT_ONCE = 1000
GROUP = 50
PAGE = 1000
"""Scopes that are carried forward in one transaction; scopes in one that may change alerts; rows in one page of a listing."""
LOOKED_OVER = 10
"""Scopes in one transaction where a new rule looks over all of them: a round on any of these waits until it ends."""


@dataclass(frozen=True, slots=True)
class _Task:
    rule: Rule
    station: Station
    datastream: Datastream
    changed_from: datetime
    key: RuleKey

    @classmethod
    def of(cls, rule: Rule, station: Station, datastream: Datastream, changed_from: datetime) -> _Task:
        return cls(rule, station, datastream, changed_from, RuleKey(rule.code, datastream.code))


def _order(task: _Task) -> tuple[str, str]:
    return task.key.rule_code, task.key.scope


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
        self._catalogue = Catalogue(())
        self._concerned: dict[str, tuple[Catalogue, tuple[Datastream, Station], list[tuple[Rule, RuleKey]]]] = {}
        self._mark: int | None = None
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
        return self._run(self._tasks(changes), Times.of(now, clock))

    def _tasks(self, changes: Iterable[Change]) -> list[_Task]:
        catalogue = self._rules()
        tasks: dict[RuleKey, _Task] = {}
        changes = list(changes)
        self._registers.look()
        self._registers.prepare(sorted({datastream_id for datastream_id, *_ in changes}))
        for datastream_id, changed_from, _ in changes:
            datastream = self._registers.datastream_by_id(datastream_id)
            station = self._registers.station(datastream.station) if datastream is not None else None
            if datastream is None or station is None:
                continue
            concerned = [
                _Task(rule, station, datastream, changed_from, key) for rule, key in self._own(catalogue, datastream, station)
            ]
            concerned += self._through(catalogue, datastream, changed_from)
            if changed_from >= ONLY_FINDINGS:
                concerned = [task for task in concerned if _reads_runs(task.rule)]
            for task in concerned:
                earlier = tasks.get(task.key)
                if earlier is None or changed_from < earlier.changed_from:
                    tasks[task.key] = task
        return sorted(tasks.values(), key=_order)

    def _own(self, catalogue: Catalogue, datastream: Datastream, station: Station) -> Sequence[tuple[Rule, RuleKey]]:
        """Return the rules whose own datastream this is, looked for again only where rules, datastream or station have changed."""
        known = self._concerned.get(datastream.code)
        if known is not None and known[0] is catalogue and known[1] == (datastream, station):
            return known[2]
        if len(self._concerned) >= MOST_REMEMBERED:
            self._concerned.clear()
        found = [(rule, RuleKey(rule.code, datastream.code)) for rule in catalogue.about(datastream, station)]
        self._concerned[datastream.code] = (catalogue, (datastream, station), found)
        return found

    def _through(self, catalogue: Catalogue, changed: Datastream, changed_from: datetime) -> Iterator[_Task]:
        """Give the tasks of rules that read a datastream beside their own."""
        for rule, code in catalogue.through(changed):
            datastream = self._registers.datastream(code)
            station = self._registers.station(datastream.station) if datastream is not None else None
            if datastream is not None and station is not None and definition_of(rule).scope.admits(datastream, station):
                yield _Task.of(rule, station, datastream, changed_from)

    def _rules(self) -> Catalogue:
        mark = self._store.rules_mark()
        if mark != self._mark:
            rules = self._store.rules()
            if fingerprint(rules) != self._catalogue.key:
                self._catalogue = Catalogue(rules)
                self._said.clear()
            self._mark = mark
        return self._catalogue

    def _run(self, tasks: Sequence[_Task], times: Times, together: int = GROUP) -> Report:
        report = Report(faulty_rules=dict(self._catalogue.faulty))
        if tasks:
            rest = [task for group in batched(tasks, AT_ONCE) for task in self._carry_group(group, times, report)]
            audience = self._audience(times.as_of) if rest else None
            for group in batched(rest, together):
                if audience is not None:
                    self._run_group(group, audience, times, report)
        return report

    def _carry_group(self, tasks: Sequence[_Task], times: Times, report: Report) -> list[_Task]:
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

    def _run_group(self, tasks: Sequence[_Task], audience: Audience, times: Times, report: Report) -> None:
        keys = [task.key for task in tasks]
        with self._store.transaction(keys) as tx:
            seq = self._store.current_seq()  # the same for all of them, and before anything is read
            found = [self._find(task, times.as_of, seq) for task in tasks]
            at = times.clock()  # after everything was read: what was seen had been committed by then
            for task, item in zip(tasks, found, strict=True):  # writes come last: they hold the ledger until the end
                if item.trace is None:
                    self._record_judged(tx, self._about(task), item, audience, at, report)
                elif item.pinned:
                    self._record_traced(tx, task, item, audience, at, report)
                report.evaluated += 1
                report.cannot_tell += item.evaluation.verdict is Verdict.CANNOT_TELL
            tx.put_states([item.state(task.datastream.code, at) for task, item in zip(tasks, found, strict=True)])

    def _find(self, task: _Task, now: datetime, seq: int) -> Found:
        replayed = self._replay.whole if is_traced(task.rule) else self._replay.newest_run
        return replayed(task.rule, task.datastream, task.station, now, seq)

    def _about(self, task: _Task) -> About:
        status = MessageStatus(definition_of(task.rule).status)
        return About(task.rule, task.station, task.datastream, task.datastream.code, status)

    def _record_traced(
        self, tx: AlertTransaction, task: _Task, found: Found, audience: Audience, at: datetime, report: Report
    ) -> None:
        if found.trace is None or found.folded is None:
            raise TypeError("only a replayed rule has episodes")
        alerts = tx.alerts_of([task.key]).get(task.key, ())
        if not found.folded.episodes and not alerts:
            return
        about = self._about(task)
        plan = reconcile(found.folded.episodes, alerts)
        turn = Turn(at, found.evaluation.at, reason=found.evaluation.reason)
        for alert in plan.vanished:
            self._recorder.retract(tx, about, alert, audience, replace(turn, reason="corrected data hold no breach"), report)
        for alert, episode in plan.carried:
            self._recorder.carry(
                tx, about, alert, episode, self._evidence(found, episode), audience, _when(turn, episode), report
            )
        if plan.past:
            self._recorder.remember_past(tx, about, plan.past, alerts, self._evidence(found, plan.past[-1]), turn)
        if plan.opened is not None and not found.stale:
            evidence = self._evidence(found, plan.opened)
            self._recorder.open(tx, about, plan.opened, evidence, audience, _when(turn, plan.opened), report)

    @staticmethod
    def _evidence(found: Found, episode: Episode) -> dict[str, Any]:
        if found.trace is None:
            raise TypeError("only a replayed rule has a trace")
        return traced_evidence(found.context, found.trace, episode, found.ladder, found.definition, found.read_seq)

    def _record_judged(
        self, tx: AlertTransaction, about: About, found: Found, audience: Audience, at: datetime, report: Report
    ) -> None:
        """Record a rule that looks at the clock or the newest run: its episode is what is open, or nothing."""
        key = RuleKey(about.rule.code, about.scope)
        alerts = tx.alerts_of([key]).get(key, ())
        alert = next((item for item in alerts if item.state is not AlertState.RESOLVED), None)
        judged = found.evaluation
        if judged.verdict is Verdict.CANNOT_TELL or (alert is None and judged.verdict is Verdict.OK):
            return
        before = episode_from_json(alert.evidence["episode"]) if alert is not None else None
        episode = _episode_of(found, before)
        evidence = judged_evidence(found.context, judged, episode, found.definition, found.read_seq)
        turn = Turn(at, episode.ended or episode.onset, reason=judged.reason)
        if alert is None:
            self._recorder.open(tx, about, episode, evidence, audience, turn, report)
        else:
            kept = alert.evidence if episode.ended is not None else evidence
            self._recorder.carry(tx, about, alert, episode, kept, audience, turn, report)

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
        catalogue = self._rules()
        report = self._silent(catalogue, times)
        if self._looked_over != catalogue.key:
            _add(report, self._run(self._unseen(catalogue), times, LOOKED_OVER))
            self._looked_over = catalogue.key
        audience = self._audience(now)
        report.notifications += Releaser(self._store, self._recorder, self._about_alert).run(audience, times.clock)
        report.notifications += Realarmer(self._store, self._recorder, self._about_alert, self._labels).run(audience, times.clock)
        return report

    def _datastreams(self) -> Iterator[Datastream]:
        after: str | None = None
        while page := self._registers.list_datastreams(after=after, limit=PAGE):
            yield from page
            after = page[-1].code

    def _silent(self, catalogue: Catalogue, times: Times) -> Report:
        report, now = Report(faulty_rules=dict(catalogue.faulty)), times.as_of
        if not catalogue.by_clock:
            return report
        out = [item for item in self._store.silences(now) if item.kind == OUT_OF_SERVICE and "datastream" in item.matchers]
        datastreams = [item for item in self._datastreams() if silence_for(out, {"datastream": (item.code,)}, now) is None]
        statuses = self._registers.datastream_statuses(
            [item.datastream_id for item in datastreams if item.datastream_id is not None]
        )
        read_seq = self._store.current_seq()
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
                    self._record_judged(tx, about, found, audience, at, report)
                    report.cannot_tell += found.evaluation.verdict is Verdict.CANNOT_TELL
                tx.put_states([found.state(found.context.station.code, at) for found in group])
        except BaseException:
            for key in keys:  # nothing was written: look again at the next tick
                self._said.pop(key, None)
            raise

    def _unseen(self, catalogue: Catalogue) -> list[_Task]:
        """Return every scope that the newest version of a rule has not been evaluated on."""
        seen = {
            (state.key, state.rule_version)
            for rule in catalogue.by_data
            for state in self._store.rule_states(rule_code=rule.code)
        }
        tasks: list[_Task] = []
        for datastream in self._datastreams():
            station = self._registers.station(datastream.station)
            if station is None:
                continue
            tasks += [
                _Task.of(rule, station, datastream, _BEGINNING)
                for rule in catalogue.about(datastream, station)
                if (RuleKey(rule.code, datastream.code), rule.version) not in seen
            ]
        return tasks


def _reads_runs(rule: Rule) -> bool:
    """Can a new run of analytics change the verdict while no observation changes?"""
    return "findings" in RULES[rule.kind].needs or not is_traced(rule)


_BEGINNING = datetime.fromisoformat("0001-01-02T00:00:00+00:00")


def _when(turn: Turn, episode: Episode) -> Turn:
    """Return the turn at the event time of the episode's newest step."""
    return replace(turn, at=episode.ended or (episode.steps[-1].at if episode.steps else episode.onset))


def _episode_of(found: Found, before: Episode | None) -> Episode:
    """Return the episode of a rule without a trace: what was open goes on, moves its level, or ends."""
    judged = found.evaluation
    if judged.verdict is Verdict.OK:
        if before is None:
            raise ValueError("an episode that never was cannot end")
        heard = judged.evidence.get("last_heard")
        return replace(before, ended=max(before.onset, datetime.fromisoformat(heard) if heard else judged.at))
    onset = (
        before.onset if before else datetime.fromisoformat(judged.evidence["onset"]) if "onset" in judged.evidence else judged.at
    )
    peak = max(judged.level, before.peak if before else Level.NONE)
    return Episode(onset, level=judged.level, held=judged.level, armed=judged.level, peak=peak, peak_held=peak)


def batched(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Cut a sequence into groups of at most `size`."""
    return (items[first : first + size] for first in range(0, len(items), size))


def _add(report: Report, other: Report) -> None:
    for name in ("evaluated", "opened", "changed", "resolved", "cancelled", "notifications", "cannot_tell", "alerts"):
        setattr(report, name, getattr(report, name) + getattr(other, name))

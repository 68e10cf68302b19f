"""Which rules look at what changed, and which have not looked at a scope yet. This file finishes with `Tasks`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from alerts.catalogue import Catalogue, fingerprint
from alerts.ports import AlertRegisters
from alerts.quiet import MOST_REMEMBERED
from alerts.rules import RULES, definition_of, is_traced
from alerts.store import AlertStore
from domain.alerting import Rule, RuleKey
from domain.model import Datastream, Station

Change = tuple[int, datetime, datetime]
ONLY_FINDINGS = datetime(9999, 1, 1, tzinfo=UTC)
"""From when on a changed span stands for new findings or runs alone: storage writes it, no observation is that late."""
BEGINNING = datetime.fromisoformat("0001-01-02T00:00:00+00:00")
PAGE = 1000
"""Rows in one page of a listing."""


@dataclass(frozen=True, slots=True)
class Task:
    """One rule on one scope, and from when on its observations changed."""

    rule: Rule
    station: Station
    datastream: Datastream
    changed_from: datetime
    key: RuleKey

    @classmethod
    def of(cls, rule: Rule, station: Station, datastream: Datastream, changed_from: datetime) -> Task:
        """Return the task of a rule on a datastream."""
        return cls(rule, station, datastream, changed_from, RuleKey(rule.code, datastream.code))


def _order(task: Task) -> tuple[str, str]:
    return task.key.rule_code, task.key.scope


class Tasks:
    """Finds tasks.

    Parameters
    ----------
    store
        Rules and their states.
    registers
        Stations and datastreams.
    """

    def __init__(self, store: AlertStore, registers: AlertRegisters) -> None:
        self._store = store
        self._registers = registers
        self.catalogue = Catalogue(())
        """The rules as they were when last looked at."""
        self._concerned: dict[str, tuple[Catalogue, tuple[Datastream, Station], list[tuple[Rule, RuleKey]]]] = {}
        self._mark: int | None = None

    def of(self, changes: Iterable[Change]) -> list[Task]:
        """Return the tasks that changes of observations make, by rule and scope."""
        catalogue = self.rules()
        tasks: dict[RuleKey, Task] = {}
        changes = list(changes)
        self._registers.look()
        self._registers.prepare(sorted({datastream_id for datastream_id, *_ in changes}))
        for datastream_id, changed_from, _ in changes:
            datastream = self._registers.datastream_by_id(datastream_id)
            station = self._registers.station(datastream.station) if datastream is not None else None
            if datastream is None or station is None:
                continue
            concerned = [
                Task(rule, station, datastream, changed_from, key) for rule, key in self._own(catalogue, datastream, station)
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

    def _through(self, catalogue: Catalogue, changed: Datastream, changed_from: datetime) -> Iterator[Task]:
        """Give the tasks of rules that read a datastream beside their own."""
        for rule, code in catalogue.through(changed):
            datastream = self._registers.datastream(code)
            station = self._registers.station(datastream.station) if datastream is not None else None
            if datastream is not None and station is not None and definition_of(rule).scope.admits(datastream, station):
                yield Task.of(rule, station, datastream, changed_from)

    def rules(self) -> Catalogue:
        """Return the rules that are on; it is another catalogue whenever they changed."""
        mark = self._store.rules_mark()
        if mark != self._mark:
            rules = self._store.rules()
            if fingerprint(rules) != self.catalogue.key:
                self.catalogue = Catalogue(rules)
            self._mark = mark
        return self.catalogue

    def datastreams(self) -> Iterator[Datastream]:
        """Give every datastream, by code."""
        after: str | None = None
        while page := self._registers.list_datastreams(after=after, limit=PAGE):
            yield from page
            after = page[-1].code

    def unseen(self, catalogue: Catalogue) -> list[Task]:
        """Return every scope that the newest version of a rule has not been evaluated on."""
        seen = {
            (state.key, state.rule_version)
            for rule in catalogue.by_data
            for state in self._store.rule_states(rule_code=rule.code)
        }
        tasks: list[Task] = []
        for datastream in self.datastreams():
            station = self._registers.station(datastream.station)
            if station is None:
                continue
            tasks += [
                Task.of(rule, station, datastream, BEGINNING)
                for rule in catalogue.about(datastream, station)
                if (RuleKey(rule.code, datastream.code), rule.version) not in seen
            ]
        return tasks


def _reads_runs(rule: Rule) -> bool:
    """Can a new run of analytics change the verdict while no observation changes?"""
    return "findings" in RULES[rule.kind].needs or not is_traced(rule)

"""Runs the analytics of groups of datastreams, and hands what they find to the analysis of single ones.

A group is analysed when one of its members changed, and no more often than the debounce allows. What is found on a member is stored
beside its own results. This file finishes with `NetworkAnalyst`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from analytics import Samples
from analytics.groups import GROUP_METHODS, Member
from analytics.recorded import group_inputs_as_json
from domain.errors import UnavailableError
from domain.finding import FindingKind, Outcome
from domain.model import Datastream, EventEffect, EventKind, StationEvent
from domain.units import convert_spread
from service.bootstrap import Container
from service.groups import MARKS, Group, Registry, groups_of, home_of, marks_key, read_registry
from storage.analyses import FindingRow

LOG = logging.getLogger("groundwatch.network")
OF_THE_DATUM = "common_mode"
Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class GroupTask:
    """All that the computation of one group needs; plain values that another process can take."""

    members: tuple[Member, ...]
    methods: Mapping[str, Any]
    now: datetime


def compute_group(task: GroupTask) -> list[tuple[str, Outcome]]:
    """Run every method of the group; each outcome with the code of the datastream that it is about."""
    return [
        (code, outcome)
        for name, parameters in task.methods.items()
        for code, outcome in GROUP_METHODS[name].run(task.members, parameters, task.now).items()
    ]


class NetworkAnalyst:
    """Analyses groups of datastreams.

    Parameters
    ----------
    container
        The stores.
    run
        Computes a task, in this process or another.
    """

    def __init__(self, container: Container, run: Callable[[GroupTask], list[tuple[str, Outcome]]] = compute_group) -> None:
        self._container = container
        self._run = run
        self._pending: set[str] | None = None  # None: nothing was looked at yet, so all groups are due
        self._analysed: dict[str, datetime] = {}
        self._seen: dict[str, tuple[Any, ...]] = {}

    def analyse_all(self, now: datetime, *, is_first: bool | None = None) -> dict[str, list[tuple[str, Outcome]]]:
        """Analyse every group, or only those (not) to be analysed before single datastreams; return outcomes by the groups' keys."""
        registry = read_registry(self._container)
        wanted = [group for group in groups_of(registry) if is_first is None or group.is_first == is_first]
        return {group.key: self.analyse(group, registry, now) for group in wanted}

    def analyse_first(self, clock: Clock) -> list[str]:
        """Analyse marks and layers that changed, before their datastreams are analysed one by one; return the groups' keys.

        The clock is asked before each group is read, after it was seen that it changed.
        """
        changed = set(self._container.work.waiting("analyse"))
        if not changed and self._pending is not None:
            return []
        registry = read_registry(self._container)
        groups = groups_of(registry)
        touched = {group.key for group in groups if any(member.datastream_id in changed for member in group.members)}
        self._pending = {group.key for group in groups} if self._pending is None else self._pending | touched
        return self._analyse_pending([group for group in groups if group.is_first], registry, clock, timedelta())

    def analyse_rest(self, clock: Clock, debounce: timedelta, *, keep_on: Callable[[], bool] = lambda: True) -> list[str]:
        """Analyse wells, areas and lines that changed and were not analysed within `debounce`; return the groups' keys."""
        registry = read_registry(self._container)
        groups = [group for group in groups_of(registry) if not group.is_first]
        self._pending = (self._pending or set()) | {group.key for group in groups if self._has_changed(group)}
        return self._analyse_pending(groups, registry, clock, debounce, keep_on)

    def _has_changed(self, group: Group) -> bool:
        """Whether a member was observed anew since the last look, or this is the first; derived members leave no work behind."""
        ids = [member.datastream_id for member in group.members if member.datastream_id is not None]
        statuses = self._container.registers.datastream_statuses(ids)
        now = tuple((key, status.observations, status.last_received_at) for key, status in sorted(statuses.items()))
        before = self._seen.get(group.key)
        self._seen[group.key] = now
        return before != now

    def _analyse_pending(
        self,
        groups: Sequence[Group],
        registry: Registry,
        clock: Clock,
        debounce: timedelta,
        keep_on: Callable[[], bool] = lambda: True,
    ) -> list[str]:
        assert self._pending is not None
        done = []
        for group in groups:
            last, now = self._analysed.get(group.key), clock()
            if group.key not in self._pending or (last is not None and now - last < debounce) or not keep_on():
                continue
            try:
                self.analyse(group, registry, now)
                done.append(group.key)
            except UnavailableError:
                raise
            except Exception:
                LOG.exception("%s could not be analysed; it is tried again when its observations change", group.key)
            self._pending.discard(group.key)
            self._analysed[group.key] = now
        return done

    def analyse(self, group: Group, registry: Registry, now: datetime) -> list[tuple[str, Outcome]]:
        """Analyse one group and store what comes out on the datastreams that it is about."""
        container = self._container
        read_seq = container.analyses.current_seq()
        task = self.task(group, registry, now, read_seq)
        outcomes = self._run(task)
        members = {member.code: member for member in group.members}
        for code in sorted({code for code, _ in outcomes}):
            mine = [outcome for about, outcome in outcomes if about == code]
            if not code and not any(outcome.scalars or outcome.findings for outcome in mine):
                continue  # nothing to hang on a datastream that may not even exist
            about = members[code] if code else home_of(container, group, mine[0].run.method, mine[0].run.version)
            before = self._common_modes(about)
            inputs = group_inputs_as_json(task.members, code, now)
            kept = [replace(outcome, run=replace(outcome.run, inputs=inputs)) for outcome in mine]
            container.analyses.save(about, kept, read_seq, is_whole=False)
            if group.key.startswith(MARKS) and self._common_modes(about) != before:
                # The rates of all marks of the datum were judged without this step: judge them again.
                container.work.enqueue("analyse", [key for m in group.members if (key := m.datastream_id) is not None])
        return outcomes

    def _common_modes(self, datastream: Datastream) -> list[tuple[Any, ...]]:
        assert datastream.datastream_id is not None
        found = self._container.analyses.findings(datastream.datastream_id, limit=1000)
        return [(row.start, row.size) for row in found if row.kind == FindingKind.COMMON_MODE]

    def task(self, group: Group, registry: Registry, now: datetime, as_of: int) -> GroupTask:
        """Collect what the computation needs, as of a ledger sequence."""
        events: dict[str, Sequence[StationEvent]] = {}
        members = []
        for item in group.members:
            if item.station not in events:
                events[item.station] = self._container.registers.events(item.station)
            members.append(self._member(item, registry, events[item.station], as_of))
        return GroupTask(tuple(members), group.methods, now)

    def _member(self, item: Datastream, registry: Registry, events: Sequence[StationEvent], as_of: int) -> Member:
        assert item.datastream_id is not None
        station = registry.stations[item.station]
        data = self._container.observations.series(item.datastream_id, as_of=as_of)
        return Member(
            item.code,
            item.station,
            item.property_code,
            item.unit,
            Samples(data.time, data.result, data.sigma, data.quality.astype("uint8")),
            tuple(event for event in events if event.datastream in {None, item.code}),
            item.depth_top_m,
            item.depth_bottom_m,
            station.longitude_deg,
            station.latitude_deg,
            str(station.kind),
            station.region_code,
        )


def inferred_events(container: Container, datastream: Datastream, events: Sequence[StationEvent]) -> list[StationEvent]:
    """Return a station's log with what the network knows: steps of the datum, and ties of re-set marks.

    A step that all marks of a datum share is taken off each of them as an offset of that size; a re-set mark that was tied is joined at
    the tie, where the log alone would end its record.
    """
    if datastream.datastream_id is None or datastream.derivation is not None:
        return list(events)
    log = _with_ties(container, datastream, list(events))
    for row in _of_the_datum(container, datastream):
        size = float(convert_spread(row.size or 0.0, row.unit or "mm", datastream.unit))
        logged = any(abs(event.start - row.start) < timedelta(days=45) and event.kind == EventKind.DATUM_CHANGE for event in log)
        if not logged:
            log.append(
                StationEvent(
                    datastream.station, EventKind.DATUM_CHANGE, row.start, effect=EventEffect.OFFSET, datastream=datastream.code,
                    size=size, note=OF_THE_DATUM, author="analytics",
                )
            )  # fmt: skip
    return sorted(log, key=lambda event: event.start)


def marked_as_inferred(outcomes: Sequence[Outcome], events: Sequence[StationEvent]) -> list[Outcome]:
    """Say on every scalar that a step of the datum was taken off which no person has confirmed."""
    if not any(event.note == OF_THE_DATUM and event.author == "analytics" for event in events):
        return list(outcomes)
    return [
        replace(outcome, scalars=tuple(replace(scalar, reasons=(*scalar.reasons, OF_THE_DATUM)) for scalar in outcome.scalars))
        for outcome in outcomes
    ]


def _with_ties(container: Container, datastream: Datastream, log: list[StationEvent]) -> list[StationEvent]:
    if not any(event.kind == EventKind.RESET and event.size is None for event in log):
        return log
    assert datastream.datastream_id is not None
    found = container.analyses.findings(datastream.datastream_id, limit=1000)
    ties = {row.start: row for row in found if row.method == "tie" and row.size is not None}
    return [
        replace(event, effect=EventEffect.OFFSET, size=float(convert_spread(row.size or 0.0, row.unit or "mm", datastream.unit)))
        if event.kind == EventKind.RESET and event.size is None and (row := ties.get(event.start)) is not None
        else event
        for event in log
    ]


def _of_the_datum(container: Container, datastream: Datastream) -> list[FindingRow]:
    """Common-mode findings of the datastream's own group: they are kept on its first member."""
    key = marks_key(datastream)
    first = None if key is None else _first_of(container, datastream.property_code, key)
    if first is None:
        return []
    found = container.analyses.findings(first, limit=1000)
    return [row for row in found if row.kind == FindingKind.COMMON_MODE and datastream.code in row.parameters.get("members", ())]


def _first_of(container: Container, property_code: str, key: str) -> int | None:
    after: str | None = None
    while page := container.registers.list_datastreams(property_code=property_code, after=after, limit=1000, derived=False):
        for item in page:
            if marks_key(item) == key:
                return item.datastream_id
        after = page[-1].code
    return None

"""The job of quality control: after every commit the changed spans are judged, before any rule looks at them.

Flags go beside the values; a counter's gains become daily volumes; the air is taken off unvented loggers where a barometer stands by.
This file finishes with `Inspector`.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from analytics.quality_control import Verdict, Window, examine
from analytics.quality_newest import Screen, screen_of
from analytics.sampling import Floats
from domain.errors import ConfigurationError, UnavailableError
from domain.model import Datastream, EventKind, ObservedProperty, Sensor
from domain.observation import TimeArray
from domain.quality import Quality
from service.quality.looks import in_doubt, months_of, seconds_of
from service.quality.metering import keep_findings, keep_volumes
from service.quality.plan import Companion, Plan, plan_for
from service.quality.pressure import keep_compensated
from storage.quality import FlagWindow, NewFlags, is_changed
from storage.work import WorkItem

if TYPE_CHECKING:
    from service.bootstrap import Container

LOG = logging.getLogger("groundwatch.quality")
CLAIM = 5000
WHOLE_LOOKS = 20
"""Datastreams of a round whose whole window is judged because this process has not done so yet: the others' turn comes with their next."""
TOGETHER = 100
"""Windows in memory at once."""
MOST_REMEMBERED = 200_000
AIR = "air_pressure"
_GRAVITY: Mapping[int, int] = {Quality.UNKNOWN: 0, Quality.GOOD: 1, Quality.SUSPECT: 2, Quality.FAIL: 3, Quality.MISSING: 4}


@dataclass(slots=True)
class _Known:
    """A datastream with its plan, and what the plan was made from; `screen` is None where more than newest samples must be seen."""

    inputs: tuple[Datastream, ObservedProperty, Sensor | None]
    plan: Plan
    screen: Screen | None
    is_judged: bool = False
    """Has this process judged a whole window by this plan? Figures may have changed while nobody looked."""

    @property
    def datastream(self) -> Datastream:
        return self.inputs[0]

    @property
    def makes_more(self) -> bool:
        """Is more than flags made of it: volumes, findings, compensated values?"""
        return self.plan.checks.totaliser is not None or self.plan.air is not None or self.datastream.property_code == AIR


class Inspector:
    """Judges what commits touched."""

    def __init__(self, container: Container) -> None:
        self._container = container
        self._known: dict[int, _Known] = {}

    def run_once(self) -> int:
        """Judge what waits; return how many datastreams that were."""
        with self._container.work.claim("quality", CLAIM) as items:
            for datastream_id, start, end in self._in_need(items):
                self._guarded(datastream_id, start, end)
            return len(items)

    def _in_need(self, items: Sequence[WorkItem]) -> list[WorkItem]:
        """Leave out what is found well: most observations change no flag, and are read together and judged without a lock.

        Counters and sensors that feel the air are never left out, because more than flags is made of them.
        """
        self._container.registers.prepare([datastream_id for datastream_id, *_ in items])
        plain = {item[0]: known for item in items if (known := self._plain(item[0])) is not None}
        unseen = [identity for identity, known in plain.items() if not known.is_judged]
        whole = {*unseen[:WHOLE_LOOKS], *(identity for identity, known in plain.items() if known.screen is None)}
        screens = {identity: known.screen for identity, known in plain.items() if known.screen and identity not in whole}
        doubtful = in_doubt(self._container.looks, [item for item in items if item[0] in screens], screens)
        ill = self._not_well([item for item in items if item[0] in whole or item[0] in doubtful], plain)
        return [item for item in items if item[0] not in plain or item[0] in ill]

    def _not_well(self, items: Sequence[WorkItem], known: Mapping[int, _Known]) -> set[int]:
        """Return the datastreams in whose windows any flag would change."""
        ill: set[int] = set()
        by_reach: dict[int, list[WorkItem]] = defaultdict(list)
        for item in items:
            by_reach[known[item[0]].plan.checks.neighbours].append(item)
        for neighbours, group in by_reach.items():
            for begin in range(0, len(group), TOGETHER):
                part = group[begin : begin + TOGETHER]
                changes = [(*item, timedelta(seconds=known[item[0]].plan.checks.memory_s)) for item in part]
                windows = self._container.quality.windows(changes, neighbours)
                ill |= {item[0] for item in part if not self._is_well(known[item[0]], windows.get(item[0]))}
        return ill

    def _plain(self, datastream_id: int) -> _Known | None:
        """Return a datastream of which nothing but flags is made, with its plan; None for any other, and where that cannot be told."""
        datastream = self._container.registers.datastream_by_id(datastream_id)
        if datastream is None:
            return None
        try:
            known = self._with_plan(datastream_id, datastream)
        except UnavailableError:
            raise
        except Exception:  # it is told of where the datastream is judged by itself
            return None
        return None if known.makes_more else known

    def _is_well(self, known: _Known, window: FlagWindow | None) -> bool:
        if window is None:
            return True
        try:
            changed = is_changed(window, _Judgement(self, known.datastream, known.plan)(window))
        except UnavailableError:
            raise
        except Exception:  # it is told of where the datastream is judged by itself
            return False
        known.is_judged = True
        return not changed

    def _guarded(self, datastream_id: int, start: datetime, end: datetime) -> None:
        """One datastream that cannot be judged holds up no other; it is judged again when it changes."""
        try:
            self.inspect(datastream_id, start, end)
        except UnavailableError:
            raise
        except ConfigurationError as error:
            LOG.error("datastream %d is not quality-controlled: %s", datastream_id, error)
        except Exception:
            LOG.exception("datastream %d could not be quality-controlled", datastream_id)

    def inspect(
        self, datastream_id: int, start: datetime, end: datetime, *, source_kind: str = "quality", actor: str | None = None
    ) -> int:
        """Judge [start, end] of one datastream and what it touches; return how many flags changed."""
        datastream = self._container.registers.datastream_by_id(datastream_id)
        if datastream is None:
            return 0
        plan = self._with_plan(datastream_id, datastream).plan
        judged = _Judgement(self, datastream, plan)
        changed = self._container.quality.revise(
            datastream_id,
            start,
            end,
            timedelta(seconds=plan.checks.memory_s),
            judged,
            source_kind=source_kind,
            actor=actor,
            neighbours=plan.checks.neighbours,
        )
        if judged.window is not None and judged.verdict is not None:
            if judged.verdict.counter is not None:
                keep_findings(self._container, datastream, plan, judged.window, judged.verdict)
                keep_volumes(self._container, datastream, plan, judged.window, judged.verdict)
            if plan.air is not None and plan.air.barometer is not None:
                keep_compensated(self._container, datastream, plan.air, judged.window)
        if datastream.property_code == AIR:
            self._compensate_dependants(datastream, start, end)
        return changed

    def _with_plan(self, datastream_id: int, datastream: Datastream) -> _Known:
        """Return a datastream with its plan, made anew only where what it is made from has changed."""
        registers = self._container.registers
        observed = registers.observed_property(datastream.property_code)
        if observed is None:
            raise ConfigurationError(f"the property {datastream.property_code} is not configured.", where=datastream.code)
        sensor = registers.sensor(datastream.station, datastream.sensor) if datastream.sensor else None
        known, inputs = self._known.get(datastream_id), (datastream, observed, sensor)
        if known is None or known.inputs != inputs:
            plan = plan_for(datastream, observed, sensor)
            same = known is not None and known.plan == plan
            known = _Known(inputs, plan, screen_of(plan.checks), is_judged=same and known is not None and known.is_judged)
            if len(self._known) >= MOST_REMEMBERED:
                self._known.clear()
            self._known[datastream_id] = known
        return known

    def _compensate_dependants(self, barometer: Datastream, start: datetime, end: datetime) -> None:
        for dependant in self._container.quality.uncompensated_by(barometer.code):
            self.inspect(dependant, start, end)

    def swaps(self, datastream: Datastream) -> list[tuple[np.datetime64, float | None]]:
        """Return the logged swaps of a datastream's sensor, with the first reading of the new one where the log states it."""
        events = self._container.registers.events(datastream.station)
        swapped = {EventKind.SENSOR_SWAP, EventKind.RESET}
        return [
            (np.datetime64(event.start.astimezone(UTC).replace(tzinfo=None), "us"), event.size)
            for event in events
            if event.kind in swapped and event.datastream in {None, datastream.code}
        ]

    def moving(self, datastream: Datastream, plan: Plan, time: TimeArray) -> npt.NDArray[np.bool_] | None:
        """Return whether water runs at each time, by the first companion that can tell; None where none can."""
        for companion in plan.companions:
            found = self._container.registers.datastream(_beside(datastream, companion.property_code))
            if found is None or found.datastream_id is None or len(time) == 0:
                continue
            reach = timedelta(seconds=companion.within_s)
            first, last = (value.astype("datetime64[us]").item().replace(tzinfo=UTC) for value in (time[0], time[-1]))
            series = self._container.observations.series(found.datastream_id, first - reach, last + timedelta(seconds=1))
            good = np.isfinite(series.result) & np.isin(series.quality, (Quality.GOOD, Quality.UNKNOWN))
            if good.any():
                return moves(seconds_of(time), seconds_of(series.time[good]), series.result[good], companion)
        return None


class _Judgement:
    """The function that the store calls with a window; keeps window and verdict for what is made of them."""

    def __init__(self, inspector: Inspector, datastream: Datastream, plan: Plan) -> None:
        self._inspector, self._datastream, self._plan = inspector, datastream, plan
        self.window: FlagWindow | None = None
        self.verdict: Verdict | None = None

    def __call__(self, window: FlagWindow) -> NewFlags:
        self.window = window
        checks = self._plan.checks
        swaps: list[tuple[float, float | None]] = []
        moving = None
        if checks.totaliser is not None:
            swaps = [(float(seconds_of(np.array([at]))[0]), first) for at, first in self._inspector.swaps(self._datastream)]
            moving = self._inspector.moving(self._datastream, self._plan, window.time)
        samples = Window(
            seconds_of(window.time),
            seconds_of(window.received),
            window.result,
            months_of(window.time, 3600.0 * (checks.zone_offset_h or 0.0)),
        )
        self.verdict = examine(samples, checks, swaps=swaps, moving=moving)
        return joined(window, self.verdict)


def joined(window: FlagWindow, verdict: Verdict) -> NewFlags:
    """Return what stands in the end: the source's flags made worse by the tests, and what a person said before both."""
    quality = window.source_quality.copy()
    reasons = window.source_reasons.copy()
    gravity = np.zeros(10, dtype=np.int8)
    for flag, weight in _GRAVITY.items():
        gravity[flag] = weight
    worse = (verdict.flags >= Quality.SUSPECT) & (gravity[verdict.flags] > gravity[quality]) & (verdict.flags != Quality.MISSING)
    quality[worse] = verdict.flags[worse]
    for row in np.flatnonzero(verdict.reasons):
        known = reasons[row] or ()
        reasons[row] = (*known, *(code for code in verdict.codes(int(row)) if code not in known))
    for low, high, flag in window.overrides:
        for row in np.flatnonzero((window.time >= low) & (window.time < high) & (window.source_quality != Quality.MISSING)):
            quality[row] = flag
            known = reasons[row] or ()
            reasons[row] = known if "override" in known else (*known, "override")
    return NewFlags(quality, reasons)


def _beside(datastream: Datastream, property_code: str) -> str:
    """Return the code of another property of the same station and channel."""
    return f"{datastream.station}:{property_code}" + (f":{datastream.channel}" if datastream.channel else "")


def moves(at: Floats, seconds: Floats, values: Floats, companion: Companion) -> npt.NDArray[np.bool_]:
    """Return whether a companion says, within its span before each time, that water runs."""
    told = np.zeros(at.size, dtype=np.bool_)
    low = np.searchsorted(seconds, at - companion.within_s, side="right")
    high = np.searchsorted(seconds, at, side="right")
    for row in np.flatnonzero(high > low):
        part = values[low[row] : high[row]]
        if companion.above is not None:
            told[row] = float(part[-1]) > companion.above
        elif companion.moves is not None:
            told[row] = float(np.ptp(part)) > companion.moves
    return told

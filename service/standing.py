"""How an alert stands now, from the stores. This file finishes with `standing_of`."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

from alerts.replay import Replay
from alerts.rules import is_traced
from alerts.standing import Standing, standing
from domain.alerting import AlertRecord, Rule, RuleState


def standing_of(container: Any, alert: AlertRecord, rule: Rule) -> Standing | None:
    """Return the newest value and the worst so far of an alert; None where its station is gone."""
    registers = container.registers
    station = registers.station(alert.station) if alert.station is not None else None
    if station is None:
        return None
    datastream = registers.datastream(alert.datastream) if alert.datastream is not None else None
    node = registers.node()
    replay = Replay(container.observations, registers, container.analyses, ZoneInfo(node.zone if node else "Asia/Shanghai"))
    state = None if is_traced(rule) else _last_verdict(container, alert)
    return standing(replay, alert, rule, station, datastream, state, container.clock())


def _last_verdict(container: Any, alert: AlertRecord) -> RuleState | None:
    with container.alerts.transaction() as unit:
        found: RuleState | None = unit.states([alert.key]).get(alert.key)
    return found

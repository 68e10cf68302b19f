"""Long scenarios of a datastream, computed when they are asked for and never stored: what they say was not tested.

This file finishes with `scenario_of`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from analytics import velocity_parameters
from analytics.long_scenario import describe_scenario
from domain.model import Datastream
from service.analysing import Analyst
from service.bootstrap import Container


def scenario_of(container: Container, datastream: Datastream, horizon_a: float, level: float, now: datetime) -> dict[str, Any]:
    """Return where a datastream may be so many years ahead, under the assumption that the answer names, or why nothing is said."""
    with Analyst(container, in_process=True) as analyst:
        task = analyst.task(datastream, now, container.analyses.current_seq())
    return describe_scenario(task.samples, task.events, velocity_parameters(task.settings), horizon_a, level, now)

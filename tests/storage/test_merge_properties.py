"""Any sequence of batches, however rows are cut and ordered, ends in one row a key with every superseded value kept."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.observations import ObservationRepository
from tests.storage.batches import BEGIN, batch_of, id_of
from tests.storage.conftest import MakeDatastream

pytestmark = pytest.mark.stack

VALUES = st.sampled_from([0.0, 1.0, 2.0, float("nan")])
ROW = st.tuples(st.integers(0, 6), VALUES)
BATCHES = st.lists(st.lists(ROW, min_size=1, max_size=12), min_size=1, max_size=5)


class Model:
    """The rule in the plainest words: the last line of a batch counts; an unlike stored value is kept before it is replaced."""

    def __init__(self) -> None:
        self.current: dict[int, Any] = {}
        self.revisions: dict[int, list[Any]] = {}

    def commit(self, rows: Sequence[tuple[int, float]]) -> tuple[int, int, int]:
        lines: dict[int, list[Any]] = {}
        for hour, value in rows:
            lines.setdefault(hour, []).append(None if np.isnan(value) else value)
        accepted = corrected = 0
        for hour, said in lines.items():
            known = hour in self.current
            if known and self.current[hour] == said[-1]:
                continue
            told = [self.current[hour], *said] if known else said
            changes = [value for value, following in pairwise(told) if value != following]
            self.revisions.setdefault(hour, []).extend(changes)
            corrected += len(changes)
            accepted += not known
            self.current[hour] = said[-1]
        return accepted, len(rows) - accepted - corrected, corrected


def stored(observations: ObservationRepository, stream: int) -> tuple[dict[int, Any], dict[int, list[Any]]]:
    rows = observations.page(stream, None, None, limit=1000)
    current = {round((row.phenomenon_time - BEGIN) / timedelta(hours=1)): row.result for row in rows}
    assert len(current) == len(rows)
    revisions = {hour: [row.result for row in observations.revisions(stream, BEGIN + timedelta(hours=hour))] for hour in range(7)}
    return current, {hour: values for hour, values in revisions.items() if values}


@given(batches=BATCHES)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_store_keeps_the_plainest_rule(
    observations: ObservationRepository, make_datastream: MakeDatastream, batches: list[list[tuple[int, float]]]
) -> None:
    datastream, model = make_datastream(), Model()
    for rows in batches:
        counts = observations.commit(batch_of(datastream, [hour for hour, _ in rows], [value for _, value in rows]))
        assert (counts.accepted, counts.duplicate, counts.corrected) == model.commit(rows)
    revisions = {hour: values for hour, values in model.revisions.items() if values}
    assert stored(observations, id_of(datastream)) == (model.current, revisions)
    seq = observations.current_seq()
    last = batches[-1]
    again = observations.commit(batch_of(datastream, [hour for hour, _ in last], [value for _, value in last]))
    assert (again.duplicate, observations.current_seq()) == (len(last), seq)
    assert stored(observations, id_of(datastream)) == (model.current, revisions)


@given(data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_cut_and_order_of_equal_rows_ends_alike(
    observations: ObservationRepository, make_datastream: MakeDatastream, data: st.DataObject
) -> None:
    datastream = make_datastream()
    truth = {hour: float(hour * hour) for hour in range(data.draw(st.integers(1, 20)))}
    rows = data.draw(st.permutations([hour for hour in truth for _ in range(data.draw(st.integers(1, 3)))]))
    accepted = 0
    while rows:
        size = data.draw(st.integers(1, len(rows)))
        part, rows = rows[:size], rows[size:]
        accepted += observations.commit(batch_of(datastream, part, [truth[hour] for hour in part])).accepted
    current, revisions = stored(observations, id_of(datastream))
    assert (current, revisions, accepted) == (truth, {}, len(truth))

"""Flags beside values: revisions, ledger, files sent again, overrides, roll-ups and what was known before."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from domain.errors import ConflictError, NotFoundError
from domain.model import Datastream
from domain.quality import Quality
from storage.database import Database
from storage.observations import ObservationRepository
from storage.quality import FlagWindow, NewFlags, QualityRepository, is_changed
from storage.rollups import RollupRepository
from storage.work import WorkQueue
from tests.storage.batches import BEGIN, EPOCH, batch_of, id_of
from tests.storage.conftest import MakeDatastream

pytestmark = pytest.mark.stack
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def quality(database: Database) -> QualityRepository:
    return QualityRepository(database)


def above(limit: float, *codes: str):
    """Suspect wherever a value is above a limit, else what the source said; what a person said goes before."""

    def judge(window: FlagWindow) -> NewFlags:
        flags, reasons = window.source_quality.copy(), window.source_reasons.copy()
        for row in np.flatnonzero(window.result > limit):
            flags[row], reasons[row] = Quality.SUSPECT, (*(reasons[row] or ()), *codes)
        for low, high, flag in window.overrides:
            for row in np.flatnonzero((window.time >= low) & (window.time < high)):
                flags[row], reasons[row] = flag, ("override",)
        return NewFlags(flags, reasons)

    return judge


def flags_of(observations: ObservationRepository, datastream: Datastream) -> list[int]:
    return observations.series(id_of(datastream)).quality.tolist()


def test_a_flag_keeps_value_revision_ledger_and_what_was_known(
    observations: ObservationRepository, quality: QualityRepository, datastream: Datastream, database: Database
) -> None:
    first = observations.commit(batch_of(datastream, range(5), [1.0, 2.0, 9.0, 2.0, 1.0]))
    seq = observations.current_seq()
    received = observations.page(id_of(datastream), None, None)[2].received_at
    assert quality.revise(id_of(datastream), BEGIN, BEGIN + 4 * HOUR, HOUR, above(5, "spike")) == 1
    row = observations.page(id_of(datastream), None, None)[2]
    assert (row.result, row.quality, row.quality_reasons, row.received_at) == (9.0, 3, ["spike"], received)
    (before,) = observations.revisions(id_of(datastream), BEGIN + 2 * HOUR)
    assert (before.result, before.quality, before.batch_id) == (9.0, 1, first.batch_id)
    batch = observations.batch(row.batch_id)
    assert batch is not None
    assert (batch.source_kind, batch.corrected) == ("quality", 1)
    assert batch.ledger_seq == seq + 1
    assert observations.series(id_of(datastream), as_of=seq).quality.tolist() == [1, 1, 1, 1, 1]
    assert flags_of(observations, datastream) == [1, 1, 3, 1, 1]
    again = quality.revise(id_of(datastream), BEGIN, BEGIN + 4 * HOUR, HOUR, above(5, "spike"))
    assert (again, observations.current_seq()) == (0, seq + 1)
    while RollupRepository(database).refresh(1000):
        pass
    (day,) = observations.buckets(id_of(datastream), None, None, "1mo")
    assert (day.n, day.n_good, day.max) == (5, 4, 2.0)


def test_the_same_file_again_is_a_duplicate_and_a_correction_forgets_the_flags(
    observations: ObservationRepository, quality: QualityRepository, datastream: Datastream
) -> None:
    batch = batch_of(datastream, range(3), [1.0, 9.0, 1.0], quality=[1, 2, 1])
    observations.commit(batch)
    quality.revise(id_of(datastream), BEGIN, BEGIN + 2 * HOUR, HOUR, above(5, "spike"))
    again = observations.commit(batch)
    assert (again.accepted, again.duplicate, again.corrected) == (0, 3, 0)
    assert flags_of(observations, datastream) == [1, 3, 1]
    corrected = observations.commit(batch_of(datastream, [1], [1.5], quality=[2]))
    assert corrected.corrected == 1
    assert flags_of(observations, datastream) == [1, 2, 1]
    # Back to what the source says: nothing of ours is left.
    observations.commit(batch_of(datastream, [1], [9.0], quality=[2]))
    quality.revise(id_of(datastream), BEGIN, BEGIN + 2 * HOUR, HOUR, above(5, "spike"))
    assert quality.revise(id_of(datastream), BEGIN, BEGIN + 2 * HOUR, HOUR, above(50)) == 1
    row = observations.page(id_of(datastream), None, None)[1]
    assert (row.quality, row.quality_reasons) == (2, None)


def test_an_override_survives_tests_and_files_and_is_taken_back(
    observations: ObservationRepository, quality: QualityRepository, datastream: Datastream, database: Database
) -> None:
    batch = batch_of(datastream, range(4), [1.0, 9.0, 9.0, 1.0])
    observations.commit(batch)
    span = (BEGIN + HOUR, BEGIN + 2 * HOUR)
    key = quality.add_override(id_of(datastream), *span, Quality.GOOD, "seen on site", "W. Chen")
    for _ in range(2):
        quality.revise(
            id_of(datastream), BEGIN, BEGIN + 3 * HOUR, HOUR, above(5, "spike"), source_kind="override", actor="W. Chen"
        )
        observations.commit(batch)
        assert flags_of(observations, datastream) == [1, 1, 3, 1]
    (kept,) = quality.overrides(id_of(datastream))
    assert (kept.id, kept.actor, kept.reason, kept.datastream) == (key, "W. Chen", "seen on site", datastream.code)
    with WorkQueue(database).claim_datastream("quality", id_of(datastream)) as items:
        assert items == [(id_of(datastream), BEGIN, BEGIN + 3 * HOUR)]
    assert quality.withdraw_override(key, "W. Chen") == (id_of(datastream), *span)
    with pytest.raises(NotFoundError, match="no override"):
        quality.withdraw_override(key, "W. Chen")
    assert quality.overrides(id_of(datastream)) == []
    assert [row.withdrawn_by for row in quality.overrides(id_of(datastream), withdrawn=True)] == ["W. Chen"]
    quality.revise(id_of(datastream), BEGIN, BEGIN + 3 * HOUR, HOUR, above(5, "spike"))
    assert flags_of(observations, datastream) == [1, 3, 3, 1]
    with pytest.raises(ConflictError):
        quality.add_override(id_of(datastream), *span, Quality.GOOD, "", "W. Chen")


def test_a_window_shows_neighbours_that_are_days_apart(
    observations: ObservationRepository, quality: QualityRepository, datastream: Datastream
) -> None:
    observations.commit(batch_of(datastream, np.arange(20) * 24 * 30, np.arange(20.0)))
    seen: list[FlagWindow] = []

    def look(window: FlagWindow) -> NewFlags:
        seen.append(window)
        return NewFlags(window.quality, window.reasons)

    at = BEGIN + timedelta(days=300)
    assert quality.revise(id_of(datastream), at, at, HOUR, look) == 0
    assert seen[0].result.tolist() == list(range(4, 17))
    assert seen[0].result[seen[0].wanted].tolist() == list(range(7, 14))
    assert seen[0].time[0] == EPOCH + np.timedelta64(120, "D")


def test_rules_wait_for_quality_control(observations: ObservationRepository, datastream: Datastream, database: Database) -> None:
    queue = WorkQueue(database)
    with queue.claim("evaluate", 100_000), queue.claim("quality", 100_000):
        pass
    observations.commit(batch_of(datastream, [0], [1.0]))
    with queue.claim("evaluate", 100, after="quality") as items:
        assert items == []
    with queue.claim("quality", 100) as items:
        assert [item[0] for item in items] == [id_of(datastream)]
        with queue.claim("evaluate", 100, after="quality") as early:
            assert early == []
    with queue.claim("evaluate", 100, after="quality") as items:
        assert [item[0] for item in items] == [id_of(datastream)]


def test_what_comes_later_holds_a_rule_up_for_a_moment_only(
    observations: ObservationRepository, datastream: Datastream, database: Database
) -> None:
    queue = WorkQueue(database)
    with queue.claim("evaluate", 100_000), queue.claim("quality", 100_000):
        pass
    observations.commit(batch_of(datastream, [0], [1.0]))
    with queue.claim("quality", 100):
        observations.commit(batch_of(datastream, [1], [1.0]))
    with queue.claim("evaluate", 100, after="quality", patience_s=3600.0) as items:
        assert items == []
    with queue.claim("evaluate", 100, after="quality", patience_s=0.0) as items:
        assert items == [(id_of(datastream), BEGIN, BEGIN)]
    with queue.claim("evaluate", 100, after="quality", patience_s=0.0) as items:
        assert items == []  # the second waits for its own quality control, however long
    with queue.claim("quality", 100):
        pass
    with queue.claim("evaluate", 100, after="quality") as items:
        assert items == [(id_of(datastream), BEGIN + HOUR, BEGIN + HOUR)]


def test_windows_read_together_are_those_that_each_would_be_judged_by_and_take_no_lock(
    observations: ObservationRepository, quality: QualityRepository, make_datastream: MakeDatastream
) -> None:
    long, flagged, silent = make_datastream(), make_datastream(), make_datastream()
    observations.commit(batch_of(long, np.arange(20) * 24 * 30, np.arange(20.0)))
    observations.commit(batch_of(flagged, range(6), [1.0, 9.0, 9.0, 1.0, 1.0, 9.0]))
    quality.revise(id_of(flagged), BEGIN, BEGIN + 5 * HOUR, HOUR, above(5, "spike"))
    quality.add_override(id_of(flagged), BEGIN + HOUR, BEGIN + 2 * HOUR, Quality.GOOD, "seen on site", "W. Chen")
    at = BEGIN + timedelta(days=300)
    changes = [(id_of(long), at, at, HOUR), (id_of(flagged), BEGIN, BEGIN + 2 * HOUR, HOUR), (id_of(silent), at, at, HOUR)]
    together = quality.windows(changes)
    assert set(together) == {id_of(long), id_of(flagged)}

    def compare(identity: int, locked: FlagWindow) -> NewFlags:
        (again,) = quality.windows(
            [change for change in changes if change[0] == identity]
        ).values()  # beside the lock that is held
        for window in (together[identity], again):
            for name in ("time", "received", "result", "quality", "source_quality", "reasons", "source_reasons", "wanted"):
                np.testing.assert_array_equal(getattr(window, name), getattr(locked, name), name)
            assert window.overrides == locked.overrides
        return NewFlags(locked.quality, locked.reasons)

    for identity, start, end, memory in changes[:2]:
        assert quality.revise(identity, start, end, memory, lambda window, of=identity: compare(of, window)) == 0
    assert not is_changed(together[id_of(long)], above(50)(together[id_of(long)]))
    assert is_changed(together[id_of(flagged)], above(5, "spike")(together[id_of(flagged)]))


def test_the_oldest_work_tells_how_long_it_has_waited(database: Database, make_datastream: MakeDatastream) -> None:
    queue = WorkQueue(database)
    with queue.claim("quality", 100_000), queue.claim("evaluate", 100_000):
        pass
    assert queue.oldest_age_s("quality", "evaluate") is None
    ObservationRepository(database).commit(batch_of(make_datastream(), [1], [1.0]))
    age_s = queue.oldest_age_s("quality", "evaluate")
    assert age_s is not None
    assert 0.0 <= age_s < 60.0
    with queue.claim("quality", 100_000):
        pass
    assert queue.oldest_age_s("quality") is None
    assert queue.oldest_age_s("evaluate") is not None

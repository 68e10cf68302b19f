"""The same payload sent twice waits in quarantine once; what a person resolved, or a replay refuses again, is a new entry."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from hashlib import sha256

import pytest

from domain.observation import Batch, QuarantineEntry, RawPayload, Rejected, columns
from storage.database import Database
from storage.observations import ObservationRepository, QuarantineRow

pytestmark = pytest.mark.stack
NOW = datetime(2026, 1, 1, tzinfo=UTC)
NOTHING = columns([], [], [])


@pytest.fixture
def observations(own_database_url: str) -> Iterator[ObservationRepository]:
    with Database(own_database_url) as database:
        yield ObservationRepository(database)


def raw(body: bytes) -> RawPayload:
    return RawPayload("file.csv", sha256(body).hexdigest(), len(body), NOW, body)


def refused(
    *rejects: tuple[int, str],
    body: bytes = b"t;v\n1;x\n",
    row: bytes = b"1;x",
    station: str | None = "S1",
    source_kind: str = "file",
) -> Batch:
    entries = tuple(QuarantineEntry(Rejected(line, code, f"{code} in {line}", row), 0, station) for line, code in rejects)
    return Batch(source_kind, "file.csv", NOTHING, raws=(raw(body),), quarantine=entries, received_at=NOW)


def waiting(observations: ObservationRepository) -> list[QuarantineRow]:
    return observations.quarantined(limit=1000)


def test_importing_the_same_rejects_twice_adds_nothing_and_counts_them(observations: ObservationRepository) -> None:
    batch = refused((2, "number"), (2, "number"), (3, "time"))
    assert observations.commit(batch).rejected == 3
    before = waiting(observations)
    assert [(row.line, row.code) for row in before] == [(2, "number"), (2, "number"), (3, "time")]
    again = observations.commit(batch)
    assert again.rejected == 3
    assert waiting(observations) == before


@pytest.mark.parametrize(
    "other",
    [
        refused((2, "number"), body=b"another payload"),
        refused((4, "number")),
        refused((2, "range")),
        refused((2, "number"), row=b"line 2 of another sheet"),
        refused((2, "number"), station="S2"),
        refused((2, "number"), station=None),
    ],
    ids=["payload", "line", "code", "row", "station", "no station"],
)
def test_what_differs_is_another_reject(observations: ObservationRepository, other: Batch) -> None:
    observations.commit(refused((2, "number")))
    observations.commit(other)
    assert len(waiting(observations)) == 2
    observations.commit(other)
    assert len(waiting(observations)) == 2


def test_a_resolved_reject_that_comes_again_waits_again(observations: ObservationRepository) -> None:
    batch = refused((2, "number"))
    observations.commit(batch)
    observations.resolve_quarantine([waiting(observations)[0].id], None, NOW)
    assert waiting(observations) == []
    observations.commit(batch)
    assert len(waiting(observations)) == 1


def test_a_replay_that_is_refused_again_leaves_an_entry_when_the_old_one_is_resolved(observations: ObservationRepository) -> None:
    observations.commit(refused((2, "number")))
    (old,) = waiting(observations)
    counts = observations.commit(refused((2, "number"), source_kind="replay"))
    observations.resolve_quarantine([old.id], counts.batch_id, NOW)
    (new,) = waiting(observations)
    assert (new.line, new.code, new.batch_id) == (2, "number", counts.batch_id)


def test_a_reject_without_its_payload_is_always_kept(observations: ObservationRepository) -> None:
    entry = QuarantineEntry(Rejected(1, "number", "no number", b"x"))
    batch = Batch("file", "file.csv", NOTHING, quarantine=(entry,), received_at=NOW)
    observations.commit(batch)
    observations.commit(batch)
    assert len(waiting(observations)) == 2


def test_a_message_that_came_twice_within_a_batch_is_judged_once(observations: ObservationRepository) -> None:
    entries = tuple(
        QuarantineEntry(Rejected(1, code, "no", b"x"), index, "S1") for index in (0, 1) for code in ("time", "number")
    )
    observations.commit(Batch("mqtt", "broker", NOTHING, raws=(raw(b"x"), raw(b"x")), quarantine=entries, received_at=NOW))
    assert [row.code for row in waiting(observations)] == ["time", "number"]


def test_the_same_file_from_four_importers_at_once_waits_once(observations: ObservationRepository) -> None:
    batch = refused((2, "number"), (3, "time"))
    with ThreadPoolExecutor(4) as pool:
        assert [counts.rejected for counts in pool.map(observations.commit, [batch] * 8)] == [2] * 8
    assert len(waiting(observations)) == 2

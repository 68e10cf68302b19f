"""Commits: counts, duplicates, corrections, revisions, provenance, refusals."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import psycopg
import pytest

from domain.errors import ConflictError, InputError, UnavailableError
from domain.model import Datastream
from domain.observation import Batch, QuarantineEntry, RawPayload, Rejected, columns
from storage.commit import commit_batch
from storage.database import Database
from storage.observations import ObservationRepository
from storage.registers import RegisterRepository
from storage.work import WorkQueue
from tests.storage.batches import BEGIN, batch_of, hours, id_of
from tests.storage.conftest import MakeDatastream

pytestmark = pytest.mark.stack


def test_a_file_twice_changes_nothing(observations: ObservationRepository, datastream: Datastream) -> None:
    batch = batch_of(datastream, range(100), np.linspace(0, 1, 100), sigma=np.full(100, 0.1))
    first = observations.commit(batch)
    seq = observations.current_seq()
    second = observations.commit(batch)
    assert (first.accepted, first.duplicate, first.corrected) == (100, 0, 0)
    assert (second.accepted, second.duplicate, second.corrected, second.ledger_seq) == (0, 100, 0, None)
    assert observations.current_seq() == seq
    assert observations.revisions(id_of(datastream), BEGIN) == []


def test_a_correction_keeps_what_was_said_before(observations: ObservationRepository, datastream: Datastream) -> None:
    first = observations.commit(batch_of(datastream, [0, 1, 2], [1.0, 2.0, 3.0]))
    second = observations.commit(batch_of(datastream, [1, 2, 3], [2.5, 3.0, 4.0]))
    assert (second.accepted, second.duplicate, second.corrected) == (1, 1, 1)
    kept = observations.revisions(id_of(datastream), BEGIN + timedelta(hours=1))
    assert [(row.result, row.batch_id, row.superseded_by) for row in kept] == [(2.0, first.batch_id, second.batch_id)]
    assert observations.series(id_of(datastream)).result.tolist() == [1.0, 2.5, 3.0, 4.0]


def of_payload(datastream: Datastream, body: bytes, value: float, source_kind: str) -> Batch:
    raw = RawPayload("test", hashlib.sha256(body).hexdigest(), len(body), BEGIN, body=body)
    return replace(batch_of(datastream, [0], [value], source_kind=source_kind), raws=(raw,))


@pytest.mark.parametrize("source_kind", ["mqtt", "tcp", "inbox", "replay"])
def test_a_payload_that_comes_again_does_not_undo_what_corrected_it(
    observations: ObservationRepository, datastream: Datastream, source_kind: str
) -> None:
    observations.commit(of_payload(datastream, b"a", 1.0, "inbox"))
    observations.commit(of_payload(datastream, b"b", 2.0, "file"))
    again = observations.commit(of_payload(datastream, b"a", 1.0, source_kind))
    assert (again.accepted, again.duplicate, again.corrected, again.ledger_seq) == (0, 1, 0, None)
    assert observations.series(id_of(datastream)).result.tolist() == [2.0]
    assert len(observations.revisions(id_of(datastream), BEGIN)) == 1


def test_another_payload_with_the_old_value_and_a_person_who_imports_again_are_heard(
    observations: ObservationRepository, datastream: Datastream
) -> None:
    observations.commit(of_payload(datastream, b"a", 1.0, "mqtt"))
    observations.commit(of_payload(datastream, b"b", 2.0, "mqtt"))
    assert observations.commit(of_payload(datastream, b"c", 1.0, "mqtt")).corrected == 1
    assert observations.commit(of_payload(datastream, b"b", 2.0, "mqtt")).duplicate == 1
    assert observations.commit(of_payload(datastream, b"b", 2.0, "file")).corrected == 1
    assert observations.series(id_of(datastream)).result.tolist() == [2.0]


def test_a_payload_that_says_another_thing_by_a_better_profile_corrects_when_it_is_run_again(
    observations: ObservationRepository, datastream: Datastream
) -> None:
    observations.commit(of_payload(datastream, b"a", 100.0, "inbox"))
    for value in (1.0, 100.0, 1.0):  # and back again, where the better one was worse
        assert observations.commit(of_payload(datastream, b"a", value, "replay")).corrected == 1
        assert observations.series(id_of(datastream)).result.tolist() == [value]


def test_a_message_that_came_with_its_correction_and_comes_again_alone_changes_nothing(
    observations: ObservationRepository, datastream: Datastream
) -> None:
    first, second = of_payload(datastream, b"a", 1.0, "mqtt"), of_payload(datastream, b"b", 2.0, "mqtt")
    both = batch_of(datastream, [0, 0], [1.0, 2.0], source_kind="mqtt")
    observations.commit(replace(both, raws=(*first.raws, *second.raws)))
    assert observations.commit(first).duplicate == 1
    assert observations.series(id_of(datastream)).result.tolist() == [2.0]


def reasons_of(*words: str) -> Any:
    reasons = np.empty(1, dtype=object)
    reasons[0] = words
    return reasons


@pytest.mark.parametrize(
    "change",
    [
        {"sigma": [0.2]},
        {"quality": [3]},
        {"end": [np.datetime64("2024-01-02", "us")]},
        {"reasons": reasons_of("spike", "manual")},
    ],
)
def test_whatever_differs_is_a_correction(
    observations: ObservationRepository, datastream: Datastream, change: dict[str, Any]
) -> None:
    observations.commit(batch_of(datastream, [0], [1.0]))
    assert observations.commit(batch_of(datastream, [0], [1.0], **change)).corrected == 1
    assert observations.commit(batch_of(datastream, [0], [1.0], **change)).duplicate == 1


def test_when_a_result_became_available_is_no_value(observations: ObservationRepository, datastream: Datastream) -> None:
    observations.commit(batch_of(datastream, [0], [1.0]))
    again = batch_of(datastream, [0], [1.0], result_time=[np.datetime64("2024-02-01", "us")])
    assert observations.commit(again).duplicate == 1


def test_the_last_line_of_a_key_wins_and_the_others_are_kept(observations: ObservationRepository, datastream: Datastream) -> None:
    batch = batch_of(datastream, [0, 1, 0, 0, 0], [1.0, 5.0, 2.0, 2.0, 3.0])
    counts = observations.commit(batch)
    assert (counts.accepted, counts.duplicate, counts.corrected) == (2, 1, 2)
    assert [row.result for row in observations.revisions(id_of(datastream), BEGIN)] == [1.0, 2.0]
    assert observations.series(id_of(datastream)).result.tolist() == [3.0, 5.0]
    again = observations.commit(batch)
    assert (again.accepted, again.duplicate, again.corrected) == (0, 5, 0)


def test_a_line_that_repeats_the_stored_value_is_no_revision(observations: ObservationRepository, datastream: Datastream) -> None:
    observations.commit(batch_of(datastream, [0], [1.0]))
    counts = observations.commit(batch_of(datastream, [0, 0], [1.0, 2.0]))
    assert (counts.accepted, counts.duplicate, counts.corrected) == (0, 1, 1)
    assert [row.result for row in observations.revisions(id_of(datastream), BEGIN)] == [1.0]


def test_a_missing_result_is_stored_as_missing(observations: ObservationRepository, datastream: Datastream) -> None:
    batch = batch_of(datastream, [0, 1], [np.nan, 1.0])
    assert observations.commit(batch).accepted == 2
    assert observations.commit(batch).duplicate == 2
    page = observations.page(id_of(datastream), None, None, limit=10)
    assert [(row.result, row.sigma, row.quality) for row in page] == [(None, None, 9), (1.0, None, 1)]


def test_everything_stored_comes_back(observations: ObservationRepository, datastream: Datastream) -> None:
    reasons = np.empty(2, dtype=object)
    reasons[:] = [("manual", "estimated"), None]
    received = datetime(2024, 3, 1, 8, 30, 0, 123456, tzinfo=UTC)
    batch = batch_of(
        datastream,
        [0, 1],
        [1.25, -2.5],
        sigma=[0.5, np.nan],
        quality=[3, 2],
        end=[hours(1), np.datetime64("NaT")],
        reasons=reasons,
        result_time=[np.datetime64("NaT"), hours(5)],
    )
    counts = observations.commit(replace(batch, received_at=received, device="logger 7", parameters={"unit": "mm"}))
    first, second = observations.page(id_of(datastream), BEGIN, BEGIN + timedelta(days=1), limit=10)
    assert (first.result, first.sigma, first.quality, first.quality_reasons) == (1.25, 0.5, 3, ["manual", "estimated"])
    assert (first.phenomenon_end, first.result_time, first.received_at) == (BEGIN + timedelta(hours=1), None, received)
    assert (second.sigma, second.quality_reasons, second.phenomenon_end) == (None, None, None)
    assert second.result_time == BEGIN + timedelta(hours=5)
    stored = observations.batch(counts.batch_id or 0)
    assert stored is not None
    assert (stored.device, stored.parameters, stored.accepted, stored.received_at) == ("logger 7", {"unit": "mm"}, 2, received)


def test_a_hundred_and_fifty_years_in_one_batch(observations: ObservationRepository, datastream: Datastream) -> None:
    time = np.arange("1875-01-01", "2025-01-01", dtype="datetime64[D]").astype("datetime64[us]")
    value = np.arange(len(time), dtype=np.float64)
    batch = Batch("file", "long", columns(id_of(datastream), time, value))
    assert observations.commit(batch).accepted == len(time)
    assert observations.commit(batch).duplicate == len(time)
    series = observations.series(id_of(datastream))
    assert np.array_equal(series.time, time)
    assert np.array_equal(series.result, value)


def test_status_and_work_follow_the_changes_alone(
    observations: ObservationRepository, registers: RegisterRepository, database: Database, make_datastream: MakeDatastream
) -> None:
    one, other = make_datastream(), make_datastream()
    queue = WorkQueue(database)
    with queue.claim("evaluate", 10_000):
        pass
    observations.commit(batch_of(one, [0, 1], [1.0, 2.0]))
    observations.commit(batch_of(other, [5], [7.0]))
    with queue.claim("evaluate", 10_000) as items:
        spans = {item[0]: item[1:] for item in items}
    assert spans == {
        id_of(one): (BEGIN, BEGIN + timedelta(hours=1)),
        id_of(other): (BEGIN + timedelta(hours=5), BEGIN + timedelta(hours=5)),
    }
    observations.commit(batch_of(one, [0, 1], [1.5, 2.0]))
    with queue.claim("evaluate", 10_000) as items:
        assert items == [(id_of(one), BEGIN, BEGIN)]
    status = registers.datastream_statuses([id_of(one)])[id_of(one)]
    assert (status.first_time, status.last_time, status.last_result, status.observations) == (
        BEGIN,
        BEGIN + timedelta(hours=1),
        2.0,
        2,
    )
    assert observations.last_time(id_of(other)) == BEGIN + timedelta(hours=5)


def test_work_that_fails_waits_again(observations: ObservationRepository, database: Database, datastream: Datastream) -> None:
    queue = WorkQueue(database)
    observations.commit(batch_of(datastream, [0], [1.0]))
    before = queue.pending("analyse").count
    with pytest.raises(RuntimeError, match="broke"), queue.claim("analyse", 10_000):
        raise RuntimeError("broke")
    assert queue.pending("analyse").count == before >= 1


def test_what_analytics_derived_is_not_analysed_again(
    observations: ObservationRepository, database: Database, datastream: Datastream
) -> None:
    queue = WorkQueue(database)
    for kind in ("analyse", "evaluate"):
        with queue.claim(kind, 10_000):
            pass
    observations.commit(batch_of(datastream, [0], [1.0], "analysis"))
    assert queue.pending("analyse").count == 0
    assert queue.pending("evaluate").count == 1


def test_rejects_are_kept_with_their_raw_bytes(observations: ObservationRepository) -> None:
    raw = RawPayload("topic", "ab" * 32, 5, datetime(2024, 1, 1, tzinfo=UTC), body=b"\x00\xff{,}")
    entry = QuarantineEntry(Rejected(3, "value", "not a number\x00", b"\x00\xff"), raw_index=0, station="S1")
    counts = observations.commit(Batch("mqtt", "topic", columns([], [], []), raws=(raw,), quarantine=(entry,)))
    assert (counts.accepted, counts.rejected, counts.ledger_seq) == (0, 1, None)
    kept = [row for row in observations.quarantined(limit=1000) if row.batch_id == counts.batch_id]
    assert [(row.line, row.code, row.raw, row.station_code) for row in kept] == [(3, "value", b"\x00\xff", "S1")]
    body = observations.raw_payload(kept[0].raw_payload_id or 0)
    assert body is not None
    assert body.body == b"\x00\xff{,}"
    assert observations.resolve_quarantine([kept[0].id], None, datetime(2024, 2, 1, tzinfo=UTC)) == 1
    assert [row for row in observations.quarantined(limit=1000) if row.batch_id == counts.batch_id] == []


def test_an_unknown_datastream_stores_nothing(observations: ObservationRepository, datastream: Datastream) -> None:
    rows = columns([id_of(datastream), 999_999], hours([0, 0]), [1.0, 1.0])
    with pytest.raises(ConflictError):
        observations.commit(Batch("file", "x", rows))
    assert len(observations.series(id_of(datastream)).time) == 0


@pytest.mark.parametrize(("time", "value"), [("NaT", 1.0), ("2024-01-01", np.inf)])
def test_what_cannot_be_stored_is_refused(
    observations: ObservationRepository, datastream: Datastream, time: str, value: float
) -> None:
    with pytest.raises(InputError):
        observations.commit(Batch("file", "x", columns(id_of(datastream), [np.datetime64(time, "us")], [value])))


def test_a_connection_that_dies_before_the_commit_leaves_nothing(
    observations: ObservationRepository, database: Database, datastream: Datastream
) -> None:
    seq = observations.current_seq()
    batches = observations.batches(limit=1)
    with pytest.raises(UnavailableError), database.transaction() as connection:
        assert commit_batch(connection, batch_of(datastream, range(1000), np.zeros(1000))).accepted == 1000
        with psycopg.connect(database.url, autocommit=True) as killer:
            killer.execute("SELECT pg_terminate_backend(%s)", [connection.info.backend_pid])
        connection.execute("SELECT 1")
    assert len(observations.series(id_of(datastream)).time) == 0
    assert observations.current_seq() == seq
    assert observations.batches(limit=1) == batches
    assert observations.commit(batch_of(datastream, range(1000), np.zeros(1000))).accepted == 1000


def test_a_database_out_of_reach_is_unavailable() -> None:
    with Database("postgresql://nobody@127.0.0.1:1/none", wait_s=0.2) as unreachable, pytest.raises(UnavailableError):
        unreachable.ping()


def test_what_was_known_is_read_again_to_the_digit(observations: ObservationRepository, datastream: Datastream) -> None:
    generator = np.random.default_rng(20240101)
    stream = id_of(datastream)
    known: list[tuple[int, list[tuple[object, ...]]]] = []
    for _ in range(8):
        numbers = generator.choice(60, size=25, replace=True)
        observations.commit(batch_of(datastream, numbers, generator.normal(size=25).round(2), sigma=generator.random(25)))
        page = observations.page(stream, None, None, limit=1000)
        known.append((observations.current_seq(), [(row.phenomenon_time, row.result, row.sigma) for row in page]))
    for seq, said in known:
        series = observations.series(stream, as_of=seq)
        assert list(zip(series.result.tolist(), series.sigma.tolist(), strict=True)) == [row[1:] for row in said]
        again = observations.page(stream, None, None, limit=1000, as_of=seq)
        assert [(row.phenomenon_time, row.result, row.sigma) for row in again] == said


def test_as_of_a_time_is_the_greatest_sequence_by_then(observations: ObservationRepository, datastream: Datastream) -> None:
    counts = observations.commit(batch_of(datastream, [0], [1.0]))
    stored = observations.batch(counts.batch_id or 0)
    assert stored is not None
    assert observations.seq_at(stored.received_at) < (counts.ledger_seq or 0)
    assert observations.seq_at(stored.received_at + timedelta(hours=1)) == counts.ledger_seq


def test_pages_follow_each_other(observations: ObservationRepository, datastream: Datastream) -> None:
    observations.commit(batch_of(datastream, range(10), np.arange(10.0)))
    seen: list[float | None] = []
    after = None
    while page := observations.page(
        id_of(datastream), BEGIN + timedelta(hours=2), BEGIN + timedelta(hours=9), after=after, limit=3
    ):
        seen += [row.result for row in page]
        after = page[-1].phenomenon_time
    assert seen == [2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]


@pytest.mark.parametrize("digest", ["ab" * 31, "AB" * 32, "ab" * 31 + "\u00e9x", "0" * 63 + "g", "ab" * 33, ""])
def test_what_is_no_digest_of_a_payload_is_refused(observations: ObservationRepository, digest: str) -> None:
    raw = RawPayload("topic", digest, 5, datetime(2024, 1, 1, tzinfo=UTC), body=b"x")
    with pytest.raises(ConflictError, match="sha256"):
        observations.commit(Batch("mqtt", "topic", columns([], [], []), raws=(raw,)))

"""Several writers at once: nothing is lost, nothing twice, nobody waits for ever; the ledger and the feed keep their order."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from domain.observation import Batch, columns
from storage.database import Database
from storage.leader import Leadership
from storage.observations import ObservationRepository
from storage.sharing import ChangesRepository
from storage.work import WorkQueue
from tests.storage.batches import batch_of, hours, id_of
from tests.storage.conftest import MakeDatastream

pytestmark = [pytest.mark.stack, pytest.mark.timeout(120)]
WRITERS = 6


def together(jobs: list[Callable[[], object]]) -> list[object]:
    with ThreadPoolExecutor(len(jobs)) as pool:
        return [future.result() for future in [pool.submit(job) for job in jobs]]


def test_writers_of_the_same_keys_lose_nothing(observations: ObservationRepository, make_datastream: MakeDatastream) -> None:
    streams = [make_datastream() for _ in range(4)]
    ids = np.array([id_of(stream) for stream in streams])
    rounds, n = 6, 40
    committed = [0, 0, 0]
    lock = threading.Lock()

    def write(writer: int) -> None:
        generator = np.random.default_rng(writer)
        for _ in range(rounds):
            order = generator.permutation(n)
            rows = columns(ids[order % 4], hours(order // 4), np.full(n, float(writer)))
            counts = observations.commit(Batch("file", f"writer {writer}", rows))
            with lock:
                committed[0] += counts.accepted
                committed[1] += counts.duplicate
                committed[2] += counts.corrected

    together([lambda writer=writer: write(writer) for writer in range(WRITERS)])  # type: ignore[misc]
    assert sum(committed) == WRITERS * rounds * n
    assert committed[0] == n
    rows = [row for stream in ids for row in observations.page(int(stream), None, None, limit=1000)]
    revisions = [
        row for stream in ids for t in {r.phenomenon_time for r in rows} for row in observations.revisions(int(stream), t)
    ]
    assert len(rows) == n
    assert len(revisions) == committed[2]


def test_the_feed_neither_loses_nor_repeats(
    database: Database, observations: ObservationRepository, make_datastream: MakeDatastream
) -> None:
    feed = ChangesRepository(database)
    streams = [make_datastream() for _ in range(WRITERS)]
    cursor = feed.current_cursor()
    done = threading.Event()
    seen: list[tuple[int, int, str, float | None]] = []

    def write(writer: int) -> None:
        for number in range(15):
            observations.commit(batch_of(streams[writer], range(number, number + 5), np.arange(5.0) + number * (number % 3)))

    def read() -> None:
        place = cursor
        while True:
            finished = done.is_set()
            page = feed.changes(place, limit=7)
            for change in page.changes:
                seen.extend(
                    (change.seq, change.datastream_id or 0, str(row.phenomenon_time), row.result) for row in change.observations
                )
            if page.cursor == place and finished:
                return
            place = page.cursor

    reader = threading.Thread(target=read)
    reader.start()
    together([lambda writer=writer: write(writer) for writer in range(WRITERS)])  # type: ignore[misc]
    done.set()
    reader.join(60)
    assert not reader.is_alive()
    assert len({entry[:3] for entry in seen}) == len(seen)
    assert [entry[0] for entry in seen] == sorted(entry[0] for entry in seen)
    applied = {entry[1:3]: entry[3] for entry in seen}
    truth = {
        (id_of(stream), str(row.phenomenon_time)): row.result
        for stream in streams
        for row in observations.page(id_of(stream), None, None, limit=1000)
    }
    assert applied == truth


def test_workers_share_work_without_doing_any_twice(
    database: Database, observations: ObservationRepository, make_datastream: MakeDatastream
) -> None:
    queue = WorkQueue(database)
    with queue.claim("evaluate", 100_000):
        pass
    streams = [make_datastream() for _ in range(12)]
    for stream in streams:
        observations.commit(batch_of(stream, [0], [1.0]))
    taken: list[int] = []

    def work() -> None:
        while True:
            with queue.claim("evaluate", 2) as items:
                taken.extend(item[0] for item in items)
                if not items:
                    return

    together([work, work, work])
    assert sorted(taken) == sorted(id_of(stream) for stream in streams)


def test_one_leads_and_another_takes_over(database: Database) -> None:
    first, second = Leadership(database, "schedule"), Leadership(database, "schedule")
    elsewhere = Leadership(database, "something else")
    try:
        assert first.try_acquire()
        assert not second.try_acquire()
        assert elsewhere.try_acquire()
        assert first.held()
        first.release()
        assert not first.held()
        assert second.try_acquire()
    finally:
        for leadership in (first, second, elsewhere):
            leadership.release()


def test_a_commit_wakes_who_listens(
    database: Database, observations: ObservationRepository, make_datastream: MakeDatastream
) -> None:
    stream = make_datastream()
    with database.listen("groundwatch_work") as listener:
        assert listener.wait(0.1)
        assert not listener.wait(0.1)
        observations.commit(batch_of(stream, [0], [1.0]))
        assert listener.wait(5.0)
        observations.commit(batch_of(stream, [0], [1.0]))
        assert not listener.wait(0.2)

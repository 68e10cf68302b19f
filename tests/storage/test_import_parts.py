"""Parts of files: recognised when every row still stands, compared when one does not."""

from __future__ import annotations

import fcntl
import hashlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from domain.errors import ConflictError
from domain.model import Datastream
from domain.observation import Batch, KeptFile, StoredFile
from storage.commit import _classify
from storage.database import Database
from storage.observations import ObservationRepository
from storage.raw_files import FileStore
from tests.storage.batches import batch_of, id_of
from tests.storage.conftest import MakeDatastream

CONTENT = "c" * 64


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the rows that were compared with stored ones."""
    counted: list[int] = []

    def classify(connection, rows):  # type: ignore[no-untyped-def]
        counted.append(len(rows))
        return _classify(connection, rows)

    monkeypatch.setattr("storage.commit._classify", classify)
    return counted


@pytest.mark.stack
def test_a_part_that_stands_is_recognised_until_one_of_its_rows_changes(
    observations: ObservationRepository, datastream: Datastream, database: Database, compared: list[int]
) -> None:
    part = replace(batch_of(datastream, range(10), range(10)), content_sha256=CONTENT)
    assert observations.commit(part).accepted == 10
    again = observations.commit(part)
    assert (again.accepted, again.duplicate, again.ledger_seq, compared) == (0, 10, None, [10])
    observations.commit(batch_of(datastream, [20], [1.0]))
    assert observations.commit(part).duplicate == 10
    assert compared == [10, 1]
    observations.commit(batch_of(datastream, [4], [44.0]))
    back = observations.commit(part)
    assert (back.accepted, back.duplicate, back.corrected, compared) == (0, 9, 1, [10, 1, 1, 10])
    assert observations.commit(part).duplicate == 10
    assert compared[-1] == 10  # rows of two batches are never taken for one part
    with database.transaction() as connection:
        connection.execute("DELETE FROM observation WHERE datastream_id = %s", [id_of(datastream)])
    assert observations.commit(part).accepted == 10
    assert observations.commit(part).duplicate == 10
    assert len(compared) == 6


@pytest.mark.stack
def test_a_part_of_which_some_was_known_is_not_remembered(
    observations: ObservationRepository, datastream: Datastream, compared: list[int]
) -> None:
    observations.commit(batch_of(datastream, [3], [3.0]))
    part = replace(batch_of(datastream, range(5), range(5)), content_sha256="d" * 64)
    assert [observations.commit(part).duplicate for _ in range(2)] == [1, 5]
    assert compared == [1, 5, 5]


def test_a_file_is_archived_without_being_held_and_only_as_it_was_digested(tmp_path: Path) -> None:
    body = b"0123456789abcdef\n" * 200_000
    path = tmp_path / "large.csv"
    path.write_bytes(body)
    store, digest = FileStore(tmp_path / "raw"), hashlib.sha256(body).hexdigest()
    location = store.keep_file(path, digest)
    assert store.read(location) == body
    assert store.keep(body, digest) == location == store.keep_file(path, digest)
    path.write_bytes(body + b"more\n")
    with pytest.raises(ConflictError):
        store.keep_file(path, hashlib.sha256(b"x").hexdigest())
    assert len([found for found in (tmp_path / "raw").rglob("*") if found.is_file()]) == 1


@pytest.mark.parametrize("packer", ["backports.zstd", "pyarrow"])
def test_a_file_whose_digest_nobody_knows_is_kept_in_one_reading(
    packer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = np.random.default_rng(3).integers(48, 58, 9_000_000, dtype=np.uint8).tobytes()  # more than two parts
    path = tmp_path / "large.csv"
    path.write_bytes(body)
    if packer == "pyarrow":
        monkeypatch.setitem(sys.modules, "backports.zstd", None)
        monkeypatch.setitem(sys.modules, "compression.zstd", None)
    store, digest = FileStore(tmp_path / "raw"), hashlib.sha256(body).hexdigest()
    assert store.keep_new(path) == store.keep_new(path) == KeptFile(digest, len(body), f"sha256:{digest}")
    assert store.read(f"sha256:{digest}") == body
    (kept,) = (found for found in (tmp_path / "raw").rglob("*") if found.is_file())
    assert kept.stat().st_size < 0.55 * len(body)
    path.write_bytes(b"")
    assert store.keep_new(path).size == 0
    assert store.read(f"sha256:{hashlib.sha256(b'').hexdigest()}") == b""


def test_what_a_killed_packer_left_is_removed_and_what_another_one_holds_is_not(tmp_path: Path) -> None:
    home = tmp_path / "raw"
    home.mkdir()
    (home / ".growing-left").write_bytes(b"half")
    (home / ".growing-held").write_bytes(b"half")
    (tmp_path / "a.csv").write_bytes(b"1,2\n")
    with (home / ".growing-held").open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        FileStore(home).keep_new(tmp_path / "a.csv")
    assert [path.name for path in home.glob(".growing-*")] == [".growing-held"]


KEY = "e" * 64


def part_of(datastream: Datastream, mark: str, first: int) -> Batch:
    return replace(batch_of(datastream, range(first, first + 10), range(10)), content_sha256=mark * 64)


@pytest.mark.stack
def test_a_file_is_recalled_while_every_part_of_it_stands_and_no_register_changes(
    observations: ObservationRepository, make_datastream: MakeDatastream
) -> None:
    near, far = make_datastream(), make_datastream()
    for part in (part_of(near, "1", 0), part_of(far, "2", 5)):
        observations.commit(part)
    file = StoredFile(("1" * 64, "2" * 64), 20, (near.station, far.station), {"profile": "p"}, observations.register_mark())
    assert observations.recall_file(KEY) is None
    observations.remember_file(KEY, file)
    observations.commit(batch_of(near, [40], [1.0]))  # beside the file's rows
    assert observations.recall_file(KEY) == file
    make_datastream()
    assert observations.recall_file(KEY) is None
    observations.remember_file(KEY, file)  # with the mark of before
    assert observations.recall_file(KEY) is None
    now = replace(file, register_mark=observations.register_mark())
    observations.remember_file(KEY, now)
    assert observations.recall_file(KEY) == now
    observations.commit(batch_of(far, [9], [99.0]))
    assert observations.recall_file(KEY) is None


@pytest.mark.stack
def test_a_file_is_not_remembered_where_a_part_was_known_in_part(
    observations: ObservationRepository, make_datastream: MakeDatastream
) -> None:
    datastream = make_datastream()
    observations.commit(batch_of(datastream, [3], [3.0]))
    observations.commit(part_of(datastream, "3", 0))
    observations.remember_file(
        KEY, StoredFile(("3" * 64,), 10, (datastream.station,), {"profile": "p"}, observations.register_mark())
    )
    assert observations.recall_file(KEY) is None


@pytest.mark.stack
def test_a_file_of_which_a_row_was_removed_is_not_recalled(
    observations: ObservationRepository, make_datastream: MakeDatastream, database: Database
) -> None:
    datastream = make_datastream()
    observations.commit(part_of(datastream, "4", 0))
    observations.remember_file(
        KEY, StoredFile(("4" * 64,), 10, (datastream.station,), {"profile": "p"}, observations.register_mark())
    )
    assert observations.recall_file(KEY) is not None
    with database.transaction() as connection:
        connection.execute("DELETE FROM observation WHERE datastream_id = %s", [id_of(datastream)])
    assert observations.recall_file(KEY) is None


def test_large_files_are_packed_as_they_repeat_themselves_or_not(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    numbers = ",".join(f"{value:.1f}" for value in rng.normal(0, 20, 400_000)).encode()
    table = b"".join(b"JX-%03d,level,2024-01-%02dT00:00:00+08:00,%d,m\n" % (n % 100, n % 28 + 1, n // 100) for n in range(50_000))
    store = FileStore(tmp_path / "kept")
    for name, body, most in (("numbers", numbers, 0.48), ("table", table, 0.2), ("empty", b"", 1.0)):
        path = tmp_path / name
        path.write_bytes(body)
        kept = store.keep_new(path)
        assert store.read(kept.location) == body
        packed = next((tmp_path / "kept").rglob(f"{kept.sha256}.*")).stat().st_size
        assert packed <= most * len(body), name

"""The inbox: files that rest are read once and moved; half-written ones wait."""

from __future__ import annotations

import gzip
import io
import json
import os
import zipfile
from pathlib import Path

import pytest

from domain.model import Datastream, Station, StationKind
from ingest.pipeline import Pipeline
from ingest.transports.inbox import Inbox, InboxSettings
from tests.ingest.conftest import NOW
from tests.ingest.memory import MemoryRegistry, MemoryStore

TABLE = "高程系统：1985国家高程基准\n点名,高程(m),观测日期\nA1,2.065,2023-05-10\n".encode()


class Hands:
    """A clock that is moved by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
def inbox(tmp_path: Path, pipeline: Pipeline, registry: MemoryRegistry, hands: Hands) -> Inbox:
    registry.add_station(Station("A1", StationKind.BENCHMARK, "A1", "A1"), actor="test")
    registry.add_datastream(Datastream("A1", "height", "m", datum_code="CN-H85"), actor="test")
    return Inbox(InboxSettings(tmp_path, settle_s=5.0), pipeline, lambda: NOW, monotonic=hands)


def poll_after(inbox: Inbox, hands: Hands, seconds: float) -> int:
    hands.now += seconds
    return inbox.poll()


def test_a_file_is_read_when_it_rests_and_moved_with_its_report(
    inbox: Inbox, hands: Hands, tmp_path: Path, store: MemoryStore
) -> None:
    (tmp_path / "a.csv").write_bytes(TABLE)
    assert [poll_after(inbox, hands, 0), poll_after(inbox, hands, 4), poll_after(inbox, hands, 2)] == [0, 0, 1]
    assert not (tmp_path / "a.csv").exists()
    assert (tmp_path / "processed" / "a.csv").read_bytes() == TABLE
    report = json.loads((tmp_path / "processed" / "a.csv.report.json").read_text(encoding="utf-8"))
    assert (report["accepted"], report["rejected"]) == (1, 0)
    ledger = json.loads((tmp_path / "processed" / "ledger.jsonl").read_text(encoding="utf-8"))
    assert (ledger["sha256"], ledger["path"]) == (report["sha256"], "a.csv")
    assert store.batches[0].source_kind == "inbox"


def test_a_file_that_still_grows_waits(inbox: Inbox, hands: Hands, tmp_path: Path, store: MemoryStore) -> None:
    for size in (10, 40, len(TABLE)):
        (tmp_path / "a.csv").write_bytes(TABLE[:size])
        assert poll_after(inbox, hands, 4) == 0
    assert store.batches == []
    assert poll_after(inbox, hands, 6) == 1
    assert len(store.rows) == 1


def test_an_unusable_file_goes_to_rejected_with_the_reason(inbox: Inbox, hands: Hands, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"what is this\n")
    (tmp_path / "unknown.csv").write_bytes(TABLE.replace(b"A1", b"B1"))
    (tmp_path / "being-written.csv.part").write_bytes(TABLE)
    poll_after(inbox, hands, 0)
    assert poll_after(inbox, hands, 6) == 2
    assert "Remedy" in json.loads((tmp_path / "rejected" / "x.csv.report.json").read_text(encoding="utf-8"))["reason"]
    unknown = json.loads((tmp_path / "rejected" / "unknown.csv.report.json").read_text(encoding="utf-8"))
    assert unknown["rejects"][0]["code"] == "station"
    assert (tmp_path / "being-written.csv.part").exists()


def test_files_stay_while_the_database_is_out_of_reach(inbox: Inbox, hands: Hands, tmp_path: Path, store: MemoryStore) -> None:
    (tmp_path / "a.csv").write_bytes(TABLE)
    poll_after(inbox, hands, 0)
    store.is_out_of_reach = True
    assert poll_after(inbox, hands, 6) == 0
    assert (tmp_path / "a.csv").exists()
    store.is_out_of_reach = False
    assert poll_after(inbox, hands, 1) == 1


def test_the_same_name_again_is_kept_beside_and_a_folder_names_the_profile(
    inbox: Inbox, hands: Hands, tmp_path: Path, store: MemoryStore
) -> None:
    for _ in range(2):
        (tmp_path / "levelling").mkdir(exist_ok=True)
        (tmp_path / "levelling" / "a.csv").write_bytes(TABLE)
        poll_after(inbox, hands, 0)
        assert poll_after(inbox, hands, 6) == 1
    moved = sorted(path.name for path in (tmp_path / "processed" / "levelling").iterdir())
    assert moved == ["a.1.csv", "a.1.csv.report.json", "a.csv", "a.csv.report.json"]
    assert [batch.profile for batch in store.batches] == ["levelling", "levelling"]
    assert len(store.rows) == 1


MORE = TABLE + b"A1,2.060,2023-06-10\n"


def test_what_is_written_after_a_file_was_moved_is_read_too(
    inbox: Inbox, hands: Hands, tmp_path: Path, store: MemoryStore, pipeline: Pipeline
) -> None:
    with (tmp_path / "current.csv").open("wb") as writer:
        writer.write(TABLE)
        writer.flush()
        poll_after(inbox, hands, 0)
        assert poll_after(inbox, hands, 6) == 1
        writer.write(MORE[len(TABLE) :])
    assert [poll_after(inbox, hands, 0), poll_after(inbox, hands, 6)] == [0, 1]
    assert len(store.rows) == 2
    assert store.revisions == []
    assert poll_after(inbox, hands, 20) == 0
    with (tmp_path / "processed" / "current.csv").open("ab") as writer:
        writer.write(b"A1,2.055,2023-07-10\n")
    restarted = Inbox(inbox.settings, pipeline, lambda: NOW, monotonic=hands)
    assert [poll_after(restarted, hands, 0), poll_after(restarted, hands, 6)] == [0, 1]
    assert len(store.rows) == 3


def test_a_file_that_ends_within_a_line_waits_longer(inbox: Inbox, hands: Hands, tmp_path: Path, store: MemoryStore) -> None:
    half = TABLE[: TABLE.index(b"2023-05")]
    (tmp_path / "a.csv").write_bytes(half)
    assert [poll_after(inbox, hands, 0), poll_after(inbox, hands, 30)] == [0, 0]
    (tmp_path / "a.csv").write_bytes(TABLE)
    assert [poll_after(inbox, hands, 0), poll_after(inbox, hands, 6)] == [0, 1]
    (tmp_path / "b.csv").write_bytes(TABLE.rstrip())
    assert [poll_after(inbox, hands, 0), poll_after(inbox, hands, 59), poll_after(inbox, hands, 2)] == [0, 0, 1]
    assert len(store.rows) == 1


def zipped(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"old/{name}.csv", content)
    return stream.getvalue()


def test_rotated_files_are_read_in_whatever_wrapping_and_change_nothing_twice(
    inbox: Inbox, hands: Hands, tmp_path: Path, store: MemoryStore
) -> None:
    (tmp_path / "current.csv").write_bytes(TABLE)
    poll_after(inbox, hands, 0)
    assert poll_after(inbox, hands, 6) == 1
    (tmp_path / "2023-05.csv").write_bytes(TABLE)
    (tmp_path / "2023-05.csv.gz").write_bytes(gzip.compress(TABLE))
    (tmp_path / "2023.zip").write_bytes(zipped(may=TABLE, june=MORE))
    poll_after(inbox, hands, 0)
    assert poll_after(inbox, hands, 6) == 3
    assert len(store.rows) == 2
    assert store.revisions == []
    report = json.loads((tmp_path / "processed" / "2023.zip.report.json").read_text(encoding="utf-8"))
    assert [(member["file"], member["accepted"], member["duplicate"]) for member in report["members"]] == [
        ("may.csv", 0, 1),
        ("june.csv", 1, 1),
    ]


def test_half_an_archive_waits_and_a_broken_one_is_rejected(
    inbox: Inbox, hands: Hands, tmp_path: Path, store: MemoryStore
) -> None:
    whole = zipped(may=TABLE)
    (tmp_path / "a.zip").write_bytes(whole[:-30])
    (tmp_path / "b.zip").write_bytes(whole[:-30])
    assert [poll_after(inbox, hands, 0), poll_after(inbox, hands, 30)] == [0, 0]
    (tmp_path / "a.zip").write_bytes(whole)
    assert [poll_after(inbox, hands, 0), poll_after(inbox, hands, 40)] == [0, 2]
    assert (tmp_path / "processed" / "a.zip").exists()
    assert "cannot be unpacked" in (tmp_path / "rejected" / "b.zip.report.json").read_text(encoding="utf-8")
    assert len(store.rows) == 1


def test_a_file_that_is_rotated_while_it_is_read_is_read_under_its_new_name(
    inbox: Inbox, hands: Hands, tmp_path: Path, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    current = tmp_path / "current.csv"
    current.write_bytes(TABLE)
    ingest = inbox.pipeline.ingest_path

    def rotate_meanwhile(path: Path, **options: object) -> object:
        report = ingest(path, **options)  # type: ignore[arg-type]
        if path == current and not (tmp_path / "old.csv").exists():
            current.replace(tmp_path / "old.csv")
            current.write_bytes(MORE)
        return report

    monkeypatch.setattr(inbox.pipeline, "ingest_path", rotate_meanwhile)
    poll_after(inbox, hands, 0)
    assert poll_after(inbox, hands, 6) == 0
    monkeypatch.undo()
    assert current.exists()
    poll_after(inbox, hands, 6)
    poll_after(inbox, hands, 6)
    assert not current.exists()
    assert {path.name for path in (tmp_path / "processed").glob("*.csv")} == {"current.csv", "old.csv"}
    assert len(store.rows) == 2
    assert store.revisions == []


def test_a_file_that_cannot_be_read_stays_and_holds_up_no_other(
    inbox: Inbox, hands: Hands, tmp_path: Path, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "0-locked.csv").write_bytes(TABLE)
    (tmp_path / "1-broken-disk.zip").write_bytes(zipped(may=TABLE))
    (tmp_path / "z.csv").write_bytes(MORE)
    is_locked = True
    opened = Path.open

    def refuse(path: Path, *arguments: object, **options: object) -> object:
        if is_locked and path.name == "0-locked.csv":
            raise PermissionError(13, "Permission denied", str(path))
        if is_locked and path.name == "1-broken-disk.zip":
            raise OSError(5, "Input/output error", str(path))
        return opened(path, *arguments, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", refuse)
    poll_after(inbox, hands, 0)
    assert poll_after(inbox, hands, 70) == 1
    assert len(store.rows) == 2
    assert inbox.metrics.files_unreadable == 2
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["0-locked.csv", "1-broken-disk.zip"]
    is_locked = False
    assert poll_after(inbox, hands, 1) == 2
    assert inbox.metrics.files_unreadable == 0
    assert store.revisions == []


def test_a_folder_that_is_not_there_is_told_and_waited_for(inbox: Inbox, hands: Hands, tmp_path: Path) -> None:
    inbox.settings.folder.rename(tmp_path.with_name("away"))
    assert poll_after(inbox, hands, 1) == 0
    assert inbox.metrics.files_unreadable == 1
    tmp_path.with_name("away").rename(tmp_path)
    poll_after(inbox, hands, 1)
    assert inbox.metrics.files_unreadable == 0


def test_a_member_with_a_name_of_another_code_page_is_read_under_its_own(
    inbox: Inbox, hands: Hands, tmp_path: Path, store: MemoryStore
) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("XXXXXX.csv", TABLE)
    (tmp_path / "a.zip").write_bytes(stream.getvalue().replace(b"XXXXXX", "一号井".encode("gbk")))
    poll_after(inbox, hands, 0)
    assert poll_after(inbox, hands, 6) == 1
    assert store.batches[0].source == "一号井.csv"


def test_a_member_that_never_ends_is_refused_before_it_fills_the_disk(
    inbox: Inbox, hands: Hands, tmp_path: Path, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.transports.archives.MAX_UNPACKED_BYTES", 1 << 20)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.csv", bytes(64 << 20))
    (tmp_path / "a.zip").write_bytes(stream.getvalue())
    poll_after(inbox, hands, 0)
    assert poll_after(inbox, hands, 6) == 1
    assert "unpacks to more" in (tmp_path / "rejected" / "a.zip.report.json").read_text(encoding="utf-8")
    assert store.batches == []


@pytest.mark.parametrize(
    "name",
    ["x" * 251 + ".csv", "监测" * 41 + ".csv", "a." + "x" * 250, "监" * 84],
    ids=["plain", "chinese", "suffix", "no suffix"],
)
def test_a_name_that_leaves_no_room_for_the_reports_is_shortened(
    name: str, inbox: Inbox, hands: Hands, tmp_path: Path, store: MemoryStore
) -> None:
    for _ in range(2):
        (tmp_path / name).write_bytes(TABLE)
        poll_after(inbox, hands, 0)
        assert poll_after(inbox, hands, 6) == 1
    assert inbox.metrics.files_unreadable == 0
    assert len(store.batches) == 2
    shelf = tmp_path / "processed"
    moved = [path for path in shelf.iterdir() if path.read_bytes() == TABLE]
    assert len(moved) == 2
    assert all((shelf / f"{path.name}.report.json").is_file() for path in moved)
    assert all(path.name.startswith(name[:10]) for path in moved)


def test_a_name_of_another_code_page_that_grows_too_long_as_utf8_is_shortened(
    inbox: Inbox, hands: Hands, tmp_path: Path, store: MemoryStore
) -> None:
    folder = "沉降" * 60
    path = tmp_path / os.fsdecode(folder.encode("gbk")) / os.fsdecode(("监测" * 60 + ".csv").encode("gbk"))
    path.parent.mkdir()
    path.write_bytes(TABLE)
    poll_after(inbox, hands, 0)
    assert poll_after(inbox, hands, 6) == 1
    assert store.batches[0].source.startswith("监测监测")
    assert store.batches[0].source.endswith(".csv")
    assert len(store.rows) == 1


def test_a_file_that_cannot_be_moved_is_read_once_and_moved_when_it_can(
    inbox: Inbox, hands: Hands, tmp_path: Path, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.csv").write_bytes(TABLE)
    replaced = Path.replace

    def refuse(path: Path, target: Path) -> object:
        if path.name == "a.csv":
            raise PermissionError(13, "Permission denied", str(target))
        return replaced(path, target)

    monkeypatch.setattr(Path, "replace", refuse)
    poll_after(inbox, hands, 0)
    for _ in range(5):
        assert poll_after(inbox, hands, 6) == 0
        assert inbox.metrics.files_unreadable == 1
    assert len(store.batches) == 1
    assert list((tmp_path / "processed").iterdir()) == []
    monkeypatch.undo()
    assert poll_after(inbox, hands, 6) == 1
    assert len(store.batches) == 1
    assert sorted(path.name for path in (tmp_path / "processed").iterdir()) == ["a.csv", "a.csv.report.json", "ledger.jsonl"]


def test_a_file_that_could_not_be_moved_and_changed_is_read_again(
    inbox: Inbox, hands: Hands, tmp_path: Path, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.csv").write_bytes(TABLE)
    monkeypatch.setattr("ingest.transports.inbox.write_durably", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
    poll_after(inbox, hands, 0)
    assert poll_after(inbox, hands, 6) == 0
    monkeypatch.undo()
    (tmp_path / "a.csv").write_bytes(MORE)
    assert [poll_after(inbox, hands, 0), poll_after(inbox, hands, 6)] == [0, 1]
    assert len(store.rows) == 2


def test_a_refused_file_that_its_writer_completes_leaves_what_is_rejected(
    inbox: Inbox, hands: Hands, tmp_path: Path, store: MemoryStore, pipeline: Pipeline
) -> None:
    packed = gzip.compress(TABLE)
    (tmp_path / "sub").mkdir()
    with (tmp_path / "sub" / "a.csv.gz").open("wb", buffering=0) as writer:
        writer.write(packed[:20])
        poll_after(inbox, hands, 0)
        assert poll_after(inbox, hands, 6) == 1
        assert (tmp_path / "rejected" / "sub" / "a.csv.gz").exists()
        writer.write(packed[20:])
        assert [poll_after(inbox, hands, 0), poll_after(inbox, hands, 6)] == [0, 1]
    assert len(store.rows) == 1
    assert sorted(path.name for path in (tmp_path / "processed" / "sub").iterdir()) == ["a.csv.gz", "a.csv.gz.report.json"]
    assert list((tmp_path / "rejected" / "sub").iterdir()) == []
    for watching in (inbox, Inbox(inbox.settings, pipeline, lambda: NOW, monotonic=hands)):
        assert poll_after(watching, hands, 0) == 0
        assert poll_after(watching, hands, 6) == 0


def test_an_archive_in_an_archive_is_refused_by_its_name_and_a_long_name_of_a_member_is_read(
    inbox: Inbox, hands: Hands, tmp_path: Path, store: MemoryStore
) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("inner.zip", zipped(a=TABLE))
        archive.writestr("监测" * 60 + ".csv", MORE)
    (tmp_path / "a.zip").write_bytes(stream.getvalue())
    poll_after(inbox, hands, 0)
    assert poll_after(inbox, hands, 6) == 1
    members = json.loads((tmp_path / "rejected" / "a.zip.report.json").read_text(encoding="utf-8"))["members"]
    assert "archive within an archive" in members[0]["reason"]
    assert members[1]["accepted"] == 2
    assert len(store.rows) == 2

"""Accounts, keys, partners, the audit chain, remembered answers, raw files."""

from __future__ import annotations

import gzip
import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from domain.errors import ConflictError, NotFoundError, RequestError
from domain.model import Datastream
from storage.access import AccessRepository
from storage.database import Database
from storage.observations import ObservationRepository
from storage.raw_files import FileStore
from storage.sharing import ChangesRepository
from tests.storage.batches import batch_of, id_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture(scope="module")
def access(database: Database) -> AccessRepository:
    return AccessRepository(database)


@pytest.mark.stack
def test_a_key_is_good_until_it_expires_or_is_revoked(access: AccessRepository) -> None:
    access.add_account("li", "李", "supervisor", "scrypt$...", {"stations": ["S1"]})
    key_id = access.add_key(digest("k1"), "k1", "supervisor", account="li", expires_at=NOW + timedelta(hours=1))
    found = access.find_key(digest("k1"), NOW)
    assert found is not None
    assert (found.key_id, found.account, found.display_name, found.account_attributes) == (
        key_id,
        "li",
        "李",
        {"stations": ["S1"]},
    )
    assert access.find_key(digest("k1"), NOW + timedelta(hours=1)) is None
    assert access.find_key(digest("k2"), NOW) is None
    access.revoke_key(key_id, NOW)
    assert access.find_key(digest("k1"), NOW) is None
    with pytest.raises(NotFoundError):
        access.revoke_key(key_id, NOW)


@pytest.mark.stack
def test_a_new_password_ends_the_sessions(access: AccessRepository) -> None:
    access.add_account("wang", "王", "viewer", "old")
    access.add_key(digest("session"), "se", "viewer", account="wang")
    access.update_account("wang", display_name="王五")
    assert access.find_key(digest("session"), NOW) is not None
    access.update_account("wang", password_hash="new")
    assert access.find_key(digest("session"), NOW) is None
    account = access.account("wang")
    assert account is not None
    assert (account.display_name, account.password_hash) == ("王五", "new")
    assert "new" not in repr(account)


@pytest.mark.stack
def test_a_disabled_partner_has_no_key(access: AccessRepository) -> None:
    access.upsert_partner("province", "省厅", "Province", {"datasets": ["observations"]}, "agreement 1", True)
    access.add_key(digest("partner"), "pa", "partner", partner="province")
    found = access.find_key(digest("partner"), NOW)
    assert found is not None
    assert (found.partner, found.display_name) == ("province", "省厅")
    access.upsert_partner("province", "省厅", "Province", {}, "agreement 1", False)
    assert access.find_key(digest("partner"), NOW) is None


@pytest.mark.stack
@pytest.mark.parametrize("role", ["device", "partner", "king"])
def test_a_key_without_what_its_role_needs_is_refused(access: AccessRepository, role: str) -> None:
    with pytest.raises(ConflictError):
        access.add_key(digest(f"bad {role}"), "ba", role)


@pytest.mark.stack
def test_a_key_is_never_stored_as_it_is(access: AccessRepository) -> None:
    with pytest.raises(ConflictError, match="SHA-256"):
        access.add_key("plain secret", "pl", "viewer")
    with pytest.raises(NotFoundError):
        access.add_key(digest("x"), "x", "viewer", account="nobody")


@pytest.mark.stack
def test_a_forged_entry_breaks_the_audit_chain(access: AccessRepository, database: Database) -> None:
    ids = [access.audit_append("li", "read", f"station {n}", {"n": n, "名": "值"}) for n in range(5)]
    report = access.verify_audit()
    assert report.ok
    assert report.entries >= 5
    assert [entry.subject for entry in access.audit_entries(ids[0] - 1, 2)] == ["station 0", "station 1"]
    with psycopg.connect(database.url) as connection:
        connection.execute("ALTER TABLE audit_log DISABLE TRIGGER audit_log_append_only")
        connection.execute("UPDATE audit_log SET subject = 'station 9' WHERE id = %s", [ids[2]])
        connection.execute("ALTER TABLE audit_log ENABLE TRIGGER audit_log_append_only")
    report = access.verify_audit()
    assert (report.ok, report.first_broken) == (False, ids[2])
    with psycopg.connect(database.url) as connection:
        connection.execute("ALTER TABLE audit_log DISABLE TRIGGER audit_log_append_only")
        connection.execute("UPDATE audit_log SET subject = 'station 2' WHERE id = %s", [ids[2]])
        connection.execute("DELETE FROM audit_log WHERE id = %s", [ids[3]])
        connection.execute("ALTER TABLE audit_log ENABLE TRIGGER audit_log_append_only")
    assert access.verify_audit().first_broken == ids[4]


def forge(database: Database, *statements: str) -> None:
    """What somebody who owns the database could do."""
    with psycopg.connect(database.url) as connection:
        connection.execute("SET session_replication_role = replica")
        for statement in statements:
            connection.execute(statement)


REHASH = "UPDATE audit_log SET entry_hash = audit_hash(hash_version, previous_hash, recorded_at, actor, action, subject, detail) WHERE id = 3"


@pytest.mark.stack
@pytest.mark.parametrize(
    ("statements", "first_broken", "truncated"),
    [
        (["UPDATE audit_log SET actor = 'wang' WHERE id = 3"], 3, False),
        (["UPDATE audit_log SET recorded_at = recorded_at - interval '1 day' WHERE id = 3"], 3, False),
        (["UPDATE audit_log SET detail = '{\"n\": 7}' WHERE id = 3"], 3, False),
        (["UPDATE audit_log SET actor = 'li|read', action = 'x' WHERE id = 4"], 4, False),
        (["UPDATE audit_log SET actor = 'wang' WHERE id = 3", REHASH], 4, False),
        (["DELETE FROM audit_log WHERE id = 3"], 4, True),
        (["DELETE FROM audit_log WHERE id = 1"], 2, True),
        (["UPDATE audit_log SET id = 30 - id OVERRIDING WHERE id IN (2, 3)"], None, False),
        (["DELETE FROM audit_log WHERE id = 5"], None, True),
        (["DELETE FROM audit_log WHERE id > 2"], None, True),
        (["DELETE FROM audit_log"], None, True),
        (["UPDATE audit_log SET hash_version = 1 WHERE id = 4"], 4, False),
    ],
)
def test_whatever_is_done_to_the_audit_log_is_seen(
    own_database_url: str, statements: list[str], first_broken: int | None, truncated: bool
) -> None:
    with Database(own_database_url) as own:
        log = AccessRepository(own)
        ids = [log.audit_append("li", "read|x" if n == 3 else "read", f"station {n}", {"n": n}) for n in range(5)]
        assert ids == [1, 2, 3, 4, 5] and log.verify_audit().ok
        if "OVERRIDING" in statements[0]:  # two entries change places
            statements = [f"UPDATE audit_log SET id = {new} WHERE id = {old}" for old, new in ((2, 20), (3, 2), (20, 3))]
            first_broken = 2
            with psycopg.connect(own.url) as connection:
                connection.execute("ALTER TABLE audit_log ALTER COLUMN id DROP IDENTITY")
        forge(own, *statements)
        report = log.verify_audit()
        assert (report.ok, report.first_broken, report.truncated) == (False, first_broken, truncated)


@pytest.mark.stack
def test_an_end_that_was_cut_off_with_its_head_is_seen_by_a_head_that_was_kept_elsewhere(own_database_url: str) -> None:
    with Database(own_database_url) as own:
        log = AccessRepository(own)
        for n in range(5):
            log.audit_append("li", "read", f"station {n}", {})
        kept = log.verify_audit()
        assert kept.newest_id == 5 and kept.newest_hash is not None
        forge(
            own,
            "DELETE FROM audit_log WHERE id > 3",
            "UPDATE audit_head SET entries = 3, entry_id = 3, entry_hash = (SELECT entry_hash FROM audit_log WHERE id = 3)",
        )
        assert log.verify_audit().ok, "without a head from elsewhere nobody can tell"
        report = log.verify_audit([(kept.newest_id, kept.newest_hash)])
        assert (report.ok, report.truncated, report.missing_head) == (False, True, f"5:{kept.newest_hash}")


@pytest.mark.stack
@pytest.mark.parametrize("table", ["audit_log", "audit_head", "alert_transition", "case_event", "alert_verdict"])
def test_no_log_is_emptied(own_database_url: str, table: str) -> None:
    with Database(own_database_url) as own, psycopg.connect(own.url) as connection:
        AccessRepository(own).audit_append("li", "read", "x", {})
        with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="append-only"):
            connection.execute(f"TRUNCATE {table}")


@pytest.mark.stack
def test_an_answer_is_remembered_for_its_owner(access: AccessRepository) -> None:
    access.remember("k", "li", digest("body"), {"accepted": 1})
    access.remember("k", "li", digest("other"), {"accepted": 2})
    assert access.idempotent("k", "li") == (digest("body"), {"accepted": 1})
    assert access.idempotent("k", "wang") is None


@pytest.mark.stack
def test_a_batch_is_told_as_it_was_committed(
    database: Database, observations: ObservationRepository, datastream: Datastream
) -> None:
    feed = ChangesRepository(database)
    start = feed.current_cursor()
    observations.commit(batch_of(datastream, range(5), [0.0, 1.0, 2.0, 3.0, 4.0]))
    observations.commit(batch_of(datastream, [1, 3], [10.0, 30.0]))
    told: list[list[float | None]] = []
    cursor, more = start, True
    while more:
        page = feed.changes(cursor, limit=2)
        told += [[row.result for row in change.observations] for change in page.changes]
        assert {change.datastream_id for change in page.changes} == {id_of(datastream)}
        cursor, more = page.cursor, page.more
    assert told == [[0.0, 1.0], [2.0, 3.0], [4.0], [10.0], [30.0]]
    assert feed.changes(cursor) == feed.changes(feed.current_cursor())
    assert feed.changes(cursor).changes == ()


@pytest.mark.stack
def test_the_feed_names_what_was_registered(database: Database, datastream: Datastream) -> None:
    changes = ChangesRepository(database).changes(None, limit=10_000).changes
    assert ("datastream", datastream.code) in {(change.kind, change.reference) for change in changes}
    assert ("station", datastream.station) in {(change.kind, change.reference) for change in changes}


@pytest.mark.stack
@pytest.mark.parametrize("cursor", ["", "nonsense", "LTEuMC4", "MS4wLg==x"])
def test_a_foreign_cursor_is_refused(database: Database, cursor: str) -> None:
    with pytest.raises(RequestError):
        ChangesRepository(database).changes(cursor)


def test_a_raw_file_is_kept_once_and_read_back(tmp_path: Path) -> None:
    store, body = FileStore(tmp_path), b"\xef\xbb\xbf\xcb\xae\xd7\xbc" * 1000
    location = store.keep(body, hashlib.sha256(body).hexdigest())
    assert store.keep(body, hashlib.sha256(body).hexdigest()) == location
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 1
    assert files[0].stat().st_size < len(body) / 10
    assert store.read(location) == body


def test_a_damaged_raw_file_is_noticed(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    location = store.keep(b"abc", digest("abc"))
    path = next(path for path in tmp_path.rglob("*.gz"))
    path.write_bytes(gzip.compress(b"abd"))
    with pytest.raises(ConflictError):
        store.read(location)
    path.write_bytes(b"no gzip")
    with pytest.raises(ConflictError):
        store.read(location)
    path.unlink()
    with pytest.raises(NotFoundError):
        store.read(location)


def test_bytes_with_another_digest_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConflictError):
        FileStore(tmp_path).keep(b"abc", digest("abd"))
    with pytest.raises(NotFoundError):
        FileStore(tmp_path).read("../../etc/passwd")

"""Migrations on an empty database: whole, once, one migrator at a time."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import psycopg
import pytest

from domain.errors import ConfigurationError, UnavailableError
from storage import migrate as module
from storage.migrate import edition, migrate, pending

FILES = sorted(module.FOLDER.glob("*.sql"))


def test_every_migration_depends_on_the_one_before() -> None:
    names = [path.stem for path in FILES]
    for path, before in zip(FILES, ["", *names], strict=False):
        match = re.search(r"^-- depends:[ ]*(.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert match is not None, path.name
        assert match[1].strip() == before


@pytest.mark.stack
def test_migrating_applies_all_once(empty_database_url: str, capfd: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []
    names = [path.stem for path in FILES]
    assert pending(empty_database_url) == names
    assert migrate(empty_database_url, said.append) == names == said
    assert migrate(empty_database_url, said.append) == []
    assert pending(empty_database_url) == []
    assert said == names
    assert capfd.readouterr() == ("", "")


@pytest.mark.stack
def test_two_migrators_at_once_do_not_collide(empty_database_url: str) -> None:
    with ThreadPoolExecutor(3) as pool:
        applied = [future.result() for future in [pool.submit(migrate, empty_database_url) for _ in range(3)]]
    assert sorted(map(len, applied)) == [0, 0, len(FILES)]
    assert pending(empty_database_url) == []


@pytest.mark.stack
def test_a_migrator_that_died_locks_nobody_out(empty_database_url: str) -> None:
    migrate(empty_database_url)
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute("INSERT INTO yoyo_lock (locked, ctime, pid) VALUES (1, now(), 999999)")
        connection.execute("DELETE FROM _yoyo_migration WHERE migration_id LIKE '%%rollups'")
        for name in ("observation_1h", "observation_1d", "observation_1mo"):
            connection.execute("SELECT drop_rollup(%s)", [name])
        connection.execute("DROP TABLE rollup_setting")
        connection.execute(
            "DROP FUNCTION ensure_rollups, drop_rollup(text), create_rollup(text, text, text, text), rollup_query(text, text)"
        )
    assert migrate(empty_database_url) == [path.stem for path in FILES if path.stem.endswith("rollups")]


@pytest.mark.stack
def test_a_migration_that_fails_leaves_what_came_before(
    empty_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in FILES:
        (tmp_path / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    broken = tmp_path / "99999999-99-broken.sql"
    broken.write_text(
        f"-- A broken one.\n-- depends: {FILES[-1].stem}\n\nCREATE TABLE half_made (id int);\nSELECT 1 / 0;\n", encoding="utf-8"
    )
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    with pytest.raises(ConfigurationError, match="99999999-99-broken"):
        migrate(empty_database_url)
    assert pending(empty_database_url) == ["99999999-99-broken"]
    with psycopg.connect(empty_database_url) as connection:
        assert connection.execute("SELECT to_regclass('half_made')").fetchone() == (None,)


@pytest.mark.stack
def test_roll_ups_have_one_shape(database_url: str) -> None:
    assert edition(database_url) in {"apache", "timescale"}
    wanted = ["datastream_id", "bucket", "n", "n_good", "mean", "min", "max", "sum", "first", "last"]
    with psycopg.connect(database_url) as connection:
        for name in ("observation_1h", "observation_1d", "observation_1mo"):
            cursor = connection.execute(psycopg.sql.SQL("SELECT * FROM {}").format(psycopg.sql.Identifier(name)))
            assert [column.name for column in cursor.description or ()] == wanted


def numbered(statement: str) -> str:
    """Write psycopg's placeholders as the server's own."""
    names = dict.fromkeys(re.findall(r"%\((\w+)\)s", statement))
    for number, name in enumerate(names, 1):
        statement = statement.replace(f"%({name})s", f"${number}")
    places = count(len(names) + 1)
    return re.sub("%s", lambda _: f"${next(places)}", statement).replace("%%", "%")


@pytest.mark.stack
def test_every_statement_is_understood_by_the_server(database_url: str) -> None:
    """Each named statement is prepared, so that a renamed column is found here and not in the field."""
    from storage.queries import FOLDER, load_statements

    # Procedures of the Community edition, and the statements that fill the tables of the Apache edition.
    outside = {
        "apache": {"refresh_1h", "refresh_1d", "refresh_1mo"},
        "timescale": {"upsert_1h", "upsert_1d", "upsert_1mo"},
    }[edition(database_url)]
    checked = 0
    with psycopg.connect(database_url) as connection:
        connection.execute(load_statements("observations").create_staging)
        for path in sorted(FOLDER.glob("*.sql")):
            statements = load_statements(path.stem)
            for name in statements.names():
                text = getattr(statements, name).decode()
                body = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
                if name in outside or not re.match(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)", body):
                    continue
                connection.execute(f"PREPARE checked AS {numbered(body)}".encode())
                connection.execute("DEALLOCATE checked")
                checked += 1
    assert checked > 100


@pytest.mark.stack
def test_a_server_out_of_reach_is_unavailable() -> None:
    with pytest.raises(UnavailableError):
        migrate("postgresql://nobody@127.0.0.1:1/none")

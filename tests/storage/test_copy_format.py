"""The binary COPY encoder against the server itself: what goes in comes out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.copy_format import CHUNK_ROWS, Column, constant, decode_rows, encode_rows, floats, texts, times
from storage.database import Database

pytestmark = pytest.mark.stack

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOMENTS = st.none() | st.integers(-(10**16), 10**16)
ROWS = st.lists(
    st.tuples(
        st.integers(-(2**31), 2**31 - 1),
        MOMENTS,
        st.none() | st.floats(allow_nan=False),
        st.integers(-(2**15), 2**15 - 1),
        st.none()
        | st.lists(
            st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=5), min_size=1, max_size=3
        ),
    ),
    min_size=1,
    max_size=30,
)


def columns_of(rows: list[tuple[Any, ...]]) -> list[Column]:
    reasons = np.empty(len(rows), dtype=object)
    reasons[:] = [None if row[4] is None else tuple(row[4]) for row in rows]
    moments = np.array(["NaT" if row[1] is None else row[1] for row in rows], dtype="datetime64[us]")
    return [
        Column(np.arange(len(rows), dtype=np.int32)),
        Column(np.array([row[0] for row in rows], dtype=np.int32)),
        times(moments),
        floats(np.array([np.nan if row[2] is None else row[2] for row in rows])),
        Column(np.array([row[3] for row in rows], dtype=np.int16)),
        texts(reasons),
        constant(7, "int64", len(rows)),
    ]


@given(rows=ROWS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_encoded_is_what_the_server_reads(database: Database, rows: list[tuple[Any, ...]]) -> None:
    with database.transaction() as connection:
        connection.execute(
            "CREATE TEMPORARY TABLE copied (n int, a int, t timestamptz, v float8, q int2, r text[], b int8) ON COMMIT DROP"
        )
        with connection.cursor() as cursor, cursor.copy("COPY copied FROM STDIN (FORMAT binary)") as copy:
            for part in encode_rows(columns_of(rows)):
                copy.write(part)
        stored = connection.execute(
            "SELECT a, (extract(epoch FROM t) * 1000000)::int8, v, q, r, b FROM copied ORDER BY n"
        ).fetchall()
    assert stored == [(a, t, v, q, r, 7) for a, t, v, q, r in rows]


def test_rows_keep_their_order_where_it_matters(database: Database) -> None:
    values = np.array([np.nan, 1.0, 2.0, np.nan, 3.0])
    with database.transaction() as connection:
        connection.execute("CREATE TEMPORARY TABLE ordered (id int GENERATED ALWAYS AS IDENTITY, v float8) ON COMMIT DROP")
        with connection.cursor() as cursor, cursor.copy("COPY ordered (v) FROM STDIN (FORMAT binary)") as copy:
            for part in encode_rows([floats(values)], in_order=True):
                copy.write(part)
        stored = [row[0] for row in connection.execute("SELECT v FROM ordered ORDER BY id")]
    assert stored == [None, 1.0, 2.0, None, 3.0]


def test_a_long_table_is_encoded_in_bounded_parts(database: Database) -> None:
    n = 2 * CHUNK_ROWS + 5
    values = np.arange(n, dtype=np.float64)
    values[::3] = np.nan
    parts = list(encode_rows([Column(np.arange(n, dtype=np.int32)), floats(values)]))
    assert max(len(part) for part in parts) <= CHUNK_ROWS * 24
    with database.transaction() as connection:
        connection.execute("CREATE TEMPORARY TABLE long_copied (n int, v float8) ON COMMIT DROP")
        with connection.cursor() as cursor, cursor.copy("COPY long_copied FROM STDIN (FORMAT binary)") as copy:
            for part in parts:
                copy.write(part)
        row = connection.execute("SELECT count(*), count(v), sum(v), sum(n) FROM long_copied").fetchone()
    assert row == (n, n - len(values[::3]), np.nansum(values), n * (n - 1) // 2)


def test_packed_rows_come_back_with_missing_ends_as_nat() -> None:
    packed = (86_400_000_000).to_bytes(8, "big") + np.array(1.5, ">f8").tobytes() + (-(2**63)).to_bytes(8, "big", signed=True)
    rows = decode_rows(packed, {"time": "M8", "result": "f8", "end": "M8"})
    assert rows["time"].tolist() == [(EPOCH + timedelta(days=10958)).replace(tzinfo=None)]
    assert rows["result"].tolist() == [1.5]
    assert np.isnat(rows["end"]).all()
    assert rows["result"].dtype.isnative

"""The compiled pass over the cells: what it takes it reads exactly as pyarrow does, and what it does not take it leaves alone."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from domain.compiling import compiled as compiled_loop
from domain.insar import DeliveryHeader, PointBlock
from ingest.insar import cells
from ingest.insar.blocks import BlockReader, Layout
from ingest.insar.profile import InsarProfile, load_insar_profile

NUMBERS = st.one_of(
    st.decimals(-2000, 2000, places=1).map(str),
    st.builds("{:.{}f}".format, st.floats(-1e6, 1e6), st.integers(0, 9)),
    st.floats(width=32).map(repr),
    st.floats(-1e6, 1e6).map(repr),
    st.integers(-(10**19), 10**19).map(str),
    st.from_regex(r"-?[0-9]{0,19}\.?[0-9]{0,12}([eE][+-]?[0-9]{1,3})?", fullmatch=True),
)
ODD = st.sampled_from(
    ["", " 1", "1 ", "NaN", "nan", "-9999", "-9999.0", "inf", "x", '"1"', "1,2", "+1", "0x1", "1e", "-", ".", "1.2.3"]
)
FOLLOWING = ["1.5"] * 8
EPOCHS = np.array(["2024-01-01", "2024-03-01", "2024-02-01"], dtype="datetime64[us]")
PROFILE = replace(load_insar_profile("egms"), missing=("NaN", "-9999"))


def layout(*names: str) -> Layout:
    return Layout(names, DeliveryHeader(EPOCHS, tuple(name for name in names if name in {"height", "rate"})), 1)


WIDE = layout("pid", "skip:1", "longitude", "latitude", "rate", "epoch:0", "epoch:1", "epoch:2", "height")


def read(body: bytes, profile: InsarProfile = PROFILE, rows: Layout = WIDE, *, compiled: bool = True) -> PointBlock:
    reader = BlockReader(rows, profile)
    if not compiled:
        reader.cells = None
    return reader.read(body, 2)[0]


def alike(one: PointBlock, other: PointBlock) -> None:
    assert one.pid.tolist() == other.pid.tolist()
    assert one.line.tolist() == other.line.tolist()
    assert one.rejected == other.rejected
    np.testing.assert_array_equal(one.longitude_deg, other.longitude_deg)
    np.testing.assert_array_equal(one.latitude_deg, other.latitude_deg)
    np.testing.assert_array_equal(one.displacement_mm, other.displacement_mm)
    assert one.attributes.keys() == other.attributes.keys()
    for name, values in one.attributes.items():
        np.testing.assert_array_equal(values, other.attributes[name])


def scanned(texts: list[str], *, purpose: int = cells.EPOCH, missing: tuple[bytes, ...] = ()) -> cells.Scanned:
    body = "".join(f"{text}\n" for text in texts).encode()
    columns = cells.Columns(np.array([purpose], np.int8), np.zeros(1, np.int32), 1, 1, 1)
    return cells.scan(np.frombuffer(body, np.uint8), columns, ord(","), missing)


def nearest_float32(text: str) -> np.float32:
    """Round once, by exact fractions."""
    wanted = Fraction(text)
    near = np.float32(text)
    around = [near, np.nextafter(near, np.float32(np.inf)), np.nextafter(near, np.float32(-np.inf))]
    finite = [value for value in around if np.isfinite(value)]
    return min(finite, key=lambda value: (abs(Fraction(float(value)) - wanted), int(value.view(np.uint32)) & 1))


@settings(max_examples=400, deadline=None)
@given(NUMBERS.filter(lambda text: any(digit.isdigit() for digit in text.partition("e")[0].partition("E")[0])))
@example("1.00000005960464477539062")  # in the middle of two float32, and a little to either side
@example("1.00000005960464478")
@example("1.0000000596046448")
@example("0.1")
@example("-0.0")
@example("16777217")
@example("9007199254740993")
@example("1e-40")
@example("3.5e38")
@example("8.5899345")
@example("-99999999.999")
@example("12345678")
@example("-1234567.")
@example("-.1234567")
def test_a_number_that_is_taken_is_rounded_once(text: str) -> None:
    for following in ([], FOLLOWING):  # where sixteen bytes can be loaded at once, numbers are converted in another way
        found = scanned([text, *following])
        if len(found.odd):
            return
        value = found.values[0, 0]
        assert value == nearest_float32(text)
        assert np.signbit(value) == text.startswith("-")
        assert scanned([text, *following], purpose=cells.PLACE).places[0, 0] == float(text)


@settings(max_examples=400, deadline=None)
@given(
    st.one_of(NUMBERS, ODD, st.text("0123456789.-+eE \r", max_size=17)),
    st.sampled_from([cells.EPOCH, cells.PLACE, cells.ATTRIBUTE]),
)
@example("-", cells.EPOCH)
@example(".", cells.EPOCH)
@example("1234567.1234567", cells.EPOCH)
@example("12345678.123456", cells.PLACE)
@example("1.2.3", cells.EPOCH)
@example("1.2345678.9", cells.EPOCH)
@example("-12345678901234", cells.PLACE)
def test_what_follows_a_cell_changes_nothing_of_it(text: str, purpose: int) -> None:
    alone, followed = (scanned([text, *more], purpose=purpose, missing=(b"-9999",)) for more in ([], FOLLOWING))
    assert alone.odd.tolist() == followed.odd.tolist()
    name = {cells.EPOCH: "values", cells.PLACE: "places", cells.ATTRIBUTE: "attributes"}[purpose]
    one, other = (getattr(found, name).ravel()[: len(alone.line)] for found in (alone, followed))
    np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(np.signbit(one), np.signbit(other))


def test_ordinary_numbers_are_taken() -> None:
    texts = [
        "0",
        "-0.4",
        "12.3",
        "-1234.56",
        ".5",
        "5.",
        "0.2639305",
        "9.253813e-05",
        "1E+2",
        "120.9154176",
        "2.799999952316284",
        "",
    ]
    found = scanned(texts)
    assert len(found.odd) == 0
    wanted = np.array([np.nan if not text else np.float32(text) for text in texts], np.float32)
    np.testing.assert_array_equal(found.values[:, 0], wanted)


@pytest.mark.parametrize(
    "text", ["-", ".", "1.2.3", "1e", "1e+", "--1", "+1", " 1", "1 ", "inf", "nan", "0x1", '"1"', "1\r1", "12345678901234567890"]
)
def test_what_is_strange_is_left_with_its_place(text: str) -> None:
    found = scanned(["1", text, "2"])
    assert found.odd.tolist() == [[2, 2 + len(text), 1]]
    assert (found.values[:, 0].tolist(), found.line.tolist()) == ([1.0, 2.0], [0, 2])


def test_words_for_no_value_are_whole_cells() -> None:
    found = scanned(["NaN", "-9999", "-99990", "-9999.5", "1"], missing=(b"NaN", b"-9999"))
    np.testing.assert_array_equal(found.values[:, 0], np.array([np.nan, np.nan, -99990, -9999.5, 1], np.float32))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.one_of(
                st.from_regex(r"[a-z0-9]{1,12}", fullmatch=True), st.sampled_from(["", " a", "b ", "ü", '"q"', "a b", "a'b"])
            ),
            st.sampled_from(["", "7", "text", '"a"']),
            st.lists(st.one_of(NUMBERS, ODD), min_size=5, max_size=7),
        ),
        max_size=12,
    ),
    st.sampled_from([b"\n", b"\r\n"]),
)
def test_compiled_or_not_every_row_is_the_same_point_or_reject(rows: list[tuple[str, str, list[str]]], end: bytes) -> None:
    body = b"".join(",".join([pid, text, "120.5", "30.5", *values]).encode() + end for pid, text, values in rows)
    alike(read(body), read(body, compiled=False))


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 8), st.data())
def test_every_mask_of_missing_epochs_comes_back(points: int, data: st.DataObject) -> None:
    known = data.draw(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=points, max_size=points))
    values = np.round(np.arange(points * 3).reshape(points, 3) * 1.7 - 4, 1)
    text = [
        [f"{value:.1f}" if there else "" for value, there in zip(*row, strict=True)] for row in zip(values, known, strict=True)
    ]
    body = "".join(f"p{number},,120.5,30.5,1.5,{','.join(row)},\n" for number, row in enumerate(text)).encode()
    block = read(body)
    wanted = np.where(known, values, np.nan).astype(np.float32)[:, [0, 2, 1]]  # in the order of time
    np.testing.assert_array_equal(block.displacement_mm, wanted.T)
    assert np.isnan(block.attributes["height"]).all()
    alike(block, read(body, compiled=False))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(NUMBERS, ODD), max_size=30), st.integers(1, 5))
def test_rows_for_which_there_was_no_room_at_first_are_read_all_the_same(texts: list[str], room: int) -> None:
    body = "".join(f"p{number},,120.5,30.5,1.5,{text},2,3,4\n" for number, text in enumerate(texts)).encode()
    whole = read(body)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells, "_rows_expected", lambda _: room)
        alike(read(body), whole)


def test_a_value_that_its_unit_makes_infinite_is_refused() -> None:
    body = b"a,,120.5,30.5,1,3.3e38,3,4,5\nb,,120.5,30.5,1,2,3,4,5\n"
    metres = replace(PROFILE, unit="m")
    for compiled in (True, False):
        found = read(body, metres, compiled=compiled)
        assert (found.pid.tolist(), [item.line for item in found.rejected]) == ([b"b"], [2])


def test_the_rows_of_a_text_are_guessed_from_its_beginning() -> None:
    long, short = b"1.25,2.5\n" * 20_000, b"1\n" * 90_000
    assert 20_000 <= cells._rows_expected(np.frombuffer(long, np.uint8)) < 22_000
    assert cells._rows_expected(np.frombuffer(long + short, np.uint8)) < 110_000
    columns = cells.Columns(np.full(1, cells.EPOCH, np.int8), np.zeros(1, np.int32), 1, 1, 1)
    found = cells.scan(np.frombuffer(long + short, np.uint8), columns, ord(","), ())
    assert (len(found.values), len(found.odd), found.lines) == (90_000, 20_000, 110_000)
    assert found.line.tolist() == list(range(20_000, 110_000))


def test_a_file_of_odd_rows_goes_to_the_other_reader_for_good() -> None:
    reader = BlockReader(WIDE, PROFILE)
    plain, odd = b"a,,120.5,30.5,1,2,3,4,5\n", b"b%d,,120.5,30.5, 1,2,3,4,5\n"
    assert len(reader.read(plain * 1 + b"".join(odd % row for row in range(3)), 2)[0]) == 4
    assert reader.cells is None
    assert len(reader.read(b"c,,120.5,30.5, 1,2,3,4,5\n", 6)[0]) == 1


def test_without_a_compiler_deliveries_are_read_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.insar.blocks._compiled", lambda: None)
    reader = BlockReader(WIDE, PROFILE)
    assert reader.read(b"a,,120.5,30.5,1,2,3,4,5\n", 2)[0].displacement_mm.T.tolist() == [[2.0, 4.0, 3.0]]


def test_where_nothing_can_be_kept_the_loop_is_compiled_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from numba.core import config

    monkeypatch.setattr(config, "CACHE_LOCATOR_CLASSES", "UserProvidedCacheLocator")
    monkeypatch.setattr(config, "CACHE_DIR", "")

    def add(one: int, other: int) -> int:
        return one + other

    assert compiled_loop(add)(2, 3) == 5

"""Reading InSAR deliveries: shapes, signs, rejects with their lines, blocks that may fall anywhere."""

from __future__ import annotations

import gzip
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import FormatError, GroundWatchError
from domain.insar import PointBlock
from ingest.insar.profile import InsarProfile, is_insar_profile, load_insar_profile, parse_insar_profile
from ingest.insar.reading import open_delivery, read_blocks, read_layout, sorted_header
from tests.insar.samples import Made, make, write_egms

EGMS = load_insar_profile("egms")
STAMPS = load_insar_profile("stamps")


def read(
    text: bytes | Path, profile: InsarProfile = EGMS, block_bytes: int = 1 << 20
) -> tuple[list[PointBlock], tuple[str, ...]]:
    file = open_delivery(text) if isinstance(text, Path) else io.BytesIO(text)
    with file:
        layout = read_layout(file, profile, "test.csv")
        return list(read_blocks(file, layout, profile, block_bytes=block_bytes)), layout.names


def joined(blocks: list[PointBlock]) -> np.ndarray:
    return np.concatenate([block.displacement_mm for block in blocks], axis=1).T


@pytest.fixture(scope="module")
def made() -> Made:
    return make(300, 20, gaps=0.05)


@pytest.fixture(scope="module")
def egms(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_egms(tmp_path_factory.mktemp("insar") / "L2b_069.csv", made)


@pytest.mark.parametrize("block_bytes", [1500, 7_001, 1 << 20])
def test_every_value_comes_in_wherever_blocks_are_cut(egms: Path, made: Made, block_bytes: int) -> None:
    blocks, _ = read(egms, block_bytes=block_bytes)
    assert (len(blocks) > 5) == (block_bytes < 1 << 20)
    np.testing.assert_array_equal(joined(blocks), made.displacement.astype(np.float32))
    assert [pid.decode() for block in blocks for pid in block.pid] == made.pid
    assert np.concatenate([block.line for block in blocks]).tolist() == list(range(2, 302))
    rate = np.concatenate([block.attributes["rate"] for block in blocks])
    np.testing.assert_allclose(rate, made.rate, atol=6e-4)
    assert not any(block.rejected for block in blocks)


def test_a_packed_file_reads_the_same(egms: Path, made: Made, tmp_path: Path) -> None:
    packed = tmp_path / "delivery.csv.gz"
    packed.write_bytes(gzip.compress(egms.read_bytes()))
    np.testing.assert_array_equal(joined(read(packed)[0]), made.displacement.astype(np.float32))


def test_a_file_that_counts_away_from_the_satellite_is_turned(made: Made, tmp_path: Path) -> None:
    path = write_egms(tmp_path / "away.csv", made, sign=-1.0)
    blocks, _ = read(path, replace(EGMS, positive="away_from_satellite"))
    np.testing.assert_array_equal(joined(blocks), made.displacement.astype(np.float32))
    np.testing.assert_allclose(blocks[0].attributes["rate"], made.rate, atol=6e-4)
    assert (blocks[0].attributes["sigma"] > 0).all()


def test_units_are_converted_with_the_rate(egms: Path, made: Made) -> None:
    blocks, _ = read(egms, replace(EGMS, unit="cm", rate_unit="cm/a"))
    np.testing.assert_allclose(joined(blocks), made.displacement * 10, rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(blocks[0].attributes["sigma"], 3.0, rtol=1e-6)


def test_cumulative_is_last_less_first_value(egms: Path, made: Made) -> None:
    block = read(egms)[0][0]
    series = made.displacement[7]
    known = series[~np.isnan(series)]
    assert block.attributes["cumulative"][7] == pytest.approx(known[-1] - known[0], abs=1e-4)


def test_bad_rows_are_rejects_with_line_and_reason(egms: Path) -> None:
    lines = egms.read_bytes().split(b"\n")
    lines[3] = lines[3].replace(b"120.", b"x120.", 1)
    lines[5] = lines[5] + b",1.0"
    lines[7] = lines[6].split(b",")[0] + b"," + lines[7].split(b",", 1)[1]
    lines[9] = b"\xff\xfe" + lines[9]
    lines[11] = lines[11].replace(b"30.", b"99.", 1)
    lines[12] = lines[12].rsplit(b",", 1)[0] + b",inf"
    lines.insert(14, b"")
    blocks, _ = read(b"\n".join(lines))
    found = {item.line: item.code for block in blocks for item in block.rejected}
    assert found == {4: "value", 6: "columns", 8: "duplicate_in_file", 10: "columns", 12: "position", 13: "value"}
    assert sum(map(len, blocks)) == 294
    assert all(item.raw == lines[item.line - 1] and item.reason for block in blocks for item in block.rejected)
    assert blocks[-1].line[-1] == 302


def test_an_identifier_of_an_earlier_block_is_recognised(egms: Path) -> None:
    lines = egms.read_bytes().split(b"\n")
    blocks, _ = read(b"\n".join([*lines[:-1], lines[1], b""]), block_bytes=4000)
    assert [(item.line, item.code) for block in blocks for item in block.rejected] == [(302, "duplicate_in_file")]


def test_epochs_out_of_order_are_sorted(made: Made, tmp_path: Path) -> None:
    turned = replace(made, epochs=made.epochs[::-1], displacement=made.displacement[:, ::-1])
    path = write_egms(tmp_path / "turned.csv", turned)
    with open_delivery(path) as file:
        layout = read_layout(file, EGMS, "turned.csv")
        blocks = list(read_blocks(file, layout, EGMS))
    assert (np.diff(sorted_header(layout).epochs) > np.timedelta64(0)).all()
    np.testing.assert_array_equal(joined(blocks), made.displacement.astype(np.float32))


def test_stamps_takes_its_epochs_from_the_second_line() -> None:
    text = b"a,b,c,d,e\n120.5,30.5,NaN,735928,735952\n120.51,30.51,-8.0,0,-0.5\n120.52,30.52,1.5,0,NaN\n"
    blocks, _ = read(text, STAMPS)
    assert blocks[0].pid.tolist() == [b"1", b"2"]
    np.testing.assert_array_equal(blocks[0].displacement_mm, np.array([[0, 0], [-0.5, np.nan]], dtype=np.float32))
    assert blocks[0].attributes["rate"].tolist() == [-8.0, 1.5]
    layout = read_layout(io.BytesIO(text), STAMPS, "x")
    assert layout.header.epochs.astype("datetime64[D]").astype(str).tolist() == ["2014-11-25", "2014-12-19"]
    assert layout.header.reference["longitude_deg"] == 120.5


@pytest.mark.parametrize(
    ("text", "profile", "match"),
    [
        (b"", EGMS, "pid|latitude|longitude"),
        (b"pid,latitude,longitude\n1,30,120\n", EGMS, "epoch"),
        (b"pid,latitude,longitude,20240101,20240101\n", EGMS, "twice"),
        (b"pid,latitude,longitude,20241301\n", EGMS, "no date"),
        (b"a,b\n1,2,3\n", STAMPS, "MATLAB"),
        (b"a,b\n1,2,NaN,5\n", STAMPS, "MATLAB"),
        (b"\xff\xfe\n", EGMS, "UTF-8"),
    ],
)
def test_what_is_no_delivery_is_refused_with_a_remedy(text: bytes, profile: InsarProfile, match: str) -> None:
    with pytest.raises(FormatError, match=match) as caught:
        read(text, profile)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"positive": None}, "positive"),
        ({"positive": "up"}, "positive"),
        ({"unit": "kg"}, "kg"),
        ({"shape": "tall"}, "shape"),
        ({"spped": 1}, "spped"),
        ({"point": {"pid": "pid"}}, "longitude"),
        ({"epochs": {"pattern": "("}}, "pattern"),
        ({"epochs": {"pattern": "^D"}}, "group"),
        ({"heading_deg": "x"}, "heading_deg"),
    ],
)
def test_a_profile_guesses_nothing(change: dict[str, object], match: str) -> None:
    sound = {"format": "insar", "shape": "wide", "positive": "toward_satellite", "point": {"longitude": "x", "latitude": "y"}}
    assert parse_insar_profile(sound, "own").name == "own"
    with pytest.raises(GroundWatchError, match=match):
        parse_insar_profile({**sound, **change}, "own")


def test_insar_profiles_are_told_from_others(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("format: insar\n", encoding="utf-8")
    assert is_insar_profile("egms")
    assert is_insar_profile(own)
    assert not is_insar_profile("usgs_rdb")
    assert not is_insar_profile(None)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=60),
            st.tuples(*[st.sampled_from([b"1", b"2.5", b"", b"NaN", b"x", b"30.5", b"inf", b"1e400", b'"', b"1_0"])] * 5).map(
                b",".join
            ),
        ),
        max_size=12,
    ),
    st.sampled_from([7, 40, 1 << 16]),
)
def test_whatever_the_rows_hold_each_is_a_point_or_a_reject(rows: list[bytes], block_bytes: int) -> None:
    profile = parse_insar_profile(
        {
            "format": "insar",
            "shape": "wide",
            "positive": "toward_satellite",
            "point": {"pid": "p", "longitude": "x", "latitude": "y"},
        },
        "own",
    )
    body = b"p,x,y,20240101,20240113\n" + b"\n".join(rows)
    blocks, _ = read(body, profile, block_bytes)
    lines = [line for line in b"\n".join(rows).split(b"\n") if line.rstrip(b"\r").strip()]
    assert sum(map(len, blocks)) + sum(len(block.rejected) for block in blocks) == len(lines)
    for block in blocks:
        assert not np.isinf(block.displacement_mm).any()
        assert np.isfinite(block.longitude_deg).all()

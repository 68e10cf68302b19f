"""Native JSON is read the fast way only where that reads the same as the language's own decoder."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import FormatError
from ingest.formats.native_json import parse_elements

KEYS = st.sampled_from(
    ["t", "t_end", "id", "station", "unit", "sigma", "quality", "depth_to_water", "water_temperature", "x:y", ":"]
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.integers(0, 2 * 10**12),
    st.floats(),
    st.text(max_size=8),
    st.just("2026-01-02T03:04:05+08:00"),
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=6)


def outcome(raw: bytes) -> Any:
    """What a payload is read as, in a form in which NaN equals NaN; None for what is refused as a whole."""
    try:
        found = parse_elements(raw, where="x")
    except FormatError:
        return None
    return (
        [tuple("nan" if isinstance(part, float) and math.isnan(part) else part for part in value) for value in found.values],
        [(item.line, item.code, item.reason) for item in found.rejected],
        found.message_id,
        found.station,
        found.units,
    )


@given(content=st.one_of(OBJECTS, st.lists(OBJECTS, max_size=4), VALUES), is_ascii=st.booleans())
def test_any_payload_means_what_the_languages_own_decoder_says(content: Any, is_ascii: bool) -> None:
    raw = json.dumps(content, ensure_ascii=is_ascii).encode("utf-8", "surrogatepass")
    # A byte order mark is nothing that the fast way reads, so this is what the language's own decoder says.
    assert outcome(raw) == outcome(b"\xef\xbb\xbf" + raw)


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused_alike(raw: bytes) -> None:
    if not raw.startswith((b"\xef\xbb\xbf", b"\x00", b"\xff", b"\xfe")) and b"\x00" not in raw[:4]:
        assert outcome(raw) == outcome(b"\xef\xbb\xbf" + raw)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32-be"])
def test_every_encoding_of_unicode_is_read(encoding: str) -> None:
    raw = '{"t": 1767225600, "id": "\u4e95", "depth_to_water": 5.25}'.encode(encoding)
    found = parse_elements(raw, where="x")
    assert (found.message_id, found.values[0].result) == ("\u4e95", 5.25)


@pytest.mark.parametrize("identity", [0, 17, 2**63, 2**64, 2**64 + 1, 10**30, -(2**63) - 1])
def test_an_identity_keeps_all_of_its_digits(identity: int) -> None:
    raw = json.dumps({"t": 1767225600, "id": identity, "depth_to_water": 1}).encode()
    assert parse_elements(raw, where="x").message_id == str(identity)


def test_an_identity_that_no_utf8_can_hold_is_echoed_as_far_as_it_can_be() -> None:
    found = parse_elements(b'{"t": 1767225600, "id": "a\\ud800b", "depth_to_water": 1}', where="x")
    assert found.message_id == "a?b"
    assert len(found.values) == 1


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_number_of_json_makes_no_payload(value: str) -> None:
    with pytest.raises(FormatError, match="not JSON"):
        parse_elements(f'{{"t": 1767225600, "depth_to_water": {value}}}'.encode(), where="x")


def test_a_number_beyond_a_double_is_refused_alone() -> None:
    found = parse_elements(b'{"t": 1767225600, "depth_to_water": 1e400, "water_temperature": 12.5}', where="x")
    assert [value.key for value in found.values] == ["water_temperature"]
    assert "no finite number" in found.rejected[0].reason

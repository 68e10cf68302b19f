"""The soak tells what is missing, altered or unasked for: a count that could not fail would prove nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from benchmarks.soak import Plan, Soak
from domain.observation import Batch, columns
from service.bootstrap import Container
from service.embedded import EmbeddedStack
from service.settings import Settings

pytestmark = pytest.mark.stack

FIRST = 1_767_225_600
Row = tuple[int, float, float | None, float]


def ledger(rows: Sequence[Row]) -> str:
    """Return what the sender notes of messages: seconds after the first, depth, sigma of the depth, temperature."""
    return "".join(
        json.dumps(
            {"station": "X00", "t": FIRST + at, "depth_to_water": {"value": depth, "sigma": sigma}, "water_temperature": warm}
        )
        + "\n"
        for at, depth, sigma, warm in rows
    )


def store(container: Container, rows: Sequence[Row]) -> None:
    for name, values, sigmas in (
        ("depth_to_water", [row[1] for row in rows], [row[2] for row in rows]),
        ("water_temperature", [row[3] for row in rows], None),
    ):
        datastream = container.registers.datastream(f"X00:{name}")
        assert datastream is not None
        times = np.array([FIRST + row[0] for row in rows], dtype="datetime64[s]").astype("datetime64[us]")
        container.observations.commit(Batch("mqtt", "test", columns(datastream.datastream_id or 0, times, values, sigma=sigmas)))


@pytest.fixture
def soak(stack: EmbeddedStack, own_database_url: str, tmp_path: Path) -> Soak:
    made = Soak(stack, own_database_url, tmp_path, Plan(messages=3, kept_messages=0))
    made.prepare()
    return made


SENT: list[Row] = [(0, 5.1, 0.01, 18.2), (1, 0.1 + 0.2, 0.02, 18.3), (2, 5.3, 0.03, 18.4)]


def outcome_of(soak: Soak, sent: Sequence[Row], stored: Sequence[Row]) -> tuple[int, int, int, int, int]:
    soak.ledger.write_text(ledger(sent), encoding="utf-8")
    with Container(Settings(soak.home, database_url=soak.url)) as container:
        store(container, stored)
    found = soak.outcome()
    assert found.is_whole == (found.sent == found.stored and not found.missing + found.unlike + found.unasked)
    return found.sent, found.stored, found.missing, found.unlike, found.unasked


def test_what_was_sent_and_stored_is_whole(soak: Soak) -> None:
    assert outcome_of(soak, SENT, SENT) == (6, 6, 0, 0, 0)
    assert soak.outcome().is_whole


def test_a_lost_message_is_missing(soak: Soak) -> None:
    assert outcome_of(soak, SENT, SENT[:2]) == (6, 4, 2, 0, 0)
    assert not soak.outcome().is_whole


def test_an_altered_value_or_sigma_is_unlike(soak: Soak) -> None:
    altered = [SENT[0], (1, 0.3, 0.02, 18.3), (2, 5.3, 0.031, 18.4)]
    assert outcome_of(soak, SENT, altered) == (6, 6, 0, 2, 0)
    assert not soak.outcome().is_whole


def test_an_observation_that_nobody_sent_is_unasked(soak: Soak) -> None:
    moved = [*SENT[:2], (3, 5.3, 0.03, 18.4)]
    assert outcome_of(soak, SENT, moved) == (6, 6, 2, 0, 2)
    assert not soak.outcome().is_whole

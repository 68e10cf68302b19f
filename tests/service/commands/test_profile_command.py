"""`profile guess` on files: tables get a proposal, a format of its own is named instead."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from service.cli import main

DATA = Path(__file__).resolve().parents[2] / "data"


def test_a_file_of_a_known_format_is_named_and_not_guessed_at(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "guess", str(DATA / "levelling" / "jiaxing_2023.csv"), "--json"]) == 2
    answer = json.loads(capsys.readouterr().out)
    assert "levelling" in answer["what"] and "--format levelling" in answer["remedy"]


def test_a_table_gets_a_proposal_with_what_a_person_fills_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "well.csv"
    table.write_text("时间,水位埋深(m)\n2026-01-01 00:00,5.12\n2026-01-01 01:00,5.13\n2026-01-01 02:00,5.15\n", encoding="utf-8")
    assert main(["profile", "guess", str(table), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert "depth_to_water" in answer["profile"] and any("zone" in blank for blank in answer["fill_in"])


def test_a_file_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "guess", str(tmp_path / "absent.csv"), "--json"]) == 2
    assert "cannot be read" in json.loads(capsys.readouterr().out)["what"]

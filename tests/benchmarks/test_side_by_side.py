"""The arithmetic of the benchmarks' reports, and the names that `make bench` takes."""

from __future__ import annotations

import sys

import pytest

from benchmarks.__main__ import main
from benchmarks.side_by_side import Comparison, compare


def test_the_ratio_is_of_speeds_and_taken_pair_by_pair() -> None:
    comparison = Comparison("reading", ours=(1.0, 2.0, 4.0), plain=(0.5, 4.0, 4.0), amount=100, unit="rows")
    assert comparison.report() == "reading: 50 rows/s, plain 25 rows/s, ratio 1.00 (0.50 to 2.00, 3 pairs)"


def test_both_ways_are_run_in_turn(capsys: pytest.CaptureFixture[str]) -> None:
    calls: list[str] = []

    def way(name: str, taken: float) -> float:
        calls.append(name)
        return taken

    result = compare("x", lambda: way("ours", 2.0), lambda: way("plain", 1.0), amount=10, unit="things", pairs=2)
    assert calls == ["ours", "plain", "ours", "plain"]
    assert (result.ours, result.plain) == ((2.0, 2.0), (1.0, 1.0))
    assert capsys.readouterr().out == "x: 5 things/s, plain 10 things/s, ratio 0.50 (0.50 to 0.50, 2 pairs)\n"


def test_an_unknown_benchmark_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nothing"]) == 2
    said = capsys.readouterr().err
    assert all(name in said for name in ("nothing", "import", "mqtt", "chart"))


def test_a_benchmark_does_not_take_the_names_for_its_own_options(monkeypatch: pytest.MonkeyPatch) -> None:
    import benchmarks.bench_analytics as analytics

    seen: list[list[str]] = []
    monkeypatch.setattr(sys, "argv", ["benchmarks", "analytics"])
    monkeypatch.setattr(analytics, "main", lambda: seen.append(list(sys.argv)))
    assert main(["analytics"]) == 0
    assert seen == [["bench_analytics"]]

"""The progress line: on a terminal only, with rate and remaining time."""

from __future__ import annotations

import io

from service.commands.progress import ProgressLine, describe


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_rate_and_remaining_time_and_is_left_clean() -> None:
    seconds = iter([0.0, 1.0, 2.0, 2.05, 3.0])
    terminal = Terminal()
    with ProgressLine("a.csv", terminal, lambda: next(seconds)) as line:
        line("reading", 0, 200_000_000)
        line("reading", 100_000_000, 200_000_000)
        line("storing", 0, 4)
        line("storing", 1, 4)
        line("storing", 2, 4)
    shown = terminal.getvalue().split("\r")
    assert "100 MB/s, 0:01 left" in shown[1]
    assert "50 %" in shown[-3]
    assert "2 rows/s, 0:01 left" in shown[-3]
    assert shown[-2].strip() == shown[-1] == ""


def test_nothing_is_written_where_nobody_looks() -> None:
    pipe = io.StringIO()
    with ProgressLine("a.csv", pipe) as line:
        line("storing", 3, 4)
    assert pipe.getvalue() == ""
    assert line.stored == 3


def test_an_unknown_rest_is_not_guessed() -> None:
    assert "left" not in describe("a.csv", "reading", 0, 10, 3.0)

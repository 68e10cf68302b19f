"""How far a long import is: one line on a terminal's stderr, rewritten in place; nothing where stderr is no terminal.

This file finishes with `ProgressLine`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import TextIO

_EVERY_S = 0.2
_WIDTH = 30
_UNITS = {"reading": ("MB/s", 1e-6), "storing": ("rows/s", 1.0)}


class ProgressLine:
    """A bar with rate and remaining time for each stage of an import.

    Parameters
    ----------
    name
        What is imported.
    stream
        Where the line goes.
    monotonic
        Seconds that never run backwards.
    """

    def __init__(self, name: str, stream: TextIO, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._name, self._stream, self._monotonic = name, stream, monotonic
        self._is_shown = stream.isatty()
        self._stage, self._since, self._last = "", 0.0, 0.0
        self._written = 0
        self.stored = 0

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._write("")

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Show that `done` of `total` are done; called as often as one likes."""
        now = self._monotonic()
        if stage == "storing":
            self.stored = done
        if stage != self._stage:
            self._stage, self._since, self._last = stage, now, 0.0
        if self._is_shown and (now - self._last >= _EVERY_S or done == total):
            self._last = now
            self._write(describe(self._name, stage, done, total, now - self._since))

    def _write(self, text: str) -> None:
        if self._is_shown and (text or self._written):
            self._stream.write("\r" + text.ljust(self._written) + ("" if text else "\r"))
            self._stream.flush()
            self._written = len(text)


def describe(name: str, stage: str, done: int, total: int, elapsed_s: float) -> str:
    """Return the line: name, bar, share, rate and remaining time (unknown until something is done).

    Examples
    --------
    >>> describe("a.csv", "storing", 250_000, 1_000_000, 1.0)
    'a.csv storing [#######.......................]  25 % 250,000 rows/s, 0:03 left'
    """
    share = done / total if total else 1.0
    bar = "#" * int(share * _WIDTH)
    unit, factor = _UNITS.get(stage, ("/s", 1.0))
    text = f"{name} {stage} [{bar:.<{_WIDTH}}] {share:4.0%}".replace("%", " %")
    if not done or elapsed_s <= 0:
        return text
    left_s = round(elapsed_s * (total - done) / done)
    return f"{text} {done / elapsed_s * factor:,.0f} {unit}, {left_s // 60}:{left_s % 60:02d} left"

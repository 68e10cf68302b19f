"""A text that was broken off while it was sent: its last line has no end and is too short, and a value in it may have lost digits.

Whether a line that no line end follows is whole, nobody can tell by itself; many loggers write none. But one that is shorter than every line
before it, in a table of some rows, is more likely cut than not. This file finishes with `TextEnd`.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

from ingest.formats.decoding import GZIP_MAGIC

_TAIL_BYTES = 64 * 1024
_LINE_END = re.compile(rb"\r\n|\n|\r")
_COMPARED = 20
_FEWEST = 3
_NO_LINES = (GZIP_MAGIC, b"PK", codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
"""What is packed has an end of its own."""


def broken_line(text: bytes) -> int | None:
    r"""Return the number of the last line where it seems to be cut off; None where the text ends as it should, or nobody can tell.

    Examples
    --------
    >>> broken_line(b"t;v\n1;5.25\n2;5.26\n3;5.27\n4;5.")
    5
    >>> broken_line(b"t;v\n1;5.25\n2;5.26\n3;5.27\n4;5.28") is None
    True
    """
    end = TextEnd()
    end.feed(text)
    return end.broken_line()


def told_of(line: int) -> str:
    """Return what a report says of a file that seems to be broken off."""
    return f"the file ends within line {line}; what it says is suspect until the file comes whole"


@dataclass(slots=True)
class TextEnd:
    """The last lines of a text that is fed part by part, and how many stand above them."""

    _above: int = 0
    _tail: bytes = b""
    _has_lines: bool | None = None

    def feed(self, part: bytes) -> None:
        """Take the next bytes."""
        if self._has_lines is None and part:
            self._has_lines = not part.startswith(_NO_LINES)
        if not self._has_lines:
            return
        joined = self._tail + part
        cut = joined.rfind(b"\n", 0, max(0, len(joined) - _TAIL_BYTES)) + 1
        if len(joined) - cut > len(part) + 2 * _TAIL_BYTES:  # lines as long as that are no rows of a table
            self._has_lines = False
        self._above += joined.count(b"\n", 0, cut)
        self._tail = joined[cut:]

    def broken_line(self) -> int | None:
        """Return the number of the last line where it seems to be cut off, else None."""
        if not self._has_lines or self._tail.endswith((b"\n", b"\r")):
            return None
        *lines, last = _LINE_END.split(self._tail)
        rows = lines if self._above else lines[1:]
        compared = [len(line) for line in rows[-_COMPARED:] if line]
        is_broken = len(compared) >= _FEWEST and 0 < len(last) < min(compared)
        return self._above + len(lines) + 1 if is_broken else None

"""Bytes to text: gzip, byte order marks, UTF-8 and GB18030, and lines with their numbers.

GB18030 (GB 18030-2022) is a superset of GBK and GB2312, so one decoder serves every Chinese file that is not UTF-8. This file
finishes with `number_columns`.
"""

from __future__ import annotations

import codecs
import re
import zlib
from collections.abc import Collection, Iterator
from functools import lru_cache
from typing import Protocol

import numpy as np
import numpy.typing as npt

from domain.errors import FormatError
from domain.observation import FloatArray

GZIP_MAGIC = b"\x1f\x8b"
MAX_UNPACKED_BYTES = 4 * 1024**3
MAX_LINE_BYTES = 64 * 1024**2
_BLOCK = 1 << 20
_PLAIN_COLUMN = re.compile(r"[0-9eE+\-.\n]*")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


def unpack(raw: bytes, *, where: str | None = None) -> bytes:
    """Return the bytes inside a gzip member (or several), or the bytes themselves when they are not gzip.

    Raises
    ------
    FormatError
        When the gzip stream is damaged, or unpacks to more than `MAX_UNPACKED_BYTES`.
    """
    if not raw.startswith(GZIP_MAGIC):
        return raw
    parts: list[bytes] = []
    size, rest = 0, raw
    while rest:
        stream = zlib.decompressobj(wbits=31)
        try:
            part = stream.decompress(rest, MAX_UNPACKED_BYTES - size + 1)
        except zlib.error as fault:
            raise FormatError(f"the gzip stream is damaged ({fault}).", where=where, remedy="send the file again") from fault
        size += len(part)
        if size > MAX_UNPACKED_BYTES:
            raise FormatError("the file unpacks to more than 4 GiB.", where=where, remedy="split it")
        if not stream.eof:
            raise FormatError("the gzip stream ends too early.", where=where, remedy="send the file again")
        parts.append(part)
        rest = stream.unused_data.lstrip(b"\0")
    return b"".join(parts)


def detect_encoding(raw: bytes, *, where: str | None = None) -> str:
    """Return `utf-8-sig`, `utf-16` (with a byte order mark) or `gb18030`, whichever decodes every byte, in that order."""
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    for name in ("utf-8", "gb18030"):
        if _decodes(raw, name):
            return "utf-8-sig" if name == "utf-8" else name
    raise FormatError(
        "the text is neither UTF-8 nor GB18030.", where=where, remedy="save it as UTF-8, or state encoding: in a profile"
    )


def _decodes(raw: bytes, name: str) -> bool:
    decoder = codecs.getincrementaldecoder(name)("strict")
    try:
        for start in range(0, len(raw), _BLOCK):
            decoder.decode(raw[start : start + _BLOCK])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def decode(raw: bytes, encoding: str | None = None, *, where: str | None = None) -> str:
    """Return the text, with its encoding detected unless stated."""
    name = encoding or detect_encoding(raw, where=where)
    try:
        return raw.decode(name)
    except (UnicodeDecodeError, LookupError) as fault:
        raise FormatError(f"the text is not {name}.", where=where, remedy="state the right encoding: in the profile") from fault


def head(raw: bytes, size: int = 8192) -> str:
    """Return the beginning as text for sniffing; bytes that do not decode are replaced."""
    part = raw[:size]
    if part.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return part.decode("utf-16", errors="replace")
    text = part.decode("utf-8-sig", errors="replace")
    # A character cut at the end of the window is no evidence against UTF-8.
    return text if "\ufffd" not in text[:-4] else part.decode("gb18030", errors="replace")


class ByteSource(Protocol):
    """Where bytes are read from, beginning to end: a file, a gzip stream, a buffer."""

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes, none at the end; all that is left without a size."""


def text_blocks(source: ByteSource, encoding: str, block_bytes: int) -> Iterator[tuple[int, bytes]]:
    """Yield `(number of the first line, whole lines)` as UTF-8 with LF at line ends, in blocks of about `block_bytes`.

    Raises
    ------
    UnicodeDecodeError
        When the bytes are not in the encoding. Any but UTF-16 may be cut at its line feeds.
    """
    number = 1
    for block in _raw_blocks(source, None if encoding == "utf-16" else block_bytes):
        name = encoding if number == 1 else _plain(encoding)
        text = block if block.isascii() else block.decode(name).encode()
        if b"\r" in text:
            text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        yield number, text
        number += text.count(b"\n")


def _raw_blocks(source: ByteSource, block_bytes: int | None) -> Iterator[bytes]:
    if block_bytes is None:
        yield source.read()
        return
    rest: list[bytes] = []
    is_empty = True
    while part := source.read(block_bytes):
        is_empty = False
        cut = part.rfind(b"\n") + 1
        if cut == 0:
            rest.append(part)
            if sum(map(len, rest)) > MAX_LINE_BYTES:
                raise FormatError("a line is longer than 64 MiB.", remedy="check that this is a text file with line ends")
            continue
        yield b"".join((*rest, part[:cut]))
        rest = [part[cut:]]
    last = b"".join(rest)
    if last or is_empty:
        yield last


def _plain(encoding: str) -> str:
    return "utf-8" if encoding == "utf-8-sig" else encoding


def split_lines(text: str) -> list[str]:
    """Split at LF, CR LF or lone CR only (`str.splitlines` also splits at form feeds and U+2028)."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    lines = text.split("\n")
    if lines and lines[-1] == "":
        lines.pop()
    return lines


def raw_line(raw: bytes, line: int) -> bytes:
    """Return the bytes of one line (from 1), counted as `split_lines` does, without its end; empty when there is no such line."""
    rows = raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n", line) if line > 0 else []
    return rows[line - 1] if 0 < line <= len(rows) else b""


def is_number(text: str) -> bool:
    """Is this a plain decimal number (no NaN, no infinity, no digit grouping)?"""
    return _NUMBER.fullmatch(text.strip()) is not None


def number_columns(
    texts: npt.NDArray[np.object_],
    *,
    decimal: str = ".",
    thousands: str = "",
    missing: Collection[str] = (),
) -> tuple[FloatArray, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Convert a column of text to numbers, each correctly rounded to binary64.

    Parameters
    ----------
    texts : object (n,)
        Cells as text.
    decimal, thousands
        Decimal mark and digit grouping of the source.
    missing
        Texts that stand for a missing value; compared stripped and whatever their case.

    Returns
    -------
    values : float64 (n,)
        NaN where missing, empty or not a number.
    is_missing, is_bad : bool (n,)
        Cells that hold a missing marker, and non-empty cells that are no number. Empty cells are neither.
    """
    import pandas as pd

    if decimal == "." and not thousands and (plain := _plain_numbers(texts, missing)) is not None:
        nowhere = np.zeros(len(texts), dtype=bool)
        return plain, nowhere, nowhere.copy()
    cells = pd.Series(texts, dtype=object).astype(str).str.strip()
    is_missing = (
        cells.str.casefold().isin({marker.strip().casefold() for marker in missing if marker.strip()}).to_numpy(dtype=bool)
    )
    is_empty = (cells == "").to_numpy(dtype=bool)
    numeric = cells.str.fullmatch(_pattern(decimal, thousands)).to_numpy(dtype=bool) & ~is_missing
    if thousands:
        cells = cells.str.replace(thousands, "", regex=False)
    if decimal != ".":
        cells = cells.str.replace(decimal, ".", regex=False)
    values = np.full(len(cells), np.nan)
    values[numeric] = cells.to_numpy(dtype=object)[numeric].astype(np.float64)
    overflow = numeric & ~np.isfinite(values)
    values[overflow] = np.nan
    return values, is_missing, (~numeric & ~is_missing & ~is_empty) | overflow


@lru_cache
def _pattern(decimal: str, thousands: str) -> str:
    """Return the pattern of numbers with a decimal mark and digit grouping: groups are of three digits, so 1.5 is no 15 and no 1500."""
    mark, whole = re.escape(decimal), r"\d+"
    if thousands:
        whole = rf"(\d+|\d{{1,3}}({re.escape(thousands)}\d{{3}})+)"
    return rf"[+-]?({whole}({mark}\d*)?|{mark}\d+)([eE][+-]?\d+)?"


def _plain_numbers(texts: npt.NDArray[np.object_], missing: Collection[str]) -> FloatArray | None:
    """Convert a column in which every cell is a plain number and none a missing marker; None where a cell needs a closer look."""
    cells = texts.tolist()
    if not _PLAIN_COLUMN.fullmatch("\n".join(cells)) or not {marker.strip() for marker in missing}.isdisjoint(cells):
        return None
    try:
        values = texts.astype(np.float64)
    except ValueError:
        return None
    return values if bool(np.isfinite(values).all()) else None

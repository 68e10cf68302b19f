"""A file on disk that is read from beginning to end and never held: its digest, its encoding, and whether it changed meanwhile.

This file finishes with `look_at`.
"""

from __future__ import annotations

import codecs
import gzip
import hashlib
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from domain.errors import FormatError, InputError
from ingest.formats.broken_off import TextEnd
from ingest.formats.decoding import GZIP_MAGIC, ByteSource

LARGE_BYTES = 16 * 1024 * 1024
LARGE_GZIP_BYTES = 2 * 1024 * 1024
HEAD_BYTES = 1024 * 1024
CHUNK_BYTES = 1 << 20

Watch = Callable[[str, int, int], None]
"""Told about progress: what is done (`reading`: bytes, `storing`: rows), how much of it, and of how much."""


@dataclass(frozen=True, slots=True)
class LargeFile:
    """A file on disk and what a first look at all of it told: digest, size, its beginning, unpacked, and the line it ends within."""

    path: Path
    filename: str
    sha256: str
    size: int
    head: bytes
    encoding: str | None
    broken_line: int | None = None

    @contextmanager
    def opened(self, watch: Watch | None = None) -> Iterator[ByteSource]:
        """Lend the unpacked content; at the end of the block it must have been the same file that was looked at.

        Raises
        ------
        InputError
            The file has changed.
        FormatError
            The gzip stream is damaged.
        """
        with self.path.open("rb") as stream:
            hashed = _Hashed(stream, lambda done: watch("reading", done, self.size) if watch else None)
            try:
                yield gzip.GzipFile(fileobj=hashed, mode="rb") if _is_gzip(self.path) else hashed  # type: ignore[call-overload]
            except (gzip.BadGzipFile, EOFError, zlib.error) as fault:
                raise FormatError(
                    f"the gzip stream is damaged ({fault}).", where=self.filename, remedy="send the file again"
                ) from fault
            while hashed.read(CHUNK_BYTES):
                pass
            if hashed.digest() != self.sha256:
                raise _changed(self.filename)


class _Hashed:
    """A file that digests what is read of it."""

    def __init__(self, stream: BinaryIO, told: Callable[[int], None]) -> None:
        self._stream, self._told, self._hash, self._done = stream, told, hashlib.sha256(), 0

    def read(self, size: int = -1, /) -> bytes:
        part = self._stream.read(size)
        self._hash.update(part)
        self._done += len(part)
        self._told(self._done)
        return part

    def digest(self) -> str:
        return self._hash.hexdigest()


def is_large(path: Path) -> bool:
    """Is the file too long to be held in memory?"""
    return path.stat().st_size > (LARGE_GZIP_BYTES if _is_gzip(path) else LARGE_BYTES)


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(len(GZIP_MAGIC)) == GZIP_MAGIC


def look_at(path: Path, filename: str) -> LargeFile:
    """Read a file once, for its digest and its encoding.

    Raises
    ------
    FormatError
        The gzip stream is damaged.
    """
    digest, size = hashlib.sha256(), 0
    encodings, end = _Encodings(), TextEnd()
    unpacking = zlib.decompressobj(wbits=31) if _is_gzip(path) else None
    head = b""
    try:
        with path.open("rb") as stream:
            while part := stream.read(CHUNK_BYTES):
                digest.update(part)
                size += len(part)
                end.feed(part)
                for text in (part,) if unpacking is None else _unpacked(unpacking, part):
                    head += text[: HEAD_BYTES - len(head)]
                    encodings.feed(text)
    except zlib.error as fault:
        raise FormatError(f"the gzip stream is damaged ({fault}).", where=filename, remedy="send the file again") from fault
    return LargeFile(path, filename, digest.hexdigest(), size, head, encodings.found(), end.broken_line())


def _unpacked(unpacking: Any, part: bytes) -> Iterator[bytes]:
    """Yield what a part of the first gzip member unpacks to, a bounded piece at a time."""
    while part and not unpacking.eof:
        yield unpacking.decompress(part, 16 * CHUNK_BYTES)
        part = unpacking.unconsumed_tail


class _Encodings:
    """Which of UTF-8 and GB18030 decodes all that was fed."""

    def __init__(self) -> None:
        self._open = {name: codecs.getincrementaldecoder(name)("strict") for name in ("utf-8", "gb18030")}
        self._is_utf_16: bool | None = None

    def feed(self, part: bytes) -> None:
        if self._is_utf_16 is None and part:
            self._is_utf_16 = part.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        is_plain = part.isascii()
        for name, decoder in list(self._open.items()):
            if is_plain and not decoder.getstate()[0]:
                continue
            try:
                decoder.decode(part)
            except UnicodeDecodeError:
                del self._open[name]

    def found(self) -> str | None:
        if self._is_utf_16:
            return "utf-16"
        for name, decoder in self._open.items():
            try:
                decoder.decode(b"", final=True)
            except UnicodeDecodeError:
                continue
            return "utf-8-sig" if name == "utf-8" else name
        return None


def _changed(filename: str) -> InputError:
    """Return what is said of a file that somebody wrote to between two looks."""
    return InputError("the file changed while it was read.", where=filename, remedy="import it again when nobody writes to it")

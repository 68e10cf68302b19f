"""Raw files once, compressed and content-addressed: `<home>/ab/cd/<sha256>.gz`, or `.zst` for files too large for memory.

This file finishes with `FileStore`.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from domain.errors import ConflictError, NotFoundError
from domain.observation import KeptFile

_SHA256 = re.compile(r"[0-9a-f]{64}")
_SCHEME = "sha256:"
_GROWING = ".growing-"
_PART_BYTES = 256 * 1024
"""A part stays in the processor's cache while it is read, digested and packed."""
_WRITTEN_AT_ONCE = 8 * 1024 * 1024
_ZSTD = {"compression_level": 1, "window_log": 17, "hash_log": 10, "min_match": 7}
_CLOSE, _WIDE = 0, 1 << 17
"""How many places are passed over while nothing matches (zstd's `target_length`)."""
_WORTH = 0.75
"""Matches are looked for closely where that makes this of the size; columns of numbers hardly repeat anything."""
_LITERAL_MODE, _HUFFMAN = 1002, 1
"""ZSTD_c_literalCompressionMode: what matches nothing is packed by the frequency of its bytes, which zstd leaves out where it passes over."""


class FileStore:
    """Implements `domain.ports.RawFiles` below a folder. A location (`sha256:<hex>`) does not name the folder, so it can be moved."""

    def __init__(self, home: Path | str) -> None:
        self._home = Path(home)

    def keep(self, body: bytes, sha256: str) -> str:
        """Store the bytes if they are new and return their location; they are on the disk when this returns.

        Raises
        ------
        ConflictError
            The bytes do not have that digest.
        """
        if hashlib.sha256(body).hexdigest() != sha256:
            raise ConflictError(f"the bytes do not have the digest {sha256}.")
        path = self._path(sha256)
        if not path.exists() and not path.with_suffix(".zst").exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            _write_whole(path, gzip.compress(body, compresslevel=6, mtime=0))
        return f"{_SCHEME}{sha256}"

    def keep_file(self, path: Path, sha256: str) -> str:
        """Store a file of any size if it is new, a part at a time, and return its location; it is on the disk when this returns.

        Raises
        ------
        ConflictError
            The file does not have that digest (any more).
        """
        packed = self._path(sha256).with_suffix(".zst")
        if not packed.exists() and not self._path(sha256).exists():
            packed.parent.mkdir(parents=True, exist_ok=True)
            _write_packed(packed, path, sha256)
        return f"{_SCHEME}{sha256}"

    def keep_new(self, path: Path) -> KeptFile:
        """Store a file whose digest is not known yet, in one reading; it is on the disk when this returns.

        Returns
        -------
        KeptFile
            Digest and size of the bytes that were read and are now kept.
        """
        self._home.mkdir(parents=True, exist_ok=True)
        self._sweep()
        with _growing(self._home) as grown, path.open("rb") as reader:
            sha256, size = _pack(reader, grown.file)
            target = self._path(sha256).with_suffix(".zst")
            if not target.exists() and not self._path(sha256).exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                grown.becomes(target)
        return KeptFile(sha256, size, f"{_SCHEME}{sha256}")

    def _sweep(self) -> None:
        """Remove what packers that were killed left behind: nobody holds its lock any more."""
        for left in self._home.glob(f"{_GROWING}*"):
            try:
                with left.open("rb") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    left.unlink()
            except OSError:
                continue  # another process packs, or has just finished or swept

    def read(self, location: str) -> bytes:
        """Return the bytes stored at a location.

        Raises
        ------
        NotFoundError
            Nothing is stored there.
        ConflictError
            What is stored there is damaged.
        """
        sha256 = location.removeprefix(_SCHEME)
        if not _SHA256.fullmatch(sha256):
            raise NotFoundError(f"{location!r} is not a location of raw files.")
        path = self._path(sha256)
        if not path.exists() and path.with_suffix(".zst").exists():
            path = path.with_suffix(".zst")
        try:
            packed = path.read_bytes()
        except FileNotFoundError:
            raise NotFoundError(
                f"the raw file {sha256} is not there.", where=str(path), remedy="restore it from a backup"
            ) from None
        try:
            body = _unpacked_zstd(packed) if path.suffix == ".zst" else gzip.decompress(packed)
        except (OSError, EOFError) as error:
            raise _damaged(path) from error
        if hashlib.sha256(body).hexdigest() != sha256:
            raise _damaged(path)
        return body

    def _path(self, sha256: str) -> Path:
        return self._home / sha256[:2] / sha256[2:4] / f"{sha256}.gz"


def _damaged(path: Path) -> ConflictError:
    return ConflictError("a raw file is damaged.", where=str(path), remedy="restore it from a backup")


def _unpacked_zstd(packed: bytes) -> bytes:
    import pyarrow as pa

    with pa.CompressedInputStream(pa.BufferReader(packed), "zstd") as stream:
        return bytes(stream.read())


def _write_packed(path: Path, source: Path, sha256: str) -> None:
    """Compress a file part by part; what was read must have the digest that it was announced with."""
    with _growing(path.parent) as grown, source.open("rb") as reader:
        if _pack(reader, grown.file)[0] != sha256:
            raise ConflictError(
                f"the file does not have the digest {sha256}.", where=str(source), remedy="import it again once it rests"
            )
        grown.becomes(path)


def _pack(reader: IO[bytes], target: IO[bytes]) -> tuple[str, int]:
    """Compress all that is read, one frame a part; return its digest and its size."""
    compress: Callable[[memoryview], bytes] | None = None
    digest, size, unwritten = hashlib.sha256(), 0, 0
    buffer = memoryview(bytearray(_PART_BYTES))  # one for all parts: fresh memory costs as much as reading into it
    while count := reader.readinto(buffer):  # type: ignore[attr-defined]
        part = buffer[:count]
        digest.update(part)
        size += count
        compress = compress or _compressor_for(part)
        unwritten += target.write(compress(part))
        if unwritten >= _WRITTEN_AT_ONCE:
            target.flush()
            # What nobody needs in memory goes to the disk now, and not all of it at the end, when whoever else writes would wait.
            os.posix_fadvise(target.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            unwritten = 0
    return digest.hexdigest(), size


def _compressor_for(first: memoryview) -> Callable[[memoryview], bytes]:
    """Return what makes a frame of a part of a file that begins so. Where Python has no zstd, pyarrow does it, which offers no choice."""
    try:
        zstd: Any = import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
    except ImportError:
        import pyarrow as pa

        codec = pa.Codec("zstd")
        return lambda part: bytes(codec.compress(part, asbytes=True))
    closely, widely = (_zstd(zstd, passed_over) for passed_over in (_CLOSE, _WIDE))
    return closely if len(closely(first)) < _WORTH * len(widely(first)) else widely


def _zstd(zstd: Any, passed_over: int) -> Callable[[memoryview], bytes]:
    options = {getattr(zstd.CompressionParameter, name): value for name, value in {**_ZSTD, "target_length": passed_over}.items()}
    options |= {zstd.CompressionParameter.strategy: zstd.Strategy.fast, _LITERAL_MODE: _HUFFMAN}
    packer = zstd.ZstdCompressor(options=options)
    return lambda part: bytes(packer.compress(part, packer.FLUSH_FRAME))


def _write_whole(path: Path, content: bytes) -> None:
    """Write all of a file."""
    with _growing(path.parent) as grown:
        grown.file.write(content)
        grown.becomes(path)


class _Grown:
    """A file that has no name of its own yet."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self.file, self._path = file, path

    def becomes(self, target: Path) -> None:
        """Give the file its name once it is on the disk, so that it is there whole or not at all, also after a power cut."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self._path.replace(target)
        directory = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


@contextmanager
def _growing(folder: Path) -> Iterator[_Grown]:
    """Lend a file to write; it is locked as long as it grows, and gone afterwards unless it became something."""
    file, path = _locked(folder)
    try:
        with file:
            yield _Grown(file, path)
    finally:
        path.unlink(missing_ok=True)


def _locked(folder: Path) -> tuple[IO[bytes], Path]:
    """Make a file and lock it; anew where another process swept it away before it was locked."""
    while True:
        descriptor, name = tempfile.mkstemp(dir=folder, prefix=_GROWING)
        file = os.fdopen(descriptor, "wb")
        fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return file, Path(name)
        file.close()

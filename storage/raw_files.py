"""Raw files once, compressed and content-addressed: `<home>/ab/cd/<sha256>.gz`, or `.zst` for files too large for memory.

This file finishes with `FileStore`.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

from domain.errors import ConflictError, NotFoundError

_SHA256 = re.compile(r"[0-9a-f]{64}")
_SCHEME = "sha256:"
_PART_BYTES = 4 * 1024 * 1024


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
    import pyarrow as pa

    def write(file: IO[bytes]) -> None:
        digest = hashlib.sha256()
        twin = os.fdopen(os.dup(file.fileno()), "wb")  # the stream closes what it is given, and we have to flush it to the disk
        with source.open("rb") as reader, pa.CompressedOutputStream(pa.PythonFile(twin, "w"), "zstd") as writer:
            while part := reader.read(_PART_BYTES):
                digest.update(part)
                writer.write(part)
        if digest.hexdigest() != sha256:
            raise ConflictError(
                f"the file does not have the digest {sha256}.", where=str(source), remedy="import it again once it rests"
            )

    _write_beside(path, write)


def _write_whole(path: Path, content: bytes) -> None:
    """Write all of a file."""
    _write_beside(path, lambda file: file.write(content))


def _write_beside(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write beside and rename, so that a file is there whole or not at all, also after a power cut."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".growing-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)

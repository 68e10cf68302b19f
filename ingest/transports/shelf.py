"""Where files that were read are put: under names that are free and fit, each with its report beside it.

This file finishes with `write_durably`.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

_REPORT = ".report.json"
_LONGEST_NAME_BYTES = 255 - len(f".{_REPORT}.writing")
_LONGEST_SUFFIX_BYTES = 32

Identity = tuple[int, int, int]
"""Inode, size and time of the last change."""


def identity(path: Path) -> Identity:
    """Return what tells a file from another one, and from itself before somebody wrote to it."""
    state = path.stat()
    return state.st_ino, state.st_size, state.st_mtime_ns


def sha256(path: Path) -> str:
    """Return the digest of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def report_of(path: Path) -> Path:
    """Return where the report of a file lies."""
    return path.with_name(path.name + _REPORT)


def free_name(path: Path) -> Path:
    """Return the path, with a number where it is taken, and with a shorter name where report and number would not fit behind it."""
    suffix = path.suffix if len(os.fsencode(path.suffix)) <= _LONGEST_SUFFIX_BYTES else ""
    stem = path.name.removesuffix(suffix)
    candidate, number = path.with_name(fitting(stem, suffix)), 1
    while candidate.exists() or report_of(candidate).exists():
        candidate, number = path.with_name(fitting(stem, f".{number}{suffix}")), number + 1
    return candidate


def fitting(stem: str, end: str) -> str:
    """Return a name of which the file system can hold the report's name too: the beginning of the stem, and the end."""
    return os.fsencode(stem)[: _LONGEST_NAME_BYTES - len(os.fsencode(end))].decode("utf-8", "ignore") + end


def write_durably(path: Path, text: str) -> None:
    """Write a text under its name when it is on the disk, and not before."""
    temporary = path.with_name(f".{path.name}.writing")
    with temporary.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)

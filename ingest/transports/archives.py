"""Files as gateways wrap and name them: zip archives of several members, names in other encodings, whole lines of a growing file.

This file finishes with `whole_lines`.
"""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

from ingest.formats.decoding import GZIP_MAGIC, MAX_UNPACKED_BYTES

_UTF8_NAME = 0x800
_BLOCK = 1 << 20
_NAME_BYTES = 200


class TooLargeError(Exception):
    """A member unpacks to more than a file may hold."""


def is_archive(path: Path) -> bool:
    """Is it a zip archive of files? A workbook is one too, but is not called so."""
    return path.suffix.lower() == ".zip"


def members(archive: zipfile.ZipFile, folder: Path) -> Iterator[Path]:
    """Unpack the members one after the other, each under its own name, wherever in the archive it says it belongs.

    Raises
    ------
    TooLargeError
        A member is larger than `MAX_UNPACKED_BYTES`, whatever its directory says.
    """
    for number, member in enumerate(archive.infolist(), start=1):
        name = Path(_member_name(member).replace("\\", "/").rstrip("/")).name
        if member.is_dir() or name.startswith("."):
            continue
        unpacked = folder / (_end(name.replace("\0", "")) or f"member-{number}")
        with archive.open(member) as source, unpacked.open("wb") as target:
            for written in iter(lambda: source.read(_BLOCK), b""):
                target.write(written)
                if target.tell() > MAX_UNPACKED_BYTES:
                    raise TooLargeError(f"{name} unpacks to more than {MAX_UNPACKED_BYTES} bytes")
        yield unpacked
        unpacked.unlink()


def _end(name: str) -> str:
    """Return the end of a name, short enough for any file system."""
    return name.encode("utf-8", "replace")[-_NAME_BYTES:].decode("utf-8", "ignore")


def _member_name(member: zipfile.ZipInfo) -> str:
    """Return a member's name; without the mark of UTF-8 it is in the code page of who wrote it, here mostly GBK."""
    if member.flag_bits & _UTF8_NAME:
        return member.filename
    try:
        return readable(member.filename.encode("cp437"))
    except UnicodeEncodeError:
        return member.filename


def readable(name: bytes) -> str:
    r"""Return a file's name as text: UTF-8, else GB18030, else with its odd bytes written out.

    Examples
    --------
    >>> readable("一号井.csv".encode("gbk")), readable(b"a\xff.csv")
    ('一号井.csv', 'a\\xff.csv')
    """
    for encoding in ("utf-8", "gb18030"):
        try:
            return name.decode(encoding)
        except UnicodeDecodeError:
            continue
    return name.decode("ascii", "backslashreplace")


def ends_in_the_middle(path: Path) -> bool:
    """Does a text end without the end of a line, or an archive without its directory? Then somebody may still be writing."""
    if path.suffix.lower() in {".zip", ".xlsx"}:
        return not zipfile.is_zipfile(path)
    with path.open("rb") as stream:
        beginning = stream.read(2)
        stream.seek(0, os.SEEK_END)
        stream.seek(max(0, stream.tell() - 1))
        return beginning != GZIP_MAGIC and stream.read(1) not in b"\n\r}]>"


def whole_lines(path: Path, folder: Path) -> Path | None:
    """Copy what a growing text holds up to the end of its last whole line; None where it is no text of lines."""
    copy = folder / path.name
    with path.open("rb") as source, copy.open("w+b") as target:
        if is_archive(path) or path.suffix.lower() == ".xlsx" or source.read(2) == GZIP_MAGIC:
            return None
        source.seek(0)
        shutil.copyfileobj(source, target, _BLOCK)
        position = target.tell()
        while position > 0:
            begin = max(0, position - _BLOCK)
            target.seek(begin)
            found = target.read(position - begin).rfind(b"\n")
            if found >= 0:
                target.truncate(begin + found + 1)
                return copy
            position = begin
    return None

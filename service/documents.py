"""Which documents a case takes: those that people read, by their name and by how their bytes begin. This file finishes with `check_document`."""

from __future__ import annotations

from collections.abc import Mapping

from domain.errors import InputError

BEGINNINGS: Mapping[str, tuple[bytes, ...]] = {
    "pdf": (b"%PDF-",),
    "jpg": (b"\xff\xd8",),
    "jpeg": (b"\xff\xd8",),
    "png": (b"\x89PNG\r\n\x1a\n",),
    "webp": (b"RIFF",),
    "tif": (b"II*\x00", b"MM\x00*"),
    "tiff": (b"II*\x00", b"MM\x00*"),
    "docx": (b"PK",),
    "xlsx": (b"PK",),
    "pptx": (b"PK",),
    "odt": (b"PK",),
    "ods": (b"PK",),
    "zip": (b"PK",),
    "doc": (b"\xd0\xcf\x11\xe0",),
    "xls": (b"\xd0\xcf\x11\xe0",),
    "mp4": (),
    "txt": (),
    "csv": (),
    "json": (),
    "geojson": (),
    "kml": (),
    "dxf": (),
}
"""By the ending of the name; an empty tuple = no fixed beginning."""

PROGRAMS = (b"MZ", b"\x7fELF", b"#!", b"\xca\xfe\xba\xbe")


def check_document(filename: str, body: bytes) -> None:
    """Refuse what is no document: an unknown ending, a content of another kind, a program under another name.

    Raises
    ------
    InputError
        Naming what is accepted.
    """
    ending = filename.rpartition(".")[2].lower() if "." in filename else ""
    known = BEGINNINGS.get(ending)
    if known is None:
        raise InputError(
            f"documents of the kind {ending or filename!r} are not kept.",
            where="filename",
            remedy=f"send {', '.join(sorted(BEGINNINGS))}",
        )
    if body.startswith(PROGRAMS) or (known and not body.startswith(known)):
        raise InputError(
            f"the document is no {ending}.", where="body", remedy="send the file as it is, under a name with its own ending"
        )

"""What a format is: a name, a guess whether bytes are of its kind, and a parser that needs nothing but the bytes.

This file finishes with `Format`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from domain.errors import FormatError
from domain.observation import ParsedPayload
from ingest.formats.decoding import ByteSource
from ingest.profile import Profile


@dataclass(frozen=True, slots=True)
class ImportContext:
    """What the person or the transport says about a payload beside its bytes; None means that nothing was said.

    Attributes
    ----------
    filename
        Name of the file or topic, for messages and for stations named after files.
    station, unit, datum, zone, frame
        Flags of the import. A station replaces the one in the file; unit and datum fill what file and profile leave open and must not
        contradict them; a zone replaces the profile's and never an offset written in the file.
    """

    filename: str
    station: str | None = None
    unit: str | None = None
    datum: str | None = None
    zone: str | None = None
    frame: str | None = None

    @property
    def stem(self) -> str:
        """The file's name without folders, `.gz` and its last suffix."""
        name = self.filename.replace("\\", "/").rsplit("/", 1)[-1]
        if name.lower().endswith(".gz"):
            name = name[:-3]
        return name.rsplit(".", 1)[0] if "." in name else name


@dataclass(frozen=True, slots=True)
class Format:
    """One file format: a stateless module's three functions.

    Attributes
    ----------
    name
        Word for `--format`.
    sniff
        `(raw, filename) -> 0..1`: how sure the module is that these bytes are its format.
    parse
        `(raw, profile, context) -> ParsedPayload`; raises `FormatError` only when the bytes are not the format at all.
    chunks
        The same in parts of bounded size, for formats that grow to gigabytes; None = one part.
    stream
        `(source, encoding, profile, context) -> payloads` of a text of any size, read once; None = the format needs all its bytes.
    default_profile
        Name of the shipped profile used where none is given.
    unit_is_the_datastreams
        True where values without unit are by definition in the datastream's own (native JSON of our devices).
    since
        Before this nobody's device wrote the format: an earlier time comes from a clock that began anew. None = archives may be older.
    is_a_row_a_line
        True where each row is a line of text, so that a file that was broken off may end within one.
    """

    name: str
    sniff: Callable[[bytes, str], float]
    parse: Callable[[bytes, Profile | None, ImportContext], ParsedPayload]
    chunks: Callable[[bytes, Profile | None, ImportContext], Iterator[ParsedPayload]] | None = None
    default_profile: str | None = None
    unit_is_the_datastreams: bool = False
    stream: Callable[[ByteSource, str, Profile | None, ImportContext], Iterator[ParsedPayload]] | None = None
    since: datetime | None = None
    is_a_row_a_line: bool = False

    def parts(self, raw: bytes, profile: Profile | None, context: ImportContext) -> Iterator[ParsedPayload]:
        """Yield the payload, in one part or in several."""
        if self.chunks is not None:
            yield from self.chunks(raw, profile, context)
        else:
            yield self.parse(raw, profile, context)


def require_zone(profile: Profile | None, context: ImportContext) -> str:
    """Return the zone that flag or profile declares for naive times, or refuse."""
    zone = context.zone or (profile.time.zone if profile else None)
    if not zone:
        raise FormatError(
            "the times have no zone and none was declared.",
            where=context.filename,
            remedy="declare it with --zone Asia/Shanghai (or +08:00, UTC) or in the profile under time: zone:",
        )
    return zone

"""Which format a file is of: as the caller says, else the one that is surest of its bytes, else the shipped profile that knows it.

This file finishes with `choose_format`.
"""

from __future__ import annotations

import codecs
from pathlib import Path

from domain.errors import ConfigurationError, FormatError
from ingest.formats import FORMATS, Format
from ingest.formats.decoding import head
from ingest.formats.table import is_workbook, read_workbook
from ingest.profile import Profile, load_profile, shipped_profiles

_SURE_ENOUGH = 0.5


def detect_format(raw: bytes, filename: str) -> tuple[Format, Profile | None]:
    """Return the format that is surest of the bytes, or the shipped profile whose own pattern fits.

    Raises
    ------
    FormatError
        When nothing fits.
    """
    if not raw.strip(codecs.BOM_UTF8 + b" \t\r\n\0"):
        raise FormatError("the file is empty.", where=filename, remedy="send it again; nothing was taken from it")
    ranked = sorted(((entry.sniff(raw, filename), name) for name, entry in FORMATS.items()), reverse=True)
    if ranked[0][0] >= _SURE_ENOUGH:
        return FORMATS[ranked[0][1]], None
    beginning = head(raw)
    for profile in shipped_profiles().values():
        if profile.recognises(beginning, filename):
            return FORMATS[profile.format], profile
    if is_workbook(raw):
        read_workbook(raw, where=filename)  # says so, if it is damaged
    raise FormatError(
        "the format is not recognised.",
        where=filename,
        remedy="let one be proposed (groundwatch profile guess FILE), "
        f"or give --format ({', '.join(FORMATS)}) or --profile ({', '.join(shipped_profiles())}, or a path); "
        "in the inbox, a folder of a profile's name applies it",
    )


def choose_format(
    raw: bytes, filename: str, format_name: str | None, profile: Profile | str | Path | None
) -> tuple[Format, Profile | None]:
    """Return format and profile as asked for, else as detected.

    Raises
    ------
    FormatError
        When the format is unknown, contradicts the profile, or is not recognised.
    """
    chosen = load_profile(profile) if isinstance(profile, str | Path) else profile
    if format_name is not None and format_name not in FORMATS:
        raise FormatError(f"there is no format {format_name!r}.", where=filename, remedy=f"known: {', '.join(FORMATS)}")
    if chosen is not None:
        if chosen.format not in FORMATS:
            raise ConfigurationError(f"profile {chosen.name} names no known format.", remedy=f"known: {', '.join(FORMATS)}")
        if format_name is not None and format_name != chosen.format:
            raise FormatError(
                f"profile {chosen.name} is for {chosen.format}, not {format_name}.", where=filename, remedy="leave out --format"
            )
        return FORMATS[chosen.format], chosen
    found = (FORMATS[format_name], None) if format_name is not None else detect_format(raw, filename)
    if found[1] is None and found[0].default_profile is not None:
        return found[0], load_profile(found[0].default_profile)
    return found

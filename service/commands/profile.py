"""`groundwatch profile guess|list|show`: profiles proposed for a file, and those that are shipped."""

from __future__ import annotations

import argparse
from pathlib import Path

from domain.errors import FormatError, InputError
from ingest.choosing import detect_format
from ingest.formats.decoding import unpack
from ingest.profile import PROFILE_FOLDER, load_profile, shipped_profiles
from ingest.profile_guess import guess_profile
from service.commands.output import emit, say

TABLES = ("csv", "json")
"""Formats that know nothing of their columns without a profile."""


def guess(arguments: argparse.Namespace) -> int:
    """Propose a profile for a file, on stdout or in a file of its own."""
    path = Path(arguments.file)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(f"the file cannot be read: {error.strerror}.", where=str(path), remedy="check its name") from error
    body = unpack(raw, where=path.name)
    _refuse_known(body, path.name)
    found = guess_profile(body, path.name)
    if arguments.output:
        try:
            with Path(arguments.output).open("x", encoding="utf-8") as out:
                out.write(found.text)
        except OSError as error:
            raise InputError(
                f"the profile cannot be written: {error.strerror}.", where=arguments.output, remedy="name a new file"
            ) from error
    if arguments.json:
        emit({"profile": found.text, "fill_in": list(found.blanks), "not_taken": list(found.ignored)})
    elif arguments.output:
        say(f"{arguments.output}: fill in {'; '.join(found.blanks)}")
    else:
        say(found.text.rstrip("\n"))
    return 0


def _refuse_known(body: bytes, name: str) -> None:
    """A file of a format of its own needs no profile: say so instead of guessing at its columns."""
    try:
        known, _ = detect_format(body, name)
    except FormatError:
        return
    if known.name not in TABLES:
        raise InputError(
            f"the file is of the format {known.name}, which needs no profile of yours.",
            where=name,
            remedy=f"import it: groundwatch import {name} --format {known.name}",
        )


def shipped(arguments: argparse.Namespace) -> int:
    """List the shipped profiles."""
    rows = [
        {"name": name, "format": profile.format, "title": profile.title, "source": profile.source}
        for name, profile in sorted(shipped_profiles().items())
    ]
    if arguments.json:
        emit({"profiles": rows})
    else:
        for row in rows:
            say(f"{row['name']:28} {row['format']:12} {row['title']}")
    return 0


def show(arguments: argparse.Namespace) -> int:
    """Print a profile as it is written."""
    profile = load_profile(arguments.name)
    path = PROFILE_FOLDER / f"{profile.name}.yaml" if profile.name in shipped_profiles() else Path(arguments.name)
    text = path.read_text(encoding="utf-8")
    if arguments.json:
        emit({"name": profile.name, "format": profile.format, "title": profile.title, "source": profile.source, "profile": text})
    else:
        say(text.rstrip("\n"))
    return 0

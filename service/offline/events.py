"""Steps to split at: an NGL steps file, or one date a line. This file finishes with `read_steps`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from domain.errors import FormatError
from domain.model import EventEffect, EventKind, StationEvent
from service.commands.files import read_file

EARTHQUAKE = "2"


def read_steps(path: Path, station: str) -> list[StationEvent]:
    """Return the steps that a file states for a station; lines of other stations are passed over.

    NGL's lines are `STATION YYMMMDD CODE ...` or `STATION yyyy.yyyy YYMMMDD CODE ...` (code 1 equipment, 2 earthquake); any other line is
    one ISO date. Empty lines and `#` comments count for nothing.
    """
    found = []
    for number, line in enumerate(read_file(path).decode("utf-8-sig", errors="replace").splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) == 1:
            found.append(_event(station, _iso(words[0], path, number), EventKind.OTHER))
            continue
        if words[0].upper() == station.upper():
            found.append(_ngl(station, words[1:], path, number))
    return found


def _event(station: str, start: datetime, kind: EventKind) -> StationEvent:
    return StationEvent(station, kind, start, effect=EventEffect.OFFSET)


def _ngl(station: str, words: list[str], path: Path, number: int) -> StationEvent:
    for position, word in enumerate(words[:2]):
        day = ngl_date(word)
        if day is not None:
            code = words[position + 1] if len(words) > position + 1 else ""
            return _event(station, day, EventKind.EARTHQUAKE if code == EARTHQUAKE else EventKind.ANTENNA_CHANGE)
    raise FormatError(f"line {number} has no date.", where=str(path), remedy="write STATION YYMMMDD CODE, or one ISO date a line")


def ngl_date(word: str) -> datetime | None:
    """Return the day of `YYMMMDD` (15JUL27), or None; 80 to 99 are of the last century."""
    try:
        day = datetime.strptime(word.title(), "%y%b%d").replace(tzinfo=UTC)
    except ValueError:
        return None
    return day.replace(year=1900 + int(word[:2])) if int(word[:2]) >= 80 else day


def _iso(word: str, path: Path, number: int) -> datetime:
    try:
        moment = datetime.fromisoformat(word)
    except ValueError as error:
        raise FormatError(f"line {number}: {word!r} is no date.", where=str(path), remedy="write it like 2015-07-27") from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC) + timedelta(0)

"""Generated passwords in one file that only its owner can read. This file finishes with `Secrets`."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Secrets:
    """Passwords of the database's and of the broker's service account."""

    database: str
    broker: str


def read_or_make(path: Path) -> Secrets:
    """Return the passwords of this home, made at the first call."""
    if path.exists():
        return Secrets(**json.loads(path.read_text(encoding="utf-8")))
    made = Secrets(secrets.token_urlsafe(24), secrets.token_urlsafe(24))
    write_private(path, json.dumps(asdict(made)))
    return made


def write_private(path: Path, text: str, own: Callable[[Path], object] | None = None) -> None:
    """Write a file that was never readable by others, all of it or nothing.

    `own` gives it to its reader before it takes the old file's place: a broker that reads its access file anew and may not open it goes
    on without one.
    """
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    if own is not None:
        own(unfinished)
    unfinished.replace(path)

"""`import --format insar` and `insar list|show|analyse|compare|decompose`."""

from __future__ import annotations

import argparse
import getpass
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from domain.errors import FormatError
from service.bootstrap import Container

if TYPE_CHECKING:
    from ingest.report import ImportReport

PROGRESS_EVERY_S = 0.5


def import_delivery(container: Container, path: Path, arguments: argparse.Namespace) -> ImportReport:
    """Import one file as a delivery."""
    from ingest.insar.importing import InsarFlags, InsarImporter

    if arguments.profile is None:
        raise FormatError(
            "an InSAR delivery does not say what its columns are.",
            where=str(path),
            remedy="give --profile egms, stamps, or a path",
        )
    importer = InsarImporter(container.registers, container.insar, container.raw_files)
    flags = InsarFlags(arguments.delivery, arguments.station, arguments.track, arguments.heading, arguments.incidence)
    return importer.import_file(
        path,
        arguments.profile,
        flags,
        actor=getpass.getuser(),
        now=container.clock(),
        create=not arguments.no_create,
        dry_run=arguments.dry_run,
        progress=_Bar() if sys.stderr.isatty() else None,
    )


class _Bar:
    """One line on the terminal: share done, rate, time left."""

    def __init__(self) -> None:
        self.began = self.told = time.monotonic()

    def __call__(self, done: int, size: int) -> None:
        """Draw the line anew, at most twice a second."""
        now = time.monotonic()
        if now - self.told < PROGRESS_EVERY_S and done < size:
            return
        self.told = now
        rate = done / max(now - self.began, 1e-3)
        end = "\n" if done >= size else ""
        sys.stderr.write(f"\r{done / max(size, 1):4.0%}  {rate / 1e6:.0f} MB/s  {(size - done) / max(rate, 1):.0f} s left {end}")
        sys.stderr.flush()

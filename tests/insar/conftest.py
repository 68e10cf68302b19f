"""A database with the vocabulary, and an importer on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ingest.insar.importing import InsarFlags, InsarImporter
from ingest.report import ImportReport
from service.bootstrap import Container
from service.settings import Settings

NOW = datetime(2026, 11, 1, tzinfo=UTC)
ImportOne = Callable[..., ImportReport]


@pytest.fixture(scope="module")
def container(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    from service.configuration import apply_vocabulary

    with Container(Settings(home=tmp_path_factory.mktemp("home"), database_url=database_url)) as opened:
        apply_vocabulary(opened.registers)
        yield opened


@pytest.fixture(scope="module")
def import_one(container: Container) -> ImportOne:
    importer = InsarImporter(container.registers, container.insar, container.raw_files)

    def run(
        path: Path, delivery: str, *, station: str = "JX-AREA", track: str = "asc-69", profile: str = "egms", **more: object
    ) -> ImportReport:
        flags = InsarFlags(delivery, station, track, heading_deg=348.5, incidence_deg=39.0)
        return importer.import_file(path, profile, flags, actor="test", now=NOW, **more)  # type: ignore[arg-type]

    return run

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from domain.datum import DatumOffset
from ingest.pipeline import Pipeline
from tests.ingest.memory import MemoryRegistry, MemoryStore

NOW = datetime(2026, 11, 22, tzinfo=UTC)
JIAXING = DatumOffset("CN-WUSONG", "CN-H85", "3304", -1.828, "test table")
SHANGHAI = DatumOffset("CN-WUSONG", "CN-H85", "31", -1.659, "test table")


@pytest.fixture
def registry() -> MemoryRegistry:
    return MemoryRegistry([JIAXING, SHANGHAI])


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def pipeline(registry: MemoryRegistry, store: MemoryStore) -> Pipeline:
    return Pipeline(registry, store)

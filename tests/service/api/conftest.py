"""A client over the network in memory, with the listener thread left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from service.api.app import create_app
from tests.service.api.client import TestClient
from tests.service.api.fakes import FakeContainer
from tests.service.api.world import TOKENS, add_alerts_to_fakes, add_people, fill


@pytest.fixture(scope="module")
def seeded() -> Callable[[FakeContainer], FakeContainer]:
    def seed(container: FakeContainer) -> FakeContainer:
        fill(container)
        add_people(container)
        add_alerts_to_fakes(container)
        return container

    return seed


@pytest.fixture
def container(tmp_path: Path, seeded: Any) -> FakeContainer:
    return seeded(FakeContainer(tmp_path))


@pytest.fixture
def client(container: FakeContainer) -> Iterator[TestClient]:
    with TestClient(create_app(container, listen=False), client=("127.0.0.1", 50000)) as client:
        yield client


@pytest.fixture
def demo(tmp_path: Path, seeded: Any) -> Iterator[TestClient]:
    with TestClient(create_app(seeded(FakeContainer(tmp_path, demo=True)), listen=False)) as client:
        yield client


def bearer(role: str | None) -> dict[str, str]:
    return {} if role is None else {"Authorization": f"Bearer {TOKENS[role]}"}

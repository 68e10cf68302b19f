"""A fake API for the tests of the page; Chromium comes from `tests.browser`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from selenium import webdriver

from tests.service.web.driving import Page
from tests.service.web.fake_api import FakeApi


@pytest.fixture
def api() -> Iterator[FakeApi]:
    server = FakeApi()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def page(chromium: webdriver.Chrome, api: FakeApi) -> Iterator[Page]:
    chromium.get("about:blank")
    driven = Page(chromium, api.url)
    driven.console()
    driven.addresses()
    driven.resize(1440, 900)
    yield driven
    chromium.get("about:blank")

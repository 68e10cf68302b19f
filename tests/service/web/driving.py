"""How tests drive the page: by what a person sees and by the data-* attributes that the page keeps for them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from selenium import webdriver
from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement


class Page:
    """The dashboard in a browser."""

    def __init__(self, driver: webdriver.Chrome, url: str) -> None:
        self.driver = driver
        self.url = url

    def open(self, fragment: str = "") -> None:
        """Open the page anew and wait until it has drawn what it loaded."""
        self.driver.get(f"{self.url}/{fragment}")
        self.until(lambda: self.driver.execute_script("return document.body.dataset.ready") == "true", "the page is ready")

    def visit(self, path: str = "") -> None:
        """Open a page without waiting for it to be ready."""
        self.driver.get(f"{self.url}/{path}")

    def resize(self, width: int, height: int, *, dark: bool = False) -> None:
        """Set the size of the window's inside, and the colour scheme."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})

    def one(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        """What an element says; one that is just drawn anew is found again."""
        found: list[str] = self.until(lambda: [self.one(selector).text], f"{selector} is there")
        return found[0]

    def click(self, selector: str) -> None:
        """Click as a person does: the element must be in view and not covered; one that was just drawn anew is found again."""

        def clicked() -> bool:
            element = self.one(selector)
            self.driver.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", element)
            element.click()
            return True

        self.until(clicked, f"{selector} is clicked")

    def data(self, selector: str) -> dict[str, str]:
        """The data-* attributes of an element."""
        found: dict[str, str] = self.driver.execute_script("return {...document.querySelector(arguments[0])?.dataset}", selector)
        return found

    def until(self, holds: Callable[[], Any], what: str, seconds: float = 10.0) -> Any:
        """Wait until something holds and return it; fail with what was awaited."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                if found := holds():
                    return found
            except (NoSuchElementException, StaleElementReferenceException):
                pass  # not drawn yet, or drawn anew while it was looked at: look again
            time.sleep(0.05)
        raise AssertionError(f"waited {seconds} s in vain until {what}")

    def chart(self, datastream: str) -> dict[str, str]:
        """Wait for the chart of a datastream and return what it says it drew."""

        def ready() -> dict[str, str] | None:
            data = self.data("#chart")
            return data if data.get("state") == "ready" and data.get("datastream") == datastream and "events" in data else None

        found: dict[str, str] = self.until(ready, f"the chart shows {datastream}")
        return found

    def console(self) -> list[str]:
        """Warnings and errors of the console since the last call."""
        return [
            f"{entry['level']} {entry['message']}"
            for entry in self.driver.get_log("browser")
            if entry["level"] in {"SEVERE", "WARNING"}
        ]

    def addresses(self) -> list[str]:
        """Every address that the page asked for since the last call."""
        found = []
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                found.append(message["params"]["request"]["url"])
        return found

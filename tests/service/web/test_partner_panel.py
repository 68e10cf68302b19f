"""Partners' alerts and shelving on the page, as a person works with them, at desktop and phone width."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.service.web.driving import Page
from tests.service.web.fake_api import FakeApi
from tests.service.web.test_handling_pages import enter

pytestmark = pytest.mark.page


def picture(page: Page, name: str) -> None:
    """Keep a screenshot where somebody wants to look at the pages."""
    folder = os.environ.get("GROUNDWATCH_PAGE_PICTURES")
    if folder:
        page.driver.save_screenshot(str(Path(folder) / f"{name}.png"))


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
def test_a_partners_alert_is_shown_with_its_sender_and_acknowledged_by_name(
    page: Page, api: FakeApi, width: int, height: int
) -> None:
    page.resize(width, height)
    page.open()
    assert not page.one("#foreign").is_displayed(), "who is not logged in is not told of it"
    enter(page, "")
    page.until(lambda: page.data("#foreign").get("count") == "1", "the partner's alert is listed")
    assert "苏州市吴江区" in page.text("#foreign-list") and "盛泽漏斗橙色预警" in page.text("#foreign-list")
    assert page.data("#foreign-owed").get("overdue") == "1"
    assert [one.get_attribute("data-overdue") for one in page.all("#foreign-owed [data-partner]")] == ["true", "false"]
    assert "已上报县局" in page.text("#foreign-owed") and page.text("#foreign-owed").count("尚未送达") == 1
    page.click("#foreign-list .alert-head")
    page.until(lambda: "32050900000000_20260301080000_0" in page.text("#foreign-list"), "its detail is shown")
    picture(page, f"foreign-{width}-zh")
    page.click(".act-foreign")
    page.one("#dialog textarea").send_keys("派人核查")
    page.click("#dialog button[type=submit]")
    page.until(lambda: page.data("#foreign-list article").get("acknowledged") == "true", "it is acknowledged")
    assert api.posted[-1] == ("/api/v1/foreign-alerts/7/acknowledgement", {"note": "派人核查"})
    page.driver.execute_script(
        "const s = document.querySelector('#foreign-state'); s.value = 'ended'; s.dispatchEvent(new Event('change'))"
    )
    page.until(lambda: "没有伙伴单位的预警" in page.text("#foreign-list"), "there is none that ended")
    page.click("#language")
    page.until(lambda: "Partners' alerts" in page.text("#foreign"), "the panel speaks English")
    assert page.driver.execute_script("return document.documentElement.scrollWidth <= innerWidth"), "nothing sticks out"
    picture(page, f"foreign-{width}-en")


def test_partners_alerts_that_cannot_be_read_say_what_to_do(page: Page, api: FakeApi) -> None:
    api.failures["/api/v1/foreign-alerts"] = 503
    page.open()
    enter(page, "")
    page.until(lambda: page.all("#foreign-list .state-error button"), "there is a way to try again")
    del api.failures["/api/v1/foreign-alerts"]
    page.click("#foreign-list .state-error button")
    page.until(lambda: page.data("#foreign").get("count") == "1", "it is read again")


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
def test_an_alert_is_shelved_with_a_reason_and_an_end_and_freed_again(page: Page, api: FakeApi, width: int, height: int) -> None:
    page.resize(width, height)
    page.open()
    enter(page, "")
    page.click("#alerts-list .alert-head")
    page.until(lambda: page.all("#alerts-list .act-shelve"), "the alert is unfolded")
    page.click("#alerts-list .act-shelve")
    page.click("#dialog button[type=submit]")
    assert page.text("#dialog-error"), "a reason is needed"
    page.one("#dialog textarea[name=reason]").send_keys("抽水试验")
    picture(page, f"shelve-{width}")
    page.click("#dialog button[type=submit]")
    page.until(lambda: page.all("#alerts-list .act-unshelve"), "it is shelved")
    assert "抽水试验" in page.text("#alerts-list .alert-detail")
    picture(page, f"shelved-{width}")
    assert page.driver.execute_script("return document.documentElement.scrollWidth <= innerWidth"), "nothing sticks out"
    page.click("#alerts-list .act-unshelve")
    page.click("#dialog button[type=submit]")
    page.until(lambda: page.all("#alerts-list .act-shelve"), "it is free again")
    assert page.console() == []

"""The panel of rules in Chromium against a fake API: read, try over history, switch off by name, and what could not be told."""

from __future__ import annotations

import json

import pytest

from tests.service.web.driving import Page
from tests.service.web.fake_api import FakeApi

pytestmark = pytest.mark.page


def open_rules(page: Page) -> None:
    page.open()
    page.click("#rules > summary")
    page.until(lambda: page.all("#rules-list .rules-table tbody tr"), "the rules are drawn")


def log_in(page: Page) -> None:
    page.until(lambda: page.all("dialog input[name=name]"), "the login is asked for")
    page.one("dialog input[name=name]").send_keys("wang")
    page.one("dialog input[name=password]").send_keys("geology-2026")
    page.click("dialog button[type=submit]")


def test_rules_stand_with_kind_limits_and_state(page: Page, api: FakeApi) -> None:
    api.network.rules[0]["definition"] = {"unit": "mm/a", "levels": {"blue": 5, "red": 30}}
    open_rules(page)
    rows = page.all("#rules-list .rules-table tbody tr")
    assert len(rows) == len(api.network.rules)
    assert api.network.rules[0]["name_zh"] in rows[0].text
    assert [one.text.split() for one in rows[0].find_elements("css selector", ".rule-limit")] == [["蓝", "5"], ["红", "30"]]
    assert "最新观测不可用" in page.text("#rules-list .unknown-table")
    assert "JX-GT-02:wellhead_temperature" in page.text("#rules-list .blind-table")


def test_a_rule_is_tried_and_switched_off_with_a_reason_and_a_name(page: Page, api: FakeApi) -> None:
    open_rules(page)
    page.click("#rules-list .act-try")
    if page.all("dialog input[name=password]"):
        log_in(page)
    page.until(lambda: page.all("dialog .trial-summary"), "the trial's answer is shown")
    assert "7" in page.text("dialog .trial-summary")
    page.click("dialog button[type=submit]")
    page.until(lambda: not page.one("#dialog").is_displayed(), "the dialog is closed")
    page.click("#rules-list .act-switch")
    page.until(lambda: page.all("dialog input[name=reason]"), "a reason is asked for")
    page.click("dialog button[type=submit]")
    assert page.text("#dialog-error")
    page.one("dialog input[name=reason]").send_keys("pump test")
    page.click("dialog button[type=submit]")
    page.until(lambda: api.rule_changes, "the change was sent")
    assert json.loads(api.rule_changes[-1]) == {"enabled": False, "reason": "pump test"}

"""The pages of handling in Chromium against a fake API that keeps the real rules of a case."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from service.api.web_pages import WEB
from tests.service.web.driving import Page
from tests.service.web.fake_api import FakeApi
from tests.service.web.test_page import log_in

pytestmark = pytest.mark.page
LATE = "330400-2026-0001"
PASSWORDS = {"wang": "geology-2026", "lin": "lin-2026", "guest": "guest-2026"}


def enter(page: Page, path: str, name: str = "wang") -> None:
    """Open a page as a person; the language of an earlier test is forgotten."""
    page.visit("cases")
    page.driver.execute_script("sessionStorage.setItem('groundwatch.token', arguments[0]); localStorage.clear()", name)
    page.open(path)


def put(page: Page, name: str, value: str) -> None:
    """Fill a field of the dialog as its own control would; dates are typed differently in each locale."""
    page.until(lambda: page.all(f"dialog [name={name}]"), f"the dialog asks for {name}")
    page.driver.execute_script("document.querySelector(`dialog [name=${arguments[0]}]`).value = arguments[1]", name, value)


def step(page: Page, name: str, **fields: str) -> None:
    """Press a step and send its dialog."""
    page.click(f".step-{name}")
    page.until(lambda: page.all("dialog[open] button[type=submit]"), "the dialog is open")
    for field, value in fields.items():
        put(page, field, value)
    page.click("dialog button[type=submit]")


def stands(page: Page, state: str) -> None:
    page.until(lambda: page.data("#case-body").get("state") == state, f"the case is {state}")


def test_a_case_goes_its_whole_way_by_hand(page: Page, api: FakeApi, tmp_path: Path) -> None:
    enter(page, "cases")
    page.click("#case-new")
    page.until(lambda: page.all("dialog[open] [name=title]"), "the dialog is open")
    page.click("dialog button[type=submit]")
    assert page.text("#dialog-error") != "", "a case without a title is not sent"
    put(page, "title", "<b>沉降漏斗</b>")
    put(page, "stations", "JX-OW-01")
    page.click("dialog button[type=submit]")
    stands(page, "collected")
    assert page.text("#case-title") == "<b>沉降漏斗</b>", "text stays text"
    step(page, "verify", note="复测一致")
    stands(page, "verified")
    due = (datetime.now(UTC) + timedelta(days=10)).date().isoformat()
    step(page, "assign", owner="秀洲区水利局", leader="chen", due=due)
    stands(page, "assigned")
    assert api.posted[-1][1]["due_at"] == f"{due}T23:59+08:00", "the date is the node's"
    step(page, "handle", measure="封填深井 2 口")
    stands(page, "handling")
    document = tmp_path / "封井照片.jpg"
    document.write_bytes(b"\xff\xd8 photo")
    page.one("#case-file").send_keys(str(document))
    page.until(lambda: [one.text for one in page.all(".documents button")] == ["封井照片.jpg"], "the document is kept")
    assert list(api.handling.files.values()) == [b"\xff\xd8 photo"]
    step(page, "follow_up", datastream="JX-OW-01:head", measure_at="2026-01-15T08:00", better="higher")
    stands(page, "tracking")
    assert "变化 3.520 m（95 % 区间 3.310 至 3.730 m）" in page.text('[data-step="follow_up"]')
    step(page, "close", verdict="real")
    page.until(lambda: "cannot close it" in page.text("#dialog-error"), "the handler is refused")
    assert "销号由非处置人办理" in page.text("#dialog-error"), "the refusal says what can be done"
    enter(page, f"cases#case={page.data('#case-body')['case']}", "lin")
    stands(page, "tracking")
    assert [one.get_attribute("data-way") for one in page.all(".way li")] == ["done"] * 4 + ["current", "open"]
    step(page, "close", verdict="real")
    stands(page, "closed")
    step(page, "reopen", note="水位复又下降")
    stands(page, "verified")
    assert page.data('.way [data-state="assigned"]')["way"] == "open", "the round begins anew"


def test_the_late_are_counted_marked_and_filtered(page: Page) -> None:
    enter(page, "cases")
    assert page.data('[data-tile="overdue"]')["count"] == "1"
    assert page.text('[data-tile="handling"] .late') == "逾期 1"
    assert len(page.all(".case-row")) == 2
    page.click('[data-tile="overdue"]')
    page.until(lambda: [one.get_attribute("data-case") for one in page.all(".case-row")] == [LATE], "only the late one is listed")
    page.click(".case-row")
    page.until(lambda: "逾期 3 天" in page.text("#case-facts"), "its lateness is told")
    page.click("#language")
    page.until(lambda: "overdue by 3 days" in page.text("#case-facts"), "in English too")


def test_a_step_that_somebody_else_took_meanwhile_is_a_conflict_with_its_remedy(page: Page, api: FakeApi) -> None:
    enter(page, "cases#case=330400-2026-0002")
    stands(page, "collected")
    api.handling.post(["cases", "330400-2026-0002", "steps"], {}, {"step": "verify", "note": "已到现场"}, "lin")
    step(page, "verify", note="复测")
    page.until(lambda: "possible now:" in page.text("#dialog-error"), "the conflict names what is possible")


def test_who_may_not_read_cases_is_told_so(page: Page) -> None:
    page.visit("cases")
    page.driver.execute_script("sessionStorage.clear(); localStorage.clear()")
    page.visit("cases")
    page.until(lambda: page.all("dialog[open] input[name=name]"), "the page asks for a login")
    log_in(page, "guest", PASSWORDS["guest"])
    page.until(lambda: page.one("#problem").is_displayed() and "访客" not in page.text("#cases-list"), "the guest is refused")
    page.until(lambda: "不能" in page.text("#problem") or "无权" in page.text("#problem"), "and told why")
    assert page.all(".case-row") == []


def test_an_alert_is_judged_and_becomes_a_case(page: Page, api: FakeApi) -> None:
    enter(page, "")
    page.click('[data-alert="101"] .alert-head')
    page.click('[data-alert="101"] .verdict-instrument')
    put(page, "note", "天线松动")
    page.click("dialog button[type=submit]")
    page.until(lambda: page.data('[data-alert="101"] [data-verdict]').get("verdict") == "instrument", "the verdict is shown")
    assert "仪器故障" in page.text('[data-alert="101"] [data-verdict]') and "天线松动" in page.text(
        '[data-alert="101"] [data-verdict]'
    )
    page.click('[data-alert="101"] .act-case')
    page.until(lambda: page.all("dialog[open] [name=title]"), "the dialog is open")
    page.click("dialog button[type=submit]")
    page.until(lambda: page.all('[data-alert="101"] .case-link'), "the alert shows its case")
    opened = api.handling.detail("330400-2026-0003")
    assert (opened["origin"], opened["stations"]) == ("alert", ["JX-GN-01"])
    assert opened["alerts"] == [api.network.alerts[101]["identifier"]]
    page.click('[data-alert="101"] .case-link')
    stands(page, "collected")


@pytest.mark.parametrize("path", ["cases", "alarm-quality", "instruments"])
def test_who_has_not_logged_in_is_asked_to_and_reads_words_not_keys(page: Page, api: FakeApi, path: str) -> None:
    api.closed = True
    page.visit("cases")
    page.driver.execute_script("sessionStorage.clear(); localStorage.clear()")
    page.visit(path)
    page.until(lambda: page.all("dialog input[name=password]"), "the login dialog is open")
    page.click("dialog button.close, dialog button[type=button]")
    page.click("#language")
    page.until(lambda: "Log in" in page.text("#account"), "the page speaks English")
    words = set(json.loads((WEB / "i18n" / "en.json").read_text(encoding="utf-8")))
    assert words & set(page.text("body").split()) == set()


def test_alarm_quality_stands_beside_its_targets_and_dead_letters_go_again(page: Page, api: FakeApi) -> None:
    enter(page, "alarm-quality")
    page.until(lambda: page.data("#quality-body").get("alerts") == "40", "the metrics are drawn")
    grades = {one.text for one in page.all("[data-grade=overloaded], [data-grade=acceptable]")}
    assert grades == {"过载", "可接受"}
    assert page.text(".remarks").splitlines()[0] == "接收方 city-hook 过载"
    assert "ISA-18.2" in page.text("#quality-body > .source")
    page.click('[data-receiver="county-mail"] .act-test')
    page.until(lambda: page.data('[data-receiver="county-mail"]').get("waiting") == "1", "the test message waits")
    page.click('[data-dead="7"] .act-again')
    page.until(lambda: page.all("[data-dead]") == [], "the letter is no longer dead")
    assert api.posted[-1][0] == "/api/v1/notifications/7/replay"
    assert [one.get_attribute("data-kind") for one in page.all("[data-held]")] == ["silence", "out_of_service"]
    row = page.text("[data-kind=out_of_service]")
    assert "停用" in row and "datastream=JX-W01:depth_to_water" in row and "陈工" in row and "检修" in row
    page.click("[data-kind=out_of_service] .act-end-held")
    page.until(lambda: len(page.all("[data-held]")) == 1, "it is in service again")
    page.driver.execute_script(
        "const s = document.getElementById('period-length'); s.value = '7'; s.dispatchEvent(new Event('change'))"
    )
    page.until(lambda: api.requests["/api/v1/alarm-quality"] == 2, "another period is asked for")


@pytest.mark.parametrize("path", ["cases#case=330400-2026-0001", "alarm-quality"])
def test_a_phone_needs_no_sideways_scrolling_and_nothing_is_complained_of(page: Page, path: str) -> None:
    page.resize(390, 844)
    enter(page, path)
    page.click("#language")
    page.until(lambda: page.text("#language") == "中文", "the page is in English")
    assert page.driver.execute_script("return document.documentElement.scrollWidth") <= 390
    assert page.text('#nav [aria-current="page"]') in {"Cases", "Alarm quality"}
    assert page.console() == []
    assert all(address.startswith((page.url, "data:", "about:")) for address in page.addresses())

"""The page of instruments in Chromium: the board is sorted and filtered, and an unknown device is admitted with what became of its frames."""

from __future__ import annotations

import pytest

from tests.service.web.driving import Page
from tests.service.web.fake_api import FakeApi
from tests.service.web.test_handling_pages import enter, put

pytestmark = pytest.mark.page


def stations(page: Page) -> list[str]:
    return [str(one.get_attribute("data-station")) for one in page.all("#health-body tr[data-station]")]


def test_the_board_is_sorted_by_any_column_with_what_is_unknown_last(page: Page) -> None:
    enter(page, "instruments", "zhao")
    page.until(lambda: len(stations(page)) == 4, "the board is drawn")
    assert stations(page)[0] == "JX-GT-02", "who is silent comes first"
    page.click('[data-sort="complete"]')
    page.until(lambda: stations(page)[0] == "JX-OW-01", "the least complete comes first")
    assert stations(page)[-1] == "JX-GT-02", "unknown is not 0"
    page.click('[data-sort="complete"]')
    page.until(lambda: stations(page)[0] != "JX-OW-01", "and last when turned round")
    assert stations(page)[-1] == "JX-GT-02"
    page.click('[data-sort="drift"]')
    page.until(lambda: stations(page)[0] == "JX-OW-02", "who drifts comes first")
    assert "0.310 m" in page.text('[data-station="JX-OW-02"]')
    assert "慢 8 小时" in page.text('[data-station="JX-OW-01"]')
    silent = page.text('[data-station="JX-GT-02"]')
    assert "—" in silent and " 0 %" not in silent


def test_the_board_is_filtered_and_leads_to_the_station(page: Page) -> None:
    enter(page, "instruments", "zhao")
    page.until(lambda: len(stations(page)) == 4, "the board is drawn")
    page.driver.execute_script(
        "const s = document.getElementById('health-state'); s.value = 'doubtful'; s.dispatchEvent(new Event('change'))"
    )
    page.until(lambda: sorted(stations(page)) == ["JX-OW-01", "JX-OW-02"], "only the doubtful are shown")
    page.one("#health-text").send_keys("ow-02")
    page.until(lambda: stations(page) == ["JX-OW-02"], "the one that is looked for is shown")
    link = page.one('[data-station="JX-OW-02"] th a')
    assert str(link.get_attribute("href")).endswith("/#station=JX-OW-02")


def test_an_unknown_device_is_admitted_and_the_result_is_shown(page: Page, api: FakeApi) -> None:
    enter(page, "instruments", "zhao")
    page.until(lambda: page.data("#unknown-body").get("count") == "2", "both wait")
    page.click('[data-device="sl651:3304020001"] .act-admit')
    put(page, "station", "JX-NEW")
    page.click("dialog button[type=submit]")
    page.until(lambda: "there is no station JX-NEW" in page.text("#dialog-error"), "the refusal says why")
    put(page, "kind", "observation_well")
    page.click("dialog button[type=submit]")
    page.until(lambda: page.data(".answer").get("resolved") == "47", "what became of the frames is shown")
    assert api.posted[-1][1] == {"device": "sl651:3304020001", "station": "JX-NEW", "create": {"kind": "observation_well"}, "password": None,
                                 "note": None}  # fmt: skip
    said = page.text(".answer")
    assert "JX-NEW" in said and "element 45 is in no table" in said
    assert page.data("#unknown-body")["count"] == "1"
    page.click('[data-device="chirpstack:70b3d57ba0000001"] .act-reject')
    put(page, "note", "不是本单位的")
    page.click("dialog button[type=submit]")
    page.until(lambda: page.data("#unknown-body").get("count") == "0", "none waits any longer")


def test_who_may_not_manage_devices_is_told_so_and_a_guest_sees_the_board_alone(page: Page) -> None:
    enter(page, "instruments", "guest")
    page.until(lambda: len(stations(page)) == 4, "the board is drawn")
    assert not page.one("#unknown").is_displayed()
    enter(page, "instruments", "wang")
    page.click('[data-device="sl651:3304020001"] .act-admit')
    page.until(lambda: page.all("dialog[open] input[name=password]"), "somebody who may is asked for")


@pytest.mark.parametrize("width", [390, 1440])
def test_nothing_needs_sideways_scrolling_and_nothing_is_complained_of(page: Page, width: int) -> None:
    page.resize(width, 900)
    enter(page, "instruments", "zhao")
    page.click("#language")
    page.until(lambda: page.text("#language") == "中文", "the page is in English")
    assert page.driver.execute_script("return document.documentElement.scrollWidth") <= width
    assert page.text('#nav [aria-current="page"]') == "Instruments"
    assert page.console() == []
    assert all(address.startswith((page.url, "data:", "about:")) for address in page.addresses())


def test_a_person_sets_the_quality_of_an_observation_and_takes_it_back(page: Page, api: FakeApi) -> None:
    enter(page, "#station=JX-OW-01", "zhao")
    page.until(lambda: page.data("#chart").get("state") == "ready", "the chart is drawn")
    page.click('#chart-tools [data-range="1w"]')
    page.until(lambda: page.data("#chart").get("state") == "ready", "the chart is drawn finer")
    page.click("#chart .u-over")
    page.until(lambda: page.all("#chart-detail .act-override"), "whoever may is offered it")
    page.click("#chart-detail .act-override")
    put(page, "quality", "suspect")
    page.click("dialog button[type=submit]")
    page.until(lambda: page.text("#dialog-error") != "", "no override without a reason")
    put(page, "reason", "探头清洗")
    page.click("dialog button[type=submit]")
    page.until(lambda: page.data("#chart-detail .overrides").get("standing") == "1", "it stands")
    sent = next(body for path, body in api.posted if path.endswith("/observations/overrides"))
    assert (sent["quality"], sent["reason"]) == ("suspect", "探头清洗")
    assert "探头清洗" in page.text("#chart-detail")
    page.click("#chart-detail .act-withdraw")
    page.until(lambda: page.data("#chart-detail .overrides").get("standing") == "0", "it is taken back")
    enter(page, "#station=JX-OW-01", "guest")
    page.until(lambda: page.data("#chart").get("state") == "ready", "the chart is drawn")
    page.click('#chart-tools [data-range="1w"]')
    page.click("#chart .u-over")
    page.until(lambda: page.all("#chart-detail .overrides"), "what stands is shown to all")
    assert page.all("#chart-detail .act-override") == []

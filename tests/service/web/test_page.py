"""The dashboard in Chromium against a fake API: what a supervisor sees and does every morning."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.service.web.driving import Page
from tests.service.web.fake_api import FakeApi
from tests.service.web.fake_network import FAIL_DAYS, GNSS, SUSPECT_DAYS, WELL, XSS_NAME

pytestmark = pytest.mark.page


def log_in(page: Page, name: str, password: str) -> None:
    page.one("dialog input[name=name]").send_keys(name)
    page.one("dialog input[name=password]").send_keys(password)
    page.click("dialog button[type=submit]")


# ------------------------------------------------------------------ what is seen


def test_the_simulated_network_is_clearly_marked(page: Page, api: FakeApi) -> None:
    page.open()
    assert page.text("#simulated") == "模拟"
    assert "模拟" in page.driver.title
    assert "不是真实监测" in page.text("#simulated-note")
    api.network.node["simulated"] = False
    page.open()
    assert not page.one("#simulated").is_displayed()
    assert not page.one("#simulated-note").is_displayed()


def test_a_real_station_in_the_demonstration_is_not_called_simulated(page: Page, api: FakeApi) -> None:
    api.network.stations["JX-GN-01"]["simulated"] = False
    page.open()
    assert page.text("#simulated-note") == (
        "本节点为演示网：标有“模拟”的测站及其数据、预警不是真实监测成果；所示测站中有 1 个不是模拟的。"
    )
    page.click("#language")
    page.until(lambda: "not simulated: 1." in page.text("#simulated-note"), "the note follows the language")
    page.open("#station=JX-GN-01")
    page.until(lambda: [one.text for one in page.all("#station-facts code")] == ["JX-GN-01"], "the station is open")
    assert not page.all("#station-facts .badge-simulated")
    page.open("#station=JX-OW-01")
    page.until(lambda: [one.text for one in page.all("#station-facts code")] == ["JX-OW-01"], "the other station is open")
    assert page.all("#station-facts .badge-simulated")


@pytest.mark.parametrize(
    ("latitude", "longitude", "shown"),
    [
        (30.52, 120.94, "30.52°N 120.94°E"),
        (30.5213, 120.94, "30.5213°N 120.9400°E"),
        (38.50402, -115.2582, "38.5040°N 115.2582°W"),
        (-33.25, -70.5, "33.25°S 70.50°W"),
    ],
)
def test_positions_are_no_finer_than_they_are_given_and_know_their_hemisphere(
    page: Page, api: FakeApi, latitude: float, longitude: float, shown: str
) -> None:
    api.network.stations["JX-GN-01"] |= {"latitude_deg": latitude, "longitude_deg": longitude}
    page.open("#station=JX-GN-01")
    page.until(lambda: [one.text for one in page.all("#station-facts .num")] == [f"{shown} CGCS2000"], f"it lies at {shown}")


def test_alerts_are_counted_by_colour_with_a_letter_beside_the_colour(page: Page) -> None:
    page.open()
    counts = {level: page.data(f".tile-{level}")["count"] for level in ("red", "orange", "yellow", "blue")}
    assert counts == {"red": "1", "orange": "1", "yellow": "2", "blue": "1"}
    letters = [page.one(f".tile-{level} .symbol-letter").get_attribute("textContent") for level in counts]
    assert letters == ["红", "橙", "黄", "蓝"]
    shapes = {page.one(f".tile-{level} .symbol-shape").get_attribute("d") for level in counts}
    assert len(shapes) == 4, "each colour has a shape of its own"
    assert page.data('[data-tile="unacknowledged"]')["count"] == "4"


def test_all_pages_of_a_list_are_read_though_the_server_names_another_host(page: Page) -> None:
    page.open()
    assert len(page.all("#alerts-list .alert")) == 5
    assert int(page.data("#map")["stations"]) + int(page.data("#map")["unplaced"]) == 11


def test_a_colour_filters_the_list_and_the_worst_come_first(page: Page) -> None:
    page.open()
    order = [item.get_attribute("data-level") for item in page.all("#alerts-list .alert")]
    assert order == ["red", "orange", "yellow", "yellow", "blue"]
    page.click(".tile-yellow")
    assert [item.get_attribute("data-level") for item in page.all("#alerts-list .alert")] == ["yellow", "yellow"]
    assert page.one(".tile-yellow").get_attribute("aria-pressed") == "true"
    page.click(".tile-yellow")
    assert len(page.all("#alerts-list .alert")) == 5


def test_an_alert_shows_what_it_rests_on_and_where(page: Page) -> None:
    page.open()
    page.click('[data-alert="101"] .alert-head')
    page.until(lambda: page.all('[data-alert="101"] .evidence svg'), "the pictures are there")
    titles = [one.get_attribute("aria-label") for one in page.all('[data-alert="101"] .evidence svg')]
    assert len(titles) == 2
    assert "9 个数值" in titles[0]
    line = page.one('[data-alert="101"] .evidence-line').get_attribute("d")
    assert line.count("M") == 2, "the gap is not bridged"
    assert page.one('[data-alert="101"] .evidence-limit').get_attribute("class") == "evidence-limit limit-red"
    assert len(page.all('[data-alert="101"] .evidence-here')) == 1


def test_an_alert_explains_itself(page: Page) -> None:
    page.open()
    page.click('[data-alert="101"] .alert-head')
    page.until(lambda: page.all('[data-alert="101"] .facts-grid'), "the details are there")
    facts = page.text('[data-alert="101"] .facts-grid')
    for expected in (
        "33.4 ± 1.6 mm/a",
        "30.0 mm/a",
        "嘉兴控沉分级（2026 试行）",
        "2.1 倍中误差",
        "2026-06-28 07:00 UTC+08",
        "复测核实，查明成因",
        "地质环境监测机构",
        "王江泾 GNSS 站",
    ):
        assert expected in facts


def test_an_explanation_in_labelled_lines_becomes_a_list(page: Page, api: FakeApi) -> None:
    lines = ["事项：沉降速率", "数值：33.4 ± 1.6 mm/a", "限值：30 mm/a；依据：规划", "责任单位：监测机构"]
    api.network.alerts[101]["explanation"] = {"zh": "\n".join(lines), "en": "-"}
    page.open()
    page.click('[data-alert="101"] .alert-head')
    page.until(lambda: page.all('[data-alert="101"] .facts-grid'), "the details are there")
    labels = [one.text for one in page.all('[data-alert="101"] dt')]
    assert labels[:4] == ["事项", "数值", "限值", "责任单位"]
    assert "限值：" not in page.text('[data-alert="101"] .facts-grid')


def test_stations_on_the_map_show_their_state(page: Page) -> None:
    page.open()
    assert page.data("#map")["base"] == "schematic"
    assert "示意" in page.text("#map .leaflet-control-attribution")
    states = {one.get_attribute("data-station"): one.get_attribute("data-state") for one in page.all("#map [data-station]")}
    assert states["JX-GN-01"] == "red"
    assert states["JX-OW-01"] == "orange"
    assert states["JX-BM-07"] == states["JX-EX-02"] == "yellow"
    assert states["JX-GT-01"] == "blue"
    assert states["JX-GT-02"] == "silent"
    assert states["JX-OW-09"] == "unknown", "a station without data is not normal"
    assert states["JX-GN-02"] == "ok"
    assert "JX-BR-01" not in states, "a station without a position is not drawn at a made-up one"


def test_stations_of_one_site_do_not_hide_one_another(page: Page, api: FakeApi) -> None:
    site = ("JX-GN-01", "JX-OW-01", "JX-BM-07", "JX-EX-02")
    for code in site:
        api.network.stations[code] |= {"longitude_deg": 120.7, "latitude_deg": 30.9}
    page.open()
    boxes = [page.one(f'#map [data-station="{code}"]').rect for code in site]
    apart = [
        ((one["x"] - other["x"]) ** 2 + (one["y"] - other["y"]) ** 2) ** 0.5
        for index, one in enumerate(boxes)
        for other in boxes[:index]
    ]
    assert min(apart) > 16
    assert max(apart) < 60


def test_who_is_silent_is_listed_longest_first(page: Page) -> None:
    page.open()
    rows = [row.get_attribute("data-datastream") for row in page.all("#silent-list tbody tr")]
    assert rows == ["JX-EX-02:compaction:L2", "JX-GT-02:wellhead_temperature"]
    assert "9 天" in page.all("#silent-list tbody tr")[0].text
    assert "无法判断" in page.text("#silent-note")


def test_no_alert_is_no_all_clear_while_instruments_are_silent(page: Page, api: FakeApi) -> None:
    api.network.alerts.clear()
    page.open()
    assert "不能据此认定安全" in page.text("#alerts-list")


# ------------------------------------------------------------------ language


def test_the_language_switches_and_is_remembered(page: Page) -> None:
    page.open()
    assert page.driver.execute_script("return document.documentElement.lang") == "zh-CN"
    assert page.text("#alerts-title") == "预警"
    page.click("#language")
    page.until(lambda: page.text("#alerts-title") == "Alerts", "the words are English")
    assert page.text("#node-name") == "Jiaxing subsidence node"
    assert page.text("#simulated") == "SIMULATED"
    assert page.one(".tile-red .symbol-letter").get_attribute("textContent") == "R"
    page.open()
    assert page.text("#alerts-title") == "Alerts"
    page.click("#language")
    page.until(lambda: page.text("#alerts-title") == "预警", "the words are Chinese again")


# ------------------------------------------------------------------ people


def test_acknowledging_asks_to_log_in_and_records_name_and_note(page: Page, api: FakeApi) -> None:
    page.open()
    page.click('[data-alert="103"] .alert-head')
    page.until(lambda: page.all('[data-alert="103"] .act-acknowledge'), "the button is there")
    page.click('[data-alert="103"] .act-acknowledge')
    page.until(lambda: page.all("dialog input[name=password]"), "the login dialog is open")
    log_in(page, "wang", "wrong")
    page.until(lambda: page.text("#dialog-error"), "the dialog says that it failed")
    assert "帐号或密码不对" in page.text("#dialog-error")
    for name in ("name", "password"):
        page.one(f"dialog input[name={name}]").clear()
    log_in(page, "wang", "geology-2026")
    page.until(lambda: page.all("dialog textarea[name=note]"), "the note is asked for")
    assert "王工" in page.text("dialog")
    page.one("dialog textarea[name=note]").send_keys("已派人现场复测")
    page.click("dialog button[type=submit]")
    page.until(lambda: page.data('[data-alert="103"]')["acknowledged"] == "true", "the alert is acknowledged")
    assert ("/api/v1/alerts/103/acknowledgement", {"note": "已派人现场复测"}) in api.posted
    assert api.network.alerts[103]["acknowledged_by"] == "wang"
    page.until(lambda: page.data('[data-tile="unacknowledged"]')["count"] == "3", "the count goes down")
    assert page.data("#account")["name"] == "wang"


@pytest.mark.parametrize(("button", "decision"), [("act-confirm", "confirmed"), ("act-reject", "rejected")])
def test_what_awaits_a_person_is_confirmed_or_rejected(page: Page, api: FakeApi, button: str, decision: str) -> None:
    page.open()
    page.click("#account")
    log_in(page, "wang", "geology-2026")
    page.until(lambda: page.data("#account").get("name") == "wang", "wang is logged in")
    page.click('[data-alert="101"] .alert-head')
    page.until(lambda: page.all(f'[data-alert="101"] .{button}'), "the button is there")
    page.click(f'[data-alert="101"] .{button}')
    page.until(lambda: page.all("dialog textarea[name=note]"), "the dialog is open")
    if decision == "rejected":
        page.click("dialog button[type=submit]")
        assert page.text("#dialog-error") == "请填写必填项。", "a rejection needs its reason"
    page.one("dialog textarea[name=note]").send_keys("与水准比对")
    page.click("dialog button[type=submit]")
    page.until(lambda: api.network.alerts[101]["confirmation"] == decision, "the decision has arrived")
    page.until(lambda: not page.all(f'[data-alert="101"] .{button}'), "nothing is left to decide")


def test_an_alert_that_waits_for_nobody_can_be_confirmed_so_that_it_may_be_shared(page: Page, api: FakeApi) -> None:
    page.open()
    page.click("#account")
    log_in(page, "wang", "geology-2026")
    page.until(lambda: page.data("#account").get("name") == "wang", "wang is logged in")
    for number, label in ((101, "核实属实"), (103, "核实属实，可通报伙伴单位")):
        page.click(f'[data-alert="{number}"] .alert-head')
        button = f'[data-alert="{number}"] .act-confirm'
        page.until(lambda button=button, label=label: [one.text for one in page.all(button)] == [label], f"{button} says {label}")
    page.click('[data-alert="103"] .act-confirm')
    page.until(lambda: page.all("dialog textarea[name=note]"), "the dialog is open")
    assert "在本单位已生效" in page.text("dialog")
    assert page.text("dialog button[type=submit]") == "核实属实，可通报伙伴单位"
    page.click("dialog button[type=submit]")
    page.until(lambda: api.network.alerts[103]["confirmation"] == "confirmed", "the decision has arrived")


def test_a_role_that_may_not_is_told_so(page: Page, api: FakeApi) -> None:
    page.open()
    page.click('[data-alert="105"] .alert-head')
    page.until(lambda: page.all('[data-alert="105"] .act-acknowledge'), "the button is there")
    page.click('[data-alert="105"] .act-acknowledge')
    log_in(page, "guest", "guest-2026")
    page.until(lambda: page.one("#problem").is_displayed(), "the page says that the role may not")
    assert "浏览" in page.text("#problem")
    assert api.network.alerts[105]["acknowledged_at"] is None


def test_a_closed_node_asks_to_log_in_before_it_shows_anything(page: Page, api: FakeApi) -> None:
    api.closed = True
    page.visit()
    page.until(lambda: page.all("dialog input[name=password]"), "the login dialog is open")
    assert not page.all("#map [data-station]")
    log_in(page, "wang", "geology-2026")
    page.until(lambda: page.driver.execute_script("return document.body.dataset.ready") == "true", "the page is ready")
    assert len(page.all("#alerts-list .alert")) == 5


# ------------------------------------------------------------------ stations and charts


def test_a_chart_draws_points_flags_gaps_events_findings_and_band(page: Page) -> None:
    page.open(f"#station={WELL.split(':', maxsplit=1)[0]}")
    drawn = page.chart(WELL)
    assert int(drawn["points"]) == 1200 - 60 - len(SUSPECT_DAYS) - len(FAIL_DAYS)
    assert (int(drawn["suspect"]), int(drawn["fail"])) == (len(SUSPECT_DAYS), len(FAIL_DAYS))
    assert drawn["gaps"] == "2"
    assert (drawn["events"], drawn["findings"]) == ("2", "2")
    assert (drawn["band"], drawn["forecast"]) == ("true", "true")
    legend = page.text("#chart-legend")
    for expected in (" m · 向上为正", "可疑 5", "错误 3", "95% 区间", "UTC+08", "修订序号 41"):
        assert expected in legend
    painted = page.driver.execute_script(
        "const c = document.querySelector('#chart canvas'); const p = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
        "let n = 0; for (let i = 3; i < p.length; i += 4) n += p[i] > 0; return n"
    )
    assert painted > 5000, "the canvas is not blank"


@pytest.mark.parametrize(("answer", "effect"), [("confirm", "产生阶跃"), ("refuse", "无阶跃（已否决）")])
def test_a_proposed_step_is_answered_into_the_event_log(page: Page, api: FakeApi, answer: str, effect: str) -> None:
    page.open("#station=JX-GN-01")
    page.until(lambda: page.all("[data-proposal]"), "the proposals are listed")
    assert not page.all(f".step-{answer}"), "a visitor decides nothing"
    page.click("#account")
    log_in(page, "wang", "geology-2026")
    page.until(lambda: page.all(f".step-{answer}"), "whoever writes events is asked")
    page.click(f".step-{answer}")
    page.until(lambda: page.all("dialog[open] [name=note]"), "the dialog asks for a note")
    page.one("dialog [name=note]").send_keys("查勘")
    page.click("dialog button[type=submit]")
    page.until(lambda: not page.all("[data-proposal]"), "the proposal is answered")
    path, body = api.posted[-1]
    assert path == "/api/v1/findings/0/decision"
    assert body == {"decision": answer, "kind": "other", "note": "查勘"}
    page.until(lambda: effect in page.one(".history").get_attribute("textContent"), "the event log carries the answer")


def test_when_a_limit_will_be_reached_is_said_with_its_interval(page: Page) -> None:
    page.open("#station=JX-OW-01")
    page.chart(WELL)
    statuses = {one.get_attribute("data-limit"): one.get_attribute("data-status") for one in page.all(".limit-times li")}
    assert statuses == {"head-control": "reached", "head-floor": "within"}
    assert "预计 2027-05-01 达到（80% 区间 2026-12-01 至 预测期之后）" in page.text(".limit-times")


def test_the_forecast_is_shown_with_how_it_has_done_on_this_datastream(page: Page) -> None:
    page.open("#station=JX-OW-01")
    page.chart(WELL)
    told = page.text(".tested").replace("\u00a0", " ")
    assert "2027-06-01 预测：−30.250 m（95% 区间 −31.500 m 至 −29.000 m）" in told
    assert "以往 32 个时点回测：80% 区间覆盖 82 %，95% 区间覆盖 94 %（共 200 次）；误差 0.620 m，沿用末值 0.750 m" in told


def test_a_gap_is_not_bridged(page: Page) -> None:
    page.open()
    broken = page.driver.execute_async_script(
        "const done = arguments[0]; import('/assets/js/chart_data.js').then((m) => done(["
        "m.breakAtGaps([0, 1, 2, 9, 10], [[5, 5, 5, 5, 5]], m.gapLimits([0, 1, 2, 9, 10], 1)),"
        "m.breakAtGaps([0, 1, 2, 3], [[5, 5, 5, 5]], m.gapLimits([0, 1, 2, 3], null)),"
        "((t) => m.breakAtGaps(t, [t], m.gapLimits(t, 1)))([...Array(40).keys()].map((i) => i < 20 ? 24 * i : 480 + i))]))"
    )
    assert broken[0] == {"time": [0, 1, 2, 5.5, 9, 10], "columns": [[5, 5, 5, None, 5, 5]], "gaps": 1}
    assert broken[1]["gaps"] == 0
    assert broken[2]["gaps"] == 0, "years of daily readings before an hourly logger are no gaps"


def test_zooming_reads_finer_observations(page: Page) -> None:
    page.open("#station=JX-GN-01")
    assert page.chart(GNSS)["resolution"] == "1mo"
    page.click('#chart-tools [data-range="1y"]')
    page.until(lambda: page.chart(GNSS)["resolution"] == "raw", "every observation is shown")
    narrow = page.chart(GNSS)
    assert 300 < int(narrow["points"]) < 520
    page.one("#chart").send_keys(Keys.ARROW_LEFT)
    page.until(lambda: page.data("#chart")["from"] < narrow["from"], "the left arrow goes back in time")
    page.one("#chart").send_keys(Keys.HOME)
    page.until(lambda: page.chart(GNSS)["resolution"] == "1mo", "Home shows all again")


def test_the_panel_shows_rates_with_sigma_and_says_when_they_are_interim(page: Page) -> None:
    page.open("#station=JX-EX-02")
    row = '[data-datastream="JX-EX-02:compaction:L1"] .velocity'
    page.until(lambda: "±" in page.text(row), "the rate is there")
    assert "3.2 ± 0.8 mm/a" in page.text(row)
    assert "临时" in page.text(row)
    assert "未估计" in page.text('[data-datastream="JX-EX-02:compaction:L2"] .velocity'), "absent is not 0"
    assert "静默" in page.text('#station-streams [data-datastream="JX-EX-02:compaction:L2"]')
    page.open("#station=JX-GN-01")
    page.until(lambda: "−12.6 ± 0.4 mm/a" in page.text("#station-streams"), "the minus is a minus")
    assert "临时" not in page.text("#station-streams")


def test_an_alert_leads_to_its_station_and_datastream(page: Page) -> None:
    page.open()
    page.click('[data-alert="104"] .alert-head')
    page.until(lambda: page.all('[data-alert="104"] .act-station'), "the button is there")
    page.click('[data-alert="104"] .act-station')
    page.chart("JX-EX-02:compaction:L2")
    assert page.data("#station")["station"] == "JX-EX-02"


def test_a_marker_is_chosen_by_keyboard(page: Page) -> None:
    page.open()
    page.one('#map [data-station="JX-BM-07"]').send_keys(Keys.ENTER)
    page.chart("JX-BM-07:height")
    assert "2.864 m" in page.text("#station-streams")


# ------------------------------------------------------------------ live, failures


def test_a_new_alert_appears_without_reloading(page: Page, api: FakeApi) -> None:
    page.open()
    page.until(lambda: api.listeners and page.data("#live")["state"] == "live", "the stream is open")
    api.network.alerts[106] = {**api.network.alerts[101], "id": 106, "acknowledged_at": None}
    api.push("alerts", {"at": "2026-06-30T01:00:00Z"})
    page.until(lambda: page.all('[data-alert="106"]'), "the alert is there")
    page.until(lambda: page.data(".tile-red")["count"] == "2", "it is counted")


def test_new_observations_colour_the_map(page: Page, api: FakeApi) -> None:
    page.open()
    page.until(lambda: api.listeners and page.data("#live")["state"] == "live", "the stream is open")
    api.network.stations["JX-OW-09"]["last_time"] = "2026-06-30T00:59:00Z"
    api.push("observations", {"datastreams": ["JX-OW-09:head"], "stations": ["JX-OW-09"], "at": "2026-06-30T01:00:00Z"})
    page.until(lambda: page.data('#map [data-station="JX-OW-09"]')["state"] == "ok", "the marker has changed")


def test_without_the_stream_the_page_says_that_it_polls(page: Page, api: FakeApi) -> None:
    page.open()
    page.until(lambda: page.data("#live")["state"] == "live", "the stream is open")
    api.hang_up()
    page.until(lambda: page.data("#live")["state"] == "polling", "the page says that it polls")
    assert "轮询" in page.text("#live")
    api.streaming = True
    page.until(lambda: page.data("#live")["state"] == "live", "the page has come back by itself", seconds=15)


def test_a_failure_is_said_with_its_remedy_and_can_be_tried_again(page: Page, api: FakeApi) -> None:
    api.failures["/api/v1/alerts"] = 503
    page.open()
    assert "数据库暂时不可用" in page.text("#alerts-list")
    assert "wait and try again" in page.text("#alerts-list")
    assert page.all("#map [data-station]"), "the rest of the page works"
    api.failures.clear()
    page.click("#alerts-list .state-error button")
    page.until(lambda: len(page.all("#alerts-list .alert")) == 5, "the alerts are there")


def test_a_datastream_without_observations_says_what_to_do(page: Page, api: FakeApi) -> None:
    api.network.datastreams["JX-GT-02:wellhead_temperature"]["status"]["observations"] = 0
    page.open("#station=JX-GT-02")
    page.until(lambda: page.data("#chart")["state"] == "empty" and page.data("#chart")["datastream"], "the chart is empty")
    assert "groundwatch import" in page.text("#chart")


# ------------------------------------------------------------------ safety and form


def test_a_name_with_markup_stays_text(page: Page) -> None:
    page.open("#station=JX-XSS-1")
    page.chart("JX-XSS-1:head")
    assert XSS_NAME in page.text("#station-title")
    assert "xss" not in page.driver.title
    assert not page.all("main img[src=x], main script, .leaflet-container img[src=x]")


def test_nothing_is_asked_of_other_origins_and_the_console_stays_clean(page: Page) -> None:
    page.open("#station=JX-OW-01")
    page.chart(WELL)
    page.click("#language")
    page.until(lambda: page.text("#alerts-title") == "Alerts", "the words are English")
    page.click("#language")
    page.until(lambda: page.text("#alerts-title") == "预警", "the words are Chinese")
    asked = page.addresses()
    assert any(address.endswith("/assets/vendor/leaflet/leaflet.js") for address in asked)
    own = urlsplit(page.url).netloc
    foreign = [one for one in asked if urlsplit(one).scheme in {"http", "https", "ws", "wss"} and urlsplit(one).netloc != own]
    assert foreign == []
    assert page.console() == []


@pytest.mark.parametrize("english", [False, True])
def test_a_phone_shows_all_without_scrolling_sideways(page: Page, *, english: bool) -> None:
    page.resize(390, 844)
    page.open("#station=JX-OW-01")
    page.chart(WELL)
    if english:
        page.click("#language")
        page.until(lambda: page.text("#alerts-title") == "Alerts", "the words are English")
    page.click('[data-alert="101"] .alert-head')
    page.until(lambda: page.all('[data-alert="101"] .facts-grid'), "the details are there")
    assert page.driver.execute_script("return document.documentElement.scrollWidth") <= 390
    wide = page.driver.execute_script(
        "return [...document.querySelectorAll('header, section, .tile, .alert, figure, button')].filter((e) => e.offsetParent"
        " && !e.closest('.map, .table-wrap') && e.getBoundingClientRect().right > 391).map((e) => e.outerHTML.slice(0, 80))"
    )
    assert wide == []
    if english:
        page.click("#language")
        page.until(lambda: page.text("#alerts-title") == "预警", "the words are Chinese again")


def test_everything_that_acts_is_reached_by_tab_and_has_a_name(page: Page) -> None:
    page.open("#station=JX-OW-01")
    page.chart(WELL)
    nameless = page.driver.execute_script(
        "return [...document.querySelectorAll('button, input, select, [role=button]')].filter((e) => e.offsetParent && e.tabIndex >= 0 &&"
        " !(e.textContent.trim() || e.getAttribute('aria-label') || e.title || e.labels?.length)).map((e) => e.outerHTML)"
    )
    assert nameless == []
    seen = set()
    body = page.one("body")
    for _ in range(60):
        page.driver.switch_to.active_element.send_keys(Keys.TAB)
        focused = page.driver.switch_to.active_element
        seen.add(focused.get_attribute("id") or focused.get_attribute("data-station") or focused.get_attribute("class"))
    assert body.find_elements(By.CSS_SELECTOR, ".skip")
    assert {"language", "account", "alerts-state", "alert-head", "station-find", "JX-GN-01"} <= seen


def test_the_base_layer_can_be_switched_off_or_replaced(page: Page, api: FakeApi) -> None:
    api.network.node["map"]["base"] = "none"
    page.open()
    assert page.data("#map")["base"] == "none"
    assert not page.all("#map path.base:not(.base-graticule)")
    assert "°E" in page.one("#map .degrees").get_attribute("textContent")
    api.network.node |= {"map": {}, "region_code": "330500"}
    page.open()
    assert page.data("#map")["base"] == "none", "another city is not shown a drawing of Jiaxing"
    square = [[120.5, 30.5], [121.0, 30.5], [121.0, 31.0], [120.5, 30.5]]
    api.network.node["map"] = {
        "boundary": {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [square]}}
    }
    page.open()
    assert page.data("#map")["base"] == "geojson"
    assert len(page.all("#map path.base-boundary")) == 1
    assert page.all("#map [data-station]"), "the stations are there on any base layer"

// The page of alarm quality: the metrics of a period beside their targets (ISA-18.2), and the receivers below them.
import { get } from "./api.js";
import { byId, fill, h } from "./dom.js";
import { t, word } from "./i18n.js";
import { dateTime, day, number, span, withOffset } from "./format.js";
import { failure, loading, nothing } from "./messages.js";
import { drawReceivers, loadReceivers } from "./receivers.js";
import { showSurprises, startPage } from "./shell.js";
import { may, now } from "./state.js";

const DAY = 86400e3;
const PERIODS = ["7", "30", "90", "365", "own"];
const chosen = { period: "30", from: "", to: "" };
let found = null;

async function load() {
  drawPeriod();
  await Promise.all([measure(), may("read_cases") ? loadReceivers() : null]);
  byId("receivers").hidden = !may("read_cases");
}

async function measure() {
  fill(byId("quality-body"), loading());
  try {
    found = await get("/alarm-quality", spanChosen());
    drawMetrics();
  } catch (problem) {
    found = null;
    fill(byId("quality-body"), failure(problem, measure));
  }
}

function spanChosen() {
  if (chosen.period !== "own") return { from: new Date(now() - Number(chosen.period) * DAY).toISOString(), to: new Date(now()).toISOString() };
  return { from: chosen.from ? withOffset(`${chosen.from}T00:00`) : null, to: chosen.to ? withOffset(`${chosen.to}T00:00`) : null };
}

function drawPeriod() {
  const own = chosen.period === "own";
  const choose = (name) => (event) => { chosen[name] = event.target.value; };
  const select = h("select", { id: "period-length", "aria-label": t("quality.period"), on: { change: (event) => {
    chosen.period = event.target.value;
    if (chosen.period === "own") {
      chosen.from ||= day(now() - 30 * DAY);
      chosen.to ||= day(now() + DAY);
    }
    drawPeriod();
    byId("period-length").focus();
    measure();
  } } }, PERIODS.map((one) => h("option", { value: one, selected: one === chosen.period }, t(`quality.period_${one}`))));
  fill(byId("period"), select, own ? [
    h("label", {}, t("quality.from"), h("input", { type: "date", value: chosen.from, on: { change: choose("from") } })),
    h("label", {}, t("quality.to"), h("input", { type: "date", value: chosen.to, on: { change: choose("to") } })),
    h("button", { type: "submit" }, t("quality.show"))] : null);
}

function draw() {
  drawPeriod();
  if (found) drawMetrics();
  if (may("read_cases")) drawReceivers();
}

function drawMetrics() {
  const { targets } = found;
  const body = byId("quality-body");
  body.dataset.alerts = String(found.alerts);
  fill(body,
    h("p", { class: "hint num" }, t("quality.span", { from: dateTime(found.start), to: dateTime(found.end), days: number(found.days, "", 1) })),
    found.remarks.length ? h("ul", { class: "remarks" }, found.remarks.map((one) => h("li", {}, remark(one)))) : h("p", { class: "grade-good" }, `✓ ${t("quality.no_remark")}`),
    h("dl", { class: "measures" },
      tile("alerts", found.alerts, t("quality.per_day", { n: number(found.per_day, "", 1) })),
      tile("standing", found.standing, t("quality.at_end")),
      tile("stale", found.stale.length, t("quality.stale_target", { h: targets.stale_h, n: targets.stale_maximum }), found.stale.length <= targets.stale_maximum),
      tile("chattering", found.chattering.length, t("quality.chattering_target", { n: targets.chattering_count, min: targets.chattering_window_min }), !found.chattering.length),
      tile("acknowledge", span(found.acknowledge_median_s), t("quality.p95", { span: span(found.acknowledge_p95_s) })),
      tile("unacknowledged", found.unacknowledged, t("quality.of_new"))),
    h("div", { class: "quality-tables" }, perReceiver(), priorities(), topTen(), rules(), codes("stale", found.stale), codes("chattering", found.chattering)),
    h("p", { class: "source" }, t("quality.source", { source: targets.source })));
}

const percent = (share) => (share === null || share === undefined ? "—" : `${number(share * 100, "", 1)} %`);

function tile(name, value, beside, good = null) {
  return h("div", { class: "measure", dataset: { measure: name, value, grade: good === null ? "none" : good ? "good" : "bad" } },
    h("dt", {}, t(`quality.${name}`)), h("dd", {}, h("b", { class: "num" }, value), h("small", {}, good === null ? "" : `${good ? "✓" : "!"} `, beside)));
}

function remark(text) {
  const place = text.indexOf(":");
  const [kind, what] = place < 0 ? [text, ""] : [text.slice(0, place), text.slice(place + 1)];
  return t(`remark.${kind}`, { what: kind === "priority" ? word("quality_priority", what) : what });
}

function section(name, content) {
  return h("section", { dataset: { part: name } }, h("h3", {}, t(`quality.${name}`)), content);
}

/** A table whose rows become cards on a phone; each column is [key, right?]. */
function table(columns, rows) {
  return h("div", { class: "table-wrap" }, h("table", { class: "table cards" },
    h("thead", {}, h("tr", {}, columns.map(([key, right]) => h("th", { scope: "col", class: right ? "right" : "" }, t(`quality.col_${key}`))))),
    h("tbody", {}, rows.map(([first, ...rest]) => h("tr", {}, h("th", { scope: "row" }, first),
      rest.map((value, place) => h("td", { class: columns[place + 1][1] ? "right num" : "", "data-label": t(`quality.col_${columns[place + 1][0]}`) }, value)))))));
}

function perReceiver() {
  const { targets } = found;
  if (!found.receivers.length) return section("per_receiver", nothing(t("quality.none")));
  return section("per_receiver", [table([["receiver"], ["per_day", 1], ["worst", 1], ["flood", 1], ["delivery", 1], ["grade"]], found.receivers.map((one) => [
    one.receiver, number(one.per_day, "", 1), one.worst_10_min, percent(one.flood_share), one.delivery_s_median === null ? "—" : `${number(one.delivery_s_median, "", 1)} s`,
    h("span", { class: `grade grade-${one.grade}`, dataset: { grade: one.grade } }, t(`grade.${one.grade}`))])),
  h("p", { class: "source" }, t("quality.receiver_target", { good: targets.per_day_acceptable, most: targets.per_day_maximum, flood: targets.flood_per_10_min, share: percent(targets.flood_share_maximum) }))]);
}

function priorities() {
  const names = ["low", "medium", "high"].filter((name) => name in found.priorities);
  if (!names.length) return section("priorities", nothing(t("quality.none")));
  return section("priorities", [table([["priority"], ["share", 1], ["target", 1]], names.map((name) => [word("quality_priority", name), percent(found.priorities[name]), percent(found.targets.priority_split[name])])),
    h("p", { class: "source" }, t("quality.priority_target", { n: percent(found.targets.priority_tolerance) }))]);
}

function topTen() {
  if (!found.top_ten.length) return section("top_ten", nothing(t("quality.none")));
  return section("top_ten", [table([["what"], ["alerts", 1]], found.top_ten.map((one) => [one.what, one.alerts])),
    h("p", { class: "source" }, t("quality.top_ten_target", { share: percent(found.top_ten_share), most: percent(found.targets.top_ten_share_maximum) }))]);
}

function rules() {
  if (!found.rules.length) return section("rules", nothing(t("quality.none")));
  return section("rules", [table([["rule"], ["alerts", 1], ["judged", 1], ["false", 1], ["natural", 1], ["false_share", 1]],
    found.rules.map((one) => [one.rule_code, one.alerts, one.judged, one.false, one.natural, percent(one.false_share)])), h("p", { class: "source" }, t("quality.false_hint"))]);
}

function codes(name, items) {
  return items.length ? section(name, h("ul", { class: "code-list" }, items.map((one) => h("li", {}, h("code", {}, one))))) : null;
}

showSurprises();
byId("period").addEventListener("submit", (event) => { event.preventDefault(); measure(); });
startPage({ load, draw, needs: "read", title: "nav.quality" });

// The page of instruments: how each station's devices fare, sorted and filtered, and the devices that nobody knows (unknown_devices.js).
import { list } from "./api.js";
import { byId, fill, h } from "./dom.js";
import { nameOf, t, word } from "./i18n.js";
import { ago, dateTime, number, quantity, span } from "./format.js";
import { failure, loading, nothing } from "./messages.js";
import { showSurprises, startPage } from "./shell.js";
import { may, now } from "./state.js";
import { drawUnknown, loadUnknown } from "./unknown_devices.js";

const STATES = ["silent", "doubtful", "cannot_tell", "ok"];
const WRONG_CLOCK_S = 600;
const LEAST_PERCENT = 90;
const DRIFTS = ["drifting", "cannot_tell", "steady"];
const view = { rows: null, names: new Map(), sort: "state", falling: false, text: "", state: "" };

/** Each column: its key, what it is sorted by (unknown ones come last), and what it shows. */
const COLUMNS = [
  ["state", (one) => STATES.indexOf(one.state), (one) => h("span", { class: `health-state health-${one.state}` }, word("health_state", one.state))],
  ["seen", (one) => one.last_seen && Date.parse(one.last_seen), (one) => [ago(one.last_seen, now()), one.last_seen ? h("small", { class: "num" }, ` ${dateTime(one.last_seen)}`) : null]],
  ["complete", (one) => one.completeness_percent, (one) => marked(one.completeness_percent < LEAST_PERCENT, one.completeness_percent, `${number(one.completeness_percent, "", 1)} %`)],
  ["battery", (one) => one.battery_v, (one) => quantity(one.battery_v, "V")],
  ["signal", (one) => one.signal, (one) => quantity(one.signal, "dBm", 0)],
  ["clock", (one) => one.clock_offset_s === null ? null : Math.abs(one.clock_offset_s), (one) => marked(Math.abs(one.clock_offset_s) > WRONG_CLOCK_S, one.clock_offset_s, clockText(one.clock_offset_s))],
  ["drift", (one) => one.drift && DRIFTS.indexOf(one.drift.state), (one) => driftOf(one.drift)],
  ["quarantined", (one) => one.quarantined, (one) => marked(one.quarantined > 0, one.quarantined, one.quarantined)],
  ["doubts", (one) => one.doubtful + one.findings, (one) => [one.doubtful, one.findings ? h("small", {}, ` ${t("devices.findings", { n: one.findings })}`) : null]],
];
const LEFT = new Set(["state", "seen", "drift"]);

const marked = (isBad, value, text) => (value === null || value === undefined ? "—" : h("span", { class: isBad ? "bad" : "" }, isBad ? "! " : "", text));

function clockText(seconds) {
  if (seconds === null) return "—";
  const apart = Math.abs(seconds) < 60 ? `${number(Math.abs(seconds), "", 0)} s` : span(Math.abs(seconds));
  return Math.abs(seconds) < 1 ? apart : t(seconds > 0 ? "devices.ahead" : "devices.behind", { span: apart });
}

function driftOf(drift) {
  if (!drift) return "—";
  const rate = drift.rate_per_30d === null ? null : t("devices.drift_rate", { rate: quantity(drift.rate_per_30d, drift.unit), half: quantity(drift.half_width_95, drift.unit), n: drift.neighbours });
  return [h("span", { class: drift.state === "drifting" ? "bad" : "" }, drift.state === "drifting" ? "! " : "", word("drift_state", drift.state)), drift.doubt ? h("small", {}, ` ${word("drift_doubt", drift.doubt)}`) : null, rate ? h("small", { class: "num" }, ` ${rate}`) : null];
}

async function load() {
  if (!view.rows) fill(byId("health-body"), loading());
  byId("unknown").hidden = !may("read_quarantine");
  await Promise.all([loadHealth(), may("read_quarantine") ? loadUnknown(loadHealth) : null]);
}

async function loadHealth() {
  try {
    const [stations, rows] = await Promise.all([list("/stations", { limit: 1000 }), list("/health", { limit: 500 })]);
    view.names = new Map(stations.items.map((one) => [one.code, one]));
    view.rows = rows.items;
    draw();
  } catch (problem) {
    fill(byId("health-body"), failure(problem, loadHealth));
  }
}

function draw() {
  drawFilter();
  drawTable();
  if (may("read_quarantine")) drawUnknown();
}

function drawFilter() {
  const choose = h("select", { id: "health-state", "aria-label": t("devices.col_state"), on: { change: (event) => { view.state = event.target.value; drawTable(); } } },
    h("option", { value: "" }, t("devices.every_state")), STATES.map((one) => h("option", { value: one, selected: one === view.state }, word("health_state", one))));
  const find = h("input", { id: "health-text", type: "search", value: view.text, placeholder: t("devices.find"), "aria-label": t("devices.find"),
    on: { input: (event) => { view.text = event.target.value; drawTable(); } } });
  fill(byId("health-filter"), choose, find);
}

function nameText(one) {
  const station = view.names.get(one.station);
  return station ? nameOf(station) : one.station;
}

function shown() {
  const text = view.text.trim().toLowerCase();
  const rows = (view.rows ?? []).filter((one) => (!view.state || one.state === view.state) && (!text || `${one.station} ${nameText(one)}`.toLowerCase().includes(text)));
  const key = COLUMNS.find(([name]) => name === view.sort)?.[1] ?? ((one) => nameText(one));
  const order = (a, b) => {
    const [first, second] = [key(a), key(b)];
    const unknown = [first, second].map((value) => value === null || value === undefined);
    if (unknown[0] || unknown[1]) return unknown[0] - unknown[1];
    return (typeof first === "string" ? first.localeCompare(second) : first - second) * (view.falling ? -1 : 1);
  };
  return rows.sort((a, b) => order(a, b) || a.station.localeCompare(b.station));
}

function sorter(name, label) {
  const isChosen = view.sort === name;
  return h("th", { scope: "col", class: name === "station" || LEFT.has(name) ? "" : "right", "aria-sort": isChosen ? (view.falling ? "descending" : "ascending") : null },
    h("button", { type: "button", class: "sorter", "aria-pressed": String(isChosen), dataset: { sort: name }, on: { click: () => {
      view.falling = isChosen && !view.falling;
      view.sort = name;
      drawTable();
      byId("health-body").querySelector(`[data-sort="${name}"]`)?.focus();
    } } }, label, isChosen ? (view.falling ? " ▾" : " ▴") : ""));
}

function drawTable() {
  const rows = shown();
  const body = byId("health-body");
  body.dataset.shown = String(rows.length);
  byId("health-count").textContent = t("devices.count", { n: rows.length, all: view.rows?.length ?? 0 });
  if (!rows.length) return fill(body, nothing(t(view.rows?.length ? "devices.none_here" : "devices.none")));
  return fill(body, h("div", { class: "table-wrap" }, h("table", { class: "table cards" },
    h("thead", {}, h("tr", {}, sorter("station", t("devices.col_station")), COLUMNS.map(([name]) => sorter(name, t(`devices.col_${name}`))))),
    h("tbody", {}, rows.map((one) => h("tr", { dataset: { station: one.station, state: one.state } },
      h("th", { scope: "row" }, h("a", { href: `/#station=${encodeURIComponent(one.station)}` }, nameText(one)), h("small", {}, ` ${one.station}`)),
      COLUMNS.map(([name, , show]) => h("td", { class: LEFT.has(name) ? "" : "right num", "data-label": t(`devices.col_${name}`) }, show(one)))))))));
}

showSurprises();
byId("health-filter").addEventListener("submit", (event) => event.preventDefault());
startPage({ load, draw, needs: "read", title: "nav.instruments" });

// The chart of one datastream: zoom and pan read finer data from the API as far as it goes.
import { byId, fill, h } from "./dom.js";
import { nameOf, t, word } from "./i18n.js";
import { bracketed, dateTime, number, offsetText, shownZone, unitText, zonedParts } from "./format.js";
import { curveOf, loadAnalysis, loadObservations, loadRevisions } from "./chart_data.js";
import { legend } from "./chart_legend.js";
import { marksPlugin } from "./chart_marks.js";
import { failure, loading, nothing } from "./messages.js";
import { overridesOf } from "./overrides.js";
import { stationEvents, streamName } from "./station.js";
import { now } from "./state.js";

const uPlot = globalThis.uPlot;
const DAY = 86400;
const YEAR = 365.25 * DAY;
let chart = null; // what is shown: {stream, data, analysis, curve, range, full, plot}
let abort = null;
let redraw = 0;

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** The chart before a datastream is chosen. */
export function drawNoChart() {
  drop();
  const figure = byId("chart");
  Object.assign(figure.dataset, { state: "empty", datastream: "", points: "0" });
  fill(figure, nothing(t("choose_stream")));
  byId("chart-tools").hidden = true;
  for (const id of ["chart-legend", "chart-readout", "chart-detail"]) fill(byId(id));
}

function drop() {
  abort?.abort();
  chart?.plot?.destroy();
  chart = null;
}

/** Show a datastream from its beginning to now and the forecast's end. */
export async function openChart(stream) {
  drop();
  abort = new AbortController();
  const mine = { stream, data: null, analysis: null, curve: null, range: null, full: null, plot: null };
  chart = mine;
  const figure = byId("chart");
  Object.assign(figure.dataset, { state: "loading", datastream: stream.code });
  fill(figure, loading());
  for (const id of ["chart-legend", "chart-readout", "chart-detail"]) fill(byId(id));
  try {
    const [data, analysis] = await Promise.all([loadObservations(stream, null, null, abort.signal), loadAnalysis(stream, abort.signal)]);
    if (chart !== mine) return;
    Object.assign(mine, { data, analysis, curve: curveOf(analysis.results) });
    if (!data.points) {
      figure.dataset.state = "empty";
      fill(figure, nothing(t("no_observations"), h("span", {}, t("no_observations_remedy"))));
      byId("chart-tools").hidden = true;
      return;
    }
    mine.full = extent(mine);
    mine.range = mine.full;
    draw();
  } catch (problem) {
    if (problem.name === "AbortError" || chart !== mine) return;
    figure.dataset.state = "error";
    fill(figure, failure(problem, () => openChart(stream)));
  }
}

/** New observations have come: read the shown range again, and follow the right edge if it was shown. */
export async function refreshChart() {
  if (!chart?.plot) return;
  const mine = chart;
  const followed = mine.range[1] >= mine.full[1];
  try {
    const whole = mine.range === mine.full || (mine.range[0] <= mine.full[0] && followed);
    const data = await loadObservations(mine.stream, whole ? null : mine.range[0], whole || followed ? null : mine.range[1], abort.signal);
    if (chart !== mine || !data.points) return;
    mine.data = data;
    if (whole) mine.full = mine.range = extent(mine);
    apply();
  } catch {
    // the line that is shown stays; the state of the connection is in the header
  }
}

/** Draw again in another language or theme. */
export function redrawChart() {
  if (chart?.plot) draw();
  else if (!chart) drawNoChart();
}

function extent({ data, curve }) {
  const first = data.time[0];
  const last = data.time[data.time.length - 1];
  const end = curve ? Math.max(last, Math.min(curve.time[curve.time.length - 1], last + Math.max(2 * DAY, (last - first) * 0.45))) : last;
  const margin = Math.max((end - first) * 0.015, 60);
  return [first - margin, end + margin];
}

function alignedData() {
  const { data, curve } = chart;
  const tables = [[data.time, data.value, data.low ?? data.time.map(() => undefined), data.high ?? data.time.map(() => undefined)]];
  tables.push(curve ? [curve.time, curve.fitted, curve.forecast, curve.lower, curve.upper, curve.trend.length ? curve.trend : curve.time.map(() => undefined)] : [[], [], [], [], [], []]);
  return uPlot.join(tables);
}

function seriesOptions() {
  const { data } = chart;
  const dots = data.raw !== null && data.points <= 260;
  const thin = { points: { show: false } };
  return [
    {},
    { label: "value", stroke: css("--line"), width: 1.5, points: { show: dots, size: 5, fill: css("--surface"), stroke: css("--line"), filter: (u, index, show) => (show ? null : lonely(u.data[index])) }, paths: data.total ? uPlot.paths.bars({ size: [0.9, 40] }) : undefined, fill: data.total ? css("--line-soft") : undefined },
    { label: "low", stroke: "transparent", ...thin },
    { label: "high", stroke: "transparent", ...thin },
    { label: "fitted", stroke: css("--fit"), width: 2, ...thin },
    { label: "forecast", stroke: css("--fit"), width: 2, dash: [7, 5], ...thin },
    { label: "lower", stroke: css("--band-edge"), width: 1, dash: [2, 4], ...thin },
    { label: "upper", stroke: css("--band-edge"), width: 1, dash: [2, 4], ...thin },
    { label: "trend", stroke: css("--trend"), width: 1.4, dash: [10, 3, 2, 3], ...thin },
  ];
}

/** Indices of values with a gap on either side: no line leads to them, so they are drawn as dots. */
function lonely(values) {
  const shown = [];
  let before = null; // the value before, past those that are only absent by alignment
  let candidate = -1;
  values.forEach((value, i) => {
    if (value === undefined) return;
    if (value === null) {
      if (candidate >= 0) shown.push(candidate);
      candidate = -1;
    } else candidate = before === null ? i : -1;
    before = value;
  });
  return candidate >= 0 ? [...shown, candidate] : shown;
}

function axis(extra) {
  return { stroke: css("--muted"), grid: { stroke: css("--grid"), width: 1 }, ticks: { stroke: css("--grid"), width: 1, size: 5 }, font: `12px ${css("--font")}`, ...extra };
}

function options(width, height) {
  const { stream } = chart;
  const zone = shownZone();
  return {
    width, height, legend: { show: false }, tzDate: (time) => uPlot.tzDate(new Date(time * 1000), zone),
    cursor: { drag: { x: true, y: false, setScale: true }, focus: { prox: 24 }, points: { size: 7 } },
    scales: { x: { time: true, min: chart.range[0], max: chart.range[1] }, y: { range: (u, low, high) => padded(low, high) } },
    series: seriesOptions(),
    bands: [{ series: [3, 2], fill: css("--line-soft") }, { series: [7, 6], fill: css("--band") }],
    axes: [
      axis({ values: (u, splits, index, space, step) => splits.map((split, i) => tickText(split, step, i === 0 ? null : splits[i - 1])), space: 62 }),
      axis({ size: 62, values: (u, splits) => splits.map((split) => tidy(split, splits)), label: axisLabel(stream), labelSize: 20, labelFont: `12px ${css("--font")}` }),
    ],
    plugins: [marksPlugin(marksNow, (shown) => Object.assign(byId("chart").dataset, { events: shown.events, findings: shown.findings }))],
    hooks: { setCursor: [readout], setScale: [(u, key) => key === "x" && ranged(u)] },
  };
}

function padded(low, high) {
  const { flagged } = chart.data;
  const values = flagged.suspect.map((point) => point.value);
  const bottom = Math.min(low ?? Infinity, ...values);
  const top = Math.max(high ?? -Infinity, ...values);
  if (!Number.isFinite(bottom) || !Number.isFinite(top)) return [0, 1];
  const margin = (top - bottom || Math.abs(top) || 1) * 0.08;
  return [bottom - margin, top + margin];
}

const axisLabel = (stream) => `${nameOf({ name_zh: stream.property_name_zh, name_en: stream.property_name_en, code: stream.property })} (${unitText(stream.unit) || "1"})`;

function tidy(split, splits) {
  const step = Math.abs((splits[1] ?? split + 1) - splits[0]) || 1;
  return number(split, "", Math.max(0, Math.min(6, -Math.floor(Math.log10(step) + 1e-9))));
}

function tickText(split, step, before) {
  const p = zonedParts(split * 1000);
  const q = before === null ? null : zonedParts(before * 1000);
  if (step >= 360 * DAY) return p.year;
  if (step >= 27 * DAY) return `${p.year}-${p.month}`;
  if (step >= DAY) return !q || q.year !== p.year ? `${p.month}-${p.day}\n${p.year}` : `${p.month}-${p.day}`;
  const clock = step < 60 ? `${p.hour}:${p.minute}:${p.second}` : `${p.hour}:${p.minute}`;
  return !q || q.day !== p.day ? `${clock}\n${p.month}-${p.day}` : clock;
}

function marksNow() {
  const { stream, data, analysis, curve } = chart;
  return {
    events: stationEvents().filter((event) => !event.datastream || event.datastream === stream.code),
    findings: analysis.findings, flagged: data.flagged, limits: analysis.results?.limits ?? [], curve, unit: stream.unit,
  };
}

function draw() {
  chart.plot?.destroy();
  const figure = byId("chart");
  fill(figure);
  figure.dataset.state = "ready";
  figure.setAttribute("aria-label", t("chart_label", { name: streamName(chart.stream) }));
  byId("chart-tools").hidden = false;
  drawTools();
  chart.plot = new uPlot(options(figure.clientWidth, figure.clientHeight), alignedData(), figure);
  chart.plot.over.addEventListener("wheel", wheel, { passive: false });
  chart.plot.over.addEventListener("click", pick);
  chart.plot.over.addEventListener("dblclick", () => show(chart.full));
  dragToPan(chart.plot.over);
  described();
}

function apply() {
  const { plot, range } = chart;
  plot.batch(() => {
    plot.setData(alignedData(), false);
    plot.setScale("x", { min: range[0], max: range[1] });
  });
  described();
}

function described() {
  const { data, curve, stream } = chart;
  Object.assign(byId("chart").dataset, {
    datastream: stream.code, points: data.points, suspect: data.flagged.suspect.length, fail: data.flagged.fail.length, missing: data.flagged.missing, gaps: data.gaps,
    resolution: data.resolution, band: String(Boolean(curve?.lower.length)), forecast: String(Boolean(curve && curve.start < Infinity)),
    from: new Date(chart.range[0] * 1000).toISOString(), to: new Date(chart.range[1] * 1000).toISOString(),
  });
  fill(byId("chart-legend"), legend({ ...chart, marks: marksNow() }));
}

function readout(u) {
  const index = u.cursor.idx;
  if (index === null || index === undefined) return fill(byId("chart-readout"), t("chart_hint"));
  const unit = unitText(chart.stream.unit);
  const at = (series) => u.data[series][index];
  const part = (label, value) => (value === null || value === undefined ? null : `${label} ${number(value, chart.stream.unit)} ${unit}`);
  const time = u.data[0][index] * 1000;
  return fill(byId("chart-readout"), [`${dateTime(time)} ${offsetText(time)}`, part(t("read.value"), at(1)), part(t("read.fit"), at(4) ?? at(5)),
    at(6) === null || at(6) === undefined ? null : `[${number(at(6), chart.stream.unit)}, ${number(at(7), chart.stream.unit)}] ${unit}`].filter(Boolean).join("　"));
}

/** A click tells all about the nearest observation: quality, reasons, when it came, what it was before. */
async function pick(event) {
  const { raw } = chart.data;
  if (!raw || event.detail > 1) return;
  const x = chart.plot.posToVal(event.offsetX, "x");
  let best = 0;
  raw.time.forEach((time, i) => {
    if (Math.abs(time - x) < Math.abs(raw.time[best] - x)) best = i;
  });
  await tell(best);
}

async function tell(index) {
  const { data, stream } = chart;
  const { raw } = data;
  const detail = byId("chart-detail");
  const reasons = raw.quality_reasons?.[index] ?? [];
  const unit = unitText(stream.unit);
  const head = h("p", {}, h("b", { class: "num" }, `${dateTime(raw.time[index] * 1000)} ${offsetText(raw.time[index] * 1000)}`), `　${number(raw.result[index], stream.unit)} `,
    raw.sigma?.[index] ? `± ${number(raw.sigma[index], stream.unit)} ` : "", `${unit}　${word("quality", raw.quality?.[index])}`, reasons.length ? bracketed(reasons.map((one) => word("reason", one)).join(t("comma"))) : "");
  fill(detail, head);
  try {
    const found = await loadRevisions(stream, raw.phenomenon_time[index]);
    if (detail.firstChild !== head) return;
    detail.append(found.items.length
      ? h("ul", {}, found.items.map((one) => h("li", { class: "num" }, t("was", { value: `${number(one.result, stream.unit)} ${unit}`, time: dateTime(one.superseded_at) }))))
      : h("p", { class: "hint" }, t("never_corrected")));
  } catch {
    detail.append(h("p", { class: "hint" }, t("revisions_failed")));
  }
  const time = raw.phenomenon_time[index];
  const again = async () => {
    await finer();
    const place = chart?.data.raw?.phenomenon_time.indexOf(time) ?? -1;
    if (place >= 0) await tell(place);
  };
  const said = await overridesOf(stream, time, again).catch(() => null);
  if (said && detail.firstChild === head) detail.append(said);
}

function drawTools() {
  const button = (label, name, run) => h("button", { type: "button", "aria-label": name, title: name, on: { click: run } }, label);
  const ranges = [["1d", DAY], ["1w", 7 * DAY], ["1mo", 30.4 * DAY], ["1y", YEAR], ["5y", 5 * YEAR]];
  fill(byId("chart-tools"),
    h("h3", { class: "chart-title" }, streamName(chart.stream)),
    h("div", { class: "button-row" }, ranges.map(([key, size]) => h("button", { type: "button", dataset: { range: key }, on: { click: () => recent(size) } }, t(`range.${key}`))),
      h("button", { type: "button", dataset: { range: "all" }, on: { click: () => show(chart.full) } }, t("range.all"))),
    h("div", { class: "button-row" }, button("◀", t("pan_back"), () => move(-0.4)), button("▶", t("pan_on"), () => move(0.4)),
      button("＋", t("zoom_in"), () => zoom(0.5)), button("－", t("zoom_out"), () => zoom(2))));
}

function recent(size) {
  const last = Math.min(chart.data.time[chart.data.time.length - 1] ?? now() / 1000, now() / 1000);
  const end = Math.max(last, chart.stream.status?.last_time ? Date.parse(chart.stream.status.last_time) / 1000 : last);
  show([end - size, end + size * 0.02]);
}

function move(part) {
  const [low, high] = chart.range;
  show([low + (high - low) * part, high + (high - low) * part]);
}

function zoom(factor, centre = (chart.range[0] + chart.range[1]) / 2) {
  const [low, high] = chart.range;
  show([centre - (centre - low) * factor, centre + (high - centre) * factor]);
}

/** Show a range of time (seconds). */
function show([low, high]) {
  const width = Math.max(60, Math.min(high - low, (chart.full[1] - chart.full[0]) * 1.2));
  const middle = (low + high) / 2;
  chart.plot.setScale("x", { min: middle - width / 2, max: middle + width / 2 });
}

function ranged(u) {
  const range = [u.scales.x.min, u.scales.x.max];
  if (!chart || range[0] === null || (range[0] === chart.range[0] && range[1] === chart.range[1])) return;
  chart.range = range;
  clearTimeout(redraw);
  redraw = setTimeout(finer, 220);
  Object.assign(byId("chart").dataset, { from: new Date(range[0] * 1000).toISOString(), to: new Date(range[1] * 1000).toISOString() });
}

/** Read what is shown again, as finely as it fits, with a margin so that a small pan shows no edge. */
async function finer() {
  const mine = chart;
  if (!mine) return;
  const [low, high] = mine.range;
  const margin = (high - low) * 0.15;
  const figure = byId("chart");
  figure.dataset.state = "refining";
  try {
    const data = await loadObservations(mine.stream, low - margin, high + margin, abort.signal);
    if (chart !== mine || mine.range[0] !== low) return;
    mine.data = data;
    apply();
  } catch (problem) {
    if (problem.name !== "AbortError") fill(byId("chart-readout"), `${t("problem.refine")} ${problem.detail ?? ""}`);
  } finally {
    if (chart === mine) figure.dataset.state = "ready";
  }
}

function wheel(event) {
  if (!event.ctrlKey && !event.shiftKey && document.activeElement !== byId("chart")) return; // plain scrolling belongs to the page
  event.preventDefault();
  if (event.shiftKey) move((event.deltaY || event.deltaX) > 0 ? 0.1 : -0.1);
  else zoom(event.deltaY > 0 ? 1.25 : 0.8, chart.plot.posToVal(event.offsetX, "x"));
}

/** With shift held (or one finger) the chart is dragged instead of zoomed. */
function dragToPan(over) {
  let start = null;
  const begin = (x) => { start = { x, range: chart.range }; };
  const drag = (x) => {
    if (!start) return;
    const width = start.range[1] - start.range[0];
    const by = ((start.x - x) / over.clientWidth) * width;
    chart.plot.setScale("x", { min: start.range[0] + by, max: start.range[1] + by });
  };
  over.addEventListener("mousedown", (event) => {
    if (!event.shiftKey || event.button !== 0) return;
    event.stopImmediatePropagation();
    begin(event.clientX);
    const moved = (e) => drag(e.clientX);
    addEventListener("mousemove", moved);
    addEventListener("mouseup", () => { start = null; removeEventListener("mousemove", moved); }, { once: true });
  }, true);
  over.addEventListener("touchstart", (event) => event.touches.length === 1 && begin(event.touches[0].clientX), { passive: true });
  over.addEventListener("touchmove", (event) => event.touches.length === 1 && drag(event.touches[0].clientX), { passive: true });
  over.addEventListener("touchend", () => { start = null; });
}

/** Keys of the focused chart: arrows pan, + and − zoom, Home shows all. */
export function startChart() {
  const figure = byId("chart");
  const keys = { ArrowLeft: () => move(-0.2), ArrowRight: () => move(0.2), "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), Home: () => show(chart.full) };
  figure.addEventListener("keydown", (event) => {
    if (!chart?.plot || !(event.key in keys) || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    keys[event.key]();
  });
  new ResizeObserver(() => chart?.plot?.setSize({ width: figure.clientWidth, height: figure.clientHeight })).observe(figure);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redrawChart);
}

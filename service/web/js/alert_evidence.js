// What an alert rests on, drawn: the values that were judged against their limits, and where the station lies among its neighbours.
import { h } from "./dom.js";
import { nameOf, t, word } from "./i18n.js";
import { dateTime, number, unitText } from "./format.js";
import { LEVELS, state, stationOf } from "./state.js";

const WIDTH = 340;
const HEIGHT = 130;
const LEFT = 8;
const RIGHT = 8;
const TOP = 10;
const BOTTOM = 22;
const NEAR_DEG = 0.12;

/** The two pictures of an alert; null where neither can be drawn (values that may not be seen, a station without a place). */
export function evidencePictures(alert) {
  const pictures = [valuesChart(alert), placeMap(alert)].filter(Boolean);
  return pictures.length ? h("div", { class: "evidence" }, pictures) : null;
}

/** The judged values over time with every limit that lies near them. */
function valuesChart(alert) {
  const points = (alert.evidence?.values ?? []).map(([time, value]) => ({ at: Date.parse(time), value })).filter((point) => Number.isFinite(point.at));
  const known = points.filter((point) => Number.isFinite(point.value));
  if (known.length < 2) return null;
  const limits = limitsOf(alert);
  const shown = [...known.map((point) => point.value), ...limits.map((limit) => limit.value)];
  const [low, high] = [Math.min(...shown), Math.max(...shown)];
  const spread = high - low || Math.abs(high) || 1;
  const [first, last] = [known[0].at, known.at(-1).at];
  const x = (at) => LEFT + ((at - first) / (last - first || 1)) * (WIDTH - LEFT - RIGHT);
  const y = (value) => TOP + ((high + 0.06 * spread - value) / (1.12 * spread)) * (HEIGHT - TOP - BOTTOM);
  const unit = unitText(alert.unit);
  const title = t("evidence.chart", { n: known.length, low: number(Math.min(...known.map((p) => p.value)), alert.unit), high: number(Math.max(...known.map((p) => p.value)), alert.unit), unit });
  return picture(title, [
    ...limits.map((limit) => h("path", { d: `M${LEFT} ${y(limit.value)}H${WIDTH - RIGHT}`, class: `evidence-limit limit-${limit.level}` })),
    ...limits.map((limit) => text(LEFT, y(limit.value) - 3, `${word("level", limit.level)} ${number(limit.value, alert.unit)} ${unit}`, "start")),
    h("path", { d: lineThrough(points, x, y), class: "evidence-line" }),
    ...known.slice(-60).map((point) => h("circle", { cx: x(point.at), cy: y(point.value), r: 1.8, class: "evidence-dot" })),
    text(LEFT, HEIGHT - 6, dateTime(first), "start"),
    text(WIDTH - RIGHT, HEIGHT - 6, dateTime(last), "end"),
  ]);
}

/** A line that is broken where a value is missing: a gap is not bridged. */
function lineThrough(points, x, y) {
  let pen = "M";
  return points.map((point) => {
    if (!Number.isFinite(point.value)) {
      pen = "M";
      return "";
    }
    const step = `${pen}${x(point.at).toFixed(1)} ${y(point.value).toFixed(1)}`;
    pen = "L";
    return step;
  }).join("");
}

function limitsOf(alert) {
  const stated = alert.evidence?.limits ?? {};
  const all = LEVELS.filter((level) => Number.isFinite(stated[level])).map((level) => ({ level, value: stated[level] }));
  return all.length ? all : Number.isFinite(alert.limit) ? [{ level: alert.level_word, value: alert.limit }] : [];
}

/** The station among those around it; the shape of the alert's colour marks it. */
function placeMap(alert) {
  const station = stationOf(alert.station);
  if (!station || !Number.isFinite(station.longitude_deg) || !Number.isFinite(station.latitude_deg)) return null;
  const squeeze = Math.cos((station.latitude_deg * Math.PI) / 180);
  const scale = (HEIGHT - 2 * TOP) / (2 * NEAR_DEG);
  const x = (longitude) => WIDTH / 2 + (longitude - station.longitude_deg) * squeeze * scale;
  const y = (latitude) => HEIGHT / 2 - (latitude - station.latitude_deg) * scale;
  const inside = (one) => Number.isFinite(one.longitude_deg) && Math.abs(x(one.longitude_deg) - WIDTH / 2) < WIDTH / 2 - 6 && Math.abs(y(one.latitude_deg) - HEIGHT / 2) < HEIGHT / 2 - 6;
  const others = state.stations.filter((one) => one.code !== station.code && inside(one));
  const title = t("evidence.map", { station: nameOf(station), n: others.length });
  const tenKm = (10 / 111.2) * scale;
  return picture(title, [
    ...others.map((one) => h("circle", { cx: x(one.longitude_deg), cy: y(one.latitude_deg), r: 3, class: "evidence-other" })),
    h("circle", { cx: WIDTH / 2, cy: HEIGHT / 2, r: 11, class: `evidence-halo halo-${alert.level_word}` }),
    h("circle", { cx: WIDTH / 2, cy: HEIGHT / 2, r: 4.5, class: `evidence-here here-${alert.level_word}` }),
    text(WIDTH / 2, HEIGHT / 2 - 15, nameOf(station), "middle"),
    h("path", { d: `M${LEFT} ${HEIGHT - 8}h${tenKm.toFixed(1)}`, class: "evidence-scale" }),
    text(LEFT, HEIGHT - 13, "10 km", "start"),
  ]);
}

function picture(title, parts) {
  return h("figure", { class: "evidence-picture" },
    h("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": title }, parts), h("figcaption", {}, title));
}

function text(x, y, words, anchor) {
  return h("text", { x, y, "text-anchor": anchor, class: "evidence-text" }, words);
}

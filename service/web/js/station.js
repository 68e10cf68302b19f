// One station: what it has, what it last said, how fast it moves and how sure that is.
import { code, get, list } from "./api.js";
import { byId, fill, h } from "./dom.js";
import { nameOf, t, word } from "./i18n.js";
import { ago, dateTime, directionText, number, offsetText, position, quantity, unitText } from "./format.js";
import { failure, loading, nothing } from "./messages.js";
import { proposalList, proposalsOf } from "./proposals.js";
import { now, state, stationState } from "./state.js";
import { symbol } from "./symbols.js";

const QUALITY_OK = new Set([1, 2, null, undefined]);
let panel = { station: null, streams: [], results: new Map(), events: [], proposals: [], showDerived: false, ticket: 0 };

/** The panel before anything is chosen. */
export function drawNoStation() {
  byId("station").dataset.station = "";
  fill(byId("station-title"), t("station"));
  fill(byId("station-facts"));
  fill(byId("station-streams"), nothing(t("choose_station")));
}

/** Load a station; draws while it loads. Resolves to its datastreams, or null if another one was chosen meanwhile. */
export async function openStation(chosen, handlers) {
  const ticket = ++panel.ticket;
  const same = panel.station?.code === chosen;
  if (!same) {
    panel = { ...panel, station: null, streams: [], results: new Map(), events: [], proposals: [] };
    fill(byId("station-title"), chosen);
    fill(byId("station-facts"));
    fill(byId("station-streams"), loading());
  }
  try {
    const station = await get(`/stations/${code(chosen)}`);
    const streams = station.datastreams ?? (await list("/datastreams", { station: chosen, limit: 1000 })).items;
    if (ticket !== panel.ticket) return null;
    Object.assign(panel, { station, streams, events: station.events ?? [] });
    drawStation(handlers);
    loadVelocities(ticket, handlers);
    loadProposals(ticket, handlers);
    return streams;
  } catch (problem) {
    if (ticket === panel.ticket) fill(byId("station-streams"), failure(problem, () => handlers.onRetry(chosen)));
    return null;
  }
}

/** Events of the station that is open. */
export const stationEvents = () => panel.events;

/** The datastream of the open station with this code. */
export const streamOf = (wanted) => panel.streams.find((stream) => stream.code === wanted) ?? null;

/** The one to show first: named, else the one the alert is about, else a displacement, else the first. */
export function firstStream(wanted) {
  const own = panel.streams.filter((stream) => !stream.derived);
  return worthShowing(streamOf(wanted)) ?? own.find((s) => /displacement_up|height|compaction/.test(s.property)) ?? own[0] ?? panel.streams[0] ?? null;
}

/** A derived datastream of one or two values says less than what it was derived from. */
function worthShowing(stream) {
  if (!stream?.derived) return stream;
  const source = streamOf(stream.derivation?.source);
  if (source && (stream.status?.observations ?? 0) < 3) return source;
  panel.showDerived = true;
  return stream;
}

async function loadVelocities(ticket, handlers) {
  const own = panel.streams.filter((stream) => !stream.derived);
  await Promise.all(own.map(async (stream) => {
    try {
      panel.results.set(stream.code, await get(`/datastreams/${code(stream.code)}/results`, { points: 2 }));
    } catch {
      panel.results.set(stream.code, null);
    }
  }));
  if (ticket === panel.ticket) drawStation(handlers);
}

async function loadProposals(ticket, handlers) {
  const proposals = handlers.eventsFor ? await proposalsOf(panel.station.code) : [];
  if (ticket !== panel.ticket || !proposals.length) return;
  panel.proposals = proposals;
  drawStation(handlers);
}

/** Put a person's answer into the event log that is shown, until the station is read again. */
function decided(event, proposal, handlers) {
  panel.events = [...panel.events, event].sort((a, b) => Date.parse(a.start) - Date.parse(b.start));
  panel.proposals = panel.proposals.filter((one) => one.id !== proposal.id);
  drawStation(handlers);
}

/** Draw the panel from what is known. */
export function drawStation(handlers) {
  const { station } = panel;
  if (!station) return drawNoStation();
  const live = state.stations.find((one) => one.code === station.code) ?? station;
  byId("station").dataset.station = station.code;
  byId("station").dataset.state = stationState(live);
  fill(byId("station-title"), symbol(stationState(live), 20), " ", nameOf(station));
  fill(byId("station-facts"), facts(station, live).map((fact) => h("span", {}, fact)));
  const derived = panel.streams.filter((stream) => stream.derived);
  const own = panel.streams.filter((stream) => !stream.derived);
  if (!panel.streams.length) return fill(byId("station-streams"), nothing(t("no_streams")));
  const shown = panel.showDerived ? [...own, ...derived] : own;
  return fill(byId("station-streams"),
    h("div", { class: "table-wrap" }, h("table", { class: "table stream-table" },
      h("thead", {}, h("tr", {}, ["datastream", "last_value", "velocity"].map((key) => h("th", { scope: "col", class: key === "datastream" ? "" : "right" }, t(`col.${key}`))))),
      h("tbody", {}, shown.map((stream) => row(stream, handlers))))),
    derived.length ? h("button", { type: "button", class: "link derived-toggle", "aria-expanded": String(panel.showDerived), on: { click: () => {
      panel.showDerived = !panel.showDerived;
      drawStation(handlers);
    } } }, t(panel.showDerived ? "hide_derived" : "show_derived", { n: derived.length })) : null,
    handlers.eventsFor ? eventList() : null,
    proposalList(panel.proposals, (one) => (streamOf(one) ? streamName(streamOf(one)) : one), (event, one) => decided(event, one, handlers)));
}

function facts(station, live) {
  const region = state.regions.get(station.region_code);
  return [
    h("b", {}, word("station_state", stationState(live))),
    h("code", {}, station.code),
    word("kind", station.kind),
    region ? nameOf(region) : station.region_code,
    station.longitude_deg === null || station.longitude_deg === undefined ? t("no_position")
      : h("span", { class: "num" }, `${position(station)} CGCS2000`),
    station.simulated ? h("em", { class: "badge-simulated small" }, t("simulated")) : null,
    station.confirmed === false ? h("em", { class: "mark mark-due" }, t("unconfirmed")) : null,
    station.disclosure && station.disclosure !== "open" ? word("disclosure", station.disclosure) : null,
  ].filter(Boolean);
}

/** Aquifers have names by configuration: provinces count them differently. */
function aquiferName(wanted) {
  const known = (state.node?.attributes?.aquifers ?? []).find?.((one) => one.code === wanted);
  return known ? nameOf(known) : wanted;
}

/** What a datastream is called: its own name or its property's, with channel, depth and aquifer. */
export function streamName(stream) {
  const own = nameOf({ name_zh: stream.name_zh, name_en: stream.name_en, code: null });
  const name = own === "—" ? nameOf({ name_zh: stream.property_name_zh, name_en: stream.property_name_en, code: stream.property }) : own;
  const depth = stream.depth_top_m !== null && stream.depth_top_m !== undefined
    ? `${number(stream.depth_top_m, "", 0)}–${number(stream.depth_bottom_m, "", 0)}\u00a0m` : null;
  return [name, stream.channel && own === "—" ? stream.channel : null, depth, aquiferName(stream.aquifer)].filter(Boolean).join(" · ");
}

function row(stream, { onStream }) {
  const chosen = stream.code === state.stream;
  const status = stream.status ?? {};
  return h("tr", { class: chosen ? "is-chosen" : "", dataset: { datastream: stream.code } },
    h("th", { scope: "row" },
      h("button", { type: "button", class: "link stream-name", "aria-pressed": String(chosen), on: { click: () => onStream(stream.code) } }, streamName(stream)),
      h("small", {}, [directionText(stream.direction), stream.datum ? `${stream.datum}${stream.datum_epoch ? ` (${stream.datum_epoch})` : ""}` : null,
        stream.frame, stream.derived ? t("derived_by", { method: stream.derivation?.method ?? "" }) : null].filter(Boolean).join(" · "))),
    h("td", { class: "right" },
      h("span", { class: "num strong" }, quantity(status.last_result, stream.unit)),
      QUALITY_OK.has(status.last_quality) ? null : h("span", { class: `flag flag-${status.last_quality}` }, word("quality", status.last_quality)),
      h("small", { class: "num", title: `${dateTime(status.last_time)} ${offsetText(status.last_time ?? undefined)}` }, ago(status.last_time, now())),
      stream.silent ? h("small", { class: "mark mark-due" }, `${word("letter", "silent")} ${t("silent_word")}`) : null),
    h("td", { class: "right velocity", dataset: { velocity: "" } }, velocity(stream)));
}

function velocity(stream) {
  if (stream.derived) return "";
  if (!panel.results.has(stream.code)) return h("small", {}, "…");
  const found = panel.results.get(stream.code);
  const run = found?.velocity;
  if (!run || run.rate === null || run.rate === undefined) return h("small", {}, t("not_estimated"));
  const unit = found.rate_unit ?? run.unit;
  return [
    h("span", { class: "num strong" }, number(run.rate, unit, rateDecimals(run.rate_sigma, unit)),
      run.rate_sigma === null || run.rate_sigma === undefined ? "" : ` ± ${number(run.rate_sigma, unit, rateDecimals(run.rate_sigma, unit))}`, ` ${unitText(unit)}`),
    recent(found),
    run.interim ? h("small", { class: "mark mark-due interim", title: t("interim_long") }, t("interim")) : h("small", {}, t("one_sigma")),
  ];
}

function recent(found) {
  const rate = found.recent_rate?.rate ?? found.recent_rate?.value;
  if (rate === null || rate === undefined) return null;
  const unit = found.recent_rate.unit ?? found.rate_unit;
  const sigma = found.recent_rate.rate_sigma;
  const decimals = rateDecimals(sigma, unit);
  const spread = sigma === null || sigma === undefined ? "" : ` ± ${number(sigma, unit, decimals)}`;
  return h("small", { class: "num" }, t("last_12_months", { value: `${number(rate, unit, decimals)}${spread} ${unitText(unit)}` }));
}

/** One or two digits of sigma, so that an error is never shown as 0.0. */
const rateDecimals = (sigma, unit) => (unit === "mm/a" ? Math.min(3, Math.max(1, sigma > 0 ? -Math.floor(Math.log10(sigma)) : 1)) : sigma && sigma > 0 ? Math.min(4, Math.max(0, 1 - Math.floor(Math.log10(sigma)))) : 3);

function eventList() {
  if (!panel.events.length) return null;
  return h("details", { class: "history" }, h("summary", {}, t("event_log", { n: panel.events.length })),
    h("ol", {}, panel.events.map((event) => h("li", {}, h("span", { class: "num" }, dateTime(event.start)), ` ${word("event", event.kind)}`,
      event.effect && event.effect !== "none" ? ` · ${word("effect", event.effect)}` : "", event.note ? ` · ${event.note}` : ""))));
}

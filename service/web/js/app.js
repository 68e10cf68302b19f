// The composition root of the page: loads, wires, refreshes. Each part draws itself from `state`.
import { ApiProblem, get, list, post, setToken, token } from "./api.js";
import { byId, fill, h } from "./dom.js";
import { language, nameOf, preferredLanguage, t, useLanguage, word } from "./i18n.js";
import { bracketed, dateTime, offsetText, useZone } from "./format.js";
import { drawAlerts, drawSummary, forgetDetails, handlersForPerson } from "./alerts.js";
import { drawNoChart, openChart, redrawChart, refreshChart, startChart } from "./chart.js";
import { drawForeign, foreignForPerson, loadForeign } from "./foreign.js";
import { follow } from "./live.js";
import { login } from "./login.js";
import { drawMapWords, drawStations, showStation, startMap } from "./map.js";
import { failure, loading } from "./messages.js";
import { drawNav } from "./nav.js";
import { drawRules, openRules, rulesForPerson } from "./rules.js";
import { drawSilent } from "./silent.js";
import { drawNoStation, drawStation, firstStream, openStation, streamOf } from "./station.js";
import { may, now, state, stationOf } from "./state.js";

const trouble = { alerts: null, silent: null };
let stream = null;
let mapReady = false;

const stationHandlers = {
  onStream: (code) => chooseStream(code), onRetry: (code) => select(code), eventsFor: true,
};
const alertHandlers = {
  onStation: (code, datastream) => select(code, datastream, true), onChanged: changedAlert, onFilter: filterBy, onRetry: () => refreshAlerts(),
};

async function boot() {
  await useLanguage(preferredLanguage());
  byId("language").addEventListener("click", switchLanguage);
  byId("account").addEventListener("click", accountPressed);
  byId("alerts-state").addEventListener("change", (event) => { state.alertsState = event.target.value; refreshAlerts(); });
  byId("station-find").addEventListener("change", findStation);
  addEventListener("hashchange", openFromAddress);
  handlersForPerson.identify = identify;
  rulesForPerson.identify = identify;
  foreignForPerson.identify = identify;
  byId("rules").addEventListener("toggle", () => { if (byId("rules").open) openRules(); });
  startChart();
  fill(byId("alerts-list"), loading());
  drawNoStation();
  drawNoChart();
  drawWords();
  await start();
  setInterval(drawClock, 15000);
}

async function start() {
  hideProblem();
  try {
    const asked = Date.now();
    state.node = await get("/node");
    state.clockSkew = state.node.now ? Date.parse(state.node.now) - (asked + Date.now()) / 2 : 0;
    useZone(state.node.zone);
    drawNode();
    state.me = await get("/me").catch(forgetStaleToken);
    drawAccount();
    if (!mapReady) {
      mapReady = true;
      await startMap({ onSelect: (code) => select(code) });
    }
    await refreshAll();
    state.live ??= follow({ onEvent, onState: drawLive, onPoll: () => refreshAll().catch(() => {}) });
    openFromAddress();
    document.body.dataset.ready = "true";
  } catch (problem) {
    if (problem.status === 401) return needLogin();
    showProblem(problem, start);
  }
}

async function forgetStaleToken(problem) {
  if (problem.status !== 401 || !token()) throw problem;
  setToken(null);
  return get("/me");
}

function needLogin() {
  showProblem(new ApiProblem(401), () => enter());
  return enter();
}

async function enter(reason = t("login_to_read")) {
  if (await login(reason)) await start();
}

// ---------------------------------------------------------------- loading

async function refreshAll() {
  const [stations, regions, properties, rules] = await Promise.all([
    list("/stations", { limit: 1000 }), state.regions.size ? null : list("/regions").catch(() => null),
    state.properties ? null : list("/properties").catch(() => null), state.rules.size || !may("read_rules") ? null : list("/rules").catch(() => null)]);
  state.stations = stations.items;
  if (regions) state.regions = new Map(regions.items.map((one) => [one.code, one]));
  if (properties) state.properties = new Map(properties.items.map((one) => [one.code, one]));
  if (rules) state.rules = new Map(rules.items.map((one) => [one.code, one]));
  await Promise.all([refreshSummary(), refreshAlerts(), refreshSilent(), loadForeign()]);
  drawAlerts({ ...alertHandlers, error: trouble.alerts }); // whether "no alert" is an all-clear depends on who is silent
  drawStationsEverywhere();
  drawClock();
}

async function refreshSummary() {
  state.summary = await get("/summary").catch((problem) => {
    if (problem.status === 401) throw problem;
    return state.summary;
  });
  drawSummary({ onFilter: filterBy, onJump: jump });
}

async function refreshAlerts() {
  trouble.alerts = null;
  try {
    const found = await list("/alerts", { state: state.alertsState, limit: state.alertsState === "resolved" ? 100 : 1000 }, { most: state.alertsState === "resolved" ? 100 : 2000 });
    state.alerts = state.alertsState === "resolved" ? found.items : worstFirst(found.items);
    forgetDetails(state.alerts);
  } catch (problem) {
    trouble.alerts = problem;
  }
  drawAlerts({ ...alertHandlers, error: trouble.alerts });
}

/** Worst colour first, then those that no one has answered, then the newest. */
function worstFirst(alerts) {
  return [...alerts].sort((a, b) => b.level - a.level || Boolean(a.acknowledged_at) - Boolean(b.acknowledged_at) || (b.updated_at ?? "").localeCompare(a.updated_at ?? ""));
}

async function refreshSilent() {
  trouble.silent = null;
  try {
    state.silent = await list("/silent", { limit: 1000 });
  } catch (problem) {
    trouble.silent = problem;
  }
  drawSilent({ error: trouble.silent, onRetry: refreshSilent, onStation: alertHandlers.onStation });
  drawRules();
}

async function refreshStations() {
  state.stations = (await list("/stations", { limit: 1000 })).items;
  drawStationsEverywhere();
}

// ---------------------------------------------------------------- live

/** Run `work` now, then at most once in `pause` milliseconds, and never two at a time. */
function atMost(pause, work) {
  let waiting = false;
  let busy = false;
  return async function run() {
    if (busy || waiting) {
      waiting = true;
      return;
    }
    busy = true;
    await work().catch(() => {});
    setTimeout(() => {
      busy = false;
      if (waiting) {
        waiting = false;
        run();
      }
    }, pause);
  };
}

const liveAlerts = atMost(1000, () => Promise.all([refreshAlerts(), refreshSummary(), refreshStations(), loadForeign()]));
const liveObservations = atMost(8000, () => Promise.all([refreshStations(), refreshSummary(), refreshSilent()]));
const liveStation = atMost(5000, async () => {
  if (!state.selected) return;
  await openStation(state.selected, stationHandlers);
  if (stream) await refreshChart();
});

function onEvent(name, data) {
  if (name === "alerts") liveAlerts();
  else if (name === "observations") {
    liveObservations();
    if (data.stations?.includes(state.selected)) liveStation();
  } else if (name === "overflow") refreshAll().catch(() => {});
  byId("live").dataset.events = String(Number(byId("live").dataset.events ?? 0) + 1);
}

function drawLive(how = byId("live").dataset.state) {
  byId("live").dataset.state = how;
  byId("live-text").textContent = t(`live.${how}`);
}

// ---------------------------------------------------------------- choosing

async function select(code, datastream = null, scroll = false) {
  state.selected = code;
  drawStations();
  const station = stationOf(code);
  if (station) showStation(station);
  history.replaceState(null, "", `#station=${encodeURIComponent(code)}`);
  const target = byId("station");
  if (scroll || target.getBoundingClientRect().top > innerHeight - 80) target.scrollIntoView({ behavior: "smooth", block: "start" });
  stream = null;
  state.stream = null;
  drawNoChart();
  const streams = await openStation(code, stationHandlers);
  if (!streams) return;
  const first = firstStream(datastream);
  if (first) chooseStream(first.code);
}

function chooseStream(code) {
  const found = streamOf(code);
  if (!found) return;
  stream = found;
  state.stream = code;
  drawStation(stationHandlers);
  openChart(found);
}

function findStation(event) {
  const wanted = event.target.value.trim().toLowerCase();
  const found = state.stations.find((s) => s.code.toLowerCase() === wanted)
    ?? state.stations.find((s) => [s.code, s.name_zh, s.name_en].some((text) => text?.toLowerCase().includes(wanted)));
  event.target.setAttribute("aria-invalid", String(Boolean(wanted) && !found));
  if (wanted && found) select(found.code);
}

function openFromAddress() {
  const match = /^#station=(.+)$/.exec(location.hash);
  const wanted = match ? decodeURIComponent(match[1]) : null;
  if (wanted && wanted !== state.selected) select(wanted);
}

function filterBy(level) {
  state.levelFilter = state.levelFilter === level ? null : level;
  drawSummary({ onFilter: filterBy, onJump: jump });
  drawAlerts({ ...alertHandlers, error: trouble.alerts });
}

function jump(target) {
  const element = byId(target);
  element.scrollIntoView({ behavior: "smooth", block: "start" });
  element.focus({ preventScroll: true });
}

// ---------------------------------------------------------------- people

async function identify(permission) {
  if (!may(permission) || state.me?.anonymous) {
    const answer = await login(t("login_to_write"));
    if (!answer) return null;
    state.me = await get("/me");
    drawAccount();
    state.live?.restart();
    refreshAll().catch(() => {});
    if (!may(permission)) {
      showProblem(new ApiProblem(403, { detail: t("role_may_not", { role: word("role", state.me.role) }) }), hideProblem);
      return null;
    }
  }
  return state.me.display_name || state.me.name;
}

async function accountPressed() {
  if (state.me && !state.me.anonymous) {
    await post("/logout", {}).catch(() => null);
    setToken(null);
    state.live?.restart();
    return start();
  }
  if (await login()) {
    state.live?.restart();
    await start();
  }
  return null;
}

function changedAlert(full) {
  state.alerts = state.alerts.map((alert) => (alert.id === full.id ? { ...alert, ...full } : alert));
  drawAlerts({ ...alertHandlers, error: trouble.alerts });
  liveAlerts();
}

// ---------------------------------------------------------------- drawing

function drawStationsEverywhere() {
  if (mapReady) drawStations();
  drawSimulatedNote();
  fill(byId("station-options"), state.stations.map((station) => h("option", { value: station.code }, nameOf(station))));
  if (state.selected) drawStation(stationHandlers);
}

function drawNode() {
  const { node } = state;
  byId("node-name").textContent = nameOf(node);
  document.title = `${node.simulated ? `[${t("simulated")}] ` : ""}${nameOf(node)} · GroundWatch`;
  byId("simulated").hidden = !node.simulated;
  drawSimulatedNote();
  byId("version").textContent = `GroundWatch ${node.version ?? ""}`;
}

/** All of it is simulated until real files are imported into the demonstration; then each station says for itself. */
function drawSimulatedNote() {
  const real = state.stations.filter((station) => !station.simulated).length;
  const note = byId("simulated-note");
  note.hidden = !state.node.simulated;
  note.textContent = t(real ? "simulated_note_mixed" : "simulated_note", { n: real });
}

function drawAccount() {
  const { me } = state;
  const button = byId("account");
  button.textContent = me && !me.anonymous ? `${me.display_name || me.name}${bracketed(word("role", me.role))} · ${t("logout")}` : t("login");
  button.dataset.name = me && !me.anonymous ? me.name : "";
}

function drawClock() {
  byId("clock").textContent = `${dateTime(now())} ${offsetText()}`;
}

function drawWords() {
  const other = language() === "zh" ? "en" : "zh";
  const button = byId("language");
  button.textContent = other === "en" ? "English" : "中文";
  button.lang = other;
  drawNav();
  byId("station-find").placeholder = t("find_station");
  fill(byId("alerts-state"), ["firing", "pending", "resolved"].map((one) => h("option", { value: one }, t(`state.${one}`))));
  byId("alerts-state").value = state.alertsState;
  drawLive();
}

async function switchLanguage() {
  await useLanguage(language() === "zh" ? "en" : "zh", { remember: true });
  drawWords();
  if (!state.node) return;
  drawNode();
  drawAccount();
  drawClock();
  drawSummary({ onFilter: filterBy, onJump: jump });
  drawAlerts({ ...alertHandlers, error: trouble.alerts });
  drawSilent({ error: trouble.silent, onRetry: refreshSilent, onStation: alertHandlers.onStation });
  drawForeign();
  drawMapWords();
  drawStationsEverywhere();
  if (!state.selected) drawNoStation();
  redrawChart();
}

function showProblem(problem, retry) {
  const box = byId("problem");
  box.hidden = false;
  fill(box, failure(problem, retry));
}

function hideProblem() {
  byId("problem").hidden = true;
}

addEventListener("unhandledrejection", (event) => {
  if (event.reason?.name !== "AbortError") showProblem(event.reason instanceof ApiProblem ? event.reason : new ApiProblem(undefined, { detail: String(event.reason?.message ?? event.reason) }), hideProblem);
});

boot().catch((problem) => showProblem(problem, () => location.reload()));

// Colours with counts, the list of alerts, what each of them rests on, and who answers for it.
import { code, get, post } from "./api.js";
import { handling } from "./alert_handling.js";
import { byId, fill, h } from "./dom.js";
import { evidencePictures } from "./alert_evidence.js";
import { holdFact, shelvingButton } from "./alert_shelving.js";
import { language, nameOf, pick, t, word } from "./i18n.js";
import { ago, bracketed, dateTime, number, offsetText, quantity, span, unitText } from "./format.js";
import { ask } from "./login.js";
import { failure, loading, nothing } from "./messages.js";
import { LEVELS, now, state } from "./state.js";
import { symbol } from "./symbols.js";

const open = new Map(); // id of an alert that is unfolded -> its detail, null while it loads
let drawn = null; // key of what the list shows

/** The tiles over the page: counts by colour, what waits for a person, who is silent. */
export function drawSummary({ onFilter, onJump }) {
  const summary = state.summary;
  const counts = summary?.alerts ?? {};
  const tiles = LEVELS.map((level) => h("button", {
    type: "button", class: `tile tile-${level}`, "aria-pressed": String(state.levelFilter === level),
    dataset: { level, count: counts[level] ?? "" }, on: { click: () => onFilter(level) },
  }, symbol(level, 30), h("span", { class: "tile-word" }, word("level", level)), h("b", { class: "num" }, counts[level] ?? "—")));
  const plain = (key, value, target, extra = "") => h("button", {
    type: "button", class: `tile tile-plain ${extra}`, dataset: { tile: key, count: value ?? "" }, on: { click: () => onJump(target) },
  }, h("span", { class: "tile-word" }, t(`tile.${key}`)), h("b", { class: "num" }, value ?? "—"));
  fill(byId("summary"), tiles,
    plain("unacknowledged", counts.unacknowledged, "alerts", counts.unacknowledged ? "is-due" : ""),
    plain("silent", summary?.silent, "silent", summary?.silent ? "is-due" : ""),
    plain("stations", summary?.stations, "map"),
    summary && summary.quarantine !== null && summary.quarantine !== undefined ? plain("quarantine", summary.quarantine, "silent") : null);
}

/** The list, in the state and colour that were chosen. */
export function drawAlerts({ error = null, onRetry, onStation, onChanged, onFilter }) {
  const shown = state.alerts.filter((alert) => !state.levelFilter || alert.level_word === state.levelFilter);
  const list = byId("alerts-list");
  list.dataset.shown = String(shown.length);
  fill(byId("alerts-filter"), state.levelFilter
    ? h("button", { type: "button", class: "chip", on: { click: () => onFilter(state.levelFilter) } }, `${word("level", state.levelFilter)} ✕`)
    : null, h("span", { class: "num" }, t("count_alerts", { n: shown.length })));
  // A list that is drawn anew under the pointer eats clicks: it is drawn only when something has changed (or a minute has passed).
  const key = JSON.stringify([language(), error?.status ?? null, shown, [...open.entries()], state.summary?.silent, Math.floor(now() / 60000)]);
  if (key === drawn) return list;
  drawn = key;
  if (error) return fill(list, failure(error, onRetry));
  if (!shown.length) return fill(list, emptyText());
  const focused = document.activeElement?.closest?.("[data-alert]")?.dataset.alert;
  fill(list, shown.map((alert) => row(alert, { onStation, onChanged })));
  if (focused) list.querySelector(`[data-alert="${CSS.escape(focused)}"] .alert-head`)?.focus({ preventScroll: true });
  return list;
}

function emptyText() {
  if (state.levelFilter || state.alertsState !== "firing") return nothing(t("no_alerts_here"));
  const silent = state.summary?.silent ?? 0;
  return nothing(t("no_alerts"), silent ? h("strong", { class: "caution" }, t("not_all_clear", { n: silent })) : null);
}

function row(alert, handlers) {
  const id = String(alert.id);
  const unfolded = open.has(id);
  const head = h("button", { type: "button", class: "alert-head", "aria-expanded": String(unfolded), on: { click: () => toggle(alert, item, handlers) } },
    symbol(alert.level_word, 26),
    h("span", { class: "alert-main" },
      h("span", { class: "alert-title" }, pick(alert.headline) || nameOf(alert, "rule_name")),
      h("span", { class: "alert-sub" },
        h("span", {}, [word("level", alert.level_word), alert.station ?? alert.scope].join(" · ")),
        pick(alert.headline) || !known(alert.value) ? null : h("span", { class: "num" }, measured(alert)),
        h("span", { class: "num" }, t("since", { time: ago(alert.onset, now()) })))),
    h("span", { class: "alert-marks" }, marks(alert)));
  const item = h("article", { class: `alert alert-${alert.level_word}`, dataset: { alert: id, level: alert.level_word, acknowledged: String(Boolean(alert.acknowledged_at)) } }, head);
  if (unfolded) item.append(detail(alert, open.get(id), handlers));
  return item;
}

/** Has somebody taken notice of it as bad as it is now? */
const isAnswered = (alert) => Boolean(alert.acknowledged_at) && !alert.unanswered_since;

const stationName = (alert) => nameOf({ name_zh: alert.station_name_zh, name_en: alert.station_name_en, code: alert.station });

function measured(alert) {
  const value = quantity(alert.value, alert.unit);
  return !known(alert.limit) ? value : `${value} / ${t("limit")} ${quantity(alert.limit, alert.unit)}`;
}

function marks(alert) {
  const result = [];
  if (alert.status && alert.status !== "Actual") result.push(h("span", { class: "mark mark-exercise" }, word("status", alert.status)));
  if (alert.state !== "firing") result.push(h("span", { class: "mark" }, word("state", alert.state)));
  if (alert.confirmation === "awaited") result.push(h("span", { class: "mark mark-due" }, t("awaits_confirmation")));
  if (alert.confirmation === "confirmed" || alert.confirmation === "rejected") result.push(h("span", { class: "mark" }, word("confirmation", alert.confirmation)));
  if (alert.out_of_service) result.push(h("span", { class: "mark" }, t("held.out_of_service")));
  if (alert.shelved) result.push(h("span", { class: "mark" }, t("shelved")));
  result.push(isAnswered(alert)
    ? h("span", { class: "mark mark-done" }, `✓ ${t("acknowledged")}`)
    : h("span", { class: "mark mark-due" }, t("unacknowledged")));
  return result;
}

async function toggle(alert, item, handlers) {
  const id = String(alert.id);
  const head = item.querySelector(".alert-head");
  if (open.has(id)) {
    open.delete(id);
    item.querySelector(".alert-detail")?.remove();
    head.setAttribute("aria-expanded", "false");
    return;
  }
  open.set(id, null);
  head.setAttribute("aria-expanded", "true");
  item.append(detail(alert, null, handlers));
  await load(alert, handlers);
}

async function load(alert, handlers) {
  const id = String(alert.id);
  // the list may have been drawn anew while the detail was on its way
  const body = () => byId("alerts-list").querySelector(`[data-alert="${CSS.escape(id)}"] .alert-detail`);
  try {
    const full = await get(`/alerts/${code(id)}`);
    if (!open.has(id)) return;
    open.set(id, full);
    body()?.replaceWith(detail(full, full, handlers));
  } catch (problem) {
    if (body()) fill(body(), failure(problem, () => load(alert, handlers)));
  }
}

/** Details are read again when an alert may have changed. */
export function forgetDetails(changed) {
  for (const alert of changed) {
    const known = open.get(String(alert.id));
    if (known && known.updated_at !== alert.updated_at) get(`/alerts/${code(alert.id)}`).then((full) => {
      if (open.has(String(alert.id))) open.set(String(alert.id), full);
    }).catch(() => open.delete(String(alert.id)));
  }
}

function detail(alert, full, handlers) {
  if (!full) return h("div", { class: "alert-detail" }, loading());
  const shown = { ...full, ...(alert.updated_at > full.updated_at ? alert : {}) };
  const { text, rows } = explained(full);
  return h("div", { class: "alert-detail" },
    text ? h("p", { class: "explanation" }, text) : null,
    h("dl", { class: "facts-grid" }, facts(shown, rows).map(([label, value]) => [h("dt", {}, label), h("dd", {}, value)])),
    evidencePictures(full),
    actions(shown, handlers),
    handling(shown, (permission) => handlersForPerson.identify(permission)),
    history(full.transitions ?? []));
}

/** The explanation as the server words it: labelled lines become a list, sentences stay a paragraph. */
function explained(alert) {
  const lines = pick(alert.explanation).split("\n").map((line) => line.trim()).filter(Boolean);
  const labelled = lines.map((line) => /^([^：:]{1,24})[：:]\s*(.+)$/.exec(line));
  if (lines.length < 4 || labelled.includes(null)) return { text: lines.join(" "), rows: null };
  return { text: "", rows: labelled.map((match) => [match[1], match[2]]) };
}

function facts(alert, worded) {
  const rows = worded ?? ownFacts(alert);
  const excess = beyond(alert);
  if (worded && excess) rows.push([t("fact.excess"), excess]);
  for (const [label, value] of standingFacts(alert.standing)) rows.push([label, value]);
  if (worded) rows.push([t("fact.lasting"), span(((alert.ended ? Date.parse(alert.ended) : now()) - Date.parse(alert.onset)) / 1000)]);
  const hold = holdFact(alert);
  if (hold) rows.push(hold);
  if (alert.acknowledged_at) rows.push([t("fact.acknowledged"), `${alert.acknowledged_by} · ${dateTime(alert.acknowledged_at)}${alert.acknowledged_note ? ` · ${alert.acknowledged_note}` : ""}`]);
  if (alert.confirmed_at) rows.push([word("confirmation", alert.confirmation), `${alert.confirmed_by} · ${dateTime(alert.confirmed_at)}`]);
  return rows;
}

/** The newest value and the worst so far, as they are stored now: the alert's own figures are those of its last change. */
function standingFacts(standing) {
  const told = (value, at) => `${quantity(value, standing.unit)}${at ? ` · ${dateTime(at)}` : ""}`;
  return [
    known(standing?.value) ? [t("fact.newest"), told(standing.value, standing.at)] : null,
    known(standing?.worst) ? [t("fact.worst"), told(standing.worst, standing.worst_at)] : null,
  ].filter(Boolean);
}

/** What, where, how much, against what, how sure, since when, what to do, who: from the alert and its rule. */
function ownFacts(alert) {
  const rule = state.rules.get(alert.rule);
  const action = rule?.definition?.action ?? {};
  const rows = [
    [t("fact.what"), `${nameOf(alert, "rule_name")}${bracketed(`${alert.rule} v${alert.rule_version}`)}`],
    [t("fact.where"), [stationName(alert), alert.datastream ?? alert.station].filter(Boolean).join(" · ")],
  ];
  if (known(alert.value)) {
    const sigma = sigmaOf(alert);
    rows.push([t("fact.value"), h("span", { class: "num" }, number(alert.value, alert.unit), known(sigma) ? ` ± ${number(sigma, alert.unit)}` : "", ` ${unitText(alert.unit)}`)]);
  }
  if (known(alert.limit)) rows.push([t("fact.limit"), h("span", { class: "num" }, quantity(alert.limit, alert.unit))]);
  const stated = alert.evidence?.limit_source;
  if (stated) rows.push([t("fact.source"), `${stated.source} · ${stated.code}${stated.effective_from ? ` · ${stated.effective_from}` : ""}`]);
  else if (rule?.source) rows.push([t("fact.source"), rule.source]);
  rows.push([t("fact.sure"), certainty(alert)]);
  rows.push([t("fact.since"), h("span", { class: "num" }, `${dateTime(alert.onset)} ${offsetText(alert.onset)}${bracketed(ago(alert.onset, now()))}`)]);
  if (alert.ended) rows.push([t("fact.ended"), h("span", { class: "num" }, `${dateTime(alert.ended)} ${offsetText(alert.ended)}`)]);
  rows.push([t("fact.action"), action[`text_${language()}`] ?? t(`action.${alert.level_word}`)]);
  rows.push([t("fact.who"), action[`owner_${language()}`] ?? t(`who.${alert.confirmation === "awaited" ? "awaited" : "default"}`)]);
  return rows;
}

const known = (value) => value !== null && value !== undefined;
const sigmaOf = (alert) => alert.sigma ?? alert.evidence?.sigma ?? null;

function beyond(alert) {
  const sigma = sigmaOf(alert);
  if (!sigma || !known(alert.limit) || !known(alert.value)) return null;
  return t("beyond_sigma", { n: number(Math.abs(alert.value - alert.limit) / sigma, "", 1) });
}

function certainty(alert) {
  return [word("verdict", alert.verdict), beyond(alert), alert.evidence?.interim ? t("interim_long") : null, word("confirmation", alert.confirmation)]
    .filter(Boolean).join(" · ");
}

function actions(alert, { onStation, onChanged }) {
  const buttons = [];
  const press = (label, kind, run) => h("button", { type: "button", class: kind, on: { click: run } }, label);
  if (!isAnswered(alert)) buttons.push(press(t("acknowledge"), "primary act-acknowledge", () => acknowledge(alert, onChanged)));
  const undecided = alert.confirmation === "awaited" || (alert.confirmation === "not_needed" && alert.state === "firing");
  if (undecided) {
    buttons.push(press(t(confirmWord(alert)), "act-confirm", () => decide(alert, "confirmed", onChanged)));
    buttons.push(press(t("reject"), "act-reject", () => decide(alert, "rejected", onChanged)));
  }
  buttons.push(shelvingButton(alert, personal, onChanged));
  if (alert.station) buttons.push(press(t("show_station"), "act-station", () => onStation(alert.station, alert.datastream)));
  return h("div", { class: "alert-actions" }, buttons);
}

/** Where nothing waits for a person, to confirm an alert only means that others may hear of it. */
const confirmWord = (alert) => (alert.confirmation === "awaited" ? "confirm" : "confirm_share");

function history(transitions) {
  if (!transitions.length) return null;
  return h("details", { class: "history" }, h("summary", {}, t("history", { n: transitions.length })),
    h("ol", {}, transitions.map((step) => h("li", {},
      h("span", { class: "num" }, dateTime(step.occurred_at)), ` ${word("transition", step.kind)} `,
      step.to_state ? `→ ${word("state", step.to_state)} ` : "", step.actor ? `· ${step.actor} ` : "", step.reason ? `· ${step.reason}` : ""))));
}

async function acknowledge(alert, onChanged) {
  await personal("acknowledge", (who) => ask({
    title: t("acknowledge"), body: [h("p", { class: "hint" }, pick(alert.headline)), h("p", {}, t("acts_as", { name: who }))],
    fields: [{ name: "note", label: t("note"), rows: 3, hint: t("note_hint") }], action: t("acknowledge"),
    submit: ({ note }) => post(`/alerts/${code(alert.id)}/acknowledgement`, note.trim() ? { note: note.trim() } : {}),
  }), alert, onChanged);
}

async function decide(alert, decision, onChanged) {
  const title = t(decision === "confirmed" ? confirmWord(alert) : "reject");
  const effect = decision === "confirmed" && alert.confirmation !== "awaited" ? "confirmed_share" : decision;
  await personal("confirm", (who) => ask({
    title,
    body: [h("p", { class: "hint" }, pick(alert.headline)), h("p", {}, t("acts_as", { name: who })), h("p", {}, t(`decide.${effect}`))],
    fields: [{ name: "note", label: t("reason"), rows: 3, required: decision === "rejected" }], action: title,
    submit: ({ note }) => post(`/alerts/${code(alert.id)}/confirmation`, { decision, ...(note.trim() ? { note: note.trim() } : {}) }),
  }), alert, onChanged);
}

async function personal(permission, dialog, alert, onChanged) {
  const who = await handlersForPerson.identify(permission);
  if (!who) return;
  const full = await dialog(who);
  if (!full) return;
  open.set(String(alert.id), full);
  onChanged(full);
}

/** Set by app.js: how to find out who acts (it may ask to log in). */
export const handlersForPerson = { identify: async () => null };

// The page of cases: counts by state, the list, and the case that is open. What a case shows is in case_detail.js, its dialogs in case_steps.js.
import { download, get, list } from "./api.js";
import { drawCase } from "./case_detail.js";
import { collect } from "./case_steps.js";
import { byId, fill, h } from "./dom.js";
import { language, t, word } from "./i18n.js";
import { dateTime, day } from "./format.js";
import { failure, loading, nothing } from "./messages.js";
import { hideProblem, identify, showProblem, showSurprises, startPage } from "./shell.js";

const MOST = 500;
/** The way of a case, first to last. */
export const STATES = ["collected", "verified", "assigned", "handling", "tracking", "closed"];
const view = { filter: null, overdue: false, found: null, chosen: null, full: null };

async function load() {
  if (!view.found) fill(byId("cases-list"), loading());
  view.found = await list("/cases", { state: view.filter, overdue: view.overdue || null, limit: 100 }, { most: MOST });
  draw();
  const wanted = /^#case=(.+)$/.exec(location.hash);
  if (wanted) await openCase(decodeURIComponent(wanted[1]), { moves: false });
}

function draw() {
  drawStates();
  drawList();
  byId("cases-count").textContent = t(view.found.next ? "cases.first" : "cases.shown", { n: view.found.items.length });
  drawCase(view.full, { onChanged });
}

function drawStates() {
  const { counts } = view.found;
  const late = Object.values(counts).reduce((sum, one) => sum + one.overdue, 0);
  const tile = (key, label, count, pressed, press, extra = null) => h("button", {
    type: "button", class: `tile tile-plain ${key === "overdue" && count ? "is-due" : ""}`, "aria-pressed": String(pressed), dataset: { tile: key, count }, on: { click: press },
  }, h("span", { class: "tile-word" }, label, extra), h("b", { class: "num" }, count));
  fill(byId("case-states"),
    STATES.map((name) => {
      const { cases = 0, overdue = 0 } = counts[name] ?? {};
      return tile(name, word("case_state", name), cases, view.filter === name, () => filterBy(view.filter === name ? null : name, false),
        overdue ? h("small", { class: "late" }, t("cases.late", { n: overdue })) : null);
    }),
    tile("overdue", t("cases.overdue"), late, view.overdue, () => filterBy(null, !view.overdue)));
}

function filterBy(name, overdue) {
  view.filter = name;
  view.overdue = overdue;
  load().then(() => byId("case-states").querySelector(`[data-tile="${overdue ? "overdue" : name}"]`)?.focus());
}

function drawList() {
  const target = byId("cases-list");
  const { items } = view.found;
  if (!items.length) return fill(target, nothing(t(view.filter || view.overdue ? "cases.none_here" : "cases.none")));
  return fill(target, items.map((item) => h("button", {
    type: "button", class: "case-row", "aria-current": item.code === view.chosen ? "true" : null, dataset: { case: item.code, state: item.state, overdue: String(item.overdue) },
    on: { click: () => openCase(item.code) },
  },
  h("span", { class: "case-row-title" }, item.title),
  h("span", { class: "case-row-sub" }, h("code", {}, item.code), h("span", {}, item.owner ?? t("cases.no_owner")),
    h("span", { class: "num" }, item.due_at ? t("cases.until", { time: day(item.due_at) }) : t("cases.changed", { time: dateTime(item.updated_at) }))),
  h("span", { class: "alert-marks" }, h("span", { class: `mark ${item.state === "closed" ? "mark-done" : ""}` }, word("case_state", item.state)),
    item.overdue ? h("span", { class: "mark mark-due" }, t("cases.overdue")) : null))));
}

async function openCase(code, { moves = true } = {}) {
  view.chosen = code;
  history.replaceState(null, "", `#case=${encodeURIComponent(code)}`);
  drawList();
  fill(byId("case-body"), loading());
  try {
    const full = await get(`/cases/${encodeURIComponent(code)}`);
    if (view.chosen !== code) return;
    view.full = full;
    await drawCase(full, { onChanged });
    if (moves) byId("case").focus({ preventScroll: true });
    if (moves && matchMedia("(max-width: 900px)").matches) byId("case").scrollIntoView({ block: "start" });
  } catch (problem) {
    fill(byId("case-body"), failure(problem, () => openCase(code)));
  }
}

async function onChanged(full) {
  view.full = full;
  view.chosen = full.code;
  history.replaceState(null, "", `#case=${encodeURIComponent(full.code)}`);
  hideProblem();
  view.found = await list("/cases", { state: view.filter, overdue: view.overdue || null, limit: 100 }, { most: MOST });
  draw();
}

async function collectPressed() {
  const who = await identify("handle_cases");
  const full = who ? await collect({ who }) : null;
  if (full) await onChanged(full);
}

async function ledgerPressed() {
  const press = () => download("/cases/ledger.xlsx", { lang: language() }, t("cases.ledger_name"));
  await press().catch((problem) => showProblem(problem, () => { hideProblem(); ledgerPressed(); }));
}

showSurprises();
addEventListener("hashchange", () => load());
byId("case-new").addEventListener("click", collectPressed);
byId("case-ledger").addEventListener("click", ledgerPressed);
startPage({ load, draw, needs: "read_cases", title: "nav.cases" });

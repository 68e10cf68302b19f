// Alerts of partners: theirs, shown with their sender, acknowledged by name and never sent on.
import { code, get, list, post } from "./api.js";
import { byId, fill, h } from "./dom.js";
import { pick, t, word } from "./i18n.js";
import { dateTime } from "./format.js";
import { ask } from "./login.js";
import { failure, loading, nothing } from "./messages.js";
import { may } from "./state.js";
import { symbol } from "./symbols.js";

/** Set by the page: logs a person in who may do something. */
export const foreignForPerson = { identify: async () => null };
const STATES = ["active", "ended", "cancelled"];
let items = null;
let owed = [];
let chosen = "active";
let trouble = null;

/** Read the list; those who may not see it are not shown the panel. */
export async function loadForeign() {
  byId("foreign").hidden = !may("read_cases");
  if (!may("read_cases")) return;
  try {
    [items, owed] = await Promise.all([
      list("/foreign-alerts", { state: chosen, limit: 200 }, { most: 200 }).then((found) => found.items), get("/partner-answers").then((found) => found.items)]);
    trouble = null;
  } catch (problem) {
    trouble = problem;
  }
  drawForeign();
}

/** Draw what was read. */
export function drawForeign() {
  if (byId("foreign").hidden) return;
  const choice = byId("foreign-state");
  fill(choice, STATES.map((one) => h("option", { value: one, selected: one === chosen }, t(`foreign.${one}`))));
  choice.onchange = () => {
    chosen = choice.value;
    fill(byId("foreign-list"), loading());
    loadForeign();
  };
  byId("foreign").dataset.count = String(items?.length ?? "");
  drawOwed();
  fill(byId("foreign-list"), trouble ? failure(trouble, loadForeign) : items?.length ? items.map(entry) : nothing(t("foreign.none")));
}

/** What partners owe us an answer to, the overdue ones first. */
function drawOwed() {
  const place = byId("foreign-owed");
  place.hidden = owed.length === 0;
  place.dataset.overdue = String(owed.filter((one) => one.overdue).length);
  fill(place, h("h3", {}, t("foreign.owed", { n: owed.length })), owed.map((one) =>
    h("p", { class: "alert-sub", dataset: { partner: one.partner, overdue: String(one.overdue) } },
      one.level_word === "none" ? null : symbol(one.level_word, 18),
      h("span", {}, `${pick(one.partner_name)} · ${one.scope}`), h("span", { class: "num" }, one.identifier),
      h("span", { class: `mark ${one.overdue ? "mark-due" : ""}` }, whenDue(one)),
      one.delivered_at ? null : h("span", { class: "mark" }, t("foreign.undelivered")))));
}

function whenDue(one) {
  const said = { at: dateTime(one.due_at), to: one.told };
  if (!one.overdue) return t("foreign.owed_due", said);
  return t(one.told ? "foreign.owed_overdue" : "foreign.owed_overdue_untold", said);
}

function entry(alert) {
  const detail = h("div", { class: "alert-detail", hidden: true });
  const head = h("button", { type: "button", class: "alert-head", "aria-expanded": "false", on: { click: () => unfold(alert, head, detail) } },
    alert.level ? symbol(alert.level_word, 26) : h("span", { class: "mark" }, "?"),
    h("span", { class: "alert-main" },
      h("span", { class: "alert-title" }, pick(alert.headline)),
      h("span", { class: "alert-sub" }, h("span", {}, `${pick(alert.partner_name)} · ${alert.sender}`), h("span", { class: "num" }, dateTime(alert.sent)),
        alert.area[0] ? h("span", {}, alert.area[0].description) : null)),
    h("span", { class: "alert-marks" },
      alert.status === "Actual" ? null : h("span", { class: "mark mark-exercise" }, word("status", alert.status)),
      alert.state === "active" ? null : h("span", { class: "mark" }, t(`foreign.${alert.state}`)),
      alert.overdue ? h("span", { class: "mark mark-due" }, t("foreign.answer_overdue")) : null,
      alert.incomplete ? h("span", { class: "mark" }, t("foreign.incomplete")) : null,
      h("span", { class: `mark ${alert.acknowledged ? "mark-done" : "mark-due"}` }, alert.acknowledged ? `✓ ${t("acknowledged")}` : t("unacknowledged"))));
  return h("article", { class: `alert alert-${alert.level_word}`, dataset: { foreign: alert.id, acknowledged: String(alert.acknowledged) } }, head, detail);
}

async function unfold(alert, head, detail) {
  detail.hidden = !detail.hidden;
  head.setAttribute("aria-expanded", String(!detail.hidden));
  if (detail.hidden) return;
  fill(detail, loading());
  try {
    fill(detail, facts(await get(`/foreign-alerts/${code(alert.id)}`)));
  } catch (problem) {
    fill(detail, failure(problem, () => unfold(alert, head, detail)));
  }
}

function facts(full) {
  const rows = [
    ["foreign.sender", `${pick(full.partner_name)} · ${full.sender}`], ["foreign.identifier", full.identifier],
    ["foreign.says", pick(full.explanation)], ["foreign.proposed", pick(full.instruction)],
    ["foreign.onset", full.onset ? dateTime(full.onset) : null], ["foreign.expires", full.expires ? dateTime(full.expires) : null],
    ["foreign.answer_due", full.answer_due_at ? dateTime(full.answer_due_at) : null],
    ["fact.acknowledged", full.acknowledged_by ? `${full.acknowledged_by} · ${dateTime(full.acknowledged_at)}` : null],
  ].filter(([, value]) => value);
  return [
    h("dl", { class: "facts-grid" }, rows.map(([key, value]) => [h("dt", {}, t(key)), h("dd", {}, value)])),
    full.acknowledged ? null : h("div", { class: "alert-actions" },
      h("button", { type: "button", class: "primary act-foreign", on: { click: () => acknowledge(full) } }, t("acknowledge"))),
    h("details", { class: "history" }, h("summary", {}, t("foreign.messages", { n: full.messages.length })),
      h("ol", {}, full.messages.map((one) => h("li", {}, h("span", { class: "num" }, dateTime(one.sent)), ` ${one.message_type} · ${one.identifier}`)),
        full.acknowledgements.map((one) => h("li", {}, h("span", { class: "num" }, dateTime(one.at)), ` Ack · ${one.by}${one.note ? ` · ${one.note}` : ""}`)))),
  ];
}

async function acknowledge(full) {
  const who = await foreignForPerson.identify("acknowledge");
  if (!who) return;
  const stored = await ask({
    title: t("acknowledge"), action: t("acknowledge"),
    body: [h("p", { class: "hint" }, pick(full.headline)), h("p", {}, t("acts_as", { name: who })), h("p", {}, t("foreign.ack_effect"))],
    fields: [{ name: "note", label: t("note"), rows: 3 }],
    submit: ({ note }) => post(`/foreign-alerts/${code(full.id)}/acknowledgement`, { note: note.trim() }),
  });
  if (stored) await loadForeign();
}

// Rules as data: what watches, tried over history before it is switched on; and what the rules could not tell.
import { code, get, list, patch, post, put } from "./api.js";
import { byId, fill, h } from "./dom.js";
import { nameOf, pick, t, word } from "./i18n.js";
import { dateTime, number, span } from "./format.js";
import { ask } from "./login.js";
import { failure, headline, loading, nothing } from "./messages.js";
import { LEVELS, may, state } from "./state.js";
import { symbol } from "./symbols.js";

const HEADER = ["name_zh", "name_en", "kind", "source", "effective_from"];
const YEAR = 365 * 86400e3;
const MOST = 50;
let loaded = null;

/** Set by app.js: how to find out who acts. */
export const rulesForPerson = { identify: async () => null };

/** Read and draw the panel once it is opened, and again after a change. */
export async function openRules() {
  const target = byId("rules-list");
  if (!loaded) fill(target, loading());
  try {
    const [rules, unknown, blind] = await Promise.all([
      list("/rules"), get("/cannot-tell", { limit: MOST }), get("/blind-hours", { only: "unknown" })]);
    loaded = { rules: rules.items, unknown, blind };
    state.rules = new Map(rules.items.map((rule) => [rule.code, rule]));
  } catch (problem) {
    return fill(target, failure(problem, openRules));
  }
  return drawRules();
}

/** Draw what was read; nothing before it was. */
export function drawRules() {
  if (!loaded) return null;
  const on = loaded.rules.filter((rule) => rule.enabled).length;
  fill(byId("rules-note"), t("rules.count", { on, n: loaded.rules.length }));
  return fill(byId("rules-list"),
    may("write_rules") || state.me?.anonymous ? h("p", { class: "rules-tools" }, h("button", { type: "button", class: "act-add", on: { click: () => edit(null) } }, t("rules.add"))) : null,
    table("rules-table", ["rule", "kind", "limits", "state", "actions"], loaded.rules.map(row)),
    h("h3", { class: "rules-head" }, t("rules.cannot_tell", { n: loaded.unknown.total })),
    loaded.unknown.items.length ? table("unknown-table", ["rule", "scope", "why", "last_observation"], loaded.unknown.items.map(unknownRow)) : nothing(t("rules.all_told")),
    h("h3", { class: "rules-head" }, t("rules.blind", { n: loaded.blind.items.length })),
    loaded.blind.items.length ? table("blind-table", ["station", "blind_h", "blind_now"], loaded.blind.items.slice(0, MOST).map(blindRow)) : nothing(t("rules.all_seen")));
}

function table(name, columns, rows) {
  return h("div", { class: "table-wrap" }, h("table", { class: `table ${name}` },
    h("thead", {}, h("tr", {}, columns.map((column) => h("th", { scope: "col" }, t(`col.${column}`))))), h("tbody", {}, rows)));
}

function row(rule) {
  const limits = rule.definition.levels ?? {};
  const unit = rule.definition.unit ?? "";
  return h("tr", { dataset: { rule: rule.code, enabled: String(rule.enabled) } },
    h("th", { scope: "row" }, h("b", {}, nameOf(rule)), h("small", { class: "code" }, `${rule.code} v${rule.version}`)),
    h("td", { "data-label": t("col.kind") }, word("rule_kind", rule.kind)),
    h("td", { class: "num", "data-label": t("col.limits") }, h("span", { class: "rule-limits" }, [...LEVELS].reverse().filter((level) => level in limits).map((level) =>
      h("span", { class: "rule-limit" }, symbol(level, 16), String(limits[level]))), Object.keys(limits).length ? unit : t("rules.register"))),
    h("td", { "data-label": t("col.state") }, rule.enabled ? t("rules.on") : t("rules.off"), rule.reason ? h("small", {}, rule.reason) : null),
    h("td", { "data-label": t("col.actions") }, h("span", { class: "rule-actions" },
      h("button", { type: "button", class: "act-try", on: { click: () => tryStored(rule) } }, t("rules.try")),
      h("button", { type: "button", class: "act-edit", on: { click: () => edit(rule) } }, t("rules.edit")),
      h("button", { type: "button", class: "act-switch", on: { click: () => turn(rule) } }, t(rule.enabled ? "rules.switch_off" : "rules.switch_on")))));
}

function unknownRow(item) {
  return h("tr", {},
    h("th", { scope: "row" }, nameOf({ name_zh: item.rule_name_zh, name_en: item.rule_name_en, code: item.rule })),
    h("td", { class: "num", "data-label": t("col.scope") }, item.scope),
    h("td", { "data-label": t("col.why") }, pick({ zh: item.reason_zh, en: item.reason_en })),
    h("td", { class: "num", "data-label": t("col.last_observation") }, item.event_time ? dateTime(item.event_time) : "—"));
}

function blindRow(item) {
  return h("tr", {},
    h("th", { scope: "row" }, nameOf({ name_zh: item.station_name_zh, name_en: item.station_name_en, code: item.station })),
    h("td", { class: "num", "data-label": t("col.blind_h") }, span(item.blind_h * 3600)),
    h("td", { class: "num", "data-label": t("col.blind_now") }, [...item.blind_now, ...item.no_interval].join(", ") || "—"));
}

/** A rule as people write it: the header, then the fields of its kind. */
const written = (rule) => JSON.stringify({ ...Object.fromEntries(HEADER.filter((name) => rule[name]).map((name) => [name, rule[name]])), ...rule.definition }, null, 2);

const EXAMPLE = {
  code: "", kind: "threshold", name_zh: "", name_en: "", source: "", scope: { property: "depth_to_water" }, unit: "m", levels: { blue: 10, yellow: 12 }, deadband: 0.2,
};

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw Object.assign(new Error(t("rules.no_json")), { status: 400, detail: t("rules.no_json"), remedy: error.message, type: "", title: "" });
  }
}

async function edit(rule) {
  const who = await rulesForPerson.identify("write_rules");
  if (!who) return;
  const outcome = h("div", { class: "trial", "aria-live": "polite" });
  const field = { name: "content", label: t("rules.content"), rows: 16, required: true, value: rule ? written(rule) : JSON.stringify(EXAMPLE, null, 2), most: 20000, hint: t("rules.content_hint") };
  const stored = await ask({
    title: rule ? `${nameOf(rule)} (${rule.code})` : t("rules.add"), action: t("rules.save"), body: [h("p", {}, t("acts_as", { name: who }))],
    fields: [field, { name: "reason", label: t("reason"), hint: t("rules.reason_hint") }],
    extra: (form) => [h("button", { type: "button", class: "act-trial", on: { click: () => trial(outcome, () => ({ ...parsed(form.elements.content.value), ...(rule ? { code: rule.code } : {}) })) } }, t("rules.try")), outcome],
    submit: ({ content, reason }) => {
      const body = { ...parsed(content), ...(reason.trim() ? { reason: reason.trim() } : {}) };
      return rule ? put(`/rules/${code(rule.code)}`, { ...body, enabled: rule.enabled }) : post("/rules", body);
    },
  });
  if (stored) await openRules();
}

async function turn(rule) {
  const who = await rulesForPerson.identify("write_rules");
  if (!who) return;
  const stored = await ask({
    title: t(rule.enabled ? "rules.switch_off" : "rules.switch_on"), action: t(rule.enabled ? "rules.switch_off" : "rules.switch_on"),
    body: [h("p", { class: "hint" }, `${nameOf(rule)} (${rule.code})`), h("p", {}, t("acts_as", { name: who }))],
    fields: [{ name: "reason", label: t("reason"), hint: t("rules.reason_hint"), required: rule.enabled }],
    submit: ({ reason }) => patch(`/rules/${code(rule.code)}`, { enabled: !rule.enabled, ...(reason.trim() ? { reason: reason.trim() } : {}) }),
  });
  if (stored) await openRules();
}

async function tryStored(rule) {
  const who = await rulesForPerson.identify("write_rules");
  if (!who) return;
  const outcome = h("div", { class: "trial", "aria-live": "polite" });
  const shown = ask({ title: `${t("rules.try")}: ${nameOf(rule)}`, action: t("rules.close"), fields: [], extra: () => outcome, submit: async () => true });
  await trial(outcome, () => ({ code: rule.code, ...JSON.parse(written(rule)) }));
  await shown;
}

/** Replay a rule over the last year and say where it would have fired. */
async function trial(outcome, content) {
  fill(outcome, loading());
  try {
    const to = new Date(Date.now() + state.clockSkew);
    const answer = await post("/rules/dry-run", { rule: content(), from: new Date(to - YEAR).toISOString(), to: to.toISOString() });
    fill(outcome, outcomeOf(answer));
  } catch (problem) {
    fill(outcome, h("p", { class: "form-error", role: "alert" }, [headline(problem), problem.detail, problem.remedy].filter(Boolean).join(" · ")));
  }
}

function outcomeOf(answer) {
  const compared = answer.compared;
  return [
    h("p", { class: "strong trial-summary" }, pick(answer.summary)),
    answer.budget.over ? h("p", { class: "caution" }, t("rules.over")) : null,
    h("ul", {}, answer.receivers.map((load) => h("li", { class: "num" },
      t("rules.load", { receiver: load.receiver, n: load.alerts, mine: load.of_rule, before: load.before, mean: number(load.mean_per_day, "", 3), most: load.worst_day_alerts }),
      Object.keys(load.held).length ? h("small", {}, ` · ${t("rules.held", { held: Object.entries(load.held).map(([why, n]) => `${word("held", why)} ${n}`).join(", ") })}`) : null, load.over.length ? h("strong", { class: "caution" }, ` ${load.over.join("; ")}`) : null))),
    compared ? h("p", {}, t("rules.compared", { version: compared.version, added: compared.added.length, removed: compared.removed.length, changed: compared.changed.length, kept: compared.kept })) : null,
    answer.cannot_tell_total ? h("p", { class: "hint" }, t("rules.cannot_tell", { n: answer.cannot_tell_total })) : null,
    h("ol", { class: "trial-list num" }, answer.episodes.slice(0, MOST).map((item) => h("li", {}, symbol(item.level, 14), ` ${dateTime(item.onset)} ${item.scope}`))),
    h("p", { class: "hint" }, answer.budget.source),
  ];
}

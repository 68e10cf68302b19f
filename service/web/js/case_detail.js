// One case: its way from 收集 to 销号, what is known, what can be done next, its documents, and every step that was taken.
import { download, upload } from "./api.js";
import { byId, fill, h } from "./dom.js";
import { t, word } from "./i18n.js";
import { bracketed, dateTime, day, number, quantity, span, unitText } from "./format.js";
import { headline, nothing } from "./messages.js";
import { identify } from "./shell.js";
import { streamsOf, take } from "./case_steps.js";

const REACHED_BY = { collect: "collected", verify: "verified", reopen: "verified", assign: "assigned", handle: "handling", follow_up: "tracking", close: "closed", dismiss: "closed" };
const ORDER = ["verify", "assign", "handle", "follow_up", "close", "reopen", "dismiss", "link", "comment"];
const FORWARD = { collected: "verify", verified: "assign", assigned: "handle", handling: "follow_up", tracking: "close", closed: "reopen" };
const LARGEST = 16 * 1024 * 1024;
let units = new Map(); // code of a datastream -> its unit

/** Draw a case, or the sentence that asks to choose one. */
export async function drawCase(full, { onChanged }) {
  const body = byId("case-body");
  byId("case-title").textContent = full ? full.title : t("cases.one");
  if (!full) {
    fill(byId("case-facts"), "");
    return fill(body, nothing(t("cases.choose")));
  }
  const followed = full.steps.some((one) => one.step === "follow_up");
  if (followed) units = new Map((await streamsOf(full.stations).catch(() => [])).map((one) => [one.code, one.unit]));
  fill(byId("case-facts"), h("code", {}, full.code), full.overdue ? h("span", { class: "mark mark-due" }, t("cases.overdue_for", { span: span((full.overdue_h ?? 0) * 3600) })) : null,
    full.reopened ? h("span", { class: "mark" }, t("cases.reopened", { n: full.reopened })) : null);
  body.dataset.case = full.code;
  body.dataset.state = full.state;
  return fill(body, way(full), full.description ? h("p", { class: "explanation" }, full.description) : null, facts(full), buttons(full, onChanged), documents(full, onChanged), steps(full));
}

/** The six states as a line of steps; those of an earlier round do not count after a reopening. */
function way(full) {
  const last = full.steps.map((one) => one.step).lastIndexOf("reopen");
  const round = full.steps.filter((one, place) => place >= last || one.step === "collect");
  const reached = new Map();
  for (const one of round) if (REACHED_BY[one.step]) reached.set(REACHED_BY[one.step], one);
  const place = full.states.findIndex((one) => one.state === full.state);
  return h("ol", { class: "way", "aria-label": t("cases.way") }, full.states.map(({ state: name }, index) => {
    const by = index <= place ? reached.get(name) : null;
    const kind = index === place ? "current" : by ? "done" : index < place ? "skipped" : "open";
    return h("li", { class: `way-${kind}`, dataset: { state: name, way: kind }, "aria-current": kind === "current" ? "step" : null },
      h("b", {}, word("case_state", name)), h("span", { class: "visually-hidden" }, ` ${t(`way.${kind}`)}`),
      by ? h("small", {}, h("span", {}, by.actor), " ", h("span", { class: "num" }, day(by.recorded_at))) : null);
  }));
}

function facts(full) {
  const rows = [
    [t("case.owner"), full.owner], [t("case.leader"), full.leader], [t("case.due"), full.due_at ? dateTime(full.due_at) : null],
    [t("case.escalated"), full.escalated_to ? word("escalation", full.escalated_to) : null], [t("case.origin"), word("case_origin", full.origin)],
    [t("case.collected"), `${full.collected_by} · ${dateTime(full.opened_at)}`],
    [t("case.stations"), full.stations.length ? full.stations.map((code) => h("a", { class: "spaced", href: `/#station=${encodeURIComponent(code)}` }, code)) : null],
    [t("case.alerts"), full.alerts.length ? h("ul", {}, full.alerts.map((one) => h("li", {}, h("code", {}, one)))) : null],
    [t("case.measures"), full.measures.length ? h("ul", {}, full.measures.map((one) => h("li", {}, one))) : null],
    [t("case.effect"), full.effect ? word("case_effect", full.effect) : null],
    [t("case.verdict"), full.verdict ? word("case_verdict", full.verdict) : null],
    [t("case.closed"), full.closed_by ? `${full.closed_by} · ${dateTime(full.closed_at)}` : null],
  ];
  return h("dl", { class: "facts-grid" }, rows.filter(([, value]) => value).map(([label, value]) => [h("dt", {}, label), h("dd", {}, value)]));
}

function buttons(full, onChanged) {
  const possible = ORDER.filter((name) => full.possible_steps.includes(name));
  return h("div", { class: "alert-actions", role: "group", "aria-label": t("cases.possible") }, possible.map((name) =>
    h("button", { type: "button", class: `${name === FORWARD[full.state] ? "primary" : ""} step-${name}`, on: { click: async () => {
      const who = await identify("handle_cases");
      const changed = who ? await take(name, full, who) : null;
      if (changed) await onChanged(changed);
    } } }, word("case_step", name))));
}

function documents(full, onChanged) {
  const error = h("p", { class: "form-error", role: "alert" });
  const tell = (problem) => fill(error, [headline(problem), problem.detail, problem.remedy].filter(Boolean).join(" · "));
  const picker = h("input", { type: "file", class: "visually-hidden", id: "case-file", tabindex: "-1", "aria-label": t("cases.attach"), on: { change: async () => {
    const [file] = picker.files;
    if (!file) return;
    if (file.size > LARGEST) {
      fill(error, t("cases.too_large"));
      return;
    }
    await upload(`/cases/${encodeURIComponent(full.code)}/attachments`, { filename: file.name }, file).then(onChanged, tell);
  } } });
  const may = full.possible_steps.includes("attach");
  return h("section", { class: "case-part" }, h("h3", {}, t("cases.documents", { n: full.attachments.length })),
    h("ul", { class: "documents" }, full.attachments.map((item) => h("li", {},
      h("button", { type: "button", class: "link", dataset: { sha256: item.sha256 }, on: { click: () => download(`/cases/${encodeURIComponent(full.code)}/attachments/${item.sha256}`, {}, item.filename).catch(tell) } }, item.filename),
      h("small", { class: "num" }, ` ${size(item.bytes)}`)))),
    may ? h("p", {}, h("button", { type: "button", class: "act-attach", on: { click: async () => { if (await identify("handle_cases")) picker.click(); } } }, t("cases.attach")), picker) : null, error);
}

const size = (bytes) => (bytes < 1024 ? `${bytes} B` : bytes < 1048576 ? `${number(bytes / 1024, "", 0)} KiB` : `${number(bytes / 1048576, "", 1)} MiB`);

function steps(full) {
  return h("section", { class: "case-part" }, h("h3", {}, t("cases.steps", { n: full.steps.length })),
    h("ol", { class: "case-steps" }, [...full.steps].reverse().map((one) => h("li", { dataset: { step: one.step } },
      h("p", {}, h("b", {}, word("case_step", one.step)), " ", one.actor, " ", h("small", { class: "num" }, dateTime(one.recorded_at))),
      one.note ? h("p", { class: "step-note" }, one.note) : null, told(one)))));
}

/** What a step says beside its note. */
function told({ step, detail }) {
  const lines = {
    assign: () => [detail.owner, detail.leader, t("cases.until", { time: day(detail.due_at) })],
    handle: () => [detail.measure, detail.done_at ? t("cases.done", { time: dateTime(detail.done_at) }) : null],
    follow_up: () => outcome(detail),
    close: () => [word("case_verdict", detail.verdict)], dismiss: () => [word("case_verdict", detail.verdict)],
    link: () => [detail.alert], attach: () => [detail.filename], escalate: () => [word("escalation", detail.to)],
  }[step];
  const found = lines ? lines().filter(Boolean) : [];
  return found.length ? h("p", { class: "step-said" }, found.join(" · ")) : null;
}

/** What a follow-up found: the change with its 95 % interval, and how many observations stand behind it. */
function outcome(detail) {
  const plain = units.get(detail.datastream) ?? "";
  const unit = detail.quantity === "rate" ? `${plain}/a` : plain;
  const known = detail.change !== null && detail.change !== undefined;
  return [
    word("case_effect", detail.effect), `${detail.datastream}${bracketed(word("follow_quantity", detail.quantity))}`,
    known ? t("cases.change", { change: quantity(detail.change, unit), lower: number(detail.lower, unit), upper: `${number(detail.upper, unit)} ${unitText(unit)}`.trim() }) : detail.reason,
    detail.before && detail.after ? t("cases.behind", { before: detail.before.n, after: detail.after.n }) : null,
  ];
}

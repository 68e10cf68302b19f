// Who is told: how each outbox stands, a test message, and what was given up with a way to send it again.
import { code, get, list, post, remove } from "./api.js";
import { byId, fill, h } from "./dom.js";
import { pick, t, word } from "./i18n.js";
import { dateTime } from "./format.js";
import { failure, headline, nothing } from "./messages.js";
import { identify } from "./shell.js";

let receivers = [];
let dead = [];
let held = []; // silences in force and what is out of service
let said = ""; // what the last press came to

/** Read receivers and dead letters, and draw them. */
export async function loadReceivers() {
  try {
    const asked = [list("/receivers"), get("/notifications", { state: "dead" }), get("/silences", { in_force: true })];
    [receivers, dead, held] = (await Promise.all(asked)).map((one) => one.items);
    drawReceivers();
  } catch (problem) {
    fill(byId("receivers-body"), failure(problem, loadReceivers));
  }
}

/** Draw what was read. */
export function drawReceivers() {
  byId("receivers-note").textContent = said;
  fill(byId("receivers-body"),
    receivers.length ? table(["receiver", "channel", "least", "waiting", "last_error", "do"], receivers.map(receiverRow)) : nothing(t("receivers.none")),
    h("h3", { class: "receivers-head" }, t("receivers.dead", { n: dead.length })),
    dead.length ? table(["message", "receiver", "attempts", "written", "last_error", "do"], dead.map(deadRow)) : nothing(t("receivers.no_dead")),
    h("h3", { class: "receivers-head" }, t("receivers.held", { n: held.length })),
    held.length ? table(["held", "kind", "author", "until", "reason", "do"], held.map(heldRow)) : nothing(t("receivers.no_held")));
}

function table(columns, rows) {
  return h("div", { class: "table-wrap" }, h("table", { class: "table cards" },
    h("thead", {}, h("tr", {}, columns.map((name) => h("th", { scope: "col" }, t(`receivers.col_${name}`))))), h("tbody", {}, rows)));
}

const cell = (name, ...content) => h("td", { "data-label": t(`receivers.col_${name}`) }, content);
const button = (label, kind, run) => h("button", { type: "button", class: kind, on: { click: run } }, label);

function receiverRow(one) {
  return h("tr", { dataset: { receiver: one.code, waiting: one.waiting } },
    h("th", { scope: "row" }, one.code, one.outside ? h("small", {}, ` ${t("receivers.outside")}`) : null, one.enabled ? null : h("small", {}, ` ${t("receivers.off")}`)),
    cell("channel", one.kind), cell("least", word("level", one.min_level)),
    cell("waiting", h("span", { class: "num" }, one.waiting), one.oldest_waiting ? h("small", { class: "num" }, ` ${t("since", { time: dateTime(one.oldest_waiting) })}`) : null),
    cell("last_error", one.last_error ? h("span", { class: "error-text" }, one.last_error) : "—"),
    cell("do", button(t("receivers.test"), "act-test", () => press(() => post(`/receivers/${code(one.code)}/test`, {}), t("receivers.tested", { code: one.code })))));
}

function deadRow(one) {
  return h("tr", { dataset: { dead: one.id } }, h("th", { scope: "row" }, pick(one.headline) || one.idempotency_key),
    cell("receiver", one.receiver), cell("attempts", h("span", { class: "num" }, one.attempts)), cell("written", h("span", { class: "num" }, dateTime(one.created_at))),
    cell("last_error", h("span", { class: "error-text" }, one.last_error ?? "—")),
    cell("do", button(t("receivers.again"), "act-again", () => press(() => post(`/notifications/${code(one.id)}/replay`, {}), t("receivers.sent_again", { code: one.receiver })))));
}

function heldRow(one) {
  const what = Object.entries(one.matchers).map(([name, globs]) => `${name}=${[globs].flat().join(",")}`).join(" ");
  return h("tr", { dataset: { held: one.id, kind: one.kind } }, h("th", { scope: "row" }, what),
    cell("kind", t(`held.${one.kind}`)), cell("author", one.author), cell("until", h("span", { class: "num" }, dateTime(one.ends_at))), cell("reason", one.reason),
    cell("do", button(t("receivers.end_held"), "act-end-held", () => press(() => remove(`/silences/${code(one.id)}`), t("receivers.held_ended", { what })))));
}

async function press(act, done) {
  if (!await identify("confirm")) return;
  try {
    await act();
    said = done;
  } catch (problem) {
    said = [headline(problem), problem.detail, problem.remedy].filter(Boolean).join(" · ");
  }
  await loadReceivers();
}

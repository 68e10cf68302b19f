// What became of an alert: people's verdict on it, and the case that it led to. Only insiders see either.
import { code, get, post } from "./api.js";
import { collect } from "./case_steps.js";
import { h, fill } from "./dom.js";
import { pick, t, word } from "./i18n.js";
import { dateTime } from "./format.js";
import { ask } from "./login.js";
import { failure } from "./messages.js";
import { may } from "./state.js";

const VERDICTS = ["real", "instrument", "maintenance", "natural", "duplicate"];
const known = new Map(); // id of an alert -> { updated_at, verdicts, cases }

/** The part of an alert's detail on its verdict and case; it fills itself when they have been read. */
export function handling(alert, identify) {
  const part = h("div", { class: "handling", dataset: { handling: alert.id } });
  draw(part, alert, identify);
  if (may("read_cases") && known.get(alert.id)?.updated_at !== alert.updated_at) read(part, alert, identify);
  return part;
}

async function read(part, alert, identify) {
  try {
    const [verdicts, cases] = await Promise.all([get(`/alerts/${code(alert.id)}/verdict`), get("/cases", { alert: alert.identifier })]);
    known.set(alert.id, { updated_at: alert.updated_at, verdicts, cases: cases.items });
    draw(part, alert, identify);
  } catch (problem) {
    fill(part, failure(problem, () => read(part, alert, identify)));
  }
}

function draw(part, alert, identify) {
  const { verdicts = { verdict: null, items: [] }, cases = [] } = known.get(alert.id) ?? {};
  const last = verdicts.items.at(-1);
  fill(part,
    h("p", { class: "handling-line", dataset: { verdict: verdicts.verdict ?? "" } }, h("b", {}, t("handling.verdict")), " ",
      last ? [word("case_verdict", last.verdict), ` · ${last.by} · `, h("span", { class: "num" }, dateTime(last.at)), last.note ? ` · ${last.note}` : ""] : t("handling.no_verdict")),
    h("div", { class: "alert-actions", role: "group", "aria-label": t("handling.verdict") }, VERDICTS.map((one) =>
      h("button", { type: "button", class: `chip verdict-${one}`, "aria-pressed": String(one === verdicts.verdict), on: { click: () => judge(one, part, alert, identify) } }, word("case_verdict", one)))),
    h("p", { class: "handling-line" }, h("b", {}, t("handling.case")), " ",
      cases.map((one) => h("a", { class: "case-link", href: `/cases#case=${encodeURIComponent(one.code)}` }, `${one.code} · ${word("case_state", one.state)} `)),
      cases.length ? null : h("button", { type: "button", class: "act-case", on: { click: () => open(part, alert, identify) } }, t("handling.open_case"))));
}

async function judge(verdict, part, alert, identify) {
  const who = await identify("acknowledge");
  if (!who) return;
  const verdicts = await ask({
    title: `${t("handling.verdict")} · ${word("case_verdict", verdict)}`,
    body: [h("p", { class: "hint" }, pick(alert.headline)), h("p", {}, t("acts_as", { name: who })), h("p", {}, t(`verdict_means.${verdict}`))],
    fields: [{ name: "note", label: t("note"), rows: 3 }], action: word("case_verdict", verdict),
    submit: ({ note }) => post(`/alerts/${code(alert.id)}/verdict`, { verdict, note: note.trim() }),
  });
  if (!verdicts) return;
  known.set(alert.id, { cases: [], ...known.get(alert.id), verdicts });
  draw(part, alert, identify);
}

async function open(part, alert, identify) {
  const who = await identify("handle_cases");
  if (!who) return;
  const full = await collect({ who, about: { title: pick(alert.headline).slice(0, 200), description: pick(alert.explanation).slice(0, 4000), stations: alert.station ? [alert.station] : [], alerts: [alert.identifier] } });
  if (!full) return;
  known.set(alert.id, { verdicts: { verdict: null, items: [] }, ...known.get(alert.id), cases: [full] });
  draw(part, alert, identify);
}

// Shelving: a person holds an alert's messages back for a stated time and reason, or ends that. It is never silent: it stands in the history.
import { code, post, remove } from "./api.js";
import { h } from "./dom.js";
import { pick, t } from "./i18n.js";
import { dateTime } from "./format.js";
import { ask } from "./login.js";
import { now } from "./state.js";

const HOURS = ["4", "12", "24", "72", "168"];

/** The button that shelves an open alert, or ends its shelving. */
export function shelvingButton(alert, personal, onChanged) {
  if (alert.state === "resolved") return null;
  const [label, run] = alert.shelved ? [t("unshelve"), unshelve] : [t("shelve"), shelve];
  return h("button", { type: "button", class: alert.shelved ? "act-unshelve" : "act-shelve", on: { click: () => personal("acknowledge", (who) => run(alert, who), alert, onChanged) } }, label);
}

/** What holds the alert's messages back, as a row of facts; null where nothing does. */
export function holdFact(alert) {
  const out = alert.out_of_service;
  if (out) return [t("held.out_of_service"), `${out.by} · ${t("until", { time: dateTime(out.until) })} · ${out.reason}`];
  if (alert.shelved) return [t("shelved"), `${alert.shelved.by} · ${t("until", { time: dateTime(alert.shelved.until) })} · ${alert.shelved.reason}`];
  return alert.held ? [t("held"), t(`held.${alert.held}`)] : null;
}

function shelve(alert, who) {
  return ask({
    title: t("shelve"), action: t("shelve"),
    body: [h("p", { class: "hint" }, pick(alert.headline)), h("p", {}, t("acts_as", { name: who })), h("p", {}, t("shelve_effect"))],
    fields: [
      { name: "hours", label: t("shelve_for"), options: HOURS.map((hours) => [hours, t("hours", { n: hours })]), value: "12" },
      { name: "reason", label: t("reason"), rows: 2, required: true },
    ],
    submit: ({ hours, reason }) => post(`/alerts/${code(alert.id)}/shelving`, { until: new Date(now() + Number(hours) * 3600000).toISOString(), reason: reason.trim() }),
  });
}

function unshelve(alert, who) {
  return ask({
    title: t("unshelve"), action: t("unshelve"), body: [h("p", { class: "hint" }, pick(alert.headline)), h("p", {}, t("acts_as", { name: who }))],
    fields: [{ name: "note", label: t("note"), rows: 2 }],
    submit: ({ note }) => remove(`/alerts/${code(alert.id)}/shelving`, note.trim() ? { note: note.trim() } : {}),
  });
}

// The dialogs of a case: to collect one, and to take each step with what it needs. The server has the last word; its remedy is shown.
import { code, get, list, post } from "./api.js";
import { h } from "./dom.js";
import { nameOf, t, word } from "./i18n.js";
import { day, withOffset } from "./format.js";
import { ask } from "./login.js";
import { now } from "./state.js";

const VERDICTS = ["real", "instrument", "maintenance", "natural", "duplicate"];
const verdictOptions = (among) => [["", t("choose")], ...among.map((one) => [one, word("case_verdict", one)])];
const note = (required, hint = null) => ({ name: "note", label: t("note"), rows: 3, most: 4000, required, hint });

/** Ask for a new case; `about` fills in what an alert knows. Resolves to the case, or null. */
export async function collect({ who, about = {} }) {
  const stations = about.stations ? [] : (await list("/stations", { limit: 1000 }).catch(() => ({ items: [] }))).items;
  return ask({
    title: t("cases.collect"), body: [h("p", {}, t("acts_as", { name: who }))], action: t("cases.collect"),
    fields: [
      { name: "title", label: t("case.title"), required: true, value: about.title ?? null, hint: t("case.title_hint") },
      { name: "description", label: t("case.description"), rows: 4, most: 4000, value: about.description ?? null },
      { name: "stations", label: t("case.stations"), value: about.stations?.join(" ") ?? null, among: stations.map((one) => one.code), hint: t("case.stations_hint") },
      { name: "origin", label: t("case.origin"), value: about.alerts ? "alert" : "person", options: ["alert", "person", "patrol", "report", "partner"].map((one) => [one, word("case_origin", one)]) },
    ],
    submit: (said) => post("/cases", {
      title: said.title.trim(), description: said.description.trim(), stations: said.stations.split(/[\s,，、]+/).filter(Boolean), alerts: about.alerts ?? [], origin: said.origin,
    }),
  });
}

/** Ask for what a step needs and take it. Resolves to the case as it then is, or null. */
export async function take(step, full, who) {
  const { fields, said } = await DIALOGS[step](full);
  const path = `/cases/${code(full.code)}/${step === "follow_up" ? "follow-ups" : "steps"}`;
  return ask({
    title: `${word("case_step", step)} · ${full.code}`,
    body: [h("p", { class: "hint" }, full.title), h("p", {}, t("acts_as", { name: who })), SUPERVISED.has(step) ? h("p", { class: "hint" }, t("cases.supervised")) : null],
    fields, action: word("case_step", step),
    submit: (given) => post(path, filled(step === "follow_up" ? said(given) : { step, note: given.note?.trim() ?? "", ...said(given) })),
  });
}

const SUPERVISED = new Set(["assign", "dismiss", "close", "reopen"]);
const filled = (said) => Object.fromEntries(Object.entries(said).filter(([, value]) => value !== "" && value !== null));

const DIALOGS = {
  verify: () => ({ fields: [note(true, t("case.verify_hint"))], said: () => ({}) }),
  dismiss: () => ({
    fields: [{ name: "verdict", label: t("case.verdict"), required: true, options: verdictOptions(VERDICTS.slice(1)) }, note(true, t("case.dismiss_hint"))],
    said: ({ verdict }) => ({ verdict }),
  }),
  assign: (full) => ({
    fields: [
      { name: "owner", label: t("case.owner"), required: true, value: full.owner, hint: t("case.owner_hint") },
      { name: "leader", label: t("case.leader"), required: true, value: full.leader, hint: t("case.leader_hint") },
      { name: "due", label: t("case.due"), type: "date", required: true, attributes: { min: day(now()) }, value: full.due_at ? day(full.due_at) : null },
      note(false),
    ],
    said: ({ owner, leader, due }) => ({ owner: owner.trim(), leader: leader.trim(), due_at: withOffset(`${due}T23:59`) }),
  }),
  handle: () => ({
    fields: [
      { name: "measure", label: t("case.measure"), rows: 3, most: 4000, required: true, hint: t("case.measure_hint") },
      { name: "done", label: t("case.done"), type: "datetime-local" }, note(false),
    ],
    said: ({ measure, done }) => ({ measure: measure.trim(), done_at: done ? withOffset(done) : null }),
  }),
  follow_up: async (full) => {
    const streams = await streamsOf(full.stations).catch(() => []);
    const datastream = streams.length
      ? { options: [["", t("choose")], ...streams.map((one) => [one.code, `${nameOf(one, "property_name") === one.code ? "" : `${nameOf(one, "property_name")} · `}${one.code}`])] }
      : { hint: t("case.datastream_hint") };
    return {
      fields: [
        { name: "datastream", label: t("col.datastream"), required: true, ...datastream },
        { name: "measure_at", label: t("case.measure_at"), type: "datetime-local", required: true, hint: t("case.measure_at_hint") },
        { name: "better", label: t("case.better"), options: ["lower", "higher"].map((one) => [one, word("follow_better", one)]) },
        { name: "quantity", label: t("case.quantity"), options: ["level", "rate"].map((one) => [one, word("follow_quantity", one)]) },
        { name: "before_days", label: t("case.before_days"), type: "number", value: "365", attributes: { min: 1, max: 36525 } },
        note(false),
      ],
      said: (given) => ({ datastream: given.datastream.trim(), measure_at: withOffset(given.measure_at), better: given.better, quantity: given.quantity, before_days: Number(given.before_days) || null, note: given.note.trim() }),
    };
  },
  close: (full) => ({
    fields: [
      { name: "verdict", label: t("case.verdict"), required: true, options: verdictOptions(VERDICTS) },
      note(full.effect !== "improved", full.effect === "improved" ? null : t("case.close_hint", { effect: word("case_effect", full.effect) })),
    ],
    said: ({ verdict }) => ({ verdict }),
  }),
  reopen: () => ({ fields: [{ ...note(true), label: t("reason") }], said: () => ({}) }),
  link: async (full) => {
    const alerts = (await list("/alerts", { state: "firing", limit: 1000 }, { most: 1000 }).catch(() => ({ items: [] }))).items;
    return {
      fields: [{ name: "alert", label: t("case.alert"), required: true, among: alerts.map((one) => one.identifier).filter((one) => one && !full.alerts.includes(one)), hint: t("case.alert_hint") }, note(false)],
      said: ({ alert }) => ({ alert: alert.trim() }),
    };
  },
  comment: () => ({ fields: [note(true)], said: () => ({}) }),
};

/** The datastreams of stations. */
export async function streamsOf(stations) {
  const found = await Promise.all(stations.map((one) => get(`/stations/${code(one)}`)));
  return found.flatMap((one) => one.datastreams);
}

// Devices that nobody knows: what waits of each, and the dialog that admits one and shows what became of its frames.
import { get, list, post } from "./api.js";
import { byId, fill, h } from "./dom.js";
import { t, word } from "./i18n.js";
import { dateTime } from "./format.js";
import { failure, nothing } from "./messages.js";
import { ask } from "./login.js";
import { identify } from "./shell.js";

const KINDS = ["observation_well", "geothermal_well", "reinjection_well", "meter", "other"];
let devices = [];
let answer = null; // what the last admission or rejection came to
let changed = () => null;

/** Read the list and draw it; `onChanged` is called after an admission, for the table above. */
export async function loadUnknown(onChanged = changed) {
  changed = onChanged;
  try {
    devices = (await get("/devices/unknown", { limit: 500 })).items;
    drawUnknown();
  } catch (problem) {
    fill(byId("unknown-body"), failure(problem, loadUnknown));
  }
}

/** Draw what was read, below what the last decision came to. */
export function drawUnknown() {
  const body = byId("unknown-body");
  body.dataset.count = String(devices.length);
  byId("unknown-note").textContent = devices.length ? t("devices.waiting", { n: devices.length }) : "";
  fill(body, answer ? answerOf(answer) : null, devices.length ? table() : nothing(t("devices.no_unknown")));
}

function table() {
  const columns = ["device", "frames", "first", "last", "source", "do"];
  const cell = (name, ...content) => h("td", { class: name === "frames" ? "right num" : "", "data-label": t(`devices.col_${name}`) }, content);
  return h("div", { class: "table-wrap" }, h("table", { class: "table cards" },
    h("thead", {}, h("tr", {}, columns.map((name) => h("th", { scope: "col", class: name === "frames" ? "right" : "" }, t(`devices.col_${name}`))))),
    h("tbody", {}, devices.map((one) => h("tr", { dataset: { device: one.device } },
      h("th", { scope: "row" }, h("code", {}, one.device)), cell("frames", one.frames),
      cell("first", h("span", { class: "num" }, dateTime(one.first_seen))), cell("last", h("span", { class: "num" }, dateTime(one.last_seen))),
      cell("source", `${one.transport} · ${one.source}`),
      cell("do", h("button", { type: "button", class: "act-admit", on: { click: () => admit(one) } }, t("devices.admit")), " ",
        h("button", { type: "button", class: "act-reject", on: { click: () => reject(one) } }, t("devices.reject"))))))));
}

function answerOf({ device, station, created, frames, resolved, remaining, refused, set_aside: aside }) {
  if (aside !== undefined) return h("p", { class: "answer", role: "status" }, t("devices.rejected", { device, n: aside }));
  return h("div", { class: "answer", role: "status", dataset: { admitted: device, resolved, remaining } },
    h("p", { class: remaining ? "caution" : "grade-good" }, remaining ? "" : "✓ ", t("devices.admitted", { device, station, frames, resolved })),
    created.length ? h("p", {}, t("devices.created", { codes: created.join(", ") })) : null,
    remaining ? h("p", {}, t("devices.remaining", { n: remaining })) : null,
    refused.map((one) => h("p", { class: "refused" }, h("span", { class: "num" }, `${one.count} × `), one.reason)));
}

async function admit(one) {
  const who = await identify("manage_devices");
  if (!who) return;
  const stations = (await list("/stations", { limit: 1000 })).items;
  const done = await ask({
    title: t("devices.admit_one", { device: one.device }), action: t("devices.admit"),
    body: [h("p", { class: "hint" }, t("devices.admit_hint", { n: one.frames })), h("p", {}, t("acts_as", { name: who }))],
    fields: [
      { name: "station", label: t("devices.col_station"), required: true, among: stations.map((station) => station.code), hint: t("devices.station_hint") },
      { name: "kind", label: t("devices.create"), options: [["", t("devices.create_nothing")], ...KINDS.map((kind) => [kind, t("devices.create_as", { kind: word("kind", kind) })])], hint: t("devices.create_hint") },
      { name: "password", label: t("devices.password"), hint: t("devices.password_hint") },
      { name: "note", label: t("note"), rows: 2, most: 2000 },
    ],
    submit: ({ station, kind, password, note }) => post("/devices/admissions", {
      device: one.device, station: station.trim(), create: kind ? { kind } : null, password: password.trim() || null, note: note.trim() || null,
    }),
  });
  await show(done);
}

async function reject(one) {
  const who = await identify("manage_devices");
  if (!who) return;
  await show(await ask({
    title: t("devices.reject_one", { device: one.device }), action: t("devices.reject"),
    body: [h("p", { class: "hint" }, t("devices.reject_hint", { n: one.frames })), h("p", {}, t("acts_as", { name: who }))],
    fields: [{ name: "note", label: t("note"), rows: 2, most: 2000, required: true }],
    submit: ({ note }) => post("/devices/rejections", { device: one.device, note: note.trim() }),
  }));
}

async function show(done) {
  if (!done) return;
  answer = done;
  await loadUnknown();
  byId("unknown").focus({ preventScroll: true });
  await changed();
}

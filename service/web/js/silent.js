// Who is silent: what should have come, since when it has not. Silence is not "all clear".
import { byId, fill, h } from "./dom.js";
import { nameOf, t, word } from "./i18n.js";
import { dateTime, offsetText, span } from "./format.js";
import { failure, nothing } from "./messages.js";
import { state } from "./state.js";

/** Draw the list, longest silence first. */
export function drawSilent({ error = null, onRetry, onStation }) {
  const target = byId("silent-list");
  if (error) return fill(target, failure(error, onRetry));
  const items = state.silent?.items ?? [];
  target.dataset.count = String(items.length);
  const unknown = state.silent?.unknown;
  fill(byId("silent-note"), unknown ? t("no_interval", { n: unknown }) : "");
  if (!items.length) return fill(target, nothing(t("none_silent")));
  return fill(target, h("div", { class: "table-wrap" }, h("table", { class: "table" },
    h("thead", {}, h("tr", {}, ["station", "property", "silent_for", "last_observation", "expected_by", "interval"].map((key) =>
      h("th", { scope: "col", class: ["silent_for", "interval"].includes(key) ? "right" : "" }, t(`col.${key}`))))),
    h("tbody", {}, items.map((item) => row(item, onStation))))));
}

function row(item, onStation) {
  const name = nameOf({ name_zh: item.station_name_zh, name_en: item.station_name_en, code: item.station });
  return h("tr", { dataset: { datastream: item.datastream } },
    h("th", { scope: "row" }, h("button", { type: "button", class: "link", on: { click: () => onStation(item.station, item.datastream) } }, name)),
    h("td", { "data-label": t("col.property") }, propertyName(item.property), channelOf(item.datastream)),
    h("td", { class: "right num strong", "data-label": t("col.silent_for") }, span(item.silent_for_s)),
    h("td", { class: "num", "data-label": t("col.last_observation") }, item.last_time ? `${dateTime(item.last_time)} ${offsetText(item.last_time)}` : t("never")),
    h("td", { class: "num", "data-label": t("col.expected_by") }, item.expected_by ? dateTime(item.expected_by) : "—"),
    h("td", { class: "right num", "data-label": t("col.interval") }, span(item.interval_s)));
}

const channelOf = (datastream) => {
  const channel = datastream.split(":")[2];
  return channel ? ` · ${channel}` : "";
};

/** A property's name in the language in use: from the register, else the shipped word, else its code. */
export function propertyName(code) {
  const known = state.properties?.get(code);
  return known ? nameOf(known) : word("property", code);
}

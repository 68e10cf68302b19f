// What a person says of observations: those that stand over the one that was clicked, a dialog to say so, and a way to take it back.
import { get, post, remove } from "./api.js";
import { h } from "./dom.js";
import { t, word } from "./i18n.js";
import { dateTime, withOffset } from "./format.js";
import { headline } from "./messages.js";
import { ask } from "./login.js";
import { may, state } from "./state.js";

const WORDS = { good: 1, unknown: 2, suspect: 3, fail: 4 };

/** What stands over an observation, with buttons for whoever may; `onChanged` is called when flags have changed. */
export async function overridesOf(stream, time, onChanged) {
  const found = await get("/observations/overrides", { datastream: stream.code, limit: 1000 });
  const at = Date.parse(time);
  const standing = found.items.filter((one) => Date.parse(one.from) <= at && at < Date.parse(one.to));
  const can = may("override_quality") && !state.me?.anonymous && !stream.derived;
  return h("div", { class: "overrides", dataset: { standing: standing.length } },
    standing.map((one) => h("p", {}, t("override.said", { quality: word("quality", one.quality), name: one.actor, time: dateTime(one.recorded_at), reason: one.reason }), " ",
      can ? takeBack(one, onChanged) : null)),
    can ? h("button", { type: "button", class: "act-override", on: { click: () => say(stream, time, onChanged) } }, t("override.set")) : null);
}

function takeBack(one, onChanged) {
  const button = h("button", { type: "button", class: "act-withdraw", on: { click: async () => {
    button.disabled = true;
    try {
      await remove(`/observations/overrides/${one.id}`);
      await onChanged();
    } catch (problem) {
      button.replaceWith(h("span", { class: "error-text" }, [headline(problem), problem.detail].filter(Boolean).join(" · ")));
    }
  } } }, t("override.take_back"));
  return button;
}

async function say(stream, time, onChanged) {
  const done = await ask({
    title: t("override.set"), action: t("override.set"),
    body: [h("p", { class: "hint num" }, `${stream.code} · ${dateTime(time)}`), h("p", {}, t("acts_as", { name: state.me.display_name || state.me.name }))],
    fields: [
      { name: "quality", label: t("override.quality"), required: true, options: [["", t("choose")], ...Object.entries(WORDS).map(([code, flag]) => [code, word("quality", flag)])] },
      { name: "to", label: t("override.to"), type: "datetime-local", hint: t("override.to_hint") },
      { name: "reason", label: t("override.reason"), required: true, rows: 3, most: 2000, hint: t("override.reason_hint") },
    ],
    submit: ({ quality, to, reason }) => post("/observations/overrides", {
      datastream: stream.code, from: time, quality, reason: reason.trim(), ...(to ? { to: withOffset(to) } : {}),
    }),
  });
  if (done) await onChanged();
}

// Steps that the search proposes for a station, each with a person's answer: confirmed or refused, it goes into the event log.
import { code, list, post } from "./api.js";
import { h } from "./dom.js";
import { t, word } from "./i18n.js";
import { dateTime, number, unitText } from "./format.js";
import { ask } from "./login.js";
import { may } from "./state.js";

const CAUSES = ["antenna_change", "re_set", "datum_change", "sensor_swap", "calibration", "construction", "maintenance", "earthquake", "other"];

/** The proposals that stand for a station; none where they cannot be read. */
export async function proposalsOf(station) {
  try {
    return (await list("/findings", { station, kind: "step", limit: 200 })).items;
  } catch {
    return [];
  }
}

/** The list of proposals, or null; `onDecided` is called after an answer was stored. */
export function proposalList(proposals, nameOfStream, onDecided) {
  if (!proposals.length) return null;
  return h("details", { class: "history proposals", open: true }, h("summary", {}, t("proposals", { n: proposals.length })),
    h("ol", {}, proposals.map((one) => h("li", { dataset: { proposal: one.id } },
      h("span", { class: "num" }, dateTime(one.parameters?.time ?? one.start)), ` ${nameOfStream(one.datastream)} `,
      h("span", { class: "num" }, `${one.size > 0 ? "+" : ""}${number(one.size, one.unit)} ± ${number(one.sigma, one.unit)} ${unitText(one.unit)} `),
      may("write_events") ? ["confirm", "refuse"].map((answer) =>
        h("button", { type: "button", class: `chip step-${answer}`, on: { click: () => decide(one, answer, onDecided) } }, t(`proposal.${answer}`))) : null))));
}

async function decide(one, decision, onDecided) {
  const stored = await ask({
    title: `${t(`proposal.${decision}`)} · ${one.datastream}`, body: [h("p", { class: "hint" }, t(`proposal.${decision}_means`))],
    fields: [
      ...(decision === "confirm" ? [{ name: "kind", label: t("proposal.cause"), options: CAUSES.map((kind) => [kind, word("event", kind)]), value: "other" }] : []),
      { name: "note", label: t("note"), rows: 3 }],
    action: t(`proposal.${decision}`),
    submit: ({ kind = "other", note }) => post(`/findings/${code(one.id)}/decision`, { decision, kind, note: note.trim() || null }),
  });
  if (stored) onDecided(stored, one);
}

// What the lines and marks mean, in which unit and sign, computed by what and when; and when a limit will be reached.
import { h } from "./dom.js";
import { t, word } from "./i18n.js";
import { bracketed, dateTime, day, directionText, offsetText, quantity, unitText } from "./format.js";
import { streamName } from "./station.js";

/** The legend of a chart as nodes: {stream, data, curve, analysis, marks}. */
export function legend({ stream, data, curve, analysis, marks }) {
  const flagged = data.flagged;
  const items = [
    item("line", h("span", {}, h("b", {}, streamName(stream)), ` ${unitText(stream.unit)} · ${directionText(stream.direction)}`,
      stream.datum ? ` · ${stream.datum}` : "", ` · ${resolutionText(stream, data.resolution)}`)),
    data.low ? item("range", t("legend.range")) : null,
    flagged.suspect.length ? item("suspect", t("legend.suspect", { n: flagged.suspect.length })) : null,
    flagged.fail.length ? item("fail", t("legend.fail", { n: flagged.fail.length })) : null,
    data.gaps ? item("gap", t("legend.gaps", { n: data.gaps })) : null,
    curve ? item("fit", t("legend.fit")) : item("none", t("legend.no_fit")),
    curve?.trend.length ? item("trend", t("legend.trend")) : null,
    curve?.lower.length ? item("band", t("legend.band", { level: Math.round(curve.level * 100) })) : null,
    marks.events.length ? item("event", t("legend.event")) : null,
    marks.findings.length ? item("finding", t("legend.finding")) : null,
  ];
  return [h("ul", {}, items), timesToLimits(analysis.results, stream), testedForecast(analysis.results, stream), provenance(data, analysis.results)];
}

const item = (sample, ...text) => h("li", {}, h("i", { class: `sample sample-${sample}`, "aria-hidden": "true" }), ...text);

/** Means are called means, totals totals, and a totaliser's last value just that. */
function resolutionText(stream, resolution) {
  if (resolution === "raw" || !["total", "totaliser"].includes(stream.value_kind)) return word("resolution", resolution);
  return word(`resolution_${stream.value_kind}`, resolution);
}

/** When each registered limit will be reached; "cannot tell" is said, never left out. */
function timesToLimits(results, stream) {
  const answers = Object.entries(results?.forecast?.limits ?? {});
  if (!answers.length) return null;
  const limits = new Map((results.limits ?? []).map((limit) => [limit.code, limit]));
  return h("ul", { class: "limit-times" }, answers.map(([code, answer]) => h("li", { dataset: { limit: code, status: answer.status } },
    h("span", {}, limitName(limits.get(code), code, stream)), h("span", { class: "num" }, limitAnswer(answer)))));
}

/** Where the level goes, and how forecasts like this one have done on this very datastream; why there is none is said too. */
function testedForecast(results, stream) {
  const tested = results?.forecast?.tested;
  if (!tested) return null;
  const test = tested.backtest;
  if (!test) return h("p", { class: "tested", dataset: { status: tested.status } }, t(`forecast.untested.${tested.reason}`));
  const far = test.horizons.at(-1);
  const share = (value) => value === null || value === undefined ? "—" : `${Math.round(100 * value)}\u00a0%`;
  const words = {
    origins: test.origins, judged: test.judged, c80: share(test.coverage_80), c95: share(test.coverage_95),
    rmse: quantity(far.rmse, stream.unit), reference: quantity(far.persistence_rmse, stream.unit),
  };
  if (!tested.value) return h("p", { class: "tested", dataset: { status: tested.status } }, t("forecast.tested_shares", words));
  return h("p", { class: "tested", dataset: { status: tested.status } }, t("forecast.tested", {
    ...words, time: day(tested.time.at(-1)), value: quantity(tested.value.at(-1), stream.unit),
    lower: quantity(tested.lower_95.at(-1), stream.unit), upper: quantity(tested.upper_95.at(-1), stream.unit),
  }));
}

function limitName(limit, code, stream) {
  if (!limit) return code;
  return `${limit.level ? word("level", limit.level) : limit.code} ${quantity(limit.value, limit.unit ?? stream.unit)}${limit.source ? bracketed(limit.source) : ""}`;
}

function limitAnswer(answer) {
  if (answer.status !== "within") return t(`limit_time.${answer.status}`);
  return t("limit_time.within", {
    time: day(answer.time), level: Math.round((answer.level ?? 0.8) * 100),
    from: answer.earliest ? day(answer.earliest) : "—", to: answer.latest ? day(answer.latest) : t("limit_time.open_end"),
  });
}

function provenance(data, results) {
  const runs = results?.runs ?? [];
  const run = runs.find((one) => one.method === "velocity") ?? runs[0];
  return h("p", { class: "provenance num" }, [
    t("times_in", { offset: offsetText() }),
    data.raw ? null : t("zoom_for_flags"),
    data.asOf || run?.read_seq ? t("as_of_seq", { seq: data.asOf ?? run.read_seq }) : null,
    run ? t("computed_by", { method: `${run.method} ${run.version}`, time: dateTime(run.recorded_at) }) : null,
  ].filter(Boolean).join(" · "));
}
